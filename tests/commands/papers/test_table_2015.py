"""`inkwash papers table-2015`: K of data that is distributed like the prior, and the paper's own numbers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bugs import bug

import inkwash as iw
from inkwash.commands.output import Output
from inkwash.commands.papers import table_2015
from inkwash.commands.papers.table_2015 import ROWS, Figures, Options, Outcome, claims_of, figures_of, measure
from inkwash.core.display import Display
from inkwash.core.errors import NonFiniteError
from inkwash.core.shapes import over
from inkwash.data.dataset import load_dataset
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform

SWISS, HEARTBEAT, LEAVES = ROWS[:3]


def exact_run(shape, layout, scale):
    """A run whose model is exact: normal data of any scale, of which E[x | x_t] is alpha x_t in model units."""
    schedule = iw.LinearSchedule(100)
    denoiser = iw.Denoiser(
        lambda x_t, t: over(schedule.alpha(t), x_t) * x_t, iw.Gaussian(schedule), predicts="x", variance="large"
    )
    data = 5 + scale * np.random.default_rng(0).standard_normal((2000, *(side for side in shape if side > 1)))
    spec = DataSpec(shape, layout, "float64", float(data.min()), float(data.max()), None)
    model = iw.Diffusion(denoiser, shape, fit_transform(spec, data), steps=100, dtype=torch.float64)
    return SimpleNamespace(
        model=lambda: model, dataset=lambda: SimpleNamespace(data=data), split=lambda: (None, np.arange(len(data)))
    )


@bug("nats for bits", table_2015, "math", SimpleNamespace(log=lambda x: 1.0, sqrt=math.sqrt))
@pytest.mark.parametrize(
    ("row", "shape", "layout"), [(SWISS, (2,), "ND"), (LEAVES, (1, 3, 3), "NHW")], ids=["points", "images"]
)
def test_data_like_the_prior_has_k_equal_to_l_null_in_any_unit(row, shape, layout):
    """Its entropy is half of log2(2 pi e) bits an entry, 2.047."""
    figures = figures_of(exact_run(shape, layout, scale=7.0), row, Options(examples=1000))
    entries = 2 if row is SWISS else 1
    assert figures.null == pytest.approx(-2.047 * entries, rel=0.02)
    assert figures.gain == pytest.approx(0, abs=0.1)


def test_the_papers_own_numbers_bear_out_its_claims():
    for row in ROWS[:3]:
        bound, gain = float(row.bound), float(row.gain)
        assert all(claim.holds for claim in claims_of(Outcome(row, Figures(bound, 0.01, bound - gain, bound, ()))))
    null = 20 * (0.2 * np.log2(0.2) + 0.8 * np.log2(0.8))  # 20 bits of the rate 0.2
    assert float(HEARTBEAT.bound) - float(HEARTBEAT.gain) == pytest.approx(null, abs=1e-3)


def test_a_chain_that_is_no_better_than_its_prior_contradicts_it():
    (claim,) = claims_of(Outcome(SWISS, Figures(-4.1, 0.01, -4.1, -4.1, ())))
    assert claim.holds is False


def test_a_row_that_diverges_says_so(tmp_path, monkeypatch):
    def diverge(*args, **options):
        raise NonFiniteError("step 3", "loss nan", "finite numbers")

    monkeypatch.setattr(table_2015, "fit", diverge)
    found = measure(Options(most=20), Output(tmp_path, Display(shown=False)))
    assert [row[3] for row in found.tables[0].rows] == ["diverged"] * 4
    assert set(found.numbers["errors"]) == {"swiss-roll", "heartbeat", "dead-leaves", "digits"}
    assert "MNIST was left out; --mnist names a file of it." in found.words


def test_images_get_noise_of_a_level_and_points_stay(tmp_path):
    """The heartbeats' prior has their rate, and the chain the paper's number of steps."""
    options = Options(most=50)
    config = table_2015._config(LEAVES, options, tmp_path)
    noisy, clean = np.load(config.source), load_dataset("dead-leaves").data[:50].reshape(50, 16, 16)
    assert 0 <= (noisy - clean).min() <= (noisy - clean).max() <= 1
    assert (noisy - clean).mean() == pytest.approx(0.5, abs=0.01)
    heart = table_2015._config(HEARTBEAT, options, tmp_path)
    assert (heart.source, heart.process.rate, heart.process.steps) == ("heartbeat", 0.2, 2000)
    assert heart.process.rate == pytest.approx(load_dataset("heartbeat").data.mean())


@pytest.mark.slow
def test_the_swiss_roll_and_heartbeats_are_learned(tmp_path, monkeypatch):
    monkeypatch.setattr(table_2015, "ROWS", (*ROWS[:2], ROWS[-1]))
    found = measure(Options(steps=250), Output(tmp_path, Display(shown=False)))
    assert all(claim["holds"] for claim in found.numbers["claims"] if "probable than" in claim["text"])
    assert found.numbers["figures"]["heartbeat"]["bound"] < -np.log2(5) + 0.05  # K is a lower bound
