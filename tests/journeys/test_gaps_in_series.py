"""Series with missing stretches, from an array with NaN to samples, bounds, completions and an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import tiny

import inkwash as iw
from inkwash.core.config import DataConfig, EvaluateConfig, SamplingConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.data.spec import DataSpec
from inkwash.evaluation import forecasts
from inkwash.evaluation.evaluate import evaluate
from inkwash.training.build import build_network
from inkwash.training.fit import fit
from inkwash.training.resolve import resolve

QUICK = EvaluateConfig(examples=16, bound_terms=4, sampling=SamplingConfig(steps=5), forecasts=2, horizon=3)


def with_gaps(layout, count=110):
    """Series of 12 places; channel 1, where there is one, and every third series have no gap."""
    random = np.random.default_rng(0)
    series = random.normal(size=(count, 2, 12)).cumsum(2)
    starts = random.integers(0, 9, count)
    for i in range(count):
        if i % 3:
            series[i, 0, starts[i] : starts[i] + 4] = np.nan
    return {"NL": series[:, 0], "NCL": series, "NLC": np.moveaxis(series, 1, 2)}[layout].astype(np.float32)


def trained(folder, series, layout):
    np.save(folder / "series.npy", series)
    config = replace(tiny(folder / "series.npy", steps=2), data=DataConfig(layout=layout, missing=True))
    return fit(config, folder / "run", report=False)


@pytest.mark.usefixtures("quick_evaluation")
@pytest.mark.parametrize("layout", ["NL", "NLC", "NCL"])
@pytest.mark.quick_cases("NLC")
def test_series_with_gaps_go_all_the_way(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(forecasts, "DRAWS", 4)
    monkeypatch.setattr(forecasts, "STEPS", 3)
    series = with_gaps(layout)
    run = trained(tmp_path, series, layout)
    model = run.model()
    assert model.units.spec.missing == (True, False)[: 1 if layout == "NL" else 2]
    drawn = model.sample(3, seed=0, steps=3)
    assert (drawn.shape, drawn.dtype) == ((3, *series.shape[1:]), series.dtype)
    assert np.isfinite(drawn).all()
    completed = model.impute(series[:4], 2, seed=0, steps=3)
    assert np.isfinite(completed).all()
    assert np.array_equal(np.where(np.isnan(series[:4]), np.nan, completed[0]), series[:4], equal_nan=True)
    bound = model.bound(series[:6], terms=4).total
    assert bound.isfinite().all()
    found = evaluate(run.path, QUICK)
    assert found["forecasts"]["series"] == 2
    assert np.isfinite(found["two_sample"]["accuracy"])


def test_what_stands_where_nothing_was_observed_makes_no_difference():
    spec = DataSpec((2, 12), "NCL", "float32", -3.0, 3.0, None, missing=(True, True))
    network = build_network(resolve(tiny("series"), spec), spec)
    for parameter in network.parameters():  # none is zero, as some are at the start
        torch.nn.init.normal_(parameter, 0, 0.2)
    x, present = torch.randn(4, 2, 12), torch.rand(4, 2, 12) < 0.6
    level = torch.zeros(4)
    seen = network(x, level, present=present)
    torch.testing.assert_close(network(x.where(present, 7.0), level, present=present), seen)
    assert not torch.allclose(network(x * present, level), seen), "the network sees what is missing"


def test_a_channel_without_gaps_may_have_none_later(tmp_path):
    run = trained(tmp_path, with_gaps("NCL", 12), "NCL")
    other = with_gaps("NCL", 12)
    other[5, 1, 3] = np.nan
    with pytest.raises(DataError, match=r"data\[5\]: got a missing value"):
        run.model().bound(other)


@pytest.mark.parametrize(
    ("array", "config", "words"),
    [
        (with_gaps("NL", 4), DataConfig(layout="NL"), "nan"),
        (np.zeros((4, 3, 3)), DataConfig(layout="NHW", missing=True), "vectors or series"),
        (np.arange(24).reshape(4, 6), DataConfig(layout="NL", missing=True), "vectors or series of real numbers"),
    ],
    ids=["without the option", "images", "integers"],
)
def test_gaps_that_have_no_place_are_refused(array, config, words):
    with pytest.raises(DataError, match=words):
        iw.load_dataset(array, config)


def test_a_spec_of_images_has_no_gaps():
    with pytest.raises(ConfigError, match="channel of a series"):
        DataSpec((1, 4, 4), "NHW", "float32", 0.0, 1.0, None, missing=(True,)).check("spec")
