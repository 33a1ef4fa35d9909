r"""How uncertain a reverse step is: bounds on $H_q(X_s \mid X_t)$ that need no model (Sohl-Dickstein et al. 2015).

$H_q(X_t \mid X_s) + H_q(X_s \mid X_0) - H_q(X_t \mid X_0) \;\le\; H_q(X_s \mid X_t) \;\le\; H_q(X_t \mid X_s)$ (eq. 24)

The lower bound is $H_q(X_s \mid X_t, X_0)$: to know the data as well cannot add uncertainty. It always holds. By Bayes
the upper bound says that $H_q(X_s) \le H_q(X_t)$, that noise does not lower the entropy, which data that is more spread
than the noise may violate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import as_time, event_size
from inkwash.process.bernoulli import Bernoulli
from inkwash.process.gaussian import Gaussian


@dataclass(frozen=True)
class EntropyBounds:
    r"""Bounds on $H_q(X_s \mid X_t)$, nats per example, and whether the upper one can be relied on.

    Args:
        lower: $H_q(X_s \mid X_t, X_0)$, in the shape of the times. At s = 0, where that posterior is a point, it is
            $-\infty$ for real numbers and 0 for bits.
        upper: $H_q(X_t \mid X_s)$, likewise.
        surprise: the mean of $-\log\pi(x)$ over the data, with $\pi$ the law that noise leaves as it is, nats.
        limit: how large `surprise` may be for `upper` to hold, in the shape of the times; the entropy of $\pi$ for
            bits, and for real numbers under every schedule with $\alpha^2 + \sigma^2 = 1$.
    """

    lower: Tensor
    upper: Tensor
    surprise: float
    limit: Tensor

    @property
    def holds(self) -> bool:
        """Whether the premise of `upper` holds at every pair of times, up to the rounding of single precision."""
        return bool((self.surprise <= self.limit * (1 + 1e-6)).all())


def entropy_bounds(process: Gaussian | Bernoulli, s: float | Tensor, t: float | Tensor, x: Tensor) -> EntropyBounds:
    r"""Bounds on the entropy of the reverse step from t to s, averaged over the data.

    No draw is needed. The entropy of a normal depends on its variance alone; that of a bit on the clean or the noisy
    bit before it, so that the mean number of ones in the data says it all.

    The premise of the upper bound is checked on the data. A law $\pi$ stays as it is under noise, of bits the prior, of
    real numbers $\mathcal N(0, I)$ for $x_t/c_t$ with $c = \sqrt{\alpha^2 + \sigma^2}$; the divergence from it falls.
    What is left is a cross-entropy, linear in $a = \alpha^2/c^2$, for bits the survival probability:

    $$ H(X_t) - H(X_s) \ge d\ln\tfrac{c_t}{c_s} - (a_s - a_t)\big(\mathbb E[-\log\pi(x)] - H(\pi)\big), $$

    which is not negative as long as $\mathbb E[-\log\pi(x)] \le H(\pi) + d\ln(c_t/c_s)/(a_s - a_t)$. With c = 1 this
    says $\mathbb E\lVert x\rVert^2 \le d$ of real numbers. Of bits it says that the data are no further on the rarer
    side than the rate, and it always holds at the rate 1/2.

    Args:
        process: the process.
        s: the earlier time, `()` or `(K,)`.
        t: the later time, `()` or `(K,)`.
        x: data, model units, `(N, *event)`.

    Raises:
        DataError: no example, or values other than those of the process.
        ConfigError: times that are not `0 <= s < t <= 1`.
    """
    if len(x) == 0:
        raise DataError("x", "no example", "at least one")
    earlier, later = torch.broadcast_tensors(as_time(s), as_time(t))
    if not bool(((earlier >= 0) & (earlier < later) & (later <= 1)).all()):
        raise ConfigError("s, t", f"{earlier.tolist()}, {later.tolist()}", "0 <= s < t <= 1")
    x = x.double()
    if process.lattice is not None and not process.lattice.holds(x):
        raise DataError("x", "other values", f"one of {process.lattice.values().tolist()} in each entry")
    upper, gained = _entropies(process, earlier.reshape(-1), later.reshape(-1), x)
    surprise, entropy = _under_stationary(process, x)
    signal_s, signal_t = (torch.sigmoid(process.schedule.log_snr(u)) for u in (earlier, later))
    stretch = event_size(x.shape[1:]) * torch.log(process.scale(later) / process.scale(earlier))
    upper = upper.reshape(earlier.shape)
    return EntropyBounds(
        lower=upper - gained.reshape(earlier.shape),
        upper=upper,
        surprise=surprise,
        limit=entropy + stretch / (signal_s - signal_t),
    )


def _entropies(process: Gaussian | Bernoulli, s: Tensor, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$H_q(X_t \mid X_s)$ and $H_q(X_t \mid X_0) - H_q(X_s \mid X_0)$ at times `(K,)`, `(K,)` each.

    Entries are noised one by one, so that one entry of each value stands for all that have it.
    """
    values, counts = _census(process, x)
    entry = values.repeat(len(s))[:, None]
    earlier, later = (time.repeat_interleave(len(values)) for time in (s, t))
    before, after = process.marginal(entry, earlier), process.marginal(entry, later)
    gained = (after.entropy() - before.entropy()).reshape(len(s), -1) @ counts
    if process.lattice is not None:
        masses = [before.log_prob(torch.full_like(entry, v)).exp() for v in values.tolist()]
        counts = torch.stack([mass.reshape(len(s), -1) @ counts for mass in masses], 1)
    left = process.transition(entry, earlier, later).entropy().reshape(len(s), -1)
    return (counts * left).sum(1), gained


def _census(process: Gaussian | Bernoulli, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values of an entry and how many entries of an example have them, `(V,)` each; to a normal all are the same."""
    if process.lattice is None:
        return x.new_zeros(1), x.new_full((1,), event_size(x.shape[1:]))
    values = process.lattice.values()
    return values, torch.stack([(x == value).double().sum() for value in values]) / len(x)


def _under_stationary(process: Gaussian | Bernoulli, x: Tensor) -> tuple[float, Tensor]:
    """The mean of minus the log-probability of the data under the law that noise leaves as it is, and its entropy."""
    scale, prior = process.scale(1.0), process.prior(x[:1].shape, like=x)
    shrunk = event_size(x.shape[1:]) * torch.log(scale)
    return -float((prior.log_prob(scale * x) + shrunk).mean()), prior.entropy()[0] - shrunk
