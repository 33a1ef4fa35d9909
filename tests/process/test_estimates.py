"""What follows from an estimate, and estimates of which some entries are known."""

import math

import pytest
import torch
from bugs import bug
from every_process import CASES, NUMBERS
from oracles import F64, PLANE, name_of, public_schedules, tensor

from inkwash.process import Estimate, Gaussian
from inkwash.process.cold import Cold
from inkwash.process.gaussian import Noisy
from inkwash.process.variance import Large

T = tensor([0.2, 0.5, 0.9])
schedules = pytest.mark.parametrize("schedule", public_schedules(), ids=name_of)
NOISED = {name: case for name, case in CASES.items() if not isinstance(case[0], Cold)}
every_case = pytest.mark.parametrize("case", NOISED)


def exact(schedule, x_t):
    """The estimate of data whose law is known, and its scales."""
    process = Gaussian(schedule)
    alpha, sigma = schedule.alpha(T)[:, None], schedule.sigma(T)[:, None]
    x = PLANE.denoise(x_t, alpha, sigma)
    return Estimate(x, Noisy.at(x_t, T, process).eps_of(x), x_t, T, process, Large()), alpha, sigma


@bug("half the score", Estimate, "score", property(lambda self, score=Estimate.score.fget: score(self) / 2))
@schedules
def test_the_score_is_the_gradient_of_the_log_density(schedule):
    x_t = NUMBERS.double().requires_grad_()
    estimate, alpha, sigma = exact(schedule, x_t)
    (gradient,) = torch.autograd.grad(PLANE.marginal(alpha, sigma).log_prob(x_t).sum(), x_t)
    torch.testing.assert_close(estimate.score, gradient)


@bug("v of another sign", Estimate, "v", property(lambda self, v=Estimate.v.fget: -v(self)))
@schedules
def test_v_is_the_noisy_data_a_quarter_turn_later(schedule):
    """x_t = c (cos(angle) x + sin(angle) eps), and v is the same at angle + pi/2."""
    estimate, alpha, sigma = exact(schedule, NUMBERS.double())
    angle, radius = torch.atan2(sigma, alpha) + math.pi / 2, torch.hypot(alpha, sigma)
    torch.testing.assert_close(estimate.v, radius * (torch.cos(angle) * estimate.x + torch.sin(angle) * estimate.eps))


@schedules
def test_the_law_is_as_wide_as_standard_normal_data_given_its_noisy_version(schedule):
    estimate, alpha, sigma = exact(schedule, NUMBERS.double())
    var = 1 - alpha**2 / (alpha**2 + sigma**2)  # what observing alpha x + sigma eps leaves of the variance 1
    torch.testing.assert_close(estimate.law.var, var)
    torch.testing.assert_close(estimate.law.mean, estimate.x)


@every_case
def test_laws_of_single_precision_are_double(case):
    process, x, estimate = NOISED[case]
    made = estimate(process, x, tensor(0.4))
    assert made.law.mean.dtype == F64
    assert made.with_known(x, torch.ones_like(x, dtype=torch.bool)).x.dtype == x.dtype


@every_case
def test_known_entries_have_their_values_and_the_rest_stays(case):
    process, x, estimate = NOISED[case]
    before = estimate(process, x, T)
    known = torch.arange(x.numel()).reshape(x.shape) % 2 == 0
    after = before.with_known(x, known)
    torch.testing.assert_close(after.x, torch.where(known, x, before.x), rtol=0, atol=0)


@pytest.mark.parametrize("case", ["bits", "uniform", "absorbing"])
def test_the_law_of_a_known_value_allows_no_other(case):
    process, x, estimate = NOISED[case]
    before = estimate(process, x, T)
    known = torch.arange(x.numel()).reshape(x.shape) % 2 == 0
    masses = before.with_known(x, known).law.entry_log_prob(x)
    torch.testing.assert_close(masses, before.law.entry_log_prob(x).masked_fill(known, 0.0))


@pytest.mark.parametrize("case", ["bits", "uniform", "absorbing", "mixed"])
def test_rows_of_an_estimate_are_the_estimate_of_the_rows(case):
    process, x, estimate = NOISED[case]
    index = torch.tensor([2, 0])
    some, expected = estimate(process, x, T).rows(index), estimate(process, x[index], T[index])
    torch.testing.assert_close(some.law.entry_log_prob(x[index]), expected.law.entry_log_prob(x[index]))


@schedules
def test_noise_follows_from_an_estimate_that_is_replaced(schedule):
    estimate, alpha, sigma = exact(schedule, NUMBERS.double())
    other = estimate.with_x(estimate.x + 0.5)
    torch.testing.assert_close(alpha * other.x + sigma * other.eps, estimate.x_t)
    torch.testing.assert_close(other.mean(0.0), other.x)
    torch.testing.assert_close(other.mean(T * (1 - 1e-9)), estimate.x_t, atol=1e-6, rtol=1e-6)
