"""Gradients of schedules and variances that are learned, and where training ends: at optima known in closed form.

With Gaussian data and the exact denoiser the bound is a function of the schedule and the variances alone. Objectives
are integrated exactly over data and noise.
"""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import F64, LINE, PLANE, cubature, exact_denoiser, exact_network, tensor
from scipy.optimize import minimize
from torch import nn

import inkwash as iw
from inkwash.core.shapes import over
from inkwash.process.noise.steps import posterior_var
from inkwash.training import objective

STEPS = 4
MEAN, VAR = float(LINE.mean), float(LINE.cov)


def integrated(objective, denoiser, data=LINE, steps=STEPS):
    """Mean of an objective on the T-step grid over times, data and noise: nats per example."""
    z, eps = cubature(data.size)
    middles = (torch.arange(steps, dtype=F64) + 0.5) / steps
    rows = data.whiten_inverse(z).repeat(steps, 1), middles.repeat_interleave(len(z)), eps.repeat(steps, 1)
    return data.size * objective.loss(denoiser, *rows).mean()


def lowered(value, parameters, steps=60):
    """Lower a value by its gradients, and return it."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=steps, tolerance_change=1e-13, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = value()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(value().detach())


# Schedules on a few steps


def bound_of_log_snrs(log_snr):
    """The bound of `PLANE` at falling log-SNRs, with the large variance, from the terms that its MMSE curve gives."""
    snr, size, eigenvalues = np.exp(log_snr), PLANE.size, PLANE.eigenvalues.numpy()
    var = 1 / (1 + snr)
    mmse = (eigenvalues / (1 + eigenvalues * snr[:, None])).sum(1)
    square = float(PLANE.mean @ PLANE.mean) + eigenvalues.sum()
    prior = 0.5 * ((1 - var[-1]) * (square - size) - size * np.log(var[-1]))
    gain, ratio = (snr[:-1] - snr[1:]) * mmse[1:] / size, var[1:] / var[:-1]
    diffusion = size / 2 * np.sum((1 + gain) / ratio - 1 + np.log(ratio))
    return prior + diffusion + 0.5 * (size * np.log(2 * np.pi * var[0]) + mmse[0] / var[0])


def log_snrs_of_betas(betas):
    log_alpha_bar = np.cumsum(np.log1p(-betas))
    return log_alpha_bar - np.log(-np.expm1(log_alpha_bar))


def lowest(function, starts):
    """By simplex, from several starts: the point and the value."""
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000}
    found = [minimize(function, start, method="Nelder-Mead", options=options) for start in starts]
    best = min(found, key=lambda each: each.fun)
    return best.x, best.fun


STARTS = np.random.default_rng(0).normal(size=(4, STEPS))


def test_learned_betas_reach_the_best_ones():
    def betas(logits):
        return np.concatenate([[0.05], 1 / (1 + np.exp(-logits))])

    best, value = lowest(lambda logits: bound_of_log_snrs(log_snrs_of_betas(betas(logits))), STARTS[:, 1:])
    schedule = iw.process.LearnedBetas(STEPS, 0.05, iw.CosineSchedule(STEPS))
    objective, denoiser = iw.training.PairBound(STEPS), exact_denoiser(PLANE, schedule, "large")
    began = float(integrated(objective, denoiser, PLANE).detach())
    ended = lowered(lambda: integrated(objective, denoiser, PLANE), [schedule.logits])
    assert ended == pytest.approx(value, abs=1e-7)
    assert schedule.table().tolist() == pytest.approx(betas(best).tolist(), abs=1e-3)
    assert PLANE.entropy() < ended < began - 0.03


@pytest.mark.slow
def test_a_learned_log_snr_reaches_the_best_one():
    def falling(point):
        return point[0] - np.concatenate([[0.0], np.cumsum(np.exp(point[1:]))])

    best, value = lowest(lambda point: bound_of_log_snrs(falling(point)), STARTS)
    schedule = iw.LearnedSchedule(STEPS, 8.0, -5.0, learn_ends=True, width=8)
    objective, denoiser = iw.training.PairBound(STEPS), exact_denoiser(PLANE, schedule, "large")
    began = float(integrated(objective, denoiser, PLANE).detach())
    ended = lowered(lambda: integrated(objective, denoiser, PLANE), list(schedule.parameters()))
    assert ended == pytest.approx(value, abs=2e-5)
    reached = schedule.log_snr(torch.arange(1, STEPS + 1, dtype=F64) / STEPS)
    assert reached.sigmoid().tolist() == pytest.approx((1 / (1 + np.exp(-falling(best)))).tolist(), abs=2e-3)
    assert PLANE.entropy() < ended < began - 0.1


# Variances


@pytest.mark.parametrize("kind", ["learned", "free"])
def test_a_variance_of_the_network_reaches_the_best_one(kind):
    """That is 1 + rho times the posterior's, at a cost of (d/2) ln(1 + rho); at the decoder the mean squared error."""
    schedule = iw.CosineSchedule(STEPS)
    exact, spread = exact_network(PLANE, schedule), nn.Parameter(torch.zeros(STEPS, dtype=F64))

    def network(x_t, t):
        return torch.cat([exact(x_t, t), over(spread[(t * STEPS).round().long() - 1], x_t).expand_as(x_t)], 1)

    denoiser = iw.Denoiser(network, iw.Gaussian(schedule), "x", kind)
    lowered(lambda: integrated(iw.training.PairBound(STEPS), denoiser, PLANE), [spread])
    times = torch.arange(1, STEPS + 1, dtype=F64) / STEPS
    snr = schedule.log_snr(times).exp()
    error = PLANE.mmse(snr) / PLANE.size
    best = 1 + (snr[:-1] - snr[1:]) * error[1:]
    process = denoiser.process
    small = posterior_var(process.schedule, times[:-1], times[1:])
    estimate = denoiser(torch.zeros(STEPS - 1, 2, dtype=F64), times[1:])
    reached = estimate.variance.of_step(process.schedule, times[:-1], times[1:], spread[1:])
    torch.testing.assert_close(reached / small, best, rtol=1e-4, atol=0)
    decoder = estimate.variance.of_decoder(process.schedule, iw.uniform_grid(STEPS), spread[:1])
    torch.testing.assert_close(decoder, error[:1], rtol=1e-4, atol=0)


