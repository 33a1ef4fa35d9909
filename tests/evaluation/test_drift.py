"""Drift: silent on equal laws at the stated rate, and heard where something moved."""

import numpy as np
import pytest
from bugs import bug
from scipy.stats import binom, ttest_ind

from inkwash.evaluation import drift as module
from inkwash.evaluation.drift import drift

NAMES = ("red", "green", "blue")


def series(seed, n=40):
    """Three channels of 6 places that go up and down together: places are not independent."""
    random = np.random.default_rng(seed)
    return [3, -2, 50] + [1, 5, 0.1] * (random.normal(size=(n, 1, 3)) + 0.3 * random.normal(size=(n, 6, 3)))


def moved(a, b):
    return module.drift(np.moveaxis(a, 2, 1), np.moveaxis(b, 2, 1), NAMES)


@bug("places of an example as examples", module, "_each", lambda x: (x.ravel(), (x.ravel() - x.mean()) ** 2))
def test_equal_laws_drift_no_more_often_than_stated():
    alarms = sum(any(m.beyond for m in moved(series(2 * k), series(2 * k + 1))) for k in range(600))
    assert binom.sf(alarms - 1, 600, 0.01) > 1e-3


def test_scores_of_equal_laws_have_the_size_of_standard_errors():
    scores = np.array([[m.score for m in moved(series(2 * k), series(2 * k + 1))] for k in range(200)])
    assert scores.std(0) == pytest.approx(np.ones(6), abs=0.25)
    assert np.abs(scores.mean(0)).max() < 0.3


@pytest.mark.parametrize("what", ["mean", "spread"])
def test_a_shift_of_five_standard_errors_is_heard_where_it_is(what):
    data, samples = series(0), series(1)
    now = next(m for m in moved(samples, data) if (m.where, m.what) == ("green", what))
    if what == "mean":
        error = (samples[..., 1].mean(1).var(ddof=1) / 40 + data[..., 1].mean(1).var(ddof=1) / 40) ** 0.5
        samples[..., 1] += (5 - now.score) * error
    else:
        middle = samples[..., 1].mean()
        samples[..., 1] = middle + (samples[..., 1] - middle) * 2.5
    found = {(m.where, m.what): m for m in moved(samples, data)}
    assert [key for key, m in found.items() if m.beyond] == [("green", what)]
    if what == "mean":
        assert found["green", what].score == pytest.approx(5)
        assert found["green", what].samples - found["green", what].data == pytest.approx(5 * error)
    else:
        assert found["green", what].score > 5
        assert found["green", what].samples == pytest.approx(2.5 * now.samples)


def test_the_score_of_a_column_is_welchs():
    a, b = series(0)[:, 0], series(1, 25)[:, 0] * 1.3
    for c, m in enumerate(drift(a, b, NAMES)[::2]):
        assert m.score == pytest.approx(ttest_ind(a[:, c], b[:, c], equal_var=False).statistic)


def test_the_limit_is_wider_for_more_channels():
    a, b = series(0)[:, 0, :1], series(1)[:, 0, :1]
    by = 3.2 * (a.var(ddof=1) / 40 + b.var(ddof=1) / 40) ** 0.5
    a += b.mean() - a.mean() + by
    alone = drift(a, b, ["one"])
    among = drift(np.repeat(a, 20, 1), np.repeat(b, 20, 1), [str(c) for c in range(20)])
    assert alone[0].score == pytest.approx(among[0].score) == pytest.approx(3.2)
    assert alone[0].beyond
    assert not among[0].beyond


def test_constants_and_missing_cells():
    a, b = np.full((20, 2), 4.0), np.full((20, 2), 4.0)
    b[:, 1] = 5
    assert [m.score for m in drift(a, b, "ab")] == pytest.approx([0, 0, -1e9, 0])
    a, b = series(0)[:, 0], series(1)[:, 0]
    holes = np.concatenate([a, np.full((7, 3), np.nan)])
    assert [m.score for m in drift(holes, b, NAMES)] == [m.score for m in drift(a, b, NAMES)]


def test_the_limit_is_that_of_the_rows_that_have_the_cell():
    """3.3 standard errors are beyond the limit of 200 rows, and not beyond that of ten."""
    a, b = series(0)[:10, 0, :1], series(1)[:10, 0, :1]
    a += b.mean() - a.mean() + 3.3 * (a.var(ddof=1) / 10 + b.var(ddof=1) / 10) ** 0.5
    holes = [np.concatenate([x, np.full((190, 1), np.nan)]) for x in (a, b)]
    found = drift(*holes, ["a"])
    assert found == drift(a, b, ["a"])
    assert (found[0].score, found[0].beyond) == (pytest.approx(3.3), False)


@pytest.mark.parametrize("there", [0, 1, 9])
def test_a_column_that_is_nearly_missing_has_not_moved(there):
    a, b = np.full((40, 1), np.nan), np.arange(40.0)[:, None]
    a[:there] = 7
    for found in (drift(a, b, ["a"]), drift(b, a, ["a"])):
        assert [(m.score, m.beyond) for m in found] == [(0, False)] * 2
    mean, spread = drift(a, b, ["a"])
    assert (mean.samples, spread.samples) == ((7, 0) if there else (None, None))
    assert (mean.data, spread.data) == (19.5, pytest.approx(np.arange(40).std()))
