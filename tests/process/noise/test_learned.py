"""Schedules with parameters are schedules for any parameters, and their gradients are right.

test_schedule.py checks their scales to fifty digits, as those of all other schedules.
"""

import math
from copy import deepcopy

import pytest
import torch
from oracles import F64, name_of, tensor, trained

import inkwash as iw
from inkwash.process.noise.steps import transition_var


def learnable():
    return [iw.process.LearnedBetas(30), iw.LearnedSchedule(50, learn_ends=True, width=7)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("schedule", learnable(), ids=name_of)
def test_signal_falls_for_any_parameters(schedule, seed):
    t = torch.linspace(0, 1, 2001, dtype=F64)
    wild = trained(deepcopy(schedule), seed, spread=3.0)
    assert bool((wild.log_snr(t).diff() < 0).all())
    assert bool((wild.alpha(t).diff() <= 0).all())
    assert bool((wild.sigma(t).diff() >= 0).all())


@pytest.mark.parametrize("method", ["alpha", "sigma", "log_snr"])
@pytest.mark.parametrize("schedule", learnable(), ids=name_of)
def test_gradients_of_parameters_are_those_of_finite_differences(schedule, method):
    """The direction in the space of all parameters is random; the times lie below, on and between grid points."""
    t, h = tensor([0.004, 0.1, 0.37, 0.5, 0.93, 1.0]), 1e-6
    names = [name for name, _ in schedule.named_parameters()]
    random = torch.Generator().manual_seed(0)
    point = {n: p.detach().clone() for n, p in schedule.named_parameters()}
    direction = {n: torch.randn(p.shape, generator=random, dtype=F64) for n, p in point.items()}

    def scale(step):
        moved = deepcopy(schedule)
        moved.load_state_dict({n: point[n] + step * direction[n] for n in names})
        return getattr(moved, method)(t)

    got = scale(0.0)
    assert got.requires_grad
    for i in range(len(t)):
        gradients = torch.autograd.grad(getattr(schedule, method)(t)[i], list(schedule.parameters()))
        along = sum(float((g * direction[n]).sum()) for n, g in zip(names, gradients, strict=True))
        expected = float((scale(h) - scale(-h))[i].detach()) / (2 * h)
        assert along == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_learned_betas_start_at_their_schedule_and_keep_the_first():
    start = iw.CosineSchedule(100)
    schedule = iw.process.LearnedBetas(100, 1e-3, start)
    torch.testing.assert_close(schedule.table()[1:].detach(), start.table()[1:], rtol=1e-11, atol=0)
    schedule.log_snr(0.7).backward()
    assert (schedule.logits.grad != 0).tolist() == [k <= 70 for k in range(2, 101)]  # beta_2 … beta_70 come before 0.7
    for seed in range(3):
        beta = transition_var(trained(schedule, seed), 0.0, 0.01)
        assert float(beta) == pytest.approx(1e-3, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_learned_schedule_keeps_its_ends_for_any_weights(seed):
    schedule = trained(iw.LearnedSchedule(250, 9.0, -7.5), seed, spread=2.0)
    assert float(schedule.log_snr(1 / 250)) == pytest.approx(9.0, abs=1e-12)
    assert float(schedule.log_snr(1.0)) == pytest.approx(-7.5, abs=1e-12)
    at = tensor([0.25, 0.5, 1.0]) / 250
    torch.testing.assert_close(schedule.sigma(at), tensor([0.25, 0.5, 1.0]) * schedule.sigma(1 / 250))


def test_ends_are_learned_only_if_the_option_says_so():
    fixed, free = iw.LearnedSchedule(), iw.LearnedSchedule(learn_ends=True)
    assert {n for n, p in fixed.named_parameters() if not p.requires_grad} == {"last", "log_range"}
    assert all(p.requires_grad for p in free.parameters())
    (gradient,) = torch.autograd.grad(free.log_snr(1.0), free.last)
    assert float(gradient) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("schedule", learnable(), ids=name_of)
def test_learned_schedules_return_double_precision_even_when_cast(schedule):
    """If training casts the model, the parameters have single precision, but the scales still have double."""
    t = tensor([0.0, 0.3, 1.0])
    rough = deepcopy(schedule).float()
    assert rough.log_snr(t).dtype == F64
    torch.testing.assert_close(rough.alpha(t), schedule.alpha(t), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.process.LearnedBetas(1),
        lambda: iw.process.LearnedBetas(100, beta_1=0.0),
        lambda: iw.process.LearnedBetas(100, start=iw.SohlDicksteinSchedule()),
        lambda: iw.LearnedSchedule(1),
        lambda: iw.LearnedSchedule(100, width=0),
        lambda: iw.LearnedSchedule(100, log_snr_first=-5.0),
        lambda: iw.LearnedSchedule(100, log_snr_last=math.nan),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(iw.ConfigError, match=r"got .*, need "):
        make()
