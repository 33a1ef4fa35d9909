r"""How close samples are to data in a space of features: distances of laws, and what is realistic or missed.

For samples y and data x as features `(N, F)`:

- Fréchet distance of the normal laws with their moments (Heusel et al. 2017, eq. 6):
  $\lVert\mu_x - \mu_y\rVert^2 + \mathrm{tr}\,(\Sigma_x + \Sigma_y - 2(\Sigma_x\Sigma_y)^{1/2})$, in squared units of
  the features. It is 0 for equal moments and biased upwards, the more so the fewer the examples.
- Kernel distance: the squared maximum mean discrepancy under $k(x, y) = (x\cdot y/F + 1)^3$, unbiased (Binkowski et al.
  2018, §4). For equal laws its mean is 0, and it may be negative.
- Precision and recall (Kynkäänniemi et al. 2019, eq. 1): precision is the share of samples in the union of balls around
  data, where the radius of a ball is the distance to the k-th neighbour; recall is the share of data in the union of
  balls around samples.
- Density and coverage (Naeem et al. 2020, eq. 5 and 6): density is the number of balls around data that a sample is in,
  divided by k, and its mean is 1 for equal laws; coverage is the share of balls with a sample in them.

What equal laws would give at the same number of examples is the floor: the same numbers of training against held-out
data, see `inkwash.evaluation.metrics.with_floor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.evaluation.features import classifier_features, principal_components, require_features
from inkwash.evaluation.finding import Finding, Grade
from inkwash.evaluation.metrics import with_floor
from inkwash.evaluation.subject import Subject

_MANIFOLD, _COVERAGE = 3, 5


@dataclass(frozen=True)
class Fidelity:
    """Samples against data; see the module.

    Args:
        frechet: Fréchet distance, squared units of the features.
        kernel: unbiased kernel distance.
        precision: share of samples among the data.
        recall: share of data among the samples.
        density: mean number of neighbourhoods of data that a sample is in, over k.
        coverage: share of neighbourhoods of data with a sample in them.
    """

    frechet: float
    kernel: float
    precision: float
    recall: float
    density: float
    coverage: float


MEANINGS = {
    "frechet": ("Fréchet distance", "distance between means and covariances, squared; low is good"),
    "kernel": (
        "kernel distance",
        "distance between moments up to the third, unbiased; 0 for equal laws, below 0 by chance",
    ),
    "precision": ("precision", "share of samples that lie where data lies: are they realistic?"),
    "recall": ("recall", "share of data that lies where samples lie: is anything missed?"),
    "density": ("density", "precision that counts how much data lies around each sample; 1 for equal laws"),
    "coverage": ("coverage", "recall that counts only whether each data point has a sample near it"),
}
"""Name and meaning of each number of `Fidelity`."""
_GOOD: dict[str, Any] = {"frechet": "low", "kernel": "low", "density": "near 1"}
"""Which numbers are good; of the others, high ones."""
SPACES = {
    "components": "the principal components of the entries",
    "classifier": "features of a small classifier of the labels",
    "given": "the features that were given",
}
"""The spaces of features in words."""


def fidelity(samples: Array, data: Array) -> Fidelity:
    """Everything that this module measures, with the k of the papers: 3 for precision and recall, 5 for the others.

    Args:
        samples: features `(M, F)`.
        data: features `(N, F)`.

    Raises:
        ConfigError: fewer than 6 of either, or another number of features.
    """
    distances = frechet_distance(samples, data), kernel_distance(samples, data)
    return Fidelity(*distances, *precision_recall(samples, data), *density_coverage(samples, data))


def frechet_distance(a: Array, b: Array) -> float:
    """The Fréchet distance of features `(M, F)` and `(N, F)`.

    Raises:
        ConfigError: fewer than 2 of either, or another number of features.
    """
    _require(a, b, 2)
    shift = a.mean(0) - b.mean(0)
    x, y = ((each - each.mean(0)) / np.sqrt(len(each) - 1) for each in (a, b))
    return float(shift @ shift + np.sum(x**2) + np.sum(y**2) - 2 * root_trace(x, y))


def root_trace(x: Array, y: Array) -> float:
    r"""$\mathrm{tr}\,(x^\top x\,y^\top y)^{1/2}$: the sum of the singular values of $x y^\top$."""
    a, b = (np.asarray(np.linalg.qr(each, mode="r")) for each in (x, y))
    return float(np.linalg.norm(a @ b.T, "nuc"))


def kernel_distance(a: Array, b: Array) -> float:
    """The unbiased kernel distance of features `(M, F)` and `(N, F)`; pairs of an example with itself are left out.

    Raises:
        ConfigError: fewer than 2 of either, or another number of features.
    """
    _require(a, b, 2)
    return mean_pair(a) + mean_pair(b) - 2 * float(_kernel(a, b).mean())


def mean_pair(x: Array) -> float:
    """Mean kernel over pairs of different examples of `(N, F)`."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _kernel(x: Array, y: Array) -> Array:
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(samples: Array, data: Array, k: int = _MANIFOLD) -> tuple[float, float]:
    """Precision and recall of features `(M, F)` and `(N, F)`.

    Raises:
        ConfigError: no more than k of either, or another number of features.
    """
    _require(samples, data, k + 1)
    apart = _apart(data, samples)
    precision = (apart <= reach(data, k)[:, None]).any(0).mean()
    return float(precision), float((apart <= reach(samples, k)).any(1).mean())


