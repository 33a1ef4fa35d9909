"""A process of every kind, with clean data and an estimate of it."""

import torch
from oracles import name_of, public_schedules

import inkwash as iw
from inkwash.denoise.cold import Restored
from inkwash.process import Categorical, Cold, Estimate, Gaussian, MixedEstimate, fit_starts
from inkwash.process.degradations import DEGRADATIONS
from inkwash.process.gaussian import Noisy
from inkwash.process.variance import Large

PICTURES = torch.linspace(-1, 1, 160).reshape(5, 2, 4, 4)
CATEGORIES = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
NUMBERS = torch.tensor([[0.4, -1.0], [0.1, 0.7], [-0.2, 0.3]])


def normal_estimate(process, x_t, t):
    """The estimate that clean data is zero."""
    x = torch.zeros_like(x_t)
    return Estimate(x, Noisy.at(x_t, t, process).eps_of(x), x_t, t, process, Large())


def odds_estimate(process, x_t, t):
    width = sum(process.sizes) if isinstance(process, Categorical) else x_t.shape[1]
    return process.estimate(x_t.new_zeros(len(x_t), width), x_t, t)


def mixed_estimate(process, x_t, t):
    numbers, categories = process.parts(x_t)
    parts = normal_estimate(process.numbers, numbers, t), odds_estimate(process.categories, categories, t)
    return MixedEstimate(*parts, process)


CASES = {
    "bits": (iw.Bernoulli(iw.LinearSchedule(), 0.3), CATEGORIES.clamp(max=1), odds_estimate),
    "uniform": (Categorical(iw.LinearSchedule(), (3, 2)), CATEGORIES, odds_estimate),
    "absorbing": (Categorical(iw.SohlDicksteinSchedule(), (3, 2), "absorbing"), CATEGORIES, odds_estimate),
    "mixed": (
        iw.Mixed(Gaussian(iw.CosineSchedule()), Categorical(iw.LinearSchedule(), (3, 2)), (False, True, True, False)),
        torch.cat([NUMBERS[:, :1], CATEGORIES, NUMBERS[:, 1:]], 1),
        mixed_estimate,
    ),
    **{name_of(each): (Gaussian(each), NUMBERS, normal_estimate) for each in public_schedules()},
    **{
        name: (Cold(kind(), fit_starts(kind(), PICTURES)), PICTURES, lambda process, x_t, t: Restored(x_t))
        for name, kind in DEGRADATIONS.items()
    },
}
