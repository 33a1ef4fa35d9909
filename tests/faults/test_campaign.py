"""A few tries of each promise under fault, of those that `benchmarks/faults.py` tries by the thousand.

A bug that breaks a promise is noticed by these few.
"""

import os
import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from bugs import bug
from campaign import TRIALS, Ground, attempt
from faults import wait

from inkwash.commands import frame
from inkwash.core import options, storage
from inkwash.core.randomness import Slots
from inkwash.data import arrays
from inkwash.training import checkpoint, run
from inkwash.training.run import Run
from inkwash.training.state import TrainState

TRIES = {"kill": 3, "damage": 40, "options": 200, "files": 60, "disk": 6, "counts": 2, "readers": 1}
TRIES |= {"signals": 3, "signals-drawing": 1}
_load, _of, _save, _save_checkpoint = TrainState.load, Slots.of, Run.save, checkpoint.save_checkpoint


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    from faults import without_pictures

    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        yield Ground.prepared(tmp_path_factory.mktemp("ground"))


def without_moments(self, groups, *others):
    _load(self, {**groups, "optimizer": {name: 0 * each for name, each in groups["optimizer"].items()}}, *others)


def unchecked(path, wanted):
    return {name: (path / name).read_bytes() for name in wanted}


def renumbered(self, n, first=0):
    return (slot._replace(number=slot.number + n) for slot in _of(self, n, first))


def saved_at_first(self, prepared, state):
    if state.step == 0:
        _save(self, prepared, state)


def after_removing(folder, *content):
    for old in checkpoint.list_checkpoints(folder):
        storage.remove(old)
    return _save_checkpoint(folder, *content)


@bug("resumes without moments", TrainState, "load", without_moments, name="kill")
@bug("no sums are compared", checkpoint, "_verified_files", unchecked, name="damage")
@bug("infinity is a number", options, "math", SimpleNamespace(isfinite=lambda value: True), name="options")
@bug("knows no damage", arrays, "DAMAGE", (OSError,), name="files")
@bug("leaves what it began", storage, "leaving_nothing", lambda hidden: nullcontext(), name="disk")
@bug("noise by the count", Slots, "of", renumbered, name="counts")
@bug("stops without saving", Run, "save", saved_at_first, name="signals")
@bug("speaks twice", frame, "visible", lambda line: f"{line}\n", name="signals-drawing")
@bug("removes before it writes", run, "save_checkpoint", after_removing, name="readers")
@pytest.mark.parametrize("name", TRIALS)
def test_a_promise_holds(name, ground):
    assert attempt(name, ground, range(TRIES[name])).failed == []


def test_a_child_of_the_campaign_answers_a_signal_that_comes_at_once_in_its_own_log(ground):
    """Not where its parent writes, which would count as silence."""
    child = ground.child(["sample", ground.run, "-n", 10**6, "--out", ground.empty("drawn"), "--quiet"])
    os.kill(child, signal.SIGTERM)
    assert (wait(child), ground.log()) == (143, "terminated\n")
