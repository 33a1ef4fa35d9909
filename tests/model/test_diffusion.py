"""The model as a distribution: reproducible draws, densities in data units, errors at the border."""

import math
from itertools import combinations
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    PLANE,
    UNEVEN,
    GaussianData,
    cubature,
    exact_denoiser,
    exact_network,
    prescribed_noise,
    public,
    tensor,
)
from torch import nn

import inkwash as iw
from inkwash.core import randomness
from inkwash.core.randomness import derived_seed, slots_of
from inkwash.model import walking as models

LINEAR = iw.LinearSchedule()
SAMPLERS = [*(kind() for kind in public(iw.sample.Sampler)), iw.DDIM(eta=0.7)]


def awake(network):
    """A network whose zero weights are drawn instead, so that it does something."""
    random = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.05, generator=random)
    return network


def networks():
    torch.manual_seed(0)
    unet = awake(iw.UNet(1, width=8, multipliers=(1, 2), blocks=1, attention=(False, True)))
    return {
        "unet": (unet, (1, 8, 8)),
        "mlp": (awake(iw.MLP(64, width=32, depth=2)), (64,)),
        "callable": (gentle, (64,)),
    }


def gentle(x_t, t):
    return 0.3 * x_t + torch.sin(t)[:, None]


def model_of(kind):
    network, shape = networks()[kind]
    return iw.Diffusion(iw.Denoiser(network, iw.Gaussian(LINEAR)), shape)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("kind", ["unet", "mlp", "callable"])
def test_a_sample_of_a_seed_has_the_same_bits_however_many_are_drawn(kind, sampler):
    model = model_of(kind)
    most = model.sample(130, seed=7, sampler=sampler, steps=3)
    for n in (1, 5, 64):
        assert torch.equal(model.sample(n, seed=7, sampler=sampler, steps=3), most[:n])
    assert len(most.unique(dim=0)) == 130


