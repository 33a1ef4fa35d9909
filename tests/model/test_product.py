"""Products as distributions: data units, known entries, bits that do not depend on how many are drawn, refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import F64, FOUR_BITS, PLANE, GaussianData, exact_bit_denoiser, exact_denoiser, name_of, public, tensor

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.data.transform import fit_transform
from inkwash.model import diffusion as diffusion, product as products
from inkwash.model.product import gathered

LINEAR = iw.LinearSchedule()
SIDE = 4


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(Slots, "rows", 8)


def plane_model(transform=None):
    return iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,), transform, dtype=F64)


def in_data_units():
    """The plane, in units of another shift and scale."""
    spec = iw.data.DataSpec((2,), "ND", "float64", -1e3, 1e3, None)
    return plane_model(iw.data.Transform(spec, (30.0, -5.0), (7.0, 0.2)))


def picture_model(layout="NCHW", channels=1, levels=17):
    """A model of pictures whose entries are nearly independent, in data units 0 to 16."""
    shape = (channels, SIDE, SIDE)
    spec = iw.data.DataSpec(shape, layout, "uint8", 0.0, levels - 1.0, levels)
    lattice = spec.lattice.values()

    def network(x_t, t):
        return torch.zeros((*x_t.shape, levels), dtype=x_t.dtype) + 0.3 * x_t.mean((1, 2, 3))[:, None, None, None, None]

    denoiser = iw.Denoiser(network, iw.Gaussian(LINEAR), iw.denoise.Levels(spec.lattice), "large")
    assert len(lattice) == levels
    empty = np.zeros((1, *spec.data_shape), np.uint8)
    return iw.Diffusion(denoiser, shape, fit_transform(spec, empty))


def methods(bits=False):
    return [kind() for kind in public(iw.posterior.Method) if bits or kind is not iw.posterior.Entrywise]


@pytest.mark.parametrize("method", methods(), ids=name_of)
def test_a_sample_of_a_seed_has_the_same_bits_however_many_are_drawn(method):
    product = plane_model() * iw.Observed([True, False], [0.1, 0.0])
    most = product.sample(20, seed=4, steps=4, method=method)
    for n in (1, 9):
        assert torch.equal(product.sample(n, seed=4, steps=4, method=method), most[:n])
    assert not torch.equal(product.sample(20, seed=5, steps=4, method=method), most)


@pytest.mark.parametrize("method", methods(), ids=name_of)
@pytest.mark.parametrize("layout", ["NCHW", "NHW", "NHWC"])
def test_known_pixels_come_back_as_they_were(layout, method):
    model = picture_model(layout, 3 if layout == "NHWC" else 1)
    shape = model.units.data_shape
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 17, shape).astype(np.uint8), rng.random(shape) < 0.4
    x = (model * iw.Observed(mask, image)).sample(3, seed=0, steps=3, method=method)
    assert (x.dtype, x.shape) == (np.uint8, (3, *shape))
    assert (x[:, mask] == image[mask]).all()
    assert len(np.unique(x[:, ~mask])) > 2


@bug("known numbers through model units", products, "with_observed", lambda data, factors, units: data)
def test_known_numbers_come_back_to_the_last_bit():
    """A number that no single-precision float is, in units that model units do not represent."""
    value = 30.1
    x = (in_data_units() * iw.Observed([True, False], [value, np.nan])).sample(4, seed=0, steps=5)
    assert (x[:, 0] == value).all()
    assert np.isfinite(x).all()


def test_levels_that_are_not_known_may_be_given_as_anything():
    """Zero, for one, which is no value of levels from 3 to 7."""
    spec = iw.data.DataSpec((2,), "ND", "uint8", 3.0, 7.0, 5)
    denoiser = iw.Denoiser(lambda x_t, t: 0.5 * x_t, iw.Gaussian(LINEAR), "x", "large")
    model = iw.Diffusion(denoiser, (2,), fit_transform(spec, np.array([[3, 7]], np.uint8)))
    x = (model * iw.Observed([True, False], [6, 0])).sample(4, seed=0, steps=3)
    assert (x[:, 0] == 6).all()
    assert set(x[:, 1].tolist()) <= {3, 4, 5, 6, 7}


def test_a_trajectory_ends_with_what_is_known():
    product = plane_model() * iw.Observed([True, False], [0.1, 0.0])
    *_, (_, before), (s, x) = product.trajectory(3, seed=0, steps=3, method=iw.DPS())
    assert s == 0
    assert torch.equal(x[:, 0], tensor([0.1] * 3))
    assert len(before[:, 0].unique()) == 3


MEASURED = iw.Measurement.evidence


def offset_forgotten(self, units):
    evidence = MEASURED(self, units)
    shift = units.to_reals(torch.zeros(1, *units.shape, dtype=torch.float64))
    return replace(evidence, measured=tuple(replace(m, y=m.y + self._apply(shift)[0]) for m in evidence.measured))


@bug("shift of the data's units forgotten", iw.Measurement, "evidence", offset_forgotten)
def test_a_measurement_in_data_units_is_one_in_model_units():
    """log r at points of the model against the normal law of y around A x in data units: differences and all."""
    model = in_data_units()
    matrix, y, noise = tensor([[1.0, 40.0], [0.0, 2.0]]), tensor([-150.0, -9.0]), tensor([20.0, 0.5])
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    data = x * tensor([7.0, 0.2]) + tensor([30.0, -5.0])
    expected = torch.distributions.Normal(data @ matrix.T, noise).log_prob(y).sum(1)
    for given in (matrix, lambda z: z @ matrix.T.to(z), lambda z: z @ matrix.T.to(z) + 3.0):
        shift = 3.0 if given is not matrix and float(given(torch.zeros(1, 2, dtype=F64)).sum()) else 0.0
        found = gathered(model.units, (iw.Measurement(given, y + shift, noise),)).soft(x)
        torch.testing.assert_close(found - found[0], expected - expected[0])


def test_log_r_of_a_classifier_is_asked_in_data_units():
    model = in_data_units()
    evidence = gathered(model.units, (iw.Classifier(lambda x: x[:, 0] - 2 * x[:, 1]),))
    x = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert evidence.soft(x).tolist() == pytest.approx([40.0, 47.0, 39.6])


def test_adjoints_are_adjoint():
    """Of every operator and of a matrix: <A x, w> = <x, A' w>; and what it keeps of a constant picture."""
    model = picture_model("NHWC", 3)
    mask = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    mask[1, :2] = True
    operators = [
        iw.model.crop(1, 0, 2, 3),
        iw.model.downsample(2),
        iw.model.blur(0.8),
        iw.model.grey(),
        iw.model.entries(mask),
        torch.ones(2, 48),
    ]
    for operator, size in zip(operators, (18, 12, 48, 16, 8, 2), strict=True):
        (linear,) = gathered(model.units, (iw.Measurement(operator, torch.ones(size), 1.0),)).measured
        random = torch.Generator().manual_seed(0)
        x = torch.randn((2, 3, SIDE, SIDE), generator=random, dtype=F64)
        w = torch.randn((2, size), generator=random, dtype=F64)
        there, back = (linear.apply(x) * w).sum(1), (x * linear.adjoint(w)).flatten(1).sum(1)
        torch.testing.assert_close(there, back)
        torch.testing.assert_close(linear.gram, linear.gram.T)
        flat = linear.apply(torch.ones(1, 3, SIDE, SIDE, dtype=F64))
        torch.testing.assert_close(flat, torch.full_like(flat, 48.0 if size == 2 else 1.0))


