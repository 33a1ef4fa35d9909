"""Series with missing stretches, and of unequal length: to samples, bounds, completions and an evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.core.config import DataConfig, EvaluateConfig, SamplingConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import generator
from inkwash.data.spec import DataSpec
from inkwash.evaluation import forecasts
from inkwash.evaluation.evaluate import evaluate
from inkwash.model import lengths, walking
from inkwash.model.lengths import places_of
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
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NL", "NLC", "NCL"])
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


LENGTHS = np.random.default_rng(3).choice([4, 7, 12], 110, p=[0.5, 0.3, 0.2])


@pytest.fixture(scope="module")
def ragged_run(tmp_path_factory):
    """A run of series of 4, 7 or 12 places, and two channels."""
    random = np.random.default_rng(0)
    series = [random.normal(size=(k, 2)).cumsum(0).astype(np.float32) for k in LENGTHS]
    return series, train(series, tmp_path_factory.mktemp("ragged") / "run")


def train(series, out):
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        small = tiny("", steps=2)
        options = {"process": small.process, "network": small.network, "train": small.train}
        return iw.train(series, out, **options)


@bug("every length as likely", walking, "drawn_lengths", lambda c, r: lengths.drawn_lengths((np.array(c) > 0) * 1, r))
@bug("lengths by place in the call", walking, "generator", lambda seed, *key: generator(seed, key[0]))
def test_samples_of_unequal_length_come_back_as_they_went_in(ragged_run):
    """They are a list of arrays, as long as those of the data are, and sample i is the same however many there are."""
    _, run = ragged_run
    model = run.model()
    drawn = model.sample(400, seed=1, steps=1)
    assert all(series.dtype == np.float32 and np.isfinite(series).all() for series in drawn)
    found = np.array([len(series) for series in drawn])
    for length in (4, 7, 12):
        share = (length == LENGTHS).mean()
        assert abs((found == length).mean() - share) < 4 * (share * (1 - share) / 400) ** 0.5
    assert {series.shape[1:] for series in drawn} == {(2,)}
    again = model.sample(3, seed=1, first=2, steps=1)
    assert all(np.array_equal(a, b) for a, b in zip(again, drawn[2:5], strict=True))
    given = model.sample(3, seed=1, steps=1, lengths=[12, 4, 5])
    assert [len(series) for series in given] == [12, 4, 5]
    assert [len(series) for series in model.sample(2, seed=1, steps=1, lengths=6)] == [6, 6]


def test_samples_of_unequal_length_go_back_in(ragged_run):
    """A list of series is the array that is NaN beyond their ends; what comes out is a list again."""
    model, options = ragged_run[1].model(), {"seed": 1, "steps": 2}
    drawn = model.sample(3, **options, lengths=[12, 4, 5])
    padded = np.stack([np.pad(each, ((0, 12 - len(each)), (0, 0)), constant_values=np.nan) for each in drawn])
    for series in (drawn, [torch.from_numpy(each) for each in drawn]):
        assert torch.equal(model.bound(series, terms=2, seed=0).total, model.bound(padded, terms=2, seed=0).total)
    assert np.array_equal(model.impute(drawn, 2, **options), model.impute(padded, 2, **options))
    assert model.picture(drawn).tobytes() == model.picture(padded).tobytes()
    known = model * iw.Observed(~np.isnan(padded[1]), np.nan_to_num(padded[1]))
    (completed,) = known.sample(1, **options)
    assert np.array_equal(completed[:4], drawn[1])
    assert [each.shape for each in model.relatives(completed, 0.5, 2, **options)] == [(12, 2)] * 2
    for wrong in ([np.zeros((13, 2))], [np.zeros((4, 3))], [np.zeros(4)], [np.zeros((0, 2))], [np.array([["a", "b"]])]):
        with pytest.raises(DataError, match=r"x\[0\]: got shape"):
            model.bound(wrong)


@pytest.mark.parametrize("wrong", [0, 13, [1, 2], 1.5, [1, 2, 13]])
def test_bad_lengths_are_refused(wrong, ragged_run):
    with pytest.raises(ConfigError, match=r"lengths: got .* need a whole number from 1 to 12, or 3 of them"):
        ragged_run[1].model().sample(3, lengths=wrong)


def test_series_of_one_length_have_no_lengths():
    with pytest.raises(ConfigError, match="all have one shape"):
        places_of(iw.Diffusion(iw.Denoiser(lambda x, t: x, iw.Gaussian(iw.LinearSchedule())), (1, 4)).units, 2, 3)


@pytest.mark.usefixtures("quick_evaluation")
def test_unequal_lengths_are_evaluated_and_written(ragged_run, tmp_path, capsys):
    series, run = ragged_run
    found = evaluate(run.path, replace(QUICK, forecasts=0, horizon=None), data=series)
    assert np.isfinite(found["two_sample"]["accuracy"])
    assert run_cli(["sample", run.path, "-n", 5, "--steps", 1, "--seed", 1, "--out", tmp_path]) == 0
    written, drawn = np.load(tmp_path / "samples.npy"), run.model().sample(5, seed=1, steps=1)
    assert written.shape == (5, 12, 2)
    for row, each in zip(written, drawn, strict=True):
        assert np.array_equal(row[: len(each)], each)
        assert np.isnan(row[len(each) :]).all()
    assert "a series is NaN beyond its end" in capsys.readouterr().out


def test_time_stamps_are_a_channel_beside_the_series(tmp_path):
    """As a condition of the shape of the series, they are seen place by place: the network has a channel for them."""
    random = np.random.default_rng(0)
    times = random.exponential(size=(40, 8)).cumsum(1)
    np.save(tmp_path / "series.npy", np.sin(times))
    np.save(tmp_path / "times.npy", times)
    config = replace(tiny(tmp_path / "series.npy", steps=2), data=DataConfig(layout="NL", condition="times.npy"))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        model = fit(config, tmp_path / "run").model()
    assert model.condition.given.spec.size == (8,)
    draws = model.forecast(np.sin(times[:2, :6]), 2, 3, given=times[:2], seed=0, steps=2)
    assert draws.shape == (3, 2, 2)
    later = times[:2] + 5 * (np.arange(8) > 5)
    assert not np.array_equal(draws, model.forecast(np.sin(times[:2, :6]), 2, 3, given=later, seed=0, steps=2))
