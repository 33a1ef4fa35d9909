"""Moving averages of the weights: how far they look back, which one is chosen, and what a stage makes of them."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from torch import nn

from inkwash.training import averages
from inkwash.training.averages import Averages

STEPS = 400


class Weights(nn.Module):
    """One number for every step of a training, which is 1 at that step only."""

    def __init__(self):
        super().__init__()
        self.row = nn.Parameter(torch.zeros(STEPS, dtype=torch.float64))

    def at(self, step):
        self.row.data = torch.eye(STEPS, dtype=torch.float64)[step - 1]
        return self


def looking_back(horizon):
    """The weight that an average of all steps has on each of them."""
    trained = Weights()
    following = Averages(trained, (horizon,))
    for step in range(1, STEPS + 1):
        following.follow(trained.at(step), step)
    return following.best.row.detach().numpy()


@bug("the exponent one too large", averages, "exponent", lambda horizon, made=averages.exponent: made(horizon) + 1)
@pytest.mark.parametrize("horizon", [0.05, 0.1, 0.2, 0.28])
def test_the_horizon_of_an_average_is_the_spread_of_the_steps_that_it_looks_back_on(horizon):
    """Its definition: the standard deviation of the weights over the steps, as a share of all steps."""
    weights, steps = looking_back(horizon), np.arange(1, STEPS + 1) / STEPS
    assert weights.sum() == pytest.approx(1)
    mean = weights @ steps
    assert math.sqrt(weights @ (steps - mean) ** 2) == pytest.approx(horizon, rel=0.02)


def test_the_horizon_zero_is_the_last_step_and_all_steps_are_the_widest():
    assert looking_back(0).tolist() == np.eye(STEPS)[-1].tolist()
    assert averages.exponent(1 / math.sqrt(12)) == pytest.approx(0, abs=1e-9)  # the spread of a uniform law


@bug("the first is chosen", Averages, "choose", lambda self, losses: None)
@pytest.mark.parametrize(("losses", "chosen"), [((3, 1, 2), 1), ((math.nan, 2, 1), 2), ((math.inf, math.inf, 5), 2)])
def test_the_average_of_the_least_loss_is_chosen(losses, chosen):
    following = Averages(nn.Linear(1, 1), (0.0, 0.1, 0.2))
    following.choose(losses)
    assert following.best is following.modules[chosen]
    assert following.horizon == (0.0, 0.1, 0.2)[chosen]
    following.choose((math.nan, math.nan, math.nan))
    assert following.best is following.modules[chosen]
