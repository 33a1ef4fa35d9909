"""Questions about the reverse process, from noise to data, and about the loss that trains it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from inkwash.commands.papers.questions.answer import PEAKS, Answer, lines
from inkwash.denoise.denoiser import Denoiser
from inkwash.process.distributions import Lattice, Normal
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.tables import LinearSchedule

_LINEAR = LinearSchedule()
_PROCESS = Gaussian(_LINEAR)
_F64 = torch.float64


def reverse_formula(random: torch.Generator) -> Answer:
    """Mean and variance of the true q(x_s | x_t) at t = 0.4, and by the formula with the estimate in place of x."""
    t, counts = 0.4, [5, 10, 20, 50, 100, 200, 500, 1000]
    wrong, ratio = [], []
    for count in counts:
        x_t, x_s, weight = _true_reverse(t - 1 / count, t)
        mean = (weight * x_s).sum(1)
        var = (weight * (x_s - mean[:, None]) ** 2).sum(1)
        step = cast(Normal, _PROCESS.reverse(x_t, PEAKS.denoiser(_PROCESS, "small")(x_t, t), t - 1 / count, t))
        wrong.append(float((step.mean[:, 0] - mean).abs().max()))
        ratio.append(float((_weights_of(x_t, t) * var).sum() / step.var))
    figure = lines(counts, {"true / small variance": ratio}, xscale="log", xlabel="steps", ylabel="ratio of variances")
    numbers = {"mean_error": max(wrong), "variance_ratio_5": ratio[0], "variance_ratio_1000": ratio[-1]}
    return Answer(numbers, figure)


def normal_steps(random: torch.Generator) -> Answer:
    """KL of the true q(x_s | x_t), t = 0.4, from the normal distribution of equal mean and variance; mean over x_t."""
    t, counts, costs = 0.4, [3, 5, 10, 20, 50, 100, 200, 500, 1000], []
    for count in counts:
        x_t, x_s, weight = _true_reverse(t - 1 / count, t)
        mean = (weight * x_s).sum(1, keepdim=True)
        var = (weight * (x_s - mean) ** 2).sum(1, keepdim=True)
        normal = torch.exp(-0.5 * (x_s - mean) ** 2 / var)
        divergence = (weight * (torch.log(weight / (normal / normal.sum(1, keepdim=True))))).nansum(1)
        costs.append(float((_weights_of(x_t, t) * divergence).sum()))
    curve = {"one step": costs, "all steps, at this rate": [n * c for n, c in zip(counts, costs, strict=True)]}
    figure = lines(counts, curve, xscale="log", yscale="log", xlabel="steps", ylabel="KL from a normal law, nats")
    return Answer({"kl_3": costs[0], "kl_100": costs[5], "kl_1000": costs[-1]}, figure)


def _true_reverse(s: float, t: float) -> tuple[Tensor, Tensor, Tensor]:
    """Values of x_t `(N, 1)`, for each a grid of x_s `(N, M)`, and the masses of q(x_s | x_t) on it."""
    x_t = torch.linspace(-3, 3, 81, dtype=_F64)[:, None]
    step = _PROCESS.transition(torch.zeros(1, 1, dtype=_F64), s, t)
    keep = float(_LINEAR.alpha(t) / _LINEAR.alpha(s))
    reach = 9 * float(step.std) / keep
    x_s = x_t / keep + torch.linspace(-reach, reach, 2001, dtype=_F64)
    log_prior = PEAKS.log_prob(x_s.reshape(-1, 1), _LINEAR.alpha(s), _LINEAR.sigma(s)).reshape(x_s.shape)
    log_joint = log_prior - 0.5 * (x_t - keep * x_s) ** 2 / step.var
    return x_t, x_s, log_joint.softmax(1)


def _weights_of(x_t: Tensor, t: float) -> Tensor:
    """Masses of q(x_t) on an even grid of values."""
    return PEAKS.log_prob(x_t, _LINEAR.alpha(t), _LINEAR.sigma(t)).softmax(0)


def one_pass(random: torch.Generator) -> Answer:
    """log p(x_0 … x_1) - log q(… | x_0) along 2000 paths from one x, exact denoiser, against log p(x)."""
    x = torch.full((2000, 1), 0.5, dtype=_F64)
    truth, counts = float(PEAKS.log_prob(x[:1])), [3, 10, 30, 100, 300]
    found = [_path_log_weights(x, count, random) for count in counts]
    spread, average = [float(w.std()) for w in found], [float(w.mean()) - truth for w in found]
    right = [float(w.logsumexp(0)) - math.log(len(w)) - truth for w in found]
    curves = {"spread over paths": spread, "truth - mean": [-a for a in average]}
    figure = lines(counts, curves, xscale="log", yscale="log", xlabel="steps", ylabel="nats")
    numbers = {f"spread_{n}": spread[counts.index(n)] for n in (3, 30, 300)}
    numbers |= {f"mean_{n}": average[counts.index(n)] for n in (3, 300)}
    return Answer({**numbers, "mean_of_weights_300": right[-1]}, figure)


def _path_log_weights(x: Tensor, steps: int, random: torch.Generator) -> Tensor:
    """One weight per row of `x`, along a grid even in log-SNR down to time 1e-3 and then to 0."""
    ends = _LINEAR.log_snr(torch.tensor([1.0, 1e-3], dtype=_F64))
    times = _LINEAR.time(torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=_F64))
    times = torch.cat([times.new_ones(1), times[1:], times.new_zeros(1)])
    denoiser = PEAKS.denoiser(_PROCESS)
    x_s, total = x, torch.zeros(len(x), dtype=_F64)
    for s, t in pairwise(times.flip(0)):
        step = _PROCESS.transition(x_s, s, t)
        x_t = step.draw(random)
        estimate = denoiser(x_t, t)
        back = _PROCESS.decoder(x_t, estimate, times, None) if s == 0 else _PROCESS.reverse(x_t, estimate, s, t)
        total += back.log_prob(x_s) - step.log_prob(x_t)
        x_s = x_t
    return total + _PROCESS.prior(x_s.shape, like=x_s).log_prob(x_s)


def edge(random: torch.Generator) -> Answer:
    """Cost of the last step to data with 17 levels, as a density and as a mass, as its start comes ever nearer to 0."""
    lattice, powers = Lattice(-1.0, 1.0, 17), torch.linspace(-1, -6, 21, dtype=_F64)
    levels = lattice.values()
    x = levels[torch.randint(17, (2000,), generator=random)][:, None]

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (f(t)[:, None] for f in (_LINEAR.alpha, _LINEAR.sigma))
        chances = (-0.5 * ((x_t - alpha * levels) / sigma) ** 2).softmax(1)
        return (chances * levels).sum(1, keepdim=True)

    denoiser = Denoiser(network, _PROCESS, predicts="x", variance="large")
    costs: dict[str, list[float]] = {"density": [], "mass_of_a_level": []}
    for t in 10**powers:
        x_t = _PROCESS.marginal(x, t).draw(random)
        times = torch.stack([t.new_ones(()), t, t.new_zeros(())])
        for name, held in zip(costs, (None, lattice), strict=True):
            cost = -_PROCESS.decoder(x_t, denoiser(x_t, t), times, held).log_prob(x)
            costs[name].append(float(cost.mean()))
    figure = lines(
        10**powers, costs, xscale="log", xlabel="time of the last step's start", ylabel="cost, nats per entry"
    )
    slope = (costs["density"][-1] - costs["density"][-5]) / float(powers[-5] - powers[-1])
    return Answer(
        {"density_per_decade": slope, "density_last": costs["density"][-1], "mass_last": costs["mass_of_a_level"][-1]},
        figure,
    )


def weights(random: torch.Generator) -> Answer:
    """How the bound and the simple loss weigh the 999 diffusion steps, with the exact denoiser's errors."""
    t = torch.arange(2, 1001, dtype=_F64) / 1000
    x, eps = PEAKS.draw(999 * 200, random), torch.randn(999 * 200, 1, generator=random, dtype=_F64)
    times = t.repeat(200)
    x_t = _LINEAR.alpha(times)[:, None] * x + _LINEAR.sigma(times)[:, None] * eps
    error = ((PEAKS.denoiser(_PROCESS)(x_t, times).eps - eps) ** 2).reshape(200, 999)
    weight = 0.5 * torch.expm1(_LINEAR.log_snr(t - 1e-3) - _LINEAR.log_snr(t))
    early, numbers = t <= 0.1, {"weight_ratio": float(weight[0] / weight[-1])}
    for name, w in (("bound", weight), ("simple", torch.ones_like(weight))):
        loss = w * error
        numbers[f"share_of_early_steps_{name}"] = float(loss[:, early].sum() / loss.sum())
        numbers[f"relative_spread_{name}"] = float(loss.std() / loss.mean())
    curves = {"weight in the bound": weight / weight.mean(), "weight in the simple loss": torch.ones_like(weight)}
    return Answer(numbers, lines(t, curves, yscale="log", xlabel="time", ylabel="weight of the error, mean 1"))


