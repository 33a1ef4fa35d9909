r"""How close are samples to data, in a space of features? Distances of laws, and what is realistic or missed.

For samples y and data x as features `(N, F)`:

- Fréchet distance of the normal laws with their moments (Heusel et al. 2017, eq. 6):
  $\lVert\mu_x - \mu_y\rVert^2 + \mathrm{tr}\,(\Sigma_x + \Sigma_y - 2(\Sigma_x\Sigma_y)^{1/2})$, in squared units of
  the features. It is 0 for equal moments and biased upwards, the more so the fewer the examples.
- Kernel distance: the squared maximum mean discrepancy under $k(x, y) = (x\cdot y/F + 1)^3$, unbiased (Binkowski et al.
  2018, §4). In the mean it is 0 for equal laws, and may be negative.
- Precision and recall (Kynkäänniemi et al. 2019, eq. 1): the share of samples in the union of balls around data, each
  as wide as the distance to its k-th neighbour; and the share of data in that around samples.
- Density and coverage (Naeem et al. 2020, eq. 5 and 6): how many of these balls around data a sample is in, divided by
  k, whose mean is 1 for equal laws; and the share of balls with a sample in them.

What equal laws would give at that number of examples is the floor: the same between training and held-out data, see
`inkwash.evaluation.metrics.with_floor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array

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


def fidelity(samples: Array, data: Array) -> Fidelity:
    """All that this module measures, with the k of the papers: 3 for precision and recall, 5 for density and coverage.

    Args:
        samples: features `(M, F)`.
        data: features `(N, F)`.

    Raises:
        ConfigError: fewer than 6 of either, or another number of features.
    """
    distances = frechet_distance(samples, data), kernel_distance(samples, data)
    return Fidelity(*distances, *precision_recall(samples, data), *density_coverage(samples, data))


def frechet_distance(a: Array, b: Array) -> float:
    """The Fréchet distance, `(M, F)` and `(N, F)`.

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
    """The unbiased kernel distance, `(M, F)` and `(N, F)`: pairs of one example with itself are left out.

    Raises:
        ConfigError: fewer than 2 of either, or another number of features.
    """
    _require(a, b, 2)
    return mean_pair(a) + mean_pair(b) - 2 * float(_kernel(a, b).mean())


def mean_pair(x: Array) -> float:
    """Mean kernel of two different examples of `(N, F)`."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _kernel(x: Array, y: Array) -> Array:
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(samples: Array, data: Array, k: int = _MANIFOLD) -> tuple[float, float]:
    """Precision and recall, of features `(M, F)` and `(N, F)`.

    Raises:
        ConfigError: no more than k of either, or another number of features.
    """
    _require(samples, data, k + 1)
    apart = _apart(data, samples)
    precision = (apart <= reach(data, k)[:, None]).any(0).mean()
    return float(precision), float((apart <= reach(samples, k)).any(1).mean())


def density_coverage(samples: Array, data: Array, k: int = _COVERAGE) -> tuple[float, float]:
    """Density and coverage, of features `(M, F)` and `(N, F)`.

    Raises:
        ConfigError: no more than k of either, or another number of features.
    """
    _require(samples, data, k + 1)
    within = _apart(data, samples) <= reach(data, k)[:, None]
    return float(within.sum(0).mean() / k), float(within.any(1).mean())


def reach(x: Array, k: int) -> Array:
    """Distance of each of `(N, F)` to the k-th nearest other one, `(N,)`."""
    return np.partition(_apart(x, x), k, axis=1)[:, k]


def _apart(x: Array, y: Array) -> Array:
    from scipy.spatial.distance import cdist

    return cdist(x, y)


def _require(a: Array, b: Array, count: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ConfigError("features", f"arrays of shapes {a.shape} and {b.shape}", "(M, F) and (N, F)")
    if min(len(a), len(b)) < count:
        raise ConfigError("features", f"{min(len(a), len(b))} examples", f"at least {count} of each kind")
