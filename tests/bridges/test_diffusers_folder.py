"""Exported folders are pipelines of diffusers, which sample what the model samples without inkwash."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from bugs import bug
from exportable import STEPS, untrained, walked, write_data

import inkwash as iw
from inkwash.bridges import diffusers_folder
from inkwash.bridges.exporting import export
from inkwash.core.errors import ConfigError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exportable")
    write_data(folder)
    return folder


@pytest.fixture
def load(monkeypatch, tmp_path):
    diffusers = pytest.importorskip("diffusers", reason="pip install diffusers")
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))

    def loaded(folder):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder), trust_remote_code=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return loaded


def predicting(name, **options):
    """A small model in which everything that a pipeline must know differs from its usual value."""
    torch.manual_seed(0)
    network = iw.UNet(1, 8, (1, 2), 1, outputs=2)
    torch.nn.init.normal_(network.leave[2].weight, std=0.3)
    schedule = iw.RectifiedSchedule() if name in ("velocity", "x") else iw.LogLinearSchedule(50)
    denoiser = iw.Denoiser(network, iw.Gaussian(schedule), name, "learned", **options)
    return iw.Diffusion(iw.Clipped(denoiser, -1.5, 1.2), (1, 4, 6), steps=50)


@bug("the range of the data is forgotten", diffusers_folder, "_clip", lambda denoiser: None, name="v")
@pytest.mark.quick_cases("v")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x", "eps", "score", "v", "velocity", "F"])
def test_a_pipeline_samples_what_the_model_samples(name, load, tmp_path):
    model = predicting(name, sees="log_snr" if name in ("v", "F") else "time")
    export(model, "diffusers", tmp_path / "folder")
    noise = np.random.default_rng(1).normal(size=(2, *model.shape))
    found = load(tmp_path / "folder")(
        latents=torch.from_numpy(noise).float(), num_inference_steps=STEPS, output_type="latent"
    )
    worst = np.abs(found.images.numpy() - walked(model, noise)).max()
    print(f"| {name} | diffusers | {worst:.1e} |")
    assert worst < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_refuses_what_it_would_ignore(load, tmp_path):
    export(predicting("v", sees="log_snr"), "diffusers", tmp_path / "folder")
    pipeline = load(tmp_path / "folder")
    bad = {"num_inference_steps": (0, 51), "label": ("cat",), "guidance_scale": (2.0,), "output_type": ("pt",)}
    for name, values in bad.items():
        for value in values:
            with pytest.raises(ValueError, match=f"{name}: got {value!r}, need"):
                pipeline(**{name: value})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["mlp", "unet", "unet, odd sides", "unet, series", "unet, volumes", "dit", "levels", "levels, labels", "blind"],
)
def test_every_network_of_the_pipeline(name, home, load, tmp_path):
    model = untrained(home, name)
    export(model, "diffusers", tmp_path / "folder")
    pipeline, noise = load(tmp_path / "folder"), np.random.default_rng(1).normal(size=(2, *model.shape))
    options = {"latents": torch.from_numpy(noise).float(), "num_inference_steps": STEPS}
    own = walked(model, noise)
    worst = np.abs(pipeline(**options, output_type="latent").images.numpy() - own).max()
    print(f"| {name} | diffusers | {worst:.1e} |")
    assert worst < 1e-5
    if model.condition.classes:
        options |= {"label": model.condition.classes[1], "guidance_scale": 2.5}
        own = walked(model, noise, label=np.array([2, 2]), guidance=2.5)
        assert np.abs(pipeline(**options, output_type="latent").images.numpy() - own).max() < 1e-5
    data = pipeline(**options, output_type="np").images
    assert np.allclose(
        data, model.transform.spec.to_channels_first(model.transform.to_data(torch.from_numpy(own))), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_folders_in_one_program_keep_their_own_code(home, load, tmp_path):
    """The first pipeline samples the same after the second was loaded, though diffusers has one place for all code."""
    first = untrained(home, "unet")
    export(first, "diffusers", tmp_path / "first")
    export(untrained(home, "levels"), "diffusers", tmp_path / "second")
    pipeline, options = load(tmp_path / "first"), {"latents": torch.ones(1, *first.shape), "num_inference_steps": 2}
    before = pipeline(**options, output_type="np").images
    load(tmp_path / "second")
    assert np.array_equal(pipeline(**options, output_type="np").images, before)


@pytest.mark.slow
def test_the_readme_loads_it_without_inkwash(home, tmp_path):
    pytest.importorskip("diffusers", reason="pip install diffusers")
    model = untrained(home, "levels, labels")
    export(model, "diffusers", tmp_path / "folder")
    code = (tmp_path / "folder" / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    barred = "import sys; sys.modules['inkwash'] = None\n"
    shown = "\nprint(samples.shape, samples.min() >= 0, pipeline(num_inference_steps=2).images[0].size)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", barred + code + shown],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "(4, 1, 8, 8) True (8, 8)"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mixed", "to: got diffusers, and discrete data, need a Gaussian process"),
        ("mixture", "predicts: got mixture, need another prediction"),
        ("given", "given values, need labels or no condition"),
        ("transformer", "need data that is only scaled, or onnx"),
        ("gaps", "got diffusers, and a TableNet, need a U-Net"),
    ],
)
def test_what_a_pipeline_cannot_sample_is_refused(name, line, home, tmp_path):
    with pytest.raises(ConfigError, match=line):
        export(untrained(home, name), "diffusers", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
