"""The estimate of memory and time: what it counts, what it leaves as it was, what it refuses, how it is revised."""

import copy
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bugs import bug

import inkwash as iw
from inkwash.core import machine
from inkwash.core.config import Config, NetworkConfig, TrainConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.training import cost
from inkwash.training.cost import Forecast, Pace
from inkwash.training.examples import Examples
from inkwash.training.lesson import Stage
from inkwash.training.loop import Batch, draw_batch
from inkwash.training.muon import Muon
from inkwash.training.prepare import prepare
from inkwash.training.resolve import resolve
from inkwash.training.state import start


def job(width=8):
    dataset = load_dataset("digits")
    train = TrainConfig(steps=2, batch_size=16)
    config = resolve(Config("digits", network=NetworkConfig(width=width, dropout=0.5), train=train), dataset.spec)
    examples = Examples(dataset.data, np.arange(100), fit_transform(dataset.spec, dataset.data[:100]))
    state = start(config, examples, torch.device("cpu"))
    return state, lambda step: draw_batch(state, examples, config.train, Accelerator(cpu=True))


class Table(torch.nn.Module):
    """Multiplies rows by what is made anew from its weights, whatever the rows."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(10, 20))

    def forward(self, x):
        return x @ self.weight.exp()


def batches_of_ones(rows):
    """Draws batches of ones; nothing of their times or noise matters here."""
    times = iw.training.LowDiscrepancy().draw(rows, iw.CosineSchedule(), torch.Generator())
    return lambda step: Batch(np.arange(rows), torch.ones(rows, 10), times, (), {}, times)


class Squares:
    """A lesson that keeps the input of a linear layer, for its weights, and its output, for the square."""

    def loss(self, trained, batch):
        return trained(batch.x).square().mean(1)


def state_of(network, matrices=()):
    """What measuring looks at."""
    stage = mock.Mock(lesson=Squares())
    average, parts = copy.deepcopy(network), [{"params": list(network.parameters()), "weight_decay": 0.0}]
    return mock.Mock(trained=network, average=average, stage=stage, optimizer=Muon(set(matrices), parts))


@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_kept_is_counted_per_example(rows):
    network = torch.nn.Linear(10, 20, bias=False)
    found = cost.measure_cost(state_of(network), batches_of_ones(rows), rows, 1, 9)
    assert found.example == 4 * (10 + 20)
    assert found.weights == 4 * 3 * 200


def test_of_a_matrix_that_muon_trains_less_is_kept():
    """A gradient and a momentum, where AdamW has two moments."""
    network = torch.nn.Linear(10, 20, bias=False)
    found = cost.measure_cost(state_of(network, network.parameters()), batches_of_ones(3), 3, 1, 9)
    assert found.weights == 4 * 2 * 200


def test_what_is_kept_once_is_not_counted_for_each_example():
    network = Table()
    found = cost.measure_cost(state_of(network), batches_of_ones(4), 4, 1, 9)
    assert found.example == 4 * (10 + 20)
    assert found.weights == 4 * (3 * 200 + 200)


def test_measuring_changes_nothing():
    state, draw = job()
    before = {group: {n: t.clone() for n, t in some.items()} for group, some in state.tensors().items()}
    random = torch.random.get_rng_state()
    assert cost.measure_cost(state, draw, 16, 2, 100).seconds > 0
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(p.grad is None for p in state.trained.parameters())
    for group, some in state.tensors().items():
        assert all(torch.equal(t, before[group][n]) for n, t in some.items())


def test_a_network_four_times_as_wide_keeps_up_to_four_times_as_much():
    narrow, wide = (cost.measure_cost(*job(width), 16, 1, 100) for width in (16, 64))
    assert 2 < wide.example / narrow.example <= 4
    assert 10 < wide.weights / narrow.weights <= 16


@pytest.mark.parametrize(("free", "need"), [(1.5, "at most 1"), (0.5, "a smaller network")])
def test_what_does_not_fit_is_refused_before_the_first_step(free, need):
    state, draw = job()
    one = cost.measure_cost(state, draw, 1, 1, 100)
    size = int(one.weights + free * one.example)
    with mock.patch.object(cost, "free_memory", return_value=size), pytest.raises(iw.ConfigError, match=need) as error:
        cost.measure_cost(state, draw, 16, 1, 100)
    assert "train.micro_batch_size: got 16, which takes" in str(error.value)


@pytest.mark.parametrize(("free", "named"), [(1000, "weights of the network"), (10**6, "train.batch_size")])
def test_weights_and_a_batch_beyond_the_memory_are_refused_unbuilt(free, named):
    """A batch of digits takes 512 bytes an example; the small network and its copies take less than a megabyte."""
    network, train = NetworkConfig(width=8, depth=1), TrainConfig(batch_size=10**5)
    prepared = prepare(Config("digits", network=network, train=train))
    refused = ""
    with mock.patch.object(machine, "free_memory", return_value=free):
        try:
            cost.require_weights_fit(prepared, 1)
        except iw.ConfigError as error:
            refused = str(error)
    assert refused.startswith(f"{named}: got")


class Clock:
    """A clock that stands still until something takes its time."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def take(self, seconds):
        self.now += seconds


