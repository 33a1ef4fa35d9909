"""Walks: estimates on the way at no cost, examples by number, and the law of what shares a latent."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    PLANE,
    UNEVEN,
    condition,
    exact_denoiser,
    joint_covariance,
    prescribed_noise,
    tensor,
)

import inkwash as iw
from inkwash.model import walking as models
from inkwash.sample import walk

LINEAR = iw.LinearSchedule()
GRID = iw.uniform_grid(100)


def plane_model(schedule=LINEAR, denoiser=None):
    return iw.Diffusion(denoiser or exact_denoiser(PLANE, schedule), (2,), dtype=F64)


def wide_model(asked=None):
    """64 entries, so that a slot has 64 rows; the times that its network is asked about are noted."""

    def network(x_t, t):
        if asked is not None:
            asked.append(float(t[0]))
        return 0.3 * x_t + torch.sin(t)[:, None]

    return iw.Diffusion(iw.Denoiser(network, iw.Gaussian(LINEAR)), (64,))


WATCH = walk._Watched.__call__


def estimate_of_the_step_before(self, x_t, t):
    last, estimate = getattr(self, "x", None), WATCH(self, x_t, t)
    self.x = estimate.x if last is None else last
    return estimate


@bug("estimate of the step before", walk._Watched, "__call__", estimate_of_the_step_before, sampler=iw.DDIM(0.7))
@pytest.mark.parametrize("sampler", [iw.Ancestral(), iw.DDIM(), iw.DDIM(0.7)], ids=str)
def test_an_estimate_is_that_of_the_state_before(sampler):
    model = plane_model()
    states = list(model.progressive(3, seed=1, sampler=sampler, times=UNEVEN))
    assert [each.s for each in states] == UNEVEN[1:].tolist()
    assert all(type(each.s) is float for each in states)
    for before, after in pairwise(states):
        torch.testing.assert_close(after.x, model.denoiser(before.x_s, before.s).x, rtol=0, atol=1e-14)
    assert torch.equal(states[-1].x, states[-1].x_s)


def test_bits_have_estimates_too():
    rate = torch.tensor(0.2).logit()
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: rate.expand_as(x_t), iw.Bernoulli(iw.CosineSchedule()))
    *_, last = iw.Diffusion(denoiser, (3,)).progressive(4, seed=0, steps=5)
    torch.testing.assert_close(last.x, torch.full((4, 3), 0.2))
    assert set(last.x_s.unique().tolist()) <= {0.0, 1.0}


def test_estimates_cost_no_second_pass():
    asked = []
    list(wide_model(asked).progressive(3, seed=0, times=UNEVEN))
    assert asked == pytest.approx(UNEVEN[:-1].tolist())


@pytest.mark.parametrize(("first", "n"), [(0, 130), (1, 1), (60, 10), (64, 5), (63, 66), (128, 2)])
def test_a_sample_is_the_same_whatever_comes_before_it(first, n):
    model = wide_model()
    most = model.sample(130, seed=7, steps=3)
    assert torch.equal(model.sample(n, first=first, seed=7, steps=3), most[first : first + n])


def test_samples_are_drawn_slot_by_slot_and_trajectories_in_step():
    asked, times = [], [1.0, 0.5]
    model = wide_model(asked)
    model.sample(130, seed=0, steps=2)
    assert asked == times * 3
    asked.clear()
    list(model.trajectory(130, seed=0, steps=2))
    assert asked == [1.0] * 3 + [0.5] * 3


def test_a_walk_from_a_time_starts_there_and_takes_the_grid_below():
    asked = []
    model = wide_model(asked)
    model.sample_from(torch.zeros(2, 64), 0.3, seed=0, times=UNEVEN)
    assert asked == pytest.approx([0.3, 0.2, 0.05, 0.013])
    asked.clear()
    model.sample_from(torch.zeros(2, 64), 0.2, seed=0, times=UNEVEN)
    assert asked == pytest.approx([0.2, 0.05, 0.013])
    asked.clear()
    model.sample_from(torch.zeros(2, 64), 1, seed=0, times=UNEVEN)
    assert asked == pytest.approx(UNEVEN[:-1].tolist())


def test_a_walk_goes_in_the_precision_of_the_model():
    model, x_t = wide_model(), torch.linspace(-1, 1, 64, dtype=F64)[None]
    double, single = (model.sample_from(start, 0.3, seed=0, steps=10) for start in (x_t, x_t.float()))
    assert double.dtype == torch.float32
    assert torch.equal(double, single)


def test_a_relative_is_the_same_however_many_there_are():
    model, x = wide_model(), torch.linspace(-1, 1, 64)
    most = model.relatives(x, 0.5, 130, seed=3, steps=4)
    for n in (1, 64, 65):
        assert torch.equal(model.relatives(x, 0.5, n, seed=3, steps=4), most[:n])
    assert len(most.unique(dim=0)) == 130
    many = model.diffuse(most, 0.5, seed=3)
    assert torch.equal(model.diffuse(most[:3], 0.5, seed=3), many[:3])


@bug("a walk from time 1, whatever the latent's", models, "grid_from", lambda t, grid: grid)
def test_relatives_have_the_law_given_the_latent_they_share():
    """Mean and covariance of p(x | x_t) of Gaussian data, within four standard errors and 2 %."""
    t, n = 0.4, 3000
    model, x = plane_model(), tensor([3.0, -2.0])
    x_t = model.diffuse(x[None], t, seed=5)[0]
    got = model.relatives(x, t, n, seed=5, times=GRID)
    gain, cov = condition(joint_covariance(PLANE, LINEAR, 0.2, t), slice(4, 6), slice(2, 4))
    mean, spread = PLANE.mean + gain @ (x_t - LINEAR.alpha(t) * PLANE.mean), cov.diagonal()
    assert bool(((got.mean(0) - mean).abs() < 4 * (spread / n).sqrt() + 0.01).all())
    allowed = 4 * (torch.outer(spread, spread) * 2 / n).sqrt() + 0.03 * spread.max()
    assert bool(((got.T.cov() - cov).abs() < allowed).all())


@pytest.mark.parametrize(
    "schedule", [LINEAR, iw.KarrasSchedule(), iw.RectifiedSchedule()], ids=lambda s: type(s).__name__
)
def test_diffused_examples_have_the_moments_of_the_marginal(schedule):
    model, x = plane_model(schedule), tensor([[3.0, -2.0], [0.5, 1.0]])
    law = model.process.marginal(x, 0.3)
    with prescribed_noise(torch.zeros(1, 2, dtype=F64)):
        torch.testing.assert_close(model.diffuse(x, 0.3), law.mean)
    with prescribed_noise(torch.ones(1, 2, dtype=F64)):
        torch.testing.assert_close((model.diffuse(x, 0.3) - law.mean) ** 2, law.var.expand_as(x))
    assert torch.equal(model.diffuse(x, 0.0), x)


@pytest.mark.parametrize("t", [0.0, -0.1, 1.1, float("nan")])
def test_a_time_to_walk_from_is_above_0_and_at_most_1(t):
    with pytest.raises(iw.ConfigError, match="t: got"):
        plane_model().sample_from(torch.zeros(1, 2), t, seed=0)
    if t != 0:
        with pytest.raises(iw.ConfigError, match="t: got"):
            plane_model().diffuse(torch.zeros(1, 2), t)


def test_bad_arguments_are_refused():
    model = plane_model()
    for first in (-1, 0.5, True):
        with pytest.raises(iw.ConfigError, match="first: got"):
            model.sample(1, first=first)
    with pytest.raises(iw.DataError, match="x_t: got shape"):
        model.sample_from(torch.zeros(1, 3), 0.5)
    with pytest.raises(iw.ConfigError, match="n: got 0"):
        model.relatives(np.zeros(2), 0.5, 0)
    with pytest.raises(TypeError, match="smapler"):
        model.progressive(1, smapler=iw.DDIM()).__next__()


@bug("other entries", torch.Tensor, "where", lambda self, condition, other: self * ~condition)
def test_missing_entries_end_in_zero_and_walk_as_they_are():
    states = [walk.State(0.5, tensor([[1.0, 2.0]]), None), walk.State(0.0, tensor([[3.0, 4.0]]), None)]
    before, end = walk.masked(states, torch.tensor([[True, False]]))
    assert before.x_s.tolist() == [[1.0, 2.0]]
    assert end.x_s.tolist() == [[3.0, 0.0]]
