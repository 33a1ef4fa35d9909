"""Predictions: exact outputs in every parametrisation imply the same estimates."""

import itertools
import math
from dataclasses import replace

import mpmath
import pytest
import torch
from answers import GRID, PREDICTIONS, edm_factors, exact_answers, rows
from bugs import bug
from oracles import (
    APART,
    F64,
    LINE,
    ONE_ENTRY,
    PLANE,
    PLANE_PEAKS,
    TERNARY,
    TOGETHER,
    Exploding,
    Straight,
    Vanishing,
    exact_denoiser,
    gauss_hermite,
    log_snr_grid,
    name_of,
    prescribed_noise,
    public_schedules,
    tensor,
    with_signal,
)

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.core.shapes import over
from inkwash.denoise import prediction
from inkwash.denoise.prediction import F
from inkwash.denoise.spikes import Spiked
from inkwash.likelihood.bound import bound
from inkwash.process.noise.steps import keep, pull

VANISHING = Vanishing()
PRESERVING = [s for s in with_signal(public_schedules()) if isinstance(s, iw.process.VariancePreserving)]
SCHEDULES = [*PRESERVING, Exploding(), Straight(9.0, -8.0)]
PAIRS = list(itertools.pairwise(GRID.flip(0).tolist()))
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
datas = pytest.mark.parametrize("data", [PLANE, PLANE_PEAKS], ids=["plane", "plane peaks"])


def f_without_the_skip_scaled_by_alpha(self, output, noisy):
    width = self.input_scale(noisy)
    x = (self.data_std / width) ** 2 * noisy.x_t + noisy.sigma * self.data_std / width * output
    return prediction.Guess(x, noisy.eps_of(x))


def mean_off_by_one_pair(self, output, noisy):
    rising = self.times.flip(0)
    s = rising[(torch.searchsorted(rising, noisy.t) - 2).clamp(min=0)]
    kept, pulled = keep(noisy.process.schedule, s, noisy.t), pull(noisy.process.schedule, s, noisy.t)
    x = (output - over(kept, output) * noisy.x_t) / over(pulled, output)
    return prediction.Guess(x, noisy.eps_of(x))


@bug(
    "F whose skip forgets alpha",
    prediction.F,
    "read",
    f_without_the_skip_scaled_by_alpha,
    schedule=SCHEDULES[0],
    data=PLANE_PEAKS,
    s=0.3,
    t=0.75,
)
@bug(
    "mean off by one pair",
    iw.denoise.Mean,
    "read",
    mean_off_by_one_pair,
    schedule=SCHEDULES[0],
    data=PLANE_PEAKS,
    s=0.3,
    t=0.75,
)
@schedules
@datas
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_exact_outputs_in_every_parametrisation_imply_the_same_estimates(schedule, data, s, t):
    names = tuple(PREDICTIONS)
    x_t = schedule.alpha(t) * rows(0) + schedule.sigma(t) * rows(1)
    answers = exact_answers(data, schedule, x_t, s, t)
    # Rounding errors grow from eps to x where there is little signal, and from x to eps where there is little noise.
    scale = {"x": float((schedule.sigma(t) / schedule.alpha(t)).clamp(min=1)), "eps": 1 / float(schedule.sigma(t))}
    scale = {"x": scale["x"], "eps": max(scale["eps"], 1), "score": max(scale["eps"], 1) ** 2, "v": sum(scale.values())}
    scale["velocity"] = scale["v"]
    for name in names:
        estimate = iw.Denoiser(lambda *_, a=answers[name]: a, iw.Gaussian(schedule), PREDICTIONS[name])(x_t, t)
        for part in ("x", "eps", "score", "v", "velocity"):
            error = float((getattr(estimate, part) - answers[part]).abs().max())
            assert error < 1e-9 * scale[part] * (1 + float(answers[part].abs().max())), (name, part)
        error = float((estimate.mean(s) - answers["mean"]).abs().max())
        assert error < 1e-9 * (scale["x"] + float(answers["mean"].abs().max())), name


def test_every_prediction_is_tested():
    kinds = set(prediction.Prediction.__subclasses__())
    assert {type(kind) for kind in PREDICTIONS.values()} | {iw.denoise.Levels, iw.denoise.Mixture, Spiked} == kinds


# Velocity


def velocity_of_another_direction(estimate):
    return estimate.x - estimate.eps


