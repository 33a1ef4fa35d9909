"""Reverse variances cost as much of the bound as theory says, for exact means on any schedule and any grid."""

import math
from dataclasses import replace

import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    LINE,
    PLANE,
    TWO_PEAKS,
    UNEVEN,
    GaussianData,
    Vanishing,
    cubature,
    exact_network,
    gauss_hermite,
    name_of,
    prescribed_noise,
    public_schedules,
    tensor,
    with_signal,
)

import inkwash as iw
from inkwash.core.shapes import over
from inkwash.likelihood.bound import bound
from inkwash.process import variance
from inkwash.process.noise.steps import posterior_var, pull

SCHEDULES = [s for s in with_signal(public_schedules()) if isinstance(s, iw.process.VariancePreserving)]
GRIDS = {"uneven": UNEVEN, "7 steps": iw.uniform_grid(7), "40 steps": iw.uniform_grid(40)}
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
grids = pytest.mark.parametrize("grid", GRIDS)
DIAGONAL = GaussianData([1.5, -0.7, 0.2], [[2.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.04]])


def analytic(data, schedule, times):
    """The table of exact errors at the times of a grid."""
    log_snr = schedule.log_snr(times[:-1])
    return iw.process.Analytic(log_snr, data.mmse(log_snr.exp()) / data.size)


def spread_denoiser(data, schedule, variance, spread):
    """The exact mean, with a spread that is a number or a function of t `(B,)` to one number per entry."""
    exact = exact_network(data, schedule)

    def network(x_t, t):
        wide = spread(t) if callable(spread) else torch.full_like(x_t, spread)
        return torch.cat([exact(x_t, t), wide.expand_as(x_t)], 1)

    return iw.Denoiser(network, iw.Gaussian(schedule), "x", variance)


def spread_bound(data, denoiser, times):
    z, eps = cubature(data.size)
    with prescribed_noise(eps):
        return bound(denoiser, data.whiten_inverse(z), times)


def ratio_and_gain(data, schedule, times):
    """For each pair of a grid, the large over the small variance, and rho = (SNR_s - SNR_t) mmse(t) / d."""
    t, s = times[:-2], times[1:-1]
    at_t, at_s = schedule.log_snr(t).exp(), schedule.log_snr(s).exp()
    return schedule.sigma(t) ** 2 / schedule.sigma(s) ** 2, (at_s - at_t) * data.mmse(at_t) / data.size


def cost(data, r, gain):
    """The theory: a diffusion term with the optimal mean, and a reverse variance of r times the small one."""
    return data.size / 2 * ((1 + gain) / r - 1 + r.log())


def analytic_with(coefficient):
    def of_step(self, schedule, s, t, spread):
        return posterior_var(schedule, s, t) + coefficient(pull(schedule, s, t)) * self.error(schedule.log_snr(t))

    return of_step


@bug(
    "analytic without c squared",
    iw.process.Analytic,
    "of_step",
    analytic_with(torch.ones_like),
    schedule=SCHEDULES[0],
    grid="uneven",
    data=PLANE,
)
@bug(
    "analytic with c for c squared",
    iw.process.Analytic,
    "of_step",
    analytic_with(lambda c: c),
    schedule=SCHEDULES[0],
    grid="uneven",
    data=PLANE,
)
@schedules
@grids
@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
@pytest.mark.slow_cases("40 steps")
def test_the_analytic_variance_costs_the_least(schedule, grid, data):
    times = GRIDS[grid]
    denoiser = iw.Denoiser(exact_network(data, schedule), iw.Gaussian(schedule), "x", analytic(data, schedule, times))
    result = spread_bound(data, denoiser, times)
    _, gain = ratio_and_gain(data, schedule, times)
    torch.testing.assert_close(result.per_time.mean(0), data.size / 2 * gain.log1p(), rtol=1e-7, atol=1e-10)
    error = float(data.mmse(schedule.log_snr(times[-2]).exp())) / data.size
    expected = data.size / 2 * (math.log(2 * math.pi * error) + 1)
    assert float(result.reconstruction.mean()) == pytest.approx(expected, rel=1e-8)


