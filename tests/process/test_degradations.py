"""Degradations have known properties, and the error of a walk back follows from that of the restorer."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch
from hypothesis import given, strategies as st
from oracles import F64, name_of, tensor

import inkwash as iw
from inkwash.core.errors import ConfigError
from inkwash.likelihood.bound import bound
from inkwash.process.cold import Starts
from inkwash.process.degradations import DEGRADATIONS

KINDS = [iw.process.Blur(), iw.process.Blur(0.3), iw.process.Pixelate(), iw.process.Mask(), iw.process.Mask(0.05)]
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
GRID = tensor([1.0, 0.8, 0.55, 0.5, 0.2, 0.1, 0.0])
START = Starts(tensor([0.3]), tensor([[0.2]]), 0.05)


def images(*shape, seed=0):
    return 0.7 + 1.8 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(sizes, st.sampled_from(KINDS), st.integers(0, 1000))
def test_time_0_changes_nothing_and_time_1_removes_all_detail(size, kind, seed):
    x = images(2, 3, *size, seed=seed).float()
    assert torch.equal(kind.degrade(x, 0.0), x)
    left = 0 if isinstance(kind, iw.process.Mask) else x.mean((-2, -1), keepdim=True)
    assert torch.allclose(kind.degrade(x, 1.0), torch.zeros_like(x) + left, atol=2e-6)


@given(sizes, st.sampled_from(KINDS), st.floats(0, 1), st.floats(0, 1))
def test_degrading_further_is_degrading(size, kind, a, b):
    """D(x, t) is a function of D(x, s), which makes it a transition."""
    s, t = sorted((a, b))
    x = images(2, 1, *size)
    if s < 1:
        assert torch.allclose(kind.degrade(kind.degrade(x, s), t, s), kind.degrade(x, t), atol=1e-9)


@kinds
def test_each_example_has_its_own_time(kind):
    x, times = images(5, 2, 6, 9), tensor([0.0, 0.31, 0.5, 0.9, 1.0])
    together = kind.degrade(x, times)
    separate = torch.cat([kind.degrade(x[i : i + 1], float(t)) for i, t in enumerate(times)])
    assert torch.allclose(together, separate, atol=1e-14)
    assert len({tuple(image.flatten().tolist()) for image in kind.degrade(x[:1].expand(5, -1, -1, -1), times)}) >= 3


@kinds
def test_degradations_are_linear_and_never_add_contrast(kind):
    x, y = images(4, 1, 7, 6), images(4, 1, 7, 6, seed=1)
    mixed = kind.degrade(2 * x - 3 * y, 0.4)
    assert torch.allclose(mixed, 2 * kind.degrade(x, 0.4) - 3 * kind.degrade(y, 0.4), atol=1e-12)
    powers = [float((kind.degrade(x, t) ** 2).sum()) for t in np.linspace(0, 1, 21)]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(powers))


@kinds
def test_shapes_dtypes_and_transposed_images(kind):
    x = images(2, 3, 5, 8)
    assert kind.degrade(x.float(), 0.6).dtype == torch.float32
    assert kind.degrade(x, 0.6).shape == x.shape
    assert torch.allclose(kind.degrade(x.mT, 0.6).mT, kind.degrade(x, 0.6), atol=1e-12)


@pytest.mark.parametrize("kind", [iw.process.Blur(), iw.process.Pixelate()], ids=name_of)
@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_blurring_and_pixelating_keep_the_mean(kind, t):
    x = images(3, 2, 7, 5)
    assert torch.allclose(kind.degrade(x, t).mean((-2, -1)), x.mean((-2, -1)), atol=1e-12)


def test_blur_is_a_gaussian_kernel_with_reflected_edges():
    """SciPy samples the kernel at the pixels; with a standard deviation of 2 pixels, this makes no difference."""
    x, width, t = images(1, 1, 20, 14), 0.1, 0.5
    std = width * 20 * t / (1 - t)
    expected = scipy.ndimage.gaussian_filter(x[0, 0].numpy(), std, mode="reflect", truncate=8)
    assert np.allclose(iw.process.Blur(width).degrade(x, t)[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("t", [0.1, 0.7, 0.95])
def test_blur_decays_each_cosine_mode_separately(t):
    x, width, (height, across) = images(1, 1, 9, 6), 0.2, (9, 6)
    before, after = (scipy.fft.dctn(y[0, 0].numpy()) for y in (x, iw.process.Blur(width).degrade(x, t)))
    std = width * 9 * t / (1 - t)
    i, j = np.meshgrid(np.arange(height), np.arange(across), indexing="ij")
    decay = np.exp(-0.5 * std**2 * np.pi**2 * ((i / height) ** 2 + (j / across) ** 2))
    assert np.allclose(after, before * decay, atol=1e-10)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (8, 3)])
def test_blocks_double_their_side_at_equal_times(height, width):
    """ceil(log2 7) and log2 8 are both 3 doublings; a block that is cut off has the mean of its own pixels."""
    x = images(1, 1, height, width)
    for t, side in [(0.0, 1), (1e-6, 2), (1 / 3, 2), (0.34, 4), (2 / 3, 4), (0.7, 8), (1.0, 8)]:
        got = iw.process.Pixelate().degrade(x, t)
        for top in range(0, height, side):
            for left in range(0, width, side):
                block = (0, 0, slice(top, top + side), slice(left, left + side))
                assert torch.allclose(got[block], x[block].mean().expand_as(got[block]), atol=1e-12)
        assert len(got.unique()) == -(-height // side) * -(-width // side)


@given(st.floats(0, 1), st.floats(0, 1), sizes, st.sampled_from([0.05, 0.25, 2.0]))
def test_a_mask_only_grows_from_the_centre_outwards(a, b, size, softness):
    s, t = sorted((a, b))
    ones = torch.ones(1, 1, *size, dtype=F64)
    before, after = (iw.process.Mask(softness).degrade(ones, time)[0, 0] for time in (s, t))
    assert bool((after <= before).all())
    assert bool((after.flip(0) == after).all())
    assert bool((after.flip(1) == after).all())
    middle = after[size[0] // 2, size[1] // 2]
    assert bool((middle <= after).all())
    assert bool((after[0, 0] >= after).all())


def test_at_time_one_half_the_disc_covers_half_the_radius():
    x = torch.ones(1, 1, 101, 101, dtype=F64)
    left = iw.process.Mask(1e-6).degrade(x, 0.5)[0, 0]
    distance = np.hypot(*np.mgrid[-50:51, -50:51]) / np.hypot(50, 50)
    clear = abs(distance - 0.5) > 1e-3
    assert np.array_equal(left[clear] > 0.5, distance[clear] > 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.process.Blur(0.0),
        lambda: iw.process.Blur(float("nan")),
        lambda: iw.process.Mask(-1.0),
        lambda: iw.training.Restoration("l3"),
    ],
)
def test_bad_options_are_refused(make):
    with pytest.raises(ConfigError):
        make()


# The walk back


def walk(kind, restore, x, improved, grid=GRID):
    """The image at the last time of the grid, from the degraded one at its first; `restore(x_t, t) -> x`."""
    restorer = iw.denoise.Restorer(restore, iw.process.Cold(kind, START, improved))
    random = torch.Generator().manual_seed(0)
    x_t = restorer.process.marginal(x, float(grid[0])).draw(random)
    return deque(iw.Ancestral().trajectory(restorer, x_t, grid, random), maxlen=1).pop()[1]


@kinds
@pytest.mark.parametrize("improved", [True, False])
def test_with_a_perfect_restorer_both_walks_recover_the_image(kind, improved):
    x = images(3, 2, 6, 5)
    assert torch.allclose(walk(kind, lambda x_t, t: x, x, improved), x, atol=1e-12)


@pytest.mark.parametrize("kind", [iw.process.Blur(), iw.process.Pixelate()], ids=name_of)
def test_the_improved_walk_cancels_an_error_that_the_degradation_keeps(kind):
    """Blur does not change a constant error of all pixels, so the error cancels in D(x̂, t) - D(x̂, s)."""
    x = images(3, 1, 6, 5)

    def off(x_t, t):
        return x + 0.4

    assert torch.allclose(walk(kind, off, x, improved=True), x, atol=1e-12)
    assert torch.allclose(walk(kind, off, x, improved=False), x + 0.4, atol=1e-12)


def test_the_improved_walk_is_exact_if_the_degradation_adds_the_same_to_all_images():
    """With D(x, t) = x + t e the improved walk is exact, however bad the restorer is (§3.3 of the paper)."""

    class Drift(iw.process.degradations.Degradation):
        def degrade(self, x, t, s=0.0):
            return x + (t - s) * e

    e, x = images(1, 1, 4, 4, seed=3), images(2, 1, 4, 4)

    def bad(x_t, t):
        return torch.sin(3 * x_t) - 2

    assert torch.allclose(walk(Drift(), bad, x, improved=True), x, atol=1e-12)
    assert float((walk(Drift(), bad, x, improved=False) - x).abs().mean()) > 1


@pytest.mark.parametrize("improved", [True, False])
def test_a_linear_restorer_multiplies_each_mode_by_a_known_product(improved):
    """With x̂ = g x_t in a cosine mode that decays by f(t), a step multiplies the mode of x_t by
    1 + (f(s) - f(t)) g, or by f(s) g for algorithm 1."""
    kind, x, gain = iw.process.Blur(0.2), images(1, 1, 6, 6), 0.9
    grid = tensor([0.7, 0.6, 0.35, 0.1, 0.0])

    def decay(t, mode):
        std = 0.2 * 6 * t / (1 - t)
        return np.exp(-0.5 * (std * np.pi * np.hypot(*mode) / 6) ** 2)

    before, after = (scipy.fft.dctn(y[0, 0].numpy()) for y in (x, walk(kind, lambda y, t: gain * y, x, improved, grid)))
    for mode in [(0, 0), (1, 0), (2, 3), (5, 5)]:
        product = decay(0.7, mode)
        for t, s in pairwise(grid.tolist()):
            product *= 1 + (decay(s, mode) - decay(t, mode)) * gain if improved else decay(s, mode) * gain
        assert after[mode] == pytest.approx(product * before[mode], rel=1e-9)


@kinds
def test_a_restorer_consistent_with_its_input_makes_the_two_walks_equal(kind):
    """If D(x̂, t) = x_t, as for the conditional mean of Gaussian data, algorithm 2 equals algorithm 1."""
    size, mean = (4, 3), images(12)
    half = images(12, 12, seed=5)
    cov = half @ half.T / 12 + torch.eye(12, dtype=F64)
    eye = torch.eye(12, dtype=F64).reshape(12, 1, *size)

    def conditional_mean(x_t, t):
        d = kind.degrade(eye, float(t[0])).reshape(12, 12).T
        gain = cov @ d.T @ torch.linalg.pinv(d @ cov @ d.T, rtol=1e-12)
        seen = x_t.reshape(-1, 12)
        return (mean + (seen - mean @ d.T) @ gain.T).reshape(x_t.shape)

    x, grid = images(3, 1, *size, seed=6), tensor([0.5, 0.3, 0.15, 0.0])
    both = [walk(kind, conditional_mean, x, improved, grid) for improved in (True, False)]
    assert torch.allclose(*both, atol=1e-5)


# As a model


def test_a_cold_model_samples_and_refuses_a_likelihood():
    process = iw.process.Cold(iw.process.Blur(), START)
    model = iw.Diffusion(iw.denoise.Restorer(lambda x_t, t: 2 * x_t, process), (1, 4, 5), dtype=F64)
    x = model.sample(6, seed=1, steps=4)
    assert x.shape == (6, 1, 4, 5)
    assert torch.equal(model.sample(3, seed=1, steps=4), x[:3])
    assert len({float(image.mean()) for image in x}) == 6
    for likelihood in (lambda: model.bound(x, steps=4), lambda: bound(model.denoiser, x, GRID)):
        with pytest.raises(ConfigError, match="no bound"):
            likelihood()
    point = process.marginal(x, 0.5)
    for law in (point, process.prior((1, 1, 4, 5))):
        for likelihood in (law.entropy, lambda law=law: law.log_prob(x), lambda law=law: law.kl(point)):
            with pytest.raises(ConfigError, match="likelihood: got a deterministic degradation"):
                likelihood()
    with pytest.raises(ConfigError, match="no bound"):
        process.decoder(x, None, GRID, None)


def test_a_transition_continues_from_a_marginal():
    process, x = iw.process.Cold(iw.process.Mask(), START), images(2, 1, 5, 5)
    further = process.transition(process.marginal(x, 0.3).mean, 0.3, 0.8)
    assert torch.allclose(further.mean, process.marginal(x, 0.8).mean)


def test_starts_have_the_mean_and_covariance_of_degraded_images():
    mixing = tensor([[1.0, 0.0, 0.0], [0.8, 0.3, 0.0], [-0.2, 0.1, 0.5]])
    x = 0.3 * images(400, 3, 4, 5) + torch.einsum("bj,ij->bi", images(400, 3, seed=1), mixing)[:, :, None, None]
    levels = x.mean((-2, -1))
    for kind, noise in ((iw.process.Blur(), 0.0), (iw.process.Pixelate(), 0.3)):
        prior = iw.process.Cold(kind, iw.process.fit_starts(kind, x, noise)).prior((20000, 3, 4, 5), like=x)
        y = prior.draw(torch.Generator().manual_seed(0))
        got = y.mean((-2, -1))
        assert torch.allclose(prior.mean[0, :, 0, 0], levels.mean(0))
        assert torch.allclose(got.mean(0), levels.mean(0), atol=0.05)
        assert torch.allclose(got.T.cov(), levels.T.cov(correction=0), rtol=0.06, atol=0.06)
        assert float(y.std((-2, -1)).mean()) == pytest.approx(noise, rel=0.03, abs=1e-12)
    empty = iw.process.fit_starts(iw.process.Mask(), x, 0.0)
    assert float(empty.level.abs().max()) == float(empty.factor.abs().max()) == 0


def test_the_noise_of_starts_is_that_of_the_paper():
    """Bansal et al. (2022) break the symmetry of constant images by noise of standard deviation 0.002."""
    x = images(50, 1, 16, 16)
    y = iw.process.Cold(iw.process.Blur(), iw.process.fit_starts(iw.process.Blur(), x)).prior(x.shape, like=x)
    assert float(y.draw(torch.Generator().manual_seed(0)).std((-2, -1)).mean()) == pytest.approx(0.002, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_starts_of_equal_channels_have_the_covariance_of_the_images(seed):
    """The covariance has rank one, and rounding makes some of its zero eigenvalues negative."""
    x = images(5, 1, 4, 6, seed=seed).expand(-1, 3, -1, -1)
    factor = iw.process.fit_starts(iw.process.Blur(), x).factor
    torch.testing.assert_close(factor @ factor.T, x.mean((-2, -1)).T.cov(correction=0))


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize(("norm", "expected"), [("l1", [0.5, 1.0]), ("l2", [0.25, 1.0])])
def test_the_objective_compares_the_restored_image_with_the_clean_one(name, norm, expected):
    kind, x, times = DEGRADATIONS[name](), images(2, 1, 3, 4), tensor([0.2, 0.9])

    def network(x_t, t):
        assert torch.equal(t, times)
        assert torch.equal(x_t, kind.degrade(x, times))
        return x + tensor([0.5, -1.0])[:, None, None, None]

    loss = iw.training.Restoration(norm).loss(iw.denoise.Restorer(network, iw.process.Cold(kind, START)), x, times)
    assert loss.tolist() == pytest.approx(expected)
