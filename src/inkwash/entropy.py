r"""How uncertain a reverse step is: bounds on $H_q(X_s \mid X_t)$ that need no model (Sohl-Dickstein et al. 2015).

$H_q(X_t \mid X_s) + H_q(X_s \mid X_0) - H_q(X_t \mid X_0) \;\le\; H_q(X_s \mid X_t) \;\le\; H_q(X_t \mid X_s)$ (eq. 24)

The lower bound is $H_q(X_s \mid X_t, X_0)$: to know the data as well cannot add uncertainty. It always holds. By Bayes
the upper bound says that $H_q(X_s) \le H_q(X_t)$, that noise does not lower the entropy, which data that is more spread
than the noise may violate.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.errors import ConfigError, DataError
from inkwash.gaussian import Gaussian
from inkwash.shapes import as_time, event_size, sum_event


@dataclass(frozen=True)
class EntropyBounds:
    r"""Bounds on $H_q(X_s \mid X_t)$, nats per example, and whether the upper one can be relied on.

    Args:
        lower: $H_q(X_s \mid X_t, X_0)$, in the shape of the times; $-\infty$ at s = 0, where that posterior is a point.
        upper: $H_q(X_t \mid X_s)$, likewise.
        second_moment: the mean of $\lVert x\rVert^2$ over the data, with nothing subtracted.
        limit: how large `second_moment` may be for `upper` to hold, in the shape of the times; the number of entries d
            for every schedule with $\alpha^2 + \sigma^2 = 1$.
    """

    lower: Tensor
    upper: Tensor
    second_moment: float
    limit: Tensor

    @property
    def holds(self) -> bool:
        """Whether the premise of `upper` holds at every pair of times, up to the rounding of single precision."""
        return bool((self.second_moment <= self.limit * (1 + 1e-6)).all())


def entropy_bounds(process: Gaussian, s: float | Tensor, t: float | Tensor, x: Tensor) -> EntropyBounds:
    r"""Bounds on the entropy of the reverse step from t to s.

    Both are entropies of a normal, $\frac d2\ln 2\pi e\,v$: of the posterior variance below, of the transition variance
    above. The premise of the upper one is checked on the data. Scaled by $c = \sqrt{\alpha^2 + \sigma^2}$ the process
    keeps $\mathcal N(0, I)$ as it is, so the divergence from it falls; with $a = \alpha^2/c^2$ this reads
    $H(X_t) - H(X_s) \ge d\ln\frac{c_t}{c_s} - \frac{a_s - a_t}2\big(\mathbb E\lVert x\rVert^2 - d\big)$, which is not
    negative as long as $\mathbb E\lVert x\rVert^2 \le d\,\big(1 + \frac{2\ln(c_t/c_s)}{a_s - a_t}\big)$.

    Args:
        process: the Gaussian process.
        s: the earlier time, `()` or `(K,)`.
        t: the later time, `()` or `(K,)`.
        x: data, model units, `(N, *event)`.

    Raises:
        DataError: no example.
        ConfigError: times that are not `0 <= s < t <= 1`.
    """
    if len(x) == 0:
        raise DataError("x", "no example", "at least one")
    earlier, later = torch.broadcast_tensors(as_time(s), as_time(t))
    if not bool(((earlier >= 0) & (earlier < later) & (later <= 1)).all()):
        raise ConfigError("s, t", f"{earlier.tolist()}, {later.tolist()}", "0 <= s < t <= 1")
    size = event_size(x.shape[1:])
    return EntropyBounds(
        lower=_normal_entropy(process.posterior_var(earlier, later), size),
        upper=_normal_entropy(process.transition_var(earlier, later), size),
        second_moment=float(sum_event(x.double() ** 2).mean()),
        limit=size * (1 + _growth(process, earlier, later)),
    )


def _normal_entropy(var: Tensor, size: int) -> Tensor:
    """Entropy of `size` independent normal entries of variance `var`, in the shape of `var`."""
    return size / 2 * (math.log(2 * math.pi * math.e) + var.log())


def _growth(process: Gaussian, s: Tensor, t: Tensor) -> Tensor:
    """2 ln(c_t / c_s) / (a_s - a_t); 0 where the total variance stays 1."""
    log_power_s, log_power_t = (_log_power(process, u) for u in (s, t))
    signal_s, signal_t = (torch.sigmoid(process.schedule.log_snr(u)) for u in (s, t))
    return (log_power_t - log_power_s) / (signal_s - signal_t)


def _log_power(process: Gaussian, t: Tensor) -> Tensor:
    return torch.log(process.schedule.alpha(t) ** 2 + process.schedule.sigma(t) ** 2)
