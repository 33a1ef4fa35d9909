"""Memorisation where the answer is known: copies, near copies, fresh data."""

import itertools
import tracemalloc

import numpy as np
import pytest

from inkwash.evaluation import memorisation
from inkwash.evaluation.memorisation import memorisation_test


def normal(seed, n=60, size=2, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1.0, (n, size))


def test_copies_are_found():
    train, held_out = normal(0, 200), normal(1, 100)
    result = memorisation_test(train[:80], train, held_out)
    assert result.copies == 1
    assert result.closer == pytest.approx(1, abs=1e-12)
    assert result.sample_distance == 0 < result.held_out_distance
    assert np.array_equal(result.nearest, np.arange(80))


@pytest.mark.parametrize("size", [3, 16, 64, 300])
@pytest.mark.parametrize("levels", [None, 17, 256])
def test_copies_are_found_whatever_the_size_of_an_example(size, levels):
    """Equal is equal: no rounding in the search for neighbours may hide a copy."""
    train = normal(0, 200, size)
    if levels is not None:
        train = np.random.default_rng(0).integers(0, levels, (200, size)) * np.float32(2 / (levels - 1)) - 1
    result = memorisation_test(train[:50], train, normal(1, 20, size))
    assert result.copies == 1
    assert not result.distances.any()


def test_a_share_of_copies_is_counted():
    train = normal(0, 200)
    samples = np.concatenate([train[:30], normal(1, 90)])
    assert memorisation_test(samples, train, normal(2, 100)).copies == 0.25


def test_near_copies_are_close_but_no_copies():
    train = normal(0, 200)
    result = memorisation_test(train[:80] + 1e-6, train, normal(1, 100))
    assert result.copies == 0
    assert result.closer > 0.99


def test_fresh_data_is_as_new_as_held_out_data():
    """Over many draws: closer is 0.5 on average, and scatters as its standard error says."""
    z = []
    for k in range(60):
        result = memorisation_test(normal(3 * k, 40), normal(3 * k + 1, 100), normal(3 * k + 2, 30))
        z.append((result.closer - 0.5) / result.closer_std_error)
    assert abs(np.mean(z)) < 4 / 60**0.5
    assert 0.7 < np.std(z) < 1.5


def test_closer_is_the_share_of_pairs_that_are():
    samples, train, held_out = normal(0, 20).round(1), normal(1, 50).round(1), normal(2, 30).round(1)
    result = memorisation_test(samples, train, held_out)
    distance = lambda x: np.linalg.norm(x[:, None] - train[None], axis=2).min(1)  # noqa: E731
    ours, theirs = distance(samples)[:, None], distance(held_out)[None]
    wins = np.mean((ours < theirs - 1e-12) + 0.5 * (abs(ours - theirs) <= 1e-12))
    assert result.closer == pytest.approx(wins, abs=0.01)
    np.testing.assert_allclose(result.distances, ours[:, 0], atol=1e-12)


def test_the_standard_error_is_that_over_all_ways_to_share_out_the_distances():
    points, train, closer = np.arange(1.0, 8.0)[:, None], np.zeros((1, 1)), []
    for places in itertools.combinations(range(7), 3):
        result = memorisation_test(points[list(places)], train, np.delete(points, places, 0))
        closer.append(result.closer)
    assert np.mean(closer) == pytest.approx(0.5)
    assert result.closer_std_error == pytest.approx(np.std(closer))


def test_closest_records_of_copies_are_in_the_training_data():
    train, held_out = normal(0, 200), normal(1, 80)
    result = memorisation_test(train[:50] + 1e-4, train, held_out)
    assert result.to_train > 0.97
    assert memorisation_test(held_out, train, held_out).to_train == 0


@pytest.mark.parametrize(("known", "fresh"), [(90, 30), (30, 90)])
def test_closest_records_of_fresh_data_are_evenly_shared_within_the_standard_error(known, fresh):
    z = []
    for k in range(80):
        result = memorisation_test(normal(3 * k, 60), normal(3 * k + 1, known), normal(3 * k + 2, fresh))
        z.append((result.to_train - 0.5) / result.to_train_std_error)
    assert abs(np.mean(z)) < 4 / 80**0.5
    assert 0.75 < np.std(z) < 1.3


def test_the_error_of_closest_records_is_that_over_all_ways_to_share_them_out():
    records, samples, found = np.array([0.0, 1, 5, 6, 9, 20])[:, None], np.array([[0.1], [0.2], [5.2], [19.0]]), []
    for places in itertools.combinations(range(6), 3):
        result = memorisation_test(samples, records[list(places)], np.delete(records, places, 0))
        found.append(result.to_train)
    assert np.mean(found) == pytest.approx(0.5)
    assert result.to_train_std_error == pytest.approx(np.std(found))


def test_all_alike_is_undecided():
    """Every distance ties: closer is one half."""
    same = np.zeros((15, 2))
    result = memorisation_test(same, same, same)
    assert (result.closer, result.to_train) == (0.5, 0.5)


def test_integers_do_not_overflow():
    train = np.full((20, 1, 2, 2), 255, np.uint8)
    samples, held_out = np.zeros((10, 1, 2, 2), np.uint8), np.full((10, 1, 2, 2), 254, np.uint8)
    result = memorisation_test(samples, train, held_out)
    assert (result.sample_distance, result.held_out_distance, result.closer) == (510.0, 2.0, 0.0)


class Generated:
    """Training examples that are made as they are asked for, 60 MB of them."""

    def __len__(self):
        return 60_000

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self))
        return np.cos(np.arange(start, stop)[:, None] * np.arange(1, 129)).reshape(-1, 8, 16)


def test_the_training_part_is_never_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(memorisation, "_SEARCHED", 1 << 16)
    train = Generated()
    full, held_out = train[0:60_000], normal(0, 20, 128).reshape(-1, 8, 16)
    samples = np.concatenate([full[[59_999, 7, 511, 512]] + 1e-3, held_out[:3] + 1])
    distances = np.array([np.linalg.norm(full - x, axis=(1, 2)).min() for x in samples])
    del full
    tracemalloc.start()
    found = memorisation_test(samples, train, held_out)
    assert tracemalloc.get_traced_memory()[1] < 6e6
    tracemalloc.stop()
    assert found.nearest[:4].tolist() == [59_999, 7, 511, 512]
    np.testing.assert_allclose(found.distances, distances)