def learned_in_variance_not_log(small, large, spread):
    share = (spread.double() + 1) / 2
    return share * over(large, share) + (1 - share) * over(small, share)


def share_not_shifted(small, large, spread):
    share = spread.double()
    return torch.exp(share * over(large.log(), share) + (1 - share) * over(small.log(), share))


@bug(
    "variances mixed, not their logs",
    variance,
    "_between",
    learned_in_variance_not_log,
    schedule=SCHEDULES[0],
    grid="uneven",
    spread=0.5,
)
@bug("spread from 0 to 1", variance, "_between", share_not_shifted, schedule=SCHEDULES[0], grid="uneven", spread=0.5)
@schedules
@grids
@pytest.mark.parametrize("spread", [-1.0, -0.3, 0.5, 1.0, 1.2])
@pytest.mark.slow_cases("40 steps")
def test_the_learned_variance_lies_between_small_and_large(schedule, grid, spread):
    times = GRIDS[grid]
    result = spread_bound(PLANE, spread_denoiser(PLANE, schedule, "learned", spread), times)
    large, gain = ratio_and_gain(PLANE, schedule, times)
    expected = cost(PLANE, large ** ((1 + spread) / 2), gain)
    torch.testing.assert_close(result.per_time.mean(0), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("spread", "name"), [(-1.0, "small"), (1.0, "large")])
def test_the_ends_of_the_learned_variance_are_the_fixed_ones(spread, name):
    schedule = SCHEDULES[0]
    learned = spread_bound(PLANE, spread_denoiser(PLANE, schedule, "learned", spread), UNEVEN)
    fixed = iw.Denoiser(exact_network(PLANE, schedule), iw.Gaussian(schedule), "x", name)
    torch.testing.assert_close(learned.total, spread_bound(PLANE, fixed, UNEVEN).total, rtol=1e-10, atol=1e-10)


@schedules
@grids
@pytest.mark.parametrize("spread", [-0.7, 0.0, 1.3])
@pytest.mark.slow_cases("40 steps")
def test_the_free_variance_is_a_multiple_of_the_small_one(schedule, grid, spread):
    result = spread_bound(PLANE, spread_denoiser(PLANE, schedule, "free", spread), GRIDS[grid])
    _, gain = ratio_and_gain(PLANE, schedule, GRIDS[grid])
    expected = cost(PLANE, torch.full_like(gain, math.exp(spread)), gain)
    torch.testing.assert_close(result.per_time.mean(0), expected, rtol=1e-7, atol=1e-10)


def prior_gap(data, schedule):
    """KL(q(x_1) ‖ N(0, 1)), the cost of starting the walk from the prior."""
    start = data.marginal(schedule.alpha(1.0), schedule.sigma(1.0))
    standard = torch.distributions.MultivariateNormal(
        torch.zeros(data.size, dtype=F64), torch.eye(data.size, dtype=F64)
    )
    return float(torch.distributions.kl_divergence(start, standard))


def clipped_log_variance(small, spread):
    return over(small.log().clamp(min=-4), spread.double()).exp() * spread.double().exp()


def spread_of_the_log_std(small, spread):
    return over(small, spread.double()) * (2 * spread.double()).exp()


def zero_decoder(schedule, times):
    return posterior_var(schedule, 1e-9, times[-2])


