r"""Multistep solvers: each step uses the estimates of the steps before it, one evaluation per step.

Polynomials through the newest estimates take the place of the denoiser in the exact solution
(`inkwash.sample.quadrature`). Each solver has a variable of its own: $\ell = \log(\alpha/\sigma)$,
$\varsigma = \sigma/\alpha$, or $\varphi = \arctan(\sigma/\alpha)$.

A walk starts with one estimate, and a step of order 1, after which no order above 2 is reached. Solvers of order 3 and
more therefore repeat that step once the estimate at its end is known. This takes no further evaluation and leaves an
error of order 3; the order 4 and above holds as long as that error, made where nearly all is noise, is not the largest.
The order also falls where the variable is infinite: in $\ell$ and $\varsigma$ an estimate at a time without signal has
no place and is not used again. In both the step to time 0 ends at $\hat x$ itself, so that clipped estimates stay
within their bounds.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.distributions import standard_normal
from inkwash.process.gaussian import Estimate
from inkwash.sample.quadrature import (
    Level,
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
"""Levels and the estimates there, the newest first."""


class _Polynomial(Multistep):
    """Steps along a polynomial through the newest estimates. A step may be repeated once the estimate at its end is
    known, which the next step needs anyway: a corrector repeats each step but the last."""

    order: int
    eta = 0.0
    corrector = False

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = self.schedule(denoiser)
        walked = levels(schedule, times)
        x, start, noise, seen = x_1, x_1, None, Past()
        for (t, s), now, then in zip(pairwise(times), walked, walked[1:], strict=False):
            seen = [(now, denoiser(x, t)), *seen]
            if len(seen) > 1 and self._repeats(seen):
                x = self._advance(start, seen[1][0], now, seen, noise)
            seen = seen[: self.order]
            noise = standard_normal(x.shape, generator, like=x) if self.eta > 0 and s > 0 else None
            start, x = x, self._advance(x, now, then, seen, noise)
            seen = self._kept(seen)
            yield s, x

    @abstractmethod
    def _advance(self, x: Tensor, now: Level, then: Level, seen: Past, noise: Tensor | None) -> Tensor:
        """Step from x at one level to the next."""

    def _repeats(self, seen: Past) -> bool:
        """Whether the step to the newest of the estimates is repeated, with all of them."""
        return self.corrector or len(seen) == 2 < self.order

    def _kept(self, seen: Past) -> Past:
        """The estimates that have a place on the axis."""
        return [each for each in seen if each[0].alpha > 0]


@dataclass(frozen=True)
class DPMSolver(_Polynomial):
    r"""DPM-Solver++ of several steps, in data prediction (Lu et al. 2022b, §4 and App. D).

    The polynomial in $\ell$ is integrated exactly, on any grid. With the corrector it is UniPC (Zhao et al. 2023, Alg.
    1), one order higher at no cost; their B(h) cancels, since all its equations are solved. With $\eta > 0$ the steps
    solve the stochastic equation: SDE-DPM-Solver++ at $\eta = 1$, and with the corrector SA-Solver (Xue et al. 2023).

    Args:
        order: how many estimates the polynomial goes through, 1 to 3.
        eta: 0 is the deterministic flow, 1 the reverse stochastic equation; order 1 is then `DDIM`.
        corrector: repeat each step but the last once the estimate at its end is known.

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

    def _advance(self, x: Tensor, now: Level, then: Level, seen: Past, noise: Tensor | None) -> Tensor:
        return exponential_step(x, now, then, [(level, estimate.x) for level, estimate in seen], self.eta, noise)


@dataclass(frozen=True)
class Adams(_Polynomial):
    r"""Adams-Bashforth-Moulton steps in the angle $\varphi = \arctan(\sigma/\alpha)$: with
    $z = x_t/\sqrt{\alpha^2+\sigma^2}$

    $z_s = z_t + \int_{\varphi_t}^{\varphi_s}(\cos\varphi\,\hat\epsilon - \sin\varphi\,\hat x)\,d\varphi$,

    the flow in the variables of Salimans & Ho (2022, App. D). Polynomials in $\varphi$ take the place of $\hat x$ and
    $\hat\epsilon$; the rotation is exact, so that order 1 without the corrector is `DDIM()`. The angle is finite at
    both ends: the order does not fall at time 0, nor at a time without signal. The last step therefore does not end at
    $\hat x$, and a sample may lie a little beyond the bounds of clipped estimates.

    Args:
        order: how many estimates the polynomials go through, 1 to 4.
        corrector: repeat each step but the last once the estimate at its end is known, for one order more.

    Raises:
        ConfigError: an order out of range.
    """

    order: int = 2
    corrector: bool = True

    def __post_init__(self) -> None:
        require_order(self.order, 1, 4)

    def _advance(self, x: Tensor, now: Level, then: Level, seen: Past, noise: Tensor | None) -> Tensor:
        h = then.angle - now.angle
        places = [(level.angle - now.angle) / h for level, _ in seen]
        radius = math.hypot(then.alpha, then.sigma)
        turned = [radius * part for part in weights(places, rotation_moments(now.angle, h, len(seen)))]
        coefficients = [part for pair in turned for part in (-pair.imag, pair.real)]
        estimates = [tensor for _, estimate in seen for tensor in (estimate.x, estimate.eps)]
        return combine([radius / math.hypot(now.alpha, now.sigma), *coefficients], [x, *estimates])

    def _kept(self, seen: Past) -> Past:
        return seen


@dataclass(frozen=True)
class IPNDM(_Polynomial):
    r"""iPNDM: Adams-Bashforth steps for the noise as a function of $\sigma/\alpha$ (Zhang & Chen 2022, §3.3).

    The coefficients follow the grid (their $\rho$AB). The fixed coefficients of iPNDM, (3, -1)/2 and so on, are those
    of equal steps of $\sigma/\alpha$; on other grids they would not exceed order 2. The first step is not repeated:
    where much noise is left, a grid is seldom fine in $\sigma/\alpha$, and a line through the ends of its longest step
    would be worse than none.

    Args:
        order: how many estimates the polynomial goes through, 1 to 4; 1 is `DDIM()`.

    Raises:
        ConfigError: an order out of range.
    """

    order: int = 4

    def __post_init__(self) -> None:
        require_order(self.order, 1, 4)

    def _repeats(self, seen: Past) -> bool:
        return False

    def _advance(self, x: Tensor, now: Level, then: Level, seen: Past, noise: Tensor | None) -> Tensor:
        """DDIM's step, to which the differences of the noise estimates are added."""
        newest = seen[0][1]
        first = combine([then.alpha, then.sigma], [newest.x, newest.eps])
        if len(seen) == 1 or then.sigma == 0:
            return first
        h = then.noise_to_signal - now.noise_to_signal
        places = [(level.noise_to_signal - now.noise_to_signal) / h for level, _ in seen]
        parts = [then.alpha * h * part for part in weights(places, power_moments(len(seen)))]
        return combine([1.0, -sum(parts[1:]), *parts[1:]], [first, *(estimate.eps for _, estimate in seen)])
