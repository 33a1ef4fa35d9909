"""What objectives ask of a network where numbers recur: which of them a number is, but for bounds, which say it by
themselves."""

import math

import pytest
import torch
from bugs import bug
from oracles import F64
from scipy.stats import norm
from spiked import MEAN, SHARE, STD, network_of, prediction, rows, true_log_prob

import inkwash as iw
from inkwash.process.spike_slab import SpikeSlab
from inkwash.training.objective import MeanRegression

COUNT, STEPS = 400, 400


def batch(count=COUNT, seed=0):
    """Rows, times that are equally spaced, and noise."""
    random = torch.Generator().manual_seed(seed)
    t = (torch.randperm(count, generator=random) + 0.5).double() / count
    return rows(count, seed), t, torch.randn(count, 1, dtype=F64, generator=random)


def denoiser_of(schedule):
    return iw.Denoiser(network_of(schedule), iw.Gaussian(schedule), prediction(), "large")


def cross_entropy(schedule, x, t, noise):
    """Minus the log-probability of being zero or not, given each noisy number, by Bayes' rule."""
    alpha, sigma = (getattr(schedule, name)(t)[:, None] for name in ("alpha", "sigma"))
    x_t = alpha * x + sigma * noise
    zero = SHARE * torch.from_numpy(norm(0, sigma).pdf(x_t))
    other = (1 - SHARE) * torch.from_numpy(norm(alpha * MEAN, (alpha**2 * STD**2 + sigma**2).sqrt()).pdf(x_t))
    return -(torch.where(x == 0, zero, other) / (zero + other)).log()[:, 0]


@bug("no cross-entropy", SpikeSlab, "surprise", lambda self, x: 0 * x)
def test_a_regression_has_the_cross_entropy_beside_the_error():
    schedule = iw.LogLinearSchedule(STEPS, 9.2)
    x, t, noise = batch()
    denoiser = denoiser_of(schedule)
    estimate = denoiser(denoiser.process.diffuse(x, t, noise), t)
    error = ((estimate.eps - noise) ** 2)[:, 0]
    found = iw.training.Regression().loss(denoiser, x, t, noise) - error
    torch.testing.assert_close(found, cross_entropy(schedule, x, t, noise), rtol=1e-6, atol=1e-9)


def test_the_mean_of_a_step_has_it_too():
    schedule = iw.LogLinearSchedule(STEPS, 9.2)
    x, t, noise = batch()
    at, denoiser = t.mul(STEPS).ceil() / STEPS, denoiser_of(schedule)
    x_t = denoiser.process.diffuse(x, at, noise)
    error = denoiser.process.posterior(x_t, x, at - 1 / STEPS, at).mean - denoiser(x_t, at).mean(at - 1 / STEPS)
    found = MeanRegression(STEPS).loss(denoiser, x, t, noise) - (error**2)[:, 0]
    torch.testing.assert_close(found, cross_entropy(schedule, x, at, noise), rtol=1e-6, atol=1e-9)


def test_the_hybrid_trains_the_odds_by_regression_alone():
    odds = torch.zeros((), dtype=F64, requires_grad=True)
    denoiser = denoiser_of(iw.LogLinearSchedule(STEPS, 9.2))
    exact = denoiser.network
    denoiser.network = lambda x_t, t: exact(x_t, t) + odds * torch.tensor([0.0, 1.0, 0.0])
    x, t, noise = batch()
    hybrid, simple = (
        torch.autograd.grad(objective.loss(denoiser, x, at, noise).sum(), odds)[0]
        for objective, at in (
            (iw.training.Hybrid(iw.training.PairBound(STEPS), 1.0), t),
            (iw.training.Regression(), t.mul(STEPS).ceil() / STEPS),
        )
    )
    assert float(hybrid) == pytest.approx(float(simple), rel=1e-9)
    assert abs(float(simple)) > 1e-3


def test_the_continuous_bound_of_a_learned_schedule_is_a_bound():
    """Of the exact model: above the entropy, by no more than the decoder at the first time costs."""
    schedule = iw.LearnedSchedule(STEPS, 9.2, -9.2)
    x, t, noise = batch(8000)
    with torch.no_grad():
        gap = iw.training.ContinuousBound().loss(denoiser_of(schedule), x, t, noise) + true_log_prob(x)
    error = float(gap.std()) / math.sqrt(len(gap))
    assert -4 * error < float(gap.mean()) < 0.05 + 4 * error
