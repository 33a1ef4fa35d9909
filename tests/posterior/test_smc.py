"""Populations of weighed particles, against mixtures by their parts, enumeration and calibrated ranks."""

import math

import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    PLANE,
    PLANE_PEAKS,
    TOGETHER,
    GaussianData,
    exact_denoiser,
    log_snr_grid,
    tensor,
)
from products import LINEAR, real_model
from torch.distributions import MultivariateNormal

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.model import diffusion as diffusion
from inkwash.posterior import smc
from inkwash.posterior.guidance import Guided
from inkwash.posterior.smc import effective_share

HALF = GaussianData([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]])
LEFT = iw.Observed([True, False], [0.95, 0.0])


def unweighted(log_weight, count, generator):
    return torch.randperm(len(log_weight), generator=generator)[:count]


@bug("particles not weighed", smc, "_drawn", unweighted)
def test_the_population_of_a_mixture_is_that_of_its_parts(monkeypatch):
    """One entry of a mixture of normal laws is known. Of the other: mean, variance and a tail, each by the parts."""
    y = 0.4
    monkeypatch.setattr(Slots, "rows", 512)
    population = (real_model(PLANE_PEAKS, variance="small") * iw.Observed([True, False], [y, 0.0])).population(
        512, seed=3, steps=60, method=iw.SMC(4)
    )
    x = population.x[:, 1]
    laws = [MultivariateNormal(p.mean[:1], p.cov[:1, :1]) for p in PLANE_PEAKS.parts]
    weights = (torch.stack([law.log_prob(tensor([y])) for law in laws]) + PLANE_PEAKS.log_weights).softmax(0)
    means = torch.stack([p.mean[1] + p.cov[0, 1] / p.cov[0, 0] * (y - p.mean[0]) for p in PLANE_PEAKS.parts])
    variances = torch.stack([p.cov[1, 1] - p.cov[0, 1] ** 2 / p.cov[0, 0] for p in PLANE_PEAKS.parts])
    mean = float(weights @ means)
    var = float(weights @ (variances + means**2)) - mean**2
    error = math.sqrt(var / (512 * float(population.effective[0].min())))
    assert float(population.effective.min()) > 0.2
    assert float(x.mean()) == pytest.approx(mean, abs=4 * error)
    assert float(x.var()) == pytest.approx(var, rel=0.25)
    below = float(weights @ torch.distributions.Normal(means, variances.sqrt()).cdf(tensor(mean)))
    assert float((x < mean).double().mean()) == pytest.approx(below, abs=4 * 0.5 * error / math.sqrt(var))


def test_particles_are_weighed_from_the_start(monkeypatch):
    """Where signal is left at time 1, the first states say something of x. For standard normal data the prior and the
    large variance are exact, so that only the weights can be wrong."""
    monkeypatch.setattr(Slots, "rows", 1024)
    model = real_model(GaussianData([0.0], [[1.0]]), iw.TabulatedSchedule((0.01,) * 60), "large")
    product = model * iw.Measurement(tensor([[1.0]]), tensor([2.0]), 0.5)
    x = product.sample(1024, seed=0, steps=60, method=iw.SMC(4))
    assert float(x.mean()) == pytest.approx(2 / 1.25, abs=0.06)
    assert float(x.var()) == pytest.approx(0.2, rel=0.2)


def test_data_of_levels_is_multiplied_as_enumeration_says(monkeypatch):
    """Two entries of three levels; a noisy measurement of their sum. By sequential Monte Carlo, after rounding."""
    monkeypatch.setattr(Slots, "rows", 512)
    model = iw.Diffusion(TOGETHER.denoiser(LINEAR), (2,), dtype=F64)
    sum_of = iw.Measurement(tensor([[1.0, 1.0]]), tensor([1.0]), 0.6)
    log_r = torch.distributions.Normal(TOGETHER.points.sum(1), tensor(0.6)).log_prob(tensor(1.0))
    expected = (TOGETHER.log_probs + log_r).softmax(0)
    x = (model * sum_of).sample(512, seed=0, steps=50, method=iw.SMC(4))
    index = TOGETHER.lattice.index(x).long()
    found = torch.bincount(3 * index[:, 0] + index[:, 1], minlength=9).double() / 512
    assert float((found - expected).abs().max()) < 0.08
    assert float((found - TOGETHER.log_probs.exp()).abs().max()) > 0.15


def copies_for_more(self, x_1, generator):
    return x_1.repeat(self.options.particles, 1)


@bug("particles that start as copies", smc.Particles, "_population", copies_for_more)
def test_a_population_has_so_many_particles_for_each_draw(few_rows):
    """From the start, each in a place of its own."""
    asked, denoiser = [], exact_denoiser(HALF, LINEAR)

    def counting(x_t, t):
        asked.append(len(x_t[:, 1].unique()))
        return denoiser.network(x_t, t)

    model = iw.Diffusion(iw.Denoiser(counting, denoiser.process, "x"), (2,), dtype=F64)
    (model * LEFT).sample(2, seed=0, steps=3, method=iw.SMC(3, threshold=1.0))
    assert asked == [3 * 8] * 3


DRAWN = smc._drawn


