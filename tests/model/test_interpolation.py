"""Ways between two examples: angles and norms on the sphere, the flow of Gaussian data, means given a mixture."""

import math
from unittest import mock

import numpy as np
import pytest
import torch
from bugs import bug
from closed_forms import flow
from flows import Exploding
from oracles import F64, PLANE, condition, exact_denoiser, joint_covariance, prescribed_noise, tensor

import inkwash as iw
from inkwash.core.randomness import generator
from inkwash.model import diffusion as models
from inkwash.model.interpolation import linear, spherical

LINEAR = iw.LinearSchedule()
WEIGHTS = torch.linspace(0, 1, 5, dtype=F64)
TIGHT = iw.Adaptive(1e-9, 1e-9)


def model_of(schedule=LINEAR):
    return iw.Diffusion(exact_denoiser(PLANE, schedule), (2,), dtype=F64)


def far_apart(seed=0, size=20):
    a, b = torch.randn(2, size, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return a, 3 * b


def test_a_way_along_the_sphere_turns_steadily_and_changes_its_norm_steadily():
    a, b = far_apart()
    arc = spherical(a, b, WEIGHTS)
    norms, unit = arc.norm(dim=1), arc / arc.norm(dim=1, keepdim=True)
    whole = torch.arccos(a @ b / a.norm() / b.norm())
    torch.testing.assert_close(torch.arccos((unit[1:] * unit[:-1]).sum(1)), (whole / 4).expand(4))
    torch.testing.assert_close(norms.diff(), (b.norm() - a.norm()).expand(4) / 4)
    torch.testing.assert_close(arc[[0, -1]], torch.stack([a, b]))
    assert torch.linalg.matrix_rank(arc) == 2


def test_scale_and_shape_pass_through():
    a, b = far_apart()
    torch.testing.assert_close(spherical(7 * a, 7 * b, WEIGHTS), 7 * spherical(a, b, WEIGHTS))
    assert torch.equal(spherical(a.reshape(4, 5), b.reshape(4, 5), WEIGHTS), spherical(a, b, WEIGHTS).reshape(-1, 4, 5))


def test_between_two_of_one_direction_the_way_is_straight():
    a, _ = far_apart()
    for b in (a, 2 * a):
        torch.testing.assert_close(spherical(a, b, WEIGHTS), linear(a, b, WEIGHTS))


def test_the_noise_of_the_ends_is_not_that_of_the_walks():
    """All walks have the same noise, of another generator than that which made noisy ends of the two examples."""
    a, b = tensor([0.4, -1.0]), tensor([2.0, 0.3])
    with mock.patch.object(models, "generator", side_effect=generator) as asked:
        model_of().interpolate(a, b, 3, t=0.5, seed=5, steps=4)
    ends, *walks = (call.args for call in asked.call_args_list)
    assert len(walks) == 3
    assert len(set(walks)) == 1
    assert ends not in walks


def test_opposite_codes_have_no_way_between_them():
    with pytest.raises(iw.DataError, match="opposite"):
        spherical(tensor([-1.0]), tensor([2.0]), WEIGHTS)


SPHERICAL = spherical


def sphere_of_a_standard_prior(a, b, weights):
    arc = SPHERICAL(a, b, weights)
    return arc / arc.norm(dim=1, keepdim=True) * a.numel() ** 0.5


@bug("a straight line between codes", models, "spherical", linear, schedule=LINEAR)
@bug("prior's scale forgotten", models, "spherical", sphere_of_a_standard_prior, schedule=Exploding())
@pytest.mark.parametrize("schedule", [LINEAR, Exploding()], ids=["linear", "exploding"])
def test_interpolation_of_gaussian_data_is_an_arc_moved_by_the_affine_flow(schedule):
    """Codes on a circle with the radius that the prior's have in the mean, turned by `angle` from the first to the
    last."""
    model = model_of(schedule)
    turn = 0.4 + WEIGHTS * 3.0
    codes = model.process.prior((1, 2), like=torch.zeros((), dtype=F64)).std * math.sqrt(2)
    expected = flow(PLANE, schedule, codes * torch.stack([turn.cos(), turn.sin()], 1))
    got = model.interpolate(expected[0], expected[-1], 5, solver=TIGHT)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@bug("codes mixed at a time", models, "linear", SPHERICAL)
def test_mixed_at_a_time_the_mean_is_that_given_the_mixture():
    """Steps of an exact denoiser keep the mean: without noise a walk ends at E[x | x_t], and x_t is the mixture."""
    t = 0.35
    a, b = tensor([3.0, -2.0]), tensor([-1.0, 0.5])
    with prescribed_noise(torch.zeros(1, 2, dtype=F64)):
        got = model_of().interpolate(a, b, 5, t=t, steps=10)
    gain, _ = condition(joint_covariance(PLANE, LINEAR, 0.2, t), slice(4, 6), slice(2, 4))
    mixed = a + torch.arange(5, dtype=F64)[:, None] / 4 * (b - a)
    torch.testing.assert_close(got, PLANE.mean + LINEAR.alpha(t) * (mixed - PLANE.mean) @ gain.T, rtol=1e-8, atol=1e-8)


def noise_of_its_own_for_each(process, x, t, generator):
    return process.diffuse(x, t, process.noise(x.shape, generator, like=x))


@bug("different noise for the two ends", models, "diffuse_alike", noise_of_its_own_for_each)
def test_noise_is_shared_by_the_ends_and_by_all_walks():
    """Between an example and itself there is nothing: every draw is the same, though not the example."""
    a = tensor([3.0, -2.0])
    got = model_of().interpolate(a, a, 4, t=0.5, steps=10, seed=1)
    assert torch.equal(got, got[:1].expand(4, 2))
    assert not torch.allclose(got[0], model_of().interpolate(a, a, 4, t=0.5, steps=10, seed=2)[0])


def five_levels(size):
    """Independent entries of five levels with an exact denoiser, and a draw of 8 examples."""
    lattice, masses = iw.process.Lattice(-1.0, 1.0, 5), tensor([0.1, 0.4, 0.2, 0.2, 0.1])
    process = iw.Gaussian(LINEAR)
    denoiser = iw.Denoiser(
        lambda x_t, t: masses.log().expand(*x_t.shape, 5), process, predicts=iw.denoise.Levels(lattice)
    )
    spec = iw.data.DataSpec((size,), "ND", "uint8", 0.0, 4.0, 5)
    model = iw.Diffusion(denoiser, (size,), iw.data.Transform(spec, (2.0,) * size, (2.0,) * size), dtype=F64)
    return model, np.random.default_rng(1).choice(5, (8, size), p=masses).astype(np.uint8)


def test_the_ends_of_data_with_levels_come_back():
    model, x = five_levels(64)
    got = model.interpolate(x[0], x[1], 3, seed=1)
    assert got.dtype == np.uint8
    assert np.array_equal(got[[0, 2]], x[:2])
    assert np.array_equal(model.interpolate(x[0], x[0], 3), np.stack([x[0]] * 3))


def test_levels_are_mixed_by_codes_of_the_norm_of_the_prior(monkeypatch):
    """The levels themselves have shorter codes: what tells a level from its neighbours is noise to the flow."""
    seen, (model, x) = [], five_levels(64)
    monkeypatch.setattr(models, "spherical", lambda a, b, w: (seen.extend([a, b]), linear(a, b, w))[1])
    for k in (0, 2):
        model.interpolate(x[k], x[k + 1], 2, seed=k)
    square = float((torch.stack(seen) ** 2).mean())
    assert square == pytest.approx(1, abs=4 * (2 / 256) ** 0.5)
    assert float((model.encode(x) ** 2).mean()) < 0.9
    first, clean = 1 / model.steps, model.to_model(x[:2])
    noisy = iw.likelihood.transport(model.denoiser, torch.stack(seen[:2]), 1.0, first)
    noise = (noisy - LINEAR.alpha(first) * clean) / LINEAR.sigma(first)
    torch.testing.assert_close(noise[0], noise[1], rtol=0, atol=0.05)


def test_bad_arguments_are_refused():
    model, a = model_of(), torch.zeros(2, dtype=F64)
    for words, options in {
        "n: got 1": {"n": 1},
        "t: got 0": {"t": 0},
        "t: got 1.5": {"t": 1.5},
        "solver: got": {"t": 0.5, "solver": TIGHT},
        "steps: got 5": {"steps": 5},
        "sampler: got": {"sampler": iw.DDIM()},
        "seed: got -1": {"seed": -1},
    }.items():
        with pytest.raises(iw.ConfigError, match=words):
            model.interpolate(a, a, **{"n": 3, **options})
    with pytest.raises(iw.DataError, match="x: got shape"):
        model.interpolate(a[None], a[None], 3)
    bits = iw.Diffusion(iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(LINEAR)), (2,))
    with pytest.raises(iw.ConfigError, match="interpolate"):
        bits.interpolate(a, a, 3, t=0.5)


def test_the_solver_is_that_of_both_ways():
    asked, denoiser = [], exact_denoiser(PLANE, LINEAR)

    def counting(x_t, t):
        asked.append(t)
        return denoiser.network(x_t, t)

    model = iw.Diffusion(iw.Denoiser(counting, denoiser.process, "x"), (2,), dtype=F64)
    model.interpolate(tensor([3.0, -2.0]), tensor([-1.0, 0.5]), 3, solver=iw.Fixed(3))
    assert len(asked) == 2 * 4 * 3 - 1  # at time 0 the velocity is known
