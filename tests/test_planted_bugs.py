"""The oracles bite: each of a list of bugs, seen in real code bases, fails the check named beside it."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import test_calibration
import test_categorical
import test_codes
import test_columns
import test_condition
import test_curves
import test_deep
import test_denoise
import test_distributions
import test_drift
import test_fidelity
import test_flow
import test_frame
import test_gaussian
import test_given
import test_grid_costs
import test_grids
import test_impute
import test_interpolate
import test_labels
import test_learning
import test_leaves
import test_levels
import test_likelihood
import test_metrics
import test_mixed
import test_model
import test_nn
import test_noise
import test_objective
import test_posterior
import test_prediction
import test_product
import test_propose
import test_rows
import test_sample
import test_series
import test_sklearn
import test_solvers
import test_table
import test_training
import test_transformers
import test_variance
import test_walk
import torch
from scipy.linalg import sqrtm
from torch.nn import functional as F

import inkwash as iw
from inkwash import (
    calibration,
    categorical,
    denoise,
    distributions,
    drift,
    factor,
    fidelity,
    flow,
    grid_costs,
    interpolate,
    likelihood,
    metrics,
    objective,
    prediction,
    propose,
    randomness,
    series,
    training,
    variance,
    walk,
)
from inkwash import impute as imputing
from inkwash import model as models
from inkwash import sklearn as estimator
from inkwash.data import columns as table_columns
from inkwash.data import curves, deep, frame, leaves, transform
from inkwash.data.rows import blocks
from inkwash.denoise import NetworkDenoiser
from inkwash.distributions import standard_normal
from inkwash.nn import LevelNet, columns, layers, unet
from inkwash.noise import grids, tables
from inkwash.posterior import bits, guide, smc
from inkwash.posterior import walk as posterior_walk
from inkwash.randomness import generator, slots
from inkwash.sample import multistep, singlestep, stochastic
from inkwash.sample.quadrature import exponential_step, levels, weights
from inkwash.shapes import as_time, over, sum_event


def few_rows(check, rows=8):
    """A check that draws, from slots of so many rows."""

    def checked():
        with mock.patch("inkwash.model.slot_rows", return_value=rows):
            check()

    return checked


CHECKS = {
    "filters of deep pictures": test_deep.check_filters,
    "bytes of deep pictures": test_deep.check_encoding,
    "correlation of leaves": test_leaves.check_correlation,
    "transform of the training part": test_rows.check_training_part,
    "quantiles of the training part": partial(test_curves.check_training_part, "quantile"),
    "beyond the ends of quantiles": test_curves.check_beyond_the_ends,
    "volume of logarithms": partial(test_curves.check_log_det, "log"),
    "density of logarithms": partial(test_curves.check_density, "log"),
    "whole numbers": test_table.check_rounding,
    "Bayes' rule of categories": test_categorical.check_bayes,
    "reverse step of categories": test_categorical.check_reverse,
    "bound of categories": partial(test_codes.check_entropy, test_codes.UNIFORM),
    "missing cells": test_mixed.check_missing,
    "bins": test_mixed.check_bins,
    "imputed rows": test_impute.check_gaussian,
    "codes of cells": test_columns.check_codes,
    "cells of columns": test_columns.check_cells,
    "frames": test_frame.check_frames,
    "whole numbers of arrays": test_sklearn.check_whole_numbers,
    "rows imputed apart": test_sklearn.check_rows_apart,
    "text of frames": test_sklearn.check_text,
    "scales of Karras' schedule": partial(test_noise.check_scales, "karras", 50),
    "scales of a zero-terminal schedule": partial(test_noise.check_scales, "zero-terminal linear", 50),
    "DDPM's letters": partial(test_noise.check_ddpm_letters, "linear", 50),
    "Chapman-Kolmogorov": test_gaussian.check_chapman_kolmogorov,
    "Bayes": test_gaussian.check_bayes,
    "prior": test_gaussian.check_prior,
    "reverse variances": test_gaussian.check_reverse_variances,
    "masses sum to one": test_distributions.check_masses_sum_to_one,
    "eps and v": partial(test_denoise.check_cycle, first="eps", second="v"),
    "score and x": partial(test_denoise.check_cycle, first="score", second="x"),
    "clipping": test_denoise.check_clipped,
    "expected loss, continuous": partial(test_objective.check_expected_loss, name="continuous"),
    "expected loss, min-snr": partial(test_objective.check_expected_loss, name="min-snr", t=0.0137),
    "expected loss, edm": partial(test_objective.check_expected_loss, name="edm"),
    "continuous integral": test_objective.check_continuous,
    "pairs of the bound": partial(test_objective.check_pairs, kind="density"),
    "hybrid": test_objective.check_hybrid,
    "routes of a learned schedule": test_learning.check_routes,
    "continuous bound": test_learning.check_value,
    "hybrid by level": partial(test_objective.check_hybrid, by_level=True),
    "exact answers": test_prediction.check_pairs,
    "EDM's table": test_prediction.check_edm,
    "levels": test_prediction.check_levels,
    "log-odds given the others": test_prediction.check_log_odds,
    "bound by level": test_prediction.check_level_bound,
    "analytic variance": test_variance.check_analytic,
    "learned variance": test_variance.check_learned,
    "free variance": test_variance.check_free,
    "detail in the U-Net": test_nn.check_detail,
    "attention in the U-Net": test_nn.check_attention,
    "U-Net with an axis less": test_nn.check_fewer_axes,
    "start of a transformer": test_transformers.check_start,
    "patches": test_transformers.check_patches,
    "attention": test_transformers.check_attention,
    "places of patches": test_transformers.check_place,
    "owners of answers": test_transformers.check_owners,
    "order of columns": test_transformers.check_order,
    "Fréchet distance": test_fidelity.check_frechet,
    "unbiased kernel distance": test_fidelity.check_unbiased,
    "dropped mode": test_fidelity.check_dropped_mode,
    "density of equal laws": test_fidelity.check_equal_laws,
    "floor": test_metrics.check_floor,
    "rate of drift": test_drift.check_rate,
    "fair CRPS": test_calibration.check_crps,
    "covered as stated": partial(test_calibration.check_coverage, share=0.9),
    "categories' scores": test_calibration.check_categories,
    "errors of rows": test_calibration.check_rows,
    "autocorrelation": test_series.check_autocorrelation,
    "a batch in parts": test_training.check_parts,
    "uniform times": test_propose.check_times,
    "unbiased history": partial(test_propose.check_unbiased, name="loss-history"),
    "unbiased log-SNR": test_propose.check_unbiased,
    "history of losses": test_propose.check_history,
    "learned density": test_propose.check_learned_density,
    "variance of the loss": test_propose.check_variance_falls,
    "frequencies of levels": test_levels.check_count,
    "network for levels": test_levels.check_start,
    "categorical": test_distributions.check_categorical,
    "draws of levels": test_distributions.check_categorical_draws,
    "DDIM's recursion": test_sample.check_ddim,
    "one point, some noise": partial(test_sample.check_point, iw.DDIM(0.5)),
    "last step": test_sample.check_last_step,
    "trajectory": test_sample.check_trajectory,
    "last step, Euler-Maruyama": partial(test_sample.check_last_step, iw.EulerMaruyama()),
    "rows, Langevin": partial(test_sample.check_rows, iw.AnnealedLangevin()),
    "walks apart": partial(test_sample.check_no_memory, iw.DPMSolver(2)),
    "ancestral recursion": partial(test_solvers.check_recursion, iw.Ancestral()),
    "Heun's recursion": partial(test_solvers.check_recursion, iw.Heun(s_churn=2.0)),
    "DPM-Solver's recursion": partial(test_solvers.check_recursion, iw.DPMSolver(2)),
    "UniPC's recursion": partial(test_solvers.check_recursion, iw.DPMSolver(2, corrector=True)),
    "recursion of the stochastic solver": partial(test_solvers.check_recursion, iw.DPMSolver(2, eta=1.0)),
    "recursion of single steps": partial(test_solvers.check_recursion, iw.SingleStep(3)),
    "Adams' recursion": partial(test_solvers.check_recursion, iw.Adams()),
    "iPNDM's recursion": partial(test_solvers.check_recursion, iw.IPNDM(3)),
    "Langevin's recursion": partial(test_solvers.check_recursion, iw.AnnealedLangevin(2)),
    "order of DPM-Solver": partial(test_solvers.check_order, iw.DPMSolver(2), 2),
    "stationary law": test_solvers.check_stationary,
    "even grids": partial(test_grids.check_even, iw.KarrasGrid()),
    "even angles": test_grids.check_angles,
    "keys of seeds": test_model.check_keys,
    "places of draws": test_posterior.check_places,
    "pixels of operators": test_product.check_pixels,
    "width of a blur": test_product.check_blur,
    "dynamic thresholding": test_denoise.check_thresholded,
    "bound, large variance": partial(test_likelihood.check_bound, variance="large"),
    "prior part": partial(test_likelihood.check_prior_part, iw.TabulatedSchedule((0.3, 0.3))),
    "some of the terms": test_likelihood.check_terms,
    "slots": test_likelihood.test_slots_have_noise_of_their_own,
    "costs of steps": test_grid_costs.check_step_costs,
    "costs of grids in data units": test_grid_costs.check_totals,
    "costs per example": test_grid_costs.check_means,
    "cheapest grid": test_grid_costs.check_search,
    "deviations": test_grid_costs.check_deviations,
    "data units": test_model.check_data_units,
    "exact density": test_flow.check_log_density,
    "exact density at a later time": partial(test_flow.check_log_density, test_flow.Exploding(), t=0.1),
    "codes": test_flow.check_encode,
    "exact density in data units": test_flow.check_data_units,
    "mass of levels": test_flow.check_levels,
    "second route to the density": test_flow.check_immse,
    "second route, below the range": test_flow.check_immse_rest,
    "estimates on the way": test_walk.check_estimates,
    "law of relatives": test_walk.check_relatives,
    "arc between codes": test_interpolate.check_arc,
    "arc between codes, wide prior": partial(test_interpolate.check_arc, test_flow.Exploding()),
    "mixture at a time": test_interpolate.check_mixture,
    "noise shared": test_interpolate.check_shared_noise,
    "guidance as a power": test_condition.check_guidance,
    "guidance of levels": test_condition.check_levels,
    "labels of their examples": test_condition.check_labels_keep_their_examples,
    "labels of a batch": test_labels.check_labels_of_a_batch,
    "given of their examples": test_given.check_given_keep_their_examples,
    "given of a batch": test_given.check_given_of_a_batch,
    "nothing given is not zero": test_given.check_nothing_is_not_zero,
    "product of normal laws": test_posterior.check_moments,
    "pseudo-inverse guidance": test_posterior.check_pigdm,
    "inverse in few iterations": test_posterior.check_lanczos,
    "rule of the notes": few_rows(test_posterior.check_rule),
    "slope of the distance": test_posterior.check_dps,
    "guidance alone": test_posterior.check_alone,
    "population of a mixture": few_rows(test_posterior.check_population, 512),
    "product of bits": test_posterior.check_entrywise,
    "populations of bits": few_rows(test_posterior.check_bits, 1024),
    "known numbers": few_rows(test_product.check_last_bit),
    "factors in data units": test_product.check_units,
}


def beta_for_beta_tilde(self, s, t):
    return self.transition_var(s, t)


def std_for_var(self, x, t):
    return iw.Normal(over(self.schedule.alpha(t), x) * x, over(self.schedule.sigma(t), x))


def alpha_without_root(self, t):
    return torch.exp(self.log_alpha_bar(t))


def sigma_by_subtraction_in_single_precision(self, t):
    return (1 - torch.exp(self.log_alpha_bar(t)).float()).sqrt().double()


def edm_one_index_late(self, t):
    low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
    return (low + as_time(t) * (high - low)) ** self.rho


def shifted_but_not_scaled(self, t):
    return self.base.alpha(t) - self.base.alpha(1.0)


LOG_ALPHA_BAR = tables._Tabulated.log_alpha_bar


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
    return 0.5 * (ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / self.var)


def halved_kl_missing(self, other):
    ratio = self.var / other.var
    return ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / other.var


def tanh_difference(a, b):
    def cdf(z):
        return 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))

    return (cdf(b) - cdf(a)).clamp(min=1e-12).log()


def closed_edges(self, x):
    centre, half = x - self.mean, self.lattice.spacing / 2
    return distributions.log_ndtr_difference((centre - half) / self.std, (centre + half) / self.std)


def fresh_target(self, denoiser, x, t, noise):
    x_t = denoiser.process.diffuse(x, t, noise)
    return ((noise.roll(1, 0) - denoiser(x_t, t).eps) ** 2).mean(1)


def times_that_avoid_the_end(self, count, schedule, generator):
    t = torch.rand(count, generator=generator, dtype=torch.float64) ** 1.3
    return propose.Times(t.clamp(min=1e-9), torch.ones_like(t))


DIFFUSION_TERM = likelihood._diffusion_term


def terms_not_scaled_up(denoiser, x, present, times, start, stop, random):
    return DIFFUSION_TERM(denoiser, x, present, times, start, stop, random) / (stop - start)


def first_pair_only(denoiser, x, present, times, start, stop, random):
    return (stop - start) * DIFFUSION_TERM(denoiser, x, present, times, start, start + 1, random)


def step_kl_reversed(process, x, x_t, estimate, s, t):
    return process.reverse(x_t, estimate, s, t).kl(process.posterior(x_t, x, s, t))


DECODERS, MEANS, GRID = grid_costs._decoders, grid_costs._costs, iw.GridCosts.grid


def decoder_blind_to_the_time_before(process, x_t, estimate, times, lattice):
    return DECODERS(process, x_t, estimate, times, lattice)[:1]


def copies_counted(times, step, last, count, fixed):
    return MEANS(times, step, last, -(-count // 16) * 16, fixed)


def last_step_for_nothing(self, steps):
    return GRID(replace(self, last=torch.zeros_like(self.last)), steps)


def greedy(self, steps):
    path = [0]
    while len(path) < steps:
        free = self.step[path[-1]].clone()
        free[len(free) - steps + len(path) + 1 :] = torch.inf
        path.append(int(free.argmin()))
    return torch.cat([self.times[path], self.times[-1:]])


def ddim_without_its_noise(process, x, eps, s):
    return process.diffuse(x.expand(len(s), *x.shape), s, 0 * eps.expand(len(s), *eps.shape))


def posterior_decoder_at_zero(self, x_t, estimate, times, lattice):
    return iw.Normal(estimate.x, over(self.posterior_var(1e-3, times[-2]), x_t))


def score_read_with_the_wrong_sign(self, output, noisy):
    return prediction.Eps().read(noisy.sigma * output, noisy)


def score_read_without_sigma(self, output, noisy):
    return prediction.Eps().read(-output, noisy)


V_READ, F_READ, LEVELS_READ = prediction.V.read, prediction.F.read, prediction.Levels.read


def v_read_with_the_wrong_sign(self, output, noisy):
    return V_READ(self, -output, noisy)


def f_with_data_of_unit_variance(self, output, noisy):
    return F_READ(prediction.F(1.0), output, noisy)


def f_without_the_skip_scaled_by_alpha(self, output, noisy):
    width = self.input_scale(noisy)
    x = (self.data_std / width) ** 2 * noisy.x_t + noisy.sigma * self.data_std / width * output
    return prediction.Guess(x, noisy.eps_of(x))


def mean_off_by_one_pair(self, output, noisy):
    rising = self.times.flip(0)
    s = rising[(torch.searchsorted(rising, noisy.t) - 2).clamp(min=0)]
    keep, pull = noisy.process.keep(s, noisy.t), noisy.process.pull(s, noisy.t)
    x = (output - over(keep, output) * noisy.x_t) / over(pull, output)
    return prediction.Guess(x, noisy.eps_of(x))


def levels_with(exponent):
    """Levels whose log-likelihood is another function of the standardised distance and of sigma."""

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


def levels_that_decode_the_prior(self, output, noisy):
    return replace(LEVELS_READ(self, output, noisy), level_logits=output)


def analytic_with(coefficient):
    def of_step(self, process, s, t, spread):
        return process.posterior_var(s, t) + coefficient(process.pull(s, t)) * self.error(process.schedule.log_snr(t))

    return of_step


def learned_in_variance_not_log(small, large, spread):
    share = (spread.double() + 1) / 2
    return share * over(large, share) + (1 - share) * over(small, share)


def share_not_shifted(small, large, spread):
    share = spread.double()
    return torch.exp(share * over(large.log(), share) + (1 - share) * over(small.log(), share))


def clipped_log_variance(small, spread):
    return over(small.log().clamp(min=-4), spread.double()).exp() * spread.double().exp()


def spread_of_the_log_std(small, spread):
    return over(small, spread.double()) * (2 * spread.double()).exp()


def zero_decoder(process, times):
    return process.posterior_var(1e-9, times[-2])


DRAW_HISTORY, DRAW_DENSITY = iw.LossHistory.draw, iw.LogSnrDensity.draw


def with_weight(draw, weight):
    return lambda self, *given: (lambda times: replace(times, weight=weight(times.weight)))(draw(self, *given))


ASK, DENOISE, NUMBERS, TOLD = NetworkDenoiser.ask, iw.Denoiser.forward, iw.Condition.numbers, training.Examples.told
GIVEN_CHANNELS = unet.given_channels


def guided_away(self, seen, t, guidance, condition):
    return ASK(self, seen, t, 1 - guidance, condition)


def power_counted_from_the_conditional(self, seen, t, guidance, condition):
    return ASK(self, seen, t, 1 + guidance, condition)


def x_guided_eps_kept(self, x_t, t, guidance=1.0, **condition):
    null, told = DENOISE(self, x_t, t), DENOISE(self, x_t, t, **condition)
    return replace(told, x=torch.lerp(null.x, told.x, guidance))


def means_guided_not_log_odds(self, x_t, t, guidance=1.0, **condition):
    null, told = DENOISE(self, x_t, t), DENOISE(self, x_t, t, **condition)
    return replace(
        told, **{name: torch.lerp(getattr(null, name), getattr(told, name), guidance) for name in ("x", "eps")}
    )


def first_class_for_none(self, label, count):
    return NUMBERS(self, label, count) - 1


def values_as_they_are(self, given, count):
    return torch.from_numpy(given).float()


def given_by_place_in_the_part(self, positions):
    return TOLD(self, positions) | {"given": self.condition.given.to_model(self.given[positions])}


def zeros_without_a_flag(given, channels, x_t):
    beside = GIVEN_CHANNELS(given, channels, x_t)
    return torch.cat([beside[:, :-1], torch.ones_like(beside[:, -1:])], dim=1)


def zero_for_hidden(value, hidden):
    return value.masked_fill(hidden.view(-1, *(1,) * (value.ndim - 1)), 0)


def hidden_numbers_embedded(self, given):
    return self.layers(given.nan_to_num())


def labels_of_the_first_slot(slot, rows, count, first=0):
    return torch.arange(rows).clamp(max=count - 1)


def labels_by_place_in_the_part(self, positions):
    return {"label": torch.from_numpy(self.labels[positions])}


def mean_of_the_losses(self):
    root = self.losses.mean(1)
    if int(self.counts.min()) < self.losses.shape[1]:
        return torch.ones_like(root)
    return (1 - self.floor) * len(root) * root / root.sum() + self.floor


def density_without_the_root(self):
    return (1 - self.floor) * self.square / self.square.mean() + self.floor


def learns_from_losses_per_time(self, times, losses, schedule):
    low, high = self._ends(schedule)
    index = propose._bin((schedule.log_snr(times.t) - low) / (high - low), len(self.square))
    new = self.square.scatter_reduce(0, index, losses.double() ** 2, "mean", include_self=False)
    seen = torch.zeros_like(self.square).index_fill_(0, index, 1.0)
    self.square += (1 - self.memory) * seen * (new - self.square)


def counted_without_prior(self, blocks):
    blocks = list(blocks)
    counts = torch.stack([sum((block == v).sum(0) for block in blocks) for v in range(len(self.values))], -1).double()
    self.log_prior.copy_((counts / counts.sum(-1, keepdim=True)).log())


FORWARD = LevelNet.forward


def forward_without_the_log_prior(self, x_t, log_snr):
    output = FORWARD(self, x_t, log_snr)
    return torch.cat([output[..., : len(self.values)] - self.log_prior, output[..., len(self.values) :]], -1)


TERM = iw.PairBound.term


def pairs_without_the_prior(self, denoiser, x, x_t, k, estimate, present):
    prior = denoiser.process.marginal(x, 1.0).kl(denoiser.process.prior(x.shape, like=x))
    return TERM(self, denoiser, x, x_t, k, estimate) - prior / x[0].numel()


def pairs_not_multiplied_by_their_number(self, denoiser, x, x_t, k, estimate, present):
    return TERM(self, denoiser, x, x_t, k, estimate) / self.steps


def no_decoder_for_the_first_pair(self, denoiser, x, x_t, k, estimate, present):
    return TERM(self, denoiser, x, x_t, k.clamp(min=2), estimate)


def rounded_step(self, t):
    return (t * self.steps).floor().clamp(1, self.steps)


def hybrid_with_the_mean_free(self, denoiser, x, t, noise):
    k = self.bound.step_of(t)
    simple = iw.Regression().loss(denoiser, x, k / self.bound.steps, noise)
    return simple + self.share * self.bound.loss(denoiser, x, t, noise)


def hybrid_with_the_logits_free(self, denoiser, x, t, noise):
    k = self.bound.step_of(t)
    x_t = denoiser.process.diffuse(x, k / self.bound.steps, noise)
    estimate = denoiser(x_t, k / self.bound.steps)
    held = replace(estimate, x=estimate.x.detach(), eps=estimate.eps.detach())
    simple = ((noise - estimate.eps) ** 2).mean(1)
    return simple + self.share * self.bound.term(denoiser, x, x_t, k, held)


def everything_on_the_variance(loss, other, parameters):
    return other + (loss - other).detach()


REDIRECTED = objective._redirected


def weights_with(name, weight):
    """The table of weights with one replaced."""
    return {**objective.WEIGHTS, name: weight}


def half(schedule, t):
    return torch.full_like(t, 0.5)


def snr(schedule, t):
    return schedule.log_snr(t).exp()


def entropy_in_bits(self):
    return torch.special.entr(self.logits.softmax(-1)).sum(-1) / torch.log(torch.tensor(2.0))


def draw_of_the_likeliest(self, generator):
    return self.lattice.values().to(self.logits)[self.logits.argmax(-1)]


def draw_with_gumbel_upside_down(self, generator):
    uniform = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64)
    return self.lattice.values().to(self.logits)[(self.logits + torch.log(-torch.log(uniform))).argmax(-1)]


LOG_DET = iw.Transform.log_det
TEXT_COLUMN = frame.text_column
VELOCITY, LOG_PROBS = flow._velocity, flow._log_probs
WITH_NOISE = flow._with_noise


def velocity_of_the_variance_preserving_alone(denoiser, z, angle):
    t = denoiser.process.schedule.time(-2 * angle.tan().log().clamp(-10, 10))
    return denoiser(z, t).v


def velocity_twice_as_fast(denoiser, z, angle):
    return VELOCITY(denoiser, z, angle) * 2


def log_probs_without_the_radius(denoiser, x_t, t, *rest):
    values, evaluations = LOG_PROBS(denoiser, x_t, t, *rest)
    ratio = torch.log(denoiser.process.scale(1.0) / denoiser.process.scale(t))
    return values - x_t[0].numel() * ratio, evaluations


def density_of_noise_forgotten(*args):
    x_t, t, gain = WITH_NOISE(*args)
    return x_t, t, torch.zeros_like(gain)


def levels_with_evidence_of_another_noise(self, output, noisy):
    return LEVELS_READ(self, output, replace(noisy, sigma=noisy.sigma**2))


def density_of_mean_squares(self):
    return self.square / self.square.mean()


def constant_rate(schedule, t):
    return 20 * torch.ones_like(t)


def no_log_det(self, x):
    return torch.zeros(len(x))


def integrand_without_the_signal(denoiser, x, log_snr, eps):
    kept = torch.sigmoid(log_snr).to(x.device)
    return IMMSE_INTEGRAND(denoiser, x, log_snr, eps) - (1 - kept) * x[0].numel() * kept


IMMSE_INTEGRAND = flow._immse_integrand


WATCH, SPHERICAL = walk._Watched.__call__, interpolate.spherical


def estimate_of_the_step_before(self, x_t, t):
    last, estimate = getattr(self, "x", None), WATCH(self, x_t, t)
    self.x = estimate.x if last is None else last
    return estimate


def sphere_of_a_standard_prior(a, b, weights):
    way = SPHERICAL(a, b, weights)
    return way / way.norm(dim=1, keepdim=True) * a.numel() ** 0.5


def noise_of_its_own_for_each(process, x, t, generator):
    return process.diffuse(x, t, process.noise(x.shape, generator, like=x))


def stage_without_its_sum(self, h, level):
    for block in self.down:
        h = block(h, level)
    if self.coarser is not None:
        h = F.interpolate(self.widen(self.coarser(self.halve(h), level)), size=h.shape[-2:])
    for block in self.up:
        h = block(h, level)
    return h


STAGE, INTERPOLATE = unet._Stage.__init__, F.interpolate
PAD, ATTEND = F.pad, F.scaled_dot_product_attention
AUTOCORRELATION = series.autocorrelation


def flipped_on_the_way_back(h, size):
    return INTERPOLATE(h, size=size).flip(-1) if len(size) == 3 else INTERPOLATE(h, size=size)


def padded_in_front(x, pad):
    return PAD(x, [pad[i ^ 1] for i in range(len(pad))])


def attention_between_heads(*tokens):
    return ATTEND(*(each.transpose(1, 2) for each in tokens)).transpose(1, 2)


def block_without_gates(self, tokens, level):
    tokens = tokens + self.attention(self.norm(tokens))
    return tokens + self.layers(self.norm(tokens))


def divided_by_the_length(x, lags):
    """By L, not by the L - k pairs there are."""
    found = AUTOCORRELATION(x, lags)
    return replace(found, value=found.value * (1 - found.at / x.shape[2]))


def attention_one_resolution_late(self, widths, attention, *rest):
    STAGE(self, widths, (False, *attention[:-1]), *rest)


def mean_of_the_means_of_parts(loss_of, batch, rows, step, seed, accelerator):
    each = (batch.x, batch.times.t, batch.noise, batch.times.weight)
    parts = list(zip(*(whole.split(rows) for whole in each), strict=True))
    losses = [loss_of(*part[:3], {}) for part in parts]
    for loss, (*_, weight) in zip(losses, parts, strict=True):
        accelerator.backward((loss * weight.to(loss)).mean() / len(parts))
    return torch.cat(losses).detach()


def with_sigma_t(x_t, now, then, seen, *rest):
    return exponential_step(x_t, replace(now, sigma=then.sigma or now.sigma), then, seen, *rest)


def of_order_one(x_t, now, then, seen, *rest):
    return exponential_step(x_t, now, then, seen[:1], *rest)


def with_one_variance_for_all(x_t, now, then, seen, eta=0.0, noise=None):
    return exponential_step(x_t, now, then, seen, 0.0, None if noise is None else eta * noise)


SHARED_HISTORY = []


def with_shared_history(x_t, now, then, seen, *rest):
    SHARED_HISTORY[:] = [seen[0][1], *SHARED_HISTORY][: len(seen)]
    mixed = [(level, guess) for (level, _), guess in zip(seen, SHARED_HISTORY, strict=True)]
    return exponential_step(x_t, now, then, mixed, *rest)


def as_if_evenly_spaced(places, moments):
    return weights([-float(k) for k in range(len(places))], moments)


def uneven_grid_by_arithmetic(schedule, times):
    return levels(schedule, torch.linspace(1, 0, len(times), dtype=torch.float64))


EULER_MARUYAMA, LANGEVIN = iw.EulerMaruyama.step, iw.AnnealedLangevin.step


def euler_maruyama_with_noise_to_the_end(self, denoiser, x_t, t, s, generator):
    x_s = EULER_MARUYAMA(self, denoiser, x_t, t, s, generator)
    return x_s + (s == 0) * denoiser.process.schedule.sigma(t) * standard_normal(x_t.shape, generator, like=x_t)


class AskedAbout:
    """A denoiser asked about one time, whatever the time."""

    def __init__(self, denoiser, t):
        self.denoiser, self.process, self.t = denoiser, denoiser.process, t

    def __call__(self, x_t, t):
        return self.denoiser(x_t, self.t)


def score_of_the_previous_level(self, denoiser, x_t, t, s, generator):
    return LANGEVIN(self, AskedAbout(denoiser, t), x_t, t, s, generator)


def langevin_with_one_norm_for_all(sampler, denoiser, x, t, generator):
    for _ in range(sampler.corrections if t > 0 else 0):
        score, noise = denoiser(x, t).score, standard_normal(x.shape, generator, like=x)
        length = 2 * (sampler.snr * noise.norm() / score.norm()) ** 2
        x = x + length * score + (2 * length).sqrt() * noise
    return x


CORRECT = stochastic.Corrected.correct


def langevin_of_half_the_noise(sampler, denoiser, x, t, generator):
    with mock.patch.object(stochastic, "standard_normal", lambda *a, like: standard_normal(*a, like=like) / 2**0.5):
        return CORRECT(sampler, denoiser, x, t, generator)


def thresholded_over_the_batch(self, x_t, t):
    estimate = self.denoiser(x_t, t)
    bound = estimate.x.abs().quantile(self.quantile).clamp(min=1)
    return denoise._with_x(estimate, estimate.x.clamp(-bound, bound) / bound)


LOOK, LOG_TWIST, MEASURED = guide.Guided.look, guide.log_twist, iw.Measurement.evidence


def guidance_with_sign(self, x_t, t):
    plain, guided, local = LOOK(self, x_t, t)
    return plain, replace(guided, x=2 * plain.x - guided.x, eps=2 * plain.eps - guided.eps), local


def eps_kept(self, x_t, t):
    plain, guided, local = LOOK(self, x_t, t)
    return plain, replace(guided, eps=plain.eps), local


def noise_as_its_own_variance(self, model):
    evidence = MEASURED(self, model)
    return replace(evidence, measured=tuple(replace(m, var=m.var.sqrt()) for m in evidence.measured))


def offset_forgotten(self, model):
    evidence = MEASURED(self, model)
    shift = model.real(torch.zeros(1, *model.shape, dtype=torch.float64))
    return replace(evidence, measured=tuple(replace(m, y=m.y + self._apply(shift)[0]) for m in evidence.measured))


def one_norm_for_all(self, denoiser, x_t, t, s, generator):
    def distance(x):
        return self.evidence.linear.residual(denoiser(x, t).x).norm()[None]

    return self.inner(denoiser, x_t, t, s, generator) - self.options.scale * guide.gradient(distance, x_t)


def squared_norm(self, denoiser, x_t, t, s, generator):
    def distance(x):
        return self.evidence.linear.residual(denoiser(x, t).x).square().sum(1)

    return self.inner(denoiser, x_t, t, s, generator) - self.options.scale * guide.gradient(distance, x_t)


def matched_step_by_step(self, denoiser, evidence, sampler):
    return posterior_walk.StepProduct().compose(denoiser, evidence, sampler)


def unweighted(log_weight, count, generator):
    return torch.randperm(len(log_weight), generator=generator)[:count]


BLUR, CROP, DRAWN = iw.blur, iw.crop, smc._drawn
ALONG, QUANTILES_OF = curves._along, transform._quantiles
PRECISION_RECALL, REACH = fidelity.precision_recall, fidelity.reach


def angles_to_the_models_own(self, schedule, steps, finest=1000):
    start, stop = (torch.atan2(schedule.sigma(t), schedule.alpha(t)) for t in (1.0, 1 / finest))
    return grids._closed(schedule.time(-2 * grids._even(start, stop, steps).tan().log()))


category_column, encode_cells, category_names = (
    table_columns.category_column,
    table_columns.Column.encode,
    table_columns.Column._names,
)


def without_missing(where, dtype, names, numbers):
    return category_column(where, dtype, names, np.nan_to_num(numbers))


def zero_for_missing(column, where, cells):
    return np.nan_to_num(encode_cells(column, where, cells))


REVERSE_CODES = iw.Categorical.reverse


def reverse_from_the_belief(self, x_t, estimate, s, t):
    return REVERSE_CODES(self, x_t, replace(estimate, log_weights=estimate.logits), s, t)


LOG_WEIGHTS = property(lambda self: self.log_weights)


def density_for_mass(self, x):
    return self.density.entry_log_prob(x)


def names_from_one(column, values):
    """As if categories were counted from 1, like classes of labels."""
    return category_names(column, np.maximum(values - 1, 0))


BUGS = {  # what is replaced, by what, and the check that must notice
    "beta for beta-tilde": (iw.Gaussian, "posterior_var", beta_for_beta_tilde, "DDPM's letters"),
    "small and large variance swapped": (variance.Small, "of_step", variance.Large.of_step, "reverse variances"),
    "sigma for sigma squared": (iw.Gaussian, "marginal", std_for_var, "Chapman-Kolmogorov"),
    "missing square root": (tables._Tabulated, "alpha", alpha_without_root, "Chapman-Kolmogorov"),
    "1 - alpha-bar in single precision": (
        tables._Tabulated,
        "sigma",
        sigma_by_subtraction_in_single_precision,
        "Chapman-Kolmogorov",
    ),
    "time off by one grid step": (tables._Tabulated, "log_alpha_bar", one_step_late, "DDPM's letters"),
    "EDM's list over N, not N - 1": (iw.KarrasSchedule, "sigma", edm_one_index_late, "scales of Karras' schedule"),
    "terminal signal taken off, the rest not scaled": (
        iw.ZeroTerminalSchedule,
        "alpha",
        shifted_but_not_scaled,
        "scales of a zero-terminal schedule",
    ),
    "sigma_t for sigma_s in the posterior": (iw.Gaussian, "_posterior_mean", mean_with_sigma_t_for_sigma_s, "Bayes"),
    "wrong prior": (iw.Gaussian, "prior", wide_prior, "prior"),
    "wrong v": (iw.Estimate, "v", property(v_with_sign), "eps and v"),
    "sign of the score": (iw.Estimate, "score", property(score_with_sign), "score and x"),
    "score is the noise": (iw.Estimate, "score", property(score_without_sigma), "score and x"),
    "eps kept after clipping": (iw.Clipped, "forward", x_clipped_eps_kept, "clipping"),
    "noise on the last step": (iw.Ancestral, "step", noise_to_the_end, "last step"),
    "x_t clipped": (iw.Ancestral, "step", x_t_clipped, "ancestral recursion"),
    "sigma_t for sigma_s in an exponential step": (
        multistep,
        "exponential_step",
        with_sigma_t,
        "DPM-Solver's recursion",
    ),
    "the order never rises": (multistep, "exponential_step", of_order_one, "order of DPM-Solver"),
    "noise added, not made room for": (
        multistep,
        "exponential_step",
        with_one_variance_for_all,
        "recursion of the stochastic solver",
    ),
    "the corrector does not look ahead": (multistep, "exponential_step", of_order_one, "UniPC's recursion"),
    "single steps without their inner time": (
        singlestep,
        "exponential_step",
        of_order_one,
        "recursion of single steps",
    ),
    "history shared between walks": (multistep, "exponential_step", with_shared_history, "walks apart"),
    "fixed coefficients on an uneven grid": (multistep, "weights", as_if_evenly_spaced, "iPNDM's recursion"),
    "times by arithmetic, not from the list": (multistep, "levels", uneven_grid_by_arithmetic, "Adams' recursion"),
    "churn capped too low": (singlestep, "_MOST_CHURN", 0.1, "Heun's recursion"),
    "noise on Euler-Maruyama's last step": (
        iw.EulerMaruyama,
        "step",
        euler_maruyama_with_noise_to_the_end,
        "last step, Euler-Maruyama",
    ),
    "score of the previous level": (iw.AnnealedLangevin, "step", score_of_the_previous_level, "Langevin's recursion"),
    "one norm over the batch": (stochastic.Corrected, "correct", langevin_with_one_norm_for_all, "rows, Langevin"),
    "Langevin noise without its 2": (stochastic.Corrected, "correct", langevin_of_half_the_noise, "stationary law"),
    "Karras' grid without its root": (iw.KarrasGrid, "times", iw.LogSnrGrid.times, "even grids"),
    "one threshold for the batch": (iw.Thresholded, "forward", thresholded_over_the_batch, "dynamic thresholding"),
    "network asked about another time": (iw.Ancestral, "step", network_asked_about_s, "last step"),
    "sigma_t for sigma_s in DDIM": (iw.DDIM, "step", ddim_with_sigma_t, "DDIM's recursion"),
    "eta not squared": (iw.DDIM, "step", ddim_with_eta_not_squared, "one point, some noise"),
    "DDIM's noise not taken off": (iw.DDIM, "step", ddim_with_the_noise_not_taken_off, "one point, some noise"),
    "even strides on an uneven grid": (iw.Sampler, "trajectory", even_strides, "trajectory"),
    "KL the wrong way round": (iw.Normal, "entry_kl", reversed_kl, "prior part"),
    "KL without its half": (iw.Normal, "entry_kl", halved_kl_missing, "prior part"),
    "tanh for the normal distribution": (distributions, "log_ndtr_difference", tanh_difference, "masses sum to one"),
    "bins closed at the ends": (iw.DiscretizedNormal, "entry_log_prob", closed_edges, "masses sum to one"),
    "target is not the noise that was used": (iw.Regression, "loss", fresh_target, "expected loss, min-snr"),
    "loss summed, not averaged": (objective, "mean_event", sum_event, "expected loss, min-snr"),
    "times not uniform": (iw.LowDiscrepancy, "draw", times_that_avoid_the_end, "uniform times"),
    "some terms not scaled up": (likelihood, "_diffusion_term", terms_not_scaled_up, "some of the terms"),
    "always the first of the terms": (likelihood, "_diffusion_term", first_pair_only, "some of the terms"),
    "decoder with the variance of another pair": (
        iw.Gaussian,
        "decoder",
        posterior_decoder_at_zero,
        "bound, large variance",
    ),
    "one noise for all slots": (randomness, "generator", lambda seed, purpose, slot: generator(seed, purpose), "slots"),
    "log-determinant with the wrong sign": (iw.Transform, "log_det", lambda self, x: -LOG_DET(self, x), "data units"),
    "log-determinant forgotten": (iw.Transform, "log_det", no_log_det, "data units"),
    "score read with the wrong sign": (prediction.Score, "read", score_read_with_the_wrong_sign, "score and x"),
    "score read as the noise": (prediction.Score, "read", score_read_without_sigma, "score and x"),
    "v read with the wrong sign": (prediction.V, "read", v_read_with_the_wrong_sign, "eps and v"),
    "F without c_in": (iw.Denoiser, "shown", lambda self, noisy: noisy.x_t, "EDM's table"),
    "F for data of unit variance": (prediction.F, "read", f_with_data_of_unit_variance, "EDM's table"),
    "F whose skip forgets alpha": (prediction.F, "read", f_without_the_skip_scaled_by_alpha, "exact answers"),
    "mean off by one pair": (iw.Mean, "read", mean_off_by_one_pair, "exact answers"),
    "levels without the half": (iw.Levels, "read", levels_without_the_half, "log-odds given the others"),
    "levels with sigma for sigma squared": (
        iw.Levels,
        "read",
        levels_with_sigma_not_squared,
        "log-odds given the others",
    ),
    "levels without alpha": (iw.Levels, "read", levels_without_alpha, "log-odds given the others"),
    "levels decoded before their evidence": (iw.Levels, "read", levels_that_decode_the_prior, "bound by level"),
    "analytic without c squared": (iw.Analytic, "of_step", analytic_with(torch.ones_like), "analytic variance"),
    "analytic with c for c squared": (iw.Analytic, "of_step", analytic_with(lambda c: c), "analytic variance"),
    "variances mixed, not their logs": (variance, "_between", learned_in_variance_not_log, "learned variance"),
    "spread from 0 to 1": (variance, "_between", share_not_shifted, "learned variance"),
    "log-variance clipped": (variance, "_scaled", clipped_log_variance, "free variance"),
    "spread of the standard deviation": (variance, "_scaled", spread_of_the_log_std, "free variance"),
    "no rule for the last step": (variance, "_first_posterior_var", zero_decoder, "free variance"),
    "no weights for a history": (
        iw.LossHistory,
        "draw",
        with_weight(DRAW_HISTORY, torch.ones_like),
        "unbiased history",
    ),
    "weight p for 1/p": (iw.LogSnrDensity, "draw", with_weight(DRAW_DENSITY, torch.reciprocal), "continuous integral"),
    "mean, not root mean square": (iw.LossHistory, "density", mean_of_the_losses, "history of losses"),
    "density without the root": (iw.LogSnrDensity, "density", density_without_the_root, "variance of the loss"),
    "losses per time, not per log-SNR": (
        iw.LogSnrDensity,
        "learn",
        learns_from_losses_per_time,
        "variance of the loss",
    ),
    "frequencies without smoothing": (LevelNet, "count", counted_without_prior, "frequencies of levels"),
    "log-frequencies left out": (LevelNet, "forward", forward_without_the_log_prior, "network for levels"),
    "pairs without the prior": (iw.PairBound, "term", pairs_without_the_prior, "pairs of the bound"),
    "one pair for all of them": (iw.PairBound, "term", pairs_not_multiplied_by_their_number, "pairs of the bound"),
    "no decoder for the first pair": (iw.PairBound, "term", no_decoder_for_the_first_pair, "pairs of the bound"),
    "step rounded down": (iw.PairBound, "step_of", rounded_step, "hybrid"),
    "hybrid that trains the mean by the bound": (iw.Hybrid, "loss", hybrid_with_the_mean_free, "hybrid"),
    "hybrid that trains the logits by the bound": (iw.Hybrid, "loss", hybrid_with_the_logits_free, "hybrid by level"),
    "shape trained on the loss": (objective, "_redirected", lambda loss, *rest: loss, "routes of a learned schedule"),
    "ends trained on the variance": (
        objective,
        "_redirected",
        everything_on_the_variance,
        "routes of a learned schedule",
    ),
    "shape trained on the square of the whole bound": (
        objective,
        "_redirected",
        lambda loss, other, parameters: REDIRECTED(loss, loss**2, parameters),
        "routes of a learned schedule",
    ),
    "ends counted among the shape": (
        iw.LearnedSchedule,
        "shape",
        lambda self: list(self.parameters()),
        "routes of a learned schedule",
    ),
    "continuous bound without its prior": (
        objective,
        "_prior",
        lambda process, x, present: torch.zeros((), dtype=torch.float64),
        "continuous bound",
    ),
    "rate without its half": (
        objective,
        "WEIGHTS",
        weights_with("half-rate", propose.log_snr_rate),
        "expected loss, continuous",
    ),
    "half rate forgotten": (objective, "WEIGHTS", weights_with("half-rate", half), "expected loss, continuous"),
    "SNR without a limit": (objective, "WEIGHTS", weights_with("min-snr", snr), "expected loss, min-snr"),
    "EDM's weight without its one": (objective, "WEIGHTS", weights_with("edm", snr), "expected loss, edm"),
    "entropy in bits": (iw.Masses, "entry_entropy", entropy_in_bits, "categorical"),
    "always the likeliest level": (iw.Masses, "draw", draw_of_the_likeliest, "draws of levels"),
    "Gumbel noise upside down": (iw.Masses, "draw", draw_with_gumbel_upside_down, "draws of levels"),
    "flow for one kind of schedule": (
        flow,
        "_velocity",
        velocity_of_the_variance_preserving_alone,
        "exact density at a later time",
    ),
    "flow at twice its speed": (flow, "_velocity", velocity_twice_as_fast, "codes"),
    "log-determinant of the last scale forgotten": (
        flow,
        "_log_probs",
        log_probs_without_the_radius,
        "exact density at a later time",
    ),
    "density of the noise added forgotten": (flow, "_with_noise", density_of_noise_forgotten, "mass of levels"),
    "divergence forgotten": (
        flow._Trace,
        "rates",
        lambda self, velocity, z, probes: 0 * sum_event(z)[:, None],
        "exact density",
    ),
    "evidence of another noise": (iw.Levels, "read", levels_with_evidence_of_another_noise, "levels"),
    "density of mean squares, not of their roots": (
        iw.LogSnrDensity,
        "density",
        density_of_mean_squares,
        "learned density",
    ),
    "weight without the rate of the log-SNR": (
        propose,
        "log_snr_rate",
        constant_rate,
        "unbiased log-SNR",
    ),
    "log-determinant of the data's units forgotten": (
        iw.Transform,
        "log_det",
        no_log_det,
        "exact density in data units",
    ),
    "signal counted short in the second route": (
        flow,
        "_immse_integrand",
        integrand_without_the_signal,
        "second route to the density",
    ),
    "estimate of the step before": (walk._Watched, "__call__", estimate_of_the_step_before, "estimates on the way"),
    "a walk from time 1, whatever the latent's": (models, "grid_from", lambda t, grid: grid, "law of relatives"),
    "a straight line between codes": (interpolate, "spherical", interpolate.linear, "arc between codes"),
    "prior's scale forgotten": (
        interpolate,
        "spherical",
        sphere_of_a_standard_prior,
        "arc between codes, wide prior",
    ),
    "codes mixed at a time": (interpolate, "linear", SPHERICAL, "mixture at a time"),
    "different noise for the two ends": (interpolate, "diffuse_alike", noise_of_its_own_for_each, "noise shared"),
    "volumes flipped on the way back": (F, "interpolate", flipped_on_the_way_back, "U-Net with an axis less"),
    "lags divided by the length": (series, "autocorrelation", divided_by_the_length, "autocorrelation"),
    "gates that are open": (layers._TransformerBlock, "forward", block_without_gates, "start of a transformer"),
    "zeros before the first patch": (F, "pad", padded_in_front, "patches"),
    "attention between heads": (F, "scaled_dot_product_attention", attention_between_heads, "attention"),
    "one place for all patches": (
        iw.DiT,
        "_waves",
        lambda self, grid: torch.zeros(*grid, self.place.in_features, dtype=self.rates.dtype),
        "places of patches",
    ),
    "spreads beside predictions": (
        columns,
        "_owners",
        lambda sizes, count: [i * count // len(sizes) for i, size in enumerate(sizes) for _ in range(size)],
        "owners of answers",
    ),
    "columns that see those before alone": (
        F,
        "scaled_dot_product_attention",
        partial(ATTEND, is_causal=True),
        "order of columns",
    ),
    "skip left out": (unet._Stage, "forward", stage_without_its_sum, "detail in the U-Net"),
    "attention at another resolution": (
        unet._Stage,
        "__init__",
        attention_one_resolution_late,
        "attention in the U-Net",
    ),
    "mean of the means of parts": (training, "_losses", mean_of_the_means_of_parts, "a batch in parts"),
    "sign of guidance": (NetworkDenoiser, "ask", guided_away, "guidance as a power"),
    "guidance one too much": (NetworkDenoiser, "ask", power_counted_from_the_conditional, "guidance as a power"),
    "x guided, eps kept": (iw.Denoiser, "forward", x_guided_eps_kept, "guidance as a power"),
    "levels guided by their mean": (iw.Denoiser, "forward", means_guided_not_log_odds, "guidance of levels"),
    "first class taken for none": (iw.Condition, "numbers", first_class_for_none, "labels of their examples"),
    "given not standardised": (iw.Condition, "values", values_as_they_are, "given of their examples"),
    "given of the first slot": (models, "slot_places", labels_of_the_first_slot, "given of their examples"),
    "given of another example": (training.Examples, "told", given_by_place_in_the_part, "given of a batch"),
    "numbers hidden as zeros": (training, "hide", zero_for_hidden, "given of a batch"),
    "a hidden image as a black one": (unet, "given_channels", zeros_without_a_flag, "nothing given is not zero"),
    "hidden numbers embedded": (iw.GivenEmbedding, "forward", hidden_numbers_embedded, "nothing given is not zero"),
    "labels of the first slot": (models, "slot_places", labels_of_the_first_slot, "labels of their examples"),
    "label of another example": (training.Examples, "told", labels_by_place_in_the_part, "labels of a batch"),
    "divergence the wrong way round": (grid_costs, "step_kl", step_kl_reversed, "costs of grids in data units"),
    "decoder blind to the time before": (grid_costs, "_decoders", decoder_blind_to_the_time_before, "costs of steps"),
    "copies that fill a slot counted": (grid_costs, "_costs", copies_counted, "costs per example"),
    "last step for nothing": (iw.GridCosts, "grid", last_step_for_nothing, "cheapest grid"),
    "cheapest step first": (iw.GridCosts, "grid", greedy, "cheapest grid"),
    "steps that drop the noise": (grid_costs, "_ddim", ddim_without_its_noise, "deviations"),
    "what lies below the range left out": (flow, "_immse_rest", lambda *args: 0.0, "second route, below the range"),
    "guidance with the wrong sign": (guide.Guided, "look", guidance_with_sign, "product of normal laws"),
    "x of a product, eps kept": (guide.Guided, "look", eps_kept, "product of normal laws"),
    "Jacobian forgotten": (
        guide.Local,
        "cov",
        lambda self, v: self.gain * v,
        "product of normal laws",
    ),
    "covariance of unit data for all": (guide.Local, "cov", lambda self, v: self.spread * v, "product of normal laws"),
    "noise of the measurement not squared": (
        iw.Measurement,
        "evidence",
        noise_as_its_own_variance,
        "product of normal laws",
    ),
    "variance of pseudo-inverse guidance without its root": (
        guide,
        "log_twist",
        lambda spread, evidence, x: LOG_TWIST(spread**0.5, evidence, x),
        "pseudo-inverse guidance",
    ),
    "directions of Lanczos that are not orthogonal": (
        guide,
        "_beside",
        lambda basis, v: torch.nn.functional.normalize(v, dim=1),
        "inverse in few iterations",
    ),
    "moments matched one step at a time": (iw.MomentMatching, "compose", matched_step_by_step, "rule of the notes"),
    "one distance over the batch": (posterior_walk._Descended, "step", one_norm_for_all, "guidance alone"),
    "norm squared": (posterior_walk._Descended, "step", squared_norm, "slope of the distance"),
    "particles not weighed": (smc, "_drawn", unweighted, "population of a mixture"),
    "bits tilted the wrong way": (
        bits.Tilted,
        "of",
        lambda self, estimate: replace(estimate, logits=estimate.logits - self.h.to(estimate.logits)),
        "product of bits",
    ),
    "last weighing of bits forgotten": (
        smc,
        "beyond",
        lambda evidence, h, x: torch.zeros(len(x), dtype=torch.float64),
        "populations of bits",
    ),
    "predictor that takes the neighbour before": (
        deep,
        "_paeth",
        lambda left, above, corner: left + above - corner,
        "filters of deep pictures",
    ),
    "bytes of 16 bits the wrong way round": (
        np,
        "ascontiguousarray",
        lambda array, dtype=None: np.array(array, "<u2" if dtype == ">u2" else dtype),
        "bytes of deep pictures",
    ),
    "radii of another range": (leaves, "RADII", (1.0, 8.0), "correlation of leaves"),
    "moments of held-out data as well": (
        transform,
        "blocks",
        lambda data, rows=None: blocks(data),
        "transform of the training part",
    ),
    "a missing category is the first one": (table_columns, "category_column", without_missing, "codes of cells"),
    "a missing category of a frame is the first one": (frame, "category_column", without_missing, "frames"),
    "a missing cell is the first category": (table_columns.Column, "encode", zero_for_missing, "cells of columns"),
    "categories counted from one": (table_columns.Column, "_names", names_from_one, "cells of columns"),
    "categories that survive the whole way": (
        categorical,
        "step_log_odds",
        lambda schedule, s, t: schedule.log_snr(t),
        "Bayes' rule of categories",
    ),
    "step back that forgets where it comes from": (
        iw.Categorical,
        "evidence",
        lambda self, x_t, log_odds: torch.zeros(*x_t.shape, self.states.levels, dtype=x_t.dtype),
        "Bayes' rule of categories",
    ),
    "step back from the belief": (iw.Categorical, "reverse", reverse_from_the_belief, "reverse step of categories"),
    "weights taken for the belief": (iw.CodeEstimate, "logits", LOG_WEIGHTS, "bound of categories"),
    "missing cells counted": (distributions, "sum_event", lambda x, present=None: sum_event(x), "missing cells"),
    "whole numbers as real ones": (iw.BinnedNormal, "entry_log_prob", density_for_mass, "bins"),
    "every example known as the first one is": (
        factor.EachKnown,
        "known_of",
        lambda self, x: self.known[:1].expand(x.shape),
        "imputed rows",
    ),
    "whole numbers cut, not rounded": (iw.DataSpec, "rounded", lambda self, data: data.astype(int), "whole numbers"),
    "the same of arrays": (
        estimator,
        "_whole",
        lambda data, dtype: np.trunc(data).clip(-1e6, 1e6).astype(dtype),
        "whole numbers of arrays",
    ),
    "text that looks like numbers, as numbers": (
        frame,
        "text_column",
        lambda *column, typed: TEXT_COLUMN(*column),
        "text of frames",
    ),
    "one noise for all rows imputed": (
        imputing,
        "generator",
        lambda seed, *key: generator(seed, key[0]),
        "rows imputed apart",
    ),
    "known numbers through model units": (iw.Product, "_observed", (), "known numbers"),
    "shift of the data's units forgotten": (iw.Measurement, "evidence", offset_forgotten, "factors in data units"),
    "angles down to the model's own time on any grid": (iw.AngleGrid, "times", angles_to_the_models_own, "even angles"),
    "two uses under one key": (
        models,
        "slots",
        lambda x, seed, purpose: slots(x, seed, randomness.Purpose.SAMPLE_FROM),
        "keys of seeds",
    ),
    "draws in the order of the particles": (smc, "_drawn", lambda *args: DRAWN(*args).sort().values, "places of draws"),
    "product of roots for the root of the product": (
        fidelity,
        "root_trace",
        lambda x, y: float(np.trace(sqrtm(x.T @ x) @ sqrtm(y.T @ y)).real),
        "Fréchet distance",
    ),
    "pairs of one example with itself": (
        fidelity,
        "mean_pair",
        lambda x: float(((x @ x.T / x.shape[1] + 1) ** 3).mean()),
        "unbiased kernel distance",
    ),
    "precision for recall": (
        fidelity,
        "precision_recall",
        lambda samples, data: PRECISION_RECALL(data, samples),
        "dropped mode",
    ),
    "a point that is its own neighbour": (
        fidelity,
        "reach",
        lambda x, k: REACH(x, k - 1),
        "density of equal laws",
    ),
    "a floor of samples": (
        metrics,
        "with_floor",
        lambda measure, samples, train, held_out: (measure(samples, held_out), measure(samples[::2], held_out)),
        "floor",
    ),
    "places of an example as examples": (
        drift,
        "_each",
        lambda x: (x.ravel(), (x.ravel() - x.mean()) ** 2),
        "rate of drift",
    ),
    "the slope of a curve forgotten": (curves.Log, "log_slope", lambda self, u: 0 * u, "volume of logarithms"),
    "the slope of the way back": (curves.Log, "log_slope", lambda self, u: u, "density of logarithms"),
    "quantiles cut at the ends": (
        curves,
        "_along",
        lambda x, start, end: ALONG(x.clamp(start[0], start[-1]), start, end),
        "beyond the ends of quantiles",
    ),
    "quantiles of all the data": (
        transform,
        "_quantiles",
        lambda spec, data, rows: QUANTILES_OF(spec, data, None),
        "quantiles of the training part",
    ),
    "pairs of a draw with itself": (
        calibration,
        "crps",
        lambda x, y: np.abs(x - y).mean(0) - np.abs(x[:, None] - x).mean((0, 1)) / 2,
        "fair CRPS",
    ),
    "quantiles of few draws as of many": (
        calibration,
        "coverage",
        lambda x, y, share: (abs(np.mean(x < y, 0) - 0.5) < share / 2) * 1.0,
        "covered as stated",
    ),
    "a claim of a draw with itself": (
        calibration,
        "_same",
        lambda x: (x[:, None] == x).sum(1) + 1,
        "categories' scores",
    ),
    "entries as rows": (
        calibration,
        "row_mean",
        lambda values, rows: calibration.Mean(values.mean(), values.std(ddof=1) / len(values) ** 0.5),
        "errors of rows",
    ),
    "left for top": (iw, "crop", lambda top, left, *size: CROP(left, top, *size), "pixels of operators"),
    "a variance for the width of a blur": (iw, "blur", lambda std: BLUR(std**2), "width of a blur"),
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

    def small(x, seed, purpose):
        with mock.patch("inkwash.randomness.slot_rows", return_value=64):
            return list(slots(x, seed, purpose))

    with mock.patch.object(flow, "slots", small):
        yield


@contextmanager
def planted(bug):
    target, name, replacement, _ = BUGS[bug]
    with mock.patch.object(target, name, replacement):
        yield


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_bug_every_check_passes(check):
    CHECKS[check]()


def test_every_check_is_named_by_a_bug():
    assert {check for *_, check in BUGS.values()} == set(CHECKS)


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_is_caught(bug):
    with planted(bug):
        assert fails(CHECKS[BUGS[bug][-1]])
