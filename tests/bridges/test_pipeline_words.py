"""Commands take the folder of a pipeline of diffusers in the place of a run, and do with it what Python does."""

import json
from pathlib import Path

import numpy as np
import pytest
from faults import run_cli

import inkwash as iw
from inkwash.commands import keywords

diffusers = pytest.importorskip("diffusers", reason="the peer itself: pip install 'inkwash[diffusers]'")

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in diffusers
    pytest.mark.usefixtures("quick_evaluation"),
]
SIZES = {"in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8), "layers_per_block": 1}
BLOCKS = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "norm_num_groups": 4}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A pipeline of pixels, one with three classes, data of both kinds, and one picture."""
    folder, random = tmp_path_factory.mktemp("pipelines"), np.random.default_rng(0)
    for name, count in (("pixels", None), ("classes", 3)):
        unet = diffusers.UNet2DModel(sample_size=4, **SIZES, **BLOCKS, num_class_embeds=count)
        diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder / name)
    x = random.integers(0, 256, (60, 4, 4), np.uint8)
    np.savez(folder / "data.npz", x=x, y=random.integers(0, 3, 60))
    np.save(folder / "data.npy", x)
    np.save(folder / "one.npy", x[0])
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def test_a_pipeline_is_sampled_and_inpainted(capsys):
    assert run_cli(["sample", "pixels", "-n", 3, "--steps", 4, "--seed", 1, "--out", "drawn"]) == 0
    assert "next      inkwash evaluate pixels --data DATA" in capsys.readouterr().out
    model = iw.from_diffusers("pixels")
    assert np.array_equal(np.load("drawn/samples.npy"), model.sample(3, steps=4, seed=1))
    words = ["inpaint", "pixels", "one.npy", "--hide", "left", "-n", 2, "--steps", 3, "--out", "filled"]
    assert run_cli(words) == 0
    assert "next      inkwash inpaint pixels OTHER --hide left" in capsys.readouterr().out
    assert np.array_equal(np.load("filled/draws.npy")[:, :, 2:], np.load("one.npy")[None, :, 2:].repeat(2, 0))


def test_the_next_command_names_no_example_of_a_run(capsys):
    """A pipeline holds no examples, so that no number is one."""
    words = ["relatives", "pixels", "one.npy", "-n", 1, "--t", 0.5, "--steps", 2, "--out", "related"]
    assert run_cli(words) == 0
    assert "next      inkwash interpolate pixels one.npy OTHER" in capsys.readouterr().out


def test_a_pipeline_is_evaluated_beside_data(capsys):
    """The report says how it was made, and that command makes it again."""
    words = "--data data.npy --steps 3 --bound-terms 2 --examples 20"
    assert run_cli(["evaluate", "pixels", *words.split(), "--out", "first"]) == 0
    assert "over-fitting and memorisation are left out" in capsys.readouterr().out
    found = json.loads(Path("first/evaluation.json").read_text())
    assert (found["step"], found["memorisation"], found["bound"].keys()) == (None, None, {"held_out"})
    page = Path("first/report.html").read_text("utf-8")
    again = page.partition("<pre>inkwash ")[2].partition("</pre>")[0]
    assert run_cli([*again.split()[:-1], "again"]) == 0
    assert json.loads(Path("again/evaluation.json").read_text()) == found


def test_a_pipeline_of_classes_is_evaluated_under_them():
    words = "classes --data data.npz --labels y --steps 3 --bound-terms 2 --examples 20 --out of_classes"
    assert run_cli(["evaluate", *words.split()]) == 0
    assert len(json.loads(Path("of_classes/evaluation.json").read_text())["notes"]) == 2


def test_inspect_says_what_a_pipeline_is(capsys):
    assert run_cli(["inspect", "classes"]) == 0
    shown = capsys.readouterr().out
    assert "labels     0, 1, 2" in shown
    assert "steps      1000" in shown


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("evaluate pixels", 2, "--data: got nothing, need data that the pipeline was not trained on"),
        ("evaluate pixels --data data.npz --labels y", 2, "label: got "),
        ("evaluate classes --data data.npy", 2, "label: got nothing, need a class"),
        ("evaluate missing --data data.npy", 4, "missing: got no such folder, need a run"),
        ("sample pixels --steps 5 --grid learned", 2, "--grid: got learned, need another one"),
        ("sample classes --steps 2", 2, "label: got nothing, need a class"),
        ("inpaint pixels 0 --hide left", 3, "0: got the number of a held-out example, and a pipeline"),
        ("push pixels me/pixels", 4, "pixels: got a folder without checkpoints"),
    ],
)
def test_what_a_pipeline_cannot_do_is_one_line(words, code, line, home, capsys):
    before = sorted(home.rglob("*"))
    assert run_cli(words.split()) == code
    shown = capsys.readouterr().err
    assert line in shown
    assert shown.count("\n") == 1
    assert sorted(home.rglob("*")) == before


def test_a_pipeline_of_latents_is_one_line(home, tmp_path):
    (tmp_path / "vae").mkdir()
    with pytest.raises(iw.CheckpointError, match="got a pipeline of latents, need one of pixels; in Python"):
        keywords.pipeline_model(tmp_path)