PICTURES = torch.arange(35.0).expand(2, 3, 35).reshape(2, 3, 5, 7)
"""Each pixel is its number, row by row."""


OBSERVED_EVIDENCE = iw.Observed.evidence


def mask_as_it_came(self, units):
    return replace(OBSERVED_EVIDENCE(self, units), known=torch.from_numpy(self.mask).reshape(units.shape))


@bug("mask in the layout of the data", iw.Observed, "evidence", mask_as_it_came)
def test_what_is_known_of_a_picture_is_known_of_the_same_pixel_in_model_units():
    """Channels last in data units, and first in those of the model, where 0 to 16 are -1 to 1."""
    mask, values = np.zeros((SIDE, SIDE, 3), bool), np.zeros((SIDE, SIDE, 3), np.uint8)
    mask[1, 2, 0], values[1, 2, 0] = True, 4
    mask[3, 0, 2], values[3, 0, 2] = True, 12
    found = gathered(picture_model("NHWC", 3).units, (iw.Observed(mask, values),))
    assert found.known.nonzero().tolist() == [[0, 1, 2], [2, 3, 0]]
    assert found.values[found.known].tolist() == [-0.5, 0.5]


CROP = iw.model.crop


@bug("the first channel for grey", iw.model, "grey", lambda: lambda x: x[:, :1])
@bug("left for top", iw.model, "crop", lambda top, left, *size: CROP(left, top, *size))
def test_operators_look_at_the_pixels_they_say():
    part = iw.model.crop(1, 2, 3, 4)(PICTURES)
    assert part.shape == (2, 3, 3, 4)
    assert (part[1, 2, 0, 0], part[1, 2, 2, 3]) == (7 + 2, 3 * 7 + 5)
    assert torch.equal(iw.model.crop(0, 0, 5, 7)(PICTURES), PICTURES)
    small = iw.model.downsample(2)(PICTURES)
    assert small.shape == (2, 3, 2, 3)
    assert (small[0, 0, 0, 0], small[0, 0, 1, 2]) == ((0 + 1 + 7 + 8) / 4, (18 + 19 + 25 + 26) / 4)
    coloured = PICTURES + 30 * torch.arange(3.0)[:, None, None] ** 2
    assert torch.equal(iw.model.grey()(coloured), PICTURES[:, :1] + 50)


