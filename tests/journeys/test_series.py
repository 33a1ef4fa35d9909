"""What is learned of series whose entropy is known, with the options that are the default."""

import math

import numpy as np
import pytest
from autoregression import conditional, covariance, normal_crps

import inkwash as iw
from inkwash.evaluation.forecasts import forecast_test

FIRST, SECOND = 1.6, -0.8
"""The weights of the last two places: waves of about 13 places that fade."""


def excess_of(model, series, cov):
    """By how much the bound of each series exceeds -log p(x), of the places that are not missing."""
    known = []
    for row in series[:, 0].astype(float):
        at = ~np.isnan(row)
        part = cov[np.ix_(at, at)]
        known.append(0.5 * (np.linalg.slogdet(2 * math.pi * part)[1] + row[at] @ np.linalg.solve(part, row[at])))
    return model.bound(series, terms=100).total.numpy() - known


@pytest.mark.slow
@pytest.mark.parametrize("places", [16, 64])
def test_the_bound_of_an_autoregressive_process_is_near_its_entropy(places, tmp_path):
    """Training with the defaults comes within 2 % of the entropy, and the bound does not lie below it by more than the
    noise of the test examples."""
    cov = covariance(places, FIRST, SECOND)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(places), cov, 2500)[:, None].astype("float32")
    train, test = draws[:2000], draws[2000:]
    np.save(tmp_path / "series.npy", train)
    iw.train(str(tmp_path / "series.npy"), out=tmp_path / "run", data=iw.DataConfig(layout="NCL"))
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * cov)[1]
    excess = excess_of(iw.load(tmp_path / "run"), test, cov)
    assert -4 * excess.std() / len(test) ** 0.5 < excess.mean() < 0.02 * entropy


def with_gaps(series, random):
    """Series of which two thirds lack a stretch of 6 places."""
    found = series.copy()
    for row in found[: 2 * len(found) // 3]:
        start = random.integers(0, row.shape[-1] - 5)
        row[:, start : start + 6] = np.nan
    return found


@pytest.mark.slow
def test_series_with_gaps_teach_the_law_of_whole_series_and_of_their_future(tmp_path):
    """The bound is near that of the known law, for whole series and for the rest of others, and the CRPS of forecasts
    is near that of the exact conditional law."""
    places, horizon, random = 16, 4, np.random.default_rng(0)
    cov = covariance(places, FIRST, SECOND)
    draws = random.multivariate_normal(np.zeros(places), cov, 3200)[:, None].astype("float32")
    train, test = with_gaps(draws[:3000], random), draws[3000:]
    np.save(tmp_path / "series.npy", train)
    iw.train(str(tmp_path / "series.npy"), out=tmp_path / "run", data=iw.DataConfig(layout="NCL", missing=True))
    model = iw.load(tmp_path / "run")
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * cov)[1]
    for series in (test, with_gaps(test, random)):
        excess = excess_of(model, series, cov)
        assert -4 * excess.std() / len(test) ** 0.5 < excess.mean() < 0.04 * entropy
    series = test[:16].astype(float)
    found = forecast_test(
        {"model": lambda past, h, n: model.forecast(past, h, n, seed=0, steps=50)}, series, horizon, np.ones(1)
    )
    laws = [conditional(np.zeros(places), cov, past) for past in series[:, 0, :-horizon]]
    mean, std = np.stack([law[0] for law in laws]), np.sqrt(np.diag(laws[0][1]))
    best = normal_crps(mean, std, series[:, 0, -horizon:]).mean()
    crps = found["model"]["crps"].value
    print(f"excess {excess.mean():.3f} of {entropy:.3f} nats; CRPS {crps / best:.3f} of the exact law's")
    assert 0.95 < crps / best < 1.1
    assert abs(found["model"]["coverage_90"].value - 0.9) < 0.06
