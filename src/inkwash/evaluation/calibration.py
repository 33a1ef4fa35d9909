r"""Imputation as a test of a distribution: known entries are hidden and drawn given the others, n times each.

Every score is unbiased in the number of draws, so that scores of few and of many draws can be compared.

- Numbers are scored by the continuous ranked probability score, $\mathbb E|X - y| - \frac12\mathbb E|X - X'|$ (Gneiting
  & Raftery 2007, eq. 21), with the second mean over pairs of different draws (the fair score, Ferro 2014); low is good.
  The share of entries within the central 50 % and 90 % of their draws is counted too; if it is less than that, the
  model is too sure.
- Categories are scored by the Brier score $\sum_k (p_k - [y = k])^2$, in its fair form, and by the accuracy of the
  likeliest category. The *hit* is the probability $p_y$ that a draw is right, and the *claim* $\sum_k p_k^2$ is what
  the hit should be by the model's own account. If the claim is larger, by an *excess*, the model is too sure.

Means are over hidden entries. Their standard errors are over rows, because rows are independent and the entries of one
are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from inkwash.core.config import EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec
from inkwash.evaluation.finding import Finding, Grade, is_beyond
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.tabular import spread_of

Impute = Callable[[Array, int], Array]
"""A function of rows `(N, D)`, NaN where an entry is hidden, and a number n, to draws `(n, N, D)`."""

DRAWS, SHARE = 64, 0.3
"""Number of draws of each row, and the share of its entries that is hidden."""
_IMPUTED, _MOST_HIDDEN_OF, _IMPUTING_STEPS = 32, 256, 50


def crps(draws: Array, truth: Array) -> Array:
    """Fair CRPS of draws `(n, m)`, n at least 2, for true numbers `(m,)`, in the unit of the numbers."""
    n = len(draws)
    half_apart = (2 * np.arange(1, n + 1) - n - 1) @ np.sort(draws, axis=0) / (n * (n - 1))
    return np.abs(draws - truth).mean(0) - half_apart


def coverage(draws: Array, truth: Array, share: float) -> Array:
    r"""Probability, `(m,)`, that a true number lies within the central `share` of its draws `(n, m)`.

    The rank of the truth among the n draws is one of n + 1, and each rank is a stretch of [0, 1] of length 1/(n + 1);
    with ties the truth is anywhere among several (the probability integral transform of Czado et al. 2009, eq. 1). If
    the truth has the law of the draws, it is covered with probability `share` exactly, for any n, and for integers and
    real numbers alike.
    """
    n = len(draws)
    low, high = (draws < truth).sum(0) / (n + 1), ((draws <= truth).sum(0) + 1) / (n + 1)
    covered = np.minimum(high, (1 + share) / 2) - np.maximum(low, (1 - share) / 2)
    return np.maximum(covered, 0) / (high - low)


def _same(draws: Array) -> Array:
    """For each of the draws `(n, m)`, how many draws are in its category."""
    return (draws[:, None] == draws).sum(1)


def hit(draws: Array, truth: Array) -> Array:
    """The share of draws `(n, m)` that are right."""
    return (draws == truth).mean(0)


def claim(draws: Array, truth: Array) -> Array:
    """The share of pairs of different draws `(n, m)` that agree: the expected hit if a draw were the truth."""
    return (_same(draws) - 1).mean(0) / (len(draws) - 1)


def excess(draws: Array, truth: Array) -> Array:
    """Claim minus hit."""
    return claim(draws, truth) - hit(draws, truth)


def brier(draws: Array, truth: Array) -> Array:
    """Fair Brier score of draws `(n, m)` for true categories `(m,)`: 0 if they are certain and right, 2 at worst."""
    return 1 - 2 * hit(draws, truth) + claim(draws, truth)


def accuracy(draws: Array, truth: Array) -> Array:
    """Whether the likeliest category of draws `(n, m)` is the true one; a tie counts as a choice by lot."""
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

MEANINGS = {
    "crps": ("CRPS", "in standard deviations of the training part; low is good"),
    "coverage_50": (
        "in the central 50 %",
        "share of numbers that lie there among their draws; if less, the model is too sure",
    ),
    "coverage_90": (
        "in the central 90 %",
        "share of numbers that lie there among their draws; if less, the model is too sure",
    ),
    "brier": ("Brier score", "of categories; 0 if they are certain and right"),
    "accuracy": ("accuracy", "of the likeliest category"),
    "hit": ("hit", "share of draws that are right"),
    "claim": ("claim", "what the hit should be by the model's own account"),
    "excess": ("excess", "claim minus hit; if more than 0, the model is too sure"),
}
"""Name and meaning of each score."""


@dataclass(frozen=True)
class Mean:
    """A mean over hidden entries and its standard error over rows, which is None for a single row."""

    value: float
    std_error: float | None


def row_mean(values: Array, rows: Array) -> Mean:
    """The mean of values `(m,)`, where the values of one row depend on each other; `rows` `(m,)` says which row."""
    each = np.bincount(rows, values - values.mean())[np.unique(rows)]
    error = float(np.sqrt((each**2).sum() / (1 - 1 / len(each))) / len(values)) if len(each) > 1 else None
    return Mean(float(values.mean()), error)


Scores = dict[str, Mean]


def score(draws: Array, truth: Array, hidden: Array, unit: Array, is_category: Array) -> dict[str, Scores]:
    """The mean scores of numbers and of categories, for each of the two of which something is hidden.

    Args:
        draws: `(n, N, D)`, n at least 2.
        truth: `(N, D)`.
        hidden: which entries are scored, boolean `(N, D)`.
        unit: unit of the numbers in each column, `(D,)`, in which CRPS is stated.
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
    """Choose the entries to hide, boolean `(N, D)`: in each row the same share of what is there, and at least one."""
    there = ~np.isnan(x)
    chance = np.where(there, np.random.default_rng(seed).random(x.shape), np.inf)
    count = np.maximum(np.rint(SHARE * there.sum(1, keepdims=True)), 1)
    return (chance.argsort(1).argsort(1) < count) & there


