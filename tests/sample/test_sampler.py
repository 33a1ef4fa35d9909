"""Samplers on data for which every step is a known affine map with known noise."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from bugs import bug
from closed_forms import flow
from oracles import (
    F64,
    LINE,
    PLANE,
    POINT,
    UNEVEN,
    condition,
    exact_denoiser,
    joint_covariance,
    last_moments,
    log_snr_grid,
    moments,
    name_of,
    prescribed_noise,
    public,
    public_schedules,
    tensor,
    with_signal,
)

import inkwash as iw
from inkwash.process.distributions import standard_normal
from inkwash.process.noise.steps import posterior_var
from inkwash.sample import multistep, stochastic
from inkwash.sample.quadrature import exponential_step
from inkwash.sample.sampler import Multistep

SCHEDULES = public_schedules()
LINEAR, ANCESTRAL = iw.LinearSchedule(), iw.Ancestral()
SAMPLERS = [
    *(kind() for kind in public(iw.sample.Sampler)),
    iw.DDIM(eta=0.5),
    iw.DDIM(eta=1.0),
    iw.DPMSolver(2, eta=1.0),
    iw.DPMSolver(3, corrector=True),
    iw.SingleStep(3),
]
OF_FINITE_STEPS = (iw.AnnealedLangevin, iw.PredictorCorrector)
"""Samplers with Langevin steps, whose law is that of the data only as these steps get short."""
EXACT_ON_A_POINT = [s for s in SAMPLERS if not isinstance(s, (*OF_FINITE_STEPS, iw.EulerMaruyama))]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
samplers = pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
grids = pytest.mark.parametrize(
    "times", [iw.uniform_grid(10), UNEVEN, tensor([1.0, 0.0])], ids=["even", "uneven", "one"]
)


def affine(sampler, denoiser, t, s, size):
    """A step as x_s = A x_t + b + N z, z standard normal: A, b and N, by feeding it basis vectors."""
    eye, zero, random = torch.eye(size, dtype=F64), torch.zeros(size, size, dtype=F64), torch.Generator()
    with prescribed_noise(zero):
        b = sampler.step(denoiser, zero, t, s, random)
        a = sampler.step(denoiser, eye, t, s, random) - b
    with prescribed_noise(eye):
        n = sampler.step(denoiser, zero, t, s, random) - b
    return a.T, b[0], n.T


def prior(size):
    return torch.zeros(size, dtype=F64), torch.eye(size, dtype=F64)


def ddim(self, denoiser, x_t, t, s, generator, kept_var, noise_std):
    estimate, schedule = denoiser(x_t, t), denoiser.process.schedule
    mean = schedule.alpha(s) * estimate.x + kept_var.clamp(min=0).sqrt() * estimate.eps
    return mean if s == 0 else mean + noise_std * standard_normal(x_t.shape, generator, like=x_t)


def ddim_with_sigma_t(self, denoiser, x_t, t, s, generator):
    var = self.eta**2 * posterior_var(denoiser.process.schedule, s, t)
    return ddim(self, denoiser, x_t, t, s, generator, denoiser.process.schedule.sigma(t) ** 2 - var, var.sqrt())


@bug("sigma_t for sigma_s in DDIM", iw.DDIM, "step", ddim_with_sigma_t, schedule=LINEAR, times=UNEVEN)
@pytest.mark.parametrize("schedule", with_signal(SCHEDULES), ids=name_of)
@grids
def test_ddim_follows_its_recursion(schedule, times):
    """In y = x_t / alpha and w = sigma / alpha: along a principal axis of variance v, a step from w to w' multiplies
    y - mean by (v + w w') / (v + w^2)."""
    w = schedule.sigma(times) / schedule.alpha(times)
    v = PLANE.eigenvalues[:, None]
    factor = ((v + w[:-1] * w[1:]) / (v + w[:-1] ** 2)).prod(1)
    axes = PLANE.eigenvectors
    expected_mean = PLANE.mean - axes @ (factor * (axes.T @ PLANE.mean))
    expected_cov = axes @ torch.diag((factor / schedule.alpha(1.0)) ** 2) @ axes.T
    mean, cov = last_moments(iw.DDIM(), exact_denoiser(PLANE, schedule), times, *prior(PLANE.size))
    torch.testing.assert_close(mean, expected_mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(cov, expected_cov, rtol=1e-10, atol=1e-10)


def ancestral_step(data, schedule, variance, t, s):
    """Gain and noise of a step by conditioning: the mean is E[x_s | x_t], the covariance that of x_s given x_t and x
    (small) or of x_t given x_s (large); none to time 0."""
    d, joint = data.size, joint_covariance(data, schedule, float(s), float(t))
    of_s, of_x, of_t = slice(0, d), slice(d, 2 * d), slice(2 * d, 3 * d)
    gain, _ = condition(joint, of_t, of_s)
    if s == 0:
        return gain, torch.zeros(d, d, dtype=F64)
    noise = (
        condition(joint, slice(of_x.start, of_t.stop), of_s) if variance == "small" else condition(joint, of_s, of_t)
    )
    return gain, noise[1]


@schedules
@pytest.mark.parametrize("variance", ["small", "large"])
@grids
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_ancestral_sampling_follows_its_recursion(schedule, variance, times):
    mean, cov = prior(PLANE.size)
    walk = moments(iw.Ancestral(), exact_denoiser(PLANE, schedule, variance), times, mean, cov)
    for t, (s, got_mean, got_cov) in zip(times[:-1], walk, strict=True):
        gain, noise = ancestral_step(PLANE, schedule, variance, t, s)
        mean = schedule.alpha(s) * PLANE.mean + gain @ (mean - schedule.alpha(t) * PLANE.mean)
        cov = gain @ cov @ gain.T + noise
        torch.testing.assert_close(got_mean, mean, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(got_cov, cov, rtol=1e-8, atol=1e-9)


@schedules
def test_ddim_with_all_its_noise_is_ancestral_sampling(schedule):
    denoiser = exact_denoiser(PLANE, schedule)
    for t, s in pairwise(UNEVEN):
        for one, other in zip(
            affine(iw.DDIM(1.0), denoiser, t, s, 2), affine(iw.Ancestral(), denoiser, t, s, 2), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def ddim_with_eta_not_squared(self, denoiser, x_t, t, s, generator):
    var = posterior_var(denoiser.process.schedule, s, t)
    kept = denoiser.process.schedule.sigma(s) ** 2 - self.eta * var
    return ddim(self, denoiser, x_t, t, s, generator, kept, self.eta * var.sqrt())


def ddim_with_the_noise_not_taken_off(self, denoiser, x_t, t, s, generator):
    std = self.eta * posterior_var(denoiser.process.schedule, s, t).sqrt()
    return ddim(self, denoiser, x_t, t, s, generator, denoiser.process.schedule.sigma(s) ** 2, std)


@bug("eta not squared", iw.DDIM, "step", ddim_with_eta_not_squared, sampler=iw.DDIM(0.5), schedule=LINEAR)
@bug(
    "DDIM's noise not taken off",
    iw.DDIM,
    "step",
    ddim_with_the_noise_not_taken_off,
    sampler=iw.DDIM(0.5),
    schedule=LINEAR,
)
@pytest.mark.parametrize("sampler", [*EXACT_ON_A_POINT, iw.Heun(s_churn=3.0)], ids=str)
@schedules
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_on_a_single_point_every_step_keeps_the_marginal(sampler, schedule):
    """Data that is one point m: started from the law of x_1, each x_s must have the law N(alpha_s m, sigma_s^2)."""
    eye = torch.eye(2, dtype=F64)
    start = schedule.alpha(1.0) * POINT.mean, schedule.sigma(1.0) ** 2 * eye
    for s, mean, cov in moments(sampler, exact_denoiser(POINT, schedule), UNEVEN, *start):
        torch.testing.assert_close(mean, schedule.alpha(s) * POINT.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(cov, schedule.sigma(s) ** 2 * eye, rtol=1e-9, atol=1e-9)


def noise_to_the_end(self, denoiser, x_t, t, s, generator):
    return denoiser.process.reverse(x_t, denoiser(x_t, t), s, t).draw(generator)


def network_asked_about_s(self, denoiser, x_t, t, s, generator):
    reverse = denoiser.process.reverse(x_t, denoiser(x_t, (t + s) / 2), s, t)
    return reverse.mean if s == 0 else reverse.draw(generator)


EULER_MARUYAMA = iw.EulerMaruyama.step


def euler_maruyama_with_noise_to_the_end(self, denoiser, x_t, t, s, generator):
    x_s = EULER_MARUYAMA(self, denoiser, x_t, t, s, generator)
    return x_s + (s == 0) * denoiser.process.schedule.sigma(t) * standard_normal(x_t.shape, generator, like=x_t)


@bug("noise on the last step", iw.Ancestral, "step", noise_to_the_end, sampler=ANCESTRAL, variance="large")
@bug(
    "network asked about another time", iw.Ancestral, "step", network_asked_about_s, sampler=ANCESTRAL, variance="large"
)
@bug(
    "noise on Euler-Maruyama's last step",
    iw.EulerMaruyama,
    "step",
    euler_maruyama_with_noise_to_the_end,
    sampler=iw.EulerMaruyama(),
    variance="large",
)
@samplers
@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_last_step_adds_no_noise(sampler, variance):
    denoiser, x_t = exact_denoiser(PLANE, LINEAR, variance), tensor([[0.3, -1.0]])
    ends = [sampler.step(denoiser, x_t, tensor(0.1), tensor(0.0), torch.Generator().manual_seed(k)) for k in range(2)]
    assert torch.equal(*ends)
    torch.testing.assert_close(ends[0], denoiser(x_t, 0.1).x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if not isinstance(s, OF_FINITE_STEPS)], ids=str)
@pytest.mark.slow_cases("SingleStep(order=3)", "EulerMaruyama")
def test_finer_grids_bring_samples_to_the_law_of_the_data(sampler):
    """Started from the true law of x_1, the errors of mean and covariance at least halve, nearly, with the step."""
    errors = []
    for steps in (50, 100, 200):
        x_1 = PLANE.marginal(LINEAR.alpha(1.0), LINEAR.sigma(1.0))
        start = x_1.mean, x_1.covariance_matrix
        mean, cov = last_moments(sampler, exact_denoiser(PLANE, LINEAR), iw.uniform_grid(steps), *start)
        errors.append(float((mean - PLANE.mean).norm() + (cov - PLANE.cov).norm()))
    assert errors[2] < 0.1
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]


@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
def test_ddim_converges_to_the_flow_with_order_one(data):
    x_1 = torch.randn(20, data.size, generator=torch.Generator().manual_seed(0), dtype=F64)
    errors = []
    for steps in (200, 400, 800):
        walk = iw.DDIM().trajectory(
            exact_denoiser(data, LINEAR), x_1, log_snr_grid(LINEAR, steps, 1e-6), torch.Generator()
        )
        *_, (_, x) = walk
        errors.append(float((x - flow(data, LINEAR, x_1)).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.1)
    assert errors[2] < 0.03


@samplers
def test_draws_have_the_moments_of_the_recursion(sampler):
    """Real noise, through the whole walk: mean and covariance within four standard errors."""
    n, denoiser, times = 4000, exact_denoiser(PLANE, LINEAR), iw.uniform_grid(8)
    random = torch.Generator().manual_seed(5)
    x_1 = torch.randn(n, 2, generator=random, dtype=F64)
    *_, (_, x) = sampler.trajectory(denoiser, x_1, times, random)
    mean, cov = last_moments(sampler, denoiser, times, *prior(2))
    spread = cov.diagonal()
    assert bool(((x.mean(0) - mean).abs() < 4 * (spread / n).sqrt()).all())
    assert bool(((x.T.cov() - cov).abs() < 4 * (torch.outer(spread, spread) * 2 / n).sqrt()).all())


@samplers
def test_a_trajectory_visits_every_time(sampler):
    walk = sampler.trajectory(exact_denoiser(PLANE, LINEAR), tensor([[0.4, -0.9]]), UNEVEN, torch.Generator())
    assert [float(s) for s, _ in walk] == UNEVEN[1:].tolist()


def even_strides(self, denoiser, x_1, times, generator):
    x, stride = x_1, 1 / (len(times) - 1)
    for t in times[:-1]:
        s = (t - stride).clamp(min=0)
        x = self.step(denoiser, x, t, s, generator)
        yield s, x


@bug("even strides on an uneven grid", iw.sample.Sampler, "trajectory", even_strides, sampler=ANCESTRAL)
@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if not isinstance(s, Multistep)], ids=str)
def test_a_trajectory_walks_its_grid(sampler):
    """A walk is its steps between neighbours on an uneven grid, here without noise."""
    denoiser, x = exact_denoiser(PLANE, LINEAR), tensor([[0.4, -0.9]])
    with prescribed_noise(torch.zeros(1, 2, dtype=F64)):
        walk = list(sampler.trajectory(denoiser, x, UNEVEN, torch.Generator()))
        for (t, s), (_, x_s) in zip(pairwise(UNEVEN), walk, strict=True):
            x = sampler.step(denoiser, x, t, s, torch.Generator())
            torch.testing.assert_close(x_s, x, rtol=1e-12, atol=1e-12)


def langevin_with_one_norm_for_all(sampler, denoiser, x, t, generator):
    for _ in range(sampler.corrections if t > 0 else 0):
        score, noise = denoiser(x, t).score, standard_normal(x.shape, generator, like=x)
        length = 2 * (sampler.snr * noise.norm() / score.norm()) ** 2
        x = x + length * score + (2 * length).sqrt() * noise
    return x


@bug(
    "one norm over the batch",
    stochastic.Corrected,
    "correct",
    langevin_with_one_norm_for_all,
    sampler=iw.AnnealedLangevin(),
)
@samplers
def test_rows_do_not_mix(sampler):
    """With the noise held fixed, permuting a batch permutes the outcome, and two examples end alone as among others."""
    x_1 = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with prescribed_noise(tensor([[0.4, -0.2]])):
        there, here, few = (end(sampler, x) for x in (x_1, x_1[order], x_1[:2]))
    torch.testing.assert_close(there[order], here)
    torch.testing.assert_close(there[:2], few)


def end(sampler, x_1, times=UNEVEN):
    *_, (_, x) = sampler.trajectory(exact_denoiser(PLANE, LINEAR), x_1, times, torch.Generator().manual_seed(0))
    return x


SHARED_HISTORY = []


def with_shared_history(x_t, now, then, seen, *rest):
    SHARED_HISTORY[:] = [seen[0][1], *SHARED_HISTORY][: len(seen)]
    mixed = [(level, guess) for (level, _), guess in zip(seen, SHARED_HISTORY, strict=True)]
    return exponential_step(x_t, now, then, mixed, *rest)


@bug("history shared between walks", multistep, "exponential_step", with_shared_history, sampler=iw.DPMSolver())
@samplers
def test_a_walk_knows_of_no_other(sampler):
    """Two walks of one sampler at once, and one after the other, end where each ends alone."""
    starts = tensor([[0.4, -0.9]]), tensor([[-1.5, 0.3]])
    alone = [end(replace(sampler), x) for x in starts]
    walks = [
        sampler.trajectory(exact_denoiser(PLANE, LINEAR), x, UNEVEN, torch.Generator().manual_seed(0)) for x in starts
    ]
    for states in zip(*walks, strict=True):
        together = [x for _, x in states]
    for one, other, again in zip(alone, together, [end(sampler, x) for x in starts], strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, again)


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if not isinstance(s, iw.Adams)], ids=str)
def test_a_clipped_walk_ends_within_the_bounds(sampler):
    denoiser = iw.Clipped(exact_denoiser(PLANE, LINEAR), -0.5, 0.5)
    x_1 = torch.randn(50, 2, generator=torch.Generator().manual_seed(2), dtype=F64)
    *_, (_, x) = sampler.trajectory(denoiser, x_1, UNEVEN, torch.Generator().manual_seed(0))
    assert float(x.abs().max()) <= 0.5


@samplers
def test_a_walk_keeps_the_precision_of_its_data(sampler):
    denoiser = exact_denoiser(PLANE, LINEAR)
    x = torch.zeros(2, 2)
    assert all(y.dtype == x.dtype for _, y in sampler.trajectory(denoiser, x, UNEVEN, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_a_bad_eta_is_refused(eta):
    with pytest.raises(iw.ConfigError, match=r"sampler\.eta"):
        iw.DDIM(eta)