BLUR = iw.model.blur


@bug("a variance for the width of a blur", iw.model, "blur", lambda std: BLUR(std**2))
def test_a_blur_is_as_wide_as_it_says():
    """Pixels, along both axes of a picture that is not square: the variance of what becomes of a point."""
    point = torch.zeros(1, 1, 41, 61, dtype=F64)
    point[..., 20, 30] = 1
    seen = iw.model.blur(2.0)(point)[0, 0]
    for dim, middle in ((0, 20), (1, 30)):
        away = torch.arange(seen.shape[dim], dtype=F64) - middle
        assert float(seen.sum(1 - dim) @ away**2) == pytest.approx(4, rel=1e-3)


def test_by_default_normal_data_is_guided_and_bits_are_weighed_on_the_models_own_grid():
    for model, factor, method in (
        (plane_model(), SEEN, iw.MomentMatching()),
        (plane_model(), JUDGED, iw.MomentMatching()),
        (bits(), BIT, iw.SMC()),
    ):
        model.steps = 4
        given = (model * factor).sample(3, seed=0, steps=4, method=method)
        assert torch.equal((model * factor).sample(3, seed=0), given)


def test_a_factor_that_is_constant_changes_nothing():
    model = plane_model()
    same = model * iw.Classifier(lambda x: 0 * x.sum(1) + 3.0)
    torch.testing.assert_close(same.sample(3, seed=0, steps=5), model.sample(3, seed=0, steps=5))


def test_factors_commute():
    model = plane_model()
    a, b = iw.Observed([True, False], [0.4, 0.0]), iw.Measurement(tensor([[1.0, 2.0]]), [0.3], 0.4)
    c = iw.Classifier(lambda x: -(x[:, 1] ** 2))
    orders = [model * a * b * c, model * (c * b) * a, c * (b * (a * model)), (a * (b * c)) * model]
    first, *others = (product.sample(3, seed=1, steps=6) for product in orders)
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-8, atol=1e-8)


