"""Conditions of a batch are those of its examples, and a short training finds what they say."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bugs import bug
from faults import tiny

import inkwash as iw
from inkwash.data.transform import fit_transform
from inkwash.training import loop as loop
from inkwash.training.build import build_model
from inkwash.training.examples import Examples
from inkwash.training.loop import draw_batch, training
from inkwash.training.resolve import resolve
from inkwash.training.state import start

RANDOM = np.random.default_rng(4)
ANGLE = RANDOM.normal(3.0, 2.0, 100)
POINTS = np.stack([np.sin(ANGLE), 2 * ANGLE + 1], 1).astype(np.float32)


@functools.cache
def made_state():
    """A state before training, of examples on every second place, with labels too."""
    spec = iw.data.DataSpec((2,), "ND", "float32", -9.0, 19.0, None)
    given = fit_transform(iw.data.DataSpec((1,), "N", "float64", -9.0, 9.0, None), ANGLE, rows=np.arange(1, 100, 2))
    config = replace(
        tiny("points", batch_size=30, condition_dropout=0.3), data=iw.DataConfig(condition="angle", labels="l")
    )
    config, condition = resolve(config, spec), iw.data.ConditionSpec(("even", "odd"), given)
    labels = 1 + np.arange(100) // 2 % 2
    examples = Examples(POINTS, np.arange(1, 100, 2), fit_transform(spec, POINTS), condition, labels, ANGLE)
    return start(config, examples, torch.device("cpu")), examples, config


def batch_of(step, processes=1, index=0):
    first, examples, config = made_state()
    accelerator = SimpleNamespace(num_processes=processes, process_index=index, device=torch.device("cpu"))
    return draw_batch(replace(first, step=step), examples, config.train, accelerator)


CONDITIONS_OF = Examples.conditions


def given_by_place_in_the_part(self, positions):
    return CONDITIONS_OF(self, positions) | {"given": self.condition.given.to_model(self.given[positions])}


def zero_for_hidden(value, hidden):
    return value.masked_fill(hidden.view(-1, *(1,) * (value.ndim - 1)), 0)


@bug("given of another example", Examples, "conditions", given_by_place_in_the_part)
@bug("numbers hidden as zeros", loop, "hide", zero_for_hidden)
def test_each_example_keeps_what_is_given_of_it():
    """Each example has its own angle, found from where it lies, standardised by the training part; or nothing."""
    for step in range(6):
        batch, train_numbers = batch_of(step), ANGLE[1::2]
        own = (((POINTS[batch.indices, 1] - 1) / 2 - train_numbers.mean()) / train_numbers.std())[:, None]
        given, hidden = batch.condition["given"].numpy(), (batch.condition["label"] == 0).numpy()
        assert np.array_equal(np.isnan(given[:, 0]), hidden)
        assert np.allclose(given[~hidden], own[~hidden], atol=1e-5)
        assert 0 < hidden.sum() < 30


def test_processes_share_the_conditions_of_one_batch():
    whole, parts = batch_of(4), [batch_of(4, 3, i) for i in range(3)]
    for name, value in whole.condition.items():
        assert torch.equal(torch.cat([part.condition[name] for part in parts]).nan_to_num(9), value.nan_to_num(9))


def trained_on(x, given, spec, steps=250, **parts):
    """A model trained on arrays, for as many steps."""
    speed = {"batch_size": 128, "learning_rate": 5e-3, "warmup": 10, "ema": (0.1,), "condition_dropout": 0.2}
    config = replace(
        tiny("x", steps=steps, **speed), data=iw.DataConfig(condition="y"), denoiser=iw.DenoiserConfig("v")
    )
    config = resolve(replace(config, process=iw.ProcessConfig("cosine", 40), **parts), spec)
    kinds = {1: ("N", (1,)), 3: ("NHW", (1, *given.shape[1:]))}
    layout, shape = kinds[given.ndim]
    condition = iw.data.ConditionSpec(
        given=fit_transform(iw.data.DataSpec(shape, layout, "float64", -9.0, 9.0, None), given)
    )
    examples = Examples(x, np.arange(len(x)), fit_transform(spec, x), condition, given=given)
    state = start(config, examples, torch.device("cpu"))
    assert all(done.finite for done in training(state, examples, config.train, Accelerator(cpu=True)))
    return build_model(config, examples.transform, state.average, condition)


@pytest.mark.slow
def test_a_short_training_finds_the_conditional_mean_and_variance():
    """x = (sin y, 2 y + 1) + noise: both moments at a few y, and the information log p(x | y) - log p(x) is gained."""
    random = np.random.default_rng(0)
    y = random.normal(3.0, 2.0, 2000)
    law = lambda y: np.stack([np.sin(y), 2 * y + 1], 1)  # noqa: E731
    x = (law(y) + 0.5 * random.normal(size=(2000, 2))).astype(np.float32)
    model = trained_on(
        x,
        y,
        iw.data.DataSpec((2,), "ND", "float32", -30.0, 30.0, None),
        450,
        network=iw.NetworkConfig(width=32, depth=2),
    )
    asked = np.array([1.0, 3.0, 5.0])
    draws = model.sample(900, seed=0, given=np.repeat(asked, 300)).reshape(3, 300, 2)
    assert np.abs(draws.mean(1) - law(asked)).max() < 0.3
    assert draws.std(1) == pytest.approx(0.5, abs=0.25)
    assert model.sample(300, seed=0)[:, 1].std() == pytest.approx(4.0, abs=1.0)
    gain = model.bound(x[:200]).total - model.bound(x[:200], given=y[:200]).total
    assert float(gain.mean()) > 1.5


def test_a_network_is_shown_the_image_of_its_example():
    """x is the image given, enlarged, and a little noise; without it no prediction has an error below the variance."""
    random = np.random.default_rng(0)
    given = random.normal(5.0, 2.0, (600, 2, 2))
    x = (np.kron(given, np.ones((2, 2))) + 0.2 * random.normal(size=(600, 4, 4))).astype(np.float32)
    network = iw.NetworkConfig(width=8, depth=1, multipliers=(1,), attention=(False,))
    model = trained_on(
        x, given, iw.data.DataSpec((1, 4, 4), "NHW", "float32", 0.0, 9.0, None), steps=150, network=network
    )
    draws = model.sample(60, seed=0, given=given[:60])
    assert np.mean((draws - x[:60]) ** 2) < 0.2 * x.var()
    assert np.mean((draws - np.roll(x[:60], 1, 0)) ** 2) > x.var()
