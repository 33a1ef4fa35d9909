"""Spaces of features: what they keep, what they tell apart, and that they repeat themselves."""

import numpy as np
import pytest

from inkwash.evaluation.features import classifier_features, principal_components


def rings(seed, n=400):
    """Two classes of one mean: points near the centre, and around it; three entries of noise beside."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    angle, radius = random.uniform(0, 2 * np.pi, n), 1 + 4 * labels + random.normal(0, 0.3, n)
    plane = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + 7
    return np.concatenate([plane, random.normal(3, 0.1, (n, 3))], 1), [f"class {k}" for k in labels]


def test_components_of_few_entries_keep_all_distances():
    x = 3 + np.random.default_rng(0).normal(size=(50, 2, 3)) * [1, 2, 5]
    found = principal_components(x[:30])(x)
    assert found.shape == (50, 6)
    apart = lambda y: np.linalg.norm(y[:, None] - y[None], axis=2)  # noqa: E731
    np.testing.assert_allclose(apart(found), apart(x.reshape(50, 6)), atol=1e-9)


def test_components_are_those_that_vary_most():
    random = np.random.default_rng(0)
    x = 2 + random.normal(size=(300, 100)) * np.where(np.arange(100) < 64, 10.0, 0.1)
    found = principal_components(x)(x)
    assert found.shape == (300, 64)
    assert found.var(0).sum() == pytest.approx(x.var(0)[:64].sum(), rel=1e-3)


def test_the_classifier_sees_what_makes_a_class():
    """A line tells the classes apart in its features, on fresh data, and cannot in the entries."""
    from sklearn.linear_model import LogisticRegression

    (train, labels), (fresh, theirs) = rings(0), rings(1)
    of = classifier_features(train, labels)
    reads = lambda see: LogisticRegression(max_iter=1000).fit(see(train), labels).score(see(fresh), theirs)  # noqa: E731
    assert reads(of) > 0.97
    assert reads(lambda x: x) < 0.75
    assert (of(fresh) >= 0).all()


def test_features_depend_on_the_seed_alone():
    (train, labels), (fresh, _) = rings(0, 60), rings(1, 20)
    first, again, other = (classifier_features(train, labels, seed)(fresh) for seed in (2**40, 2**40, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_features_of_what_is_all_alike_or_of_one_class_are_finite():
    (x, labels), alike = rings(0, 60), np.full((60, 3), 7.0)
    for train, names in ((alike, labels), (x, ["one"] * 60), (alike, ["one"] * 60)):
        assert np.isfinite(classifier_features(train, names)(train)).all()
