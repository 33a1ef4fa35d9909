"""Importance sampling of a latent: its draws, and what they say about the probability of data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.process.distributions import Normal


@short_repr
@dataclass(frozen=True)
class ImportanceEstimate:
    r"""An estimate of log p(x) from K draws of z: $\log\frac1K\sum_k w_k$ with $w = p(z)\,p(x \mid z)/r(z)$ for z drawn
    from a proposal r (Burda et al. 2016, eq. 8).

    Args:
        log_weights: $\log w_k$, `(K, B)`, float64.
    """

    log_weights: Tensor

    @property
    def value(self) -> Tensor:
        """The estimate, nats per example, `(B,)`. On average it is too low, by about `std_error**2 / 2`."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    @property
    def std_error(self) -> Tensor:
        """Standard error of `value` to first order, `(B,)`: that of the mean weight, over the mean; NaN for one draw.

        Do not trust it where `effective_draws` is small: the draws that matter may be missing.
        """
        draws = len(self.log_weights)
        spread = ((self._relative() - 1) ** 2).sum(0) / (draws - 1)
        return (spread / draws).sqrt()

    @property
    def effective_draws(self) -> Tensor:
        r"""$(\sum_k w_k)^2/\sum_k w_k^2$, `(B,)`: K for equal weights, and 1 where one draw outweighs all others."""
        return len(self.log_weights) / (self._relative() ** 2).mean(0)

    def _relative(self) -> Tensor:
        """Weights over their mean, `(K, B)`."""
        return (self.log_weights - self.value).exp()


@short_repr
@dataclass(frozen=True)
class Codes:
    """Draws of the latents of some examples.

    Args:
        z: `(K, B, *latent)`, float64.
        log_proposal: the log-density that each was drawn with, `(K, B)`.
        log_likelihood: log p(x | z), model units, `(K, B)`.
        encoding: q(z | x).
    """

    z: Tensor
    log_proposal: Tensor
    log_likelihood: Tensor
    encoding: Normal

    @classmethod
    def joined(cls, slots: Sequence["Codes"], count: int) -> "Codes":
        """The draws of all slots, for the first `count` examples."""
        z, log_proposal, log_likelihood = (
            torch.cat([getattr(each, name) for each in slots], 1)[:, :count]
            for name in ("z", "log_proposal", "log_likelihood")
        )
        mean, var = (torch.cat([getattr(each.encoding, name) for each in slots])[:count] for name in ("mean", "var"))
        return cls(z, log_proposal, log_likelihood, Normal(mean, var))

    @property
    def rows(self) -> Tensor:
        """The draws in rows `(B * K, *latent)`, those of an example in a row, so that their places do not depend on
        the examples that follow."""
        return self.z.transpose(0, 1).flatten(0, 1)

    def mean(self, rows: Tensor) -> Tensor:
        """The mean over the draws of each example, `(B, …)`, of what belongs to `rows`, `(B * K, …)`."""
        return rows.unflatten(0, (-1, len(self.z))).mean(1)
