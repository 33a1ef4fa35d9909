r"""How uncertain a reverse step is: bounds on $H_q(X_s \mid X_t)$ that need no model (Sohl-Dickstein et al. 2015).

$H_q(X_t \mid X_s) + H_q(X_s \mid X_0) - H_q(X_t \mid X_0) \;\le\; H_q(X_s \mid X_t) \;\le\; H_q(X_t \mid X_s)$ (eq. 24)

The lower bound is $H_q(X_s \mid X_t, X_0)$. It always holds, because knowing the data as well cannot add uncertainty.
By Bayes' rule, the upper bound is equivalent to $H_q(X_s) \le H_q(X_t)$: noise does not lower the entropy. Data that is
more spread than the noise may violate this.
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
    r"""Bounds on $H_q(X_s \mid X_t)$, nats per example, and whether the data guarantees the upper one.

    Args:
        lower: $H_q(X_s \mid X_t, X_0)$, in the shape of the times. At s = 0, where that posterior is a point, it is
            $-\infty$ for real numbers and 0 for bits.
        upper: $H_q(X_t \mid X_s)$, in the shape of the times.
        surprise: the mean of $-\log\pi(x)$ over the data, nats; $\pi$ is the law that noise leaves unchanged.
        limit: the largest `surprise` for which `upper` is sure to hold, in the shape of the times. This is the entropy
            of $\pi$ for bits, and for real numbers under every schedule with $\alpha^2 + \sigma^2 = 1$.
    """

    lower: Tensor
    upper: Tensor
    surprise: float
    limit: Tensor

    @property
    def holds(self) -> bool:
        """Whether `surprise` stays within `limit` at every pair of times, up to the rounding of single precision."""
        return bool((self.surprise <= self.limit * (1 + 1e-6)).all())


def entropy_bounds(process: Gaussian | Bernoulli, s: float | Tensor, t: float | Tensor, x: Tensor) -> EntropyBounds:
    r"""Bounds on the entropy of the reverse step from t to s, averaged over the data.

    They need no sampling. The entropy of a normal depends only on its variance. The entropy of a bit depends only on
    the bit that it comes from, so the mean number of ones in the data is enough.

    The premise of the upper bound is checked on the data. Noise leaves a law $\pi$ unchanged: for bits, this is the
    prior; for real numbers, it is $\mathcal N(0, I)$ for $x_t/c_t$ with $c = \sqrt{\alpha^2 + \sigma^2}$. The
    divergence from $\pi$ falls with t. The rest of the entropy is a cross-entropy, which is linear in
    $a = \alpha^2/c^2$, for bits the survival probability:

    $$ H(X_t) - H(X_s) \ge d\ln\tfrac{c_t}{c_s} - (a_s - a_t)\big(\mathbb E[-\log\pi(x)] - H(\pi)\big). $$

    This is not negative if $\mathbb E[-\log\pi(x)] \le H(\pi) + d\ln(c_t/c_s)/(a_s - a_t)$. For real numbers and c = 1,
    the condition is $\mathbb E\lVert x\rVert^2 \le d$. For bits, the condition is that the rarer value is no more
    frequent in the data than in the noise; it always holds at the rate 1/2.

    Args:
        process: the process.
        s: the earlier time, `()` or `(K,)`.
        t: the later time, `()` or `(K,)`.
        x: data, model units, `(N, *event)`.

    Raises:
        DataError: there is no example, or a value is none of those of the process.
        ConfigError: the times are not `0 <= s < t <= 1`.
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

    Noise acts on each entry separately, so one entry of each value stands for all entries with that value.
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
    """The values of entries, and how many entries of an example have each of them on average, `(V,)` each.

    For a normal all values have the same entropy, so one value stands for all.
    """
    if process.lattice is None:
        return x.new_zeros(1), x.new_full((1,), event_size(x.shape[1:]))
    values = process.lattice.values()
    return values, torch.stack([(x == value).double().sum() for value in values]) / len(x)


def _under_stationary(process: Gaussian | Bernoulli, x: Tensor) -> tuple[float, Tensor]:
    r"""The surprise $\mathbb E[-\log\pi(x)]$ of the data, and the entropy of $\pi$."""
    scale, prior = process.scale(1.0), process.prior(x[:1].shape, like=x)
    shrunk = event_size(x.shape[1:]) * torch.log(scale)
    return -float((prior.log_prob(scale * x) + shrunk).mean()), prior.entropy()[0] - shrunk
