"""The Gaussian process: the Chapman-Kolmogorov equation, Bayes' rule, limits, and the family of the reverse kernel."""

import math

import pytest
import scipy.stats
import torch
from bugs import bug
from hypothesis import given, settings, strategies as st
from oracles import (
    F64,
    LINE,
    PLANE,
    condition,
    exact_denoiser,
    joint_covariance,
    name_of,
    prescribed_noise,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.core.shapes import over
from inkwash.process import variance
from inkwash.process.noise import tables
from inkwash.process.noise.steps import keep, pull

PROCESSES = [iw.Gaussian(schedule) for schedule in public_schedules()]
PAIRS = [(0.0, 0.003), (0.0, 1.0), (0.2, 0.21), (0.5, 0.5 + 1e-6), (0.1, 0.9), (0.7, 1.0)]
processes = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: name_of(p.schedule))
pairs = pytest.mark.parametrize(("s", "t"), PAIRS)


def rows(seed, n=6, size=3):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def std_for_var(self, x, t):
    return iw.process.Normal(over(self.schedule.alpha(t), x) * x, over(self.schedule.sigma(t), x))


def alpha_without_root(self, t):
    return torch.exp(self.log_alpha_bar(t))


def sigma_by_subtraction_in_single_precision(self, t):
    return (1 - torch.exp(self.log_alpha_bar(t)).float()).sqrt().double()


@bug("sigma for sigma squared", iw.Gaussian, "marginal", std_for_var, process=PROCESSES[0], s=0.1, t=0.9)
@bug("missing square root", tables._Tabulated, "alpha", alpha_without_root, process=PROCESSES[0], s=0.1, t=0.9)
@bug(
    "1 - alpha-bar in single precision",
    tables._Tabulated,
    "sigma",
    sigma_by_subtraction_in_single_precision,
    process=PROCESSES[0],
    s=0.1,
    t=0.9,
)
@processes
@pairs
def test_two_forward_steps_equal_one(process, s, t):
    """The transition from the marginal at s gives the marginal at t: means compose, and variances add."""
    x = rows(0)
    at_s, at_t = process.marginal(x, s), process.marginal(x, t)
    mean_of_mean = process.transition(at_s.mean, s, t)
    zero = process.transition(torch.zeros(1, 1, dtype=F64), s, t)
    gain = process.transition(torch.ones(1, 1, dtype=F64), s, t).mean - zero.mean
    torch.testing.assert_close(mean_of_mean.mean, at_t.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gain**2 * at_s.var + mean_of_mean.var, at_t.var.expand(1, 1), rtol=1e-12, atol=1e-14)


@processes
def test_transitions_compose(process):
    """Transitions from r to s and from s to t make the one from r to t, wherever they start."""
    x, (r, s, t) = rows(1), (0.15, 0.4, 0.95)
    first = process.transition(x, r, s)
    second, direct = process.transition(first.mean, s, t), process.transition(x, r, t)
    gain = process.transition(torch.ones(1, 1, dtype=F64), s, t).mean
    torch.testing.assert_close(second.mean, direct.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gain**2 * first.var + second.var, direct.var.expand(1, 1), rtol=1e-12, atol=0)


def mean_with_sigma_t_for_sigma_s(self, x_t, x, s, t):
    alpha_ts = self.schedule.alpha(t) / self.schedule.alpha(s)
    return over(alpha_ts, x_t) * x_t + over(pull(self.schedule, s, t), x) * x


@bug(
    "sigma_t for sigma_s in the posterior",
    iw.Gaussian,
    "_posterior_mean",
    mean_with_sigma_t_for_sigma_s,
    process=PROCESSES[0],
    s=0.1,
    t=0.9,
)
@processes
@pytest.mark.parametrize(("s", "t"), [p for p in PAIRS if p[0] > 0])
def test_bayes_rule_holds(process, s, t):
    """log q(x_s | x_t, x) + log q(x_t | x) = log q(x_t | x_s) + log q(x_s | x) at points that are likely under all."""
    x = rows(2)
    x_s = process.marginal(x, s).draw(torch.Generator().manual_seed(3))
    x_t = process.transition(x_s, s, t).draw(torch.Generator().manual_seed(4))
    left = process.posterior(x_t, x, s, t).log_prob(x_s) + process.marginal(x, t).log_prob(x_t)
    right = process.transition(x_s, s, t).log_prob(x_t) + process.marginal(x, s).log_prob(x_s)
    torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-7)