@bug("draws in the order of the particles", smc, "_drawn", lambda *args: DRAWN(*args).sort().values)
def test_draws_of_a_population_come_in_random_order():
    """Four of two particles, one of which weighs three times the other: it is drawn three times, at any places."""
    drawn = [smc._drawn(tensor([0.25, 0.75]).log(), 4, torch.Generator().manual_seed(k)).tolist() for k in range(40)]
    assert {each.index(0) for each in drawn} == {0, 1, 2, 3}
    assert {sum(each) for each in drawn} == {3}


RENEWED = smc.Particles._renewed


def from_all(self, log_weight, count, generator):
    return smc._drawn(log_weight, count, generator)


def all_once_one_is_worn(self, log_weight, generator):
    every = smc.Particles(self.process, self.twist, iw.SMC(threshold=1.0), self.groups)
    return RENEWED(every, log_weight, generator)


@bug("worn populations renewed from other examples", smc.Particles, "_drawn", from_all)
@bug("all populations renewed once one is worn", smc.Particles, "_renewed", all_once_one_is_worn)
def test_a_worn_population_is_renewed_from_its_own_particles():
    """Three examples side by side, of eight particles each. One has all its weight on two of them, one to three."""
    weight = torch.ones(8, 3, dtype=F64)
    weight[:, 1] = tensor([0, 0, 1, 0, 0, 3, 0, 0])
    weight[0, 2] = 1.5
    particles = smc.Particles(iw.Gaussian(LINEAR), None, iw.SMC(threshold=0.5), 3)
    left, kept = particles._renewed(weight.log().flatten(), torch.Generator().manual_seed(0))
    kept, rows = kept.reshape(8, 3), torch.arange(24).reshape(8, 3)
    assert torch.equal(kept[:, [0, 2]], rows[:, [0, 2]])
    assert sorted(kept[:, 1].tolist()) == 2 * [rows[2, 1]] + 6 * [rows[5, 1]]
    assert left.reshape(8, 3)[:, 1].tolist() == 8 * [0.0]
    torch.testing.assert_close(left.reshape(8, 3)[:, [0, 2]], weight[:, [0, 2]].log())


def test_effective_shares():
    assert effective_share(torch.zeros(8)) == pytest.approx(1)
    assert effective_share(tensor([0.0, 0.0, -torch.inf, -torch.inf]) + 700) == pytest.approx(0.5)
    with pytest.raises(iw.NonFiniteError, match="zero"):
        effective_share(torch.full((3,), -torch.inf))


def ranks(draws, truth):
    return (draws < truth).sum(0)


def chi2_tail(counts):
    """Probability that even frequencies would come out more uneven than these."""
    from scipy.stats import chisquare

    return float(chisquare(counts.numpy()).pvalue)


def test_draws_by_the_default_are_calibrated():
    """1,000 measurements, each with 63 draws: the rank of the truth among them is uniform. All walk in one batch, each
    with its own measurement."""
    random = torch.Generator().manual_seed(11)
    sims, draws, noise = 1000, 63, 0.5
    x = PLANE.whiten_inverse(torch.randn(sims, 2, generator=random, dtype=F64))
    y = x[:, :1] + 0.5 * x[:, 1:] + noise * torch.randn(sims, 1, generator=random, dtype=F64)
    model = real_model(PLANE)
    known = torch.zeros(2, dtype=torch.bool)
    linear = iw.posterior.Linear(lambda z: z[:, :1] + 0.5 * z[:, 1:], (2,), y.repeat(draws, 1), tensor([noise**2]))
    evidence = iw.posterior.Evidence(known, known.double(), (linear,))
    denoiser, walk = Guided(model.denoiser, evidence, iw.MomentMatching()), iw.DDIM()
    x_1 = torch.randn(sims * draws, 2, generator=random, dtype=F64)
    times = iw.LinearSchedule().time(torch.linspace(-9.2, 9, 80, dtype=F64))
    times = torch.cat([tensor([1.0]), times[1:], tensor([0.0])])
    with torch.no_grad():
        *_, (_, drawn) = walk.trajectory(denoiser, x_1, times, random)
    for entry in range(2):
        found = ranks(drawn[:, entry].reshape(draws, sims), x[:, entry])
        assert chi2_tail(torch.bincount(found // 4, minlength=16)) > 1e-3


@pytest.mark.slow
def test_draws_by_sequential_monte_carlo_are_calibrated(monkeypatch):
    """The same of 1,000 known entries of a mixture of normal laws, each with a population of its own."""
    monkeypatch.setattr(Slots, "rows", 128)
    random = torch.Generator().manual_seed(5)
    part = torch.multinomial(PLANE_PEAKS.log_weights.exp(), 1000, replacement=True, generator=random)
    z = torch.randn(1000, 2, generator=random, dtype=F64)
    x = torch.stack([PLANE_PEAKS.parts[k].whiten_inverse(row[None])[0] for k, row in zip(part, z, strict=True)])
    model, times = real_model(PLANE_PEAKS, variance="large"), log_snr_grid(LINEAR, 24, 1e-4)
    found = []
    for i, row in enumerate(x):
        product = model * iw.Observed([True, False], row.tolist())
        drawn = product.sample(63, seed=i, times=times, method=iw.SMC(1))
        found.append(int((drawn[:, 1] < row[1]).sum()))
    counts = torch.bincount(torch.tensor(found) // 4, minlength=16)
    assert chi2_tail(counts) > 1e-3, counts