class Slow(Squares):
    """Squares that take a second for three examples, and ten times as long when they are cold."""

    def __init__(self, clock):
        self.clock, self.cold = clock, True

    def loss(self, trained, batch):
        self.clock.take((10 if self.cold else 1) * len(batch.x) / 3)
        if len(batch.x) == 3:
            self.cold = False
        return super().loss(trained, batch)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cost, "time", clock)
    return clock


@bug("part of it", cost._Trial, "step", lambda self, rows: self.loss(rows).sum().backward(), rows=3, steps=100)
@pytest.mark.parametrize(("rows", "steps"), [(6, 1), (6, 1000), (3, 100)])
def test_the_time_of_a_step_is_that_of_a_warm_one_over_the_whole_batch(clock, rows, steps):
    network = torch.nn.Linear(10, 20, bias=False)
    state = state_of(network)
    state.stage.lesson = Slow(clock)
    state.stage.lesson.loss(network, batches_of_ones(3)(0))
    assert cost.measure_cost(state, batches_of_ones(6), rows, steps, 9).seconds == pytest.approx(2)
    assert clock.now < 60


class Remembering(Squares):
    """Squares that take two seconds for a batch that is new, and one for a batch met again."""

    def __init__(self, clock):
        self.clock, self.met = clock, set()

    def loss(self, trained, batch):
        number = int(batch.indices[0])
        self.clock.take(1 if number in self.met else 2)
        self.met.add(number)
        return super().loss(trained, batch)


@pytest.mark.parametrize(("examples", "expected"), [(6, 1.01), (300, 1.5), (10**6, 2)])
def test_examples_take_longer_when_they_are_new(clock, examples, expected):
    """In 100 steps of six examples, all are new, or half of them, or the first six."""
    network = torch.nn.Linear(10, 20, bias=False)
    state = state_of(network)
    state.stage.lesson = Remembering(clock)
    batch = batches_of_ones(6)(0)
    found = cost.measure_cost(state, lambda step: replace(batch, indices=np.full(6, step)), 6, 100, examples)
    assert found.seconds == pytest.approx(expected)


def stages(*lasts):
    return [Stage(Squares(), first, last) for first, last in zip((0, *lasts), lasts, strict=False)]


def walked(clock, pace, first, last, every, step, look):
    """What is left, as the pace says it, after each step of a run that takes these times."""
    for number in range(first + 1, last + 1):
        clock.take(step)
        pace.stepped(number)
        due = number % every == 0 or number == last
        clock.take(look if due else 0)
        pace.rested(due)
        yield number, pace.left(number)


def test_a_right_forecast_counts_down_to_the_summary(clock):
    forecast = Forecast(stages(10), (2.0,), every=4, look=5.0, summary=7.0)
    assert forecast.left(0) == 10 * 2 + 3 * 5 + 7
    assert forecast.training == 35
    pace = Pace(forecast)
    for step, left in walked(clock, pace, 0, 10, 4, 2.0, 5.0):
        assert left == pytest.approx(forecast.left(0) - clock.now), step
    assert left == 7


@bug("the forecast alone", Pace, "left", lambda self, step: self.forecast.left(step))
@bug("the first step, which is slower", Pace, "stepped", lambda self, step: self._steps[step > 40].add(self._lap()))
def test_a_wrong_forecast_is_revised(clock):
    """On a machine that is three times as busy as it was. The first step of all is slower still."""
    pace = Pace(Forecast(stages(40, 100), (2.0, 0.5), every=30, look=5.0, summary=7.0))
    clock.take(60)
    whole = 40 * 6 + 60 * 1.5 + 4 * 15 + 3 * 7
    for step, left in walked(clock, pace, 0, 40, 30, 6.0, 15.0):
        if step > 1:
            looked = 15 * (step // 30)
            unseen = 0 if looked else (15 - 5) * 4  # no look has been seen yet
            assert left == pytest.approx(whole - 6 * step - looked - unseen)
    clock.take(30)  # what happens between stages is not a step
    for step, left in walked(clock, pace, 40, 100, 30, 2.0, 15.0):
        if step > 41:
            assert left == pytest.approx(
                2 * (100 - step) + 15 * (step < 60) + 15 * (step < 90) + 15 * (step < 100) + 28
            )


def test_a_resumed_run_has_no_forecast_and_finds_out(clock):
    pace = Pace(Forecast(stages(100), (0.0,), every=50))
    *_, (step, left) = walked(clock, pace, 60, 90, 30, 2.0, 5.0)
    assert (step, left) == (90, pytest.approx(10 * 2 + 5))
