r"""Distributions over data of shape `(B, *event)`, whose event entries are independent given their parameters.

Log-probabilities, entropies and divergences are in nats, one per example: shape `(B,)`. Randomness is an argument: a
`torch.Generator` on the CPU, so that a draw is the same on every device.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.brief import short_repr
from inkwash.core.shapes import sum_event

LOG_2PI = math.log(2 * math.pi)


def standard_normal(shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Standard normal noise of `shape`, drawn on the CPU in the dtype of `like`, then moved to its device."""
    dtype = torch.get_default_dtype() if like is None else like.dtype
    noise = torch.randn(tuple(shape), generator=generator, dtype=dtype)
    return noise if like is None else noise.to(like.device)


class Independent(ABC):
    """A distribution whose entries are independent, so the figures of an example are sums over its entries.

    `present`, boolean `(B, *event)`, marks the entries that an example has. A sum leaves out the others, and so belongs
    to the marginal distribution of the entries that are present. None means that all are.
    """

    @abstractmethod
    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-probability or log-density of each entry of `x`, in its shape."""

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, *event)`."""

    def last_draw(self, generator: torch.Generator) -> Tensor:
        """The last value of a walk. It is a draw, except for real numbers: their last noise is useless, so it is the
        mean."""
        return self.draw(generator)

    def log_prob(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Log-probability or log-density of `x`, nats per example."""
        return sum_event(self.entry_log_prob(x), present)


class Comparable(Independent):
    """A distribution whose entropy, and whose divergence from another of its kind, have a closed form."""

    @abstractmethod
    def entry_entropy(self) -> Tensor:
        """Entropy of each entry, `(B, *event)`."""

    @abstractmethod
    def entry_kl(self, other: Any) -> Tensor:
        """KL(self ‖ other) of each entry, `(B, *event)`."""

    def entropy(self, present: Tensor | None = None) -> Tensor:
        """Entropy, which for densities is differential entropy, nats per example."""
        return sum_event(self.entry_entropy(), present)

    def kl(self, other: Any, present: Tensor | None = None) -> Tensor:
        """KL(self ‖ other), nats per example; infinite where `other` excludes a value that this one allows."""
        return sum_event(self.entry_kl(other), present)


@dataclass(frozen=True)
class Lattice:
    """The equally spaced values that discrete data takes in model units.

    Args:
        low: the smallest value.
        high: the largest value.
        levels: the number of values, both ends included; at least 2.
    """

    low: float
    high: float
    levels: int

    @property
    def spacing(self) -> float:
        """The distance between neighbouring values."""
        return (self.high - self.low) / (self.levels - 1)

    def index(self, x: Tensor) -> Tensor:
        """Index in `0 … levels - 1` of the value nearest to `x`."""
        return ((x - self.low) / self.spacing).round().clamp(0, self.levels - 1)

    def values(self) -> Tensor:
        """All values, float64, shape `(levels,)`."""
        return torch.linspace(self.low, self.high, self.levels, dtype=torch.float64)

    def holds(self, x: Tensor) -> bool:
        """Whether every entry of `x` is one of the values."""
        return bool((x == self.low + self.index(x) * self.spacing).all())


@short_repr
@dataclass(frozen=True)
class Bins:
    """The bins of integers, for data `(*event)` that has both integer and real entries; they have no ends.

    Args:
        spacing: for each entry, the distance between neighbouring integers in model units, float64 `(*event)`; 0 for a
            real entry.
    """

    spacing: Tensor

    levels = None
    """None, as the integers have no last value."""


@short_repr
@dataclass(frozen=True)
class Normal(Comparable):
    r"""$\mathcal N(\mu, \mathrm{var})$, diagonal.

    Args:
        mean: shape `(B, *event)`.
        var: variance, of any shape that broadcasts over `mean`. Where it is zero, `draw` returns the mean.
    """

    mean: Tensor
    var: Tensor

    @property
    def std(self) -> Tensor:
        """Standard deviation."""
        return self.var.sqrt()

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, shape `(B, *event)`."""
        return self.mean + self.std * standard_normal(self.mean.shape, generator, like=self.mean)

    def last_draw(self, generator: torch.Generator) -> Tensor:
        return self.mean

    def entry_log_prob(self, x: Tensor) -> Tensor:
        var = self.var.expand_as(self.mean)
        return -0.5 * ((x - self.mean) ** 2 / var + var.log() + LOG_2PI)

    def entry_entropy(self) -> Tensor:
        return 0.5 * (self.var.expand_as(self.mean).log() + LOG_2PI + 1)

    def entry_kl(self, other: "Normal") -> Tensor:
        log_ratio = self.var.log() - other.var.log()
        ratio = torch.expm1(log_ratio) - log_ratio  # r - 1 - log r, without cancellation at r = 1
        shift = (self.mean - other.mean) ** 2 / other.var
        return 0.5 * (ratio + shift)

    def on(self, values: Lattice | Bins) -> "DiscretizedNormal | BinnedNormal":
        """The masses that this density puts on the bins around discrete values."""
        if isinstance(values, Bins):
            return BinnedNormal(self.mean, self.std, values)
        return DiscretizedNormal(self.mean, self.std, values)


@short_repr
@dataclass(frozen=True)
class DiscretizedNormal(Independent):
    r"""The mass that $\mathcal N(\mu, \sigma^2)$ puts on the bin around each value of a lattice with spacing $\delta$:

    $P(x_v) = \Phi\big(\tfrac{x_v + \delta/2 - \mu}{\sigma}\big) - \Phi\big(\tfrac{x_v - \delta/2 - \mu}{\sigma}\big)$.
    The first bin extends to $-\infty$ and the last to $+\infty$, so the masses sum to 1 (Ho et al. 2020, eq. 13).

    Args:
        mean: shape `(B, *event)`.
        std: standard deviation, broadcasts over `mean`.
        lattice: the values that the data takes.
    """

    mean: Tensor
    std: Tensor
    lattice: Lattice

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-mass of the bin around each entry of `x`, in its shape."""
        index = self.lattice.index(x)
        below = torch.where(index == 0, -torch.inf, self._edge(index))
        above = torch.where(index == self.lattice.levels - 1, torch.inf, self._edge(index + 1))
        return log_ndtr_difference(below, above)

    def _edge(self, index: Tensor) -> Tensor:
        """The standardised lower edge of bin `index`. Both bins at an edge use this value, so no mass is lost."""
        return (self.lattice.low + (index - 0.5) * self.lattice.spacing - self.mean) / self.std

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, *event)`: a normal draw, rounded to the nearest value of the lattice."""
        drawn = Normal(self.mean, self.std**2).draw(generator)
        return self.lattice.low + self.lattice.index(drawn) * self.lattice.spacing


@short_repr
@dataclass(frozen=True)
class BinnedNormal(Independent):
    r"""$\mathcal N(\mu, \sigma^2)$, with masses for integer entries and densities for real ones. The mass of an integer
    is that of the bin within half the spacing around it.

    Args:
        mean: shape `(B, *event)`.
        std: standard deviation, broadcasts over `mean`.
        bins: the spacing of the integers.
    """

    mean: Tensor
    std: Tensor
    bins: Bins

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-mass or log-density of each entry of `x`, in its shape."""
        half = self.bins.spacing.to(x) / 2
        reach = torch.where(half > 0, half, 1.0)
        below, above = ((x + sign * reach - self.mean) / self.std for sign in (-1, 1))
        return torch.where(half > 0, log_ndtr_difference(below, above), self.density.entry_log_prob(x))

    @property
    def density(self) -> Normal:
        """The normal density itself."""
        return Normal(self.mean, self.std**2)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example from the density, `(B, *event)`; only data units say where the integers are."""
        return self.density.draw(generator)


@short_repr
@dataclass(frozen=True)
class NormalMixture(Independent):
    r"""For each entry a mixture of K normal laws, $\sum_k w_k\,\mathcal N(\mu_k, s_k^2)$, as a density or, on discrete
    values, as the masses that it puts on the bins around them.

    Args:
        logits: the log-weights up to a constant, `(B, *event, K)`.
        means: $\mu_k$, in the same shape.
        var: $s_k^2$, in the same shape, positive.
        lattice: the values of discrete data, or for each entry how far apart integers are; None for a density.
    """

    logits: Tensor
    means: Tensor
    var: Tensor
    lattice: Lattice | Bins | None = None

    @property
    def mean(self) -> Tensor:
        """The mean of each entry, `(B, *event)`."""
        return (self.logits.softmax(-1) * self.means).sum(-1)

    @property
    def entry_var(self) -> Tensor:
        """The variance of each entry as a density, `(B, *event)`."""
        away = self.means - self.mean[..., None]
        return (self.logits.softmax(-1) * (self.var + away**2)).sum(-1)

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-density or log-mass of each entry of `x`, in its shape."""
        normal, values = Normal(self.means, self.var), self.lattice
        if isinstance(values, Bins):
            values = Bins(values.spacing[..., None])  # the same for each law of an entry
        each = normal if values is None else normal.on(values)
        return (self.logits.log_softmax(-1) + each.entry_log_prob(x[..., None])).logsumexp(-1)

    def on(self, lattice: Lattice | Bins | None) -> "NormalMixture":
        """In double precision, the masses that it puts on the bins around discrete values, or the density."""
        return NormalMixture(self.logits.double(), self.means.double(), self.var.double(), lattice)

    def detached(self) -> "NormalMixture":
        """The same law, of which no gradient is known."""
        return NormalMixture(self.logits.detach(), self.means.detach(), self.var.detach(), self.lattice)

    def rows(self, index: Tensor) -> "NormalMixture":
        """The law of the selected rows."""
        return NormalMixture(self.logits[index], self.means[index], self.var[index], self.lattice)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, *event)`: a component by the Gumbel-max rule, then a draw of it."""
        k = gumbel_max(self.logits, generator)[..., None]
        drawn = Normal(self.means.gather(-1, k)[..., 0], self.var.gather(-1, k)[..., 0]).draw(generator)
        if not isinstance(self.lattice, Lattice):
            return drawn  # only data units say where the integers are
        return self.lattice.low + self.lattice.index(drawn) * self.lattice.spacing


@short_repr
@dataclass(frozen=True)
class Masses(Comparable):
    r"""For each entry, a probability for each value of a lattice, $P(x_v) = \mathrm{softmax}(\mathrm{logits})_v$.

    Args:
        logits: shape `(B, *event, levels)`; adding a constant over the levels changes nothing. Minus infinity means
            impossible, and causes no NaN.
        lattice: the values that the data takes.
    """

    logits: Tensor
    lattice: Lattice

    @property
    def mean(self) -> Tensor:
        """The mean value of each entry, `(B, *event)`."""
        return self.logits.softmax(-1) @ self.lattice.values().to(self.logits)

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of the value nearest to each entry of `x`, in its shape."""
        index = self.lattice.index(x).long()[..., None]
        return self.logits.log_softmax(-1).gather(-1, index)[..., 0]

    def entry_entropy(self) -> Tensor:
        return torch.special.entr(self.logits.softmax(-1)).sum(-1)

    def entry_kl(self, other: "Masses") -> Tensor:
        log_mass, log_other = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        return _weighted(log_mass, log_mass - log_other).sum(-1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, by the Gumbel-max rule."""
        return self.lattice.values().to(self.logits)[gumbel_max(self.logits, generator)]


@short_repr
@dataclass(frozen=True)
class Bits(Comparable):
    r"""Independent bits: $P(x_i = 1) = 1/(1 + e^{-\ell_i})$.

    Args:
        logits: the log-odds $\ell$ of a 1, `(B, *event)`. An infinite value means certainty, and causes no NaN.
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """Probability of a 1, `(B, *event)`."""
        return self.logits.sigmoid()

    @property
    def log_masses(self) -> tuple[Tensor, Tensor]:
        """Log-probability of a 0 and of a 1, each `(B, *event)`."""
        return logsigmoid(-self.logits), logsigmoid(self.logits)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, zeros and ones `(B, *event)` in the dtype of the logits."""
        uniform = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64)
        return (uniform.to(self.logits.device) < self.mean).to(self.logits.dtype)

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of each of the zeros and ones `x`, in its shape."""
        return logsigmoid(torch.where(x == 1, self.logits, -self.logits))

    def entry_entropy(self) -> Tensor:
        zero, one = self.log_masses
        return _weighted(zero, -zero) + _weighted(one, -one)

    def entry_kl(self, other: "Bits") -> Tensor:
        (zero, one), (other_zero, other_one) = self.log_masses, other.log_masses
        return _weighted(zero, zero - other_zero) + _weighted(one, one - other_one)


def gumbel_max(logits: Tensor, generator: torch.Generator) -> Tensor:
    """An index along the last dimension, drawn with the probabilities of the logits."""
    uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform))  # before the cast, which might make a uniform number 1
    return (logits + gumbel.to(logits)).argmax(-1)


def _weighted(log_mass: Tensor, value: Tensor) -> Tensor:
    """What an outcome with this log-mass contributes to the mean of `value`; 0 where the mass is 0."""
    mass = log_mass.exp()
    return mass * value.masked_fill(mass == 0, 0)


def log_ndtr_difference(a: Tensor, b: Tensor) -> Tensor:
    r"""$\log(\Phi(b) - \Phi(a))$ for $a < b$, either of which may be infinite; accurate in both tails.

    The interval is mirrored into the lower tail, where $\log\Phi$ keeps its relative precision.
    """
    mirror = a + b > 0
    low, high = torch.where(mirror, -b, a), torch.where(mirror, -a, b)
    log_high = torch.special.log_ndtr(high)
    log_low = torch.special.log_ndtr(low)
    return log_high + torch.log(-torch.expm1(log_low - log_high))
