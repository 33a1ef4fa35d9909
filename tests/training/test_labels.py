"""Labels of a batch are those of its examples, and are hidden as often as asked."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from blobs import KINDS, LABELS, NAMES, blobs, blobs_of, labelled
from bugs import bug

import inkwash as iw
from inkwash.data.transform import fit_transform
from inkwash.training.build import build_model
from inkwash.training.examples import Examples
from inkwash.training.loop import draw_batch, hidden_conditions, training
from inkwash.training.resolve import resolve
from inkwash.training.state import start

SPEC, CONDITION = iw.data.DataSpec((2,), "ND", "float32", -9.0, 9.0, None), iw.data.ConditionSpec(("cat", "dog", "emu"))


@functools.cache
def made_state():
    """A state before training, its examples and its options."""
    data, numbers = KINDS["points"][0], np.searchsorted(NAMES, LABELS) + 1
    config = resolve(labelled("points", batch_size=30, steps=200, condition_dropout=0.3), SPEC)
    examples = Examples(data, np.arange(1, 100, 2), fit_transform(SPEC, data), CONDITION, numbers)
    return start(config, examples, torch.device("cpu")), examples, config


@pytest.fixture
def state():
    return made_state()


def batch_of(state, step, processes=1, index=0):
    first, examples, config = state
    accelerator = SimpleNamespace(num_processes=processes, process_index=index, device=torch.device("cpu"))
    return draw_batch(replace(first, step=step), examples, config.train, accelerator)


def labels_by_place_in_the_part(self, positions):
    return {"label": torch.from_numpy(self.labels[positions])}


@bug("label of another example", Examples, "conditions", labels_by_place_in_the_part)
def test_each_example_keeps_its_label_over_epochs():
    """Each example has its own label, found from where it lies, or none."""
    for step in range(6):
        batch = batch_of(made_state(), step)
        own = np.searchsorted(NAMES, LABELS[batch.indices]) + 1
        shown = batch.condition["label"].numpy()
        assert ((shown == own) | (shown == 0)).all()
        assert 0 < (shown == 0).sum() < 30


def test_a_batch_in_parts_keeps_its_labels():
    ended = []
    for rows in (30, 7):
        state, examples, config = made_state.__wrapped__()
        config = replace(config, train=replace(config.train, steps=6, micro_batch_size=rows))
        list(training(state, examples, config.train, Accelerator(cpu=True)))
        ended.append(state.trained.network.embed.condition["label"].table.weight.detach())
    torch.testing.assert_close(*ended, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_labels_are_hidden_as_often_as_asked(share):
    config = iw.TrainConfig(batch_size=50, condition_dropout=share)
    hidden = torch.stack([hidden_conditions(config, step) for step in range(400)]).double()
    assert float(hidden.mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / hidden.numel()) ** 0.5)
    by_place, error = hidden.mean(0), (share * (1 - share) / 400) ** 0.5
    assert float((by_place - share).abs().max()) < 4.5 * error
    assert torch.equal(hidden_conditions(config, 7), hidden_conditions(config, 7))
    assert not torch.equal(hidden_conditions(config, 7), hidden_conditions(replace(config, seed=1), 7))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_labels_of_one_batch(state, processes):
    whole, parts = batch_of(state, 4), [batch_of(state, 4, processes, i) for i in range(processes)]
    assert torch.equal(torch.cat([part.condition["label"] for part in parts]), whole.condition["label"])


def test_labels_change_nothing_else_of_a_batch(state):
    first, examples, config = state
    plain = (first, replace(examples, labels=None), config)
    with_labels, without = batch_of(state, 3), batch_of(plain, 3)
    assert torch.equal(with_labels.x, without.x)
    assert torch.equal(with_labels.noise[0], without.noise[0])
    assert torch.equal(with_labels.times.t, without.times.t)
    assert without.condition == {}


def test_the_class_of_no_label_is_not_trained(state):
    first, examples, config = state
    config = replace(config, train=replace(config.train, steps=4))
    list(training(first, examples, config.train, Accelerator(cpu=True)))
    for denoiser in (first.trained, first.average):
        table = denoiser.network.embed.condition["label"].table.weight
        assert bool((table[0] == 0).all())
    assert bool(first.trained.network.embed.condition["label"].table.weight[1:].any())


@pytest.mark.slow
def test_a_short_training_tells_classes_apart():
    """Without a label a sample may be of any class; a label says log 3 nats of far-apart classes of equal size."""
    asked = np.repeat(NAMES, 60)
    model = trained_on(np.tile(NAMES, 300))
    right = [np.mean(blobs_of(model.sample(180, seed=0, label=asked, guidance=w)) == asked) for w in (0.0, 1.0, 2.0)]
    assert right[0] == pytest.approx(1 / 3, abs=0.15)
    assert min(right[1:]) > 0.95
    x = blobs(asked, seed=1)
    gain = model.bound(x).total - model.bound(x, label=asked).total
    assert float(gain.mean()) == pytest.approx(np.log(3), abs=0.3)


def trained_on(labels):
    data, numbers = blobs(labels), np.searchsorted(NAMES, labels) + 1
    config = labelled(
        "blobs", steps=300, batch_size=128, learning_rate=5e-3, warmup=10, ema=(0.1,), condition_dropout=0.2
    )
    parts = {"denoiser": iw.DenoiserConfig("v"), "network": iw.NetworkConfig(width=32, depth=2)}
    config = resolve(replace(config, process=iw.ProcessConfig("cosine", 40), **parts), SPEC)
    transform = fit_transform(SPEC, data)
    examples = Examples(data, np.arange(len(data)), transform, CONDITION, numbers)
    state = start(config, examples, torch.device("cpu"))
    assert all(done.finite for done in training(state, examples, config.train, Accelerator(cpu=True)))
    return build_model(config, transform, state.average, CONDITION)
