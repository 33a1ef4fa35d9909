"""Solvers on equations with known solutions: their order, their tolerance, and each example on its own."""

import math
from functools import cache

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import torch
from bugs import bug
from oracles import F64, tensor

import inkwash as iw
from inkwash.likelihood.ode import _Past

START = tensor([[0.7, -0.2], [-0.4, 1.1], [1.3, 0.9]])


def pendulum(time, state):
    """A pendulum pushed at a frequency of 2."""
    return torch.stack([state[:, 1], (2 * time).cos() - state[:, 0].sin()], 1)


@cache
def reference():
    """SciPy's answer at time 3, by another method, one example at a time."""

    def single(time, state):
        return np.array([state[1], np.cos(2 * time) - np.sin(state[0])])

    options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-13}
    ends = [scipy.integrate.solve_ivp(single, (0, 3), x.numpy(), **options).y[:, -1] for x in START]
    return tensor(np.stack(ends))


def error(solver):
    state, _ = solver.solve(pendulum, START, 0.0, 3.0)
    return float((state - reference()).abs().max())


def test_fixed_steps_have_order_four():
    assert math.log2(error(iw.Fixed(40)) / error(iw.Fixed(80))) == pytest.approx(4, abs=0.2)


def past(times, slopes):
    """Slopes of one example at some times, the newest first."""
    return _Past(tensor(times)[:, None], tensor(slopes).reshape(len(times), 1, -1), torch.tensor([len(times)]))


@pytest.mark.parametrize(
    ("first", "gammas"),
    {0: [1, 1 / 2, 5 / 12, 3 / 8, 251 / 720, 95 / 288], 1: [1, -1 / 2, -1 / 12, -1 / 24, -19 / 720, -3 / 160]}.items(),
    ids=["explicit", "implicit"],
)
def test_equal_steps_have_the_coefficients_of_adams(first, gammas):
    """Hairer, Nørsett & Wanner (1993, tables III.1.1 and III.1.2): a step adds h times the sum of gamma_j times the
    j-th backward difference, and that of 2^t is 2^(t - j)."""
    times = np.arange(first, first - 6, -1.0)
    found = past(3 * times, 2.0**times).terms(tensor([0.0]), tensor([3.0])).flatten()
    differences = 2.0**first / 2.0 ** np.arange(6)
    torch.testing.assert_close(found, 3 * tensor(gammas) * tensor(differences))


def unscaled(self, time, step, terms=_Past.terms):
    return terms(self, time, step) / step[:, None]


@bug("no length of the step", _Past, "terms", unscaled)
def test_uneven_steps_are_those_of_scipys_polynomials():
    """The integral over a step of the polynomial through the newest m slopes, for every m."""
    times, slopes = np.array([1.1, 0.5, 0.4, -0.3, -1.0, -1.2]), np.random.default_rng(0).normal(size=(6, 3))
    found = past(times, slopes).terms(tensor([0.5]), tensor([0.6]))[:, 0].cumsum(0)
    for m in range(1, 7):
        polynomial = scipy.interpolate.KroghInterpolator(times[:m], slopes[:m])
        expected = scipy.integrate.quad_vec(polynomial, 0.5, 1.1)[0]
        torch.testing.assert_close(found[m - 1], tensor(expected), rtol=0, atol=1e-12)


def test_it_takes_half_the_evaluations_of_a_pair_of_runge_and_kutta():
    """At the same error, about 1e-7, and of one example: SciPy's pair of orders 5 and 4."""
    (state, evaluations), asked = iw.Adaptive(2e-8, 2e-8).solve(pendulum, START[:1], 0.0, 3.0), []

    def single(time, state):
        asked.append(time)
        return np.array([state[1], np.cos(2 * time) - np.sin(state[0])])

    theirs = scipy.integrate.solve_ivp(single, (0, 3), START[0].numpy(), rtol=1e-7, atol=1e-7).y[:, -1]
    assert (state - reference()[:1]).abs().max() <= np.abs(theirs - reference()[0].numpy()).max()
    assert evaluations[0] < len(asked) / 2


@pytest.mark.parametrize("solver", [iw.Adaptive(), iw.Fixed(7)], ids=["adaptive", "fixed"])
def test_a_known_slope_saves_an_evaluation(solver):
    state, evaluations = solver.solve(pendulum, START, 0.0, 3.0)
    slope = pendulum(torch.zeros(3, dtype=F64), START)
    same, fewer = solver.solve(pendulum, START, 0.0, 3.0, slope)
    assert torch.equal(same, state)
    assert torch.equal(fewer, evaluations - 1)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_the_error_is_of_the_size_of_the_tolerance(tolerance):
    assert error(iw.Adaptive(tolerance, tolerance)) < 30 * tolerance


