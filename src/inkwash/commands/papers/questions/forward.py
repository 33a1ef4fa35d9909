"""Questions about the forward process, from data to noise, and about what training sees of it."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from inkwash.commands.papers.questions.answer import PEAKS, Answer, lines
from inkwash.denoise.denoiser import Denoiser
from inkwash.likelihood.bound import bound
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.grid import uniform_grid
from inkwash.process.noise.schedule import Schedule
from inkwash.process.noise.tables import LinearSchedule, TabulatedSchedule
from inkwash.sample.ancestral import DDIM
from inkwash.training.objective import Regression
from inkwash.training.times import comb

_LINEAR = LinearSchedule()


def square_roots(random: torch.Generator) -> Answer:
    """Take 2000 points through 1000 steps by three rules, and follow their variance."""
    rules = {
        "with_roots": lambda beta: (math.sqrt(1 - beta), math.sqrt(beta)),
        "without_roots": lambda beta: (1 - beta, beta),
        "without_shrinking": lambda beta: (1.0, math.sqrt(beta)),
    }
    traces: dict[str, list[float]] = {}
    for name, rule in rules.items():
        x, traces[name] = PEAKS.draw(2000, random), []
        for beta in _LINEAR.table().tolist():
            keep, add = rule(beta)
            x = keep * x + add * torch.randn(x.shape, generator=random, dtype=x.dtype)
            traces[name].append(float(x.var()))
    figure = lines(range(1000), traces, yscale="log", xlabel="step", ylabel="variance of $x_t$")
    return Answer({name: trace[-1] for name, trace in traces.items()}, figure)


def growing_beta(random: torch.Generator) -> Answer:
    """The bound in 100 steps, exact denoiser, for growing betas and for equal ones that destroy as much in all."""
    growing = LinearSchedule(100)
    rate = -math.expm1(float(growing.log_alpha_bar(1.0)) / 100)
    schedules: dict[str, Schedule] = {"growing": growing, "equal": TabulatedSchedule((rate,) * 100)}
    times, x = uniform_grid(100), PEAKS.draw(2048, random)
    log_snr: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for name, schedule in schedules.items():
        gap = bound(PEAKS.denoiser(Gaussian(schedule)), x, times).total + PEAKS.log_prob(x)
        log_snr[name] = schedule.log_snr(times[:-1])
        numbers |= {f"gap_{name}": float(gap.mean()), f"gap_{name}_error": float(gap.std() / len(x) ** 0.5)}
        numbers[f"first_beta_{name}"] = float(schedule.sigma(times[-2]) ** 2)
    return Answer(numbers, lines(times[:-1], log_snr, xlabel="time", ylabel=r"$\log(\alpha^2/\sigma^2)$"))


def fixed_alpha(random: torch.Generator) -> Answer:
    """Cost of the diffusion part between the same two log-SNRs, joined by three schedules; nothing is random.

    With the exact denoiser and the small variance, a step from t to s costs half the change of SNR times mmse(t).
    """
    ends = _LINEAR.log_snr(torch.tensor([1.0, 1e-3], dtype=torch.float64))
    counts = [2**k for k in range(2, 10)]
    costs: dict[str, list[float]] = {"even in log SNR": [], "more near noise": [], "more near data": []}
    for count in counts:
        share = torch.linspace(0, 1, count + 1, dtype=torch.float64)
        for name, power in zip(costs, (1.0, 1.6, 0.6), strict=True):
            log_snr = ends[0] + share**power * (ends[1] - ends[0])
            costs[name].append(float(0.5 * (log_snr.exp().diff() * _mmse(_LINEAR.time(log_snr[:-1]))).sum()))
    figure = lines(counts, costs, xscale="log", yscale="log", xlabel="steps", ylabel="diffusion part, nats")
    spread = [max(column) - min(column) for column in zip(*costs.values(), strict=True)]
    numbers = {"spread_16": spread[2], "spread_512": spread[-1], "cost_512": costs["even in log SNR"][-1]}
    return Answer(numbers, figure)


def _mmse(times: Tensor) -> Tensor:
    """E[(x - E[x | x_t])²] = E x² - E (E[x | x_t])² at `times` `(N,)`, summed over an even grid of x_t."""
    x_t = torch.linspace(-5, 5, 601, dtype=torch.float64)[None, :, None]
    alpha, sigma = (scale(times)[:, None, None] for scale in (_LINEAR.alpha, _LINEAR.sigma))
    mass = PEAKS.log_prob(x_t, alpha, sigma).softmax(1)
    return PEAKS.variance + PEAKS.mean**2 - (mass * PEAKS.denoise(x_t, alpha, sigma)[..., 0] ** 2).sum(1)


def random_steps(random: torch.Generator) -> Answer:
    """The training loss at all 1000 steps, and at one random step per example."""
    denoiser = PEAKS.denoiser(Gaussian(_LINEAR))
    by_step = torch.stack([_loss_at(denoiser, torch.full((200,), k / 1000), random) for k in range(1, 1001)])
    one_each = _loss_at(denoiser, 1 - comb(20000, random), random)
    figure = lines(range(1, 1001), {"loss of the exact denoiser": by_step.mean(1)}, xlabel="step", ylabel="loss")
    numbers = {
        "all_steps": float(by_step.mean()),
        "one_random_step": float(one_each.mean()),
        "one_random_step_error": float(one_each.std() / len(one_each) ** 0.5),
        "all_steps_calls": float(by_step.numel()),
        "one_random_step_calls": float(len(one_each)),
    }
    return Answer(numbers, figure)


def _loss_at(denoiser: Denoiser, t: Tensor, random: torch.Generator) -> Tensor:
    x = PEAKS.draw(len(t), random)
    return Regression().loss(denoiser, x, t.double(), torch.randn(x.shape, generator=random, dtype=x.dtype))


def same_noise(random: torch.Generator) -> Answer:
    """Add fresh noise in every step, or the noise of the first step again and again."""
    traces: dict[str, list[float]] = {"fresh": [], "same": []}
    for name, trace in traces.items():
        x = PEAKS.draw(2000, random)
        eps = torch.randn(x.shape, generator=random, dtype=x.dtype)
        for beta in _LINEAR.table().tolist():
            x = math.sqrt(1 - beta) * x + math.sqrt(beta) * eps
            eps = torch.randn(x.shape, generator=random, dtype=x.dtype) if name == "fresh" else eps
            trace.append(float(x.var()))
    figure = lines(range(1000), traces, yscale="log", xlabel="step", ylabel="variance of $x_t$")
    return Answer({f"variance_{name}": trace[-1] for name, trace in traces.items()}, figure)


def where_to_start(random: torch.Generator) -> Answer:
    """Walk from the prior, and from noisy data, and measure how far the results lie from data."""
    process = Gaussian(_LINEAR)
    model = Diffusion(PEAKS.denoiser(process), (1,), dtype=torch.float64)
    x, other = PEAKS.draw(4096, random), PEAKS.draw(4096, random)
    x_1 = process.marginal(x, 1.0)
    left = x_1.kl(process.prior(x.shape, like=x))
    walk = DDIM().trajectory(model.denoiser, x_1.draw(random), uniform_grid(100), random)
    results = {
        "from_prior": model.sample(4096, seed=0, sampler=DDIM(), steps=100),
        "from_noised_data": deque(walk, maxlen=1).pop()[1],
        "fresh_data": other,
    }
    ranks = torch.arange(4096) / 4096
    curves = {name.replace("_", " "): y.flatten().sort().values for name, y in results.items()}
    figure = lines(ranks, curves, xlabel="rank", ylabel="value")
    distances = {f"distance_{name}": _distance(y, x) for name, y in results.items()}
    untouched = _distance(x_1.draw(random), x)
    return Answer({"left_of_data": float(left.mean()), **distances, "distance_noise": untouched}, figure)


def _distance(a: Tensor, b: Tensor) -> float:
    """Mean distance of equal ranks: the Wasserstein distance of two samples of one size."""
    return float((a.flatten().sort().values - b.flatten().sort().values).abs().mean())
