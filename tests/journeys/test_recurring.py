"""Tables in which numbers recur: conditions and files of the exact model, and runs from the command line to samples."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from bugs import bug
from faults import run_cli, tiny, train_words, without_pictures
from scipy.stats import kstest, norm, truncnorm
from spiked import DRY, MEAN, SHARE, SPREAD, STD, WET, pairs, pairs_model

import inkwash as iw
from inkwash.codec import laws
from inkwash.core.config import AutoencoderConfig, NetworkConfig, ProcessConfig
from inkwash.core.errors import RunDiffersError
from inkwash.data.columns import Column
from inkwash.model import where
from inkwash.posterior import smc
from inkwash.process.distributions import Normal
from inkwash.process.spike_slab import SpikeSlab
from inkwash.training.run import Run

COLUMNS = {"rain": Column("float64", recurring=(0.0,)), "heat": Column("float64")}


@bug("zero is within every range", SpikeSlab, "within", lambda self, low, high: (self, 0 * self.slab.mean))
@bug("ends stay at the numbers that recur", where, "_exclude_recurring", lambda *about: None)
@bug("a normal law in place of the spike", smc, "prediction_of", lambda denoiser: None)
def test_rows_where_it_rains_follow_the_law_of_these():
    x = (pairs_model(COLUMNS) * iw.Where("rain>0")).sample(400, seed=0, steps=40)
    assert (x[:, 0] > 0).all()
    assert kstest(x[:, 0], truncnorm(-MEAN / STD, np.inf, MEAN, STD).cdf).statistic < 0.1
    assert kstest(x[:, 1], norm(WET, SPREAD).cdf).statistic < 0.1


def test_rows_where_it_does_not_rain_follow_the_law_of_these():
    x = (pairs_model(COLUMNS) * iw.Where("rain=0")).sample(400, seed=0, steps=40, method=iw.SMC())
    assert (x[:, 0] == 0).all()
    assert kstest(x[:, 1], norm(DRY, SPREAD).cdf).statistic < 0.1


def test_a_condition_on_another_column_changes_how_often_it_rains():
    x = (pairs_model(COLUMNS) * iw.Where("heat>0.2")).sample(400, seed=0, steps=40)
    dry, wet = (share * norm(mean, SPREAD).sf(0.2) for share, mean in ((SHARE, DRY), (1 - SHARE, WET)))
    assert np.mean(x[:, 0] == 0) == pytest.approx(dry / (dry + wet), abs=0.05)


def test_files_come_back():
    """Numbers of two decimals, some of which are zero."""
    x, model = pairs(30).numpy().round(2), pairs_model(COLUMNS)
    file = iw.compress(model, x, mode="bits-back", steps=5)
    assert np.array_equal(iw.decompress(model, file), x)


@bug("spikes take no code", torch, "cat", lambda parts, dim: parts[-1])
def test_masses_of_cells_are_those_of_their_spikes_and_of_the_slab():
    """Cells of a tenth: together they have all the mass, and that of zero has the spike beside its part of the slab."""
    law = SpikeSlab(torch.tensor([[[0.4, 1.1]]]), torch.zeros(1, 1), Normal(torch.tensor([[0.2]]), torch.tensor(0.9)))
    edges = (torch.arange(-80, 82) - 0.5) / 10
    masses = torch.stack([laws.log_mass(law, *ends)[0, 0].exp() for ends in pairwise(edges[:, None, None])])
    assert float(masses.sum()) == pytest.approx(1, abs=1e-5)
    share = 1 / (1 + math.exp(0.7))
    slab = norm(0.2, 0.9**0.5).cdf(0.05) - norm(0.2, 0.9**0.5).cdf(-0.05)
    assert float(masses[80]) == pytest.approx(share + (1 - share) * slab, abs=1e-5)


def frame(count=300, seed=0):
    random = np.random.default_rng(seed)
    wet = random.random(count) < 0.25
    return pd.DataFrame(
        {
            "rain": np.where(wet, random.lognormal(0, 1, count), 0.0),
            "gain": np.where(random.random(count) < 0.3, random.integers(1, 5000, count), 0),
            "heat": (random.normal(20, 4, count) - 6 * wet).round(1),
            "town": np.where(wet, "oslo", "lima"),
        }
    )


@pytest.mark.parametrize("names", [["rain", "heat"], ["rain", "gain", "heat", "town"]])
def test_a_table_goes_from_a_file_to_samples_and_back(names, tmp_path, monkeypatch, capsys):
    """Printed, stored, resumed bit for bit, sampled with zeros and decimals, evaluated, and imputed."""
    without_pictures(monkeypatch)
    path, run = tmp_path / "t.csv", tmp_path / "run"
    table = frame()[names]
    table.to_csv(path, index=False)
    assert run_cli(train_words(path, run)) == 0
    assert "numbers that recur, each with a probability: rain" in capsys.readouterr().out
    model = iw.load(run)
    assert model.transform.spec.columns["rain"].recurring == (0.0,)
    x = iw.data.to_frame(model.transform.spec, model.sample(200, seed=0))
    assert 0.4 < (x["rain"] == 0).mean() < 1
    assert np.array_equal(x["heat"], x["heat"].round(1))
    assert bool(model.bound(table[:20]).total.isfinite().all())
    hidden = table[:10].copy()
    hidden.loc[::2, "rain"] = np.nan
    filled = model.impute(hidden, 1, seed=0)
    assert (np.asarray(filled["rain"] if hasattr(filled, "columns") else filled[0][:, 0]) >= 0).all()
    assert run_cli(train_words(path, run)) == 0  # the finished run


def test_a_run_from_before_is_not_resumed_with_numbers_that_recur(tmp_path, monkeypatch):
    """Columns that were found without them have other weights: one line says so."""
    without_pictures(monkeypatch)
    run = iw.train(frame(), tmp_path / "run", config=tiny("t"))
    header = run.header()
    old = replace(header.transform, spec=header.transform.spec.without_recurring())
    monkeypatch.setattr(Run, "header", lambda self: replace(header, transform=old))
    with pytest.raises(RunDiffersError, match=r"data.masses: got rain \(1\), gain \(1\), need no numbers that recur"):
        iw.train(frame(), tmp_path / "run", config=tiny("t"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--denoiser.predicts", "mixture"], "denoiser.predicts: got mixture"),
        (["--denoiser.variance", "learned"], "denoiser.variance: got learned, need small, large or analytic"),
        (["--data.masses", "rain", "--model", "vae"], "data.masses: got rain, need no --data.masses for the model vae"),
        (["--data.masses", "rains"], "data.masses: got 'rains', need none, or columns of numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(words, message, tmp_path, capsys):
    path = tmp_path / "t.csv"
    frame()[["rain", "heat"]].to_csv(path, index=False)
    assert run_cli(["train", path, "--out", tmp_path / "run", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_vae_gives_every_number_a_density(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    config = replace(
        tiny("t"), model="vae", network=NetworkConfig(), process=ProcessConfig(), autoencoder=AutoencoderConfig(width=8)
    )
    run = iw.train(frame()[["rain", "heat"]], tmp_path / "run", config=config)
    assert not run.model().transform.spec.recurring


@pytest.mark.slow
def test_a_trained_model_has_the_entropy_and_the_zeros_of_a_known_law(tmp_path):
    """Rain and heat of a known law: the bound is within a small margin of the entropy, and never below it."""
    x = pairs(6000, seed=3).numpy() * [4.0, 5.0] + [0.0, 20.0]
    table = pd.DataFrame(x, columns=["rain", "heat"])
    run = iw.train(table, tmp_path / "run", config=iw.Config(train=iw.TrainConfig(steps=1500)), report=False)
    model, held = run.model(), pairs(3000, seed=9).numpy()
    dry = held[:, 0] == 0
    rain = np.where(dry, math.log(SHARE), math.log(1 - SHARE) + norm(MEAN, STD).logpdf(held[:, 0]) - math.log(4))
    heat = norm(np.where(dry, DRY, WET), SPREAD).logpdf(held[:, 1]) - math.log(5)
    gap = model.bound(held * [4.0, 5.0] + [0.0, 20.0], terms=40).total + torch.from_numpy(rain + heat)
    error = float(gap.std()) / len(gap) ** 0.5
    assert -3 * error < float(gap.mean()) < 0.12 + 3 * error
    samples = model.sample(4000, steps=100, seed=0)
    assert np.mean(samples[:, 0] == 0) == pytest.approx(SHARE, abs=0.03)
    assert samples[samples[:, 0] != 0, 1].mean() == pytest.approx(20 + 5 * WET, abs=0.5)
