"""Built-in data are what they are documented to be, every time."""

import numpy as np
import pytest
from faults import tiny, without_pictures
from oracles import shop_log_prob
from sklearn.datasets import load_diabetes, load_digits, load_wine

from inkwash.core.config import DataConfig
from inkwash.data.builtin import BUILTIN
from inkwash.data.dataset import load_dataset
from inkwash.training.fit import fit
from inkwash.training.run import Run


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_data_is_the_same_every_time(name):
    first, second = load_dataset(name), load_dataset(name)
    assert first.fingerprint() == second.fingerprint()
    assert first.name == name
    missing = [column.missing for column in (first.spec.columns or {}).values()]
    assert (
        np.array_equal(np.isfinite(first.data).all(0), ~np.array(missing)) if missing else np.isfinite(first.data).all()
    )


@pytest.mark.parametrize(
    "name", sorted(set(BUILTIN) - {"dead-leaves", "balls"})
)  # others are of their kinds, and quicker
@pytest.mark.quick_cases("digits", "shop", "two-moons")
def test_builtin_data_trains_loads_and_comes_back_as_it_came(name, tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    fit(tiny(name, steps=1), tmp_path / "run")
    drawn, data = Run(tmp_path / "run").model().sample(2, seed=0, steps=2), load_dataset(name).data
    assert drawn.dtype == data.dtype
    assert drawn.shape == (2, *data.shape[1:])


def test_the_digits_are_the_digits():
    data = load_dataset("digits")
    assert np.array_equal(data.data[:, 0], load_digits().images)
    assert (data.spec.levels, data.spec.low, data.spec.high, data.spec.shape) == (17, 0, 16, (1, 8, 8))


def test_the_checkerboard_is_uniform_on_its_dark_squares():
    data = load_dataset("checkerboard").data
    cells = np.floor(data).astype(int)
    assert (cells.sum(1) % 2 == 0).all()
    counts = np.unique(cells, axis=0, return_counts=True)[1]
    assert len(counts) == 8
    expected = len(data) / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-squared, 7 degrees of freedom, p = 0.001
    within = data - cells
    assert abs(within.mean() - 0.5) < 4 * np.sqrt(1 / 12 / data.size)


def test_the_moons_are_two_half_circles():
    data = load_dataset("two-moons").data.astype(np.float64)
    upper = np.abs(np.hypot(data[:, 0], data[:, 1]) - 1)
    lower = np.abs(np.hypot(data[:, 0] - 1, data[:, 1] - 0.5) - 1)
    assert np.minimum(upper, lower).max() < 6 * 0.05
    assert abs((upper < lower).mean() - 0.5) < 0.02


def test_the_autoregression_is_stationary_and_leaves_white_noise():
    """What its recursion does not explain is white with variance 1; its variance solves the Yule-Walker equations."""
    data = load_dataset("ar2")
    assert (data.spec.kind, data.spec.shape, data.spec.levels) == ("series", (1, 100), None)
    x = data.data.astype(np.float64) - 5
    first, second = 2 * 0.95 * np.cos(np.pi / 5), -(0.95**2)
    noise = x[:, 2:] - first * x[:, 1:-1] - second * x[:, :-2]
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 4 / np.sqrt(noise.size)
    one = first / (1 - second)
    variance = 1 / (1 - first * one - second * (first * one + second))
    assert np.allclose(x[:, [0, -1]].var(0), variance, rtol=4 * np.sqrt(2 / len(x)))


def test_the_balls_are_round_and_complete():
    data = load_dataset("balls")
    assert (data.spec.kind, data.spec.shape, data.spec.levels) == ("volume", (1, 8, 8, 8), 9)
    share = data.data / 8
    volume = share.sum((1, 2, 3))
    radius = np.cbrt(volume / (4 / 3 * np.pi))
    assert abs(radius.mean() - 2.25) < 0.06
    assert abs(radius.std() - 1.5 / np.sqrt(12)) < 0.03
    place = np.arange(8) + 0.5
    for axis in (1, 2, 3):
        profile = share.sum(tuple({1, 2, 3} - {axis}))
        middle = (profile * place).sum(1) / volume
        spread = (profile * place**2).sum(1) / volume - middle**2
        assert abs((spread / radius**2).mean() - 1 / 5) < 0.03  # of a ball, along each axis
        assert abs(middle.mean() - 4) < 0.1


def test_the_heartbeats_beat_at_five_phases_alike():
    data = load_dataset("heartbeat")
    assert (data.spec.levels, data.spec.low, data.spec.high, data.spec.shape) == (2, 0, 1, (20,))
    beats, counts = np.unique(data.data, axis=0, return_counts=True)
    assert {tuple(np.flatnonzero(beat)) for beat in beats} == {tuple(range(phase, 20, 5)) for phase in range(5)}
    expected = len(data.data) / 5
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001


def test_the_shop_sells_by_its_law():
    """Each kind of purchase by chi-squared; the log-density of the law has the mean and the variance it has there."""
    data = load_dataset("shop").data
    counts = np.bincount(data[:, 0].astype(int))
    expected = len(data) * np.array([0.4, 0.2, 0.3, 0.1])
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom, p = 0.001
    again = data[:, 0:1] == np.arange(4)
    for column, mean, variance in (
        (1, [3, 9, 4, 14], [0.25, 2.25, 0.64, 9]),
        (2, [30, 12, 60, 20], [30, 12, 60, 20]),
        (3, [0.3, 0.6, 0.5, 0.8], [0.21, 0.24, 0.25, 0.16]),
    ):
        for kind in range(4):
            seen = data[again[:, kind], column]
            seen = seen[~np.isnan(seen)]
            assert abs(seen.mean() - mean[kind]) < 4 * np.sqrt(variance[kind] / len(seen))
            assert abs(seen.var() / variance[kind] - 1) < 8 / np.sqrt(len(seen))
    terms = shop_log_prob(data)
    assert np.array_equal(np.isnan(data).mean(0) > 0, [False, True, False, True])
    assert np.abs(np.isnan(data).mean(0)[[1, 3]] - 0.1).max() < 4 * np.sqrt(0.09 / len(data))
    assert (terms[np.isnan(data)] == 0).all()
    entropy = -sum(p * np.log(p) for p in (0.4, 0.2, 0.3, 0.1))
    assert abs(terms[:, 0].mean() + entropy) < 4 * terms[:, 0].std() / np.sqrt(len(data))
    width = sum(p * np.log(s) for p, s in ((0.4, 0.5), (0.2, 1.5), (0.3, 0.8), (0.1, 3)))
    price = terms[~np.isnan(data[:, 1]), 1]
    assert abs(price.mean() + 0.5 * np.log(2 * np.pi * np.e) + width) < 4 * price.std() / np.sqrt(len(price))


def test_tables_are_those_of_scikit_learn():
    data, found = load_dataset("wine", DataConfig(labels="cultivar")), load_wine()
    assert np.array_equal(data.data, found.data)
    assert np.array_equal(data.labels, found.target + 1)
    assert list(data.spec.columns) == found.feature_names
    assert [name for name, column in data.spec.columns.items() if column.is_integer] == ["magnesium", "proline"]
    patients, scaled = load_dataset("diabetes"), load_diabetes()
    assert np.array_equal(patients.data[:, -1], scaled.target)
    for i, name in enumerate(scaled.feature_names):
        assert list(patients.spec.columns)[i] == name
        assert np.corrcoef(patients.data[:, i], scaled.data[:, i])[0, 1] > 1 - 1e-9
