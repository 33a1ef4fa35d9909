r"""Distributions over data of shape `(B, *event)`, independent over event entries given their parameters.

Log-probabilities, entropies and divergences are in nats, one per example: shape `(B,)`. Randomness is an argument: a
`torch.Generator` on the CPU, so that a draw is the same on every device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.shapes import sum_event

_LOG_2PI = math.log(2 * math.pi)


def standard_normal(shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Standard normal noise of `shape`, drawn on the CPU in the dtype of `like`, then moved to its device."""
    dtype = torch.get_default_dtype() if like is None else like.dtype
    noise = torch.randn(tuple(shape), generator=generator, dtype=dtype)
    return noise if like is None else noise.to(like.device)


@dataclass(frozen=True)
class Lattice:
    """Equally spaced values that discrete data takes in model units.

    Args:
        low: the smallest value.
        high: the largest value.
        levels: how many values there are, both ends included; at least 2.
    """

    low: float
    high: float
    levels: int

    @property
    def spacing(self) -> float:
        """Distance between neighbouring values."""
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


@dataclass(frozen=True)
class Normal:
    r"""$\mathcal N(\mu, \mathrm{var})$, diagonal.

    Args:
        mean: shape `(B, *event)`.
        var: variance, anything that broadcasts over `mean`. Zero means certainty: `draw` returns the mean.
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

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of `x`, nats per example."""
        var = self.var.expand_as(self.mean)
        return sum_event(-0.5 * ((x - self.mean) ** 2 / var + var.log() + _LOG_2PI))

    def entropy(self) -> Tensor:
        """Differential entropy, nats per example."""
        return sum_event(0.5 * (self.var.expand_as(self.mean).log() + _LOG_2PI + 1))

    def kl(self, other: "Normal") -> Tensor:
        """KL(self ‖ other), nats per example."""
        log_ratio = self.var.log() - other.var.log()
        spread = torch.expm1(log_ratio) - log_ratio  # r - 1 - log r, without cancellation at r = 1
        shift = (self.mean - other.mean) ** 2 / other.var
        return sum_event(0.5 * (spread + shift))

    def on(self, lattice: Lattice) -> "DiscretizedNormal":
        """The masses that this density puts on the bins around the values of `lattice`."""
        return DiscretizedNormal(self.mean, self.std, lattice)


@dataclass(frozen=True)
class DiscretizedNormal:
    r"""Mass that $\mathcal N(\mu, \sigma^2)$ puts on the bin around each value of a lattice.

    $P(x_v) = \Phi\big(\tfrac{x_v + \delta/2 - \mu}{\sigma}\big) - \Phi\big(\tfrac{x_v - \delta/2 - \mu}{\sigma}\big)$,
    the first bin open to $-\infty$ and the last to $+\infty$, so that the masses sum to 1 (Ho et al. 2020, eq. 13).

    Args:
        mean: shape `(B, *event)`.
        std: standard deviation, broadcasts over `mean`.
        lattice: the values the data takes.
    """

    mean: Tensor
    std: Tensor
    lattice: Lattice

    def log_mass(self, x: Tensor) -> Tensor:
        """Log-mass of the bin around each entry of `x`, in its shape."""
        index = self.lattice.index(x)
        below = torch.where(index == 0, -torch.inf, self._edge(index))
        above = torch.where(index == self.lattice.levels - 1, torch.inf, self._edge(index + 1))
        return log_ndtr_difference(below, above)

    def _edge(self, index: Tensor) -> Tensor:
        """Standardised lower edge of bin `index`: one expression for both its neighbours, so that no mass is lost."""
        return (self.lattice.low + (index - 0.5) * self.lattice.spacing - self.mean) / self.std

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of `x`, nats per example."""
        return sum_event(self.log_mass(x))

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example: a normal draw, moved to the nearest value of the lattice."""
        drawn = Normal(self.mean, self.std**2).draw(generator)
        return self.lattice.low + self.lattice.index(drawn) * self.lattice.spacing


@dataclass(frozen=True)
class Categorical:
    r"""Probabilities for each value of a lattice, $P(x_v) = \mathrm{softmax}(\mathrm{logits})_v$, entry by entry.

    Args:
        logits: shape `(B, *event, levels)`; a constant added over the levels changes nothing.
        lattice: the values the data takes.
    """

    logits: Tensor
    lattice: Lattice

    @property
    def mean(self) -> Tensor:
        """Mean value of each entry, `(B, *event)`."""
        return self.logits.softmax(-1) @ self.lattice.values().to(self.logits)

    def log_mass(self, x: Tensor) -> Tensor:
        """Log-probability of the value nearest to each entry of `x`, in its shape."""
        index = self.lattice.index(x).long()[..., None]
        return self.logits.log_softmax(-1).gather(-1, index)[..., 0]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of `x`, nats per example."""
        return sum_event(self.log_mass(x))

    def entropy(self) -> Tensor:
        """Entropy, nats per example."""
        log_mass = self.logits.log_softmax(-1)
        return sum_event(torch.special.entr(log_mass.exp()).sum(-1))

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, by the Gumbel-max rule."""
        uniform = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64)
        gumbel = -torch.log(-torch.log(uniform))  # before the cast, which might make a uniform number 1
        index = (self.logits + gumbel.to(self.logits)).argmax(-1)
        return self.lattice.values().to(self.logits)[index]


@dataclass(frozen=True)
class Bits:
    r"""Independent bits: $P(x_i = 1) = 1/(1 + e^{-\ell_i})$.

    Args:
        logits: the log-odds $\ell$ of a 1, `(B, *event)`. Infinite means certainty, and costs no NaN anywhere.
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

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of the zeros and ones `x`, nats per example."""
        return sum_event(logsigmoid(torch.where(x == 1, self.logits, -self.logits)))

    def entropy(self) -> Tensor:
        """Entropy, nats per example."""
        zero, one = self.log_masses
        return _expected(zero, -zero) + _expected(one, -one)

    def kl(self, other: "Bits") -> Tensor:
        """KL(self ‖ other), nats per example; infinite where `other` rules out what this one does not."""
        (zero, one), (other_zero, other_one) = self.log_masses, other.log_masses
        return _expected(zero, zero - other_zero) + _expected(one, one - other_one)


def _expected(log_mass: Tensor, value: Tensor) -> Tensor:
    """What an outcome of the given log-mass adds to the mean of `value`: nothing where the mass is 0."""
    mass = log_mass.exp()
    return sum_event(mass * value.masked_fill(mass == 0, 0))


def log_ndtr_difference(a: Tensor, b: Tensor) -> Tensor:
    r"""$\log(\Phi(b) - \Phi(a))$ for $a < b$, accurate in both tails; either may be infinite.

    The interval is mirrored into the lower tail, where $\log\Phi$ keeps its relative precision.
    """
    mirror = a + b > 0
    low, high = torch.where(mirror, -b, a), torch.where(mirror, -a, b)
    log_high = torch.special.log_ndtr(high)
    log_low = torch.special.log_ndtr(low)
    return log_high + torch.log(-torch.expm1(log_low - log_high))