@processes
@pytest.mark.parametrize("t", [0.01, 0.5, 1.0])
def test_at_time_zero_the_posterior_is_the_data(process, t):
    posterior = process.posterior(rows(5), rows(6), 0.0, t)
    torch.testing.assert_close(posterior.mean, rows(6), rtol=1e-14, atol=1e-14)
    assert float(posterior.var) == 0
    near = process.posterior(rows(5), rows(6), 1e-9, t)
    torch.testing.assert_close(near.mean, rows(6), rtol=1e-3, atol=1e-3)
    assert 0 < float(near.var) < 1e-8


@processes
@pytest.mark.parametrize("t", [0.3, 1.0])
def test_from_time_zero_the_transition_is_the_marginal(process, t):
    x = rows(7)
    step, marginal = process.transition(x, 0.0, t), process.marginal(x, t)
    torch.testing.assert_close(step.mean, marginal.mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(step.var, marginal.var, rtol=1e-14, atol=0)


@processes
@given(st.floats(0.05, 0.95), st.floats(1e-9, 1e-7))
@settings(max_examples=30, deadline=None)
def test_every_law_is_continuous_in_its_times(process, t, nudge):
    """A small change of a time changes every law in proportion, also across the grid points of a schedule."""
    x_t, x, s = rows(8), rows(9), t / 2
    for law in (
        process.marginal,
        lambda x, u: process.posterior(x_t, x, s, u),
        lambda x, u: process.transition(x, s, u),
    ):
        before, after = law(x, t), law(x, t + nudge)
        assert float((after.mean - before.mean).abs().max()) < 1e3 * nudge
        assert float((after.var - before.var).abs().max()) < 1e3 * nudge * max(1.0, float(after.var.max()))


@processes
def test_small_steps_keep_the_relative_precision_of_their_variance(process):
    """Over a step of 1e-9, the transition variance is proportional to the step."""
    t = 0.50005
    tiny, small = (float(process.transition(rows(0), t - h, t).var) / h for h in (1e-9, 1e-7))
    assert tiny == pytest.approx(small, rel=1e-5)


@processes
def test_each_row_can_have_its_own_time(process):
    x_t, x = rows(10), rows(11)
    s, t = tensor([0.0, 0.1, 0.2, 0.3, 0.5, 0.9]), tensor([0.05, 0.2, 0.5, 1.0, 0.6, 1.0])
    together = process.posterior(x_t, x, s, t)
    for i in range(len(s)):
        single = process.posterior(x_t[i : i + 1], x[i : i + 1], float(s[i]), float(t[i]))
        torch.testing.assert_close(together.mean[i : i + 1], single.mean)
        torch.testing.assert_close(together.var[i], single.var.expand(1))


@processes
def test_diffused_data_is_a_draw_from_the_marginal(process):
    x, t = rows(20), tensor([0.0, 0.1, 0.2, 0.3, 0.5, 1.0])
    noise = process.noise(x.shape, torch.Generator().manual_seed(1), like=x)
    with prescribed_noise(noise):
        drawn = process.marginal(x, t).draw(torch.Generator())
    torch.testing.assert_close(process.diffuse(x, t, noise), drawn, rtol=1e-14, atol=1e-14)
    assert torch.equal(process.diffuse(x, 0.0, noise), x)


def test_the_noise_is_standard_normal_and_a_function_of_the_generator():
    noise, again = (PROCESSES[0].noise((4000, 5), torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(noise, again)
    assert noise.dtype == torch.get_default_dtype()
    assert scipy.stats.kstest(noise.flatten().numpy(), "norm").pvalue > 0.001


@processes
@pairs
def test_the_coefficients_are_those_of_a_regression_on_both_ends(process, s, t):
    """E[x_s | x_t, x] for normal data follows from the joint law of the three."""
    joint = joint_covariance(LINE, process.schedule, s, t)
    gain, _ = condition(joint, slice(1, 3), slice(0, 1))
    assert [float(pull(process.schedule, s, t)), float(keep(process.schedule, s, t))] == pytest.approx(
        gain[0].tolist(), rel=1e-5, abs=1e-9
    )


def wide_prior(self, shape, like=None):
    return iw.process.Normal(like.new_zeros(tuple(shape)), like.new_full((), 1.1))


@bug("wrong prior", iw.Gaussian, "prior", wide_prior, process=PROCESSES[0])
@processes
def test_the_prior_has_the_moments_of_noisy_data_of_unit_variance(process):
    """Data that is -1 or 1 with equal probability has mean 0 and variance 1; its moments at time 1 are the prior's."""
    x = rows(12)
    coin = process.marginal(tensor([[-1.0], [1.0]]), 1.0)
    std = float((coin.mean**2).mean() + coin.var) ** 0.5
    expected = torch.distributions.Normal(tensor(0.0), tensor(std)).log_prob(x).sum(1)
    torch.testing.assert_close(process.prior(x.shape, like=x).log_prob(x), expected, rtol=1e-12, atol=1e-12)
    if not isinstance(process.schedule, iw.KarrasSchedule | iw.process.GeometricSchedule):
        assert std == pytest.approx(1, rel=1e-14)


@processes
def test_the_last_marginal_is_close_to_the_prior(process):
    """This is a premise of DDPM, for schedules made for it; a learned schedule ends where its bound is best."""
    if isinstance(process.schedule, iw.TabulatedSchedule | iw.LearnedSchedule):
        return
    x = rows(13)
    kl = process.marginal(x, 1.0).kl(process.prior(x.shape, like=x))
    assert float(kl.max()) < 1e-3


def test_the_prior_takes_its_dtype_and_device_from_the_data():
    process = PROCESSES[0]
    assert process.prior((2, 3), like=torch.zeros(1, dtype=F64)).mean.dtype == F64
    assert process.prior((2, 3)).mean.dtype == torch.get_default_dtype()


@bug(
    "small and large variance swapped",
    variance.Small,
    "of_step",
    variance.Large.of_step,
    process=PROCESSES[0],
    s=0.2,
    t=0.21,
)
@processes
@pairs
def test_reverse_variances_are_those_of_the_posterior_and_the_transition(process, s, t):
    """The small variance is that of x_s given x and x_t. The large variance is that of x_t given x_s.

    In precisions, 1/small = 1/sigma_s^2 + gain^2/large.
    """
    x_t, zero = rows(14), torch.zeros(1, 1, dtype=F64)
    small, large = (
        float(process.reverse(x_t, exact_denoiser(PLANE3, process.schedule, v)(x_t, t), s, t).var)
        for v in ("small", "large")
    )
    at_s, at_t = float(process.marginal(zero, s).var), float(process.marginal(zero, t).var)
    gain = float(process.transition(zero + 1, s, t).mean)
    assert large == pytest.approx(at_t - gain**2 * at_s, rel=1e-7, abs=1e-15)
    assert small == pytest.approx(0 if s == 0 else 1 / (1 / at_s + gain**2 / large), rel=1e-7)


def bayes_by_quadrature(schedule, x_t, x, s, t):
    """Mean and variance of q(x_s | x_t, x), from the product of the two normal densities on a fine grid of x_s."""
    gain = schedule.alpha(t) / schedule.alpha(s)
    step_std = (schedule.sigma(t) ** 2 - gain**2 * schedule.sigma(s) ** 2).sqrt()
    x_s = torch.linspace(-8, 8, 100_001, dtype=F64)
    forward = torch.distributions.Normal(gain * x_s, step_std).log_prob(tensor(x_t))
    weights = (forward + torch.distributions.Normal(schedule.alpha(s) * x, schedule.sigma(s)).log_prob(x_s)).softmax(0)
    mean = float(weights @ x_s)
    return mean, float(weights @ (x_s - mean) ** 2)


@pytest.mark.parametrize(
    "schedule", [iw.LinearSchedule(), iw.CosineSchedule(), iw.SohlDicksteinSchedule()], ids=name_of
)
def test_the_last_formula_of_a_source_note_contradicts_bayes_rule(schedule):
    """Note 001 uses the letters of Su: alpha and beta for the step, bar-alpha and bar-beta for the marginal.

    Its mean (x_t - beta^2 eps / bar-beta) / alpha is right. The last line derived from it,
    alpha x_t / sqrt(bar-alpha_t) + beta sqrt(bar-alpha_s) eps / bar-beta, is not, whether the letters under the roots
    are the note's or their squares, those of DDPM. Its step "inverse Sigma = -2A" halves Sigma; the factor 2 that
    follows corrects that.
    """
    s, t, x, x_t = 0.5, 0.6, 1.3, -0.4
    bar_s, bar_t, bar_beta_s, bar_beta = (
        float(v) for v in (schedule.alpha(s), schedule.alpha(t), schedule.sigma(s), schedule.sigma(t))
    )
    alpha, eps = bar_t / bar_s, (x_t - bar_t * x) / bar_beta
    beta = (1 - alpha**2) ** 0.5
    mean, var = bayes_by_quadrature(schedule, x_t, x, s, t)
    ours = iw.Gaussian(schedule).posterior(tensor([[x_t]]), tensor([[x]]), s, t)
    assert (float(ours.mean), float(ours.var)) == pytest.approx((mean, var), rel=1e-9)
    assert (x_t - beta**2 / bar_beta * eps) / alpha == pytest.approx(mean, rel=1e-9)
    for root_s, root_t in ((bar_s**0.5, bar_t**0.5), (bar_s, bar_t)):
        assert abs(alpha / root_t * x_t + beta * root_s / bar_beta * eps - mean) > 0.2
    # With less x, the same x_t has more noise and a lower mean, so eps enters with a minus, not with the note's plus.
    assert (x_t - bar_t * (x - 0.1)) / bar_beta > eps
    assert bayes_by_quadrature(schedule, x_t, x - 0.1, s, t)[0] < mean
    minus_2a = 2 * (alpha**2 / beta**2 + 1 / bar_beta_s**2)
    assert 1 / minus_2a == pytest.approx(var / 2, rel=1e-9)


PLANE3 = type(PLANE)([0.5, -1.0, 2.0], [[1.0, 0.3, 0.0], [0.3, 0.8, 0.1], [0.0, 0.1, 0.2]])


@processes
def test_the_reverse_mean_does_not_depend_on_the_variance(process):
    x_t = rows(15)
    small, large = (exact_denoiser(PLANE3, process.schedule, v)(x_t, 0.7) for v in ("small", "large"))
    means = [process.reverse(x_t, e, 0.4, 0.7).mean for e in (small, large)]
    assert torch.equal(*means)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_decoder_takes_its_variance_from_the_right_pair(variance):
    """Large: beta of (0, tau_1), the full noise variance. Small: the variance of x_{tau_1} given x and x_{tau_2}."""
    process = PROCESSES[0]
    times = tensor([1.0, 0.6, 0.25, 0.0])
    x_t = rows(16, size=1)
    estimate = exact_denoiser(LINE, process.schedule, variance)(x_t, 0.25)
    var = float(process.decoder(x_t, estimate, times, None).var)
    zero = torch.zeros(1, 1, dtype=F64)
    if variance == "large":
        assert var == pytest.approx(float(process.marginal(zero, 0.25).var), rel=1e-12)
    else:
        assert var == pytest.approx(float(process.posterior(zero, zero, 0.25, 0.6).var), rel=1e-12)


def test_a_decoder_on_levels_has_the_masses_of_its_normal_on_the_bins():
    process, times, lattice = PROCESSES[0], tensor([1.0, 0.5, 0.1, 0.0]), iw.process.Lattice(-1.0, 1.0, 5)
    x_t = lattice.values()[:, None]
    estimate = exact_denoiser(LINE, process.schedule)(x_t, 0.1)
    density = process.decoder(x_t, estimate, times, None)
    cdf = torch.distributions.Normal(density.mean, density.std).cdf
    edges = 0.25 + torch.zeros_like(x_t)
    middle = (cdf(x_t + edges) - cdf(x_t - edges))[1:-1, 0].log()
    torch.testing.assert_close(process.decoder(x_t, estimate, times, lattice).log_prob(x_t)[1:-1], middle)


def test_one_step_with_the_small_variance_is_refused():
    process, x_t = PROCESSES[0], rows(17, size=1)
    estimate = exact_denoiser(LINE, process.schedule, "small")(x_t, 1.0)
    with pytest.raises(iw.ConfigError, match="variance='large'"):
        process.decoder(x_t, estimate, tensor([1.0, 0.0]), None)


def test_single_precision_data_gets_double_precision_coefficients():
    """Near t = 0 the posterior variance is so small that it would lose its digits in float32."""
    process, (s, t) = PROCESSES[0], (1e-7, 1e-7 + 1e-10)
    x = rows(18)
    single, double = process.posterior(x.float(), x.float(), s, t), process.posterior(x, x, s, t)
    assert single.mean.dtype == torch.float32
    assert float(single.var) == pytest.approx(float(double.var), rel=1e-6)
    assert math.isfinite(float(single.var))
