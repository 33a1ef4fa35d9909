r"""Have the mean or the spread of samples moved away from those of data, by more than sampling error?

Per channel, the mean of an example over its places, and its mean squared distance from the mean of its set, are
independent from example to example where places are not. Their averages over two sets are compared by Welch's
statistic $(\bar a - \bar b)/\sqrt{s_a^2/n_a + s_b^2/n_b}$, where $n_a$ and $n_b$ count the examples that have the
channel. Its limit is that of Student's law with $\min(n_a, n_b) - 1$ degrees of freedom, at least as wide as Welch's
own, and shared out over all channels and both statistics (Bonferroni): two sets of one law pass it with a probability
of about 1 % in all, at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inkwash.core.shapes import Array

RATE = 0.01
"""Probability of a warning when nothing has moved, at most."""
_LARGEST, _FEWEST = 1e9, 10


@dataclass(frozen=True)
class Moved:
    """A mean, or a standard deviation, of samples beside that of data.

    Args:
        where: the channel or column, in words.
        what: mean or spread.
        samples: of the samples, data units; None where all is missing.
        data: of the data, likewise.
        score: difference in standard errors, positive where samples have more; 0 where fewer than 10 of either have it.
        beyond: whether the score is beyond its limit.
    """

    where: str
    what: str
    samples: float | None
    data: float | None
    score: float
    beyond: bool


def drift(samples: Array, data: Array, names: Sequence[str]) -> list[Moved]:
    """Means and spreads of all channels, `2 C` of them.

    Args:
        samples: `(M, C, …)`; NaN is left out.
        data: `(N, C, …)`, likewise.
        names: of the C channels, in words.
    """
    a, b = (np.asarray(x, np.float64).reshape(len(x), len(names), -1) for x in (samples, data))
    rate = RATE / (4 * len(names))
    return [moved for c, where in enumerate(names) for moved in _channel(where, a[:, c], b[:, c], rate)]


def _channel(where: str, samples: Array, data: Array, rate: float) -> Iterator[Moved]:
    from scipy.stats import t

    means, squares = zip(_each(samples), _each(data), strict=True)
    count = min(map(len, means))
    limit = t.isf(rate, count - 1) if count >= _FEWEST else np.inf
    for what, (a, b), power in (("mean", means, 1), ("spread", squares, 0.5)):
        ours, theirs = (float(x.mean() ** power) if len(x) else None for x in (a, b))
        score = _score(a, b) if count >= _FEWEST else 0.0
        yield Moved(where, what, ours, theirs, score, bool(abs(score) > limit))


def _each(x: Array) -> tuple[Array, Array]:
    """Of each example `(N, places)` that has any, its mean, and its mean squared distance from that of all."""
    seen = x[~np.isnan(x).all(1)]
    means = np.nanmean(seen, axis=1)
    return means, np.nanmean((seen - means.sum() / max(len(means), 1)) ** 2, axis=1)


def _score(a: Array, b: Array) -> float:
    """Welch's statistic; 0 for equal constants, and at most a billion for different ones."""
    difference = a.mean() - b.mean()
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(difference / max(error, abs(difference) / _LARGEST)) if difference else 0.0
