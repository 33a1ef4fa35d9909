"""Distances and shares against closed forms, double sums and laws whose answer is known."""

import math

import numpy as np
import pytest
from bugs import bug
from scipy.linalg import sqrtm
from scipy.special import comb

from inkwash.core.errors import ConfigError
from inkwash.evaluation import fidelity

MEANS = np.array([[3.0, -1.0], [2.5, 0.5]])
COVARIANCES = np.array([[[4.0, 1.5], [1.5, 1.0]], [[1.0, -0.8], [-0.8, 3.0]]])


def normal(seed, n=100, size=3):
    return 5 + 2 * np.random.default_rng(seed).normal(size=(n, size))


def with_moments(mean, covariance, seed, n=50):
    """A set whose own mean and covariance are exactly these."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    x -= x.mean(0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


@bug(
    "product of roots for the root of the product",
    fidelity,
    "root_trace",
    lambda x, y: float(np.trace(sqrtm(x.T @ x) @ sqrtm(y.T @ y)).real),
)
def test_the_frechet_distance_of_two_normal_laws():
    """Covariances that do not commute: the root of a 2x2 matrix M has the trace sqrt(tr M + 2 sqrt(det M))."""
    a, b = (with_moments(MEANS[i], COVARIANCES[i], i) for i in range(2))
    product = COVARIANCES[0] @ COVARIANCES[1]
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    exact = 0.25 + 2.25 + np.trace(COVARIANCES[0]) + np.trace(COVARIANCES[1]) - 2 * root
    np.testing.assert_allclose(fidelity.frechet_distance(a, b), exact, rtol=1e-10)


def test_the_frechet_distance_is_that_of_the_matrix_root():
    a, b = normal(0, 60, 5), normal(1, 80, 5) ** 2 / 10
    covariances = np.cov(a.T), np.cov(b.T)
    root = sqrtm(covariances[0] @ covariances[1]).real
    exact = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert fidelity.frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)
    assert fidelity.frechet_distance(b, a) == pytest.approx(exact, rel=1e-9)


def test_fewer_examples_than_features_are_no_trouble():
    a = normal(0, 10, 40)
    assert fidelity.frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)
    assert fidelity.frechet_distance(a, a + 2) == pytest.approx(160)


def test_the_kernel_distance_is_a_mean_over_pairs():
    a, b = normal(0, 7), normal(1, 9)
    kernel = lambda x, y: (sum(p * q for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3  # noqa: E731
    within = [[kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j] for s in (a, b)]
    exact = np.mean(within[0]) + np.mean(within[1]) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert fidelity.kernel_distance(a, b) == pytest.approx(exact, rel=1e-9)


@bug(
    "pairs of one example with itself", fidelity, "mean_pair", lambda x: float(((x @ x.T / x.shape[1] + 1) ** 3).mean())
)
def test_the_kernel_distance_is_unbiased():
    """Over many draws of two small sets of one law its mean is zero within error."""
    found = [fidelity.kernel_distance(normal(2 * k, 8), normal(2 * k + 1, 12)) for k in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def test_the_kernel_distance_grows_with_a_shift():
    alike = [fidelity.kernel_distance(normal(2 * k, 200), normal(2 * k + 1, 200)) for k in range(10)]
    assert fidelity.kernel_distance(normal(0, 200), normal(1, 200) + 1) > 4 * np.abs(alike).max()


def two_blobs(seed, n=100):
    x = normal(seed, n, 2)
    x[::2] += 1000
    return x


def test_disjoint_laws_share_nothing():
    a, b = normal(0), normal(1) + 1000
    assert fidelity.precision_recall(a, b) == (0, 0)
    assert fidelity.density_coverage(a, b) == (0, 0)


def test_a_set_is_all_of_itself():
    x = normal(0)
    assert fidelity.precision_recall(x, x) == (1, 1)
    assert fidelity.density_coverage(x, x)[1] == 1


PRECISION_RECALL = fidelity.precision_recall


@bug("precision for recall", fidelity, "precision_recall", lambda samples, data: PRECISION_RECALL(data, samples))
def test_a_mode_that_samples_miss_costs_recall_and_coverage_alone():
    data, samples = two_blobs(0), two_blobs(1)[1::2]
    precision, recall = fidelity.precision_recall(samples, data)
    density, coverage = fidelity.density_coverage(samples, data)
    assert precision > 0.8
    assert 0.35 < recall <= 0.5
    assert density > 0.7
    assert 0.35 < coverage <= 0.5


def test_a_mode_that_data_lacks_costs_precision_and_density_alone():
    samples, data = two_blobs(0), two_blobs(1)[1::2]
    precision, recall = fidelity.precision_recall(samples, data)
    density, coverage = fidelity.density_coverage(samples, data)
    assert 0.35 < precision <= 0.5
    assert recall > 0.8
    assert 0.35 < density < 0.65
    assert coverage > 0.8


REACH = fidelity.reach


@bug("a point that is its own neighbour", fidelity, "reach", lambda x, k: REACH(x, k - 1), n=12, m=25, k=3)
@pytest.mark.parametrize(("n", "m", "k"), [(20, 20, 5), (12, 25, 3)])
def test_density_and_coverage_of_equal_laws_are_the_known_ones(n, m, k):
    """Coverage misses a point when its k nearest of all the n + m - 1 others are data: Naeem et al. 2020, lemma 2."""
    found = [fidelity.density_coverage(normal(2 * i, m), normal(2 * i + 1, n), k) for i in range(300)]
    (density, coverage), error = np.mean(found, 0), np.std(found, 0) / 300**0.5
    assert abs(density - 1) < 4 * error[0]
    assert abs(coverage - (1 - comb(n - 1, k) / comb(n + m - 1, k))) < 4 * error[1]


def test_the_reach_of_a_point_leaves_itself_out():
    assert fidelity.reach(np.array([[0.0], [1.0], [3.0], [7.0]]), 2).tolist() == [3, 2, 3, 6]


def test_all_of_it_at_once():
    a, b = normal(0, 30), normal(1, 40) * 1.1
    found = fidelity.fidelity(a, b)
    assert (found.frechet, found.kernel) == (fidelity.frechet_distance(a, b), fidelity.kernel_distance(a, b))
    assert (found.precision, found.recall) == fidelity.precision_recall(a, b, 3)
    assert (found.density, found.coverage) == fidelity.density_coverage(a, b, 5)


@pytest.mark.parametrize("shapes", [((5, 3), (9, 3)), ((9, 3), (5, 3)), ((9, 2), (9, 3)), ((9, 3, 1), (9, 3, 1))])
def test_what_cannot_be_compared_is_refused(shapes):
    with pytest.raises(ConfigError, match=r"^features: got "):
        fidelity.density_coverage(*map(np.ones, shapes))
