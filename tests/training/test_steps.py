"""The order of examples and the learning rate are functions of the step alone."""

import itertools

import numpy as np
import pytest

from inkwash.core.config import TrainConfig
from inkwash.training.loop import learning_rate, order


def test_every_epoch_takes_every_example_once():
    places = np.concatenate([order(0, step, 8, 20) for step in range(10)])
    for epoch in places.reshape(4, 20):
        assert sorted(epoch) == list(range(20))
    assert not np.array_equal(places[:20], places[20:40])


@pytest.mark.parametrize(("count", "examples"), [(8, 20), (20, 8), (7, 7), (64, 3), (1, 5)])
def test_the_order_is_a_function_of_seed_and_step_alone(count, examples):
    forwards = [order(3, step, count, examples) for step in range(12)]
    backwards = [order(3, step, count, examples) for step in reversed(range(12))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert any(not np.array_equal(order(4, step, count, examples), forwards[step]) for step in range(12))
    assert all(len(places) == count and places.max() < examples for places in forwards)


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_zero():
    config = TrainConfig(steps=1000, learning_rate=0.5, warmup=100)
    rates = [learning_rate(config, step, 1000) for step in range(1001)]
    assert rates[0] == 0.5 * 0.01
    assert np.argmax(rates) in (98, 99, 100)
    assert max(rates) <= 0.5
    assert rates[1000] == 0
    assert all(a < b for a, b in itertools.pairwise(rates[:100]))
    assert all(a > b for a, b in itertools.pairwise(rates[100:]))
    assert all(rate > 0 for rate in rates[:1000])


def test_there_may_be_no_warm_up():
    assert learning_rate(TrainConfig(steps=10, learning_rate=0.5, warmup=0), 0, 10) == 0.5