# Gradients


def moved(schedule, seed=0, spread=0.3):
    """A schedule off its start."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=random, dtype=F64)
    return schedule


def along(gradients, direction):
    return sum(float((g * w).sum()) for g, w in zip(gradients, direction, strict=True))


def differences(value, schedule, parameters, direction, h=1e-5):
    """Slope of a value of a schedule in a `direction` of some of its parameters."""
    names = {id(p): n for n, p in schedule.named_parameters()}

    def at(step):
        other = deepcopy(schedule)
        with torch.no_grad():
            for p, w in zip(parameters, direction, strict=True):
                other.get_parameter(names[id(p)]).add_(step * w)
        return float(value(other).detach())

    return (at(h) - at(-h)) / (2 * h)


def directions(parameters, seed):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=random, dtype=F64) for p in parameters]


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.process.LearnedBetas(6, 0.01, iw.CosineSchedule(6)),
        lambda: iw.LearnedSchedule(6, learn_ends=True, width=5),
    ],
    ids=["betas", "log-snr"],
)
def test_the_gradient_of_the_bound_in_a_schedule_is_that_of_differences(make, variance):
    schedule = moved(make())

    def value(schedule):
        return integrated(iw.training.PairBound(6), exact_denoiser(PLANE, schedule, variance), PLANE, 6)

    for seed, parameter in enumerate(schedule.parameters()):
        direction = directions([parameter], seed)
        gradient = torch.autograd.grad(value(schedule), [parameter])
        assert along(gradient, direction) == pytest.approx(
            differences(value, schedule, [parameter], direction), rel=1e-5
        )


def continuous_batch(steps, count=64, shift=0.5):
    """Rows of equal weight at evenly spaced times from 1/T on: the centre and the corners of a hexagon of radius 2,
    which integrate polynomials of degree 5 in two standard normal variables, data and noise, exactly."""
    angles = torch.arange(6, dtype=F64) * math.pi / 3
    points = torch.cat([torch.zeros(6, 2, dtype=F64), 2 * torch.stack([angles.cos(), angles.sin()], 1)])
    t = 1 / steps + (1 - 1 / steps) * (torch.arange(count, dtype=F64) + shift) / count
    z, eps = points.repeat(count, 1).split(1, 1)
    return LINE.whiten_inverse(z), t.repeat_interleave(len(points)), eps


def off_denoiser(schedule, off):
    """A denoiser whose estimate of x is a little off, by a factor that is trained."""
    exact = exact_network(LINE, schedule)
    return iw.Denoiser(lambda x_t, t: off * exact(x_t, t), iw.Gaussian(schedule), "x", "large")


def everything_on_the_variance(loss, other, parameters):
    return other + (loss - other).detach()


REDIRECTED = objective._redirected


@bug("shape trained on the loss", objective, "_redirected", lambda loss, *rest: loss)
@bug("ends trained on the variance", objective, "_redirected", everything_on_the_variance)
@bug(
    "shape trained on the square of the whole bound",
    objective,
    "_redirected",
    lambda loss, other, parameters: REDIRECTED(loss, loss**2, parameters),
)
@bug("ends counted among the shape", iw.LearnedSchedule, "shape", lambda self: list(self.parameters()))
def test_ends_follow_the_bound_and_the_shape_follows_the_variance():
    """Network and end points get the gradient of the bound, the shape that of the mean square of the diffusion part."""
    steps = 50
    schedule = moved(iw.LearnedSchedule(steps, 4.0, -6.0, learn_ends=True, width=5))
    batch, off = continuous_batch(steps, 16), tensor(0.9).requires_grad_()

    def bound(schedule, off=off):
        return iw.training.ContinuousBound().loss(off_denoiser(schedule, off), *batch).mean()

    def square(schedule):
        diffusion = iw.training.Regression("eps", "half-rate").loss(off_denoiser(schedule, off), *batch)
        return (diffusion**2).mean()

    ends, shape = [schedule.last, schedule.log_range], schedule.shape()
    gradients = torch.autograd.grad(bound(schedule), [*ends, *shape, off])
    for i, parameter in enumerate([*ends, *shape]):
        direction = directions([parameter], i)
        slopes = [differences(value, schedule, [parameter], direction) for value in (bound, square)]
        assert abs(slopes[0] - slopes[1]) > 1e-3 * max(map(abs, slopes))
        assert along(gradients[i : i + 1], direction) == pytest.approx(slopes[i >= len(ends)], rel=1e-5)
    h = 1e-6
    slope = (bound(schedule, off + h) - bound(schedule, off - h)) / (2 * h)
    assert float(gradients[-1]) == pytest.approx(float(slope.detach()), rel=1e-6)


# The bound in continuous time


def continuous_total(schedule):
    """Of `LINE`, with the large variance: prior, half the integral of the error over SNR, decoder."""
    ends = schedule.log_snr(tensor([1 / schedule.steps, 1.0])).detach().numpy()
    snr, var = np.exp(ends), 1 / (1 + np.exp(ends))
    prior = 0.5 * ((1 - var[1]) * (MEAN**2 + VAR) - (1 - var[1]) - np.log(var[1]))
    diffusion = 0.5 * (np.log1p(VAR * snr[0]) - np.log1p(VAR * snr[1]))
    mmse = VAR / (1 + VAR * snr[0])
    return float(prior + diffusion + 0.5 * (np.log(2 * np.pi * var[0]) + mmse / var[0]))


@bug(
    "continuous bound without its prior",
    objective,
    "_prior",
    lambda process, x, present: torch.zeros((), dtype=torch.float64),
    seed=0,
)
@pytest.mark.parametrize("seed", range(3))
def test_the_value_is_the_bound_whatever_the_shape(seed):
    steps = 1000
    schedule = moved(iw.LearnedSchedule(steps, 6.0, -1.0, width=6), seed)
    denoiser, (x, t, eps) = exact_denoiser(LINE, schedule, "large"), continuous_batch(steps, 300)
    early = torch.full_like(t, 0.5 / steps)  # of the part 1/T of all times
    late, first = (iw.training.ContinuousBound().loss(denoiser, x, at, eps).detach().mean() for at in (t, early))
    assert float(late + (first - late) / steps) == pytest.approx(continuous_total(schedule), abs=2e-3)


def shape_of_least_variance(steps=1000, updates=150):
    """Train a shape alone, from its start: mean square and mean of the diffusion part before, after; the schedule."""
    schedule = iw.LearnedSchedule(steps, 4.0, -4.0, width=8)
    denoiser, batch = exact_denoiser(LINE, schedule, "large"), continuous_batch(steps, 1000)

    def moments():
        with torch.no_grad():
            losses = iw.training.Regression("eps", "half-rate").loss(denoiser, *batch)
            return float((losses**2).mean()), float(losses.mean())

    before = moments()
    optimizer = torch.optim.Adam(schedule.shape(), lr=0.1, betas=(0.9, 0.99))
    for i in range(updates):
        optimizer.zero_grad()
        rows = continuous_batch(steps, 32, i * 0.618 % 1)
        iw.training.ContinuousBound().loss(denoiser, *rows).mean().backward()
        optimizer.step()
    return before, moments(), schedule


@pytest.mark.slow
def test_the_shape_reaches_the_least_variance_and_leaves_the_bound_alone():
    """At one log-SNR the squared error in eps is m chi², its mean square 3 m², with m = SNR mmse. With the rate |dλ/dt|
    in proportion to 1/m the loss is constant in time, and its mean square 3/4 of the squared integral of m over λ."""
    before, after, schedule = shape_of_least_variance()
    snr = schedule.log_snr(tensor([1 / 1000, 1.0])).exp().detach()
    integral = float(torch.log1p(VAR * snr[0]) - torch.log1p(VAR * snr[1]))
    least = 0.75 * integral**2
    assert before[0] > 1.6 * least
    assert 0.999 * least < after[0] < 1.06 * least
    assert (before[1], after[1]) == pytest.approx((integral / 2, integral / 2), rel=2e-3)
    assert unevenness(iw.LearnedSchedule(1000, 4.0, -4.0, width=8)) > 10
    assert unevenness(schedule) < 1.5


@torch.no_grad()
def unevenness(schedule):
    """Largest over smallest root mean square of the loss over time."""
    t = torch.linspace(0.05, 0.85, 17, dtype=F64)
    rate = (schedule.log_snr(t - 1e-4) - schedule.log_snr(t + 1e-4)) / 2e-4
    rms = rate * VAR / (VAR + (-schedule.log_snr(t)).exp())
    return float(rms.max() / rms.min())


def test_only_a_learned_log_snr_has_a_shape():
    denoiser = exact_denoiser(LINE, iw.process.LearnedBetas(30))
    with pytest.raises(iw.ConfigError, match="objective: got a LearnedBetas, need a LearnedSchedule"):
        iw.training.ContinuousBound().loss(denoiser, *continuous_batch(30, 2))


def test_without_gradients_it_is_a_value():
    schedule = iw.LearnedSchedule(20, 4.0, -6.0, learn_ends=True, width=5)
    objective, denoiser, batch = iw.training.ContinuousBound(), exact_denoiser(LINE, schedule), continuous_batch(20, 3)
    with torch.no_grad():
        value = objective.loss(denoiser, *batch)
    torch.testing.assert_close(objective.loss(denoiser, *batch).detach(), value, rtol=0, atol=0)
    assert math.isfinite(float(value.sum()))
