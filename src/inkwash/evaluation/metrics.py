"""Tests of samples: are they told apart from data, are they copies of what was trained on, are they of their class?

And the floor of any distance between samples and held-out data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array

Measured = TypeVar("Measured")

_SEARCHED = 1 << 22
"""Entries of training examples that neighbours are looked for among at a time."""


class Examples(Protocol):
    """Examples that can be had some at a time, as those of an array can, without all of them being in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...


def with_floor(
    measure: Callable[[Array, Array], Measured], samples: Array, train: Array, held_out: Array
) -> tuple[Measured, Measured]:
    """A distance of samples from held-out data and its floor, that of training data from the same held-out data.

    No finite set is at distance 0 from another one of its law: the floor is where samples of that law would be. All
    three are cut to the size of the smallest, on which a distance depends.

    Args:
        measure: the distance of its first argument from its second, which is data.
        samples: `(M, …)`.
        train: training examples, `(K, …)`.
        held_out: `(N, …)`.
    """
    count = min(len(samples), len(train), len(held_out))
    return measure(samples[:count], held_out[:count]), measure(train[:count], held_out[:count])


@dataclass(frozen=True)
class TwoSample:
    """A classifier two-sample test (Lopez-Paz & Oquab 2017).

    Args:
        accuracy: share of examples whose origin a random forest told from the others, out of bag; 0.5 is chance.
        null_mean: mean of the same accuracy when origins are shuffled.
        null_high: its 95 % quantile.
        p_value: share of shufflings at least as accurate, with the observation counted among them.
        per_sample: examples of each kind.
    """

    accuracy: float
    null_mean: float
    null_high: float
    p_value: float
    per_sample: int


def two_sample_test(a: Array, b: Array, seed: int = 0, shuffles: int = 50) -> TwoSample:
    """Train a random forest to tell `a` from `b` and compare its accuracy with that on shuffled labels.

    Args:
        a: `(N, …)`; the larger of the two is cut to the size of the smaller.
        b: `(M, …)`.
        seed: of the forest and of the shuffles.
        shuffles: how many labellings make the null; the p-value is no finer than 1/(shuffles + 1).

    Raises:
        ConfigError: fewer than 10 examples of either kind.
    """
    count = min(len(a), len(b))
    if count < 10:
        raise ConfigError("two-sample test", f"{count} examples", "at least 10 of each kind")
    x = np.concatenate([_flat(a[:count]), _flat(b[:count])])
    y = np.repeat([0, 1], count)
    random = np.random.default_rng(seed)
    accuracy = _out_of_bag_accuracy(x, y, seed)
    null = np.array([_out_of_bag_accuracy(x, random.permutation(y), seed + 1 + i) for i in range(shuffles)])
    p_value = float((1 + np.sum(null >= accuracy)) / (1 + shuffles))
    return TwoSample(accuracy, float(null.mean()), float(np.quantile(null, 0.95)), p_value, count)


def _out_of_bag_accuracy(x: Array, y: Array, seed: int) -> float:
    from sklearn.ensemble import RandomForestClassifier

    state = np.random.RandomState(np.random.MT19937(seed))
    forest = RandomForestClassifier(100, min_samples_leaf=2, oob_score=True, random_state=state, n_jobs=-1)
    return float(forest.fit(x, y).oob_score_)


@dataclass(frozen=True)
class Memorisation:
    """Are samples closer to the training data than fresh data is?

    Args:
        sample_distance: median distance of a sample to its nearest training example.
        held_out_distance: the same for held-out examples.
        closer: probability that a sample lies closer to the training data than a held-out example does, ties counted
            half; 0.5 when samples are as new as held-out data, 1 when they are copies.
        closer_std_error: standard error of `closer` if the two had one law.
        copies: share of samples that equal a training example.
        to_train: share of samples whose closest record among as many held-out and training examples is one of the
            latter, ties counted half; 0.5 when both are as good as new.
        to_train_std_error: standard error of `to_train` over all ways to share these examples out.
        nearest: for each sample, the index of its nearest training example.
        distances: for each sample, the distance to it.
    """

    sample_distance: float
    held_out_distance: float
    closer: float
    closer_std_error: float
    copies: float
    to_train: float
    to_train_std_error: float
    nearest: Array
    distances: Array