def test_each_tolerance_counts():
    loose = iw.Adaptive(1e-3, 1e-3)
    assert error(iw.Adaptive(1e-9, 1e-12)) < error(loose) / 1e3
    large = 1e6 * START  # the equation y' = y: only the relative tolerance matters

    def relative(rtol, atol):
        state, _ = iw.Adaptive(rtol, atol).solve(lambda time, y: y, large, 0.0, 1.0)
        return float((state / (math.e * large) - 1).abs().max())

    assert relative(1e-9, 1e-3) < 1e-7
    assert relative(1e-2, 1e-3) > 1e-7


@pytest.mark.parametrize("solver", [iw.Adaptive(1e-10, 1e-10), iw.Fixed(400)], ids=["adaptive", "fixed"])
def test_there_and_back(solver):
    there, _ = solver.solve(pendulum, START, 0.5, 3.0)
    back, _ = solver.solve(pendulum, there, 3.0, 0.5)
    torch.testing.assert_close(back, START, rtol=0, atol=1e-7)


@pytest.mark.parametrize("solver", [iw.Adaptive(), iw.Fixed(3)], ids=["adaptive", "fixed"])
def test_no_way_to_go_changes_nothing(solver):
    state, _ = solver.solve(pendulum, START, 1.0, 1.0)
    assert torch.equal(state, START)


def stiff_beside(rates):
    """y' = -k (y - cos t), with k an entry of the state that stays as it is."""

    def field(time, state):
        return torch.stack([-state[:, 1] * (state[:, 0] - time.cos()), torch.zeros_like(time)], 1)

    return iw.Adaptive().solve(field, tensor([[0.3, rate] for rate in rates]), 0.0, 2.0)


def test_an_example_does_not_depend_on_its_neighbours():
    calm, steps = stiff_beside([1.0, 1.0, 1.0])
    mixed, more = stiff_beside([1.0, 300.0, 1.0])
    assert torch.equal(calm[[0, 2]], mixed[[0, 2]])
    assert torch.equal(steps[[0, 2]], more[[0, 2]])
    assert more[1] > 10 * more[0]


@pytest.mark.parametrize("solver", [iw.Adaptive(), iw.Fixed(7)], ids=["adaptive", "fixed"])
def test_evaluations_are_counted(solver):
    calls = []

    def counted(time, state):
        calls.append(time)
        return pendulum(time, state)

    _, evaluations = solver.solve(counted, START[:1], 0.0, 3.0)
    assert evaluations.tolist() == [len(calls)]


def test_a_pole_on_the_way_is_an_error():
    with pytest.raises((iw.NonFiniteError, iw.ConfigError)):
        iw.Adaptive().solve(lambda time, y: y**2, tensor([[1.0]]), 0.0, 2.0)
    with pytest.raises(iw.NonFiniteError):
        iw.Fixed(200).solve(lambda time, y: y**2, tensor([[1.0]]), 0.0, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("solver", [iw.Adaptive(), iw.Fixed(7)], ids=["adaptive", "fixed"])
def test_a_field_that_is_not_finite_is_an_error(solver, late, bad):
    def field(time, state):
        return torch.where((time[:, None] > 0.5) | (not late), bad, -state)

    with pytest.raises(iw.NonFiniteError, match="flow"):
        solver.solve(field, START, 0.0, 1.0)


def test_too_many_evaluations_are_an_error():
    """And not one more than allowed is made."""
    calls = []

    def counted(time, state):
        calls.append(time)
        return pendulum(time, state)

    with pytest.raises(iw.ConfigError, match=r"solver.max_evaluations: got 50, need more, .* 3 examples"):
        iw.Adaptive(1e-12, 1e-12, max_evaluations=50).solve(counted, START, 0.0, 3.0)
    assert 40 < len(calls) <= 50


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (iw.Fixed, {"steps": 0}),
        (iw.Fixed, {"steps": 2.5}),
        (iw.Fixed, {"steps": True}),
        (iw.Adaptive, {"rtol": 0.0}),
        (iw.Adaptive, {"atol": -1e-3}),
        (iw.Adaptive, {"atol": math.nan}),
        (iw.Adaptive, {"max_evaluations": 0}),
    ],
)
def test_bad_options_are_refused(kind, options):
    with pytest.raises(iw.ConfigError, match=rf"^solver\.{next(iter(options))}"):
        kind(**options)
