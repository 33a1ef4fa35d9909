"""Variational autoencoders against probabilistic PCA, whose every answer is known, against quadrature, and against
diffusion models, which are VAEs with a fixed encoder."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from oracles import (
    F64,
    PLANE,
    TWO_PEAKS,
    cubature,
    exact_denoiser,
    gauss_hermite,
    prescribed_noise,
    tensor,
)
from torch.distributions import MultivariateNormal, kl_divergence

import inkwash as iw
from inkwash.likelihood.bound import bound
from inkwash.model import VAE, Autoencoder, SharedNoise, build_autoencoder
from inkwash.nn.autoencoder import AutoencoderOptions

LINEAR = iw.LinearSchedule()
LATTICE = iw.process.Lattice(-1.0, 1.0, 5)


class PCA:
    """Probabilistic PCA, x = W z + m + noise (Tipping & Bishop 1999). The columns of W are orthogonal, so that the
    posterior of z has a diagonal covariance and an encoder can be exact."""

    def __init__(self, columns, mean, noise_var):
        self.weight, self.mean, self.noise_var = tensor(columns).T, tensor(mean), noise_var
        self.size, self.latent = self.weight.shape

    def law(self, noise_var=None):
        eye = torch.eye(self.size, dtype=F64)
        return MultivariateNormal(self.mean, self.weight @ self.weight.T + (noise_var or self.noise_var) * eye)

    def joint(self):
        """Of (z, x)."""
        eye, cross = torch.eye(self.latent, dtype=F64), self.weight.T
        cov = torch.cat([torch.cat([eye, cross], 1), torch.cat([cross.T, self.law().covariance_matrix], 1)])
        return torch.cat([torch.zeros(self.latent, dtype=F64), self.mean]), cov

    def posterior(self, x):
        """Law of z given x, from the joint law: (B, latent) and its diagonal covariance."""
        (mean, cov), k = self.joint(), self.latent
        gain = torch.linalg.solve(cov[k:, k:], cov[k:, :k]).T
        return (x - mean[k:]) @ gain.T, (cov[:k, :k] - gain @ cov[k:, :k]).diagonal()

    def decode(self, z):
        return z.double() @ self.weight.T + self.mean

    def vae(self, shift=0.0, spread=1.0, lattice=None, **options):
        """A VAE whose encoder is the posterior, moved by `shift` and with its variance multiplied by `spread`."""

        def encode(x):
            mean, var = self.posterior(x)
            return torch.cat([mean + shift, (spread * var).log().expand_as(mean)], 1)

        output = SharedNoise(self.noise_var, lattice)
        return VAE(Autoencoder(encode, self.decode, (self.latent,), output), (self.size,), **options)


SPACE = PCA([[1.2, 0.4, -0.8], [0.2, 0.6, 0.6]], [0.7, -1.1, 2.0], 0.35)
STICK = PCA([[0.9]], [0.4], 0.2)
POINTS = tensor([[1.0, -0.5, 1.6], [-2.0, -2.5, 3.9], [0.7, -1.1, 2.0]])


@pytest.mark.parametrize("draws", [1, 3])
def test_with_the_exact_posterior_bound_and_likelihood_are_exact_without_noise(draws):
    vae, exact = SPACE.vae(), SPACE.law().log_prob(POINTS)
    estimate = vae.log_prob(POINTS, draws=draws)
    torch.testing.assert_close(vae.bound(POINTS, draws=draws).total, -exact)
    torch.testing.assert_close(estimate.value, exact)
    torch.testing.assert_close(estimate.effective_draws, torch.full((3,), float(draws), dtype=F64))
    assert bool((estimate.std_error < 1e-7).all() if draws > 1 else estimate.std_error.isnan().all())


def test_the_gap_of_a_wrong_encoder_is_its_divergence_from_the_posterior():
    """Two latents: the four prescribed draws integrate what is quadratic in z exactly."""
    z = cubature(1)
    noise = torch.cat(z, 1)
    for x in POINTS:
        mean, var = SPACE.posterior(x[None])
        shift, spread = tensor([0.4, -0.2]), 1.7
        wrong = MultivariateNormal(mean + shift, torch.diag(spread * var))
        with prescribed_noise(noise):
            result = SPACE.vae(shift, spread).bound(x.expand(4, 3))
        gap = float(result.total.mean() + SPACE.law().log_prob(x))
        assert gap == pytest.approx(float(kl_divergence(wrong, MultivariateNormal(mean, torch.diag(var)))))
        prior = MultivariateNormal(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
        torch.testing.assert_close(result.prior, kl_divergence(wrong, prior).expand(4))
        assert not bool(result.diffusion.any())


def test_the_reconstruction_is_the_expected_loss_of_the_decoder():
    """E|x - Wz - m|^2 for z from the encoder: that at its mean, and what the spread of z adds."""
    x, shift, spread = POINTS[1], tensor([0.4, -0.2]), 1.7
    mean, var = SPACE.posterior(x[None])
    miss = ((x - SPACE.decode(mean + shift)) ** 2).sum() + (spread * var * (SPACE.weight**2).sum(0)).sum()
    nll = 1.5 * math.log(2 * math.pi * SPACE.noise_var) + miss / (2 * SPACE.noise_var)
    with prescribed_noise(torch.cat(cubature(1), 1)):
        result = SPACE.vae(shift, spread).bound(x.expand(4, 3))
    assert float(result.reconstruction.mean()) == pytest.approx(float(nll))


def test_more_draws_bring_the_estimate_from_the_bound_up_to_the_likelihood():
    x = POINTS[1].expand(2000, 3)
    vae, exact = SPACE.vae(shift=0.5, spread=2.0), float(SPACE.law().log_prob(POINTS[1]))
    estimates = [vae.log_prob(x, draws=draws, seed=draws) for draws in (1, 4, 16, 256)]
    values = [e.value for e in estimates]
    means = [float(v.mean()) for v in values]
    errors = [float(v.std()) / math.sqrt(2000) for v in values]
    for (low, high), (a, b) in zip(pairwise(means), pairwise(errors), strict=True):
        assert high - low > 4 * math.hypot(a, b)
    unbiased = means[-1] + float((estimates[-1].std_error ** 2 / 2).mean())
    assert unbiased == pytest.approx(exact, abs=0.0005 + 4 * errors[-1])
    assert -float(vae.bound(x).total.mean()) == pytest.approx(means[0], abs=5 * errors[0])


@pytest.mark.parametrize("proposal", ["encoder", "prior"])
def test_the_weights_average_to_the_density(proposal):
    """p(x) itself is estimated without bias, from any number of draws."""
    x, exact = POINTS[0].expand(4000, 3), SPACE.law().log_prob(POINTS[0])
    ratio = (SPACE.vae(0.3, 1.6).log_prob(x, draws=3, proposal=proposal).value - exact).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(4000))
    assert 0 < float(ratio.std()) < 3


def test_the_standard_error_is_that_of_the_estimate():
    x, exact = POINTS[0].expand(2000, 3), SPACE.law().log_prob(POINTS[0])
    estimate = SPACE.vae(0.3, 1.6).log_prob(x, draws=200)
    z = (estimate.value - exact) / estimate.std_error
    assert float(z.std()) == pytest.approx(1, abs=0.07)
    assert float((z.abs() < 1.96).double().mean()) == pytest.approx(0.95, abs=0.02)


def from_copies(vae, x, draws, **options):
    """`log_prob` with 200 times as many draws, from as many copies of each example at once."""
    log_weights = vae.log_prob(x.repeat(200, 1), draws=draws, **options).log_weights
    return iw.model.ImportanceEstimate(log_weights.reshape(200 * draws, len(x)))


def share_of_effective_draws(pca, x):
    """E[w]^2 / E[w^2] for w = p(x | z), z from the prior, in closed form: the square of a normal density is another one
    of half the variance, times (4 pi var)^(-d/2)."""
    log_square = pca.law(pca.noise_var / 2).log_prob(x) - pca.size / 2 * math.log(4 * math.pi * pca.noise_var)
    return float((2 * pca.law().log_prob(x) - log_square).exp())


@pytest.mark.parametrize("noise_var", [1.0, 0.1, 0.01])
def test_the_narrower_the_decoder_the_fewer_draws_of_the_prior_count(noise_var):
    pca = PCA([[0.9, -0.3]], [0.4, 1.0], noise_var)
    x = pca.decode(tensor([[0.8]]))
    assert share_of_effective_draws(pca, x) < 1.1 * math.sqrt(noise_var) + 0.2 * noise_var
    share = float(from_copies(pca.vae(), x, 100, proposal="prior").effective_draws) / 20_000
    assert share == pytest.approx(share_of_effective_draws(pca, x), rel=0.1)


def test_in_the_limit_of_a_delta_the_prior_finds_nothing_and_the_encoder_everything():
    """Note 004's first idea: p(x | z) = 1 where the decoder gives x and 0 elsewhere. No draw gives x, so that the
    estimate is 0; nor does a narrow normal help, unless z is drawn where x came from."""
    pca = PCA([[0.9, -0.3, 0.2, 0.7]], [0.4, 1.0, -0.6, 0.0], 1e-10)
    random = torch.Generator().manual_seed(0)
    x = iw.process.Normal(pca.decode(tensor([[0.8]])), tensor(pca.noise_var)).draw(random)
    vae = pca.vae()
    z = torch.randn(100_000, 1, dtype=F64, generator=random)
    assert int((pca.decode(z) == x).all(1).sum()) == 0
    exact = float(pca.law().log_prob(x))
    guess, found = (vae.log_prob(x.expand(100, 4), draws=100, proposal=p) for p in ("prior", "encoder"))
    assert float((guess.value < exact - 100).double().mean()) > 0.9
    assert float(guess.effective_draws.median()) < 1.01
    torch.testing.assert_close(found.value, torch.full((100,), exact, dtype=F64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("noise_var", [0.2, 0.35, 0.8])
def test_the_most_likely_model_is_the_one_of_least_divergence(scale, noise_var):
    """E[-log p(x)] = H(data) + KL(data ‖ p), whatever the model: minimising the one minimises the other."""
    data = SPACE.law()
    model = PCA((scale * SPACE.weight.T).tolist(), (SPACE.mean + scale - 1).tolist(), noise_var)
    z = math.sqrt(3) * torch.cat([torch.eye(3, dtype=F64), -torch.eye(3, dtype=F64)])
    x = data.mean + z @ torch.linalg.cholesky(data.covariance_matrix).T
    nll = -float(model.vae().log_prob(x, draws=1).value.mean())
    assert nll - float(data.entropy()) == pytest.approx(float(kl_divergence(data, model.law())), abs=1e-9)
    best = -float(SPACE.vae().log_prob(x, draws=1).value.mean())
    assert best <= nll


def curved(z):
    return torch.cat([torch.tanh(2 * z), 0.5 * z**2], 1)


def test_a_curved_decoder_agrees_with_quadrature():
    x = tensor([[0.3, 0.1], [-0.9, 0.9], [1.5, -0.2]])
    nodes, weights = gauss_hermite(180)
    density = torch.distributions.Normal(curved(nodes[:, None]), math.sqrt(0.09)).log_prob(x[:, None]).sum(2)
    exact = (density + weights.log()).logsumexp(1)
    networks = lambda x: torch.cat([0.7 * x[:, :1], -0.5 + 0 * x[:, :1]], 1), curved
    vae = VAE(Autoencoder(*networks, (1,), SharedNoise(0.09)), (2,))
    estimate = from_copies(vae, x, 20)
    assert bool(((estimate.value - exact).abs() < 4 * estimate.std_error).all())
    assert bool((estimate.std_error < 0.05).all())
    assert bool((vae.bound(x, draws=500).total > -exact).all())


def level_masses():
    """Of STICK, whose x is a normal variable, rounded to the lattice."""
    law = scipy.stats.norm(float(STICK.mean), float(STICK.law().covariance_matrix.sqrt()))
    edges = np.concatenate([[-np.inf], (LATTICE.values()[:-1] + LATTICE.spacing / 2).numpy(), [np.inf]])
    return tensor(np.diff(law.cdf(edges)))


def test_levels_have_the_masses_of_their_bins():
    x = LATTICE.values()[:, None]
    vae = STICK.vae(spread=1.5, lattice=LATTICE)
    estimate = from_copies(vae, x, 25)
    exact = level_masses().log()
    assert bool(((estimate.value - exact).abs() < 4 * estimate.std_error).all())
    assert float(estimate.std_error.max()) < 0.02
    above = vae.bound(x, draws=200)
    assert bool((above.total > -exact).all())
    torch.testing.assert_close(above.bits_per_dim, above.total / math.log(2))


def test_drawn_levels_have_the_masses_of_their_bins():
    drawn = STICK.vae(lattice=LATTICE).sample(20_000, seed=1)
    counts = torch.bincount(LATTICE.index(drawn.double())[:, 0].long(), minlength=5)
    assert set(drawn.unique().tolist()) == set(LATTICE.values().tolist())
    assert scipy.stats.chisquare(counts, 20_000 * level_masses()).pvalue > 1e-4


def test_samples_have_the_law_of_the_model():
    x = SPACE.vae().sample(20_000, seed=0).double()
    whitened = torch.linalg.solve(torch.linalg.cholesky(SPACE.law().covariance_matrix), (x - SPACE.mean).T)
    assert float(whitened.mean(1).abs().max()) < 4 / math.sqrt(20_000)
    torch.testing.assert_close(whitened.cov(), torch.eye(3, dtype=F64), atol=0.05, rtol=0)
    assert all(scipy.stats.kstest(row, "norm").pvalue > 1e-4 for row in whitened)


def untrained(shape):
    torch.manual_seed(0)
    options = AutoencoderOptions(2, 2 if len(shape) > 1 else 1, 8)
    return VAE(build_autoencoder(options, shape), shape)


def test_a_sample_of_a_seed_does_not_depend_on_how_many_are_drawn():
    vae = untrained((1, 3, 4))
    many = vae.sample(2500, seed=4)
    assert torch.equal(vae.sample(7, seed=4), many[:7])
    assert torch.equal(vae.sample(3, seed=4, first=400), many[400:403])
    assert many.shape == (2500, 1, 3, 4)
    assert len(many.unique(dim=0)) == 2500
    assert not torch.equal(vae.sample(7, seed=5), many[:7])


def test_without_a_seed_the_global_generator_governs():
    vae = STICK.vae()
    torch.manual_seed(1)
    first, second = vae.sample(3), vae.sample(3)
    torch.manual_seed(1)
    assert torch.equal(vae.sample(3), first)
    assert not torch.equal(first, second)


def test_an_example_does_not_depend_on_those_after_it():
    vae = untrained((3,))
    x = torch.randn(1500, 3, generator=torch.Generator().manual_seed(0))
    bounds, estimates = vae.bound(x, draws=2).total, vae.log_prob(x, draws=3).log_weights
    for n in (1, 70, 1400):
        torch.testing.assert_close(vae.bound(x[:n], draws=2).total, bounds[:n])
        torch.testing.assert_close(vae.log_prob(x[:n], draws=3).log_weights, estimates[:, :n])
    other = vae.bound(x, draws=2, seed=1).total
    assert bounds.dtype == F64
    assert not bool((other == bounds).any())


def test_every_example_and_every_draw_has_noise_of_its_own():
    log_weights = STICK.vae(spread=2.0).log_prob(torch.zeros(3000, 1), draws=2).log_weights
    assert len(log_weights.unique()) == 6000


def path_terms(denoiser, x, times, noise):
    """log q(z | x) - log p(x, z) for the path z = (x_τ1 … x_1), walked forwards from data, with no divergence in closed
    form: `noise` is `(T, B, d)`."""
    process, log_q, path = denoiser.process, 0.0, [x]
    ascending = times.flip(0)
    for (s, t), eps in zip(pairwise(ascending), noise, strict=True):
        step = process.transition(path[-1], s, t)
        path.append(step.mean + step.std * eps)
        log_q = log_q + step.log_prob(path[-1])
    log_p = process.prior(x.shape, like=x).log_prob(path[-1])
    for k in range(len(path) - 1, 1, -1):
        estimate = denoiser(path[k], ascending[k])
        log_p = log_p + process.reverse(path[k], estimate, ascending[k - 1], ascending[k]).log_prob(path[k - 1])
    decoder = process.decoder(path[1], denoiser(path[1], ascending[1]), times, None)
    return log_q - log_p - decoder.log_prob(x)


GRIDS = {"2 steps": tensor([1.0, 0.3, 0.0]), "3 steps": tensor([1.0, 0.55, 0.2, 0.0])}
grids = pytest.mark.parametrize("times", GRIDS.values(), ids=GRIDS)
variances = pytest.mark.parametrize("variance", ["small", "large"])


@grids
@variances
def test_a_diffusion_model_is_a_vae_whose_latent_is_the_path(times, variance):
    """Exactly, in expectation over data and noise: for Gaussian data all is quadratic, and few points integrate it."""
    exact = exact_denoiser(PLANE, LINEAR, variance)
    denoiser = iw.Denoiser(lambda x_t, t: 0.7 * exact(x_t, t).eps, exact.process, variance=variance)
    steps = len(times) - 1
    points = torch.cat(cubature(steps + 1), 1).unflatten(1, (steps + 1, 2))
    path = path_terms(denoiser, PLANE.whiten_inverse(points[:, 0]), times, points[:, 1:].transpose(0, 1))
    z, eps = cubature(2)
    with prescribed_noise(eps):
        total = bound(denoiser, PLANE.whiten_inverse(z), times).total
    assert float(path.mean()) == pytest.approx(float(total.mean()), rel=1e-9)


@grids
@variances
@pytest.mark.parametrize("x", [-1.1, 0.4])
def test_the_path_of_any_data_has_the_bound_of_the_diffusion_model(times, variance, x):
    denoiser, n = exact_denoiser(TWO_PEAKS, LINEAR, variance), 20_000
    x = tensor([[x]]).expand(n, 1)
    noise = torch.randn(len(times) - 1, n, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    path = path_terms(denoiser, x, times, noise)
    result = iw.Diffusion(denoiser, (1,)).bound(x, times=times)
    error = math.hypot(float(path.std()) / math.sqrt(n), float(result.std_error))
    assert float(path.mean()) == pytest.approx(float(result.total.mean()), abs=4 * error)


def test_one_step_of_diffusion_is_a_vae():
    """Its encoder adds the noise of time 1, its decoder is the denoiser."""
    denoiser, one = exact_denoiser(PLANE, LINEAR, "large"), tensor([1.0, 0.0])

    def encode(x):
        q = denoiser.process.marginal(x, 1.0)
        return torch.cat([q.mean, q.var.log().expand_as(q.mean)], 1)

    output = SharedNoise(float(LINEAR.sigma(1.0) ** 2))
    vae = VAE(Autoencoder(encode, lambda z: denoiser(z, 1.0).x, (2,), output), (2,))
    z, eps = cubature(2)
    x = PLANE.whiten_inverse(z)
    with prescribed_noise(eps):
        ours, theirs = vae.bound(x), bound(denoiser, x, one)
    torch.testing.assert_close(ours.prior, theirs.prior)
    assert float(ours.reconstruction.mean()) == pytest.approx(float(theirs.reconstruction.mean()), rel=1e-9)
    assert torch.equal(ours.time_edges, theirs.time_edges)
    assert ours.per_time.shape == theirs.per_time.shape
    assert torch.equal(ours.diffusion, theirs.diffusion)


def changed(vae, **parts):
    own = {"encoder": vae.autoencoder.encoder, "decoder": vae.autoencoder.decoder, "latent": (1,)}
    return VAE(Autoencoder(**(own | parts), output=vae.autoencoder.output), vae.shape)


@pytest.mark.parametrize(
    ("act", "where"),
    [
        (lambda vae, x: vae.bound(x, draws=0), "draws"),
        (lambda vae, x: vae.log_prob(x, draws=0), "draws"),
        (lambda vae, x: vae.log_prob(x, proposal="posterior"), "proposal"),
        (lambda vae, x: vae.sample(0), "n: got 0"),
        (lambda vae, x: vae.sample(1, seed=-1), "seed: got -1, need an integer >= 0"),
        (lambda vae, x: vae.sample(1, seed=1.5), "seed: got 1.5"),
        (lambda vae, x: vae.relatives(x[0], 0.5, 3), "relatives: got a VAE, need a diffusion model of the data"),
        (lambda vae, x: vae.impute(x), "impute: got a VAE"),
        (lambda vae, x: vae.interpolate(x[0], x[1], 1), "n: got 1, need an integer >= 2"),
        (lambda vae, x: changed(vae, latent=()), "latent"),
        (lambda vae, x: SharedNoise(0.0), "noise_var"),
        (lambda vae, x: changed(vae, encoder=vae.autoencoder.decoder).bound(x), "encoder: got output"),
        (lambda vae, x: changed(vae, decoder=lambda z: z[:, :0]).bound(x), "decoder: got output"),
    ],
)
def test_a_bad_option_is_refused(act, where):
    with pytest.raises(iw.ConfigError, match=where):
        act(STICK.vae(), tensor([[0.5], [1.0], [0.0]]))


def test_bad_data_is_refused():
    vae = STICK.vae(lattice=LATTICE)
    with pytest.raises(iw.DataError, match="at least one example"):
        vae.bound(torch.zeros(0, 1))
    with pytest.raises(iw.DataError, match="off the lattice"):
        vae.log_prob(tensor([[0.5], [0.1]]))