@bug("velocity from noise to data", iw.process.Estimate, "velocity", property(velocity_of_another_direction))
@bug("velocity is v", iw.process.Estimate, "velocity", iw.process.Estimate.v)
def test_on_straight_lines_the_velocity_is_that_of_the_flow():
    """The flow of normal data moves x_t with its mean and, in units of its standard deviation, not at all."""
    schedule, z = iw.RectifiedSchedule(), rows(20, size=1)
    for t in (0.1, 0.5, 0.9):
        mean, var = (float(value) for value in (LINE.mean, LINE.cov))
        std = math.hypot((1 - t) * var**0.5, t)
        estimate = exact_denoiser(LINE, schedule)((1 - t) * mean + std * z, t)
        slope = (t - (1 - t) * var) / std
        torch.testing.assert_close(estimate.velocity, slope * z - mean, rtol=1e-9, atol=1e-9)


# EDM


F_READ = prediction.F.read


def f_with_data_of_unit_variance(self, output, noisy):
    return F_READ(prediction.F(1.0), output, noisy)


@bug("F without c_in", iw.Denoiser, "shown", lambda self, noisy: noisy.x_t, data_std=0.5, t=0.5)
@bug("F for data of unit variance", prediction.F, "read", f_with_data_of_unit_variance, data_std=0.5, t=0.5)
@pytest.mark.parametrize("data_std", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("t", [0.05, 0.5, 0.9])
def test_f_is_the_preconditioning_of_edm(data_std, t):
    """With alpha = 1, the network's input and the estimate from its output agree with the paper's table."""
    schedule, x_t, seen = Exploding(), rows(2, scale=4.0), []

    def network(y, _):
        seen.append(y)
        return torch.sin(y)

    estimate = iw.Denoiser(network, iw.Gaussian(schedule), F(data_std))(x_t, t)
    skip, out, into = edm_factors(0.002 * 40000**t, data_std)
    torch.testing.assert_close(seen[0], into * x_t, rtol=1e-12, atol=0)
    torch.testing.assert_close(estimate.x, skip * x_t + out * torch.sin(into * x_t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", PRESERVING, ids=name_of)
@pytest.mark.parametrize("t", [0.01, 0.5, 1.0])
def test_f_is_minus_v_for_unit_data_and_preserved_variance(schedule, t):
    x_t, output, process = rows(3), rows(4), iw.Gaussian(schedule)
    by_f = iw.Denoiser(lambda *_: output, process, "F")(x_t, t)
    by_v = iw.Denoiser(lambda *_: -output, process, "v")(x_t, t)
    torch.testing.assert_close(by_f.x, by_v.x, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(by_f.eps, by_v.eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["x", "v", "velocity", "F"])
def test_without_signal_the_estimates_stay_finite(name):
    estimate = iw.Denoiser(lambda y, t: 0.3 * y, iw.Gaussian(VANISHING), name)(rows(5), 1.0)
    for part in (estimate.x, estimate.eps, estimate.score, estimate.v):
        assert bool(part.isfinite().all())
    torch.testing.assert_close(estimate.eps, rows(5), rtol=1e-12, atol=1e-12)


# The mean of a step on a grid


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_the_mean_on_a_uniform_grid_belongs_to_the_next_step_of_the_walk(steps):
    """At every time of the grid, it is exactly this pair and not its neighbour."""
    process, x_t, output = iw.Gaussian(iw.LinearSchedule()), rows(6), rows(7)
    denoiser = iw.Denoiser(lambda *_: output, process, iw.denoise.Mean(steps))
    for k in {1, -(-steps // 2), steps}:
        estimate = denoiser(x_t, k / steps)
        torch.testing.assert_close(estimate.mean((k - 1) / steps), output, rtol=1e-7, atol=1e-7)


def test_each_row_has_the_step_of_its_own_time():
    process, x_t, output = iw.Gaussian(iw.CosineSchedule()), rows(8), rows(9)
    denoiser = iw.Denoiser(lambda *_: output, process, iw.denoise.Mean(times=GRID))
    t, s = GRID[[0, 1, 2, 3, 4, 1]], GRID[[1, 2, 3, 4, 5, 2]]
    torch.testing.assert_close(denoiser(x_t, t).mean(s), output, rtol=1e-9, atol=1e-9)


def test_a_mean_needs_one_grid():
    with pytest.raises(iw.ConfigError, match="not both"):
        iw.denoise.Mean(10, GRID)


# Levels

LOG_SNRS = [-20.0, -6.0, -1.0, 0.5, 2.0, 4.0, 8.0, 16.0, 25.0]


def exact_mean(entry, alpha, sigma, values, probabilities):
    """Bayes' rule for single numbers, in fifty digits."""
    with mpmath.workdps(50):
        weights = [
            p * mpmath.exp(-((mpmath.mpf(entry) - alpha * mpmath.mpf(v)) ** 2) / (2 * sigma**2))
            for v, p in zip(values, probabilities, strict=True)
        ]
        return float(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))


LEVELS_READ = prediction.Levels.read


def levels_with_evidence_of_another_noise(self, output, noisy):
    return LEVELS_READ(self, output, replace(noisy, sigma=noisy.sigma**2))


@bug(
    "evidence of another noise",
    iw.denoise.Levels,
    "read",
    levels_with_evidence_of_another_noise,
    dtype=F64,
    log_snr=0.5,
)
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["single", "double"])
@pytest.mark.parametrize("log_snr", LOG_SNRS)
def test_log_frequencies_give_the_exact_mean_of_independent_entries(log_snr, dtype):
    schedule, lattice = Straight(), iw.process.Lattice(-1.0, 1.0, 5)
    probabilities = [0.05, 0.4, 0.1, 0.15, 0.3]
    t = float(schedule.time(log_snr))
    x = lattice.values()[torch.arange(60) % 5].reshape(20, 3)
    x_t = (schedule.alpha(t) * x + schedule.sigma(t) * rows(10, 20, 3, scale=1.0)).to(dtype)
    log_frequencies = tensor(probabilities).log().to(dtype)
    denoiser = iw.Denoiser(
        lambda y, _: log_frequencies.expand(*y.shape, 5), iw.Gaussian(schedule), iw.denoise.Levels(lattice)
    )
    estimate = denoiser(x_t, t)
    with mpmath.workdps(50):
        signal = 1 / (1 + mpmath.exp(-mpmath.mpf(float(schedule.log_snr(t)))))
        alpha, sigma = mpmath.sqrt(signal), mpmath.sqrt(1 - signal)
    values = lattice.values().tolist()
    expected = tensor([[exact_mean(v, alpha, sigma, values, probabilities) for v in row] for row in x_t.tolist()])
    close = 2e-5 if dtype == torch.float32 else 1e-12 + 1e-15 * float(schedule.log_snr(t).exp() ** 0.5)
    assert float((estimate.x.double() - expected).abs().max()) < close
    assert all(bool(a.isfinite().all()) for a in (estimate.x, estimate.eps, estimate.score, estimate.v))
    if log_snr >= 8:
        torch.testing.assert_close(estimate.x.double(), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["single", "double"])
@pytest.mark.parametrize("log_snr", LOG_SNRS)
def test_a_decoder_by_level_is_the_posterior_and_its_masses_sum_to_one(log_snr, dtype):
    schedule = Straight()
    t = float(schedule.time(log_snr))
    denoiser, x_t = TOGETHER.denoiser(schedule), rows(11).to(dtype)
    decoder = denoiser.process.decoder(x_t, denoiser(x_t, t), tensor([1.0, t, 0.0]), TERNARY)
    masses = torch.stack([decoder.entry_log_prob(torch.full_like(x_t, v)).exp() for v in TERNARY.values().tolist()])
    assert float((masses.sum(0) - 1).abs().max()) < 1e-12
    posterior = TOGETHER.posterior(x_t.double(), schedule.alpha(t), schedule.sigma(t))
    expected = torch.stack([(posterior[:, :, None] * (TOGETHER.index == v)).sum(1) for v in range(3)])
    if dtype == F64 or log_snr < 10:  # beyond, single precision does not hold x_t to within its noise
        torch.testing.assert_close(masses, expected, rtol=0, atol=1e-9 if dtype == F64 else 2e-3)


def levels_with(exponent):
    """`Levels.read` with another log-likelihood of the noisy value."""

    def read(self, output, noisy):
        values = self.lattice.values().to(output)
        alpha, sigma = (scale[..., None] if scale.ndim else scale for scale in (noisy.alpha, noisy.sigma))
        logits = output + exponent(noisy.x_t[..., None], values, alpha, sigma)
        x = logits.softmax(-1) @ values
        return prediction.Guess(x, noisy.eps_of(x), logits)

    return read


levels_without_the_half = levels_with(lambda y, v, alpha, sigma: -(((y - alpha * v) / sigma) ** 2))
levels_with_sigma_not_squared = levels_with(lambda y, v, alpha, sigma: -0.5 * (y - alpha * v) ** 2 / sigma)
levels_without_alpha = levels_with(lambda y, v, alpha, sigma: -0.5 * ((y - v) / sigma) ** 2)


@bug("levels without the half", iw.denoise.Levels, "read", levels_without_the_half, data=TOGETHER)
@bug("levels with sigma for sigma squared", iw.denoise.Levels, "read", levels_with_sigma_not_squared, data=TOGETHER)
@bug("levels without alpha", iw.denoise.Levels, "read", levels_without_alpha, data=TOGETHER)
@pytest.mark.parametrize("data", [ONE_ENTRY, APART, TOGETHER], ids=["one", "apart", "together"])
def test_log_odds_given_the_others_imply_the_exact_mean(data):
    """For dependent entries, the library combines what the other entries show with the entry's own noisy value."""
    schedule, t = iw.CosineSchedule(), tensor([0.05, 0.2, 0.4, 0.6, 0.8, 1.0])
    x_t = rows(12, size=data.size)
    expected = data.denoise(x_t, schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None])
    torch.testing.assert_close(data.denoiser(schedule)(x_t, t).x, expected, rtol=1e-10, atol=1e-10)


def mean_bound(data, schedule, times, variance="small"):
    """The bound, averaged over the data and, by quadrature, over the noise."""
    nodes, weights = gauss_hermite(16 if data.size == 2 else 80)
    eps = torch.cartesian_prod(*[nodes] * data.size).reshape(-1, data.size)
    share = torch.cartesian_prod(*[weights] * data.size).reshape(len(eps), -1).prod(1)
    total, in_a_slot = 0.0, Slots((data.size,), torch.device("cpu")).rows // len(eps)
    for points, log_probs in zip(data.points.split(in_a_slot), data.log_probs.split(in_a_slot), strict=True):
        with prescribed_noise(eps.repeat(len(points), 1)):
            result = bound(data.denoiser(schedule, variance), points.repeat_interleave(len(eps), 0), times, TERNARY)
        total += float(result.total @ torch.kron(log_probs.exp(), share))
    return total


def levels_that_decode_the_prior(self, output, noisy):
    return replace(LEVELS_READ(self, output, noisy), level_logits=output)


@bug("levels decoded before their evidence", iw.denoise.Levels, "read", levels_that_decode_the_prior, data=ONE_ENTRY)
@pytest.mark.parametrize("data", [ONE_ENTRY, APART, TOGETHER], ids=["one", "apart", "together"])
@pytest.mark.quick_cases("one", "together")
def test_the_bound_by_level_falls_to_the_entropy_with_more_steps(data):
    """It never falls below; and extrapolation of the linear and quadratic terms in the step leaves nothing above."""
    schedule = Straight(8.0, -9.0)
    few, more, many = (mean_bound(data, schedule, log_snr_grid(schedule, n, first=1e-3)) for n in (16, 31, 61))
    assert few > more > many > data.entropy()
    fine, coarse = 2 * many - more, 2 * more - few
    assert fine + (fine - coarse) / 3 == pytest.approx(data.entropy(), abs=0.02 * data.size)


def test_an_inexact_network_for_levels_has_a_bound_too():
    """With dependent entries taken as independent, it exceeds the entropy by at least their mutual information."""
    first, second = TOGETHER.log_probs.exp().reshape(3, 3).sum(1), TOGETHER.log_probs.exp().reshape(3, 3).sum(0)
    independent = type(TOGETHER)(torch.outer(first, second), TERNARY)
    schedule = Straight(8.0, -9.0)
    blind = type(TOGETHER)(TOGETHER.log_probs.exp().reshape(3, 3), TERNARY)
    blind.denoiser = independent.denoiser
    assert (
        mean_bound(blind, schedule, log_snr_grid(schedule, 25, first=1e-3)) > independent.entropy() > TOGETHER.entropy()
    )
