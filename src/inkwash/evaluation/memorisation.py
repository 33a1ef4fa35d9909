"""Are samples copies of the training data? Distances to the nearest training example, and closest records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inkwash.core.shapes import Array
from inkwash.evaluation.finding import Finding, Grade, is_beyond
from inkwash.evaluation.metrics import flat
from inkwash.evaluation.subject import Subject

_SEARCHED = 1 << 22
"""Entries of training examples among which neighbours are searched at a time."""


class Examples(Protocol):
    """Examples that can be read some at a time, like those of an array, without all of them in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...


@dataclass(frozen=True)
class Memorisation(Finding):
    """Are samples closer to the training data than fresh data is?

    Args:
        sample_distance: median distance of a sample to its nearest training example.
        held_out_distance: the same for held-out examples.
        closer: probability that a sample lies closer to the training data than a held-out example does, with ties
            counted half; 0.5 when samples are as new as held-out data, 1 when they are copies.
        closer_std_error: standard error of `closer` if the two had one law.
        copies: share of samples that equal a training example.
        to_train: share of samples whose closest record, among as many held-out as training examples, is a training
            example, with ties counted half; 0.5 when samples are as new as held-out data.
        to_train_std_error: standard error of `to_train` over all assignments of these examples to the two sets.
        nearest: for each sample, the index of its nearest training example.
        distances: for each sample, the distance to that example.
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

    def to_json(self) -> Any:
        """The numbers only; a picture shows the neighbours."""
        return {name: value for name, value in vars(self).items() if name not in ("nearest", "distances")}

    def lines(self) -> Iterator[str]:
        yield (
            f"memorisation  nearest training example at {self.sample_distance:.3f} (held-out data: "
            f"{self.held_out_distance:.3f}); closer than held-out data with probability {self.closer:.3f} "
            f"± {self.closer_std_error:.3f}; {self.copies:.1%} copies; {self.to_train:.1%} closest to "
            f"training data (± {self.to_train_std_error:.1%})"
        )

    def grades(self) -> dict[str, Grade]:
        return {
            "closer to training data": Grade(self.closer, "near 0.5"),
            "closest to training data": Grade(self.to_train, "near 0.5"),
            "copies": Grade(self.copies, "low"),
        }

    def warnings(self) -> Iterator[str]:
        if is_beyond(self.closer, self.closer_std_error, 0.5):
            yield f"memorisation: samples lie closer to training data than held-out data does ({self.closer:.3f})"
        if is_beyond(self.to_train, self.to_train_std_error, 0.5):
            yield f"memorisation: {self.to_train:.1%} of samples are closest to training data, not to held-out data"


def memorisation_test(samples: Array, train: Examples, held_out: Array) -> Memorisation:
    """Compare the distances of samples and of held-out data to their nearest training examples.

    Distances are Euclidean, over all entries.

    Args:
        samples: `(M, …)`.
        train: all training examples, `(K, …)`; for `to_train` the first of them count, as many as are held out. If
            fewer are trained on than held out, the held-out data is cut instead.
        held_out: `(N, …)`.
    """
    from scipy.stats import rankdata

    distances, nearest = _nearest(train, np.concatenate([flat(samples), flat(held_out)]))
    of_samples, of_held_out = np.split(distances, [len(samples)])
    count = min(len(train), len(held_out))
    share, error = _closest_records(flat(samples), train[:count], held_out[:count])
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


def _closest_records(samples: Array, train: Array, held_out: Array) -> tuple[float, float]:
    """Share of samples that are closest to one of `train`, not of `held_out`, and its standard error if shuffled."""
    (to_train, at_train), (to_held_out, at_held_out) = (_nearest(x, samples) for x in (train, held_out))
    win = (to_train < to_held_out) + 0.5 * (to_train == to_held_out)
    attracted = np.bincount(at_train, win, len(train)), np.bincount(at_held_out, 1 - win, len(held_out))
    every = np.concatenate(attracted)  # samples that each record attracts; some attract many
    count, total = len(train), len(every)
    error = np.sqrt(count * (total - count) / total * every.var(ddof=1)) / len(samples)
    return float(win.mean()), float(error)


def _nearest(train: Examples, x: Array) -> tuple[Array, Array]:
    """Distance of each row of `x` `(N, F)` to the nearest training example, and the index of that example.

    The distance is computed anew, because the search rounds small distances.
    """
    from sklearn.neighbors import NearestNeighbors

    distance, nearest = np.full(len(x), np.inf), np.zeros(len(x), int)
    rows = max(1, _SEARCHED // x.shape[1])
    for start in range(0, len(train), rows):
        block = flat(train[start : start + rows])
        found = NearestNeighbors(n_neighbors=1).fit(block).kneighbors(x, return_distance=False)[:, 0]
        apart = np.linalg.norm(x - block[found], axis=1)
        nearest = np.where(apart < distance, start + found, nearest)
        distance = np.minimum(apart, distance)
    return distance, nearest


def measure_memorisation(subject: Subject) -> Memorisation | None:
    """Samples against the entire training part, if the model was trained on it."""
    if not subject.is_trained_on:
        return None
    return memorisation_test(subject.space.samples, subject.train, subject.space.held_out)