def density_coverage(samples: Array, data: Array, k: int = _COVERAGE) -> tuple[float, float]:
    """Density and coverage of features `(M, F)` and `(N, F)`.

    Raises:
        ConfigError: no more than k of either, or another number of features.
    """
    _require(samples, data, k + 1)
    within = _apart(data, samples) <= reach(data, k)[:, None]
    return float(within.sum(0).mean() / k), float(within.any(1).mean())


def reach(x: Array, k: int) -> Array:
    """The distance of each row of `(N, F)` to its k-th nearest other row, `(N,)`."""
    return np.partition(_apart(x, x), k, axis=1)[:, k]


def _apart(x: Array, y: Array) -> Array:
    from scipy.spatial.distance import cdist

    return cdist(x, y)


def _require(a: Array, b: Array, count: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ConfigError("features", f"arrays of shapes {a.shape} and {b.shape}", "(M, F) and (N, F)")
    if min(len(a), len(b)) < count:
        raise ConfigError("features", f"{min(len(a), len(b))} examples", f"at least {count} of each kind")


@dataclass(frozen=True)
class Space:
    """Samples against held-out data in one space of features, and their floor.

    Args:
        size: number of features.
        samples: what samples reach.
        floor: what training data reaches.
    """

    size: int
    samples: Fidelity
    floor: Fidelity

    def words(self) -> str:
        """All numbers in words."""
        ours, floor = vars(self.samples), vars(self.floor)
        return ", ".join(f"{name} {ours[key]:.3g} ({floor[key]:.3g})" for key, (name, _) in MEANINGS.items())


@dataclass(frozen=True)
class Spaces(Finding):
    """Samples against held-out data in each space of features, by the name of the space."""

    spaces: dict[str, Space]

    def to_json(self) -> Any:
        return super().to_json()["spaces"]

    def grades(self) -> dict[str, Grade]:
        found = [(name, *item) for name, space in self.spaces.items() for item in vars(space.samples).items()]
        return {f"{MEANINGS[key][0]}, {name}": Grade(value, _GOOD.get(key, "high")) for name, key, value in found}

    def lines(self) -> Iterator[str]:
        for name, space in self.spaces.items():
            yield f"{name:<13} {space.words()} (in brackets: the floor)"


def measure_fidelity(subject: Subject) -> Spaces:
    """Samples against held-out data in each space of features.

    The spaces are fitted on training examples other than those of the floor.
    """
    space, kept, labels = subject.space, len(subject.parts.train), subject.fitted_condition.get("label")
    known, rest, seed = subject.known, space.fitted[kept:], subject.config.seed
    maps = {"components": known.of("components", [rest], lambda: principal_components(rest))}
    if labels:
        data = rest, np.asarray(labels[kept:])
        maps["classifier"] = known.of(f"classifier {seed}", data, lambda: classifier_features(*data, seed))
    found = {name: [features(x) for x in space.compared] for name, features in maps.items()}
    if subject.features is not None:
        examples = map(subject.spec.to_channels_first, subject.parts.compared)
        found["given"] = [require_features(subject.features, x) for x in examples]
    return Spaces(
        {
            name: Space(sets[0].shape[1], *with_floor(fidelity, *sets, known=known, what="fidelity"))
            for name, sets in found.items()
        }
    )
