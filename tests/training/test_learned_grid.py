"""A run's learned grids are learned once, are those of the library, and are not trusted further than they fit."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch
from faults import Crash, fail_at, flip_bit, hooked, newest, resealed, run_cli, tiny, tiny_bits, tree

import inkwash as iw
from inkwash.core.display import Display
from inkwash.core.errors import StorageError
from inkwash.training import learned_grid as learned_grids
from inkwash.training.checkpoint import fingerprint
from inkwash.training.fit import fit
from inkwash.training.kept import kept
from inkwash.training.learned_grid import LearnedGrid, learned_grid
from inkwash.training.run import Run, load

pytestmark = pytest.mark.usefixtures("quick")


def grid_of(run, objective="trajectory", steps=3, display=None):
    return learned_grid(run, load(run), objective, steps, display or Display(shown=False))


def test_the_grid_is_that_of_the_library(copy):
    run = Run(copy)
    data = run.dataset().data[run.split()[0]]
    for objective, costs in {
        "bound": iw.model.bound_costs(run.model(), data, seed=0),
        "trajectory": iw.model.trajectory_costs(run.model(), seed=0),
    }.items():
        assert torch.equal(grid_of(copy, objective), costs.grid(3))
        kept = json.loads((copy / "grids" / f"{objective}-3.json").read_text())
        assert (kept["evaluations"], kept["candidates"]) == (costs.evaluations, 11)
        assert kept["examples"] == (32 if objective == "bound" else 64)


def test_the_bound_is_that_of_so_many_examples(copy, monkeypatch):
    monkeypatch.setitem(learned_grids._EXAMPLES, "bound", 5)
    run = Run(copy)
    costs = iw.model.bound_costs(run.model(), run.dataset().data[run.split()[0][:5]], seed=0)
    assert torch.equal(grid_of(copy, "bound"), costs.grid(3))
    assert json.loads((copy / "grids" / "bound-3.json").read_text())["examples"] == 5


def test_a_grid_is_learned_once(copy, capsys, monkeypatch):
    first = grid_of(copy, display=Display())
    assert "learned from 11 times for step-000000012: 640 network evaluations" in capsys.readouterr().out
    before = tree(copy)
    monkeypatch.setattr(learned_grids, "trajectory_costs", None)
    assert torch.equal(grid_of(copy, display=Display()), first)
    assert "learned earlier for step-000000012" in capsys.readouterr().out
    assert tree(copy) == before


def test_after_more_training_a_grid_is_learned_anew(copy, data):
    """The newest checkpoint goes away and comes back as another one of the same name."""
    grid_of(copy)
    kept = copy / "grids" / "trajectory-3.json"
    old = kept.read_bytes()
    other = fit(tiny(data, seed=1), copy.parent / "other").path
    shutil.rmtree(newest(copy))
    shutil.copytree(newest(other), copy / "checkpoints" / newest(other).name)
    grid_of(copy)
    assert kept.read_bytes() != old
    assert json.loads(kept.read_bytes())["fingerprint"] == fingerprint(newest(copy))


def test_another_objective_or_number_of_steps_is_another_file(copy):
    grids = [grid_of(copy, *which) for which in (("bound", 4), ("trajectory", 4), ("bound", 5))]
    assert [len(grid) for grid in grids] == [5, 5, 6]
    assert {path.name for path in (copy / "grids").iterdir()} == {"bound-4.json", "trajectory-4.json", "bound-5.json"}


DAMAGE = {
    "cut short": lambda kept: json.dumps(kept)[:-9],
    "an unknown key": lambda kept: json.dumps({**kept, "more": 1}),
    "a missing key": lambda kept: json.dumps({k: v for k, v in kept.items() if k != "seed"}),
    "times that rise": lambda kept: json.dumps({**kept, "times": [1.0, 0.2, 0.3, 0.0]}),
    "a time too few": lambda kept: json.dumps({**kept, "times": [1.0, 0.3, 0.0]}),
    "a time that is text": lambda kept: json.dumps({**kept, "times": [1.0, "0.4", 0.3, 0.0]}),
    "not a number": lambda kept: json.dumps({**kept, "times": [1.0, float("nan"), 0.3, 0.0]}),
    "no times": lambda kept: json.dumps({**kept, "times": []}),
    "another objective": lambda kept: json.dumps({**kept, "objective": "bound"}),
    "a negative seed": lambda kept: json.dumps({**kept, "seed": -1}),
    "a list": lambda kept: json.dumps([kept]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_grid_is_refused(copy, damage):
    grid_of(copy)
    kept = copy / "grids" / "trajectory-3.json"
    kept.write_text(resealed(DAMAGE[damage](json.loads(kept.read_text()))))
    with pytest.raises(iw.CheckpointError, match=r"trajectory-3\.json"):
        grid_of(copy)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Crash()])
def test_a_grid_is_kept_whole_or_not_at_all(copy, error):
    expected = None
    for k in range(8):
        shutil.rmtree(copy / "grids", ignore_errors=True)
        try:
            with hooked(fail_at(k, error)):
                grid_of(copy)
        except (StorageError, Crash):
            pass
        grid = grid_of(copy)
        expected = grid if expected is None else expected
        assert torch.equal(grid, expected)


def test_from_the_command_line(copy, capsys):
    words = ["sample", copy, "-n", 4, "--steps", 3, "--grid", "learned", "--out", copy.parent / "drawn"]
    for more, sampler, objective in (([], iw.Ancestral(), "bound"), (["--sampler", "ddim"], iw.DDIM(), "trajectory")):
        assert run_cli([*words, *more]) == 0
        assert f"{objective}-3.json (learned from 11 times" in capsys.readouterr().out
        expected = iw.load(copy).sample(4, seed=0, sampler=sampler, times=grid_of(copy, objective))
        assert np.array_equal(np.load(copy.parent / "drawn" / "samples.npy"), expected)


@pytest.mark.parametrize(
    ("more", "message"),
    {
        (): "--steps: got nothing, need a number of steps",
        ("--steps", 1): "steps: got 1, need an integer >= 2",
        ("--steps", 11): "steps: got 11, need at most 10",
    }.items(),
)
def test_what_cannot_be_learned_is_refused_and_leaves_nothing(copy, capsys, more, message):
    before = tree(copy)
    assert run_cli(["sample", copy, "--grid", "learned", "--out", copy.parent / "drawn", *more]) == 2
    assert message in capsys.readouterr().err
    assert tree(copy) == before
    assert not (copy.parent / "drawn").exists()


def test_a_checkpoint_by_itself_has_no_place_for_a_grid(copy, capsys):
    assert run_cli(["sample", newest(copy), "--grid", "learned", "--steps", 3]) == 4
    assert "need a run" in capsys.readouterr().err


def test_a_run_of_bits_learns_over_the_bound(tmp_path):
    run = fit(tiny_bits(tmp_path), tmp_path / "run").path
    assert len(grid_of(run, "bound", 4)) == 5
    with pytest.raises(iw.ConfigError, match="need a Gaussian process"):
        grid_of(run, "trajectory", 4)


def test_a_changed_bit_of_a_grid_is_seen(copy):
    """Only an e that becomes an E changes no number."""
    grid_of(copy)
    file = copy / "grids" / "trajectory-3.json"
    whole, mark = file.read_bytes(), fingerprint(newest(copy))
    first = kept(file, LearnedGrid, mark, lambda: 1 / 0)
    for bit in range(0, 8 * len(whole), 5):
        file.write_bytes(whole)
        flip_bit(file, bit)
        with suppress(iw.CheckpointError):
            assert kept(file, LearnedGrid, mark, lambda: 1 / 0) == first
            assert file.read_bytes().lower() == whole.lower()
