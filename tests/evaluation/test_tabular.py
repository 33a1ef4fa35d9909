"""Columns, pairs and what can be learned, against SciPy, enumeration and laws that are known."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from scipy.stats.contingency import association

from inkwash.evaluation import tabular
from inkwash.evaluation.tabular import associations, column_distance, embed, unfold, utility_test

NAN = float("nan")
KINDS = (None, 3, None, 2)


def table(seed, n=300, missing=0.0):
    """A number, a category, a number that depends on it, a bit that depends on the category."""
    random = np.random.default_rng(seed)
    category = random.choice(3, n, p=[0.5, 0.3, 0.2])
    number = np.array([10.0, 14.0, 9.0])[category] + random.normal(0, 2, n)
    bit = random.random(n) < np.array([0.9, 0.2, 0.5])[category]
    x = np.stack([random.normal(-3, 5, n), category, number, bit], 1).astype(float)
    x[random.random(x.shape) < missing] = NAN
    return x


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
    found = tabular.marginal_distances(a, b, KINDS)
    assert found == [column_distance(a[:, i], b[:, i], count) for i, count in enumerate(KINDS)]


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_associations_are_those_of_other_libraries_over_rows_that_have_both(missing):
    x = table(0, missing=missing)
    found = tabular.associations(x, KINDS)
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
    found = tabular.association_test(a, b, KINDS)
    assert found.pair == (1, 2)
    assert found.samples < 0.2 < 0.5 < found.data
    assert found.largest_difference == pytest.approx(found.data - found.samples)
    assert found.mean_difference < found.largest_difference / 2


def test_unfolding_shows_one_category_at_a_time():
    x = np.array([[7.0, 2], [NAN, 0], [8, NAN]])
    assert np.array_equal(unfold(x, (None, 3)), [[7, 0, 0, 1], [NAN, 1, 0, 0], [8, NAN, NAN, NAN]], equal_nan=True)
    assert tabular.unfolded_words("a", None) + tabular.unfolded_words("b", 2) == ["a", "b = 0", "b = 1"]


def test_distances_of_embedded_rows():
    """A standard deviation counts 1, and so does another category, whichever; a missing cell can be recognised."""
    train = table(0)
    x = np.stack([train[0]] * 4)
    x[1, 0] += train[:, 0].std()
    x[2, 1], x[3, 1] = (x[0, 1] + 1) % 3, (x[0, 1] + 2) % 3
    found = embed(x, train, KINDS)
    np.testing.assert_allclose(np.linalg.norm(found[1:] - found[0], axis=1), 1)
    holes = embed(table(1, missing=0.3), table(0, missing=0.3), KINDS)
    assert np.isfinite(holes).all()
    assert holes.shape == (300, 1 + 3 + 1 + 2 + 2)
    assert np.array_equal(holes[:, -2:], np.isnan(table(1, missing=0.3))[:, [0, 2]])


def task(x, target):
    return np.delete(x, target, 1), x[:, target]


@pytest.mark.parametrize(("target", "classify"), [(1, True), (2, False)])
@pytest.mark.quick_cases("1-True")
def test_fresh_data_teaches_as_much_as_training_data(target, classify):
    """Over many draws the difference is zero in the mean; samples without the dependence teach nothing."""
    z = []
    for k in range(5):
        found = utility_test(*(task(table(3 * k + i, 80), target) for i in range(3)), classify)
        z.append((found.samples - found.train) / found.std_error)
    assert abs(np.mean(z)) < 4 * 1.5 / 5**0.5
    shuffled = table(0, 80)
    shuffled[:, target] = np.random.default_rng(0).permutation(shuffled[:, target])
    worse = utility_test(task(shuffled, target), task(table(1, 80), target), task(table(2, 80), target), classify)
    assert worse.samples < worse.train - 2.5 * worse.std_error
    assert worse.score == ("accuracy" if classify else "R²")


def test_the_score_of_numbers_is_r_squared_and_training_sets_are_of_one_size():
    train, held_out = table(0, 100), table(1, 80)
    same = utility_test(task(train, 2), task(train, 2), task(held_out, 2), False)
    assert (same.samples, same.std_error) == (same.train, 0)
    less = utility_test(task(train[:40], 2), task(train, 2), task(held_out, 2), False)
    assert less.per_sample == 40
    assert (less.samples, less.std_error) == (less.train, 0)
    held_out[::3, 2] = NAN
    known = utility_test(task(train, 2), task(train, 2), task(held_out, 2), False)
    assert known == utility_test(*[task(train, 2)] * 2, task(held_out[~np.isnan(held_out[:, 2])], 2), False)
    assert 0 < known.train < 1


@pytest.mark.parametrize("known", [0, 1, 9])
@pytest.mark.parametrize(("target", "classify"), [(1, True), (2, False)])
def test_too_few_known_targets_say_nothing(known, target, classify):
    """Whichever of the three lacks them."""
    whole = [task(table(k, 60), target) for k in range(3)]
    for lacking in range(3):
        tasks = [(x, y.copy()) for x, y in whole]
        tasks[lacking][1][known:] = NAN
        assert utility_test(*tasks, classify) is None
    tasks[2][1][: known + 1] = whole[2][1][: known + 1]
    assert (utility_test(*tasks, classify) is None) == (known < 9)


def test_a_column_of_which_all_is_missing_is_a_constant():
    x, holes = table(0, 60), table(1, 60)
    holes[:, [0, 1]] = NAN
    assert np.isfinite(embed(x, holes, KINDS)).all()
    assert not embed(holes, x, KINDS)[:, :4].any()
    found = associations(holes, KINDS)
    assert not found[:2].any()
    assert found[2, 3] == pytest.approx(associations(holes[:, 2:], KINDS[2:])[0, 1])
