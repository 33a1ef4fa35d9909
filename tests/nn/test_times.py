"""Networks that see the time: an embedding of levels tells times of a thousand steps apart."""

import math

import pytest
import torch
from bugs import bug

from inkwash.nn.layers import LevelEmbedding
from inkwash.nn.times import TimeNet

STEPS = 1000


class Embedded(torch.nn.Module):
    """A network that returns the features which the embedding of levels starts from."""

    def __init__(self):
        super().__init__()
        self.embed = LevelEmbedding(8)
        self.embed.layers = torch.nn.Identity()

    def forward(self, x_t, level):
        return self.embed(level)


def features():
    t = torch.arange(1, STEPS + 1) / STEPS
    return TimeNet(Embedded())(torch.zeros(STEPS, 1), t)


def as_it_is(self, x_t, t, **condition):
    return self.network(x_t, t, **condition)


def counted(self, x_t, t, **condition):
    return self.network(x_t, STEPS * t, **condition)


@bug("times as they are", TimeNet, "forward", as_it_is)
@bug("numbers of steps, most of which the embedding cuts off", TimeNet, "forward", counted)
def test_the_steps_of_ddpm_are_as_far_apart_as_in_its_own_embedding_within_a_factor():
    """DDPM's embedding of step k has the sines and cosines of k w, for rates w from 1 to 1e-4 (Vaswani et al. 2017).
    Their mean square distance is what a network has to tell two steps by. Here neighbours have at least a twentieth of
    that, and no other step looks more alike than neighbours do."""
    k, rates = torch.arange(1, STEPS + 1)[:, None], torch.logspace(0, -4, 16)
    ddpm = torch.cat([torch.sin(k * rates), torch.cos(k * rates)], 1)
    ours = features()
    apart, theirs = (torch.cdist(each, each) ** 2 / each.shape[1] for each in (ours, ddpm))
    neighbours = apart.diagonal(1)
    assert float(neighbours.min()) > float(theirs.diagonal(1).mean()) / 20
    others = apart.clone().fill_diagonal_(math.inf)
    assert float(others.min()) == pytest.approx(float(neighbours.min()))


def test_the_span_of_the_levels_is_used_and_not_left():
    seen = []
    network = TimeNet(lambda x_t, level, **condition: seen.append((level, condition)) or x_t)
    x_t = torch.zeros(3, 1)
    assert network(x_t, torch.tensor([0.0, 0.5, 1.0]), label=7) is x_t
    level, condition = seen[0]
    assert level.tolist() == [-20, 0, 20]
    assert condition == {"label": 7}