def test_a_seed_leaves_the_global_generators_alone():
    model = plane_model()
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    model.sample(3, seed=5, steps=3)
    model.bound(torch.zeros(3, 2), steps=3, seed=5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_without_a_seed_the_global_generator_governs():
    model = plane_model()
    torch.manual_seed(1)
    first, second = (model.sample(3, steps=3) for _ in range(2))
    torch.manual_seed(1)
    again = model.sample(3, steps=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_seeds_differ():
    draws = [plane_model().sample(2, seed=seed, steps=3) for seed in (0, 1, 2**32, 2**62)]
    assert len(torch.cat(draws).unique(dim=0)) == 8


def test_seeds_of_likelihoods_differ():
    model, x = plane_model(), torch.ones(2, 2, dtype=F64)
    for ask in (
        lambda seed: model.bound(x, steps=3, seed=seed).total,
        lambda seed: model.log_prob(x, divergence="hutchinson", probes=1, solver=iw.Fixed(4), seed=seed).value,
    ):
        assert torch.equal(ask(1), ask(1))
        assert not torch.equal(ask(1), ask(2))


@bug(
    "two uses under one key",
    models,
    "slots_of",
    lambda x, seed, purpose: slots_of(x, seed, randomness.Purpose.SAMPLE_FROM),
)
def test_no_two_uses_of_a_seed_share_numbers():
    seed = 3
    model, x = plane_model(), torch.ones(2, 2, dtype=F64)
    uses = (
        lambda: model.sample(1025, seed=seed, steps=2),
        lambda: model.diffuse(x, 0.5, seed=seed),
        lambda: model.sample_from(x, 0.5, seed=seed, steps=2),
        lambda: model.interpolate(x[0], x[1], 2, t=0.5, seed=seed, steps=2),
        lambda: model.bound(x, seed=seed, steps=2),
        lambda: model.log_prob(x, seed=seed, solver=iw.Fixed(2)),
        lambda: iw.likelihood.immse_log_prob(model.denoiser, x, strata=1, seed=seed),
        lambda: iw.model.bound_costs(model, x, candidates=UNEVEN, seed=seed),
        lambda: iw.model.trajectory_costs(model, 2, candidates=UNEVEN, seed=seed),
    )
    keys = [set(keys_of(use)) for use in uses]
    assert all(keys)
    assert not any(a & b for a, b in combinations(keys, 2))


def keys_of(use):
    """The keys of the generators that it asks for."""
    with mock.patch.object(randomness, "derived_seed", side_effect=derived_seed) as asked:
        use()
    return [call.args for call in asked.call_args_list]


@pytest.mark.parametrize("n", [1, 1025])
def test_a_slot_draws_from_one_generator(n):
    """Where it starts and what is added on the way come from one stream, and no two slots from the same."""
    keys = keys_of(lambda: plane_model().sample(n, seed=3, steps=2))
    assert len(keys) == len(set(keys)) == -(-n // 1024)


def plane_model(data=PLANE, transform=None, variance="small"):
    return iw.Diffusion(exact_denoiser(data, LINEAR, variance), (data.size,), transform, dtype=F64)


def test_samples_have_the_law_of_the_data():
    """The whole chain, with real noise: mean and covariance of correlated data, within four standard errors and 2 %."""
    n = 2000
    x = plane_model().sample(n, seed=0, sampler=iw.DDIM(), steps=100)
    spread = PLANE.cov.diagonal()
    assert bool(((x.mean(0) - PLANE.mean).abs() < 4 * (spread / n).sqrt() + 0.02).all())
    allowed = 4 * (torch.outer(spread, spread) * 2 / n).sqrt() + 0.02 * spread.max()
    assert bool(((x.T.cov() - PLANE.cov).abs() < allowed).all())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_sample_is_the_end_of_its_trajectory(sampler):
    model = plane_model()
    walk = list(model.trajectory(5, seed=3, sampler=sampler, times=UNEVEN))
    assert [s for s, _ in walk] == UNEVEN[1:].tolist()
    assert torch.equal(walk[-1][1], model.sample(5, seed=3, sampler=sampler, times=UNEVEN))


def test_a_grid_spreads_the_steps():
    model, grid = iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,), steps=40, dtype=F64), iw.KarrasGrid()
    times = grid.times(LINEAR, 6, 40)
    given = model.sample(3, seed=1, sampler=iw.DDIM(), times=times)
    assert torch.equal(model.sample(3, seed=1, sampler=iw.DDIM(), steps=6, grid=grid), given)
    by_default = model.sample(3, seed=1, steps=6, grid=iw.UniformGrid())
    assert torch.equal(model.sample(3, seed=1, steps=6), by_default)
    assert torch.equal(model.sample(3, seed=1), model.sample(3, seed=1, grid=iw.UniformGrid()))


def test_a_grid_takes_a_schedule():
    model = iw.Diffusion(SimpleNamespace(process=SimpleNamespace(lattice=None)), (2,))
    with pytest.raises(iw.ConfigError, match=r"grid: got .* has no schedule"):
        model.sample(1, steps=2, grid=iw.LogSnrGrid())


def test_times_beside_a_grid_are_refused():
    with pytest.raises(iw.ConfigError, match="times: got"):
        plane_model().sample(1, times=UNEVEN, grid=iw.LogSnrGrid())


def test_the_score_is_that_of_the_density_with_noise():
    x_t = tensor([[0.3, -1.0], [2.0, 0.1]]).requires_grad_()
    law = PLANE.marginal(LINEAR.alpha(0.4), LINEAR.sigma(0.4))
    gradient = torch.autograd.grad(law.log_prob(x_t).sum(), x_t)[0]
    torch.testing.assert_close(plane_model().score(x_t.detach(), 0.4), gradient)


SHIFT, SCALE = (3.0, -20.0), (0.5, 40.0)
IN_DATA_UNITS = GaussianData(
    [3.0 + 0.5 * 1.5, -20.0 + 40.0 * -0.7], [[0.25 * 2.0, 0.5 * 40.0 * 0.9], [0.5 * 40.0 * 0.9, 1600.0 * 0.6]]
)


def affine_model(variance="small"):
    spec = iw.data.DataSpec((2,), "ND", "float64", -100.0, 100.0, None)
    return plane_model(PLANE, iw.data.Transform(spec, SHIFT, SCALE), variance)


LOG_DET = iw.data.Transform.entry_log_det


@bug("log-determinant with the wrong sign", iw.data.Transform, "entry_log_det", lambda self, x: -LOG_DET(self, x))
@bug("log-determinant forgotten", iw.data.Transform, "entry_log_det", lambda self, x: torch.zeros(x.shape))
def test_a_bound_in_data_units_bounds_the_density_in_data_units():
    """One model gets its data in model units and in data units: the bounds differ as the true densities do."""
    x = PLANE.whiten_inverse(cubature(2)[0])
    data = np.asarray(SHIFT) + np.asarray(SCALE) * x.numpy()
    with prescribed_noise(cubature(2)[1]):
        in_model_units, in_data_units = plane_model().bound(x, steps=20), affine_model().bound(data, steps=20)
    expected = PLANE.log_prob(x) - IN_DATA_UNITS.log_prob(torch.as_tensor(data))
    torch.testing.assert_close(in_data_units.total - in_model_units.total, expected, rtol=1e-5, atol=1e-5)
    for name in ("lower", "prior_log_prob"):
        gain = getattr(in_data_units, name) - getattr(in_model_units, name)
        torch.testing.assert_close(gain, -expected, rtol=1e-5, atol=1e-5)
    assert float(in_data_units.total.mean()) >= IN_DATA_UNITS.entropy()


def test_samples_come_back_in_data_units():
    in_model_units, in_data_units = plane_model().sample(6, seed=2, steps=5), affine_model().sample(6, seed=2, steps=5)
    np.testing.assert_allclose(
        in_data_units, np.asarray(SHIFT) + np.asarray(SCALE) * in_model_units.numpy(), rtol=1e-12
    )
    assert in_data_units.dtype == np.float64


def test_levels_keep_their_type_and_alphabet():
    spec = iw.data.DataSpec((1, 2, 2), "NHW", "uint8", 0.0, 16.0, 17)
    transform = iw.data.Transform(spec, (8.0,), (8.0,))
    process = iw.Gaussian(LINEAR)
    model = iw.Diffusion(
        iw.Denoiser(lambda x_t, t: 3 * torch.ones_like(x_t), process, predicts="x"), (1, 2, 2), transform
    )
    assert model.sample(3, seed=0, steps=4).tolist() == [[[16, 16], [16, 16]]] * 3
    assert model.sample(3, seed=0, steps=4).dtype == np.uint8


def test_a_uniform_guess_about_levels_costs_their_logarithm_or_more():
    """Seventeen equally likely levels: no model does better than log2(17) bits on average."""
    spec = iw.data.DataSpec((1,), "N", "uint8", 0.0, 16.0, 17)
    model = iw.Diffusion(
        iw.Denoiser(lambda x_t, t: torch.zeros_like(x_t), iw.Gaussian(LINEAR), "x"),
        (1,),
        iw.data.Transform(spec, (8.0,), (8.0,)),
    )
    result = model.bound(np.tile(np.arange(17, dtype=np.uint8), 40), steps=50)
    assert float(result.bits_per_dim.mean()) >= math.log2(17)
    torch.testing.assert_close(result.bits_per_dim * math.log(2), result.total)


def test_the_model_runs_in_the_precision_of_its_network():
    torch.manual_seed(0)
    process = iw.Gaussian(LINEAR)
    single = iw.Diffusion(iw.Denoiser(iw.MLP(2, 8, 1), process), (2,))
    double = iw.Diffusion(iw.Denoiser(iw.MLP(2, 8, 1).double(), process), (2,))
    assert single.sample(1, seed=0, steps=2).dtype == torch.float32
    assert double.sample(1, seed=0, steps=2).dtype == F64


def test_dropout_is_off():
    torch.manual_seed(0)
    network = awake(iw.MLP(2, 16, 2, dropout=0.5))
    model = iw.Diffusion(iw.Denoiser(network, iw.Gaussian(LINEAR)), (2,))
    x_t = torch.ones(4, 2)
    assert torch.equal(model.score(x_t, 0.5), model.score(x_t, 0.5))


def test_no_gradients_are_kept():
    torch.manual_seed(0)
    model = iw.Diffusion(iw.Denoiser(iw.MLP(2, 8, 1), iw.Gaussian(LINEAR)), (2,))
    assert not model.sample(1, seed=0, steps=2).requires_grad
    assert not model.bound(torch.zeros(1, 2), steps=2).total.requires_grad
    assert not model.score(torch.zeros(1, 2), 0.5).requires_grad


def test_any_callable_and_any_wrapped_denoiser_will_do():
    denoiser = iw.Denoiser(exact_network(PLANE, LINEAR), iw.Gaussian(LINEAR), predicts="x")
    plain, wrapped = (iw.Diffusion(d, (2,), dtype=F64) for d in (denoiser, iw.Clipped(denoiser, -1e6, 1e6)))
    torch.testing.assert_close(plain.sample(3, seed=0, steps=5), wrapped.sample(3, seed=0, steps=5))


@pytest.mark.parametrize(
    "options",
    [
        {"n": -1},
        {"n": 0},
        {"n": 1.5},
        {"n": True},
        {"n": 2, "seed": -1},
        {"n": 2, "seed": 0.5},
        {"n": 2, "steps": 0},
        {"n": 2, "steps": 2.5},
        {"n": 2, "steps": 3, "times": UNEVEN},
        {"n": 2, "times": tensor([0.5, 0.0])},
        {"n": 2, "sampler": "ddim"},
        {"n": 2, "sampler": iw.DDIM},
        {"n": 2, "grid": "karras"},
        {"n": 2, "grid": iw.KarrasGrid},
    ],
    ids=str,
)
def test_bad_requests_are_refused(options):
    with pytest.raises(iw.ConfigError):
        plane_model().sample(**{"seed": 0, **options})


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 3), (3, 2, 1)])
def test_data_of_another_shape_is_refused(shape):
    model = plane_model()
    for ask in (model.bound, model.decode, lambda x: model.score(x, 0.5), lambda x: model.sample_from(x, 0.5)):
        with pytest.raises(iw.DataError, match="shape"):
            ask(torch.zeros(shape))