def independent(train: Array, seed: int) -> Impute:
    """Draw each column by itself from its values in `train` `(K, D)`: all one can know without the other columns."""
    random = np.random.default_rng(seed)

    def impute(seen: Array, n: int) -> Array:
        columns = (column[~np.isnan(column)] for column in train.T)
        draws = np.stack([random.choice(c if len(c) else np.zeros(1), (n, len(seen))) for c in columns], -1)
        return np.where(np.isnan(seen), draws, seen)

    return impute


@dataclass(frozen=True)
class Imputation(Finding):
    """How well hidden entries are drawn.

    Args:
        rows: number of rows with hidden entries.
        hidden: number of hidden entries.
        draws: number of draws of each.
        model: scores of the model's draws, by kind of entry (`numbers`, `categories`) and by name.
        independent: scores of draws from each column of the training part by itself.
    """

    rows: int
    hidden: int
    draws: int
    model: dict[str, Scores]
    independent: dict[str, Scores]

    def lines(self) -> Iterator[str]:
        for kind in self.model:
            yield f"imputed       {kind}: {', '.join(self._words(kind))} (in brackets: independent columns)"

    def grades(self) -> dict[str, Grade]:
        low = {"crps", "brier", "excess"}
        return {
            f"{MEANINGS[name][0]}, imputed {kind}": Grade(mean.value, "low" if name in low else "high")
            for kind, scores in self.model.items()
            for name, mean in scores.items()
            if name not in ("coverage_50", "coverage_90", "claim")
        }

    def _words(self, kind: str) -> Iterator[str]:
        for name, mean in self.model[kind].items():
            error = "" if mean.std_error is None else f" ± {mean.std_error:.3f}"
            yield f"{MEANINGS[name][0]} {mean.value:.3f}{error} ({self.independent[kind][name].value:.3f})"

    def warnings(self) -> Iterator[str]:
        """Intervals that hold too little, and categories that are claimed more often than hit."""
        numbers, categories = self.model.get("numbers", {}), self.model.get("categories")
        for share in (50, 90):
            held = numbers.get(f"coverage_{share}")
            if held and is_beyond(share / 100 - held.value, held.std_error):
                yield (
                    f"too sure: {held.value:.1%} of the numbers hidden lie within the central {share} % of their draws"
                )
        if categories and is_beyond(categories["excess"].value, categories["excess"].std_error):
            hit_rate, claimed = f"{categories['hit'].value:.1%}", f"{categories['claim'].value:.1%}"
            yield f"too sure: {hit_rate} of the draws of hidden categories are right, and {claimed} are claimed to be"


def imputation_test(
    impute: Impute, x: Array, train: Array, unit: Array, is_category: Array, seed: int = 0
) -> Imputation:
    """Hide entries of rows, draw them, and score the draws beside those of independent columns.

    A column that is missing in all of `train` is not hidden.

    Args:
        impute: draws what is missing.
        x: rows `(N, D)`, float64: numbers or category numbers, NaN where one is missing; such a cell is not scored.
        train: rows of the same form that `impute` was fitted to, `(K, D)`.
        unit: unit of the numbers in each column, `(D,)`, positive.
        is_category: which columns are categories, boolean `(D,)`.
        seed: of what is hidden and of the draws of independent columns.
    """
    hidden = hide(x, seed) & ~np.isnan(train).all(0)
    seen = np.where(hidden, np.nan, x)
    found = [
        score(draw(seen, DRAWS), x, hidden, unit, is_category) for draw in tracked((impute, independent(train, seed)))
    ]
    return Imputation(len(x), int(hidden.sum()), DRAWS, *found)


def rows_to_hide(spec: DataSpec, config: EvaluateConfig) -> int:
    """How many held-out examples to hide entries of; 0 is none.

    Raises:
        ConfigError: examples that are too large.
    """
    size = math.prod(spec.shape)
    if config.imputed is None:
        return _IMPUTED if spec.kind == "vector" and size <= _MOST_HIDDEN_OF else 0
    if config.imputed and size > _MOST_HIDDEN_OF:
        raise ConfigError("evaluate.imputed", config.imputed, f"0: an example has {size} entries, more than 256")
    return config.imputed


def measure_imputation(subject: Subject, display: Display) -> Imputation | None:
    """How well the model draws hidden entries of held-out examples; None where none are to be hidden."""
    spec, parts, seed = subject.spec, subject.parts, subject.config.seed
    count = rows_to_hide(spec, subject.config)
    if not count:
        return None
    display.say("drawing hidden entries …")
    held_out, train = (x.reshape(len(x), -1).astype(np.float64) for x in (parts.held_out[:count], parts.fitted))
    is_category = np.array(spec.sizes) > 0 if spec.columns else np.full(train.shape[1], spec.levels == 2)
    return imputation_test(_impute_by(subject), held_out, train, spread_of(spec, parts.fitted), is_category, seed)


def _impute_by(subject: Subject) -> Impute:
    """Draw with the model, from flat rows to flat rows."""
    model, seed = subject.model, subject.config.seed

    def impute(seen: Array, n: int) -> Array:
        x = seen.reshape(-1, *model.units.data_shape)
        return model.impute(x, n, seed=seed, steps=_IMPUTING_STEPS).reshape(n, *seen.shape).astype(np.float64)

    return impute
