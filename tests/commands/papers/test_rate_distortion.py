"""`inkwash papers rate-distortion`: independent, uniform entries have a known rate and known distortions."""

import json

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli

import inkwash as iw
from inkwash.commands.papers import rate_distortion
from inkwash.commands.papers.rate_distortion import PAPER_LAST, PAPER_RATE, PAPER_RMSE, Curve, claims_of, curve_of
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.denoise import Levels

SPEC = DataSpec((1, 4, 4), "NHW", "uint8", 0.0, 3.0, 4)
DATA = np.random.default_rng(0).integers(0, 4, (96, 4, 4), dtype=np.uint8)


def exact_curve():
    """That of the exact model: without log-odds of its own, Bayes' rule takes all levels to be equally probable."""
    denoiser = iw.Denoiser(
        lambda x_t, t: torch.zeros(*x_t.shape, 4),
        iw.Gaussian(iw.LogLinearSchedule(100)),
        Levels(SPEC.lattice),
        "small",
    )
    return curve_of(iw.Diffusion(denoiser, SPEC.shape, fit_transform(SPEC, DATA), steps=100), DATA, seed=0)


@bug("levels of 256", rate_distortion, "_scale", lambda model: 1.0)
def test_it_starts_from_the_spread_of_the_data_and_ends_with_nothing_left():
    """Without bits the best guess is the mean, 1.5 of 0 to 3; two bits an entry say all there is to say."""
    curve = exact_curve()
    assert curve.distortion[0] == pytest.approx(255 / 3 * np.sqrt(((DATA - 1.5) ** 2).mean()), rel=0.01)
    assert curve.distortion[-1] < 1
    assert curve.rate[0] == pytest.approx(0, abs=0.01)
    assert 2 < curve.total < 2.3  # a grid of 100 steps costs a little
    assert (curve.times[0], curve.times[-1]) == (1.0, pytest.approx(0.01))


def test_both_curves_are_monotone():
    curve = exact_curve()
    assert len(curve.times) == len(curve.rate) == len(curve.distortion) == 100
    assert np.all(np.diff(curve.rate) > -1e-3)
    assert np.all(np.diff(curve.distortion) < 3)  # the noise of each time is its own


def test_the_papers_own_numbers_bear_out_its_claims():
    """The paper's figure 5 falls steeply: from about 60 to 5 within the first half bit."""
    paper = Curve([1.0, 0.5, 0.1, 0.001], [0.0, 0.1, 0.5, PAPER_RATE], [60.0, 20.0, 5.0, PAPER_RMSE], PAPER_LAST)
    assert [claim.holds for claim in claims_of(paper)] == [True, True]


@pytest.mark.slow
def test_the_command_adds_up_to_the_bound_of_the_library(tmp_path, capsys):
    words = ["papers", "rate-distortion", "--steps", "2", "--chain", "24", "--width", "8", "--examples", "6", "--out"]
    assert run_cli([*words, tmp_path]) == 0
    found = json.loads((tmp_path / "rate-distortion.json").read_text())
    run = iw.Run(tmp_path / "run")
    bound = run.model().bound(run.dataset().data[run.split()[1][:6]], seed=0)
    assert found["total"] == pytest.approx(bound.mean().total, rel=1e-12)
    assert {path.suffix for path in tmp_path.glob("rate-distortion*")} == {".json", ".md", ".png"}
    assert "Beside the paper:" in capsys.readouterr().out


def test_data_without_levels_has_no_bits(tmp_path, capsys):
    assert run_cli(["papers", "rate-distortion", "--data", "ar2", "--out", tmp_path]) == 2
    assert "data: got ar2, need images with levels" in capsys.readouterr().err
