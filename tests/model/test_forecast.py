"""Forecasts against the conditional law of an autoregression, which is known, and against `impute`."""

import numpy as np
import pytest
import torch
from autoregression import conditional, covariance
from bugs import bug
from oracles import F64, GaussianData, exact_network

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.model import forecast, walking

LENGTH, HORIZON = 12, 4
MEAN, COV = np.full(LENGTH, 3.0), covariance(LENGTH, 1.2, -0.6)
SERIES = GaussianData(MEAN.tolist(), COV.tolist())


def exact_model(channels=1, **options):
    """The model of independent channels, each of them the autoregression."""
    schedule = iw.LinearSchedule()
    network = exact_network(SERIES, schedule)

    def each_channel(x_t, t, present=None):
        return network(x_t.flatten(0, 1), t.repeat_interleave(channels)).view_as(x_t)

    denoiser = iw.Denoiser(each_channel, iw.Gaussian(schedule), predicts="x")
    return iw.Diffusion(denoiser, (channels, LENGTH), dtype=F64, **options)


def first_places(units, past, horizon):
    return forecast.with_future(units, past[..., : units.shape[1] - horizon], horizon)


@bug("the first places of a long past", walking, "with_future", first_places)
@bug("one place more is hidden", walking, "with_future", lambda u, x, h: forecast.with_future(u, x, h + 1))
def test_draws_have_the_conditional_law_of_the_autoregression():
    """Of a longer past the last places count, which for this law are more than enough."""
    n, past = 256, 3 + np.random.default_rng(0).normal(size=(1, 1, LENGTH + 5)).cumsum(2)
    options = {"steps": 20, "sampler": iw.Heun(), "method": iw.MomentMatching(8, floor=0.0)}
    draws = exact_model().forecast(torch.from_numpy(past), HORIZON, n, seed=0, **options)
    assert draws.shape == (n, 1, 1, HORIZON)
    mean, cov = conditional(MEAN, COV, past[0, 0, -(LENGTH - HORIZON) :])
    found, std = draws[:, 0, 0].numpy(), np.sqrt(np.diag(cov))
    assert np.abs((found.mean(0) - mean) / std).max() < 4.5 / n**0.5
    assert np.abs((np.cov(found.T) - cov) / np.outer(std, std)).max() < 4.5 * 2**0.5 / n**0.5


@pytest.mark.parametrize("layout", ["NLC", "NCL"])
def test_forecasts_come_in_the_layout_of_the_data_and_are_those_of_impute(layout):
    spec = DataSpec((2, LENGTH), layout, "float64", -9.0, 9.0, None)
    model = exact_model(2, transform=Transform(spec, (1.0, -5.0), (2.0, 0.5)))
    whole = spec.from_channels_first(np.random.default_rng(0).normal(size=(3, 2, LENGTH)))
    axis = layout.index("L")
    past, future = np.split(whole, [LENGTH - HORIZON], axis)
    draws = model.forecast(past, HORIZON, 5, seed=1, steps=4)
    hidden = np.concatenate([past, np.full_like(future, np.nan)], axis)
    completed = model.impute(hidden, 5, seed=1, steps=4)
    assert np.array_equal(draws, np.split(completed, [LENGTH - HORIZON], 1 + axis)[1])
    assert draws.shape == (5, *future.shape)


def test_a_place_of_the_past_may_be_unknown():
    """A past that is unknown says nothing: the draws have the law of the last places by themselves."""
    past = np.full((1, 1, LENGTH - HORIZON), np.nan)
    draws = exact_model().forecast(past, HORIZON, 256, seed=0, steps=20, sampler=iw.Heun())[:, 0, 0]
    scale = COV[0, 0]
    assert float(draws.mean()) == pytest.approx(3, abs=5 * scale**0.5 / 256**0.5)
    assert np.abs(np.cov(draws.T.numpy()) - COV[:HORIZON, :HORIZON]).max() < 6.5 * scale / 256**0.5


def of_the_longest(units, past, horizon):
    full, ends = forecast.with_future(units, past, horizon)
    return full, np.full_like(ends, units.shape[1])


