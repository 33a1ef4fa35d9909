r"""Samples of tables against data: each column by itself, columns two at a time, and what can be learned from them.

A table is `(N, D)`, float64: numbers, or category numbers 0, 1, …, with NaN where a cell is missing. `categories` says
of each column how many categories it has, None for numbers.

- Marginal distance of a column: the largest difference of the distribution functions (Kolmogorov-Smirnov), a missing
  number counting as less than any other; of categories the total variation, a missing one being one more category.
- Association of two columns, where neither is missing: Pearson's correlation r of numbers, Cramér's V of categories,
  and the correlation ratio $\eta$ of a number given a category. With a number standardised, and a category as
  indicators less their frequencies $p_k$, over $\sqrt{p_k}$, all are sums of squares of one cross-covariance: $r^2$,
  $\eta^2$, and $\varphi^2 = V^2 (\min(K, K') - 1)$.
- Train on synthetic, test on real (Esteban et al. 2017): a random forest that learned a target from samples, beside one
  that learned it from as many training examples, both read on held-out data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inkwash.core.shapes import Array

Categories = Sequence[int | None]

_CONSTANT, _FEWEST = 1e-14, 10


def marginal_distances(a: Array, b: Array, categories: Categories) -> list[float]:
    """The distance of each column of `(M, D)` from that of `(N, D)`, between 0 and 1."""
    return [column_distance(x, y, count) for x, y, count in zip(a.T, b.T, categories, strict=True)]


def column_distance(a: Array, b: Array, count: int | None) -> float:
    """Kolmogorov-Smirnov distance of numbers `(M,)` and `(N,)`, total variation of `count` categories."""
    if count is None:
        a, b = (np.sort(np.nan_to_num(x, nan=-np.inf)) for x in (a, b))
        at = np.concatenate([a, b])
        below = [np.searchsorted(x, at, side="right") / len(x) for x in (a, b)]
        return float(np.abs(below[0] - below[1]).max())
    shares = [np.bincount(np.nan_to_num(x, nan=count).astype(int), minlength=count + 1) / len(x) for x in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column `(N, D)` over what is not missing; 0 where all is."""
    count = np.maximum((~np.isnan(x)).sum(0), 1)
    mean = np.nansum(x, axis=0) / count
    return mean, np.sqrt(np.nansum((x - mean) ** 2, axis=0) / count)


def unfold(x: Array, categories: Categories) -> Array:
    """Numbers as they are, and an indicator for each category: `(N, D)` to `(N, W)`, NaN where missing."""
    parts = []
    for column, count in zip(x.T, categories, strict=True):
        hot = column[:, None] == np.arange(count or 1)
        parts.append(column[:, None] if count is None else np.where(np.isnan(column)[:, None], np.nan, hot))
    return np.concatenate(parts, axis=1)


def unfolded_words(name: str, count: int | None) -> list[str]:
    """What the columns of `unfold` are called, of a column of that name."""
    return [name] if count is None else [f"{name} = {k}" for k in range(count)]


def embed(x: Array, reference: Array, categories: Categories) -> Array:
    """A space for distances and forests: `(N, D)` to float64 `(N, W)`.

    Numbers are standardised as the reference is; two different categories are 1 apart. A missing cell is 0 there, the
    mean of numbers, and each column of which the reference misses numbers has an indicator beside.

    Args:
        x: a table.
        reference: the table `(M, D)` whose moments are taken.
        categories: see the module.
    """
    wide, theirs = unfold(x, categories), unfold(reference, categories)
    number = np.repeat([count is None for count in categories], [count or 1 for count in categories])
    mean, spread = moments(theirs)
    shift, scale = np.where(number, mean, 0.0), np.where(number, spread, np.sqrt(2))
    missed = np.isnan(wide)[:, number & np.isnan(theirs).any(0)]
    return np.concatenate([np.nan_to_num((wide - shift) / np.where(scale > 0, scale, 1)), missed], axis=1)


def associations(x: Array, categories: Categories) -> Array:
    """The association of every two columns of `(N, D)`, `(D, D)`: r with its sign, V, or the correlation ratio.

    It is 0 where one of them is constant over the rows in which neither is missing.
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
        largest_difference: the largest of these.
        pair: its two columns.
        samples: what it is among the samples.
        data: what it is in the data.
    """

    mean_difference: float
    largest_difference: float
    pair: tuple[int, int]
    samples: float
    data: float


def association_test(samples: Array, data: Array, categories: Categories) -> Association:
    """Compare the associations of all pairs of columns, `(M, D)` and `(N, D)` with D at least 2."""
    a, b = (associations(x, categories) for x in (samples, data))
    rows, columns = np.triu_indices(len(a), 1)
    difference = np.abs(a - b)[rows, columns]
    at = int(difference.argmax())
    i, j = int(rows[at]), int(columns[at])
    return Association(float(difference.mean()), float(difference[at]), (i, j), float(a[i, j]), float(b[i, j]))


@dataclass(frozen=True)
class Utility:
    """What can be learned from samples, beside what can be learned from data.

    Args:
        samples: score on held-out data of a forest trained on samples.
        train: the same of one trained on as many training examples.
        std_error: of their difference, over the held-out examples.
        score: accuracy, or R² of numbers.
        per_sample: how many each was trained on, at most.
    """

    samples: float
    train: float
    std_error: float
    score: str
    per_sample: int


Task = tuple[Array, Array]
"""Features `(N, F)` and what is to be predicted from them, `(N,)`: text or numbers; rows with NaN are left out."""


def utility_test(samples: Task, train: Task, held_out: Task, classify: bool, seed: int = 0) -> Utility | None:
    """Train on samples and on as many training examples, test both on held-out data.

    None where fewer than 10 targets are known in any of the three.

    Args:
        samples: what to train on; the larger of this and `train` is cut to the size of the smaller.
        train: likewise.
        held_out: what to test on.
        classify: whether targets are categories.
        seed: of the forests.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if classify else RandomForestRegressor
    (samples, train, (x, y)) = (_told(*task) for task in (samples, train, held_out))
    count = min(len(samples[0]), len(train[0]))
    if min(count, len(y)) < _FEWEST:
        return None
    scores = []
    for features, target in (samples, train):
        state = np.random.RandomState(np.random.MT19937(seed))
        forest = kind(100, random_state=state, n_jobs=-1).fit(features[:count], target[:count])
        read = forest.set_params(n_jobs=1).predict(x)  # trees added up in one order
        scores.append((read == y).astype(float) if classify else 1 - (read - y) ** 2 / (y.var() or 1.0))
    error = np.std(scores[0] - scores[1], ddof=1) / np.sqrt(len(y))
    of_samples, of_train = (float(each.mean()) for each in scores)
    return Utility(of_samples, of_train, float(error), "accuracy" if classify else "R²", count)


def _told(features: Array, target: Array) -> Task:
    """The rows whose target is known."""
    known = ~np.isnan(target) if target.dtype.kind == "f" else np.ones(len(target), bool)
    return features[known], target[known]
