r"""Steps by interpolatory quadrature, the core of the solvers of higher order.

Between two times, a solver integrates the denoiser's estimate against a known kernel. It interpolates the estimates it
has by a polynomial, and integrates that exactly on any grid, even or not. The weights are computed in
float64 from the places of the estimates; the step goes from place 0 to place 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.process.noise.schedule import Schedule

Number = TypeVar("Number", float, complex)

_HIGHEST = 20
"""Degree at which the backward recursion starts; its error is below 1/20! there."""

_GAUSS_NODES, _GAUSS_WEIGHTS = (np.polynomial.legendre.leggauss(16) + np.array([[1.0], [0.0]])) / 2


@dataclass(frozen=True)
class Level:
    r"""The scales at a time, as numbers.

    Args:
        alpha: signal scale.
        sigma: noise scale.
        log_ratio: $\log(\alpha/\sigma)$, half the log-SNR; infinite where there is no noise, or no signal.
    """

    alpha: float
    sigma: float
    log_ratio: float

    @property
    def noise_to_signal(self) -> float:
        r"""$\varsigma = \sigma/\alpha$, infinite where there is no signal."""
        return math.exp(-self.log_ratio) if self.log_ratio > -math.inf else math.inf

    @property
    def angle(self) -> float:
        r"""$\varphi = \arctan(\sigma/\alpha)$: 0 at data, $\pi/2$ where there is no signal."""
        return math.atan2(self.sigma, self.alpha)


Seen = list[tuple[Level, Tensor]]
"""Levels and the estimates there."""


def levels(schedule: Schedule, times: Tensor) -> list[Level]:
    """The scales at each of the times `(K,)`."""
    scales = schedule.alpha(times).tolist(), schedule.sigma(times).tolist(), (schedule.log_snr(times) / 2).tolist()
    return [Level(*each) for each in zip(*scales, strict=True)]


def exponential_moments(decay: float, count: int) -> list[float]:
    r"""$m_k = q\int_0^1 e^{-q(1-r)}\,r^k\,dr$ for k below `count`, q the decay.

    By parts, $m_k = 1 - \tfrac kq m_{k-1}$: forward where q > 1, and backward where that would cancel.
    """
    moments = [-math.expm1(-decay)]
    if decay > 1:
        for k in range(1, count):
            moments.append(1 - k / decay * moments[-1])
        return moments
    moments = [decay / (_HIGHEST + 1)]
    for k in range(_HIGHEST, 0, -1):
        moments.append(decay / k * (1 - moments[-1]))
    return moments[: -count - 1 : -1]


def power_moments(count: int) -> list[float]:
    r"""$\int_0^1 r^k\,dr$ for k below `count`."""
    return [1 / (k + 1) for k in range(count)]


def rotation_moments(start: float, length: float, count: int) -> list[complex]:
    r"""$\int_0^1 e^{i(\varphi + hr)}\,r^k\,h\,dr$ for k below `count`, from the angle $\varphi$ over the length h: the
    real part is for a cosine, the imaginary part for a sine. The rule is exact to rounding for h up to $\pi$."""
    kernel = length * _GAUSS_WEIGHTS * np.exp(1j * (start + length * _GAUSS_NODES))
    return [complex(kernel @ _GAUSS_NODES**k) for k in range(count)]


def weights(places: Sequence[float], moments: Sequence[Number]) -> list[Number]:
    """Weights of the values at the places, exact for polynomials of degree below the number of places."""
    return np.linalg.solve(np.vander(places, increasing=True).T, moments).tolist()


def combine(coefficients: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """Sum of the tensors, each times its coefficient, in their dtype."""
    total = tensors[0] * coefficients[0]
    for coefficient, tensor in zip(coefficients[1:], tensors[1:], strict=True):
        total.add_(tensor, alpha=coefficient)
    return total


def exponential_step(
    x_t: Tensor, now: Level, then: Level, seen: Seen, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    r"""The exact solution from one level to the next, with a polynomial in $\ell = \log(\alpha/\sigma)$ for $\hat x$:

    $$
    x_s = \tfrac{\sigma_s}{\sigma_t}e^{-\eta^2 h}\,x_t +
    \alpha_s\,(1+\eta^2)\int_0^h e^{-(1+\eta^2)(h-u)}\,\hat x(\ell_t + u)\,du + \sigma_s\sqrt{1-e^{-2\eta^2h}}\,z,
    \quad h = \ell_s - \ell_t
    $$

    (Lu et al. 2022b, eq. 8 for $\eta = 0$; Xue et al. 2023, prop. 4.2). Where h is infinite, only the first of the
    estimates stands for $\hat x$.

    Args:
        x_t: where the step starts, `(B, *event)`.
        now: the level there.
        then: the level to reach.
        seen: levels and estimates of x that the polynomial goes through.
        eta: 0 is the flow, 1 the reverse stochastic equation.
        noise: standard normal z, `(B, *event)`; None adds none.
    """
    h = then.log_ratio - now.log_ratio
    if math.isinf(h):
        seen, parts = seen[:1], [1.0]
    else:
        places = [(level.log_ratio - now.log_ratio) / h for level, _ in seen]
        parts = weights(places, exponential_moments((1 + eta**2) * h, len(seen)))
    keep = then.sigma / now.sigma * math.exp(-h) ** eta**2
    x_s = combine([keep, *(then.alpha * part for part in parts)], [x_t, *(guess for _, guess in seen)])
    if noise is not None:
        x_s.add_(noise, alpha=then.sigma * math.sqrt(-math.expm1(-2 * eta**2 * h)))
    return x_s


def require_order(order: int, lowest: int, highest: int) -> None:
    """Check that a solver has an order.

    Raises:
        ConfigError: it does not.
    """
    if isinstance(order, bool) or order not in range(lowest, highest + 1):
        raise ConfigError("sampler.order", order, f"an integer from {lowest} to {highest}")
