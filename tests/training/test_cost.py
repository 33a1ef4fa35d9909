"""The estimate of memory and time: what it counts, what it leaves as it was, and what it refuses."""

from unittest import mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import inkwash as iw
from inkwash.core.config import Config, NetworkConfig, TrainConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.training import cost
from inkwash.training.examples import Examples
from inkwash.training.loop import Batch, draw_batch
from inkwash.training.resolve import resolve
from inkwash.training.state import start


def job(width=8):
    dataset = load_dataset("digits")
    train = TrainConfig(steps=2, batch_size=16)
    config = resolve(Config("digits", network=NetworkConfig(width=width, dropout=0.5), train=train), dataset.spec)
    examples = Examples(dataset.data, np.arange(100), fit_transform(dataset.spec, dataset.data[:100]))
    state = start(config, examples, torch.device("cpu"))
    return state, draw_batch(state, examples, config.train, Accelerator(cpu=True))


class Table(torch.nn.Module):
    """Multiplies rows by what is made anew from its weights, whatever the rows."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(10, 20))

    def forward(self, x):
        return x @ self.weight.exp()


def batch_of_ones(rows):
    """A batch of ones; nothing of its times or noise matters here."""
    times = iw.training.LowDiscrepancy().draw(rows, iw.CosineSchedule(), torch.Generator())
    return Batch(np.arange(rows), torch.ones(rows, 10), times, (), {}, times)


class Squares:
    """A lesson that keeps the input of a linear layer, for its weights, and its output, for the square."""

    def loss(self, trained, batch):
        return trained(batch.x).square().mean(1)


def state_of(network):
    """What measuring looks at."""
    stage = mock.Mock(lesson=Squares())
    return mock.Mock(trained=network, stage=stage, optimizer=torch.optim.AdamW(network.parameters()))


@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_kept_is_counted_per_example(rows):
    network = torch.nn.Linear(10, 20, bias=False)
    found = cost.measure_cost(state_of(network), batch_of_ones(rows), rows)
    assert found.example == 4 * (10 + 20)
    assert found.weights == 4 * 3 * 200


def test_what_is_kept_once_is_not_counted_for_each_example():
    network = Table()
    found = cost.measure_cost(state_of(network), batch_of_ones(4), 4)
    assert found.example == 4 * (10 + 20)
    assert found.weights == 4 * (3 * 200 + 200)


def test_measuring_changes_nothing():
    state, batch = job()
    before = {group: {n: t.clone() for n, t in some.items()} for group, some in state.tensors().items()}
    random = torch.random.get_rng_state()
    assert cost.measure_cost(state, batch, 16).seconds > 0
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(p.grad is None for p in state.trained.parameters())
    for group, some in state.tensors().items():
        assert all(torch.equal(t, before[group][n]) for n, t in some.items())


def test_a_network_four_times_as_wide_keeps_up_to_four_times_as_much():
    narrow, wide = (cost.measure_cost(*job(width), 16) for width in (8, 32))
    assert 2 < wide.example / narrow.example <= 4
    assert 10 < wide.weights / narrow.weights <= 16


@pytest.mark.parametrize(("free", "need"), [(1.5, "at most 1"), (0.5, "a smaller network")])
def test_what_does_not_fit_is_refused_before_the_first_step(free, need):
    state, batch = job()
    one = cost.measure_cost(state, batch, 1)
    size = int(one.weights + free * one.example)
    with mock.patch.object(cost, "free_memory", return_value=size), pytest.raises(iw.ConfigError, match=need) as error:
        cost.measure_cost(state, batch, 16)
    assert "train.micro_batch_size: got 16, which takes" in str(error.value)


def test_a_container_has_less_than_its_machine(tmp_path):
    limit = tmp_path / "memory.max"
    with mock.patch.object(cost, "_LIMITS", (str(limit),)):
        limit.write_text("max\n")
        unlimited = cost.free_memory(torch.device("cpu"))
        limit.write_text(f"{unlimited // 2}\n")
        assert cost.free_memory(torch.device("cpu")) < unlimited // 2
