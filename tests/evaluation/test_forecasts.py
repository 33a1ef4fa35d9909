"""Forecasters against laws in closed form, and the forecasts of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
from autoregression import conditional, covariance
from bugs import bug
from faults import tiny

import inkwash as iw
from inkwash.core.config import DataConfig, EvaluateConfig, SamplingConfig
from inkwash.core.errors import ConfigError
from inkwash.data.dataset import load_dataset
from inkwash.evaluation import forecasts
from inkwash.evaluation.evaluate import evaluate
from inkwash.evaluation.forecasts import forecast_test, season_of, seasonal_naive
from inkwash.training.fit import fit

FIRST, SECOND = 2 * 0.95 * np.cos(np.pi / 5), -(0.95**2)
"""The weights of `ar2`."""
NORMAL = forecasts._normal


def exact(past, horizon, n):
    """Draws of the conditional law of `ar2`."""
    places = past.shape[-1] + horizon
    laws = [conditional(np.full(places, 5.0), covariance(places, FIRST, SECOND), each) for each in past[:, 0]]
    random = np.random.default_rng(1)
    return np.stack([random.multivariate_normal(mean, cov, n) for mean, cov in laws], 1)[:, :, None]


def scores_of(forecaster, series, horizon):
    return forecast_test({"it": forecaster}, series, horizon, np.full(1, 2.0))["it"]


def test_the_exact_law_is_covered_and_its_crps_is_the_known_one():
    """The expected CRPS of a normal law of its own truth is its standard deviation over the root of pi."""
    series = load_dataset("ar2").data[:60, None, :30].astype(float)
    found = scores_of(exact, series, 10)
    std = np.diag(conditional(np.full(30, 5.0), covariance(30, FIRST, SECOND), series[0, 0, :20])[1]) ** 0.5
    for name, known in (("crps", std.mean() / np.pi**0.5 / 2), ("coverage_50", 0.5), ("coverage_90", 0.9)):
        assert abs(found[name].value - known) < 4.5 * found[name].std_error
        assert found[name].std_error < 0.12 * known


def test_the_season_of_a_swing_is_its_period():
    assert season_of(load_dataset("ar2").data[:500, None].astype(float)) == 10
    at = np.arange(40)
    assert season_of(np.sin(2 * np.pi * (at + np.arange(7)[:, None]) / 7)[:, None]) == 7
    assert season_of(np.random.default_rng(0).normal(size=(20, 1, 30)).cumsum(2)) == 1


def test_a_periodic_series_goes_on_for_certain():
    series = np.tile(np.random.default_rng(0).normal(size=(3, 2, 5)), 4)
    draws = seasonal_naive(5, seed=0)(series[..., :12], 8, 4)
    assert np.array_equal(draws, np.broadcast_to(series[..., 12:], (4, 3, 2, 8)))


@bug("no season adds to the spread", forecasts, "_normal", lambda m, s, n, seed: NORMAL(m, s[..., :1], n, seed))
def test_the_naive_forecast_is_the_law_of_a_random_walk():
    """The walk's law after h steps has h times the variance of a step, and so has that of one season later."""
    steps = np.random.default_rng(0).normal(size=(100, 1, 300))
    for season in (1, 3):
        walk = steps.reshape(100, 1, -1, season).cumsum(2).reshape(100, 1, -1)
        found = scores_of(seasonal_naive(season, seed=0), walk, 6)
        std = np.sqrt(1 + np.arange(6) // season)
        assert abs(found["crps"].value - std.mean() / np.pi**0.5 / 2) < 4.5 * found["crps"].std_error
        assert abs(found["coverage_90"].value - 0.9) < 4.5 * found["coverage_90"].std_error


def test_an_autoregression_is_forecast_nearly_as_by_its_law():
    pytest.importorskip("statsmodels")
    series = load_dataset("ar2").data[:15, None].astype(float)
    best, found = scores_of(exact, series, 10), scores_of(forecasts.autoregression(seed=0), series, 10)
    naive = scores_of(seasonal_naive(10, seed=0), series, 10)
    assert 0.9 < found["crps"].value / best["crps"].value < 1.25 < naive["crps"].value / best["crps"].value
    constant = forecasts.autoregression(seed=0)(np.full((1, 1, 20), 3.0), 2, 4)
    assert (constant == 3).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of series of two channels."""
    folder = tmp_path_factory.mktemp("forecasts")
    np.save(folder / "series.npy", np.random.default_rng(0).normal(size=(90, 2, 12)).cumsum(2) * [[1], [5]])
    return fit(
        replace(tiny(folder / "series.npy", steps=2), data=DataConfig(layout="NCL")), folder / "run", report=False
    )


QUICK = EvaluateConfig(examples=16, bound_terms=4, sampling=SamplingConfig(steps=5))


@pytest.mark.usefixtures("quick_evaluation")
def test_an_evaluation_scores_forecasts_of_held_out_series(run, monkeypatch):
    monkeypatch.setattr(forecasts, "find_spec", lambda name: None)
    monkeypatch.setattr(forecasts, "DRAWS", 8)
    found = evaluate(run.path, replace(QUICK, forecasts=2, horizon=4))["forecasts"]
    model, held_out = run.model(), run.dataset().data[run.split()[1][:2]]
    draws = model.forecast(held_out[..., :8], 4, 8, seed=0, steps=forecasts.STEPS)
    train = run.dataset().data[run.split()[0]]
    unit = train.std((0, 2), keepdims=True)
    expected = forecasts.NUMBERS["crps"]((draws / unit).reshape(8, -1), (held_out[..., 8:] / unit).ravel()).mean()
    assert found["scores"]["model"]["crps"]["value"] == pytest.approx(expected, rel=1e-6)
    assert (found["series"], found["horizon"], set(found["scores"])) == (2, 4, {"model", "seasonal_naive"})
    page = (run.path / "evaluation" / "report.html").read_text("utf-8")
    assert "<h2>Forecasts</h2>" in page
    assert "--forecasts 2" in page


@pytest.mark.usefixtures("quick_evaluation")
def test_a_constant_channel_is_forecast_exactly(tmp_path, monkeypatch):
    """A channel of one value has no error, so that the mean score over both is half that of the other."""
    monkeypatch.setattr(forecasts, "DRAWS", 8)
    series = np.random.default_rng(0).normal(size=(90, 12, 2)).cumsum(1)
    series[..., 0] = 3.0
    np.save(tmp_path / "series.npy", series)
    run = fit(
        replace(tiny(tmp_path / "series.npy", steps=2), data=DataConfig(layout="NLC")), tmp_path / "run", report=False
    )
    found = evaluate(run.path, replace(QUICK, forecasts=2, horizon=4))["forecasts"]["scores"]["model"]["crps"]["value"]
    held_out = run.dataset().data[run.split()[1][:2]]
    draws = run.model().forecast(held_out[:, :8], 4, 8, seed=0, steps=forecasts.STEPS)[..., 1]
    unit = run.dataset().data[run.split()[0]][..., 1].std()
    other = forecasts.NUMBERS["crps"]((draws / unit).reshape(8, -1), (held_out[:, 8:, 1] / unit).ravel()).mean()
    assert found == pytest.approx(other / 2, rel=1e-6)


def test_a_missing_package_is_said_in_one_line():
    from inkwash.evaluation.calibration import Mean

    scores = dict.fromkeys(forecasts.NUMBERS, Mean(0.2, 0.01))
    found = forecasts.Forecasts(2, 3, 64, 7, {"model": scores, "seasonal_naive": scores})
    *_, last = found.lines()
    assert last.strip() == "AutoReg is not compared: no package statsmodels; pip install 'inkwash[forecast]'"
    assert list(found.warnings()) == [
        "too sure: 20.0% of the places forecast lie within the central 50 % of the draws",
        "too sure: 20.0% of the places forecast lie within the central 90 % of the draws",
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"horizon": 3}, "horizon: got 3"),
        ({"forecasts": 2, "horizon": 5}, "horizon: got 5 of 12 places, need a past of at least 8"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_the_work(config, words, run):
    with pytest.raises(ConfigError, match=words):
        evaluate(run.path, replace(QUICK, **config))


def test_only_series_have_forecasts():
    with pytest.raises(ConfigError, match="no series"):
        forecasts.horizon_of(iw.load_dataset("digits").spec, EvaluateConfig(forecasts=2))
