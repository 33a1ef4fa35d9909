"""`inkwash forecast`: the files hold what the library draws, and bad input ends in one line."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from faults import run_cli, tiny, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.core.config import DataConfig
from inkwash.training.fit import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of series of 8 places and 2 channels."""
    folder = tmp_path_factory.mktemp("forecast")
    np.save(folder / "series.npy", np.random.default_rng(0).normal(size=(12, 8, 2)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(replace(tiny(folder / "series.npy", steps=2), data=DataConfig(layout="NLC")), folder / "run")
    return folder / "run"


def forecast(run, out, *words):
    return run_cli(["forecast", run, *words, "--out", out, "-n", 5, "--steps", 2])


def test_files_hold_the_draws_and_their_quantiles(run, tmp_path, capsys):
    past = np.random.default_rng(1).normal(size=(3, 20, 2)).astype(np.float32)
    past[0, 17, 0] = np.nan
    np.save(tmp_path / "past.npy", past)
    assert forecast(run, tmp_path / "out", tmp_path / "past.npy", "--horizon", 3) == 0
    draws = np.load(tmp_path / "out" / "draws.npy")
    assert np.array_equal(draws, iw.load(run).forecast(past, 3, 5, seed=0, steps=2))
    with (tmp_path / "out" / "quantiles.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 3 * 2
    for line in lines:
        drawn = draws[:, int(line["series"]), int(line["ahead"]) - 1, int(line["channel"])].astype(float)
        assert float(line["q25"]) == np.quantile(drawn, 0.25)
        assert float(line["q95"]) == np.quantile(drawn, 0.95)
    with Image.open(tmp_path / "out" / "forecast.png") as picture:
        assert picture.format == "PNG"
    assert "past      5 places of 3 series; 3 places ahead, drawn 5 times" in capsys.readouterr().out


def test_the_end_of_a_held_out_series_and_a_single_series_are_forecast(run, tmp_path):
    held_out = iw.Run(run).dataset().data[iw.Run(run).split()[1][1]]
    np.save(tmp_path / "one.npy", held_out[:-2])
    assert forecast(run, tmp_path / "a", 1) == 0
    assert forecast(run, tmp_path / "b", tmp_path / "one.npy", "--horizon", 2) == 0
    a, b = (np.load(tmp_path / name / "draws.npy") for name in "ab")
    assert a.shape == (5, 1, 2, 2)
    assert np.array_equal(a, b)


def test_a_past_that_is_not_there_is_said_to_be_not_there(run, tmp_path, capsys):
    assert forecast(run, tmp_path / "out", tmp_path / "nowhere") == 3
    assert "nowhere: got no such file, need a picture or a file such as example.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([99], 3, "held out"),
        (["missing.npy"], 3, "missing.npy"),
        ([0, "--horizon", 8], 2, "horizon: got 8, need 1 to 7"),
        ([0, "--horizon", 0], 2, "horizon"),
        ([0, "--method", "pigdm"], 2, "method"),
    ],
)
def test_what_does_not_fit_is_one_line(words, code, message, run, tmp_path, capsys):
    assert forecast(run, tmp_path / "out", *words) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_past_that_is_too_short_says_how_long_it_must_be(run, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.zeros((1, 3, 2)))
    assert forecast(run, tmp_path / "out", tmp_path / "short.npy", "--horizon", 2) == 3
    assert "need (N, at least 6, 2)" in capsys.readouterr().err


def test_vectors_have_no_future(finished_run, tmp_path, capsys):
    assert forecast(finished_run, tmp_path, 0) == 2
    assert "need a model of series" in capsys.readouterr().err
