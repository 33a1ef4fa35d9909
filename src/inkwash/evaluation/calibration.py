r"""Imputation as a test of a distribution: entries that are known are hidden and drawn given the others, n times each.

Every score is unbiased in the number of draws, so that few are no worse off than many.

- Numbers: the continuous ranked probability score, $\mathbb E|X - y| - \frac12\mathbb E|X - X'|$ (Gneiting & Raftery
  2007, eq. 21), with the second mean over pairs of different draws (the fair score, Ferro 2014); less is better. The
  share of entries within the central 50 % and 90 % of their draws: less than that is a model that is too sure.
- Categories: the Brier score $\sum_k (p_k - [y = k])^2$, likewise fair; the accuracy of the likeliest category; the
  probability $p_y$ that a draw is right, *hit*, beside $\sum_k p_k^2$, what it is by the model's own account, *claim*:
  more claimed than hit, an *excess*, is a model that is too sure.

Means are over hidden entries, with standard errors over rows, which are independent where the entries of one are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from inkwash.core.shapes import Array

Impute = Callable[[Array, int], Array]
"""Rows with NaN for what is hidden `(N, D)`, and a number n, to draws `(n, N, D)`."""

DRAWS, SHARE = 64, 0.3
"""Draws of each row, and the share of its entries that is hidden."""


def crps(draws: Array, truth: Array) -> Array:
    """Fair CRPS of draws `(n, m)`, n at least 2, of true numbers `(m,)`, in their unit."""
    n = len(draws)
    half_apart = (2 * np.arange(1, n + 1) - n - 1) @ np.sort(draws, axis=0) / (n * (n - 1))
    return np.abs(draws - truth).mean(0) - half_apart


def coverage(draws: Array, truth: Array, share: float) -> Array:
    r"""Probability, `(m,)`, that a true number lies within the central `share` of its draws `(n, m)`.

    The rank of the truth among the n draws is one of n + 1, each a stretch of [0, 1] of that length; with ties it is
    anywhere among several (the probability integral transform of Czado et al. 2009, eq. 1). A truth of the law of the
    draws is covered with probability `share` exactly, for any n, of numbers whole or real.
    """
    n = len(draws)
    low, high = (draws < truth).sum(0) / (n + 1), ((draws <= truth).sum(0) + 1) / (n + 1)
    inside = np.minimum(high, (1 + share) / 2) - np.maximum(low, (1 - share) / 2)
    return np.maximum(inside, 0) / (high - low)


def _same(draws: Array) -> Array:
    """How many draws `(n, m)` are in the category of each."""
    return (draws[:, None] == draws).sum(1)


def hit(draws: Array, truth: Array) -> Array:
    """The share of draws `(n, m)` that are right."""
    return (draws == truth).mean(0)


def claim(draws: Array, truth: Array) -> Array:
    """The share of pairs of different draws `(n, m)` that agree: the hits to expect if a draw were the truth."""
    return (_same(draws) - 1).mean(0) / (len(draws) - 1)


def excess(draws: Array, truth: Array) -> Array:
    """Claim less hit."""
    return claim(draws, truth) - hit(draws, truth)


def brier(draws: Array, truth: Array) -> Array:
    """Fair Brier score of draws `(n, m)` of true categories `(m,)`: 0 for what is known for sure, 2 at worst."""
    return 1 - 2 * hit(draws, truth) + claim(draws, truth)


def accuracy(draws: Array, truth: Array) -> Array:
    """Whether the likeliest category of draws `(n, m)` is the true one; one of several that are so is taken by lot."""
    same = _same(draws)
    likeliest = same == same.max(0)
    return (likeliest & (draws == truth)).sum(0) / likeliest.sum(0)


Score = Callable[[Array, Array], Array]
NUMBERS: dict[str, Score] = {
    "crps": crps,
    "coverage_50": partial(coverage, share=0.5),
    "coverage_90": partial(coverage, share=0.9),
}
CATEGORIES: dict[str, Score] = {"brier": brier, "accuracy": accuracy, "hit": hit, "claim": claim, "excess": excess}


@dataclass(frozen=True)
class Mean:
    """A mean over hidden entries and its standard error over rows, None of a single row."""

    value: float
    std_error: float | None


def row_mean(values: Array, rows: Array) -> Mean:
    """The mean of values `(m,)`, of which those of one row `(m,)` depend on each other."""
    each = np.bincount(rows, values - values.mean())[np.unique(rows)]
    error = float(np.sqrt((each**2).sum() / (1 - 1 / len(each))) / len(values)) if len(each) > 1 else None
    return Mean(float(values.mean()), error)


Scores = dict[str, Mean]


def score(draws: Array, truth: Array, hidden: Array, unit: Array, is_category: Array) -> dict[str, Scores]:
    """The mean scores of numbers and of categories, of which there is something hidden.

    Args:
        draws: `(n, N, D)`, n at least 2.
        truth: `(N, D)`.
        hidden: what is judged, boolean `(N, D)`.
        unit: of numbers, `(D,)`; CRPS is stated in it.
        is_category: which columns are categories, boolean `(D,)`.
    """
    found = {}
    for name, scores, columns in (("numbers", NUMBERS, ~is_category), ("categories", CATEGORIES, is_category)):
        at = hidden & columns
        if at.any():
            x, y = (draws / unit)[:, at], (truth / unit)[at]
            rows = np.nonzero(at)[0]
            found[name] = {which: row_mean(of(x, y), rows) for which, of in scores.items()}
    return found


def hide(x: Array, seed: int) -> Array:
    """Which entries to hide, boolean `(N, D)`: of each row the same share at random, at least one, of what is there."""
    there = ~np.isnan(x)
    chance = np.where(there, np.random.default_rng(seed).random(x.shape), np.inf)
    count = np.maximum(np.rint(SHARE * there.sum(1, keepdims=True)), 1)
    return (chance.argsort(1).argsort(1) < count) & there


def independent(train: Array, seed: int) -> Impute:
    """Draws of each column by itself, from what `train` `(K, D)` has of it: all there is to know without the others."""
    random = np.random.default_rng(seed)

    def impute(seen: Array, n: int) -> Array:
        columns = (column[~np.isnan(column)] for column in train.T)
        drawn = np.stack([random.choice(c if len(c) else np.zeros(1), (n, len(seen))) for c in columns], -1)
        return np.where(np.isnan(seen), drawn, seen)

    return impute


@dataclass(frozen=True)
class Imputation:
    """How well hidden entries are drawn.

    Args:
        rows: rows of which entries were hidden.
        hidden: how many entries.
        draws: of each.
        model: the scores of the model's draws, by kind of entry and by name.
        independent: those of draws from the training part's columns, each by itself.
    """

    rows: int
    hidden: int
    draws: int
    model: dict[str, Scores]
    independent: dict[str, Scores]


def imputation_test(
    impute: Impute, x: Array, train: Array, unit: Array, is_category: Array, seed: int = 0
) -> Imputation:
    """Hide entries of rows, draw them, and score the draws beside those of independent columns.

    Columns that all of `train` lacks are not hidden.

    Args:
        impute: draws what is missing.
        x: rows `(N, D)`, float64: numbers or category numbers, NaN where one is missing, which stays so.
        train: rows that `impute` was fitted to, `(K, D)`, likewise.
        unit: of numbers, `(D,)`, positive.
        is_category: which columns are categories, boolean `(D,)`.
        seed: of what is hidden and of the draws of independent columns.
    """
    hidden = hide(x, seed) & ~np.isnan(train).all(0)
    seen = np.where(hidden, np.nan, x)
    found = [score(draw(seen, DRAWS), x, hidden, unit, is_category) for draw in (impute, independent(train, seed))]
    return Imputation(len(x), int(hidden.sum()), DRAWS, *found)