class Shifted(iw.model.Factor):
    """A factor that changes the denoiser alone: another law in the place of the model's."""

    def wrap(self, denoiser, model):
        return exact_denoiser(GaussianData([-3.0, 2.0], [[0.5, 0.2], [0.2, 0.9]]), LINEAR)


def test_a_factor_may_change_the_denoiser_alone():
    """By itself it leaves nothing to guide; with others it is what they multiply."""
    other = iw.Diffusion(Shifted().wrap(None, None), (2,), dtype=F64)
    seen = iw.Observed([True, False], [-2.5, 0.0])
    for product, expected in ((plane_model() * Shifted(), other), (plane_model() * seen * Shifted(), other * seen)):
        assert torch.equal(product.sample(3, seed=0, steps=4), expected.sample(3, seed=0, steps=4))
    with pytest.raises(iw.ConfigError, match="only change the denoiser"):
        (plane_model() * Shifted()).sample(1, steps=2, method=iw.PiGDM())
    with pytest.raises(iw.ConfigError, match="no function of x"):
        (plane_model() * Shifted()).unnormalised_log_prob(torch.zeros(1, 2))


def test_the_log_probability_is_right_up_to_a_constant():
    """Of normal data measured linearly, in other units: differences of the conditioned law's log-density, but for the
    little that the prior differs from the law of x_1."""
    matrix, y, noise = tensor([[0.1, 3.0]]), tensor([-10.0]), 1.5
    product = in_data_units() * iw.Measurement(matrix, y, noise)
    scale = torch.diag(tensor([7.0, 0.2]))
    mean, cov = scale @ PLANE.mean + tensor([30.0, -5.0]), scale @ PLANE.cov @ scale
    gain = cov @ matrix.T / (matrix @ cov @ matrix.T + noise**2)
    law = torch.distributions.MultivariateNormal(mean + gain @ (y - matrix @ mean), cov - gain @ matrix @ cov)
    x = law.mean + tensor([[0.0, 0.0], [1.0, -0.5], [-1.5, 0.8]]) @ torch.linalg.cholesky(law.covariance_matrix).T
    found = product.unnormalised_log_prob(x.numpy()).value
    expected = law.log_prob(x)
    torch.testing.assert_close(
        found - found[0], expected - expected[0], rtol=0, atol=0.03
    )  # of what is left of the signal at time 1
    seen = plane_model() * iw.Observed([True, False], [0.5, 0.0])
    assert seen.unnormalised_log_prob(tensor([[0.4, 1.0]])).value.tolist() == [-math.inf]
    assert seen.unnormalised_log_prob(tensor([[0.4, 1.0]]), solver=iw.Fixed(3)).evaluations.tolist() == [11]


def test_the_population_says_how_many_particles_are_effective():
    product = plane_model() * iw.Observed([True, False], [0.1, 0.0])
    found = product.population(10, seed=4, steps=6, method=iw.SMC(2))
    assert found.effective.shape == (2, 6)  # two slots of eight
    assert bool(((found.effective > 1 / 16) & (found.effective <= 1 + 1e-12)).all())
    assert torch.equal(found.x, product.sample(10, seed=4, steps=6, method=iw.SMC(2)))
    sharp = plane_model() * iw.Measurement(tensor([[1.0, 1.0]]), [40.0], 0.01)
    worse = sharp.population(10, seed=4, steps=6, method=iw.SMC(2))
    assert float(worse.effective.mean()) < float(found.effective.mean())


def bits():
    return iw.Diffusion(exact_bit_denoiser(FOUR_BITS, LINEAR, 0.3), (4,), dtype=F64)


