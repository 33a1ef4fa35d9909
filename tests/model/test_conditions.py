"""What a model says under a condition in numbers or images, against closed forms."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from answers import rows
from bugs import bug
from oracles import F64, GaussianData, Straight, tensor, trained
from partly_given import COV, GAIN, LEFT, MEAN, WHOLE, part
from straight import model_of, small_slots, with_places_of_the_first

import inkwash as iw
from inkwash import nn
from inkwash.core.randomness import Slots
from inkwash.data import condition
from inkwash.model import walking
from inkwash.nn import unet

SCHEDULE = Straight(9.0, -8.0)
UNITS = iw.data.Transform(iw.data.DataSpec((2,), "ND", "float32", -9.0, 9.0, None), (2.0, -1.0), (1.5, 0.4))
GIVEN = iw.data.ConditionSpec(given=UNITS)


def exact_network(x_t, t, given=None):
    alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
    if given is None:
        return WHOLE.denoise(x_t, alpha, sigma)
    y = given.double() * tensor(UNITS.scale) + tensor(UNITS.shift)
    away = (y - MEAN[2:]) @ GAIN.T
    return WHOLE_LESS.denoise(x_t - alpha * away, alpha, sigma) + away


WHOLE_LESS = GaussianData(MEAN[:2].tolist(), LEFT.tolist())


def exact_model():
    denoiser = iw.Denoiser(exact_network, iw.Gaussian(SCHEDULE), "x")
    return iw.Diffusion(denoiser, (2,), steps=30, dtype=F64, condition=GIVEN)


Y = np.array([[4.0, -3.0], [2.0, 0.5], [7.0, -6.0]])[[0, 1, 2, 2, 0, 1, 0]]


def values_as_they_are(transform, given, count):
    return torch.from_numpy(given).float()


@bug("given not standardised", condition, "_standardised", values_as_they_are)
@bug("given of the first slot", Slots, "of", with_places_of_the_first)
@small_slots()
def test_given_keep_their_examples():
    """What is asked under y is what the model of x given that y alone says, with the same noise; through the slots."""
    model, x = exact_model(), rows(5, n=7)
    for k in range(3):
        mine, alone = [i for i in range(7) if (Y[i] == Y[k]).all()], model_of(part(Y[k]))
        for ask in (
            lambda m, **given: m.bound(x, seed=3, terms=6, **given).total,
            lambda m, **given: m.log_prob(x, solver=iw.Fixed(4), **given).value,
            lambda m, **given: m.encode(x, solver=iw.Fixed(4), **given),
            lambda m, **given: m.decode(x, solver=iw.Fixed(4), **given),
            lambda m, **given: m.sample(7, seed=3, **given),
            lambda m, **given: m.sample_from(x, 0.6, seed=3, **given),
            lambda m, **given: m.score(x, 0.4, **given),
        ):
            assert torch.allclose(ask(model, given=Y)[mine], ask(alone)[mine], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("w", [0.4, 1.0, 2.5])
def test_guidance_is_a_power_of_what_the_condition_says(w):
    """The gradient of log p(x_t) + w log p(y | x_t), whose second term is the normal law of y given x_t."""
    x_t = rows(7, n=7).requires_grad_()
    alpha, sigma = SCHEDULE.alpha(0.75), SCHEDULE.sigma(0.75)
    var = alpha**2 * COV[:2, :2] + sigma**2 * torch.eye(2, dtype=F64)
    gain = torch.linalg.solve(var, alpha * COV[:2, 2:]).T
    seen = MEAN[2:] + (x_t - alpha * MEAN[:2]) @ gain.T
    law = torch.distributions.MultivariateNormal(seen, COV[2:, 2:] - gain @ (alpha * COV[:2, 2:]))
    (truth,) = torch.autograd.grad(
        (WHOLE.marginal(alpha, sigma).log_prob(x_t) + w * law.log_prob(tensor(Y))).sum(), x_t
    )
    assert torch.allclose(exact_model().score(x_t.detach(), 0.75, given=Y, guidance=w), truth, rtol=1e-5, atol=1e-5)


def test_without_a_condition_the_model_is_that_of_all_data():
    model = exact_model()
    assert torch.equal(model.sample(5, seed=3), model_of(WHOLE).sample(5, seed=3))
    assert torch.equal(model.sample(5, seed=3, given=Y[:5], guidance=0), model_of(WHOLE).sample(5, seed=3))


def test_a_condition_as_a_factor_goes_with_others():
    model, seen = exact_model(), iw.Observed(np.array([True, False]), np.array([0.3, 0.0]))
    alone = model * iw.Condition(given=Y[0])
    assert torch.equal(alone.sample(5, seed=2), model.sample(5, seed=2, given=Y[0]))
    assert torch.equal(alone.sample(5, seed=2), model.sample(5, seed=2, given=np.repeat(Y[:1], 5, 0)))
    both, truth = (alone * seen).sample(9, seed=0), (model_of(part(Y[0])) * seen).sample(9, seed=0)
    assert torch.allclose(both, truth, atol=1e-5)


MASKED = walking.masked


@bug("gaps of the first slot", Slots, "of", with_places_of_the_first)
@bug("gaps of the rows of a slot", walking, "masked", lambda walk, present: MASKED(walk, GAPS[: len(present)]))
@small_slots()
def test_each_example_has_gaps_of_its_own():
    """A network that counts the entries that a row has; through the slots, from wherever they start."""

    def network(x_t, t, present):
        return 1.0 + present.sum(1, keepdim=True) + 0 * x_t

    model = iw.Diffusion(iw.Denoiser(network, iw.Gaussian(iw.LinearSchedule()), "x"), (2,), dtype=F64)
    expected = torch.where(GAPS, 1.0 + GAPS.sum(1, keepdim=True), 0.0).double()
    for first in (0, 3):
        torch.testing.assert_close(model.sample(7, first=first, seed=0, steps=3, present=GAPS), expected)


GAPS = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 1]]) == 1


DECODE = iw.Diffusion.decode


@bug("codes decoded without their condition", iw.Diffusion, "decode", lambda self, z, solver, **y: DECODE(self, z))
def test_between_codes_both_ends_come_back_under_their_condition():
    a, b = rows(2, n=2)
    found = exact_model().interpolate(a, b, 3, given=Y[0], solver=iw.Fixed(12))
    torch.testing.assert_close(found[[0, 2]], torch.stack([a, b]), rtol=0, atol=0.1)


def test_one_given_serves_for_all_that_is_asked_of_one_example():
    model, a = exact_model(), rows(3, n=2)
    for draws in (model.relatives(a[0], 0.5, 4, seed=1, given=Y[0]), model.interpolate(*a, 4, t=0.5, given=Y[0])):
        assert draws.shape == (4, 2)
    assert torch.equal(
        model.relatives(a[0], 0.5, 4, seed=1, given=Y[:4])[0], model.relatives(a[0], 0.5, 1, seed=1, given=Y[0])[0]
    )


BOTH = iw.data.ConditionSpec(("left", "right"), UNITS)
BAD = {
    "another shape": (GIVEN, {"given": Y[:3, :1]}, r"given: got shape \(3, 1\), need shape \(2,\), one for all, or"),
    "too few": (GIVEN, {"given": Y[:2]}, r"given: got shape \(2, 2\), need .* or \(3, 2\), one for each of 3"),
    "not finite": (
        GIVEN,
        {"given": np.where(Y[:3] == 2, np.nan, Y[:3])},
        r"given\[1\]: got NaN or infinity, need finite",
    ),
    "text": (GIVEN, {"given": Y[:3].astype(str)}, "given: got values of type <U"),
    "no such condition": (
        iw.data.ConditionSpec(),
        {"given": Y[:3]},
        "given: got values, need none: .* without given values",
    ),
    "no labels": (GIVEN, {"label": "left"}, "label: got left, need none: .* without labels"),
    "one of two": (BOTH, {"given": Y[:3]}, "label: got nothing, need --label and --given together"),
    "the other": (BOTH, {"label": "left"}, "given: got nothing, need --label and --given together"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_given_is_refused(case):
    spec, options, message = BAD[case]
    model, x = iw.Diffusion(exact_model().denoiser, (2,), steps=3, dtype=F64, condition=spec), rows(0, n=3)
    for ask in (
        lambda **asked: model.sample(3, **asked),
        *(functools.partial(f, x) for f in (model.bound, model.encode)),
    ):
        with pytest.raises((iw.ConfigError, iw.DataError), match=f"^{message}"):
            ask(**options)


def test_a_likelihood_takes_no_guidance():
    with pytest.raises(TypeError, match="guidance"):
        exact_model().bound(rows(0), given=Y[0], guidance=2.0)


def test_levels_are_no_condition():
    spec = replace(UNITS.spec, low=0.0, high=4.0, levels=5)
    with pytest.raises(iw.ConfigError, match=r"condition.given: .* need real numbers"):
        iw.data.ConditionSpec(given=replace(UNITS, spec=spec)).check()


def networks():
    """A network that takes vectors, and one that takes images, with what they may be given."""
    vector = iw.MLP(2, width=16, depth=2, condition={"given": lambda width: iw.nn.GivenEmbedding(2, width)})
    image = iw.UNet(1, width=8, multipliers=(1,), blocks=1, attention=(False,), given=2)
    return (
        (trained(vector), rows(0).float(), (2,)),
        (trained(image), rows(0, size=16).float().view(6, 1, 4, 4), (2, 2, 2)),
    )


GIVEN_CHANNELS = unet.given_channels


def zeros_without_a_flag(given, channels, x_t):
    beside = GIVEN_CHANNELS(given, channels, x_t)
    return torch.cat([beside[:, :-1], torch.ones_like(beside[:, -1:])], dim=1)


def hidden_numbers_embedded(self, given):
    return self.layers(given.nan_to_num())


@bug("a hidden image as a black one", unet, "given_channels", zeros_without_a_flag)
@bug("hidden numbers embedded", iw.nn.GivenEmbedding, "forward", hidden_numbers_embedded)
def test_nothing_is_not_zero():
    """Rows of NaN are to a network what leaving the condition out is; zeros, the mean of the data, are not."""
    for network, x_t, shape in networks():
        t, zeros = torch.zeros(6), torch.zeros(6, *shape)
        without, hidden, zero = network(x_t, t), network(x_t, t, given=zeros + torch.nan), network(x_t, t, given=zeros)
        assert torch.equal(without, hidden)
        assert not torch.allclose(without, zero, atol=1e-3)
        mixed = network(x_t, t, given=torch.cat([zeros[:3], zeros[3:] + torch.nan]))
        assert torch.allclose(mixed, torch.cat([zero[:3], without[3:]]), atol=1e-5)


def test_a_given_image_lies_where_its_pixels_are():
    """The Kronecker product with a block of ones puts each pixel over its block."""
    given = torch.arange(16.0).view(2, 2, 2, 2)
    beside = nn.layers.given_channels(given, 2, torch.zeros(2, 1, 4, 6))
    truth = torch.kron(given, torch.ones(1, 1, 2, 3))
    assert torch.equal(beside[:, :2], truth)
    assert torch.equal(beside[:, 2:], torch.ones(2, 1, 4, 6))


@small_slots()
def test_a_sample_depends_on_its_own_condition_alone():
    network, _, _ = networks()[0]
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), "v")
    model = iw.Diffusion(denoiser, (2,), steps=6, condition=GIVEN)
    few, many = (model.sample(n, seed=1, given=Y[:n], guidance=2.0) for n in (3, 7))
    others = model.sample(7, seed=1, given=[*Y[:3], *reversed(Y[3:])], guidance=2.0)
    assert torch.equal(few, many[:3])
    assert torch.equal(others[:3], many[:3])
    assert not torch.equal(others[3:], many[3:])


def test_a_network_takes_images_by_the_function_that_is_tested():
    assert unet.given_channels is nn.layers.given_channels