def three_forms(random: torch.Generator) -> Answer:
    """Give the exact prediction in three forms, then add 0.01 to it, and see what that does to x̂."""
    t = torch.linspace(1e-3, 1, 200, dtype=_F64)
    x_t = _PROCESS.marginal(PEAKS.draw(200, random), t).draw(random)
    exact = PEAKS.denoiser(_PROCESS)(x_t, t)
    forms = {"x": exact.x, "eps": exact.eps, "score": exact.score}

    def means(off: float) -> dict[str, Tensor]:
        made = {form: Denoiser(_constant(value + off), _PROCESS, form)(x_t, t) for form, value in forms.items()}
        return {form: estimate.x for form, estimate in made.items()}

    same, moved = means(0.0), means(0.01)
    apart = max(float((value - exact.x).abs().max()) for value in same.values())
    gain = {form: (moved[form] - exact.x).abs()[:, 0] / 0.01 for form in forms}
    figure = lines(
        t, {f"predicts {form}": g for form, g in gain.items()}, yscale="log", xlabel="time", ylabel="error of x̂ / error"
    )
    numbers = {
        "difference": apart,
        "x_error_of_eps_at_1": float(gain["eps"][-1]),
        "x_error_of_eps_at_first": float(gain["eps"][0]),
    }
    return Answer(numbers, figure)


