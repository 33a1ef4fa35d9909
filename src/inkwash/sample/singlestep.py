r"""Single-step solvers: several evaluations within a step, no memory between steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.distributions import standard_normal
from inkwash.process.noise.schedule import Schedule
from inkwash.sample.quadrature import combine, exponential_step, levels, require_order
from inkwash.sample.sampler import Multistep, Sampler

_MOST_CHURN = math.sqrt(2) - 1


@dataclass(frozen=True)
class SingleStep(Sampler):
    r"""DPM-Solver++ in single steps: 2S (Lu et al. 2022b, Alg. 1) and 3S.

    The polynomial goes through the estimates at the start of the step and at an inner time, which order 3 reaches by a
    step of order 2 of its own. The inner times divide the step into equal parts of log-SNR. A step takes as many
    evaluations as the order, except where no signal is left at its start or no noise at its end: there it is of order
    1, and takes one.

    Args:
        order: 2 or 3.

    Raises:
        ConfigError: another order.
    """

    order: int = 2

    def __post_init__(self) -> None:
        require_order(self.order, 2, 3)

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        schedule = self.schedule(denoiser)
        times = torch.stack([t, *self._inner(schedule, t, s), s])
        now, *others = levels(schedule, times)
        seen = [(now, denoiser(x_t, t).x)]
        for u, level in zip(times[1:-1], others, strict=False):
            seen = [seen[0], (level, denoiser(exponential_step(x_t, now, level, seen), u).x)]
        return exponential_step(x_t, now, others[-1], seen)

    def _inner(self, schedule: Schedule, t: Tensor, s: Tensor) -> list[Tensor]:
        start, stop = schedule.log_snr(t), schedule.log_snr(s)
        if bool(torch.isinf(stop - start)):
            return []
        return [schedule.time(torch.lerp(start, stop, k / self.order)) for k in range(1, self.order)]


@dataclass(frozen=True)
class Heun(Multistep):
    r"""Heun's method for $dy/d\varsigma = \hat\epsilon$, $y = x_t/\alpha$, $\varsigma = \sigma/\alpha$, with or without
    churn (Karras et al. 2022, Alg. 1 and 2).

    With churn, a step first adds noise, up to $\hat\varsigma = \varsigma(1 + \gamma)$,
    $\gamma = \min(S_{\mathrm{churn}}/N, \sqrt2 - 1)$ for N steps, but never beyond the noise at time 1, the most that
    the denoiser knows. A step takes two evaluations, except where no signal is left at its start or no noise at its
    end: there it is Euler's (which is `DDIM()`), and takes one.

    Args:
        s_churn: $S_{\mathrm{churn}}$, how much noise all steps together renew; 0 is deterministic.
        s_min: smallest $\varsigma$ at which noise is added.
        s_max: largest $\varsigma$ at which noise is added.
        s_noise: $S_{\mathrm{noise}}$, scale of the added noise.

    Raises:
        ConfigError: an option out of range.
    """

    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        for name in ("s_churn", "s_min", "s_max", "s_noise"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"sampler.{name}", getattr(self, name), "a number >= 0")

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = self.schedule(denoiser)
        growth = 1 + min(self.s_churn / (len(times) - 1), _MOST_CHURN)
        x = x_1
        for t, s in pairwise(times):
            if growth > 1 and t < 1:
                x, t = self._churn(schedule, x, t, growth, generator)
            x = _heun(denoiser, schedule, x, t, s)
            yield s, x

    def _churn(
        self, schedule: Schedule, x_t: Tensor, t: Tensor, growth: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """`x_t` with more noise, and the time that belongs to it."""
        log_snr = schedule.log_snr(t)
        if not self.s_min <= torch.exp(-log_snr / 2) <= self.s_max:
            return x_t, t
        later = schedule.time(torch.maximum(log_snr - 2 * math.log(growth), schedule.log_snr(1.0)))
        now, then = levels(schedule, torch.stack([t, later]))
        added = then.alpha * math.sqrt(max(then.noise_to_signal**2 - now.noise_to_signal**2, 0.0))
        noise = standard_normal(x_t.shape, generator, like=x_t)
        return combine([then.alpha / now.alpha, self.s_noise * added], [x_t, noise]), later


def _heun(denoiser: AnyDenoiser, schedule: Schedule, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
    now, then = levels(schedule, torch.stack([t, s]))
    estimate = denoiser(x_t, t)
    euler = combine([then.alpha, then.sigma], [estimate.x, estimate.eps])
    if then.sigma == 0 or now.alpha == 0:
        return euler
    half = then.alpha * (then.noise_to_signal - now.noise_to_signal) / 2
    return combine([1.0, half, -half], [euler, denoiser(euler, s).eps, estimate.eps])