@bug("a short series ends where the longest does", walking, "with_future", of_the_longest)
def test_a_short_past_of_a_model_of_unequal_lengths_is_followed_by_its_next_places():
    """The law of the first places of the autoregression is known as well; a list and an array say the same."""
    counts = (0,) * (LENGTH - 1) + (9,)
    spec = DataSpec((1, LENGTH), "NL", "float64", -99.0, 99.0, None, missing=(True,), lengths=counts)
    model = exact_model(transform=Transform(spec, (0.0,), (1.0,)))
    n, seen = 256, 5
    past = 3 + np.random.default_rng(1).normal(size=seen).cumsum()
    options = {"steps": 20, "sampler": iw.Heun(), "method": iw.MomentMatching(8, floor=0.0), "seed": 0}
    draws = model.forecast([past, np.arange(LENGTH + 9.0)], HORIZON, n, **options)
    assert draws.shape == (n, 2, HORIZON)
    mean, cov = conditional(MEAN[: seen + HORIZON], COV[: seen + HORIZON, : seen + HORIZON], past)
    found, std = draws[:, 0], np.sqrt(np.diag(cov))
    assert np.abs((found.mean(0) - mean) / std).max() < 4.5 / n**0.5
    assert np.abs((np.cov(found.T) - cov) / np.outer(std, std)).max() < 4.5 * 2**0.5 / n**0.5
    padded = np.full((2, LENGTH + 9), np.nan)
    padded[0, :seen], padded[1] = past, np.arange(LENGTH + 9.0)
    assert np.array_equal(model.forecast(padded, HORIZON, 3, **options), draws[:3])
    with pytest.raises(DataError, match=r"past: got shape \(1, 1, 5\), need \(N, at least 1\)"):
        model.forecast([past[None]], HORIZON, 2)


def test_a_past_may_be_masked_or_of_bfloat16():
    units, past = exact_model().units, np.arange(8.0).reshape(1, 1, 8)
    mask = past == 5
    expected = np.where(mask, np.nan, past)
    found = forecast.with_future(units, np.ma.masked_array(past, mask), HORIZON)
    assert np.array_equal(found[0][..., :8], expected, equal_nan=True)
    assert np.array_equal(forecast.with_future(units, torch.tensor(past).bfloat16(), HORIZON)[0][..., :8], past)


@pytest.mark.parametrize(
    ("past", "horizon", "error", "words"),
    [
        (np.zeros((2, 1, 7)), HORIZON, DataError, r"past: got shape \(2, 1, 7\), need \(N, 1, at least 8\)"),
        (np.zeros((2, 8)), HORIZON, DataError, r"got shape \(2, 8\)"),
        (np.zeros((2, 2, 8)), HORIZON, DataError, r"got shape \(2, 2, 8\)"),
        (np.zeros((0, 1, 8)), HORIZON, DataError, r"got shape \(0, 1, 8\)"),
        (np.full((2, 1, 8), "a"), HORIZON, DataError, "got values of type <U1"),
        (np.zeros((2, 1, 8)), LENGTH, ConfigError, "horizon: got 12, need 1 to 11"),
        (np.zeros((2, 1, 8)), 0, ConfigError, "horizon: got 0"),
        (np.full((2, 1, 8), np.inf), HORIZON, DataError, "got infinity"),
    ],
    ids=["too short", "no channel", "two channels", "none", "text", "all of it", "nothing", "infinite"],
)
def test_what_cannot_be_forecast_is_refused(past, horizon, error, words):
    with pytest.raises(error, match=words):
        exact_model().forecast(past, horizon, 2)


def test_other_data_has_no_future():
    plane = GaussianData([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    schedule = iw.LinearSchedule()
    model = iw.Diffusion(iw.Denoiser(exact_network(plane, schedule), iw.Gaussian(schedule), predicts="x"), (2,))
    with pytest.raises(ConfigError, match=r"shape \(2,\), need a model of series"):
        model.forecast(np.zeros((1, 1)), 1)
