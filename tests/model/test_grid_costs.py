"""Learned grids: costs against closed forms and against the bound itself, the search against all grids there are."""

import math
from dataclasses import replace
from itertools import combinations, pairwise
from unittest import mock

import mixed_rows
import numpy as np
import pytest
import torch
from bugs import bug
from closed_forms import expected_bound, flow
from oracles import (
    F64,
    FOUR_BITS,
    LINE,
    PLANE,
    UNEVEN,
    cubature,
    exact_bit_denoiser,
    exact_denoiser,
    log_snr_grid,
    name_of,
    prescribed_bits,
    prescribed_noise,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.model import grid_costs
from inkwash.process.mixed import Joint

LINEAR = iw.LinearSchedule()
X, EPS = PLANE.whiten_inverse(cubature(2)[0]), cubature(2)[1]


def plane_model(schedule=LINEAR, variance="small", steps=1000):
    return iw.Diffusion(exact_denoiser(PLANE, schedule, variance), (2,), steps=steps)


def small_slots():
    """Less to fill up takes less time."""
    return mock.patch.object(Slots, "rows", 16)


def exact_costs(model, candidates=UNEVEN, x=X, noise=EPS):
    """The bound's costs with the noise integrated out, exactly for Gaussian data."""
    with prescribed_noise(noise), small_slots():
        return iw.model.bound_costs(model, x, candidates=candidates)


# Costs over the bound


DECODERS = grid_costs._decoders


def decoder_blind_to_the_time_before(process, x_t, estimate, times, lattice):
    return DECODERS(process, x_t, estimate, times, lattice)[:1]


@bug(
    "decoder blind to the time before",
    grid_costs,
    "_decoders",
    decoder_blind_to_the_time_before,
    schedule=LINEAR,
    variance="small",
)
@pytest.mark.parametrize("schedule", public_schedules(), ids=name_of)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_a_step_costs_what_its_closed_form_says(schedule, variance):
    costs = exact_costs(plane_model(schedule, variance))
    for i, j in combinations(range(len(UNEVEN) - 1), 2):
        pairs, decoder = expected_bound(PLANE, schedule, variance, torch.stack([UNEVEN[i], UNEVEN[j], UNEVEN[-1]]))
        torch.testing.assert_close(costs.step[i, j], pairs[0], rtol=1e-7, atol=1e-10)
        assert float(costs.last[i, j]) == pytest.approx(decoder, rel=1e-8)


def test_with_the_analytic_variance_a_step_costs_the_logarithm():
    """(d/2) ln(1 + rho) with rho = (snr_s - snr_t) mmse / d, where the table of errors is exact."""
    log_snr = LINEAR.log_snr(UNEVEN[:-1])
    error = PLANE.mmse(log_snr.exp()) / 2
    costs = exact_costs(plane_model(variance=iw.process.Analytic(log_snr, error)))
    rho = (log_snr.exp() - log_snr.exp()[:, None]) * error[:, None]
    down = torch.ones_like(rho).triu(1) == 1
    torch.testing.assert_close(costs.step[down], rho[down].log1p(), rtol=1e-7, atol=1e-10)


def require_bounds(model, x, context):
    """Grids of 2, 5 and 8 steps cost their bound, on the same draws."""
    with context, small_slots():
        costs = iw.model.bound_costs(model, x, candidates=UNEVEN)
        for grid in (*(UNEVEN[[0, k, 8]] for k in (1, 4, 7)), UNEVEN[[0, 2, 3, 5, 7, 8]], UNEVEN):
            assert costs.total(grid) == pytest.approx(float(model.bound(x, times=grid).total.mean()), rel=1e-9)


def spread_network(x_t, t):
    return torch.cat([0.3 * x_t, torch.tanh(x_t + t[:, None])], 1)


def step_kl_reversed(process, x, x_t, estimate, s, t, present):
    return process.reverse(x_t, estimate, s, t).kl(process.posterior(x_t, x, s, t), present)


@bug("divergence the wrong way round", grid_costs, "step_kl", step_kl_reversed, variance="free")
@pytest.mark.parametrize("variance", ["large", "learned", "free"])
def test_costs_add_up_to_the_bound_in_data_units(variance):
    """Any network, data units of another scale: the decoder's dependence on two times and the log-determinant count."""
    transform = iw.data.Transform(iw.data.DataSpec((2,), "ND", "float64", -100.0, 100.0, None), (3.0, -7.0), (0.5, 4.0))
    network = spread_network if variance != "large" else lambda x_t, t: 0.3 * x_t
    model = iw.Diffusion(iw.Denoiser(network, iw.Gaussian(LINEAR), "x", variance), (2,), transform)
    require_bounds(model, np.array([[3.1, -2.0], [2.0, -9.0], [4.4, 1.5]]), prescribed_noise(EPS))


@pytest.mark.parametrize("predicts", ["x", iw.denoise.Levels(iw.process.Lattice(-1.0, 1.0, 5))], ids=["x", "levels"])
def test_costs_add_up_to_the_bound_of_levels(predicts):
    transform = iw.data.Transform(iw.data.DataSpec((2,), "ND", "uint8", 0.0, 4.0, 5), (2.0,), (2.0,))

    def network(x_t, t):
        return 0.3 * x_t if predicts == "x" else torch.sin(x_t[..., None] + torch.arange(5))

    model = iw.Diffusion(iw.Denoiser(network, iw.Gaussian(LINEAR), predicts), (2,), transform)
    require_bounds(model, np.array([[0, 3], [2, 4], [1, 1]], dtype=np.uint8), prescribed_noise(EPS))


def test_costs_add_up_to_the_bound_of_bits():
    model = iw.Diffusion(exact_bit_denoiser(FOUR_BITS, LINEAR, 0.3), (4,))
    require_bounds(model, FOUR_BITS.states[1:6], prescribed_bits(FOUR_BITS.states[[3, 12, 6]]))


def middle_of(law, _):
    """The mean of the numbers, moved a little, and the most probable categories."""
    return law.process.joined(law.numbers.mean + 0.3, law.categories.logits.argmax(-1).to(F64))


def told_nothing(denoiser, inputs, rows):
    return denoiser


@bug("a network that is not told what is missing", grid_costs, "under", told_nothing)
def test_costs_add_up_to_the_bound_of_rows_with_missing_cells():
    x = torch.tensor([[0, -1.2], [2, math.nan], [math.nan, 0.4], [1, 0.5]], dtype=F64)
    model = mixed_rows.model_of()
    require_bounds(model, x, mock.patch.object(Joint, "draw", middle_of))


MEANS = grid_costs._costs


def copies_counted(times, step, last, count, fixed):
    return MEANS(times, step, last, -(-count // 16) * 16, fixed)


@bug("copies that fill a slot counted", grid_costs, "_costs", copies_counted)
def test_costs_are_means_over_the_examples_alone():
    """Slots hold more rows than there are examples: of two parts the whole costs the weighted mean."""
    n, cut = 45, 37
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    whole, first, rest = (exact_costs(plane_model(), x=part, noise=EPS[:1]) for part in (x, x[:cut], x[cut:]))
    for grid in (UNEVEN[[0, 3, 6, 8]], UNEVEN[[0, 5, 8]]):
        mean = (cut * first.total(grid) + (n - cut) * rest.total(grid)) / n
        assert whole.total(grid) == pytest.approx(mean, rel=1e-9)
    assert whole.evaluations == n * 8


def test_the_learned_grid_has_the_least_bound():
    """Beside the usual grids of as many steps, all their times being candidates; and its cost is its bound."""
    model = plane_model(variance="large")
    for steps in (3, 6):
        even = iw.uniform_grid(steps)
        usual = [even, even**2, log_snr_grid(LINEAR, steps, 1e-3)]
        candidates = torch.cat([*usual, iw.uniform_grid(20)]).unique().flip(0)
        costs = exact_costs(model, candidates)
        best = costs.grid(steps)
        with prescribed_noise(EPS), small_slots():
            bounds = [float(model.bound(X, times=grid).total.mean()) for grid in (best, *usual)]
        assert costs.total(best) == pytest.approx(bounds[0], rel=1e-9)
        assert bounds[0] < min(bounds[1:]) - 1e-3


# The search


GRID = iw.model.GridCosts.grid


def last_step_for_nothing(self, steps):
    return GRID(replace(self, last=torch.zeros_like(self.last)), steps)


def greedy(self, steps):
    path = [0]
    while len(path) < steps:
        free = self.step[path[-1]].clone()
        free[len(free) - steps + len(path) + 1 :] = torch.inf
        path.append(int(free.argmin()))
    return torch.cat([self.times[path], self.times[-1:]])


@bug("last step for nothing", iw.model.GridCosts, "grid", last_step_for_nothing, steps=4)
@bug("cheapest step first", iw.model.GridCosts, "grid", greedy, steps=4)
@pytest.mark.parametrize("steps", range(2, 8))
def test_the_search_finds_the_cheapest_of_all_grids(steps):
    count = 7
    times = torch.cat([tensor([1.0, 0.8, 0.7, 0.4, 0.3, 0.2, 0.1]), torch.zeros(1, dtype=F64)])
    random = torch.Generator().manual_seed(steps)
    for _ in range(20):
        step, last = torch.rand(2, count, count, generator=random, dtype=F64) ** 3
        costs = iw.model.GridCosts(times, step, last, 2.5, 0)

        def cost(between, step=step, last=last):
            path = (0, *between)
            return float(sum(step[a, b] for a, b in pairwise(path)) + last[path[-2], path[-1]])

        between = min(combinations(range(1, count), steps - 1), key=cost)
        below = torch.ones(count, count).triu(1) == 1
        ordered = iw.model.GridCosts(times, step.where(below, torch.inf), last.where(below, torch.inf), 2.5, 0)
        assert ordered.grid(steps).tolist() == [1.0, *times[list(between)].tolist(), 0.0]
        assert costs.total(ordered.grid(steps)) == pytest.approx(2.5 + cost(between), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 0, -3, 2.0, True, 9])
def test_a_bad_number_of_steps_is_refused(steps):
    with pytest.raises(iw.ConfigError, match="steps"):
        exact_costs(plane_model()).grid(steps)


def test_times_that_are_no_candidates_have_no_cost():
    for times in (iw.uniform_grid(3), iw.uniform_grid(1), tensor([1.0, 0.31])):
        with pytest.raises(iw.ConfigError):
            exact_costs(plane_model()).total(times)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_is_not_finite_has_no_grid(value):
    model = iw.Diffusion(iw.Denoiser(lambda x_t, t: value * x_t, iw.Gaussian(LINEAR), "x"), (2,))
    with pytest.raises(iw.NonFiniteError, match="grid"):
        iw.model.bound_costs(model, X, candidates=UNEVEN).grid(4)


# Candidates


def candidates_by(select):
    """Candidates that `select` takes by their places in a grid, given its log-SNRs and 128 even ones."""

    def candidates(model, given):
        grid = iw.uniform_grid(model.steps)
        log_snr = model.process.schedule.log_snr(grid[:-1]).clamp(min=-20)
        even = torch.linspace(float(log_snr[0]), float(log_snr[-1]), 128, dtype=F64)
        return torch.cat([grid[select(log_snr, even).long().unique()], grid[-1:]])

    return candidates


@bug(
    "nearest in rank",
    grid_costs,
    "candidate_times",
    candidates_by(lambda log_snr, even: torch.linspace(0, len(log_snr) - 1, 128).round()),
    schedule=LINEAR,
)
@bug("the next one, not the nearest", grid_costs, "candidate_times", candidates_by(torch.searchsorted), schedule=LINEAR)
@pytest.mark.parametrize("schedule", [LINEAR, iw.RectifiedSchedule(), iw.KarrasSchedule()], ids=name_of)
def test_candidates_are_times_of_the_models_own_grid_spread_over_its_noise(schedule):
    """No time of the model lies nearer to any of 128 even levels of noise than the candidates do."""
    times = iw.model.trajectory_costs(iw.Diffusion(lambda_denoiser(schedule), (1,)), 1, seed=0).times
    own = iw.uniform_grid(1000)
    assert set(times.tolist()) <= set(own.tolist())
    assert (times[0], times[-2], times[-1]) == (1.0, own[-2], 0.0)
    assert 30 < len(times) <= 129
    assert bool((times.diff() < 0).all())
    noise, all_noise = (schedule.log_snr(some[:-1]).clamp(min=-20).numpy() for some in (times, own))
    even = np.linspace(all_noise[0], all_noise[-1], 128)[:, None]
    np.testing.assert_allclose(np.abs(even - noise).min(1), np.abs(even - all_noise).min(1), rtol=1e-9, atol=1e-9)


def lambda_denoiser(schedule):
    return iw.Denoiser(lambda x_t, t: 0.0 * x_t, iw.Gaussian(schedule), "x")


def test_a_small_grid_of_the_model_is_taken_whole():
    assert torch.equal(exact_costs(plane_model(steps=40), None).times, iw.uniform_grid(40))


@pytest.mark.parametrize("candidates", [tensor([1.0, 0.5]), tensor([0.9, 0.0]), tensor([1.0, 0.2, 0.4, 0.0])])
def test_bad_candidates_are_refused(candidates):
    with pytest.raises(iw.ConfigError, match="times"):
        iw.model.bound_costs(plane_model(), X, candidates=candidates)
    with pytest.raises(iw.ConfigError, match="times"):
        iw.model.trajectory_costs(plane_model(), candidates=candidates)


# Costs over trajectories


def test_candidates_that_are_given_are_all_taken():
    times = iw.uniform_grid(140)
    assert torch.equal(iw.model.trajectory_costs(plane_model(), 1, candidates=times, seed=0).times, times)


def ddim_without_its_noise(process, x, eps, s):
    return process.diffuse(x.expand(len(s), *x.shape), s, 0 * eps.expand(len(s), *eps.shape))


@bug("steps that drop the noise", grid_costs, "_ddim", ddim_without_its_noise, rows=2)
@pytest.mark.parametrize("rows", [2, 1024])
def test_deviations_follow_the_recursion_of_ddim(rows, monkeypatch):
    """In y = x_t / alpha and w = sigma / alpha a step from w to w' multiplies y - mean by (v + w w') / (v + w^2): the
    trajectory takes every step, its rival only one from t_i."""
    monkeypatch.setattr(Slots, "rows", rows)
    schedule, times = iw.KarrasSchedule(), UNEVEN
    starts = tensor([[0.9], [-1.4], [0.2]])
    with prescribed_noise(starts):
        costs = iw.model.trajectory_costs(iw.Diffusion(exact_denoiser(LINE, schedule), (1,)), 3, candidates=times)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    w, v, mean = sigma / alpha, LINE.eigenvalues, LINE.mean
    scale = (alpha**2 + sigma**2).sqrt()

    def factor(i, j):
        return (v + w[i] * w[j]) / (v + w[i] ** 2)

    for i, j in combinations(range(1, len(times)), 2):
        reached = math.prod((factor(k, k + 1) for k in range(i)), start=starts * scale[0] / alpha[0] - mean)
        off = (factor(i, j) - math.prod(factor(k, k + 1) for k in range(i, j))) * reached
        got = costs.step[i, j] if j < len(times) - 1 else costs.last[i - 1, i]
        torch.testing.assert_close(got, (alpha[j] / scale[j] * off).abs().mean())


def test_a_grid_over_trajectories_ends_nearer_to_the_flow():
    """Endpoint error against the exact flow, at 5 to 10 steps, beside the usual grids."""
    model = plane_model()
    costs = iw.model.trajectory_costs(model, 32, seed=1)
    x_1 = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=F64)

    def error(times):
        *_, (_, x) = iw.DDIM().trajectory(model.denoiser, x_1, times, torch.Generator())
        return float((x - flow(PLANE, LINEAR, x_1)).norm(dim=1).mean())

    for steps in (5, 7, 10):
        even = iw.uniform_grid(steps)
        assert error(costs.grid(steps)) < 0.8 * error(even)
        assert error(costs.grid(steps)) < min(error(even**2), error(log_snr_grid(LINEAR, steps, 1e-3)))


def test_the_seed_governs_the_trajectories():
    first, again, other = (iw.model.trajectory_costs(plane_model(steps=10), 5, seed=seed).step for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bits_have_no_trajectories():
    with pytest.raises(iw.ConfigError, match="trajectory_costs: got a Bernoulli process"):
        iw.model.trajectory_costs(iw.Diffusion(exact_bit_denoiser(FOUR_BITS, LINEAR, 0.3), (4,)))


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_a_bad_number_of_trajectories_is_refused(n):
    with pytest.raises(iw.ConfigError, match="n: got"):
        iw.model.trajectory_costs(plane_model(), n)