def memorisation_test(samples: Array, train: Examples, held_out: Array) -> Memorisation:
    """Compare nearest-training-neighbour distances (Euclidean, over all entries) of samples and of held-out data.

    Args:
        samples: `(M, …)`.
        train: all training examples, `(K, …)`; `to_train` takes as many of the first as are held out, or where that is
            fewer, as many held-out ones as are trained on.
        held_out: `(N, …)`.
    """
    from scipy.stats import rankdata

    distances, nearest = _nearest(train, np.concatenate([_flat(samples), _flat(held_out)]))
    of_samples, of_held_out = np.split(distances, [len(samples)])
    count = min(len(train), len(held_out))
    share, error = _closest_records(_flat(samples), train[:count], held_out[:count])
    n, m = len(of_samples), len(of_held_out)
    ranks = rankdata(np.concatenate([of_samples, of_held_out]))[:n]
    closer = 1 - (ranks.sum() - n * (n + 1) / 2) / (n * m)
    return Memorisation(
        sample_distance=float(np.median(of_samples)),
        held_out_distance=float(np.median(of_held_out)),
        closer=float(closer),
        closer_std_error=float(np.sqrt((n + m + 1) / (12 * n * m))),
        copies=float(np.mean(of_samples == 0)),
        to_train=share,
        to_train_std_error=error,
        nearest=nearest[:n],
        distances=of_samples,
    )


@dataclass(frozen=True)
class LabelTest:
    """How often a random forest trained on labelled data reads a label right.

    Args:
        samples: share of samples that it reads as what they were asked to be.
        held_out: share of held-out examples that it reads as what they are: what samples like the data would reach.
        per_sample: examples of each kind.
    """

    samples: float
    held_out: float
    per_sample: int


Labelled = tuple[Array, Sequence[str]]
"""Examples `(N, …)` and their N labels."""


def label_test(train: Labelled, held_out: Labelled, samples: Labelled, seed: int = 0) -> LabelTest:
    """Train a random forest to read labels, and compare what it reads with what was asked for.

    Args:
        train: what to train on.
        held_out: what to test on.
        samples: likewise, with the labels they were asked for.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    state = np.random.RandomState(np.random.MT19937(seed))
    forest = RandomForestClassifier(100, random_state=state, n_jobs=-1).fit(_flat(train[0]), np.asarray(train[1]))
    forest.set_params(n_jobs=1)  # trees added up in one order
    right = [float(np.mean(forest.predict(_flat(x)) == np.asarray(asked))) for x, asked in (samples, held_out)]
    return LabelTest(right[0], right[1], len(samples[0]))


def _closest_records(samples: Array, train: Array, held_out: Array) -> tuple[float, float]:
    """Share of samples closest to one of `train`, not of `held_out`, and its standard error under shuffling."""
    (to_train, at_train), (to_held_out, at_held_out) = (_nearest(x, samples) for x in (train, held_out))
    win = (to_train < to_held_out) + 0.5 * (to_train == to_held_out)
    drawn = np.bincount(at_train, win, len(train)), np.bincount(at_held_out, 1 - win, len(held_out))
    every = np.concatenate(drawn)  # samples that each record draws; some draw many
    chosen, total = len(train), len(every)
    error = np.sqrt(chosen * (total - chosen) / total * every.var(ddof=1)) / len(samples)
    return float(win.mean()), float(error)


def _nearest(train: Examples, x: Array) -> tuple[Array, Array]:
    """Distance of `x` `(N, F)` to the nearest training example, computed anew since the search rounds small ones, and
    its index."""
    from sklearn.neighbors import NearestNeighbors

    distance, nearest = np.full(len(x), np.inf), np.zeros(len(x), int)
    rows = max(1, _SEARCHED // x.shape[1])
    for start in range(0, len(train), rows):
        block = _flat(train[start : start + rows])
        found = NearestNeighbors(n_neighbors=1).fit(block).kneighbors(x, return_distance=False)[:, 0]
        apart = np.linalg.norm(x - block[found], axis=1)
        nearest = np.where(apart < distance, start + found, nearest)
        distance = np.minimum(apart, distance)
    return distance, nearest


def _flat(x: Array) -> Array:
    return np.asarray(x).reshape(len(x), -1).astype(np.float64)
