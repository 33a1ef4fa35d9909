"""Schedules against 50-digit arithmetic, round trips and monotonicity."""

import math
from functools import cache
from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import F64, name_of, public_schedules, tensor

import inkwash as iw
from inkwash.noise import as_grid

mpmath.mp.dps = 50
SCHEDULES = public_schedules()


def linear_betas(steps):
    scale = mpmath.mpf(1000) / steps
    first, last = mpmath.mpf(1e-4), mpmath.mpf(0.02)
    return [scale * (first + (last - first) * k / (steps - 1)) for k in range(steps)]


def cosine_betas(steps):
    offset = mpmath.mpf(0.008)
    f = [mpmath.cos((mpmath.mpf(k) / steps + offset) / (1 + offset) * mpmath.pi / 2) ** 2 for k in range(steps + 1)]
    return [min(1 - after / before, mpmath.mpf(0.999)) for before, after in pairwise(f)]


def tabulated_betas(steps):
    return [mpmath.mpf(0.001 + 0.4 * (k / steps) ** 3) for k in range(steps)]


@cache
def case(kind, steps):
    """A schedule and its exact alpha-bar, as mpmath numbers."""
    betas = {"linear": linear_betas, "cosine": cosine_betas, "tabulated": tabulated_betas}[kind](steps)
    schedule = {
        "linear": lambda: iw.LinearSchedule(steps),
        "cosine": lambda: iw.CosineSchedule(steps),
        "tabulated": lambda: iw.TabulatedSchedule(tuple(float(b) for b in betas)),
    }[kind]()
    bars = [mpmath.mpf(1)]
    for beta in betas:
        bars.append(bars[-1] * (1 - beta))
    return schedule, betas, bars


CASES = [("linear", t) for t in (21, 50, 1000, 10000)] + [("cosine", t) for t in (10, 21, 1000, 10000)]
CASES += [("tabulated", t) for t in (1, 10, 1000)]


