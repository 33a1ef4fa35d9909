"""Known entries of models with a latent against conditional normal laws, and against sums over all data."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from linear_latents import VANISHING, with_diagonal_posterior
from oracles import F64
from torch.distributions import MultivariateNormal

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.model import VAE, LatentDiffusion, LatentProduct
from inkwash.posterior import guidance
from inkwash.posterior.evidence import Evidence
from inkwash.sample.walk import end_of

EXACT = with_diagonal_posterior()
KNOWN, VALUES = [False, True, False], [9.0, -5.0, 9.0]
MANY = 2000


def conditional():
    """Law of the two unknown entries."""
    mean, cov, rest = EXACT.law.mean, EXACT.law.covariance_matrix, [0, 2]
    gain = cov[rest, 1] / cov[1, 1]
    return MultivariateNormal(
        mean[rest] + gain * (-5.0 - mean[1]), cov[rest][:, rest] - torch.outer(gain, cov[1, rest])
    )


def misfit(drawn, law, effective=MANY):
    """Largest error of mean and covariance after whitening, in standard errors of so many independent draws."""
    white = torch.linalg.solve_triangular(law.scale_tril, (drawn.double() - law.mean).T, upper=False)
    error = torch.cat([white.mean(1).abs(), (white.cov() - torch.eye(2, dtype=F64)).abs().flatten() / math.sqrt(2)])
    return float(error.max()) * math.sqrt(effective)


METHODS = {
    "moment matching": (iw.MomentMatching(iterations=4, floor=0), 4.5),
    "particles": (iw.SMC(particles=4), 6.0),  # one population: its draws are not independent
}

DECODED = LatentProduct._log_known


def of_every_entry(self, z):
    return self.model.autoencoder.log_likelihood(self.evidence.values.expand(len(z), 3).to(z), z)


@bug("unknown entries count too", LatentProduct, "_log_known", of_every_entry)
@bug("the known entries have no effect", LatentProduct, "_log_known", lambda self, z: 0 * DECODED(self, z))
@pytest.mark.parametrize("method", METHODS)
def test_samples_follow_the_conditional_law(method):
    """By moment matching it is exact for linear decoders, and by particles in the limit."""
    how, tolerance = METHODS[method]
    product = EXACT.model() * iw.Observed(KNOWN, VALUES)
    drawn = product.sample(MANY, method=how, steps=30, seed=1)
    assert torch.equal(drawn[:, 1], torch.full((MANY,), -5.0, dtype=F64))
    assert misfit(drawn[:, [0, 2]], conditional()) < tolerance


def test_the_curvature_is_that_of_the_known_entries():
    """The largest eigenvalue of W_K^T W_K / noise_var; an estimate from 64 scores is a little above it."""
    product = EXACT.model() * iw.Observed(KNOWN, VALUES)
    exact = float((EXACT.weight[1] ** 2).sum() / EXACT.noise_var)
    assert product.latents.evidence.curvature == pytest.approx(exact, rel=0.25)


def without_curvature(spread, evidence, x):
    return evidence.potential(x)


@bug("curvature ignored", guidance, "log_twist", without_curvature)
def test_pigdm_is_exact_for_a_normal_factor_of_known_curvature():
    """Standard normal data times N(x; 2, 1/4): the product is N(1.6, 1/5)."""
    process = iw.Gaussian(VANISHING)

    def network(x_t, t):
        return VANISHING.alpha(t)[:, None] * x_t

    nowhere = torch.zeros(1, dtype=torch.bool)
    factor = Evidence(
        nowhere, torch.zeros(1, dtype=F64), potentials=(lambda x: -2 * ((x - 2) ** 2).sum(1),), curvature=4.0
    )
    walker = iw.PiGDM().compose(iw.Denoiser(network, process, "x", "large"), factor, iw.Heun())
    random = torch.Generator().manual_seed(0)
    x_1 = torch.randn(4000, 1, dtype=F64, generator=random)
    x = end_of(walker.walk(x_1, iw.uniform_grid(40), random)).x_s
    assert float(x.mean()) == pytest.approx(1.6, abs=4 * math.sqrt(0.2 / 4000))
    assert float(x.var()) == pytest.approx(0.2, rel=4 * math.sqrt(2 / 4000))


def test_a_vae_is_conditioned_likewise():
    """Its prior is a diffusion model of standard normal latents; here of the same x."""
    tril = torch.linalg.cholesky(EXACT.latents.cov)
    autoencoder = EXACT.autoencoder()
    decode = autoencoder.decoder
    autoencoder.decoder = lambda u: decode(EXACT.latents.mean + u.double() @ tril.T)
    product = VAE(autoencoder, (3,)) * iw.Observed(KNOWN, VALUES)
    drawn = product.sample(MANY, method=iw.MomentMatching(iterations=4, floor=0), steps=30, seed=1)
    assert misfit(drawn[:, [0, 2]], conditional()) < 4.5


def test_known_entries_are_exact_in_data_units_and_levels(monkeypatch):
    monkeypatch.setattr(Slots, "rows", 8)
    torch.manual_seed(0)
    spec = iw.data.DataSpec((1, 5, 4), "NHW", "uint8", 0.0, 4.0, 5)
    transform = iw.data.Transform(spec, (2.0,), (2.0,))
    autoencoder = iw.model.build_autoencoder(iw.nn.AutoencoderOptions(2, 2, 8), (1, 5, 4), transform.lattice)
    denoiser = iw.Denoiser(lambda x_t, t: 0.1 * x_t, iw.Gaussian(VANISHING), "x", "large")
    model = LatentDiffusion(autoencoder, iw.Diffusion(denoiser, (2, 3, 2), steps=4), (1, 5, 4), transform)
    mask, values = np.arange(20).reshape(5, 4) % 3 == 0, np.arange(20).reshape(5, 4) % 5
    product = iw.Observed(mask, values) * model
    drawn = product.sample(12, seed=3)
    assert drawn.dtype == np.uint8
    assert (drawn[:, mask] == values[mask]).all()
    assert len(np.unique(drawn[:, ~mask])) == 5
    for n, first in ((3, 0), (4, 6)):
        assert np.array_equal(product.sample(n, first=first, seed=3), drawn[first : first + n])
    last = list(product.progressive(12, seed=3))[-1]
    assert np.array_equal(product.to_data(last.x_s), drawn)
    population = product.population(12, seed=3, method=iw.SMC(particles=2))
    assert np.array_equal(population.x, product.sample(12, seed=3, method=iw.SMC(particles=2)))
    assert population.effective.shape[1] == 4


def test_factors_come_in_any_order_and_must_agree():
    model, seen = EXACT.model(steps=4), iw.Observed(KNOWN, VALUES)
    also = iw.Observed([True, False, False], [1.5, 0.0, 0.0])
    one, other = ((model * seen) * also, also * (seen * model))
    assert torch.equal(one.sample(5, seed=2), other.sample(5, seed=2))
    assert torch.equal((model * (seen * also)).sample(5, seed=2), one.sample(5, seed=2))
    assert one.sample(5, seed=2)[:, 0].tolist() == [1.5] * 5
    with pytest.raises(iw.ConfigError, match="two values for one entry"):
        one * iw.Observed(KNOWN, [0.0, 1.0, 0.0])
    with pytest.raises(iw.ConfigError, match="label: got left, need none"):
        model * iw.Condition(label="left")
    with pytest.raises(TypeError):
        model * 3


def test_without_known_entries_a_product_is_the_model():
    model = EXACT.model(steps=4)
    assert torch.equal((model * iw.Condition()).sample(7, seed=1), model.sample(7, seed=1))


def test_the_mean_of_unknown_entries_has_no_noise_of_the_decoder():
    product = EXACT.model() * iw.Observed(KNOWN, VALUES)
    method = iw.MomentMatching(iterations=4, floor=0)
    drawn, mean = (product.sample(MANY, method=method, steps=10, seed=1, mean=each) for each in (False, True))
    difference = (drawn - mean)[:, [0, 2]].double()
    expected = EXACT.noise_var * torch.eye(2, dtype=F64)
    torch.testing.assert_close(difference.T.cov(), expected, atol=0.03, rtol=0)
