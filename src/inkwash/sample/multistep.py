r"""Multistep solvers: each step uses the estimates of the steps before it, one evaluation per step.

Polynomials through the newest estimates stand for what the denoiser says in the exact solution
(`inkwash.sample.quadrature`), each in a variable of its own: $\ell = \log(\alpha/\sigma)$, $\varsigma = \sigma/\alpha$,
or $\varphi = \arctan(\sigma/\alpha)$.

A walk starts with one estimate, and order 1. Where the variable is infinite the order falls as well: in $\ell$ and
$\varsigma$ an estimate at a time without signal has no place and is not used again; in $\ell$ the step to time 0 ends
at $\hat x$ itself, and so it does in $\varsigma$, such that clipped estimates stay within their bounds.
"""

import math
from abc import abstractmethod
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
    rotation_moments,
    weights,
)
from inkwash.sample.sampler import Multistep

Past = list[tuple[Level, Estimate]]
"""Levels and what was estimated there, the newest first."""


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
            seen = [each for each in seen if each[0].alpha > 0]
            yield s, x


class _AdamsBashforth(Multistep):
    """Steps along a polynomial through the newest estimates."""

    order: int

    def __post_init__(self) -> None:
        require_order(self.order, 1, 4)

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = require_gaussian(denoiser.process, f"sampler {type(self).__name__.lower()}").schedule
        walked = levels(schedule, times)
        x, seen = x_1, Past()
        for (t, s), now, then in zip(pairwise(times), walked, walked[1:], strict=False):
            seen = [(now, denoiser(x, t)), *seen][: self.order]
            x = self._advance(seen, then)
            yield s, x

    @abstractmethod
    def _advance(self, seen: Past, then: Level) -> Tensor:
        """From the newest of the levels seen to the next."""


@dataclass(frozen=True)
class Adams(_AdamsBashforth):
    r"""Adams-Bashforth steps in the angle $\varphi = \arctan(\sigma/\alpha)$: with $z = x_t/\sqrt{\alpha^2+\sigma^2}$

    $z_s = z_t + \int_{\varphi_t}^{\varphi_s}(\cos\varphi\,\hat\epsilon - \sin\varphi\,\hat x)\,d\varphi$,

    the flow in the variables of Salimans & Ho (2022, App. D). Polynomials in $\varphi$ stand for $\hat x$ and
    $\hat\epsilon$; the rotation is exact, so that order 1 is `DDIM()`. The angle is finite at both ends: the order does
    not fall at time 0, nor at a time without signal. The last step therefore does not end at $\hat x$, and clipped
    estimates may be passed a little.

    Args:
        order: how many estimates the polynomials go through, 1 to 4.

    Raises:
        ConfigError: an order out of range.
    """

    order: int = 3

    def _advance(self, seen: Past, then: Level) -> Tensor:
        now, _ = seen[0]
        h = then.angle - now.angle
        places = [(level.angle - now.angle) / h for level, _ in seen]
        parts = weights(places, rotation_moments(now.angle, h, len(seen)))
        parts[0] += complex(math.sin(now.angle), -math.cos(now.angle))  # z_t itself, of the newest estimates
        radius = math.hypot(then.alpha, then.sigma)
        turned = [radius * part for pair in parts for part in (-pair.imag, pair.real)]
        return combine(turned, [tensor for _, estimate in seen for tensor in (estimate.x, estimate.eps)])


@dataclass(frozen=True)
class IPNDM(_AdamsBashforth):
    r"""iPNDM: Adams-Bashforth steps for the noise as a function of $\sigma/\alpha$ (Zhang & Chen 2022, §3.3).

    The coefficients follow the grid (their $\rho$AB). The fixed ones of iPNDM, (3, -1)/2 and so on, are those of equal
    steps of $\sigma/\alpha$; on other grids they would leave the order at 2.

    Args:
        order: how many estimates the polynomial goes through, 1 to 4; 1 is `DDIM()`.

    Raises:
        ConfigError: an order out of range.
    """

    order: int = 4

    def _advance(self, seen: Past, then: Level) -> Tensor:
        """DDIM's step, and what the differences of the noise estimates add to it."""
        now, newest = seen[0]
        first = combine([then.alpha, then.sigma], [newest.x, newest.eps])
        seen = [(level, estimate) for level, estimate in seen if level.alpha > 0]
        if len(seen) < 2 or then.sigma == 0:
            return first
        h = then.noise_to_signal - now.noise_to_signal
        places = [(level.noise_to_signal - now.noise_to_signal) / h for level, _ in seen]
        parts = [then.alpha * h * part for part in weights(places, power_moments(len(seen)))]
        return combine([1.0, -sum(parts[1:]), *parts[1:]], [first, *(estimate.eps for _, estimate in seen)])