def grid_indices(steps):
    """Both ends densely, the rest sparsely."""
    return sorted(
        {*range(1, min(steps, 40) + 1), *range(max(1, steps - 40), steps + 1), *range(1, steps, 1 + steps // 100)}
    )


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_scales_agree_with_fifty_digits_on_the_grid(kind, steps):
    check_scales(kind, steps)


def check_scales(kind="linear", steps=1000):
    schedule, _, bars = case(kind, steps)
    k = grid_indices(steps)
    t = torch.tensor(k, dtype=F64) / steps
    alpha = tensor([float(mpmath.sqrt(bars[i])) for i in k])
    sigma = tensor([float(mpmath.sqrt(1 - bars[i])) for i in k])
    log_snr = tensor([float(mpmath.log(bars[i] / (1 - bars[i]))) for i in k])
    torch.testing.assert_close(schedule.alpha(t), alpha, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.sigma(t), sigma, rtol=1e-12, atol=0)
    torch.testing.assert_close(schedule.log_snr(t), log_snr, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "steps"), [c for c in CASES if c[1] > 1])
def test_neighbours_give_ddpms_letters(kind, steps):
    check_ddpm_letters(kind, steps)


def check_ddpm_letters(kind="linear", steps=1000):
    """beta_k and beta-tilde_k of Ho et al. (2020), in 50 digits, from the pair ((k-1)/T, k/T)."""
    schedule, betas, bars = case(kind, steps)
    process = iw.Gaussian(schedule)
    k = grid_indices(steps)[1:]
    t = torch.tensor(k, dtype=F64) / steps
    s = (torch.tensor(k, dtype=F64) - 1) / steps
    beta = tensor([float(betas[i - 1]) for i in k])
    beta_tilde = tensor([float((1 - bars[i - 1]) / (1 - bars[i]) * betas[i - 1]) for i in k])
    zeros = torch.zeros(len(k), 1, dtype=F64)
    torch.testing.assert_close(process.transition(zeros, s, t).var[:, 0], beta, rtol=1e-9, atol=0)
    torch.testing.assert_close(process.posterior(zeros, zeros, s, t).var[:, 0], beta_tilde, rtol=1e-9, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_signal_falls_and_noise_rises_with_time(schedule, a, b):
    s, t = min(a, b), max(a, b)
    if t - s < 1e-9:
        return
    assert schedule.log_snr(s) > schedule.log_snr(t)
    assert schedule.alpha(s) >= schedule.alpha(t)
    assert schedule.sigma(s) < schedule.sigma(t)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_continuous_everywhere(schedule):
    """Halving the step halves the largest change, so there is no jump."""

    def largest_change(n):
        t = torch.linspace(1e-3, 1, n + 1, dtype=F64)
        return max(float(f(t).diff().abs().max()) for f in (schedule.alpha, schedule.sigma, schedule.log_snr))

    coarse, fine = largest_change(20_000), largest_change(40_000)
    assert fine == pytest.approx(coarse / 2, rel=0.02)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@given(st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_time_inverts_log_snr(schedule, t):
    assert float(schedule.time(schedule.log_snr(t))) == pytest.approx(t, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@given(st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_log_snr_is_the_ratio_of_the_scales(schedule, t):
    alpha, sigma, log_snr = (float(f(t)) for f in (schedule.alpha, schedule.sigma, schedule.log_snr))
    if sigma == 0:
        assert log_snr == math.inf
    else:
        assert math.exp(log_snr / 2) == pytest.approx(alpha / sigma, rel=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_time_zero_is_data(schedule):
    assert (float(schedule.alpha(0.0)), float(schedule.sigma(0.0))) == (1.0, 0.0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_answers_do_not_depend_on_shape_or_type_of_times(schedule):
    t = torch.tensor([[0.1, 0.35], [0.6, 0.999]], dtype=F64)
    for method in (schedule.alpha, schedule.sigma, schedule.log_snr):
        answer = method(t)
        assert answer.dtype == F64
        assert torch.equal(answer, torch.stack([torch.stack([method(float(u)) for u in row]) for row in t]))


def test_coarse_linear_schedules_end_where_the_fine_one_does():
    """Betas scale with 1000/T, so the noise at the end hardly depends on T."""
    ends = [float(iw.LinearSchedule(steps).log_snr(1.0)) for steps in (200, 1000, 5000)]
    assert max(ends) - min(ends) < 0.05 * abs(ends[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.LinearSchedule(0),
        lambda: iw.LinearSchedule(20),
        lambda: iw.LinearSchedule(1000, beta_start=0.0),
        lambda: iw.LinearSchedule(1000, beta_end=1.0),
        lambda: iw.LinearSchedule(1000, beta_end=math.nan),
        lambda: iw.CosineSchedule(0),
        lambda: iw.CosineSchedule(10, offset=-0.1),
        lambda: iw.CosineSchedule(10, offset=math.nan),
        lambda: iw.CosineSchedule(10, max_beta=1.0),
        lambda: iw.TabulatedSchedule(()),
        lambda: iw.TabulatedSchedule((0.1, 0.0)),
        lambda: iw.TabulatedSchedule((0.1, 1.0)),
        lambda: iw.TabulatedSchedule((math.nan,)),
        lambda: iw.LinearSchedule(100.5),
        lambda: iw.CosineSchedule(10.5),
        lambda: iw.uniform_grid(0),
        lambda: iw.uniform_grid(2.5),
        lambda: as_grid(10, torch.tensor([1.0, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([0.9, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.1]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.5, 0.5, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.2, 0.5, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, math.nan, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([[1.0, 0.0]]), 5),
        lambda: as_grid(None, torch.tensor([1.0]), 5),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(iw.ConfigError, match=r"got .*, need "):
        make()


def test_grids_hit_the_steps_of_the_table():
    """The T-step grid of a T-step schedule visits each listed beta once, whatever T."""
    for steps in (3, 10, 49, 1000):
        schedule = iw.TabulatedSchedule(tuple(torch.linspace(0.01, 0.2, steps, dtype=F64).tolist()))
        grid = iw.uniform_grid(steps)
        beta = iw.Gaussian(schedule).transition_var(grid[1:], grid[:-1]).flip(0)
        torch.testing.assert_close(beta, schedule.table(), rtol=1e-10, atol=0)


def test_a_grid_is_taken_as_given_or_by_its_steps():
    times = tensor([1.0, 0.3, 0.0])
    assert torch.equal(as_grid(None, times, 5), times)
    assert torch.equal(as_grid(4, None, 5), tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    assert len(as_grid(None, None, 5)) == 6
