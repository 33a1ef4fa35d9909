"""Options that are decided after training: the same network with another variance, clipping or walk of its own."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from bugs import bug
from mixed_rows import exact_mixed, process_of, rows
from oracles import (
    F64,
    LINE,
    PLANE,
    UNEVEN,
    GaussianData,
    condition,
    cubature,
    exact_denoiser,
    joint_covariance,
    last_moments,
    prescribed_noise,
    tensor,
)

import inkwash as iw
from inkwash.denoise.wrap import Clipped, Conditioned, WithVariance
from inkwash.process import Analytic
from inkwash.sample.walk import Walking

SCHEDULE = iw.CosineSchedule()
VARIANCES = ["small", "large", "analytic"]


def analytic(data, times=UNEVEN):
    """The table of exact errors at the times of a grid."""
    log_snr = SCHEDULE.log_snr(times[:-1])
    return Analytic(log_snr, data.mmse(log_snr.exp()) / data.size)


def variance_of(name, data):
    return analytic(data) if name == "analytic" else name


def exact_model(data, variance="small", **options):
    return iw.Diffusion(exact_denoiser(data, SCHEDULE, variance), (data.size,), dtype=F64, **options)


def ignored(self, x_t, t, **given):
    return self.denoiser(x_t, t, **given)


def expected_terms(data, name, times):
    """Theory: with the optimal mean, a term is (d/2) [(1 + rho)/r - 1 + ln r], where r is the variance in units of the
    small one, and rho = (SNR_s - SNR_t) mmse(t) / d."""
    t, s = times[:-2], times[1:-1]
    snr_t, snr_s = SCHEDULE.log_snr(t).exp(), SCHEDULE.log_snr(s).exp()
    rho = (snr_s - snr_t) * data.mmse(snr_t) / data.size
    ratios = {"small": 1 + 0 * rho, "large": SCHEDULE.sigma(t) ** 2 / SCHEDULE.sigma(s) ** 2, "analytic": 1 + rho}
    return data.size / 2 * ((1 + rho) / ratios[name] - 1 + ratios[name].log())


# The variance


@bug("the option is dropped", WithVariance, "forward", ignored, name="large", trained="small")
@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("trained", ["small", "large"])
@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
def test_the_bound_at_a_variance_decided_later_is_that_of_theory(data, trained, name):
    model = exact_model(data, trained).with_options(variance=variance_of(name, data))
    z, eps = cubature(data.size)
    with prescribed_noise(eps):
        found = model.bound(data.whiten_inverse(z), times=UNEVEN).per_time.mean(0)
    torch.testing.assert_close(found, expected_terms(data, name, UNEVEN), rtol=1e-7, atol=1e-10)


def reverse_var(name, s, t):
    """The variance of a step on LINE, from the joint law of x_s, x and x_t: given x and x_t, given x_s, given x_t."""
    joint = joint_covariance(LINE, SCHEDULE, s, t)
    if name == "large":
        return SCHEDULE.sigma(t) ** 2 - (SCHEDULE.alpha(t) / SCHEDULE.alpha(s)) ** 2 * SCHEDULE.sigma(s) ** 2
    return condition(joint, slice(1, 3) if name == "small" else slice(2, 3), slice(0, 1))[1]


@bug("the option is dropped", WithVariance, "forward", ignored, name="analytic")
@pytest.mark.parametrize("name", VARIANCES)
def test_samples_have_the_variance_of_the_recursion(name):
    """Each step maps the variance V of x_t to a² V + v: a is that of the mean of x_s given x_t, v the decided one."""
    model, expected = exact_model(LINE).with_options(variance=variance_of(name, LINE)), tensor([[1.0]])
    for t, s in pairwise(UNEVEN):
        gain = condition(joint_covariance(LINE, SCHEDULE, s, t), slice(2, 3), slice(0, 1))[0]
        expected = gain**2 * expected + (reverse_var(name, s, t) if s > 0 else 0)
    _, cov = last_moments(iw.Ancestral(), model.denoiser, UNEVEN, tensor([0.0]), tensor([[1.0]]))
    torch.testing.assert_close(cov, expected, rtol=1e-9, atol=1e-12)


def spread_network(x_t, t):
    """A prediction, and a spread beside it."""
    return torch.cat([torch.tanh(x_t) * (1 - t[:, None]), 0.3 + 0.1 * x_t], 1)


def spread_model(variance):
    return iw.Diffusion(iw.Denoiser(spread_network, iw.Gaussian(SCHEDULE), "x", variance), (2,), dtype=F64)


def prediction_model(variance):
    network = lambda x_t, t: spread_network(x_t, t)[:, :2]  # noqa: E731
    return iw.Diffusion(iw.Denoiser(network, iw.Gaussian(SCHEDULE), "x", variance), (2,), dtype=F64)


@bug("the option is dropped", WithVariance, "forward", ignored, trained="learned", name="small")
@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("trained", ["learned", "free"])
def test_a_spread_that_is_not_used_changes_nothing(trained, name):
    """A network of learned variance, read with another, is the denoiser of its predictions with that one."""
    variance, x = variance_of(name, PLANE), torch.linspace(-1, 1, 8, dtype=F64).reshape(4, 2)
    model, built = spread_model(trained).with_options(variance=variance), prediction_model(variance)
    assert torch.equal(model.bound(x, times=UNEVEN).total, built.bound(x, times=UNEVEN).total)
    assert torch.equal(model.sample(5, seed=1, steps=4), built.sample(5, seed=1, steps=4))
    assert not torch.equal(model.sample(5, seed=1, steps=4), spread_model(trained).sample(5, seed=1, steps=4))


@pytest.mark.parametrize("trained", ["small", "learned", "free"])
def test_the_variance_of_training_comes_back(trained):
    model = spread_model(trained) if trained != "small" else prediction_model(trained)
    again = model.with_options(variance="large").with_options(variance=trained)
    assert again.denoiser is model.denoiser
    table = exact_model(LINE, analytic(LINE))
    assert table.with_options(variance="small").with_options(variance="analytic").denoiser is table.denoiser


def test_numbers_of_a_mixed_model_take_another_variance():
    process = process_of()
    models = [
        iw.Diffusion(iw.denoise.MixedDenoiser(exact_mixed(process), process, variance=each), (2,), dtype=F64)
        for each in ("large", "small")
    ]
    large, small = (model.bound(rows(8), times=UNEVEN).total for model in models)
    assert torch.equal(models[0].with_options(variance="small").bound(rows(8), times=UNEVEN).total, small)
    assert not torch.equal(large, small)


def levels_model(variance, **options):
    """The exact model of two even levels, which predicts them."""
    lattice = iw.process.Lattice(-1.0, 1.0, 2)
    network = lambda x_t, t: torch.zeros(*x_t.shape, 2).to(x_t)  # noqa: E731
    denoiser = iw.Denoiser(network, iw.Gaussian(SCHEDULE), iw.denoise.Levels(lattice), variance)
    spec = iw.data.DataSpec((3,), "ND", "uint8", 0.0, 1.0, 2)
    return iw.Diffusion(denoiser, (3,), iw.data.Transform(spec, (0.5,) * 3, (0.5,) * 3), dtype=F64, **options)


def test_masses_of_levels_stay_what_they_are():
    """The last step of predicted levels is a law of its own, which no variance changes."""
    x = np.array([[0, 1, 1], [1, 1, 0]], np.uint8)
    small, large = (levels_model("small").with_options(variance=each).bound(x, steps=20) for each in ("small", "large"))
    assert torch.equal(small.reconstruction, large.reconstruction)
    assert not torch.equal(small.diffusion, large.diffusion)
    assert torch.equal(large.total, levels_model("large").bound(x, steps=20).total)


def sixteenth(self, log_snr):
    return torch.full_like(log_snr, 1 / 16)


@bug("errors at another noise", Analytic, "error", sixteenth)
def test_a_measured_variance_is_that_of_the_exact_error():
    """The mean squared error of the exact denoiser is the MMSE; 4,000 examples have it to within 5 standard errors."""
    x = PLANE.whiten_inverse(torch.randn(4000, 2, dtype=F64, generator=torch.Generator().manual_seed(0)))
    found = exact_model(PLANE).measured_variance(x, seed=1)
    expected = PLANE.mmse(found.log_snr.exp()) / 2
    torch.testing.assert_close(found.error(found.log_snr), expected, rtol=5 * math.sqrt(2 / 4000), atol=0)


def test_a_measured_variance_is_that_of_estimates_as_they_are_clipped():
    model, x = prediction_model("small"), torch.full((300, 2), 0.9, dtype=F64)
    clipped = model.with_options(clip=(-0.1, 0.1)).measured_variance(x)
    assert bool((clipped.log_error.exp() > 0.8**2 - 1e-9).all())
    assert not torch.allclose(clipped.log_error, model.measured_variance(x).log_error)


# Clipping


@bug("clips that stay", Clipped, "around", lambda self, denoiser: denoiser)
def test_clipping_on_and_off_is_building_it_so():
    data = GaussianData([0.0, 0.0], [[4.0, 0.0], [0.0, 4.0]])
    bare, x = exact_model(data), torch.linspace(-1, 1, 8, dtype=F64).reshape(4, 2)
    built = bare.with_denoiser(iw.Clipped(bare.denoiser, -0.5, 0.7))
    for model in (
        bare.with_options(clip=(-0.5, 0.7)),
        built.with_options(clip=(-0.1, 0.1)).with_options(clip=(-0.5, 0.7)),
    ):
        assert torch.equal(model.bound(x, times=UNEVEN).total, built.bound(x, times=UNEVEN).total)
        assert torch.equal(model.sample(5, seed=2, steps=4), built.sample(5, seed=2, steps=4))
    assert built.with_options(clip=False).denoiser is bare.denoiser
    large = built.with_options(variance="large").with_options(clip=False)
    assert torch.equal(large.sample(5, seed=2, steps=4), exact_model(data, "large").sample(5, seed=2, steps=4))
    both = bare.with_options(variance="large", clip=(-0.5, 0.7)).with_options(variance="small")
    assert torch.equal(both.sample(5, seed=2, steps=4), built.sample(5, seed=2, steps=4))


def test_a_range_is_clipped_to_within_other_wrappers():
    bare = exact_model(PLANE)
    inner = bare.with_denoiser(Conditioned(iw.Thresholded(iw.Clipped(bare.denoiser), 0.9), {}))
    found = inner.with_options(clip=False).denoiser
    assert [type(each) for each in (found, found.denoiser)] == [Conditioned, iw.Thresholded]
    assert found.denoiser.quantile == 0.9
    assert found.denoiser.denoiser is bare.denoiser


def test_the_range_of_levels_is_known():
    model = levels_model("small").with_options(clip=True)
    assert (model.denoiser.low, model.denoiser.high) == (-1.0, 1.0)


# The walk

WALKS = {
    "sampler": {"sampler": iw.DDIM()},
    "steps": {"steps": 3},
    "grid": {"grid": iw.KarrasGrid(3.0), "steps": 4},
    "times": {"times": UNEVEN},
    "all": {"sampler": iw.Heun(), "steps": 3, "grid": iw.LogSnrGrid()},
}


def forgets_the_grid(self, **options):
    return Walking(**{name: value for name, value in options.items() if name != "grid"})


@bug("the option is dropped", Walking, "but", lambda self, **options: Walking(**options), options="all")
@bug("the grid is dropped", Walking, "but", forgets_the_grid, options="grid")
@pytest.mark.parametrize("options", WALKS)
@pytest.mark.quick_cases("all")
def test_options_of_its_own_are_those_passed_bit_for_bit(options):
    explicit = WALKS[options]
    plain, own = exact_model(PLANE, steps=8), exact_model(PLANE, steps=8).with_options(**explicit)
    x, x_t, gap = torch.ones(2, 2, dtype=F64), torch.full((3, 2), 0.3, dtype=F64), tensor([[math.nan, 1.0], [0.5, 1.0]])
    seen = iw.Observed(np.array([True, False]), np.array([0.2, 0.0]))
    for walk in (
        lambda model, **more: model.sample(4, seed=1, **more),
        lambda model, **more: torch.stack([x for _, x in model.trajectory(3, seed=1, **more)]),
        lambda model, **more: model.sample_from(x_t, 0.6, seed=1, **more),
        lambda model, **more: model.relatives(x[0], 0.6, 3, seed=1, **more),
        lambda model, **more: model.interpolate(x[0], -x[1], 3, t=0.6, seed=1, **more),
        lambda model, **more: model.impute(gap, 3, seed=1, **more),
        lambda model, **more: (model * seen).sample(4, seed=1, **more),
        lambda model, **more: (seen * model).sample(4, seed=1, **more),
        lambda model, **more: (model * seen * iw.Classifier(lambda x: x.sum(1))).sample(4, seed=1, **more),
    ):
        assert torch.equal(walk(own), walk(plain, **explicit))
        others = {"sampler": iw.IPNDM(), "steps": 2, "grid": iw.UniformGrid()}
        assert torch.equal(walk(own, **others), walk(plain, **others))
        assert not torch.equal(walk(own), walk(plain))


def test_what_is_passed_sets_aside_what_excludes_it():
    own = exact_model(PLANE).with_options(times=UNEVEN)
    assert torch.equal(own.plan(steps=4).times, iw.uniform_grid(4))
    assert torch.equal(own.plan(grid=iw.QuadraticGrid(), steps=3).times, iw.QuadraticGrid().times(SCHEDULE, 3))
    own = exact_model(PLANE).with_options(steps=5, grid=iw.QuadraticGrid())
    assert torch.equal(own.plan(times=UNEVEN).times, UNEVEN)
    assert torch.equal(own.plan(steps=7).times, iw.QuadraticGrid().times(SCHEDULE, 7))
    assert len(own.with_options(times=UNEVEN).with_options(sampler=iw.DDIM()).plan().times) == len(UNEVEN)


def test_the_steps_of_walks_are_not_those_of_the_bound():
    x = torch.ones(3, 2, dtype=F64)
    plain, own = exact_model(PLANE, steps=6), exact_model(PLANE, steps=6).with_options(steps=3, sampler=iw.DDIM())
    assert torch.equal(own.bound(x).total, plain.bound(x).total)
    assert own.steps == 6
    assert len(own.plan().times) == 4


def test_a_variance_survives_products():
    seen = iw.Observed(np.array([True, False]), np.array([0.2, 0.0]))
    small, large = exact_model(PLANE), exact_model(PLANE, "large")
    decided = small.with_options(variance="large", steps=3) * seen
    assert torch.equal(decided.sample(4, seed=1), (large * seen).sample(4, seed=1, steps=3))
    assert not torch.equal(decided.sample(4, seed=1), (small * seen).sample(4, seed=1, steps=3))


def test_the_first_model_stays_as_it_was():
    model = exact_model(PLANE)
    before = model.sample(3, seed=1, steps=3)
    model.with_options(variance="large", clip=(-0.1, 0.1), sampler=iw.DDIM(), steps=2)
    assert torch.equal(model.sample(3, seed=1, steps=3), before)


# What is refused


def bits_model():
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(SCHEDULE))
    return iw.Diffusion(denoiser, (3,))


BAD = {
    "an unknown name": (exact_model, LINE, {"variance": "tiny"}, "variance: got 'tiny', need one of small, large"),
    "not trained for": (
        exact_model,
        LINE,
        {"variance": "learned"},
        "variance: got learned, need small, large or",
    ),
    "trained for another": (spread_model, "learned", {"variance": "free"}, "variance: got free, need small, large or"),
    "not measured": (
        exact_model,
        LINE,
        {"variance": "analytic"},
        r"variance: got analytic, need a measured one",
    ),
    "bits": (
        lambda _: bits_model(),
        None,
        {"variance": "small"},
        "variance: got small, need none: .* Bernoulli",
    ),
    "clipped bits": (lambda _: bits_model(), None, {"clip": False}, "clip: got a Bernoulli process, need a Gaussian"),
    "no range": (exact_model, LINE, {"clip": True}, "clip: got True, need false, or data with levels, whose range"),
    "no range at all": (
        exact_model,
        LINE,
        {"clip": (1.0, 1.0)},
        r"clip: got \(1.0, 1.0\), need true, false",
    ),
    "no sampler": (exact_model, LINE, {"sampler": "ddim"}, "sampler: got 'ddim', need a Sampler object"),
    "no steps": (exact_model, LINE, {"steps": 0}, "steps: got 0, need an integer >= 1"),
    "no steps of a grid": (
        exact_model,
        LINE,
        {"steps": 0, "grid": iw.QuadraticGrid()},
        "steps: got 0, need an",
    ),
    "two grids": (exact_model, LINE, {"times": UNEVEN, "grid": iw.AngleGrid()}, "times: got .*, need either times or"),
    "steps and times": (exact_model, LINE, {"times": UNEVEN, "steps": 3}, "steps: got 3, need either steps or times"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_do_not_go_with_the_model_are_refused(case):
    make, argument, options, message = BAD[case]
    with pytest.raises(iw.ConfigError, match=message) as error:
        make(argument).with_options(**options)
    assert "\n" not in str(error.value)


def test_a_measured_variance_needs_real_numbers():
    with pytest.raises(iw.ConfigError, match="variance: got a Bernoulli process"):
        bits_model().measured_variance(torch.ones(3, 3))
