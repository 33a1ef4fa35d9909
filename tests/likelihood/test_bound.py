"""The variational bound against its closed form, its limit and the entropy it must not undercut.

The bound takes one draw of noise per term. Where every term is quadratic in data and noise (Gaussian data), a few
prescribed points integrate it exactly; in one dimension, Gauss-Hermite nodes do.
"""

import math
import subprocess
import sys

import pytest
import scipy.integrate
import torch
from bugs import bug
from closed_forms import expected_bound
from oracles import (
    F64,
    LINE,
    PLANE,
    TWO_PEAKS,
    UNEVEN,
    cubature,
    exact_denoiser,
    gauss_hermite,
    log_snr_grid,
    name_of,
    prescribed_noise,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.core import randomness
from inkwash.core.randomness import Slots, generator
from inkwash.core.shapes import over
from inkwash.likelihood import bound as likelihood
from inkwash.likelihood.bound import bound
from inkwash.process.noise.steps import posterior_var

SCHEDULES = public_schedules()
LINEAR = iw.LinearSchedule()
LOUD = iw.TabulatedSchedule((0.3, 0.3))  # at time 1, most of it is still signal
GRIDS = {"10 steps": iw.uniform_grid(10), "100 steps": iw.uniform_grid(100), "uneven": UNEVEN}
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
variances = pytest.mark.parametrize("variance", ["small", "large"])


def posterior_decoder_at_zero(self, x_t, estimate, times, lattice):
    return iw.process.Normal(estimate.x, over(posterior_var(self.schedule, 1e-3, times[-2]), x_t))


@bug(
    "decoder with the variance of another pair",
    iw.Gaussian,
    "decoder",
    posterior_decoder_at_zero,
    schedule=LINEAR,
    variance="large",
    grid="uneven",
    data=PLANE,
)
@schedules
@variances
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
@pytest.mark.slow_cases("100 steps", "LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_the_bound_of_gaussian_data_has_its_closed_form(schedule, variance, grid, data):
    times = GRIDS[grid]
    z, eps = cubature(data.size)
    x = data.whiten_inverse(z)
    with prescribed_noise(eps):
        result = bound(exact_denoiser(data, schedule, variance), x, times)
    pairs, reconstruction = expected_bound(data, schedule, variance, times)
    torch.testing.assert_close(result.per_time.mean(0), pairs, rtol=1e-7, atol=1e-10)
    assert float(result.reconstruction.mean()) == pytest.approx(reconstruction, rel=1e-8)
    assert float(result.total.mean()) >= data.entropy()


def reversed_kl(self, other):
    ratio = other.var / self.var
    return 0.5 * (ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / self.var)


def halved_kl_missing(self, other):
    ratio = self.var / other.var
    return ratio - 1 - ratio.log() + (self.mean - other.mean) ** 2 / other.var


@bug("KL the wrong way round", iw.process.Normal, "entry_kl", reversed_kl, schedule=LOUD)
@bug("KL without its half", iw.process.Normal, "entry_kl", halved_kl_missing, schedule=LOUD)
@pytest.mark.parametrize("schedule", [*SCHEDULES, LOUD], ids=name_of)
def test_the_prior_part_is_the_divergence_from_the_prior(schedule):
    x = PLANE.whiten_inverse(cubature(2)[0])
    at_one = torch.distributions.Normal(schedule.alpha(1.0) * x, schedule.sigma(1.0))
    exploding = isinstance(schedule, iw.KarrasSchedule | iw.process.GeometricSchedule)
    std = (1 + schedule.sigma(1.0) ** 2).sqrt() if exploding else tensor(1.0)
    expected = torch.distributions.kl_divergence(at_one, torch.distributions.Normal(tensor(0.0), std)).sum(1)
    result = bound(exact_denoiser(PLANE, schedule), x, UNEVEN)
    torch.testing.assert_close(result.prior, expected, rtol=1e-9, atol=1e-12)


def expected_total(data, x, weights, schedule, variance, times, nodes=24):
    """The bound at each of the points `x` `(N, 1)`, its noise integrated out, and its mean under `weights`."""
    eps, eps_weights = gauss_hermite(nodes)
    rows = x.repeat_interleave(nodes, 0)
    with prescribed_noise(eps.repeat(len(x))[:, None]):
        total = bound(exact_denoiser(data, schedule, variance), rows, times).total
    at_x = total.reshape(len(x), nodes) @ eps_weights
    return at_x, float(at_x @ weights)


@pytest.mark.parametrize("data", [LINE, TWO_PEAKS], ids=["line", "peaks"])
def test_finer_grids_bring_the_bound_down_to_the_log_density_at_every_point(data):
    """At each x: with the large variance and equal steps of log-SNR, the gap to -log p(x) halves with the step."""
    x = tensor([[-1.3], [0.1], [1.1]])
    weights = torch.full((3,), 1 / 3, dtype=F64)

    def gaps(steps):
        return expected_total(data, x, weights, LINEAR, "large", log_snr_grid(LINEAR, steps))[0] + data.log_prob(x)

    middle, fine = gaps(100), gaps(200)
    assert float((2 * fine - middle).abs().max()) < 0.01  # the part that is linear in the step drops out
    assert float(middle.abs().max()) > 0.05


def quadrature_points(data, nodes=12):
    """Points and weights that stand for draws of one-dimensional data."""
    z, w = gauss_hermite(nodes)
    parts = [(1.0, data)] if data is LINE else zip(data.log_weights.exp().tolist(), data.parts, strict=True)
    points = [(p.whiten_inverse(z[:, None]), share * w) for share, p in parts]
    return torch.cat([x for x, _ in points]), torch.cat([w for _, w in points])


def true_entropy(data):
    def integrand(x):
        log_prob = float(data.log_prob(tensor([[x]])))
        return -math.exp(log_prob) * log_prob

    return scipy.integrate.quad(integrand, -8, 8, points=[-1.2, 0.9], limit=200)[0]


@schedules
@variances
@pytest.mark.parametrize("steps", [3, 30])
@pytest.mark.parametrize("data", [LINE, TWO_PEAKS], ids=["line", "peaks"])
@pytest.mark.slow_cases("-30-", "LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_the_bound_never_undercuts_the_entropy(schedule, variance, steps, data):
    x, weights = quadrature_points(data)
    _, mean = expected_total(data, x, weights, schedule, variance, iw.uniform_grid(steps))
    assert mean >= true_entropy(data)


@variances
def test_finer_grids_tighten_the_bound(variance):
    """Nested grids that share the two times nearest to the data, and with them the decoder."""
    x, weights = quadrature_points(TWO_PEAKS)
    nested = [torch.cat([torch.linspace(1, 0.02, n + 1, dtype=F64), tensor([0.01, 0.0])]) for n in (2, 4, 8, 16, 32)]
    means = [expected_total(TWO_PEAKS, x, weights, LINEAR, variance, times)[1] for times in nested]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("off", [0.8, 1.25])
def test_any_other_denoiser_has_a_larger_bound(off):
    z, eps = cubature(2)
    x = PLANE.whiten_inverse(z)
    exact = exact_denoiser(PLANE, LINEAR)
    other = iw.Denoiser(lambda x_t, t: off * exact(x_t, t).eps, exact.process)
    with prescribed_noise(eps):
        best, worse = (bound(d, x, iw.uniform_grid(20)).total.mean() for d in (exact, other))
    assert float(worse) > float(best) + 0.01


PROBABILITIES = tensor([0.1, 0.2, 0.5, 0.2])
LATTICE = iw.process.Lattice(-1.0, 1.0, 4)


def levels_denoiser(schedule, variance, probabilities=PROBABILITIES):
    """The exact denoiser of one entry that takes each level with its probability: Bayes over the levels."""
    values = LATTICE.values()

    def network(x_t, t):
        alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        log_joint = torch.distributions.Normal(alpha * values, sigma).log_prob(x_t) + probabilities.log()
        return log_joint.softmax(1) @ values[:, None]

    return iw.Denoiser(network, iw.Gaussian(schedule), predicts="x", variance=variance)


def levels_bound(schedule, variance, times, probabilities=PROBABILITIES, nodes=60):
    eps, weights = gauss_hermite(nodes)
    x = LATTICE.values().repeat_interleave(nodes)[:, None]
    denoiser = levels_denoiser(schedule, variance, probabilities)
    with prescribed_noise(eps.repeat(4)[:, None]):
        result = bound(denoiser, x, times, LATTICE)
    return result, torch.kron(probabilities, weights)


@schedules
@variances
@pytest.mark.parametrize("steps", [3, 30])
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_the_bound_of_levels_never_undercuts_their_entropy(schedule, variance, steps):
    result, weights = levels_bound(schedule, variance, iw.uniform_grid(steps))
    entropy = float(torch.distributions.Categorical(PROBABILITIES).entropy())
    assert float(result.total @ weights) >= entropy


def test_the_bound_of_levels_comes_down_to_their_entropy():
    """Four equally likely levels hold two bits, once what is linear in the step is extrapolated away."""
    even = torch.full((4,), 0.25, dtype=F64)
    bits = []
    for steps in (125, 250):
        result, weights = levels_bound(LINEAR, "large", log_snr_grid(LINEAR, steps, first=1e-4), even)
        bits.append(float(result.bits_per_dim @ weights))
    assert bits[0] > bits[1] > 2
    assert 2 * bits[1] - bits[0] == pytest.approx(2, abs=0.015)


def test_levels_that_are_certain_cost_nothing_to_reconstruct():
    result, weights = levels_bound(LINEAR, "large", tensor([1.0, 0.5, 0.002, 0.001, 0.0]))
    assert 0 <= float(result.reconstruction @ weights) < 1e-9


DIFFUSION_TERM = likelihood._diffusion_term


def terms_not_scaled_up(denoiser, x, times, start, stop, random):
    return DIFFUSION_TERM(denoiser, x, times, start, stop, random) / (stop - start)


def first_pair_only(denoiser, x, times, start, stop, random):
    return (stop - start) * DIFFUSION_TERM(denoiser, x, times, start, start + 1, random)


@bug("some terms not scaled up", likelihood, "_diffusion_term", terms_not_scaled_up)
@bug("always the first of the terms", likelihood, "_diffusion_term", first_pair_only)
def test_a_sample_of_the_terms_is_unbiased():
    """Data and noise held fixed, so that only the choice of the terms is random."""
    n, times = 1000, iw.uniform_grid(50)
    x = tensor([[0.4, -1.0]]).expand(n, 2)
    denoiser = exact_denoiser(PLANE, LINEAR)
    with prescribed_noise(tensor([[0.6, -0.3]])):
        whole = bound(denoiser, x[:1], times).diffusion
        some = bound(denoiser, x, times, terms=7)
    assert some.per_time.shape == (n, 7)
    assert float(some.diffusion.std()) > 0
    error = float(some.diffusion.std()) / math.sqrt(n)
    assert float(some.diffusion.mean()) == pytest.approx(float(whole), abs=4 * error)


def test_as_many_terms_as_pairs_are_all_of_them():
    x = PLANE.whiten_inverse(cubature(2)[0])
    denoiser = exact_denoiser(PLANE, LINEAR)
    every, more = bound(denoiser, x, UNEVEN), bound(denoiser, x, UNEVEN, terms=99)
    assert torch.equal(every.total, more.total)


def test_parts_add_up_and_stretches_tile_the_grid():
    x = PLANE.whiten_inverse(cubature(2)[0])
    result = bound(exact_denoiser(PLANE, LINEAR), x, UNEVEN, terms=3)
    torch.testing.assert_close(result.per_time.sum(1), result.diffusion)
    edges = result.time_edges
    assert (float(edges[0]), float(edges[-1]), len(edges)) == (1.0, float(UNEVEN[-2]), 4)
    assert bool((edges.diff() < 0).all())


def test_examples_appended_after_whole_slots_change_nothing():
    rows = Slots((2,), torch.device("cpu")).rows
    x = torch.randn(2 * rows + 3, 2, generator=torch.Generator().manual_seed(0))
    denoiser = exact_denoiser(PLANE, LINEAR)
    longer, shorter = (bound(denoiser, x[:n], iw.uniform_grid(5)).total for n in (len(x), 2 * rows))
    assert torch.equal(longer[: 2 * rows], shorter)


def test_the_bound_of_an_example_does_not_depend_on_those_after_it():
    """The noise belongs to the seed and the place of the example: it is the same in a shorter batch."""
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    denoiser = exact_denoiser(PLANE, LINEAR)
    whole = bound(denoiser, x, iw.uniform_grid(5)).total
    for n in (1, 5, 63):
        torch.testing.assert_close(bound(denoiser, x[:n], iw.uniform_grid(5)).total, whole[:n])


@bug("one noise for all slots", randomness, "generator", lambda seed, purpose, slot: generator(seed, purpose))
def test_slots_have_noise_of_their_own():
    rows = Slots((2,), torch.device("cpu")).rows
    total = bound(exact_denoiser(PLANE, LINEAR), torch.zeros(2 * rows, 2), iw.uniform_grid(5)).total
    assert len(total.unique()) == 2 * rows


def test_the_seed_governs_the_noise():
    x = torch.zeros(4, 2)
    denoiser = exact_denoiser(PLANE, LINEAR)
    first, again, other = (bound(denoiser, x, UNEVEN, seed=seed).total for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_single_precision_data_gets_a_double_precision_bound():
    x = PLANE.whiten_inverse(cubature(2)[0]).float()
    single = bound(exact_denoiser(PLANE, LINEAR), x, UNEVEN)
    double = bound(exact_denoiser(PLANE, LINEAR), x.double(), UNEVEN)
    assert torch.equal(single.total, double.total)


def test_the_standard_error_predicts_the_scatter():
    denoiser, times = exact_denoiser(LINE, LINEAR), iw.uniform_grid(3)
    results = []
    for seed in range(200):
        z = torch.randn(50, 1, generator=torch.Generator().manual_seed(seed), dtype=F64)
        results.append(bound(denoiser, LINE.whiten_inverse(z), times, seed=seed))
    scatter = float(torch.stack([r.total.mean() for r in results]).std())
    assert float(torch.stack([r.std_error for r in results]).mean()) == pytest.approx(scatter, rel=0.2)


def test_a_density_has_no_bits():
    result = bound(exact_denoiser(PLANE, LINEAR), torch.zeros(2, 2), UNEVEN)
    with pytest.raises(iw.ConfigError, match="continuous data"):
        _ = result.bits_per_dim


def test_the_mean_of_a_density_is_in_nats():
    result = bound(exact_denoiser(PLANE, LINEAR), torch.randn(5, 2), UNEVEN)
    mean = result.mean()
    assert (mean.unit, mean.examples) == ("nats", 5)
    assert mean.total == pytest.approx(float(result.total.mean()), rel=1e-12)
    assert mean.prior + mean.diffusion + mean.reconstruction == pytest.approx(mean.total, rel=1e-12)
    assert mean.std_error == pytest.approx(float(result.total.std()) / 5**0.5, rel=1e-12)


def test_the_mean_of_levels_is_in_bits_per_dim_and_one_example_has_no_error():
    result, _ = levels_bound(LINEAR, "small", UNEVEN)
    mean = result.mean()
    assert mean.unit == "bits/dim"
    assert mean.total == pytest.approx(float(result.bits_per_dim.mean()), rel=1e-12)
    one = bound(exact_denoiser(PLANE, LINEAR), torch.zeros(1, 2), UNEVEN).mean()
    assert (one.std_error, one.examples) == (None, 1)


def test_one_step_needs_the_large_variance():
    x, one = PLANE.whiten_inverse(cubature(2)[0]), tensor([1.0, 0.0])
    with pytest.raises(iw.ConfigError, match="at least 2 steps"):
        bound(exact_denoiser(PLANE, LINEAR, "small"), x, one)
    with prescribed_noise(cubature(2)[1]):
        result = bound(exact_denoiser(PLANE, LINEAR, "large"), x, one)
    assert result.per_time.shape == (8, 0)
    assert float(result.total.mean()) >= PLANE.entropy()


@pytest.mark.parametrize("terms", [0, -1])
def test_a_bad_number_of_terms_is_refused(terms):
    with pytest.raises(iw.ConfigError, match="terms"):
        bound(exact_denoiser(PLANE, LINEAR), torch.zeros(2, 2), UNEVEN, terms=terms)


PARTS = ("prior", "diffusion", "reconstruction", "per_time", "lower", "prior_log_prob")


@bug("missing entries counted", likelihood, "sum_event", lambda x, present=None: x.flatten(1).sum(1), continuous=True)
@pytest.mark.parametrize("continuous", [False, True])
def test_bounds_of_independent_entries_add_up(continuous, wide_slots):
    """An entry of its own, beside one that is missing, costs what it costs beside one that is there."""
    seen = []

    def network(x_t, t, present=None):
        seen.append(present)
        return torch.tanh(x_t) * t[:, None]

    denoiser = iw.Denoiser(network, iw.Gaussian(LINEAR), "v", "large")
    x = tensor([[0.3, -1.2], [0.9, 0.4], [-2.0, 0.1]])
    both = bound(denoiser, x, UNEVEN, continuous=continuous)
    assert all(present is None for present in seen)
    alone = []
    for missing in ([True, False], [False, True]):
        seen.clear()
        hidden = torch.tensor(missing).expand_as(x)
        alone.append(bound(denoiser, x.masked_fill(hidden, math.nan), UNEVEN, continuous=continuous))
        assert all(torch.equal(present[: len(x)], ~hidden) for present in seen)
    for part in PARTS:
        torch.testing.assert_close(getattr(both, part), sum(getattr(each, part) for each in alone))


@bug("SNR in place of half of it", likelihood, "sum_event", lambda x, present=None: 2 * x.flatten(1).sum(1))
@pytest.mark.parametrize("schedule", [iw.CosineSchedule(), iw.RectifiedSchedule()], ids=name_of)
def test_the_bound_in_continuous_time_is_the_integral_of_the_error(schedule, wide_slots):
    """Half the integral of mmse(snr), which is log(1 + snr var) / 2 for every principal component of normal data."""
    x = PLANE.whiten_inverse(torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=F64))
    result = bound(exact_denoiser(PLANE, schedule), x, UNEVEN, continuous=True, terms=40)
    ends = schedule.log_snr(tensor([1.0, UNEVEN[-2]])).clamp(min=-20).exp()
    low, high = (0.5 * torch.log1p(snr * PLANE.eigenvalues).sum() for snr in ends)
    error = float(result.diffusion.std()) / math.sqrt(len(x))
    assert float(result.diffusion.mean()) == pytest.approx(float(high - low), abs=4 * error)
    levels = schedule.log_snr(result.time_edges).clamp(min=-20)
    torch.testing.assert_close(levels, torch.linspace(float(levels[0]), float(levels[-1]), 41, dtype=F64))
    assert result.per_time.shape == (400, 40)


@pytest.mark.slow
def test_the_bound_of_many_pictures_takes_the_memory_of_a_few(tmp_path):
    """It had grown by 33 MB for each slot of 16 pictures with 256 levels, of which nearly all was free."""
    lines = f"""
import math, numpy, psutil
import inkwash as iw
from inkwash.core.machine import keep_freed_memory
keep_freed_memory()
x = numpy.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(numpy.uint8)
numpy.save({str(tmp_path / "x.npy")!r}, x)
network, train = iw.NetworkConfig(width=32, depth=1), iw.TrainConfig(steps=1, batch_size=4)
model = iw.train({str(tmp_path / "x.npy")!r}, {str(tmp_path / "run")!r}, network=network, train=train).model()
before = psutil.Process().memory_info().rss
model.bound(numpy.resize(x, (16 * 96, 28, 28)), steps=math.inf, terms=1, seed=0)
grown = (psutil.Process().memory_info().rss - before) / 2**20
assert grown < 1500, grown
"""
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0


def independent_entries(schedule, variances):
    """A denoiser that is exact for independent normal entries of mean 0."""

    def network(x_t, t):
        alpha, sigma = (over(part(t), x_t) for part in (schedule.alpha, schedule.sigma))
        return (x_t - alpha * (alpha * variances / (alpha**2 * variances + sigma**2)) * x_t) / sigma

    return iw.Denoiser(network, iw.Gaussian(schedule), predicts="eps", variance="small")


@bug(
    "entries of another term", torch, "stack", lambda tensors, dim=0: torch.cat([t[:, None] for t in tensors[::-1]], 1)
)
@pytest.mark.parametrize("continuous", [False, True], ids=["grid", "continuous"])
def test_independent_entries_have_the_bounds_that_they_have_alone(continuous):
    """Each entry of a picture costs, in each stretch of time, what a model of it alone pays under the same noise."""
    variances = tensor([0.3, 1.0, 4.0]).reshape(1, 3)
    eps, pixels = torch.randn(8, 1, 3, generator=generator(0), dtype=F64), torch.randn(8, 1, 3, dtype=F64)
    with prescribed_noise(eps):
        found = bound(independent_entries(LINEAR, variances), pixels, UNEVEN, continuous=continuous, entries=True)
    for i in range(3):
        with prescribed_noise(eps[..., i : i + 1]):
            denoiser = independent_entries(LINEAR, variances[:, i : i + 1])
            alone = bound(denoiser, pixels[..., i : i + 1], UNEVEN, continuous=continuous)
        expected = torch.cat([alone.prior[:, None], alone.per_time, alone.reconstruction[:, None]], 1)
        torch.testing.assert_close(found.per_entry[:, :, 0, i], expected, rtol=1e-9, atol=1e-12)
