"""The plan of a walk: its kind of steps, and their times."""

import pytest
import torch
from every_process import CASES
from oracles import tensor

import inkwash as iw
from inkwash.sample import KarrasGrid, QuadraticGrid
from inkwash.sample.walk import Walking

PROCESS = iw.Gaussian(iw.CosineSchedule())
TIMES = tensor([1.0, 0.3, 0.0])


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, iw.uniform_grid(7)),
        ({"steps": 4}, iw.uniform_grid(4)),
        ({"times": TIMES}, TIMES),
        ({"grid": QuadraticGrid()}, QuadraticGrid().times(PROCESS.schedule, 7, 7)),
        ({"grid": QuadraticGrid(), "steps": 4}, QuadraticGrid().times(PROCESS.schedule, 4, 7)),
        ({"grid": KarrasGrid(3.0), "steps": 4}, KarrasGrid(3.0).times(PROCESS.schedule, 4, 7)),
    ],
    ids=str,
)
def test_a_model_has_its_own_steps_unless_others_are_asked_for(options, times):
    plan = Walking(**options).plan(PROCESS, 7)
    assert plan.sampler == iw.Ancestral()
    assert torch.equal(plan.times, times)


def test_a_plan_keeps_its_sampler():
    assert Walking(iw.Heun(), grid=QuadraticGrid()).plan(PROCESS, 7).sampler == iw.Heun()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": iw.Heun}, r"^sampler: got .*, need a"),
        ({"grid": "karras"}, r"^grid: got .*, need a"),
        ({"grid": QuadraticGrid(), "times": TIMES}, r"^times: got .*, need either times or a grid, not both"),
        ({"steps": 2, "times": TIMES}, r"^steps: got .*, need either steps or times, not both"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(iw.ConfigError, match=message):
        Walking(**options).plan(PROCESS, 7)


def test_a_process_without_a_schedule_has_no_grid():
    with pytest.raises(iw.ConfigError, match=r"^grid: .* need no grid: a Cold process has no schedule"):
        Walking(grid=QuadraticGrid()).plan(CASES["blur"][0], 7)


@pytest.mark.parametrize(
    ("before", "options", "after"),
    [
        ({"steps": 4, "grid": QuadraticGrid()}, {"times": TIMES}, {"times": TIMES}),
        ({"times": TIMES}, {"steps": 4}, {"steps": 4}),
        ({"times": TIMES}, {"grid": QuadraticGrid()}, {"grid": QuadraticGrid()}),
        ({"times": TIMES}, {"sampler": iw.Heun()}, {"times": TIMES, "sampler": iw.Heun()}),
        ({"steps": 4}, {"grid": QuadraticGrid()}, {"steps": 4, "grid": QuadraticGrid()}),
        ({"steps": 4}, {"steps": None, "sampler": None}, {"steps": 4}),
    ],
    ids=str,
)
def test_later_options_come_first(before, options, after):
    found, expected = (w.plan(PROCESS, 7) for w in (Walking(**before).but(**options), Walking(**after)))
    assert found.sampler == expected.sampler
    assert torch.equal(found.times, expected.times)
