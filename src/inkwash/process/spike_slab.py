r"""`SpikeSlab`: the law of numbers some of which recur (Mitchell & Beauchamp 1988, "spike and slab").

An entry is one of K numbers, the spikes, with a probability for each, or else has a normal density, the slab:
$p(x) = \sum_k w_k\,\delta(x - a_k) + w_0\,\mathcal N(x; \mu, s^2)$. What is reported of a number is $\log w_k$ if it is
a spike, and otherwise the log-density $\log w_0\,\mathcal N(x)$: the density with respect to counting on the spikes and
length elsewhere. Where the numbers are integers, the slab has masses on their bins, one of them around each spike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.process.distributions import BinnedNormal, Bins, Comparable, Normal, gumbel_max
from inkwash.process.region import between

_ROUNDING = 5e-7  # four steps of float32 at 1, in which data come


def same_number(x: Tensor, values: Tensor) -> Tensor:
    """Whether `x` `(…)` is each of some values `(…, K)`, up to the rounding of data, boolean `(…, K)`."""
    return (x[..., None] - values).abs() <= _ROUNDING * (1 + values.abs())


@short_repr
@dataclass(frozen=True)
class SpikeSlab(Comparable):
    """For each entry, the probabilities of its spikes, and a normal law besides.

    Args:
        logits: log-probabilities up to a constant, `(B, D, K + 1)`, the last that of the slab; minus infinity for
            spikes that an entry does not have.
        values: the spikes $a_k$, `(D, K)`.
        slab: the law of other numbers, of mean `(B, D)`.
    """

    logits: Tensor
    values: Tensor
    slab: Normal | BinnedNormal

    @property
    def mean(self) -> Tensor:
        """The mean of each entry, `(B, D)`."""
        share = self.logits.softmax(-1)
        return (share[..., :-1] * self.values.to(share)).sum(-1) + share[..., -1] * self.slab.mean

    def entry_log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of spikes, log-density of other numbers, or the log-mass of integers, in the shape of x."""
        index, log_share = self.index(x), self.logits.log_softmax(-1)
        slab = log_share[..., -1] + self.slab.entry_log_prob(x)
        spike, is_spike = log_share.gather(-1, index[..., None])[..., 0], index < self.values.shape[-1]
        if isinstance(self.slab, BinnedNormal):
            is_integer = self.slab.bins.spacing.to(x.device) > 0
            spike = torch.where(is_integer, torch.logaddexp(spike, slab), spike)
        return torch.where(is_spike, spike, slab)

    def entry_entropy(self) -> Tensor:
        """Entropy of each entry, where the slab is a density."""
        share = self.logits.softmax(-1)
        return torch.special.entr(share).sum(-1) + share[..., -1] * self._normal.entry_entropy()

    def entry_kl(self, other: SpikeSlab) -> Tensor:
        """KL(self ‖ other) of each entry, for laws of the same spikes whose slabs are densities."""
        share, odds = self.logits.softmax(-1), self.logits.log_softmax(-1) - other.logits.log_softmax(-1)
        of_slab = share[..., -1] * self._normal.entry_kl(other._normal)
        return (share * odds.masked_fill(share == 0, 0)).sum(-1) + of_slab

    def index(self, x: Tensor) -> Tensor:
        """The number of the spike that each entry of `x` is, or K for another number, int64 `(B, D)`."""
        match = same_number(x, self.values.to(x)) & (self.logits[..., :-1] > -torch.inf)
        return torch.where(match.any(-1), match.int().argmax(-1), match.shape[-1])

    def surprise(self, x: Tensor) -> Tensor:
        """Minus the log-probability of the spike that an entry is, or of its being none, `(B, D)`."""
        return -self.logits.log_softmax(-1).gather(-1, self.index(x)[..., None])[..., 0]

    def step_var(self, small: Tensor, var: Tensor, pull: Tensor) -> Tensor:
        r"""The variance of a reverse step whose mean is linear in x, `(B, D)`: that of the posterior around
        each spike, `small`, that of the step, `var`, around the slab's mean, and $c^2$ times the variance between them.

        Args:
            small: $\tilde\beta$ of the step.
            var: the reverse variance.
            pull: c, the coefficient of x in the posterior mean.
        """
        share, mean = self.logits.double().softmax(-1), self.mean.double()
        away = (self.values.double() - mean[..., None]) ** 2
        slab = share[..., -1]
        between = (share[..., :-1] * away).sum(-1) + slab * (self.slab.mean.double() - mean) ** 2
        return ((1 - slab) * small + slab * var + pull**2 * between).to(self.logits)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, D)`."""
        return self._picked(gumbel_max(self.logits, generator), self.slab.draw(generator))

    def last_draw(self, generator: torch.Generator) -> Tensor:
        """A spike is drawn, and the slab gives its mean."""
        return self._picked(gumbel_max(self.logits, generator), self.slab.mean)

    def _picked(self, k: Tensor, others: Tensor) -> Tensor:
        values = self.values.to(others).expand(*others.shape, -1)
        return torch.cat([values, others[..., None]], -1).gather(-1, k[..., None])[..., 0]

    def decoding(self, normal: Normal, bins: Any = None) -> SpikeSlab:
        """The law with a slab of the variance of `normal`, on the bins of integers or not."""
        slab = Normal(self.slab.mean, normal.var.to(self.slab.mean))
        return replace(self, slab=BinnedNormal(slab.mean, slab.std, bins) if isinstance(bins, Bins) else slab)

    def to(self, like: Tensor) -> SpikeSlab:
        """The same law in the dtype of a tensor."""
        slab = Normal(self.slab.mean.to(like), self._normal.var.to(like))
        return SpikeSlab(self.logits.to(like), self.values.to(like), slab)

    @property
    def _normal(self) -> Normal:
        """The slab as a density."""
        return self.slab if isinstance(self.slab, Normal) else self.slab.density

    def detached(self) -> SpikeSlab:
        """The same law, of which no gradient is known."""
        return SpikeSlab(self.logits.detach(), self.values, Normal(self.slab.mean.detach(), self._normal.var))

    def within(self, low: Tensor, high: Tensor) -> tuple[SpikeSlab, Tensor]:
        """The law given that entries lie between two ends, `(D,)`, and the log of the probability that each does."""
        mean, log_mass = between(self._normal, low, high)
        kept = (self.values >= low[:, None].to(self.values)) & (self.values <= high[:, None].to(self.values))
        spikes = self.logits[..., :-1].masked_fill(~kept, -torch.inf)
        logits = torch.cat([spikes, (self.logits[..., -1] + log_mass)[..., None]], -1)
        log_share = logits.logsumexp(-1) - self.logits.logsumexp(-1)
        return SpikeSlab(logits, self.values, Normal(mean, self._normal.var)), log_share

    def rows(self, index: Tensor) -> SpikeSlab:
        """The law of the selected rows."""
        mean, var = self._normal.mean, self._normal.var
        slab = Normal(mean[index], var[index] if var.ndim and len(var) == len(mean) else var)
        return SpikeSlab(self.logits[index], self.values, slab)