def _constant(value: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A network that predicts the same whatever it sees."""
    return lambda x_t, t: value


def blind(random: torch.Generator) -> Answer:
    """The exact denoiser that does not see the time, beside the one that does; normal data of more and more entries."""
    sizes, times = [1, 4, 16, 64, 256, 1024], torch.linspace(0.01, 1, 100, dtype=_F64)
    alpha, sigma = _LINEAR.alpha(times), _LINEAR.sigma(times)
    mean, var, excess = 0.5, 0.25, []
    for size in sizes:
        row = torch.randint(100, (1000,), generator=random)
        x = mean + math.sqrt(var) * torch.randn(1000, size, generator=random, dtype=_F64)
        x_t = alpha[row, None] * x + sigma[row, None] * torch.randn(x.shape, generator=random, dtype=_F64)
        spread = alpha**2 * var + sigma**2
        distance = (x_t**2).sum(1)[:, None] - 2 * mean * alpha * x_t.sum(1)[:, None] + size * (mean * alpha) ** 2
        chances = (-0.5 * (distance / spread + size * spread.log())).softmax(1)
        slope, offset = alpha * var / spread, mean * (1 - alpha**2 * var / spread)
        guess = (chances @ slope)[:, None] * x_t + (chances @ offset)[:, None]
        sighted = slope[row, None] * x_t + offset[row, None]
        excess.append(float(((guess - x) ** 2).mean() / ((sighted - x) ** 2).mean() - 1))
    curve = {"excess error of the blind denoiser": excess}
    figure = lines(
        sizes, curve, xscale="log", yscale="log", xlabel="entries of an example", ylabel="share of the error"
    )
    return Answer({f"excess_{n}": e for n, e in zip(sizes, excess, strict=True)}, figure)


def probability(random: torch.Generator) -> Answer:
    """Estimates of log ∫ p(z) p(x|z) dz, x = z + 0.1 noise, with z from p(z), and with z from near its posterior."""
    sizes, noise, errors = [1, 2, 4, 8, 16], 0.1, {"draws_from_the_prior": [], "draws_from_an_encoder": []}  # type: ignore[var-annotated]
    exact_hits = 0
    for size in sizes:
        x = torch.randn(50, 1, size, generator=random, dtype=_F64) * math.sqrt(1 + noise**2)
        truth = _log_normal(x[:, 0], 0.0, 1 + noise**2)
        prior = torch.randn(50, 2000, size, generator=random, dtype=_F64)
        exact_hits += int((prior == x).all(-1).sum())
        centre, var = x / (1 + noise**2), 2 * noise**2 / (1 + noise**2)  # twice the posterior's variance
        near = centre + math.sqrt(var) * torch.randn(prior.shape, generator=random, dtype=_F64)
        log_weights = (
            _log_normal(x, prior, noise**2),
            _log_normal(x, near, noise**2) + _log_normal(near, 0.0, 1.0) - _log_normal(near, centre, var),
        )
        for name, w in zip(errors, log_weights, strict=True):
            errors[name].append(float((w.logsumexp(1) - math.log(2000) - truth).abs().median()))
    figure = lines(sizes, errors, yscale="log", xlabel="entries of an example", ylabel="error of log p(x), nats")
    numbers = {f"{name}_{n}": errors[name][sizes.index(n)] for name in errors for n in (1, 16)}
    return Answer({**numbers, "exact_hits": exact_hits}, figure)


def _log_normal(x: Tensor, mean: Tensor | float, var: float) -> Tensor:
    return (-0.5 * ((x - mean) ** 2 / var + math.log(2 * math.pi * var))).sum(-1)
