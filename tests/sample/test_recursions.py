"""Every public sampler against its recursion on Gaussian data."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from bugs import bug
from numpy.polynomial.legendre import leggauss
from oracles import (
    F64,
    PLANE,
    UNEVEN,
    Straight,
    exact_denoiser,
    last_moments,
    name_of,
    prescribed_noise,
    public,
    public_schedules,
    tensor,
)
from scipy.interpolate import KroghInterpolator

import inkwash as iw
from inkwash.sample import multistep, singlestep
from inkwash.sample.quadrature import combine, exponential_step, levels, weights

LINEAR = iw.LinearSchedule()
SCHEDULES = public_schedules()
NODES, WEIGHTS = leggauss(40)


class Axis:
    """Data N(0, v) along one principal axis, in y = x_t / alpha at the noise-to-signal ratio w.

    A state is a row of coefficients: of a constant, of x_1, and of each noise drawn. Where w is infinite the state is
    x_1 itself.
    """

    def __init__(self, variance, mean, columns):
        self.v, self.mean, self.units = variance, mean, iter(np.eye(columns)[1:])

    def start(self, w, alpha):
        unit = self.noise()
        return unit if math.isinf(w) else unit / alpha - self.mean * np.eye(len(unit))[0]

    def noise(self):
        return next(self.units)

    def x(self, y, w):
        return 0 * y if math.isinf(w) else y * self.v / (self.v + w**2)

    def eps(self, y, w):
        return y if math.isinf(w) else y * w / (self.v + w**2)


def ddim(sampler, data, y, ws):
    for w, then in pairwise(ws):
        fresh = sampler.eta**2 * then**2 * (1 - (then / w) ** 2)
        y = data.x(y, w) + math.sqrt(then**2 - fresh) * data.eps(y, w)
        if fresh > 0:
            y = y + math.sqrt(fresh) * data.noise()
    return y


def ancestral(sampler, data, y, ws):
    for w, then in pairwise(ws):
        share = (then / w) ** 2
        y = share * y + (1 - share) * data.x(y, w)
        if then > 0:
            y = y + then * math.sqrt(1 - share) * data.noise()
    return y


def euler_maruyama(sampler, data, y, ws):
    if math.isinf(ws[0]):
        y, ws = ws[1] * data.noise(), ws[1:]
    for w, then in pairwise(ws):
        y = y - (w**2 - then**2) / w * data.eps(y, w)
        if then > 0:
            y = y + math.sqrt(w**2 - then**2) * data.noise()
    return y


def langevin(sampler, data, y, w):
    for _ in range(sampler.corrections if w > 0 else 0):
        y = y - 2 * sampler.snr**2 * w * data.eps(y, w) + 2 * sampler.snr * w * data.noise()
    return y


def annealed(sampler, data, y, ws):
    for w, then in pairwise(ws):
        kept = then * data.eps(y, w) if math.isinf(w) else y
        y = data.x(y, w) if then == 0 else langevin(sampler, data, kept, then)
    return y


def predictor_corrector(sampler, data, y, ws):
    for w, then in pairwise(ws):
        y = langevin(sampler, data, ancestral(sampler, data, y, [w, then]), then)
    return y


def heun(sampler, data, y, ws):
    growth = 1 + min(sampler.s_churn / (len(ws) - 1), math.sqrt(2) - 1)
    for given, then in pairwise(ws):
        w = given
        if growth > 1 and given < ws[0] and sampler.s_min <= given <= sampler.s_max:
            w = min(given * growth, ws[0])
            y = y + sampler.s_noise * math.sqrt(w**2 - given**2) * data.noise()
        slope = data.eps(y, w)
        end = data.x(y, w) + then * slope
        y = end if then == 0 or math.isinf(w) else end + (then - w) / 2 * (data.eps(end, then) - slope)
    return y


def integrated(seen, start, stop, kernel):
    """The integral of kernel times the polynomial through pairs of place and value, from start to stop."""
    places, values = zip(*seen, strict=True)
    at = start + (stop - start) * (1 + NODES) / 2
    polynomial = KroghInterpolator(np.array(places), np.array(values))(at)
    return (stop - start) / 2 * (WEIGHTS * kernel(at)) @ polynomial


def exponential(y, w, then, seen, eta=0.0):
    """Exact in log w but for the polynomial: of y_then = (then/w)^k y + k int (then/u)^k x d(-log u), k = 1 + eta^2."""
    rate, stop = 1 + eta**2, -math.log(then)
    gained = integrated(seen, -math.log(w), stop, lambda place: rate * np.exp(rate * (place - stop)))
    return (then / w) ** rate * y + gained


def repeated(sampler, seen):
    """Whether the step that has been taken is the first, and of too low an order for those that follow."""
    return len(seen) == 2 and sampler.order > 2


def dpm_solver(sampler, data, y, ws):
    seen, noise = [], 0.0
    if math.isinf(ws[0]):
        y, ws = ws[1] * (data.noise() if sampler.eta else y), ws[1:]
    before, last = y, ws[0]
    for w, then in pairwise(ws):
        seen = [(-math.log(w), data.x(y, w)), *seen]
        if len(seen) > 1 and (sampler.corrector or repeated(sampler, seen)):
            y = exponential(before, last, w, seen, sampler.eta) + noise
        seen = seen[: sampler.order]
        if then == 0:
            return seen[0][1]
        noise = then * math.sqrt(1 - (then / w) ** (2 * sampler.eta**2)) * data.noise() if sampler.eta else 0.0
        before, last, y = y, w, exponential(y, w, then, seen, sampler.eta) + noise
    return y


def single_step(sampler, data, y, ws):
    for w, then in pairwise(ws):
        if math.isinf(w) or then == 0:
            y = data.x(y, w) + then * data.eps(y, w)
            continue
        seen = [(-math.log(w), data.x(y, w))]
        for k in range(1, sampler.order):
            inner = w * (then / w) ** (k / sampler.order)
            seen = [seen[0], (-math.log(inner), data.x(exponential(y, w, inner, seen), inner))]
        y = exponential(y, w, then, seen)
    return y


def adams(sampler, data, y, ws):
    """In z = y cos p: dz/dp = cos p eps - sin p x. Where w is infinite, z is x_1."""

    def turned(z, angle, stop):
        z = z + integrated([(p, eps) for p, _, eps in seen], angle, stop, np.cos)
        return z - integrated([(p, x) for p, x, _ in seen], angle, stop, np.sin)

    seen, z = [], y if math.isinf(ws[0]) else y / math.hypot(1, ws[0])
    before, last = z, math.atan(ws[0])
    for w, then in pairwise(ws):
        angle = math.atan(w)
        y = z if math.isinf(w) else z / math.cos(angle)
        seen = [(angle, data.x(y, w), data.eps(y, w)), *seen]
        if len(seen) > 1 and (sampler.corrector or repeated(sampler, seen)):
            z = turned(before, last, angle)
        seen = seen[: sampler.order]
        before, last, z = z, angle, turned(z, angle, math.atan(then))
    return z


def ipndm(sampler, data, y, ws):
    seen = []
    if math.isinf(ws[0]):
        y, ws = ws[1] * y, ws[1:]
    for w, then in pairwise(ws):
        if then == 0:
            return data.x(y, w)
        seen = [(w, data.eps(y, w)), *seen][: sampler.order]
        y = y + integrated(seen, w, then, np.ones_like)
    return y


RECURSIONS = {
    iw.Ancestral: ancestral,
    iw.DDIM: ddim,
    iw.Heun: heun,
    iw.DPMSolver: dpm_solver,
    iw.SingleStep: single_step,
    iw.Adams: adams,
    iw.IPNDM: ipndm,
    iw.EulerMaruyama: euler_maruyama,
    iw.AnnealedLangevin: annealed,
    iw.PredictorCorrector: predictor_corrector,
}
SAMPLERS = [
    *(kind() for kind in public(iw.sample.Sampler)),
    iw.DDIM(0.6),
    iw.Heun(s_churn=2.0, s_min=0.02, s_max=5.0, s_noise=1.1),
    iw.Heun(s_churn=20.0),
    iw.DPMSolver(1),
    iw.DPMSolver(2, eta=1.0),
    iw.DPMSolver(3, eta=0.4, corrector=True),
    iw.DPMSolver(2, corrector=True),
    iw.SingleStep(3),
    iw.Adams(3, corrector=False),
    iw.IPNDM(2),
    iw.AnnealedLangevin(2, 0.3),
    iw.PredictorCorrector(2, 0.3),
]
samplers = pytest.mark.parametrize("sampler", SAMPLERS, ids=str)


ANCESTRAL_STEP = iw.Ancestral.step


def x_t_clipped(self, denoiser, x_t, t, s, generator):
    return ANCESTRAL_STEP(self, denoiser, x_t.clamp(-1, 1), t, s, generator)


def of_order_one(x_t, now, then, seen, *rest):
    return exponential_step(x_t, now, then, seen[:1], *rest)


def with_sigma_t(x_t, now, then, seen, *rest):
    return exponential_step(x_t, replace(now, sigma=then.sigma or now.sigma), then, seen, *rest)


def with_one_variance_for_all(x_t, now, then, seen, eta=0.0, noise=None):
    return exponential_step(x_t, now, then, seen, 0.0, None if noise is None else eta * noise)


def uneven_grid_by_arithmetic(schedule, times):
    return levels(schedule, torch.linspace(1, 0, len(times), dtype=torch.float64))


def as_if_evenly_spaced(places, moments):
    return weights([-float(k) for k in range(len(places))], moments)


def with_an_unrepeated_start(self, seen):
    return self.corrector


LANGEVIN = iw.AnnealedLangevin.step


class AskedAbout:
    """A denoiser asked about one time, whatever the time."""

    def __init__(self, denoiser, t):
        self.denoiser, self.process, self.t = denoiser, denoiser.process, t

    def __call__(self, x_t, t):
        return self.denoiser(x_t, self.t)


def score_of_the_previous_level(self, denoiser, x_t, t, s, generator):
    return LANGEVIN(self, AskedAbout(denoiser, t), x_t, t, s, generator)


@bug("x_t clipped", iw.Ancestral, "step", x_t_clipped, sampler=iw.Ancestral(), schedule=LINEAR)
@bug("churn capped too low", singlestep, "_MOST_CHURN", 0.1, sampler=iw.Heun(s_churn=20.0), schedule=LINEAR)
@bug(
    "sigma_t for sigma_s in an exponential step",
    multistep,
    "exponential_step",
    with_sigma_t,
    sampler=iw.DPMSolver(),
    schedule=LINEAR,
)
@bug(
    "the first step not repeated",
    multistep._Polynomial,
    "_repeats",
    with_an_unrepeated_start,
    sampler=iw.Adams(3, corrector=False),
    schedule=LINEAR,
)
@bug(
    "the corrector does not look ahead",
    multistep,
    "exponential_step",
    of_order_one,
    sampler=iw.DPMSolver(2, corrector=True),
    schedule=LINEAR,
)
@bug(
    "noise added, not made room for",
    multistep,
    "exponential_step",
    with_one_variance_for_all,
    sampler=iw.DPMSolver(2, eta=1.0),
    schedule=LINEAR,
)
@bug(
    "single steps without their inner time",
    singlestep,
    "exponential_step",
    of_order_one,
    sampler=iw.SingleStep(3),
    schedule=LINEAR,
)
@bug(
    "times by arithmetic, not from the list",
    multistep,
    "levels",
    uneven_grid_by_arithmetic,
    sampler=iw.Adams(),
    schedule=LINEAR,
)
@bug(
    "fixed coefficients on an uneven grid",
    multistep,
    "weights",
    as_if_evenly_spaced,
    sampler=iw.IPNDM(),
    schedule=LINEAR,
)
@bug(
    "score of the previous level",
    iw.AnnealedLangevin,
    "step",
    score_of_the_previous_level,
    sampler=iw.AnnealedLangevin(2, 0.3),
    schedule=LINEAR,
)
@samplers
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_a_walk_follows_its_recursion(sampler, schedule):
    """Mean and covariance of samples from the prior, along the principal axes, by the recursion in sigma/alpha."""
    check_recursion(sampler, schedule, UNEVEN)


def check_recursion(sampler, schedule, times):
    w = (schedule.sigma(times) / schedule.alpha(times)).tolist()
    alpha, mean = float(schedule.alpha(1.0)), PLANE.mean @ PLANE.eigenvectors
    scale = float(iw.Gaussian(schedule).scale(1.0))
    rows = []
    for v, m in zip(PLANE.eigenvalues.tolist(), mean.tolist(), strict=True):
        axis = Axis(v, m, 100)
        start = axis.start(w[0], alpha)
        start[1:] *= scale
        rows.append(RECURSIONS[type(sampler)](sampler, axis, start, w))
    ends = tensor(np.array(rows))
    law = torch.zeros(2, dtype=F64), scale**2 * torch.eye(2, dtype=F64)
    got_mean, got_cov = last_moments(sampler, exact_denoiser(PLANE, schedule), times, *law)
    axes = PLANE.eigenvectors
    torch.testing.assert_close(got_mean, axes @ (mean + ends[:, 0]), rtol=1e-10, atol=1e-10)
    expected = axes @ torch.diag((ends[:, 1:] ** 2).sum(1)) @ axes.T
    torch.testing.assert_close(got_cov, expected, rtol=1e-10, atol=1e-10)


def churn_beyond_the_end(self, schedule, x_t, t, growth, generator):
    """Up to more noise than at time 1."""
    later = schedule.time(schedule.log_snr(t) - 2 * math.log(growth))
    now, then = levels(schedule, torch.stack([t, later]))
    added = then.alpha * math.sqrt(then.noise_to_signal**2 - now.noise_to_signal**2)
    noise = singlestep.standard_normal(x_t.shape, generator, like=x_t)
    return combine([then.alpha / now.alpha, self.s_noise * added], [x_t, noise]), later


@bug("churn beyond time 1", iw.Heun, "_churn", churn_beyond_the_end)
def test_churn_ends_at_time_one():
    """Also under a schedule whose inverse goes on beyond time 1."""
    check_recursion(iw.Heun(s_churn=20.0), Straight(first=60.0, last=-6.0), tensor([1.0, 0.995, 0.9, 0.55]))


@pytest.mark.parametrize(
    ("kind", "options"), [(iw.DPMSolver, {}), (iw.Adams, {"corrector": False}), (iw.IPNDM, {})], ids=name_of
)
def test_of_order_one_all_are_ddim(kind, options):
    """Each holds the estimate fixed over a step, as DDIM does, also for one that is not linear."""
    denoiser = iw.Denoiser(lambda x_t, t: x_t.tanh(), iw.Gaussian(LINEAR), "x")
    model = iw.Diffusion(denoiser, (3,), dtype=F64)
    ours, ddim = (model.sample(4, seed=0, steps=7, sampler=each) for each in (kind(order=1, **options), iw.DDIM()))
    assert torch.allclose(ours, ddim, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [iw.DPMSolver, iw.Adams, iw.IPNDM, iw.SingleStep])
@pytest.mark.parametrize("order", [0, 5, 1.5, True])
def test_a_bad_order_is_refused(kind, order):
    with pytest.raises(iw.ConfigError, match=r"sampler\.order"):
        kind(order)


BAD = [
    partial(iw.DPMSolver, eta=1.1),
    partial(iw.DPMSolver, eta=math.nan),
    partial(iw.Heun, s_churn=-1.0),
    partial(iw.Heun, s_noise=math.nan),
    partial(iw.AnnealedLangevin, corrections=0),
    partial(iw.PredictorCorrector, snr=0.0),
    partial(iw.PredictorCorrector, snr=math.inf),
]


@pytest.mark.parametrize("make", BAD, ids=str)
def test_a_bad_option_is_refused(make):
    with pytest.raises(iw.ConfigError, match=r"sampler\."):
        make()


def test_a_corrector_takes_no_more_evaluations():
    assert count(iw.DPMSolver(3, corrector=True)) == count(iw.DPMSolver(3)) == 8
    assert count(iw.Adams()) == count(iw.Adams(corrector=False)) == 8


def test_costs_are_as_documented():
    assert [count(s) for s in (iw.DDIM(), iw.IPNDM(), iw.Heun(), iw.SingleStep(2), iw.SingleStep(3))] == [
        8,
        8,
        15,
        15,
        22,
    ]


def count(sampler):
    """Evaluations of the denoiser on a grid of eight steps."""
    asked, denoiser = [], exact_denoiser(PLANE, LINEAR)

    def network(x_t, t):
        asked.append(t)
        return denoiser(x_t, t).x

    counted = iw.Denoiser(network, iw.Gaussian(LINEAR), predicts="x")
    with prescribed_noise(torch.zeros(1, 2, dtype=F64)):
        list(sampler.trajectory(counted, torch.zeros(1, 2, dtype=F64), UNEVEN, torch.Generator()))
    return len(asked)
