r"""Drift: has the mean or the spread of samples moved away from that of data by more than sampling error?

The places of an example depend on each other, but examples do not. For each channel, every example therefore counts
with two numbers: its mean over places, and its mean squared distance from the mean of its set. The averages of these
over two sets are compared by Welch's statistic $(\bar a - \bar b)/\sqrt{s_a^2/n_a + s_b^2/n_b}$, where $n_a$ and
$n_b$ count the examples that have the channel. The limit is that of Student's law with $\min(n_a, n_b) - 1$ degrees of
freedom, at least as wide as Welch's own, and divided among all channels and both statistics (Bonferroni): the
probability that two sets of one law exceed it anywhere is at most about 1 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec
from inkwash.evaluation.finding import Finding, Grade
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.tabular import Categories, categories_of, names_of, table_of, unfold, unfolded_words

RATE = 0.01
"""Largest probability of any warning when nothing has moved."""
_LARGEST, _FEWEST = 1e9, 10


@dataclass(frozen=True)
class Moved:
    """A mean, or a standard deviation, of samples beside that of data.

    Args:
        where: the channel or column, in words.
        what: mean or spread.
        samples: its value for the samples, data units; None where all cells are missing.
        data: its value for the data.
        score: difference in standard errors, positive where samples have more; 0 where fewer than 10 samples or
            examples have the channel.
        beyond: whether the score is beyond its limit.
    """

    where: str
    what: str
    samples: float | None
    data: float | None
    score: float
    beyond: bool

    @property
    def size(self) -> float:
        """Standard errors apart."""
        return abs(self.score)


@dataclass(frozen=True)
class Drift(Finding):
    """The means and spreads of all channels or columns."""

    moves: tuple[Moved, ...]

    def to_json(self) -> Any:
        return [asdict(moved) for moved in self.moves]

    def largest(self, count: int) -> list[Moved]:
        """The largest differences first, in standard errors."""
        return sorted(self.moves, key=lambda moved: -moved.size)[:count]

    def lines(self) -> Iterator[str]:
        (worst,) = self.largest(1)
        yield (
            f"drift         {sum(moved.beyond for moved in self.moves)} of {len(self.moves)} means and spreads; "
            f"the most is {worst.size:.1f} standard errors, {worst.what} of {worst.where}"
        )

    def grades(self) -> dict[str, Grade]:
        return {"means and spreads that moved": Grade(sum(moved.beyond for moved in self.moves), "low")}

    def warnings(self) -> Iterator[str]:
        for moved in self.moves:
            if moved.beyond:
                yield (
                    f"drift: the {moved.what} of {moved.where} is {moved.samples:.4g} among samples and "
                    f"{moved.data:.4g} in data, {moved.size:.1f} standard errors apart"
                )


def drift(samples: Array, data: Array, names: Sequence[str]) -> list[Moved]:
    """Compare the means and spreads of all channels; there are `2 C` of them.

    Args:
        samples: `(M, C, …)`; NaN is left out.
        data: `(N, C, …)`; NaN is left out.
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
    """The mean of each example `(N, places)` with any value, and its mean squared distance from the mean of all."""
    seen = x[~np.isnan(x).all(1)]
    means = np.nanmean(seen, axis=1)
    return means, np.nanmean((seen - means.sum() / max(len(means), 1)) ** 2, axis=1)


def _score(a: Array, b: Array) -> float:
    """Welch's statistic; 0 for equal constants, and at most a billion for different ones."""
    difference = a.mean() - b.mean()
    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(difference / max(error, abs(difference) / _LARGEST)) if difference else 0.0


def measure_drift(subject: Subject) -> Drift:
    """Means and spreads by channel or column, and the share of each category where there are more than two."""
    spec = subject.spec
    samples, held_out = (_channels(spec, x) for x in (subject.parts.samples, subject.parts.held_out))
    return Drift(tuple(drift(samples, held_out, _names(spec))))


def _channels(spec: DataSpec, x: Array) -> Array:
    """Data as `(N, C, …)`; in vectors, each of more than two categories has a channel."""
    return unfold(table_of(spec, x), _many(spec)) if spec.kind == "vector" else spec.to_channels_first(x)


def _names(spec: DataSpec) -> list[str]:
    """The names of the channels."""
    names = names_of(spec)
    if spec.kind != "vector":
        return names
    return [words for name, count in zip(names, _many(spec), strict=True) for words in unfolded_words(name, count)]


def _many(spec: DataSpec) -> Categories:
    """How many categories each entry has; two categories are compared as the numbers 0 and 1."""
    return [count if count != 2 else None for count in categories_of(spec)]
