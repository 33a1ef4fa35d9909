"""Every law of every process is on the device and in the dtype of the data, whatever those of its own tables."""

import pytest
import torch
from every_process import CASES
from oracles import F64, tensor

ELSEWHERE = "meta"
"""A device that every torch has. It computes only shapes, and refuses to join its tensors with those of the CPU."""

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


@pytest.mark.parametrize("case", CASES)
def test_a_draw_is_a_function_of_its_generator(case):
    process, x, estimate = CASES[case]
    for name, law in LAWS.items():
        made = law(process, x, estimate, tensor(0.3), tensor(0.6))
        if not isinstance(made, torch.Tensor):
            for draw in (made.draw, made.last_draw):
                assert torch.equal(*(draw(torch.Generator().manual_seed(5)) for _ in range(2))), name


@pytest.mark.parametrize("case", CASES)
def test_data_at_time_zero_is_clean_whatever_the_noise(case):
    """Noise between 0 and 1, the ends of what a uniform number can be included, replaces no category."""
    process, x, _ = CASES[case]
    for noise in (0.0, 1 - 2.0**-53):
        assert torch.equal(process.diffuse(x, 0.0, torch.full(x.shape, noise, dtype=F64)).to(x), x)