@bug("log-variance clipped", variance, "_scaled", clipped_log_variance, schedule=SCHEDULES[0], grid="uneven")
@bug(
    "spread of the standard deviation", variance, "_scaled", spread_of_the_log_std, schedule=SCHEDULES[0], grid="uneven"
)
@bug("no rule for the last step", variance, "_first_posterior_var", zero_decoder, schedule=SCHEDULES[0], grid="uneven")
@schedules
@grids
@pytest.mark.slow_cases("40 steps")
def test_with_the_best_free_variance_the_bound_is_the_entropy_and_the_gap_of_the_prior(schedule, grid):
    """If each entry has a variance of its own, each reverse step can be exact on any grid, and the bound is the entropy
    plus the gap of the prior."""
    times = GRIDS[grid]
    result = spread_bound(DIAGONAL, spread_denoiser(DIAGONAL, schedule, "free", best_spread(schedule, times)), times)
    assert float(result.total.mean()) == pytest.approx(DIAGONAL.entropy() + prior_gap(DIAGONAL, schedule), abs=1e-8)


def best_spread(schedule, times):
    """The log-ratio of the exact variance of x_s given x_t, from the joint normal law, and the small one."""

    def exact_var(s, t):
        a_s, a_t, v_s, v_t = (f(u) for f in (schedule.alpha, schedule.sigma) for u in (s, t))
        var_s, var_t = a_s**2 * DIAGONAL.cov.diagonal() + v_s**2, a_t**2 * DIAGONAL.cov.diagonal() + v_t**2
        return var_s - (a_t / a_s * var_s) ** 2 / var_t

    def small(s, t):
        v_s, v_t, gain = schedule.sigma(s) ** 2, schedule.sigma(t) ** 2, schedule.alpha(t) / schedule.alpha(s)
        return v_s * (v_t - gain**2 * v_s) / v_t

    def spread(t):
        k = int((times - t[0]).abs().argmin())
        s, var = times[k + 1], exact_var(times[k + 1], times[k])
        return torch.log(var / (small(s, times[k]) if s > 0 else small(times[k], times[k - 1])))

    return lambda t: torch.stack([spread(each[None]) for each in t.unique()])[t.unique(return_inverse=True)[1]]


@schedules
def test_in_one_dimension_the_analytic_variance_is_exact(schedule):
    denoiser = iw.Denoiser(exact_network(LINE, schedule), iw.Gaussian(schedule), "x", analytic(LINE, schedule, UNEVEN))
    total = spread_bound(LINE, denoiser, UNEVEN).total.mean()
    assert float(total) == pytest.approx(LINE.entropy() + prior_gap(LINE, schedule), abs=1e-8)


def peaks_total(schedule, variance, spread, times):
    """The mean bound of the mixture, by quadrature over data and noise."""
    z, w = gauss_hermite(10)
    eps, share = gauss_hermite(30)
    shares = TWO_PEAKS.log_weights.exp()
    x = torch.cat([part.whiten_inverse(z[:, None]) for part in TWO_PEAKS.parts])
    weights = torch.kron(torch.cat([p * w for p in shares]), share)
    if spread is None:
        denoiser = iw.Denoiser(exact_network(TWO_PEAKS, schedule), iw.Gaussian(schedule), "x", variance)
    else:
        denoiser = spread_denoiser(TWO_PEAKS, schedule, variance, spread)
    with prescribed_noise(eps.repeat(len(x))[:, None]):
        return float(bound(denoiser, x.repeat_interleave(len(eps), 0), times).total @ weights)


