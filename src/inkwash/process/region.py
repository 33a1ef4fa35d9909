"""`Region`: what the entries of an example may be, each for itself, and the normal law between two ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.special import log_ndtr

from inkwash.core.errors import ConfigError
from inkwash.process.distributions import LOG_2PI, Normal

_FAR = 1e6  # standard deviations that count as infinitely many, so that gradients are finite


@dataclass(frozen=True)
class Region:
    """Numbers between two ends, and categories of a set, model units.

    Args:
        low: the smallest number that an entry may be, `(*event)`, float64; minus infinity where any will do, as for a
            category.
        high: the largest number.
        states: which states a category may have, boolean `(D, S)`; all true for numbers. S is 0 without categories.
    """

    low: Tensor
    high: Tensor
    states: Tensor

    def __and__(self, other: Region) -> Region:
        low, high = torch.maximum(self.low, other.low), torch.minimum(self.high, other.high)
        both = Region(low, high, self.states & other.states)
        if bool((low > high).any()) or (both.states.shape[-1] and not bool(both.states.any(-1).all())):
            raise ConfigError("where", "conditions that exclude each other", "some value that meets all of them")
        return both

    def of(self, places: Tensor) -> Region:
        """The region of some of the entries of a vector."""
        return Region(self.low[places], self.high[places], self.states[places])

    def some(self) -> Tensor:
        """One example that lies in it, `(*event)`."""
        first = self.states.double().argmax(-1) if self.states.shape[-1] else 0.0
        return torch.zeros_like(self.low).clamp(self.low, self.high) + first

    def clamp(self, x: Tensor) -> Tensor:
        """`x` `(B, *event)`, numbers beyond an end moved to it."""
        return x.clamp(self.low.to(x), self.high.to(x))

    def holds(self, x: Tensor) -> Tensor:
        """Which examples `x` `(B, *event)` lie in it, boolean `(B,)`."""
        between_ends = ((x >= self.low.to(x)) & (x <= self.high.to(x))).flatten(1).all(1)
        if not self.states.shape[-1]:
            return between_ends
        state = x.long().clamp(0, self.states.shape[-1] - 1)
        return between_ends & self.states.expand(len(x), -1, -1).gather(-1, state[..., None])[..., 0].all(1)


def between(law: Normal, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    r"""The mean of each entry of a normal law given that it lies between two ends, and the log of the probability that
    it does, both `(B, *event)`; differentiable.

    $\log(\Phi(b) - \Phi(a))$ and $\mu + s\,(\varphi(a) - \varphi(b))/(\Phi(b) - \Phi(a))$, in the tail where both
    probabilities are small.
    """
    a, b = (((end.to(law.mean) - law.mean) / law.std).clamp(-_FAR, _FAR) for end in (low, high))
    upper = a > 0
    bottom, top = log_ndtr(torch.where(upper, -b, a)), log_ndtr(torch.where(upper, -a, b))
    log_mass = top + torch.log(-torch.expm1(bottom - top))
    at_a, at_b = (torch.exp(-0.5 * (end**2 + LOG_2PI) - log_mass) for end in (a, b))
    mean = law.mean + law.std * (at_a - at_b)
    return mean.clamp(low.to(mean), high.to(mean)), log_mass
