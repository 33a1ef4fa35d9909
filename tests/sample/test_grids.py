"""Grids: the variable in which each is even, the ends, and what is refused."""

from typing import get_args

import pytest
import torch
from bugs import bug
from oracles import F64, Exploding, Vanishing, name_of, public, public_schedules

import inkwash as iw
from inkwash.core.config import GridName
from inkwash.sample import grids as grid_rules
from inkwash.sample.grids import GRIDS

SCHEDULES = [*public_schedules(), Vanishing()]
GRID_KINDS = [*(kind() for kind in public(iw.sample.Grid)), iw.KarrasGrid(rho=2.0)]
VARIABLES = {
    iw.UniformGrid: lambda grid, schedule, t: t,
    iw.QuadraticGrid: lambda grid, schedule, t: t.sqrt(),
    iw.LogSnrGrid: lambda grid, schedule, t: schedule.log_snr(t),
    iw.KarrasGrid: lambda grid, schedule, t: (schedule.sigma(t) / schedule.alpha(t)) ** (1 / grid.rho),
    iw.AngleGrid: lambda grid, schedule, t: torch.atan2(schedule.sigma(t), schedule.alpha(t)),
}
grids = pytest.mark.parametrize("grid", GRID_KINDS, ids=str)
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)


@grids
@schedules
@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_a_grid_decreases_from_one_to_zero(grid, schedule, steps):
    times = grid.times(schedule, steps)
    assert times.dtype == F64
    assert times.shape == (steps + 1,)
    assert times[0] == 1
    assert times[-1] == 0
    assert bool((times.diff() < 0).all())


@bug(
    "Karras' grid without its root",
    iw.KarrasGrid,
    "times",
    iw.LogSnrGrid.times,
    grid=iw.KarrasGrid(),
    schedule=SCHEDULES[0],
)
@grids
@schedules
def test_a_grid_is_even_in_its_variable(grid, schedule):
    """All times but 0, and but a time 1 without signal, where the variable may be infinite."""
    times = grid.times(schedule, 12)[:-1]
    places = VARIABLES[type(grid)](grid, schedule, times if schedule.alpha(1.0) > 0 else times[1:])
    gaps = places.diff()
    torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("grid", [iw.QuadraticGrid(), iw.LogSnrGrid(), iw.KarrasGrid()], ids=str)
@schedules
def test_the_smallest_time_is_that_of_the_model(grid, schedule):
    assert float(grid.times(schedule, 9, finest=200)[-2]) == pytest.approx(1 / 200, rel=1e-9)


def angles_to_the_models_own(self, schedule, steps, finest=1000):
    start, stop = (torch.atan2(schedule.sigma(t), schedule.alpha(t)) for t in (1.0, 1 / finest))
    return grid_rules._closed(schedule.time(-2 * grid_rules._even(start, stop, steps).tan().log()))


@bug(
    "angles down to the model's own time on any grid",
    iw.AngleGrid,
    "times",
    angles_to_the_models_own,
    schedule=SCHEDULES[0],
)
@schedules
def test_the_angles_are_even_down_to_data_as_long_as_the_model_is_finer(schedule):
    """Of five steps the last is as long as the others; of more than the model has, it is the model's own."""
    places = VARIABLES[iw.AngleGrid](None, schedule, iw.AngleGrid().times(schedule, 5)[1:])
    torch.testing.assert_close(places.diff(), -places[-2].expand(4), rtol=1e-6, atol=0)
    assert float(iw.AngleGrid().times(iw.LinearSchedule(), 200, finest=50)[-2]) == pytest.approx(1 / 50)


@pytest.mark.parametrize("grid", [iw.LogSnrGrid(), iw.KarrasGrid()], ids=str)
def test_without_signal_at_time_one_the_last_time_with_signal_stands_for_it(grid):
    """The second time is where it would be if the model's last time with signal were the first."""
    schedule, end = iw.RectifiedSchedule(), torch.tensor(1 - 1 / 50, dtype=F64)
    times = grid.times(schedule, 5, finest=50)
    variable = VARIABLES[type(grid)]
    places = variable(grid, schedule, torch.cat([end[None], times[1:-1]]))
    torch.testing.assert_close(places.diff(), places.diff().mean().expand(4), rtol=1e-9, atol=0)


def test_karras_grid_is_the_list_of_the_paper():
    """The schedule of EDM is built of that list; the grid finds it on another schedule of the same range."""
    karras = iw.KarrasSchedule(18)
    wide = Exploding(low=0.0001, high=80.0)
    finest = round(1 / float(wide.time(karras.log_snr(1 / 18))))
    exact = Exploding(low=0.0001, high=80.0).sigma(1 / finest)
    times = iw.KarrasGrid().times(wide, 18, finest)
    expected = iw.KarrasSchedule(18, sigma_min=float(exact)).sigma(iw.uniform_grid(18))
    torch.testing.assert_close(wide.sigma(times)[:-1], expected[:-1], rtol=1e-9, atol=0)


@grids
@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_a_bad_number_of_steps_is_refused(grid, steps):
    with pytest.raises(iw.ConfigError, match="steps"):
        grid.times(iw.LinearSchedule(), steps)


@pytest.mark.parametrize("grid", [kind for kind in GRID_KINDS if not isinstance(kind, iw.UniformGrid)], ids=str)
@pytest.mark.parametrize("finest", [0, 1, 2.5, True])
def test_a_bad_grid_of_the_model_is_refused(grid, finest):
    with pytest.raises(iw.ConfigError, match="finest"):
        grid.times(iw.LinearSchedule(), 3, finest)


def test_more_steps_than_there_are_times_are_refused():
    with pytest.raises(iw.ConfigError, match="steps: got 1000, need fewer"):
        iw.LogSnrGrid().times(iw.RectifiedSchedule(), 1000, finest=10**15)


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_rho_is_refused(rho):
    with pytest.raises(iw.ConfigError, match=r"grid\.rho"):
        iw.KarrasGrid(rho)


def test_every_public_grid_has_a_name():
    assert set(GRIDS.values()) == set(public(iw.sample.Grid))


def test_each_grid_has_its_name_and_each_name_its_grid():
    assert set(GRIDS) == set(get_args(GridName))
    assert {kind.__name__ for kind in GRIDS.values()} == {
        "".join(part.capitalize() for part in name.split("-")) + "Grid" for name in GRIDS
    }