def peaks_mmse(schedule, t):
    """E|x - E[x | x_t]|² for the mixture, by quadrature over x_t."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)

    y = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    density = TWO_PEAKS.marginal_log_prob(y, alpha, sigma).exp()
    known = torch.trapezoid(density * TWO_PEAKS.denoise(y, alpha, sigma)[:, 0] ** 2, y[:, 0])
    parts = zip(TWO_PEAKS.log_weights.exp(), TWO_PEAKS.parts, strict=True)
    return sum(float(w * (p.mean**2 + p.cov[0])) for w, p in parts) - float(known)


def peaks_entropy():
    x = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    log_prob = TWO_PEAKS.log_prob(x)
    return -float(torch.trapezoid(log_prob.exp() * log_prob, x[:, 0]))


@schedules
def test_no_variance_brings_the_bound_below_the_entropy(schedule):
    """The data is a mixture on a coarse grid. Of the variances that depend only on time, the analytic one is best."""
    times, entropy = tensor([1.0, 0.6, 0.25, 0.0]), peaks_entropy()
    log_snr, error = schedule.log_snr(times[:-1]), tensor([peaks_mmse(schedule, t) for t in times[:-1]])
    candidates = [("small", None), ("large", None), ("learned", 0.2), ("free", 0.7), ("free", -0.4)]
    totals = [peaks_total(schedule, variance, spread, times) for variance, spread in candidates]
    best = peaks_total(schedule, iw.process.Analytic(log_snr, error), None, times)
    assert entropy < best < min(totals)


# The table of errors of the analytic variance


def test_a_table_is_exact_where_it_was_measured_and_log_linear_in_between():
    table = iw.process.Analytic(tensor([-2.0, 0.0, 4.0]), tensor([0.9, 0.5, 0.02]))
    torch.testing.assert_close(table.error(tensor([-2.0, 0.0, 4.0])), tensor([0.9, 0.5, 0.02]))
    assert float(table.error(tensor(-1.0))) == pytest.approx((0.9 * 0.5) ** 0.5)
    assert float(table.error(tensor(1.0))) == pytest.approx(0.5**0.75 * 0.02**0.25)


def test_a_table_is_constant_beyond_the_noisy_end_and_falls_beyond_the_clean_end():
    table = iw.process.Analytic(tensor([-2.0, 0.0, 4.0]), tensor([0.9, 0.5, 0.02]))
    assert table.error(tensor([-3.0, -50.0, -math.inf])).tolist() == pytest.approx([0.9] * 3)
    assert float(table.error(tensor(8.0))) == pytest.approx(0.02 * 0.02 / 0.5)


def test_without_signal_the_analytic_variance_is_finite():
    process = iw.Gaussian(Vanishing())
    table = iw.process.Analytic(tensor([-5.0, 5.0]), tensor([1.3, 0.006]))
    expected = process.schedule.sigma(0.9) ** 2 + process.schedule.alpha(0.9) ** 2 * 1.3
    assert float(table.of_step(process.schedule, 0.9, 1.0, None)) == pytest.approx(float(expected))


def test_a_table_is_saved_with_the_denoiser():
    denoiser = iw.Denoiser(lambda x, t: x, iw.Gaussian(SCHEDULES[0]), variance=analytic(LINE, SCHEDULES[0], UNEVEN))
    assert {name.removeprefix("variance.") for name in denoiser.state_dict()} == {"log_snr", "log_error"}


@pytest.mark.parametrize(
    ("log_snr", "error"),
    [([0.0], [1.0]), ([0.0, 1.0], [1.0]), ([1.0, 0.0], [1.0, 0.5]), ([0.0, 0.0], [1.0, 0.5]), ([0.0, 1.0], [1.0, 0.0])],
)
def test_a_bad_table_is_refused(log_snr, error):
    with pytest.raises(iw.ConfigError, match="analytic"):
        iw.process.Analytic(tensor(log_snr), tensor(error))


@pytest.mark.parametrize("variance", ["learned", "free"])
def test_a_variance_without_the_spread_it_needs_is_refused(variance):
    x_t = torch.zeros(2, 1, dtype=F64)
    denoiser = spread_denoiser(LINE, SCHEDULES[0], variance, 0.0)
    bare = replace(denoiser(x_t, 0.5), spread=None)
    with pytest.raises(iw.ConfigError, match="spread"):
        denoiser.process.reverse(x_t, bare, 0.4, 0.5)


@pytest.mark.parametrize("variance", ["small", "learned", "free"])
def test_variances_that_need_a_second_pair_refuse_one_step(variance):
    if variance == "small":
        denoiser = iw.Denoiser(exact_network(LINE, SCHEDULES[0]), iw.Gaussian(SCHEDULES[0]), "x", variance)
    else:
        denoiser = spread_denoiser(LINE, SCHEDULES[0], variance, 0.0)
    with pytest.raises(iw.ConfigError, match="at least 2 steps"):
        bound(denoiser, torch.zeros(2, 1), tensor([1.0, 0.0]))


PAIR, TRUE_VAR = iw.process.Lattice(-1.0, 1.0, 2), variance._var


@bug("half of the variance", variance, "_var", lambda logits, values: 0.5 * TRUE_VAR(logits, values))
@bug("the posterior's variance only", variance.Matched, "of_step", variance.Small.of_step)
def test_a_matched_variance_is_that_of_draws_of_the_data_and_of_the_posterior():
    """The law of total variance: a level is drawn with the mass that is predicted, and then the posterior given it."""
    process, (s, t) = iw.Gaussian(iw.CosineSchedule()), (0.4, 0.6)
    logits, x_t = tensor([0.3, -0.9]).expand(1, 1, 2), tensor([[0.2]])
    network = iw.Denoiser(lambda x, time: logits, process, iw.denoise.Levels(PAIR))
    estimate = network(x_t, t).with_variance(variance.Matched(PAIR))
    masses = process.decoder(x_t, estimate, iw.uniform_grid(2), PAIR).logits.softmax(-1)[0, 0]
    means = torch.stack([process.posterior(x_t, tensor([[x]]), s, t).mean[0, 0] for x in (-1.0, 1.0)])
    mean = float(masses @ means)
    total = float(masses @ (means - mean) ** 2 + posterior_var(process.schedule, s, t))
    found = process.reverse(x_t, estimate, s, t)
    assert float(found.mean) == pytest.approx(mean, rel=1e-9)
    assert float(found.var) == pytest.approx(total, rel=1e-9)


def entry_costs(data, schedule, times):
    """The least of each diffusion term: half of ln(1 + rho), where each entry has a rho of its own."""
    snr, own = schedule.log_snr(times[:-1]).exp(), data.cov.diag()
    gain = snr.diff()[:, None] * own / (1 + snr[:-1, None] * own)
    return 0.5 * gain.log1p().sum(1)


@bug("the posterior's variance only", variance.Matched, "of_step", variance.Small.of_step, schedule=SCHEDULES[0])
@bug(
    "a variance for all entries",
    variance.Matched,
    "spread_of",
    lambda self, e: e.mixture.entry_var.mean(1, True),
    schedule=SCHEDULES[0],
)
@schedules
def test_a_matched_variance_by_name_costs_the_least_for_each_entry(schedule):
    """Independent normal entries of unequal variance, each predicted as a mixture of one law: the true one."""
    mean, log_width = DIAGONAL.mean, DIAGONAL.cov.diag().log() / 2
    law = torch.stack([torch.zeros(3, dtype=F64), mean, log_width], -1)
    process = iw.Gaussian(schedule)
    denoiser = iw.Denoiser(lambda x_t, t: law.expand(len(x_t), 3, 3), process, iw.denoise.Mixture(), "matched")
    result = spread_bound(DIAGONAL, denoiser, UNEVEN)
    expected = entry_costs(DIAGONAL, schedule, UNEVEN)
    torch.testing.assert_close(result.per_time.mean(0), expected, rtol=1e-7, atol=1e-10)


def test_a_name_stands_for_the_law_that_is_predicted():
    """A network of levels takes it when it is made and later; one that predicts x has no law to match."""
    process = iw.Gaussian(iw.CosineSchedule())
    levels = iw.Denoiser(lambda x, t: x[..., None] * tensor([-1.0, 1.0]), process, iw.denoise.Levels(PAIR), "matched")
    assert levels.variance == variance.Matched(PAIR)
    made = iw.Diffusion(iw.Denoiser(lambda x, t: x, process, "x"), shape=(1,))
    with pytest.raises(iw.ConfigError, match="variance: got matched, need small or large; or a network that predicts"):
        made.with_options(variance="matched")
    with pytest.raises(iw.ConfigError, match="levels or mixtures"):
        iw.Denoiser(lambda x, t: x, process, "x", "matched")
