"""Every law of every process is on the device and in the dtype of the data, whatever those of its own tables."""

import pytest
import torch
from oracles import F64, name_of, public_schedules, tensor

import inkwash as iw
from inkwash.denoise.cold import Restored
from inkwash.process import Categorical, Cold, Estimate, Gaussian, MixedEstimate, fit_starts
from inkwash.process.degradations import DEGRADATIONS
from inkwash.process.gaussian import Noisy
from inkwash.process.variance import Large

ELSEWHERE = "meta"
"""A device that every torch has. It computes only shapes, and refuses to join its tensors with those of the CPU."""

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
LAWS = {
    "prior": lambda process, x, estimate, s, t: process.prior(x.shape, like=x),
    "noise": lambda process, x, estimate, s, t: process.noise(x.shape, torch.Generator(), like=x),
    "marginal": lambda process, x, estimate, s, t: process.marginal(x, t),
    "diffuse": lambda process, x, estimate, s, t: process.diffuse(x, t, noise_like(process, x)),
    "transition": lambda process, x, estimate, s, t: process.transition(x, s, t),
    "posterior": lambda process, x, estimate, s, t: process.posterior(x, x, s, t),
    "reverse": lambda process, x, estimate, s, t: process.reverse(x, estimate(process, x, t), s, t),
}
WITH_UNIFORM_NOISE = ("bits", "uniform", "absorbing", "mixed")
"""Their noise is float64 for data of any dtype."""


def noise_like(process, x):
    return process.noise(x.shape, torch.Generator(), like=x)


def tensors_of(law):
    """A tensor itself, or the mean of a law and a draw, which all parameters of the law go into."""
    return [law] if isinstance(law, torch.Tensor) else [law.mean, law.draw(torch.Generator())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_laws_are_where_the_data_is(case, dtype):
    process, x, estimate = CASES[case]
    s, t = tensor(0.3), tensor(0.6)
    for name, law in LAWS.items():
        for device in ("cpu", ELSEWHERE):
            for found in tensors_of(law(process, x.to(device, dtype), estimate, s, t)):
                assert found.device.type == device, name
                assert found.dtype == (F64 if case in WITH_UNIFORM_NOISE and name == "noise" else dtype), name
