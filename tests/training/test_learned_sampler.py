"""A run's learned steps are learned once, are those of the library, and are not trusted further than they fit."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from faults import newest, resealed, run_cli, tiny, tiny_bits, tree

import inkwash as iw
from inkwash.core.display import Display
from inkwash.training import learned_sampler as learned_samplers
from inkwash.training.checkpoint import fingerprint
from inkwash.training.fit import fit
from inkwash.training.learned_sampler import learned_sampler
from inkwash.training.run import load

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Trajectories of few examples, for speed."""
    follow = iw.model.flow_trajectories
    monkeypatch.setattr(learned_samplers, "flow_trajectories", lambda model, seed: follow(model, 16, seed=seed))


def sampler_of(run, steps=3, display=None):
    return learned_sampler(run, load(run), steps, display or Display(shown=False))


def test_the_steps_are_those_of_the_library_and_learned_once(copy, capsys, monkeypatch):
    expected, evaluations = iw.model.flow_trajectories(load(copy), 16, seed=0).learned(3)
    assert sampler_of(copy, display=Display()) == expected
    assert f"learned on 16 trajectories: {evaluations + 160} network evaluations" in capsys.readouterr().out
    before = tree(copy)
    monkeypatch.setattr(learned_samplers, "flow_trajectories", None)
    assert sampler_of(copy, display=Display()) == expected
    assert "learned earlier for step-000000012" in capsys.readouterr().out
    assert tree(copy) == before


def test_after_more_training_steps_are_learned_anew(copy, data):
    """The newest checkpoint goes away and comes back as another one of the same name."""
    first, kept = sampler_of(copy), copy / "samplers" / "3.json"
    other = fit(tiny(data, seed=1), copy.parent / "other").path
    shutil.rmtree(newest(copy))
    shutil.copytree(newest(other), copy / "checkpoints" / newest(other).name)
    assert sampler_of(copy) != first
    assert json.loads(kept.read_bytes())["fingerprint"] == fingerprint(newest(copy))


DAMAGE = {
    "cut short": lambda kept: json.dumps(kept)[:-9],
    "an unknown key": lambda kept: json.dumps({**kept, "more": 1}),
    "times that rise": lambda kept: json.dumps({**kept, "times": [1.0, 0.2, 0.3, 0.0]}),
    "an angle too few": lambda kept: json.dumps({**kept, "angles": kept["angles"][1:]}),
    "a weight too many": lambda kept: json.dumps({**kept, "weights": [[1.0, 0.2, 0.3], *kept["weights"][1:]]}),
    "a weight that is text": lambda kept: json.dumps({**kept, "weights": [["1.0", 0.2], *kept["weights"][1:]]}),
    "no weights": lambda kept: json.dumps({**kept, "weights": []}),
    "another number of steps": lambda kept: json.dumps({**kept, "steps": 4}),
    "another use": lambda kept: json.dumps({**kept, "use": "clipped"}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_steps_are_refused(copy, damage):
    sampler_of(copy)
    kept = copy / "samplers" / "3.json"
    kept.write_text(resealed(DAMAGE[damage](json.loads(kept.read_text()))))
    with pytest.raises(iw.CheckpointError, match=r"3\.json"):
        sampler_of(copy)


def test_from_the_command_line(copy, capsys):
    words = ["sample", copy, "-n", 4, "--steps", 3, "--sampler", "learned", "--out", copy.parent / "drawn"]
    assert run_cli(words) == 0
    assert "3.json (learned on 16 trajectories" in capsys.readouterr().out
    sampler = sampler_of(copy)
    expected = iw.load(copy).sample(4, seed=0, sampler=sampler, times=sampler.grid())
    assert np.array_equal(np.load(copy.parent / "drawn" / "samples.npy"), expected)


@pytest.mark.parametrize(
    ("more", "message"),
    {
        (): "steps: got nothing, need a number of steps, for which the sampler is learned",
        ("--steps", 11): "steps: got 11, need at most 10",
        ("--steps", 3, "--grid", "angle"): "grid: got angle, need no grid beside --sampler learned, whose steps have",
        ("--steps", 3, "--grid", "learned"): "grid: got learned, need no grid",
        ("--steps", 3, "--eta", 0.5): "eta: got 0.5, need a sampler or grid that has this option",
    }.items(),
)
def test_what_cannot_be_learned_is_refused_and_leaves_nothing(copy, capsys, more, message):
    before = tree(copy)
    assert run_cli(["sample", copy, "--sampler", "learned", "--out", copy.parent / "drawn", *more]) == 2
    assert message in capsys.readouterr().err
    assert tree(copy) == before


def test_training_cannot_use_what_is_learned_after_it(data, tmp_path, capsys):
    words = ["train", data, "--out", tmp_path / "run", "--sampling.sampler", "learned"]
    assert run_cli(words) == 2
    assert "sampling.sampler: got learned, need another one; after training" in capsys.readouterr().err


def test_a_grid_of_the_run_gives_way(data, tmp_path):
    """Learned steps have times of their own, whatever grid the run samples on."""
    config = replace(tiny(data), sampling=iw.SamplingConfig(grid="angle", steps=4))
    run = fit(config, tmp_path / "run").path
    assert run_cli(["sample", run, "-n", 2, "--sampler", "learned", "--out", tmp_path / "drawn"]) == 0
    assert (run / "samplers" / "4.json").exists()


def test_bits_have_no_trajectories(tmp_path, capsys):
    run = fit(tiny_bits(tmp_path), tmp_path / "run").path
    assert run_cli(["sample", run, "--sampler", "learned", "--steps", 3]) == 2
    assert "need a Gaussian process" in capsys.readouterr().err
