"""The oracles bite: each of a list of bugs, seen in real code bases, fails at least one named check."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest
import test_denoise
import test_distributions
import test_flow
import test_gaussian
import test_likelihood
import test_model
import test_noise
import test_objective
import test_sample
import torch

import inkwash as iw
from inkwash import denoise, distributions, flow, likelihood, noise, objective
from inkwash.distributions import standard_normal
from inkwash.randomness import generator
from inkwash.shapes import as_time, over, sum_event

CHECKS = {
    "scales of the linear schedule": partial(test_noise.check_scales, "linear", 50),
    "scales of the cosine schedule": partial(test_noise.check_scales, "cosine", 50),
    "DDPM's letters": partial(test_noise.check_ddpm_letters, "linear", 50),
    "Chapman-Kolmogorov": test_gaussian.check_chapman_kolmogorov,
    "Bayes": test_gaussian.check_bayes,
    "prior": test_gaussian.check_prior,
    "reverse variances": test_gaussian.check_reverse_variances,
    "masses sum to one": test_distributions.check_masses_sum_to_one,
    "masses in the tails": test_distributions.check_masses,
    "eps and v": partial(test_denoise.check_cycle, first="eps", second="v"),
    "score and x": partial(test_denoise.check_cycle, first="score", second="x"),
    "score": test_denoise.check_score,
    "mean of the past": test_denoise.check_mean,
    "clipping": test_denoise.check_clipped,
    "expected loss": test_objective.check_expected_loss,
    "uniform times": test_objective.check_times,
    "DDIM's recursion": test_sample.check_ddim,
    "ancestral recursion": test_sample.check_ancestral,
    "full noise": test_sample.check_full_eta,
    "one point, some noise": partial(test_sample.check_point, iw.DDIM(0.5)),
    "last step": test_sample.check_last_step,
    "trajectory": test_sample.check_trajectory,
    "bound, small variance": test_likelihood.check_bound,
    "bound, large variance": partial(test_likelihood.check_bound, variance="large"),
    "prior part": test_likelihood.check_prior_part,
    "some of the terms": test_likelihood.check_terms,
    "slots": test_likelihood.test_slots_have_noise_of_their_own,
    "data units": test_model.check_data_units,
    "exact density": test_flow.check_log_density,
    "exact density at a later time": partial(test_flow.check_log_density, test_flow.Exploding(), t=0.1),
    "exact density from the prior": test_flow.check_from_the_prior,
    "codes": test_flow.check_encode,
    "exact density in data units": test_flow.check_data_units,
    "mass of levels": test_flow.check_levels,
    "second route to the density": test_flow.check_immse,
    "second route, below the range": test_flow.check_immse_rest,
}


def beta_for_beta_tilde(self, s, t):
    return self.transition_var(s, t)


def swapped_reverse_var(self, kind, s, t):
    return self.transition_var(s, t) if kind == "small" else self.posterior_var(s, t)


def std_for_var(self, x, t):
    return iw.Normal(over(self.schedule.alpha(t), x) * x, over(self.schedule.sigma(t), x))


def alpha_without_root(self, t):
    return torch.exp(self.log_alpha_bar(t))


def sigma_by_subtraction_in_single_precision(self, t):
    return (1 - torch.exp(self.log_alpha_bar(t)).float()).sqrt().double()


LOG_ALPHA_BAR = noise._Tabulated.log_alpha_bar


def one_step_late(self, t):
    return LOG_ALPHA_BAR(self, (as_time(t) + 1 / (len(self._log_alpha_bar) - 1)).clamp(max=1))


def mean_with_sigma_t_for_sigma_s(self, x_t, x, s, t):
    alpha_s, alpha_ts = self.schedule.alpha(s), self.schedule.alpha(t) / self.schedule.alpha(s)
    return over(alpha_ts, x_t) * x_t + over(-alpha_s * torch.expm1(self._log_snr_change(s, t)), x) * x


def wide_prior(self, shape, like=None):
    return iw.Normal(like.new_zeros(tuple(shape)), like.new_full((), 1.1))


def v_with_sign(estimate):
    return -over(estimate.process.schedule.sigma(estimate.t), estimate.x) * estimate.x - estimate.eps


def score_with_sign(estimate):
    return estimate.eps / over(estimate.process.schedule.sigma(estimate.t), estimate.eps)


def score_without_sigma(estimate):
    return -estimate.eps


def x_clipped_eps_kept(self, x_t, t):
    estimate = self.denoiser(x_t, t)
    return replace(estimate, x=estimate.x.clamp(self.low, self.high))


def noise_to_the_end(self, denoiser, x_t, t, s, generator):
    return denoiser.process.reverse(x_t, denoiser(x_t, t), s, t).draw(generator)


ANCESTRAL_STEP = iw.Ancestral.step


def x_t_clipped(self, denoiser, x_t, t, s, generator):
    return ANCESTRAL_STEP(self, denoiser, x_t.clamp(-1, 1), t, s, generator)


def network_asked_about_s(self, denoiser, x_t, t, s, generator):
    reverse = denoiser.process.reverse(x_t, denoiser(x_t, (t + s) / 2), s, t)
    return reverse.mean if s == 0 else reverse.draw(generator)


def ddim(self, denoiser, x_t, t, s, generator, kept_var, noise_std):
    estimate, schedule = denoiser(x_t, t), denoiser.process.schedule
    mean = schedule.alpha(s) * estimate.x + kept_var.clamp(min=0).sqrt() * estimate.eps
    return mean if s == 0 else mean + noise_std * standard_normal(x_t.shape, generator, like=x_t)


def ddim_with_sigma_t(self, denoiser, x_t, t, s, generator):
    var = self.eta**2 * denoiser.process.posterior_var(s, t)
    return ddim(self, denoiser, x_t, t, s, generator, denoiser.process.schedule.sigma(t) ** 2 - var, var.sqrt())


def ddim_with_eta_not_squared(self, denoiser, x_t, t, s, generator):
    var = denoiser.process.posterior_var(s, t)
    kept = denoiser.process.schedule.sigma(s) ** 2 - self.eta * var
    return ddim(self, denoiser, x_t, t, s, generator, kept, self.eta * var.sqrt())


def ddim_with_the_noise_not_taken_off(self, denoiser, x_t, t, s, generator):
    std = self.eta * denoiser.process.posterior_var(s, t).sqrt()
    return ddim(self, denoiser, x_t, t, s, generator, denoiser.process.schedule.sigma(s) ** 2, std)


def even_strides(self, denoiser, x_1, times, generator):
    x, stride = x_1, 1 / (len(times) - 1)
    for t in times[:-1]:
        s = (t - stride).clamp(min=0)
        x = self.step(denoiser, x, t, s, generator)
        yield s, x


def reversed_kl(self, other):
    ratio = other.var / self.var
    return sum_event(0.5 * (ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / self.var))


def halved_kl_missing(self, other):
    ratio = self.var / other.var
    return sum_event(ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / other.var)


def tanh_difference(a, b):
    def cdf(z):
        return 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))

    return (cdf(b) - cdf(a)).clamp(min=1e-12).log()


def closed_edges(self, x):
    centre, half = x - self.mean, self.lattice.spacing / 2
    return distributions.log_ndtr_difference((centre - half) / self.std, (centre + half) / self.std)


def fresh_target(self, denoiser, x, t, eps):
    schedule = denoiser.process.schedule
    x_t = over(schedule.alpha(t), x) * x + over(schedule.sigma(t), x) * eps
    return ((eps.roll(1, 0) - denoiser(x_t, t).eps) ** 2).mean(1)


def times_that_avoid_the_end(self, count, generator):
    return torch.rand(count, generator=generator, dtype=torch.float64) ** 1.3


DIFFUSION_TERM = likelihood._diffusion_term


def terms_not_scaled_up(denoiser, x, times, start, stop, random):
    return DIFFUSION_TERM(denoiser, x, times, start, stop, random) / (stop - start)


def first_pair_only(denoiser, x, times, start, stop, random):
    return (stop - start) * DIFFUSION_TERM(denoiser, x, times, start, start + 1, random)


def posterior_decoder_at_zero(self, x_t, estimate, times, lattice):
    return iw.Normal(estimate.x, over(self.posterior_var(1e-3, times[-2]), x_t))


LOG_DET = iw.Transform.log_det
VELOCITY, LOG_PROBS = flow._velocity, flow._log_probs
WITH_NOISE = flow._with_noise


def velocity_of_the_variance_preserving_alone(denoiser, z, angle):
    t = denoiser.process.schedule.time(-2 * angle.tan().log().clamp(-10, 10))
    return denoiser(z, t).v


def velocity_twice_as_fast(denoiser, z, angle):
    return VELOCITY(denoiser, z, angle) * 2


def log_probs_without_the_radius(denoiser, x_t, t, *rest):
    values, evaluations = LOG_PROBS(denoiser, x_t, t, *rest)
    ratio = torch.log(flow._radius(denoiser, 1.0) / flow._radius(denoiser, t))
    return values - x_t[0].numel() * ratio, evaluations


def density_of_noise_forgotten(*args):
    x_t, t, gain = WITH_NOISE(*args)
    return x_t, t, torch.zeros_like(gain)


BUGS = {
    "beta for beta-tilde": (iw.Gaussian, "posterior_var", beta_for_beta_tilde),
    "small and large variance swapped": (iw.Gaussian, "_reverse_var", swapped_reverse_var),
    "sigma for sigma squared": (iw.Gaussian, "marginal", std_for_var),
    "missing square root": (noise._Tabulated, "alpha", alpha_without_root),
    "1 - alpha-bar in single precision": (noise._Tabulated, "sigma", sigma_by_subtraction_in_single_precision),
    "time off by one grid step": (noise._Tabulated, "log_alpha_bar", one_step_late),
    "sigma_t for sigma_s in the posterior": (iw.Gaussian, "_posterior_mean", mean_with_sigma_t_for_sigma_s),
    "wrong prior": (iw.Gaussian, "prior", wide_prior),
    "wrong v": (iw.Estimate, "v", property(v_with_sign)),
    "sign of the score": (iw.Estimate, "score", property(score_with_sign)),
    "score is the noise": (iw.Estimate, "score", property(score_without_sigma)),
    "eps kept after clipping": (iw.Clipped, "forward", x_clipped_eps_kept),
    "noise on the last step": (iw.Ancestral, "step", noise_to_the_end),
    "x_t clipped": (iw.Ancestral, "step", x_t_clipped),
    "network asked about another time": (iw.Ancestral, "step", network_asked_about_s),
    "sigma_t for sigma_s in DDIM": (iw.DDIM, "step", ddim_with_sigma_t),
    "eta not squared": (iw.DDIM, "step", ddim_with_eta_not_squared),
    "DDIM's noise not taken off": (iw.DDIM, "step", ddim_with_the_noise_not_taken_off),
    "even strides on an uneven grid": (iw.Sampler, "trajectory", even_strides),
    "KL the wrong way round": (iw.Normal, "kl", reversed_kl),
    "KL without its half": (iw.Normal, "kl", halved_kl_missing),
    "tanh for the normal distribution": (distributions, "log_ndtr_difference", tanh_difference),
    "bins closed at the ends": (iw.DiscretizedNormal, "log_mass", closed_edges),
    "target is not the noise that was used": (iw.Simple, "loss", fresh_target),
    "loss summed, not averaged": (objective, "mean_event", sum_event),
    "times not uniform": (iw.Simple, "times", times_that_avoid_the_end),
    "some terms not scaled up": (likelihood, "_diffusion_term", terms_not_scaled_up),
    "always the first of the terms": (likelihood, "_diffusion_term", first_pair_only),
    "decoder with the variance of another pair": (iw.Gaussian, "decoder", posterior_decoder_at_zero),
    "one noise for all slots": (likelihood, "generator", lambda seed, purpose, slot: generator(seed, purpose)),
    "log-determinant with the wrong sign": (iw.Transform, "log_det", lambda self: -LOG_DET(self)),
    "log-determinant forgotten": (iw.Transform, "log_det", lambda self: torch.zeros(())),
    "flow for one kind of schedule": (flow, "_velocity", velocity_of_the_variance_preserving_alone),
    "flow at twice its speed": (flow, "_velocity", velocity_twice_as_fast),
    "log-determinant of the last scale forgotten": (flow, "_log_probs", log_probs_without_the_radius),
    "density of the noise added forgotten": (flow, "_with_noise", density_of_noise_forgotten),
    "divergence forgotten": (flow._Trace, "rates", lambda self, velocity, z, probes: 0 * sum_event(z)[:, None]),
    "what lies below the range left out": (flow, "_immse_rest", lambda *args: 0.0),
}


def fails(check):
    try:
        check()
    except AssertionError:
        return True
    return False


@pytest.fixture(scope="module", autouse=True)
def small_slots():
    """Flows take less time when there is less to fill up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inkwash.randomness.slot_rows", lambda shape, device: 64)
        yield


@contextmanager
def planted(bug):
    target, name, replacement = BUGS[bug]
    with mock.patch.object(target, name, replacement):
        yield


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_bug_every_check_passes(check):
    CHECKS[check]()


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_is_caught(bug):
    with planted(bug):
        assert any(fails(check) for check in CHECKS.values())


def test_a_wrong_conversion_is_caught():
    """The table of conversions, rather than an attribute: a score read as if it were -eps."""
    wrong = {**denoise._TO_HUB, "score": lambda score, *rest: denoise._from_eps(-score, *rest)}
    with mock.patch.object(denoise, "_TO_HUB", wrong):
        assert fails(CHECKS["score and x"])