SEEN, NOISY = iw.Observed([True, False], [0.5, 0.0]), iw.Measurement(tensor([[1.0, 1.0]]), [1.0], 0.3)
JUDGED, EXACT = iw.Classifier(lambda x: -x.square().sum(1)), iw.Measurement(tensor([[1.0, 1.0]]), [1.0], 0.0)
REFUSED = {
    "mask of numbers": (plane_model, lambda m: m * iw.Observed([1, 0], [0.5, 0.0]), "observed.mask"),
    "nothing known": (plane_model, lambda m: m * iw.Observed([False, False], 0.0), "observed.mask"),
    "another shape": (plane_model, lambda m: m * iw.Observed([True] * 3, 0.0), "observed.mask"),
    "other values": (plane_model, lambda m: m * iw.Observed([True, False], [0.0] * 3), "observed.values"),
    "not a number": (plane_model, lambda m: m * iw.Observed([True, False], math.nan), "observed.values"),
    "no such level": (picture_model, lambda m: m * iw.Observed(np.ones((1, 4, 4), bool), 17), "data"),
    "no such bit": (bits, lambda m: m * iw.Observed([True] * 4, 0.5), "x"),
    "contradiction": (plane_model, lambda m: m * SEEN * iw.Observed([True, True], 0.4), "observed.values"),
    "not affine": (plane_model, lambda m: m * iw.Measurement(lambda x: x**2, [0.0, 1.0], 0.1), "not affine"),
    "hardly affine": (plane_model, lambda m: m * iw.Measurement(lambda x: 1e-6 * x**2, [0, 0], 0.1), "not affine"),
    "a row": (plane_model, lambda m: m * iw.Measurement(torch.ones(2), [0.0], 0.1), "measurement.A"),
    "another matrix": (plane_model, lambda m: m * iw.Measurement(torch.ones(1, 3), [0.0], 0.1), "measurement.A"),
    "too few measured": (plane_model, lambda m: m * iw.Measurement(torch.eye(2), [0.0], 0.1), "measurement.y"),
    "infinite": (plane_model, lambda m: m * iw.Measurement(torch.eye(2), [0.0, math.inf], 0.1), "measurement.y"),
    "negative noise": (plane_model, lambda m: m * iw.Measurement(torch.eye(2), [0, 1], -0.1), "measurement.noise"),
    "three noises": (plane_model, lambda m: m * iw.Measurement(torch.eye(2), [0, 1], [1.0] * 3), "measurement.noise"),
    "no number each": (plane_model, lambda m: m * iw.Classifier(lambda x: x.sum()), "classifier.log_prob"),
    "a column": (plane_model, lambda m: m * iw.Classifier(lambda x: x[:, :1]), "classifier.log_prob"),
    "sampler": (plane_model, lambda m: (m * SEEN).sample(1, method=iw.SMC(), sampler=iw.DDIM()), "sampler"),
    "sampler of the rule": (
        plane_model,
        lambda m: (m * SEEN).sample(1, steps=2, method=iw.posterior.StepProduct(), sampler=iw.DDIM()),
        "sampler",
    ),
    "spread of the rule": (
        lambda: iw.Diffusion(iw.Denoiser(lambda x, t: x.repeat(1, 2), iw.Gaussian(LINEAR), "x", "free"), (2,)),
        lambda m: (m * SEEN).sample(1, steps=3, method=iw.posterior.StepProduct()),
        "StepProduct: got a variance that is learned",
    ),
    "repaint": (plane_model, lambda m: (m * NOISY).sample(1, method=iw.RePaint()), "RePaint"),
    "repaint a classifier": (plane_model, lambda m: (m * JUDGED).sample(1, method=iw.RePaint()), "RePaint"),
    "dps": (plane_model, lambda m: (m * JUDGED).sample(1, method=iw.DPS()), "DPS"),
    "entrywise": (plane_model, lambda m: (m * SEEN).sample(1, method=iw.posterior.Entrywise()), "Entrywise"),
    "tied": (
        bits,
        lambda m: (m * iw.Classifier(lambda x: x.prod(1))).sample(1, method=iw.posterior.Entrywise()),
        "ties",
    ),
    "moments of bits": (bits, lambda m: (m * BIT).sample(1, method=iw.MomentMatching()), "MomentMatching"),
    "pigdm of bits": (bits, lambda m: (m * BIT).sample(1, method=iw.PiGDM()), "PiGDM"),
    "dps of bits": (bits, lambda m: (m * BIT).sample(1, method=iw.DPS()), "DPS"),
    "exact bits": (bits, lambda m: (m * iw.Measurement(torch.eye(4), [1.0] * 4, 0)).sample(1), "measurement.noise"),
    "density without noise": (
        plane_model,
        lambda m: (m * EXACT).unnormalised_log_prob(torch.zeros(1, 2)),
        "measurement.noise",
    ),
    "label": (plane_model, lambda m: (m * SEEN).sample(1, label=1), r"label: got 1, need a factor in its place"),
    "guidance": (plane_model, lambda m: (m * SEEN).population(1, guidance=2.0), "guidance: got 2.0, need a factor"),
    "name of a method": (plane_model, lambda m: (m * SEEN).sample(1, method="pigdm"), "method: got 'pigdm'"),
    "class of methods": (plane_model, lambda m: (m * SEEN).sample(1, method=iw.PiGDM), "method: got <class"),
    "not differentiable": (plane_model, lambda m: (m * DETACHED).sample(1), "without a derivative"),
    "rule, not differentiable": (
        plane_model,
        lambda m: (m * DETACHED * JUDGED).sample(1, method=iw.posterior.StepProduct()),
        "without a derivative",
    ),
    "sampler of a population": (plane_model, lambda m: (m * SEEN).population(1, sampler=iw.DDIM()), "sampler"),
    "population": (plane_model, lambda m: (m * SEEN).population(1, method=iw.PiGDM()), "method"),
    "particles": (plane_model, lambda m: iw.SMC(0), "method.particles"),
    "threshold": (plane_model, lambda m: iw.SMC(threshold=0), "method.threshold"),
    "repeats": (plane_model, lambda m: iw.RePaint(0), "method.repeats"),
    "jump": (plane_model, lambda m: iw.RePaint(1, 0), "method.jump"),
    "scale": (plane_model, lambda m: iw.DPS(0.0), "method.scale"),
    "floor": (plane_model, lambda m: iw.MomentMatching(floor=1.1), "method.floor"),
    "iterations": (plane_model, lambda m: iw.MomentMatching(0), "method.iterations"),
    "crop": (plane_model, lambda m: iw.model.crop(-1, 0, 1, 1), "crop.top"),
    "flat crop": (plane_model, lambda m: iw.model.crop(0, 0, 0, 1), "crop.height"),
    "thin crop": (plane_model, lambda m: iw.model.crop(0, 0, 1, 0), "crop.width"),
    "tall crop": (picture_model, lambda m: m * iw.Measurement(iw.model.crop(3, 0, 2, 2), [0] * 4, 0.1), "crop"),
    "wide crop": (picture_model, lambda m: m * iw.Measurement(iw.model.crop(0, 3, 2, 2), [0] * 4, 0.1), "crop"),
    "downsample": (plane_model, lambda m: iw.model.downsample(1), "downsample.factor"),
    "blur": (plane_model, lambda m: iw.model.blur(0.0), "blur.std"),
    "entries": (plane_model, lambda m: iw.model.entries([1, 0]), "entries.mask"),
}
DETACHED = iw.Classifier(lambda x: x.detach().sum(1))
BIT = iw.Observed([True, False, False, False], 1.0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused(case):
    model, attempt, where = REFUSED[case]
    with pytest.raises((iw.ConfigError, iw.DataError), match=where):
        attempt(model())


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_classifier_is_asked_in_the_precision_of_the_model(dtype):
    weights = torch.ones(2, dtype=dtype)
    model = iw.Diffusion(plane_model().denoiser, (2,), dtype=dtype)
    assert (model * iw.Classifier(lambda x: x @ weights)).sample(2, seed=0, steps=2).dtype == dtype


def test_only_factors_multiply():
    with pytest.raises(TypeError):
        _ = plane_model() * 2
    with pytest.raises(TypeError):
        _ = SEEN * 2
