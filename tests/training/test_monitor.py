"""The loss on held-out examples, of networks that start as zero: what they are left with is the noise itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import tiny

from inkwash.core.config import DenoiserConfig, ProcessConfig
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.training import loop
from inkwash.training.build import build_proposal
from inkwash.training.examples import Examples
from inkwash.training.resolve import resolve
from inkwash.training.state import start

DATA = np.random.default_rng(0).normal(size=(300, 2))
SCATTERED = np.where(np.random.default_rng(1).random(DATA.shape) < 0.5, DATA, np.nan)


def begun(data=DATA, **train):
    """Options, a state before training, and held-out examples."""
    config = replace(tiny("x", **train), process=ProcessConfig("linear", 1000), denoiser=DenoiserConfig("eps"))
    spec = DataSpec((2,), "ND", "float64", -9.0, 9.0, None, missing=(True, True) if np.isnan(data).any() else None)
    config = resolve(config, spec)
    examples = Examples(data, np.arange(len(data)), fit_transform(spec, data))
    return config, start(config, examples, torch.device("cpu")), examples


def loss_of(config, state, examples):
    return loop.held_out_losses(config.train, state, build_proposal(config), examples)[state.averages.used]


def test_it_is_that_of_the_averaged_weights():
    config, state, examples = begun()
    before = loss_of(config, state, examples)
    for parameter in state.trained.parameters():
        parameter.data.fill_(torch.nan)
    assert loss_of(config, state, examples) == before == pytest.approx(1.0, abs=0.15)


def test_it_is_weighted_by_the_proposal_of_its_times():
    """Half the mean square of the noise for every unit of log-SNR between the ends."""
    config, state, examples = begun(objective="continuous", times="log-snr-density")
    first, last = (float(state.trained.schedule.log_snr(t)) for t in (1e-3, 1.0))
    assert loss_of(config, state, examples) == pytest.approx((first - last) / 2, rel=0.15)


def without_what_is_present(x, condition):
    return x.nan_to_num(0.0), {**condition, "present": torch.ones_like(x, dtype=torch.bool)}


@bug("missing entries counted", loop, "with_present", without_what_is_present)
def test_missing_entries_do_not_count():
    """What two halves of the entries lose is what all of them lose."""
    config, state, examples = begun(SCATTERED)
    parts = [np.where(mask, DATA, np.nan) for mask in (np.isnan(SCATTERED), ~np.isnan(SCATTERED))]
    halves = [loss_of(config, state, replace(examples, data=part)) for part in parts]
    assert sum(halves) == pytest.approx(loss_of(config, state, replace(examples, data=DATA)), rel=1e-5)
    assert min(halves) > 0.3
