"""What can be learned from samples, where it is known how much there is to learn."""

import numpy as np
import pytest
from tables import table

from inkwash.evaluation.utility import utility_test


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
    held_out[::3, 2] = np.nan
    known = utility_test(task(train, 2), task(train, 2), task(held_out, 2), False)
    assert known == utility_test(*[task(train, 2)] * 2, task(held_out[~np.isnan(held_out[:, 2])], 2), False)
    assert 0 < known.train < 1


@pytest.mark.parametrize("known", [0, 1, 9])
@pytest.mark.parametrize(("target", "classify"), [(1, True), (2, False)])
def test_too_few_known_targets_say_nothing(known, target, classify):
    """Whichever of the three lacks them."""
    full = [task(table(k, 60), target) for k in range(3)]
    for lacking in range(3):
        tasks = [(x, y.copy()) for x, y in full]
        tasks[lacking][1][known:] = np.nan
        assert utility_test(*tasks, classify) is None
    tasks[2][1][: known + 1] = full[2][1][: known + 1]
    assert (utility_test(*tasks, classify) is None) == (known < 9)
