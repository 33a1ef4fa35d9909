"""Learned steps: exact where the best weights are, closer than the usual solvers, and only for what they fit."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from bugs import bug
from closed_forms import flow
from flows import BLOBS
from oracles import PLANE, GaussianData, exact_denoiser, log_snr_grid, name_of

import inkwash as iw
from inkwash.model import trajectories
from inkwash.sample.learned import LearnedSteps

LINEAR = iw.LinearSchedule()
CANDIDATES = log_snr_grid(LINEAR, 40)


def model_of(data, schedule=LINEAR):
    return iw.Diffusion(exact_denoiser(data, schedule), (2,))


def learned(data, steps, n=64, seed=0, schedule=LINEAR, candidates=None):
    return iw.model.flow_trajectories(model_of(data, schedule), n, candidates=candidates, seed=seed).learned(steps)[0]


def only_the_estimate(parts, goal, solve=trajectories._least_squares):
    return (0.0, *solve(parts[1:], goal))


@bug("weights of the estimates only", trajectories, "_least_squares", only_the_estimate, steps=1)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("schedule", [LINEAR, iw.KarrasSchedule()], ids=name_of)
def test_on_normal_data_of_two_variances_the_learned_steps_are_exact(schedule, steps):
    """The flow multiplies each principal axis by a number of its own, and so does the estimate: two weights do it to
    rounding, from any start."""
    data = GaussianData([0.0, 0.0], PLANE.cov.tolist())
    sampler = learned(data, steps, schedule=schedule)
    others = iw.model.flow_trajectories(model_of(data, schedule), 20, seed=1)
    assert others.error(sampler, sampler.grid()) < 1e-7


def test_trajectories_are_those_of_the_flow():
    model = model_of(PLANE)
    found = iw.model.flow_trajectories(model, 8, seed=0)
    expected = flow(PLANE, LINEAR, found.states[0])
    torch.testing.assert_close(found.states[-1], expected, rtol=0, atol=1e-4)


def test_on_trajectories_that_they_were_not_learned_on_they_come_closest():
    """Half as far from the flow as the closest of all solvers and grids there are, in as many evaluations."""
    sampler = learned(BLOBS, 5, 256)
    others = iw.model.flow_trajectories(model_of(BLOBS), 256, seed=1)
    rivals = [iw.DDIM(), iw.DPMSolver(2), iw.DPMSolver(3), iw.Adams(2), iw.Adams(3), iw.IPNDM(3)]
    grids = [iw.UniformGrid(), iw.LogSnrGrid(), iw.KarrasGrid(), iw.AngleGrid()]
    best = min(others.error(rival, grid.times(LINEAR, 5)) for rival in rivals for grid in grids)
    assert others.error(sampler, sampler.grid()) < best / 2


@pytest.mark.slow
def test_more_steps_come_closer():
    others = iw.model.flow_trajectories(model_of(BLOBS), 256, seed=1)
    samplers = [learned(BLOBS, steps, 256) for steps in (2, 4, 8, 16)]
    errors = [others.error(each, each.grid()) for each in samplers]
    assert all(after < before / 1.5 for before, after in pairwise(errors))


def test_they_are_a_function_of_the_seed():
    first, again, other = (learned(BLOBS, 3, 16, seed, candidates=CANDIDATES) for seed in (1, 1, 2))
    assert first == again != other


def test_a_search_moves_to_the_least_error_in_reach(monkeypatch):
    """The error of places: their distance from known ones."""

    class Known:
        def error(self, places):
            return sum(abs(a - b) for a, b in zip(places, (0, 3, 17, 21, 40), strict=True))

    assert trajectories._searched(Known(), (0, 10, 20, 30, 40)) == (0, 3, 17, 21, 40)


def test_evaluations_are_counted():
    asked = []

    def counted(x_t, t):
        asked.append(len(x_t))
        return 0.3 * x_t

    model = iw.Diffusion(iw.Denoiser(counted, iw.Gaussian(LINEAR), "x"), (2,))
    found = iw.model.flow_trajectories(model, 10, candidates=CANDIDATES, seed=0)
    assert sum(asked) == 10 * 40
    assert found.learned(3)[1] == sum(asked) - 10 * 40


def test_a_model_samples_with_them():
    sampler = learned(BLOBS, 4, candidates=CANDIDATES)
    model = model_of(BLOBS)
    own = model.with_options(sampler=sampler, times=sampler.grid())
    assert torch.equal(own.sample(8, seed=3), model.sample(8, seed=3, sampler=sampler, times=sampler.grid()))


def sampler_but(**parts):
    return replace(LearnedSteps((1.0, 0.5, 0.0), (1.5, 0.5, 0.0), ((1.0, 0.1), (0.5, 0.2, 0.1))), **parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"times": (1.0, 0.0)}, "sampler.weights: got 3 angles and weights of 2 steps, need those of 1 steps"),
        ({"times": (1.0, 0.0, 0.5)}, "times"),
        ({"weights": ((1.0, 0.1, 0.2), (0.5, 0.2, 0.1))}, "sampler.weights: got .*1 to 1 estimates"),
        ({"weights": ((1.0, 0.1), (0.5, math.nan, 0.1))}, "sampler.weights: got .*finite ones"),
        ({"weights": ((1.0, 0.1), (0.5,))}, "sampler.weights"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message):
    with pytest.raises(iw.ConfigError, match=message):
        sampler_but(**parts)


def test_they_are_refused_where_they_were_not_learned():
    sampler = learned(BLOBS, 3, candidates=CANDIDATES)
    with pytest.raises(iw.ConfigError, match=r"times: got .* need those of the learned steps"):
        model_of(BLOBS).sample(2, seed=0, sampler=sampler, steps=3)
    with pytest.raises(iw.ConfigError, match="sampler: got steps learned for another schedule"):
        model_of(BLOBS, iw.CosineSchedule()).sample(2, seed=0, sampler=sampler, times=sampler.grid())


@pytest.mark.parametrize(("steps", "message"), [(0, "steps: got 0"), (21, "at most 20"), (True, "steps")])
def test_a_bad_number_of_steps_is_refused(steps, message):
    found = iw.model.flow_trajectories(model_of(PLANE), 2, candidates=CANDIDATES, seed=0)
    with pytest.raises(iw.ConfigError, match=message):
        found.learned(steps)


def test_a_network_that_is_not_finite_is_an_error():
    model = iw.Diffusion(iw.Denoiser(lambda x_t, t: x_t * math.nan, iw.Gaussian(LINEAR), "x"), (2,))
    with pytest.raises(iw.NonFiniteError):
        iw.model.flow_trajectories(model, 2, candidates=CANDIDATES, seed=0).learned(2)
