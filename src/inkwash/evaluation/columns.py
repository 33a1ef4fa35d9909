r"""The columns of vectors: each column by itself, and the associations of columns two at a time.

Tables and `categories` are those of `inkwash.evaluation.tabular`.

- The marginal distance of a column of numbers is the largest difference between the two distribution functions
  (Kolmogorov-Smirnov), where a missing number counts as less than any other. For categories it is the total variation,
  where a missing cell counts as one more category.
- The association of two columns is computed over the rows in which neither is missing: Pearson's correlation r of two
  numbers, Cramér's V of two categories, and the correlation ratio $\eta$ of a number given a category. With numbers
  standardised, and categories as indicators less their frequencies $p_k$, over $\sqrt{p_k}$, all three are sums of
  squares of one cross-covariance: $r^2$, $\eta^2$, and $\varphi^2 = V^2 (\min(K, K') - 1)$.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inkwash.core.shapes import Array
from inkwash.evaluation.finding import Finding
from inkwash.evaluation.metrics import with_floor
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.tabular import Categories, categories_of, moments, names_of, table_of, unfold

_CONSTANT = 1e-14
_MOST_COLUMNS = 64


def marginal_distances(a: Array, b: Array, categories: Categories) -> list[float]:
    """The distance of each column of `(M, D)` from that of `(N, D)`, between 0 and 1."""
    return [column_distance(x, y, count) for x, y, count in zip(a.T, b.T, categories, strict=True)]


def column_distance(a: Array, b: Array, count: int | None) -> float:
    """Kolmogorov-Smirnov distance of numbers `(M,)` and `(N,)`, or total variation of `count` categories."""
    if count is None:
        a, b = (np.sort(np.nan_to_num(x, nan=-np.inf)) for x in (a, b))
        at = np.concatenate([a, b])
        below = [np.searchsorted(x, at, side="right") / len(x) for x in (a, b)]
        return float(np.abs(below[0] - below[1]).max())
    shares = [np.bincount(np.nan_to_num(x, nan=count).astype(int), minlength=count + 1) / len(x) for x in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def associations(x: Array, categories: Categories) -> Array:
    """The association of every two columns of `(N, D)`, `(D, D)`: r with its sign, V, or the correlation ratio.

    It is 0 where one of the two is constant over the rows in which neither is missing.
    """
    widths = np.array([count or 1 for count in categories])
    number = np.array([count is None for count in categories])
    starts, wide = np.cumsum(widths) - widths, np.repeat(number, widths)
    table = unfold(x, categories)
    shift, spread = moments(table)
    table = np.where(wide, (table - shift) / np.where(spread > 0, spread, 1), table)  # before squares are subtracted
    seen, value = (~np.isnan(table)).astype(np.float64), np.nan_to_num(table)
    count = np.maximum(seen.T @ seen, 1)
    mean = value.T @ seen / count  # [i, j]: of i where j is seen
    size = (value**2).T @ seen / count - np.where(wide[:, None], mean**2, 0.0)
    scale = size * size.T
    each = (value.T @ value / count - mean * mean.T) / np.sqrt(np.where(scale > _CONSTANT, scale, np.inf))
    squares = np.add.reduceat(np.add.reduceat(each**2, starts, axis=0), starts, axis=1)
    fewer = np.where(number[:, None] | number, 2, np.minimum(widths[:, None], widths)) - 1
    found = np.sqrt(squares / np.maximum(fewer, 1))
    return np.where(number[:, None] & number, each[np.ix_(starts, starts)], found)


@dataclass(frozen=True)
class Association:
    """The associations of samples beside those of data.

    Args:
        mean_difference: mean absolute difference over all pairs of columns.
        largest_difference: the largest of these differences.
        pair: names of the two columns that have it.
        samples: association of this pair among the samples.
        data: association of this pair in the data.
    """

    mean_difference: float
    largest_difference: float
    pair: tuple[str, str]
    samples: float
    data: float


def association_test(samples: Array, data: Array, categories: Categories, names: Sequence[str]) -> Association:
    """Compare the associations of all pairs of columns.

    Args:
        samples: `(M, D)`, with D at least 2.
        data: `(N, D)`.
        categories: see the module.
        names: of the D columns.
    """
    a, b = (associations(x, categories) for x in (samples, data))
    rows, columns = np.triu_indices(len(a), 1)
    difference = np.abs(a - b)[rows, columns]
    at = int(difference.argmax())
    i, j = int(rows[at]), int(columns[at])
    pair = names[i], names[j]
    return Association(float(difference.mean()), float(difference[at]), pair, float(a[i, j]), float(b[i, j]))


@dataclass(frozen=True)
class Marginal:
    """The marginal distance of one column from held-out data.

    Args:
        where: the column in words.
        samples: distance of the samples.
        floor: distance of training data.
    """

    where: str
    samples: float
    floor: float


@dataclass(frozen=True)
class Associations:
    """The associations of samples, and their floor: those of training data."""

    samples: Association
    floor: Association


@dataclass(frozen=True)
class Columns(Finding):
    """How far columns, and pairs of columns, are from held-out data.

    Args:
        marginals: one for each column.
        associations: of all pairs; None for a single column.
    """

    marginals: tuple[Marginal, ...]
    associations: Associations | None

    def lines(self) -> Iterator[str]:
        count = len(self.marginals)
        samples, floor = sum(m.samples for m in self.marginals) / count, sum(m.floor for m in self.marginals) / count
        worst = max(self.marginals, key=lambda m: m.samples - m.floor)
        yield (
            f"columns       distance {samples:.3f} in the mean, by chance {floor:.3f}; of {worst.where} "
            f"{worst.samples:.3f}, by chance {worst.floor:.3f}"
        )
        if self.associations is not None:
            most, chance = self.associations.samples, self.associations.floor
            yield (
                f"associations  differ by {most.mean_difference:.3f} in the mean, by chance "
                f"{chance.mean_difference:.3f}; the most is {most.samples:.3f} in place of {most.data:.3f}, "
                f"{' with '.join(most.pair)}"
            )


def measure_columns(subject: Subject) -> Columns | None:
    """The columns of vectors with at most 64 entries, beside their floors."""
    spec = subject.spec
    if spec.kind != "vector" or spec.shape[0] > _MOST_COLUMNS:
        return None
    tables, categories = [table_of(spec, x) for x in subject.parts.compared], categories_of(spec)
    names = names_of(spec)
    distances = with_floor(lambda a, b: marginal_distances(a, b, categories), *tables)
    pairs = None
    if len(names) > 1:
        pairs = Associations(*with_floor(lambda a, b: association_test(a, b, categories, names), *tables))
    return Columns(tuple(map(Marginal, names, *distances)), pairs)
