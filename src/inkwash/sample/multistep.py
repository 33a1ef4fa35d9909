r"""Multistep solvers: each step uses the estimates of the steps before it, one evaluation per step.

A polynomial through the newest estimates stands for $\hat x$ as a function of $\ell = \log(\alpha/\sigma)$, or for
$\hat\epsilon$ as a function of $\varsigma = \sigma/\alpha$, in the exact solution (`inkwash.sample.quadrature`; for the
latter $\frac{x_s}{\alpha_s} = \frac{x_t}{\alpha_t} + \int_{\varsigma_t}^{\varsigma_s}\hat\epsilon\,d\varsigma$, Karras
et al. 2022, eq. 4).

At the ends the order falls. The walk has one estimate when it starts. An estimate at a time without signal has no place
on the axis and is not used again. The step to time 0 ends at $\hat x$ itself: a polynomial in $\ell$ has no value
there, and clipped estimates stay within their bounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.denoise import AnyDenoiser, Estimate
from inkwash.distributions import standard_normal
from inkwash.errors import ConfigError
from inkwash.gaussian import require_gaussian
from inkwash.sample.quadrature import (
    Level,
    Seen,
    combine,
    exponential_step,
    levels,
    power_moments,
    require_order,
    weights,
)
from inkwash.sample.sampler import Multistep


@dataclass(frozen=True)
class DPMSolver(Multistep):
    r"""DPM-Solver++ of several steps, in data prediction (Lu et al. 2022b, §4 and App. D).

    The polynomial is integrated exactly, on any grid. With the corrector it is UniPC (Zhao et al. 2023, Alg. 1): the
    estimate at the end of a step, which the next step needs anyway, is used to take the step again, one order higher.
    Their B(h) cancels, since all its equations are solved. With $\eta > 0$ the solution of the stochastic equation is
    taken: SDE-DPM-Solver++ at $\eta = 1$, and with the corrector SA-Solver (Xue et al. 2023).

    Args:
        order: how many estimates the polynomial goes through, 1 to 3.
        eta: 0 is the deterministic flow, 1 the reverse stochastic equation; order 1 is then `DDIM`.
        corrector: take each step but the last again once the estimate at its end is known.

    Raises:
        ConfigError: an option out of range.
    """

    order: int = 3
    eta: float = 0.0
    corrector: bool = False

    def __post_init__(self) -> None:
        require_order(self.order, 1, 3)
        if not 0 <= self.eta <= 1:
            raise ConfigError("sampler.eta", self.eta, "a number between 0 and 1")

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        process = require_gaussian(denoiser.process, "sampler dpm-solver")
        x, start, noise, seen = x_1, x_1, None, Seen()
        for (t, s), (now, then) in zip(pairwise(times), pairwise(levels(process.schedule, times)), strict=True):
            seen = [(now, denoiser(x, t).x), *seen]
            if self.corrector and len(seen) > 1:
                x = exponential_step(start, seen[1][0], now, seen, self.eta, noise)
            seen = seen[: self.order]
            noise = standard_normal(x.shape, generator, like=x) if self.eta > 0 and s > 0 else None
            start, x = x, exponential_step(x, now, then, seen, self.eta, noise)
            seen = _with_signal(seen)
            yield s, x


@dataclass(frozen=True)
class IPNDM(Multistep):
    r"""iPNDM: Adams-Bashforth steps for the noise as a function of $\sigma/\alpha$ (Zhang & Chen 2022, §3.3).

    The coefficients follow the grid (their $\rho$AB). The fixed ones of iPNDM, (3, -1)/2 and so on, are those of equal
    steps of $\sigma/\alpha$; on other grids they would leave the order at 2.

    Args:
        order: how many estimates the polynomial goes through, 1 to 4; 1 is `DDIM()`.

    Raises:
        ConfigError: an order out of range.
    """

    order: int = 4

    def __post_init__(self) -> None:
        require_order(self.order, 1, 4)

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        process = require_gaussian(denoiser.process, "sampler ipndm")
        x, seen = x_1, Seen()
        for (t, s), (now, then) in zip(pairwise(times), pairwise(levels(process.schedule, times)), strict=True):
            estimate = denoiser(x, t)
            seen = [(now, estimate.eps), *seen][: self.order]
            x = self._advance(estimate, now, then, seen)
            seen = _with_signal(seen)
            yield s, x

    def _advance(self, estimate: Estimate, now: Level, then: Level, seen: Seen) -> Tensor:
        """DDIM's step, and what the differences of the noise estimates add to it."""
        first = combine([then.alpha, then.sigma], [estimate.x, estimate.eps])
        if len(seen) == 1 or then.sigma == 0:
            return first
        h = then.noise_to_signal - now.noise_to_signal
        places = [(level.noise_to_signal - now.noise_to_signal) / h for level, _ in seen]
        parts = [then.alpha * h * part for part in weights(places, power_moments(len(seen)))]
        return combine([1.0, -sum(parts[1:]), *parts[1:]], [first, *(eps for _, eps in seen)])


def _with_signal(seen: Seen) -> Seen:
    return [(level, guess) for level, guess in seen if level.alpha > 0]