def test_bad_requests_about_data_are_refused():
    model, x = plane_model(), torch.zeros(2, 2)
    bad = {
        "steps: got inf, need either": lambda: model.bound(x, steps=math.inf, times=UNEVEN),
        "seed: got -1": lambda: model.bound(x, steps=2, seed=-1),
        "seed: got None": lambda: model.bound(x, steps=2, seed=None),
        "t: got 1.5": lambda: model.score(x, 1.5),
        "t: got nan": lambda: model.score(x, math.nan),
    }
    for message, ask in bad.items():
        with pytest.raises(iw.ConfigError, match=f"^{message}"):
            ask()


def test_arrays_lists_and_tensors_say_the_same():
    model, x = plane_model(), tensor([[0.3, -1.0], [2.0, 0.5]])
    solver = iw.Fixed(3)
    for ask in (
        lambda x: model.bound(x, steps=3).total,
        lambda x: model.encode(x, solver=solver),
        lambda x: model.decode(x, solver=solver),
        lambda x: model.score(x, 0.5),
        lambda x: model.sample_from(x, 0.5, seed=0, steps=4),
    ):
        for other in (x.numpy(), x.clone().requires_grad_()):
            torch.testing.assert_close(ask(other), ask(x), rtol=0, atol=0)
    in_data_units = affine_model()
    data = in_data_units.sample(2, seed=0, steps=3)
    live = torch.from_numpy(data).requires_grad_()
    assert torch.equal(in_data_units.bound(live, steps=3).total, in_data_units.bound(data, steps=3).total)
