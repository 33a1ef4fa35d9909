"""Samples are on the device and in the dtype of the noise that a walk starts from, and repeat with the generator."""

import pytest
import torch
from every_process import NUMBERS
from oracles import F64, UNEVEN, name_of, public

import inkwash as iw
from inkwash.sample.walk import Stepwise

SAMPLERS = [*(kind() for kind in public(iw.sample.Sampler)), iw.DDIM(0.5), iw.DPMSolver(3, 1.0, True), iw.SingleStep(3)]
SCHEDULES = [iw.LinearSchedule(), iw.RectifiedSchedule(), iw.KarrasSchedule()]
"""One that keeps some signal, one that does not, and one whose noise grows."""
CHURNED = iw.Heun(s_churn=3.0)
FLOWS = [iw.DDIM(), iw.Heun(), iw.DPMSolver(), iw.SingleStep(2), iw.SingleStep(3), iw.sample.Adams(), iw.sample.IPNDM()]
samplers = pytest.mark.parametrize("sampler", [*SAMPLERS, CHURNED], ids=str)
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)


def walk_of(sampler, schedule, x_1, seed=0):
    denoiser = iw.Denoiser(lambda x_t, t: torch.tanh(x_t), iw.Gaussian(schedule), "x", "large")
    return list(Stepwise(denoiser, sampler).walk(x_1, UNEVEN, torch.Generator().manual_seed(seed)))


@schedules
@samplers
def test_every_state_is_where_the_noise_is(sampler, schedule):
    for device in ("cpu", "meta"):
        for dtype in (torch.float32, F64):
            for state in walk_of(sampler, schedule, NUMBERS.to(device, dtype)):
                for found in (state.x_s, state.x):
                    assert found.device.type == device
                    assert found.dtype == dtype


@schedules
@samplers
def test_a_walk_is_a_function_of_its_generator(sampler, schedule):
    first, again, other = (walk_of(sampler, schedule, NUMBERS, seed)[-1].x_s for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (sampler in FLOWS)
