"""Columns and pairs of columns, against SciPy, enumeration and laws that are known."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from scipy.stats.contingency import association
from tables import KINDS, table

from inkwash.evaluation import columns
from inkwash.evaluation.columns import associations, column_distance

NAN = float("nan")


def test_the_distance_of_numbers_is_kolmogorovs():
    a, b = table(0)[:, 0], table(1, 200)[:, 0] * 1.2 + 1
    assert column_distance(a, b, None) == pytest.approx(ks_2samp(a, b).statistic)
    a, b = np.rint(a), np.rint(b)
    assert column_distance(a, b, None) == pytest.approx(ks_2samp(a, b).statistic)


def test_the_distance_of_categories_is_total_variation():
    """By enumeration: the largest difference of probability over all sets of categories."""
    a, b = table(0)[:, 1], np.array([0, 0, 1, 2, 2, 2, NAN, NAN])
    of = lambda x, values: np.mean([(3 if np.isnan(v) else v) in values for v in x])  # noqa: E731
    sets = [[k for k in range(4) if number >> k & 1] for number in range(16)]
    exact = max(abs(of(a, values) - of(b, values)) for values in sets)
    assert column_distance(a, b, 3) == pytest.approx(exact)


def test_missing_numbers_count_as_a_value_of_their_own():
    assert column_distance(np.array([1.0, 2, 3, NAN]), np.array([1.0, 2, 3, 4]), None) == 0.25
    assert column_distance(np.array([NAN, NAN]), np.array([NAN, NAN]), None) == 0


def test_every_column_has_its_distance():
    a, b = table(0), table(1)
    found = columns.marginal_distances(a, b, KINDS)
    assert found == [column_distance(a[:, i], b[:, i], count) for i, count in enumerate(KINDS)]


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_associations_are_those_of_other_libraries_over_rows_that_have_both(missing):
    x = table(0, missing=missing)
    found = associations(x, KINDS)
    both = lambda i, j: x[~np.isnan(x[:, [i, j]]).any(1)][:, [i, j]].T  # noqa: E731
    np.testing.assert_allclose(found[0, 2], np.corrcoef(*both(0, 2))[0, 1])
    counts = np.zeros((3, 2), int)
    np.add.at(counts, tuple(both(1, 3).astype(int)), 1)
    np.testing.assert_allclose(found[1, 3], association(counts, "cramer"))
    category, number = both(1, 2)
    groups = [number[category == k] for k in range(3)]
    between = sum(len(g) * (g.mean() - number.mean()) ** 2 for g in groups)
    np.testing.assert_allclose(found[1, 2], (between / ((number - number.mean()) ** 2).sum()) ** 0.5)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(np.diag(found), 1)


def test_associations_do_not_depend_on_units_or_on_the_order_of_categories():
    x = table(0)
    other = x * [-1e9, 1, 1e-9, 1] + [1e6, 0, 0, 0]
    other[:, 1] = (x[:, 1] + 1) % 3
    expected = associations(x, KINDS)
    expected[0, 2], expected[2, 0] = -expected[0, 2], -expected[2, 0]
    np.testing.assert_allclose(associations(other, KINDS), expected, atol=1e-8)


def test_identical_categories_are_wholly_associated_and_independent_ones_by_chance_alone():
    x = table(0, 3000)
    identical = np.stack([x[:, 1], (x[:, 1] + 2) % 3], 1)
    assert associations(identical, (3, 3))[0, 1] == pytest.approx(1)
    shuffled = np.stack([x[:, 1], np.random.default_rng(0).permutation(x[:, 1])], 1)
    assert 3000 * associations(shuffled, (3, 3))[0, 1] ** 2 * 2 < 18.5  # chi-squared of 4, 99.9 %


def test_a_constant_column_goes_with_nothing():
    x = table(0)
    x[:, 0], x[:, 3] = 1e8, 1
    found = associations(x, KINDS)
    np.testing.assert_allclose(found[[0, 0, 0, 3, 3, 3], [1, 2, 3, 0, 1, 2]], 0, atol=1e-12)
    assert found[1, 2] > 0.5


def test_the_pair_that_changed_most_is_named():
    a, b = table(0), table(1)
    a[:, 2] = np.random.default_rng(2).permutation(a[:, 2])
    found = columns.association_test(a, b, KINDS, "abcd")
    assert found.pair == ("b", "c")
    assert found.samples < 0.2 < 0.5 < found.data
    assert found.largest_difference == pytest.approx(found.data - found.samples)
    assert found.mean_difference < found.largest_difference / 2


def test_a_column_in_which_all_is_missing_goes_with_nothing():
    holes = table(1, 60)
    holes[:, [0, 1]] = NAN
    found = associations(holes, KINDS)
    assert not found[:2].any()
    assert found[2, 3] == pytest.approx(associations(holes[:, 2:], KINDS[2:])[0, 1])
