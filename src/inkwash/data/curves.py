r"""Increasing curves that bend the real numbers of an entry before they are standardised.

A curve is $u = f(\text{data})$, where f increases strictly and is therefore invertible: it is the logarithm of positive
numbers, or for numbers with other bounds what takes its place, or the quantile transform, which maps any distribution
to a normal one. The density of the data is that of u times $f'(\text{data})$.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array

_PER_QUANTILE, _LEAST, _MOST = 30, 10, 1000
_NEAREST = 1e-12  # two knots are one if their relative distance is smaller


class Curve(ABC):
    """A strictly increasing function, entry by entry; NaN stays NaN."""

    @abstractmethod
    def bend(self, data: Tensor) -> Tensor:
        """u of real numbers in data units, of any shape."""

    @abstractmethod
    def unbend(self, u: Tensor) -> Tensor:
        """The inverse of `bend`; differentiable."""

    @abstractmethod
    def log_slope(self, u: Tensor) -> Tensor:
        r"""$\log f'$ at the data that bends to `u`, in the shape of `u`."""


@dataclass(frozen=True)
class Log(Curve):
    r"""For numbers above `low`, $u = \log(\text{data} - \mathrm{low})$; for numbers below `high`,
    $u = -\log(\mathrm{high} - \text{data})$; between both, the sum of the two.

    Args:
        low: what all data lies above, data units; None if there is no such number.
        high: what all data lies below.
    """

    low: float | None = 0.0
    high: float | None = None

    def bend(self, data: Tensor) -> Tensor:
        u = torch.zeros_like(data) if self.low is None else (data - self.low).log()
        return u if self.high is None else u - (self.high - data).log()

    def unbend(self, u: Tensor) -> Tensor:
        if self.low is None or self.high is None:
            return self.low + u.exp() if self.low is not None else (self.high or 0.0) - (-u).exp()
        return self.low + (self.high - self.low) * u.sigmoid()

    def log_slope(self, u: Tensor) -> Tensor:
        if self.low is None or self.high is None:
            return u if self.low is None else -u
        return -math.log(self.high - self.low) - logsigmoid(u) - logsigmoid(-u)

    def holds(self, data: Array) -> Array:
        """Which numbers it can bend; NaN counts as one."""
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        return np.isnan(data) | ((data > low) & (data < high))


@short_repr
@dataclass(frozen=True)
class Quantiles(Curve):
    r"""$u = \Phi^{-1}(F(\text{data}))$ along straight lines between quantiles; the outer lines go on beyond.

    Args:
        knots: quantiles of the data, increasing, data units.
        normal: the quantiles of the standard normal distribution that the knots go to, increasing.
    """

    knots: tuple[float, ...]
    normal: tuple[float, ...]

    def check(self, where: str) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        if len(self.knots) != len(self.normal) or len(self.knots) < 2:
            got = f"{len(self.knots)} knots to {len(self.normal)} quantiles"
            raise ConfigError(where, got, "equally many, 2 or more")
        steps = np.diff([self.knots, self.normal])
        with np.errstate(over="ignore"):
            usable = (steps > 0).all() and np.isfinite(steps[1] / steps[0]).all() and (steps[1] / steps[0] > 0).all()
        if not usable:
            raise ConfigError(where, "knots in no order", "knots and quantiles that increase")

    def bend(self, data: Tensor) -> Tensor:
        return _along(data, self.knots, self.normal)[0]

    def unbend(self, u: Tensor) -> Tensor:
        return _along(u, self.normal, self.knots)[0]

    def log_slope(self, u: Tensor) -> Tensor:
        return -_along(u, self.normal, self.knots)[1].log()


@dataclass(frozen=True)
class Chained(Curve):
    """One curve after another.

    Args:
        first: bends the data.
        second: bends what the first curve ends in.
    """

    first: Curve
    second: Curve

    def bend(self, data: Tensor) -> Tensor:
        return self.second.bend(self.first.bend(data))

    def unbend(self, u: Tensor) -> Tensor:
        return self.first.unbend(self.second.unbend(u))

    def log_slope(self, u: Tensor) -> Tensor:
        return self.second.log_slope(u) + self.first.log_slope(self.second.unbend(u))


def _along(x: Tensor, start: tuple[float, ...], end: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Where the lines through the points (start, end) lead from `x`, and their slope there."""
    origin, value = (torch.tensor(points, dtype=torch.float64, device=x.device) for points in (start, end))
    slope = value.diff() / origin.diff()
    line = torch.searchsorted(origin, x.detach().double().contiguous()).clamp(1, len(slope)) - 1
    origin, value, slope = (part.to(x.dtype)[line] for part in (origin, value, slope))
    return value + slope * (x - origin), slope


def fit_quantiles(data: Array) -> Quantiles:
    r"""The quantile transform of a sample to the standard normal distribution.

    There is one quantile for each 30 numbers, at least 10 and at most 1,000 (Kotelnikov et al. 2023, TabDDPM). They lie
    between the smallest and the largest number, which stand for the shares 1/2n and 1 - 1/2n (Hazen 1914). Quantiles
    that are the same number become one knot at the mean of their shares.

    Args:
        data: the numbers `(n,)`, which are not all the same.
    """
    count, ends = min(max(len(data) // _PER_QUANTILE, _LEAST), _MOST), 0.5 / len(data)
    shares = np.linspace(0, 1, count + 1).clip(ends, 1 - ends)
    found = np.quantile(data, shares, method="hazen")
    knot = np.cumsum(np.diff(found, prepend=found[0]) > _NEAREST * np.abs(found) + 1e-300)
    first, sizes = np.unique(knot, return_index=True, return_counts=True)[1:]
    normal = torch.special.ndtri(torch.from_numpy(np.bincount(knot, shares) / sizes))
    return Quantiles(tuple(found[first].tolist()), tuple(normal.tolist()))
