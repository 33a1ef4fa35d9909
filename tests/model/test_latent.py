"""Latent diffusion against linear Gaussian models, whose every answer is known, and against sums over all data."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from linear_latents import VANISHING, noise_of_both, with_diagonal_posterior
from oracles import F64, TERNARY, TWO_PEAKS, exact_denoiser, tensor
from torch.distributions import MultivariateNormal, kl_divergence

import inkwash as iw
from inkwash.model import VAE, Autoencoder, LatentDiffusion, LevelOdds, SharedNoise
from inkwash.process.distributions import Normal

EXACT = with_diagonal_posterior()
POINTS = tensor([[1.0, -2.0, 0.3], [-0.5, -4.0, 2.0], [0.4, -3.0, 1.5]])
GRIDS = (32, 64)
SHIFT, SPREAD = tensor([0.4, -0.2]), 1.7


def expected_bound(model, x, **options):
    """The bound of one `x`, a mean over all noise."""
    with noise_of_both():
        return model.bound(x.expand(8, 3), **options)


def gap(model, x, steps):
    return float(expected_bound(model, x, steps=steps).total.mean() + EXACT.law.log_prob(x))


ENCODING = Autoencoder.encoding


def scaled_without_its_variance(self, x):
    law = ENCODING(self, x)
    return Normal(law.mean, law.var * self.scale.to(law.var) ** 2)


LAW = SharedNoise.law


@bug("twice the noise of the decoder", SharedNoise, "law", lambda self, mean: Normal(mean, 2 * LAW(self, mean).var))
@pytest.mark.parametrize("x", POINTS)
def test_with_the_exact_posterior_the_bound_becomes_exact_as_the_grid_becomes_fine(x):
    """The gap is that of the grid: it halves as the steps double."""
    coarse, fine = (gap(EXACT.model(), x, steps) for steps in GRIDS)
    assert 0 < fine < 0.03
    assert coarse / fine == pytest.approx(2, rel=0.03)
    assert 2 * fine - coarse == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize("x", POINTS)
def test_the_gap_of_a_wrong_encoder_is_its_divergence_from_the_posterior(x):
    mean, cov = EXACT.posterior(x[None])
    wrong = MultivariateNormal(mean + SHIFT, SPREAD * torch.diag(cov.diagonal()))
    divergence = float(kl_divergence(wrong, MultivariateNormal(mean, cov)))
    coarse, fine = (gap(EXACT.model(shift=SHIFT, spread=SPREAD), x, steps) for steps in GRIDS)
    assert 2 * fine - coarse == pytest.approx(divergence, abs=2e-4)


ENTROPY = Normal.entry_entropy


@bug("a constant left out of the entropy", Normal, "entry_entropy", lambda self: ENTROPY(self) - 0.5)
def test_the_parts_are_those_of_the_definition():
    """E[-log p(x | z)] is quadratic in z, and -E[log p(z)] is what prior and diffusion become."""
    x = POINTS[1]
    mean, cov = EXACT.posterior(x[None])
    mean, var = mean[0] + SHIFT, SPREAD * cov.diagonal()
    miss = ((x - EXACT.mean - EXACT.weight @ mean) ** 2).sum() + (var * (EXACT.weight**2).sum(0)).sum()
    nll = 1.5 * math.log(2 * math.pi * EXACT.noise_var) + miss / (2 * EXACT.noise_var)
    encoding, latents = MultivariateNormal(mean, torch.diag(var)), EXACT.latents.marginal(1.0, 0.0)
    found = [expected_bound(EXACT.model(shift=SHIFT, spread=SPREAD), x, steps=steps) for steps in GRIDS]
    for each in found:
        assert float(each.reconstruction.mean()) == pytest.approx(float(nll))
        assert each.entropy.tolist() == pytest.approx([-float(encoding.entropy())] * 8)
        torch.testing.assert_close(each.per_time.sum(1), each.diffusion)
        assert len(each.time_edges) == each.per_time.shape[1] + 1
        assert each.time_edges[-1] == 0
        parts = each.mean().parts
        assert list(parts) == ["prior", "diffusion", "reconstruction", "entropy"]
        assert sum(parts.values()) == pytest.approx(each.mean().total)
    coarse, fine = (float((each.prior + each.diffusion).mean()) for each in found)
    cross_entropy = float(encoding.entropy() + kl_divergence(encoding, latents))
    assert 2 * fine - coarse == pytest.approx(cross_entropy, abs=2e-4)


@bug("the scale left out of the variance", Autoencoder, "encoding", scaled_without_its_variance)
def test_standardised_latents_have_the_same_bound():
    """Networks in other units of z, shifted and scaled back by what `standardise` measures."""
    scale, law = tensor([3.0, 0.2]), EXACT.law
    noise = torch.randn(20_000, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    autoencoder = EXACT.autoencoder(scale=scale)
    autoencoder.standardise((law.mean + noise @ torch.linalg.cholesky(law.covariance_matrix).T).split(3000))
    spread = EXACT.latents.cov.diagonal().sqrt()
    torch.testing.assert_close(autoencoder.shift, scale * EXACT.latents.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(autoencoder.scale, scale * spread, rtol=0.02, atol=0)
    autoencoder.shift.copy_(scale * EXACT.latents.mean)
    autoencoder.scale.copy_(scale * spread)
    standard = type(EXACT.latents)([0.0, 0.0], (EXACT.latents.cov / torch.outer(spread, spread)).tolist())
    latents = iw.Diffusion(exact_denoiser(standard, VANISHING, "large"), (2,), dtype=F64)
    model = LatentDiffusion(autoencoder, latents, (3,))
    coarse, fine = (gap(model, POINTS[1], steps) for steps in GRIDS)
    assert 2 * fine - coarse == pytest.approx(0, abs=2e-4)
    torch.testing.assert_close(model.log_prob(POINTS, draws=2).value, law.log_prob(POINTS), atol=1e-4, rtol=0)


def in_data_units():
    spec = iw.data.DataSpec((3,), "ND", "float64", -1e3, 1e3, None)
    return iw.data.Transform(spec, (30.0, -5.0, 0.0), (7.0, 0.2, 1.0))


def law_in_data_units():
    shift, scale = tensor([30.0, -5.0, 0.0]), tensor([7.0, 0.2, 1.0])
    return MultivariateNormal(shift + scale * EXACT.law.mean, scale_tril=scale[:, None] * EXACT.law.scale_tril)


def test_densities_and_samples_are_those_of_data_units():
    model, law = EXACT.model(in_data_units(), steps=30), law_in_data_units()
    x = (tensor([30.0, -5.0, 0.0]) + tensor([7.0, 0.2, 1.0]) * POINTS).numpy()
    exact = law.log_prob(tensor(x.tolist()))
    torch.testing.assert_close(model.log_prob(x, draws=2).value, exact, atol=1e-3, rtol=0)
    totals = []
    for steps in GRIDS:
        with noise_of_both():
            totals.append(float(model.bound(x[[1] * 8], steps=steps).total.mean()))
    assert totals[0] - 2 * totals[1] == pytest.approx(float(exact[1]), abs=2e-4)
    drawn = torch.from_numpy(model.sample(20_000, seed=0, sampler=iw.Heun()))
    whitened = torch.linalg.solve_triangular(law.scale_tril, (drawn - law.mean).T, upper=False)
    assert float(whitened.mean(1).abs().max()) < 4 / math.sqrt(20_000)
    torch.testing.assert_close(whitened.cov(), torch.eye(3, dtype=F64), atol=0.05, rtol=0)


def test_the_mean_of_the_decoder_has_less_spread_than_a_sample():
    """By the variance of its noise, exactly."""
    drawn, mean = (EXACT.model(steps=10).sample(20_000, seed=0, mean=mean) for mean in (False, True))
    torch.testing.assert_close((drawn - mean).T.cov(), EXACT.noise_var * torch.eye(3, dtype=F64), atol=0.02, rtol=0)
    rank = torch.linalg.matrix_rank(mean.T.cov(), atol=1e-6)
    assert int(rank) == 2


def test_the_weights_average_to_the_density():
    """p(x) itself is estimated without bias, from any number of draws."""
    x, exact = POINTS[0].expand(3000, 3), EXACT.law.log_prob(POINTS[0])
    model = EXACT.model(shift=0.3, spread=1.6)
    ratio = (model.log_prob(x, draws=2).value - exact).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / math.sqrt(3000))
    assert 0.05 < float(ratio.std()) < 3


def odds(z):
    """Log-odds of three levels of each of two entries, from a latent."""
    waves = tensor([[2.0, -1.0, 0.4, 1.4, 0, -2], [0, 2, -2, 0.6, 0.2, 0], [1, 0, 0, -1.6, 0.8, 0]]).to(z)
    place = torch.cat([z, torch.cos(2 * z), torch.sin(3 * z)], 1) @ waves / 2
    return place.unflatten(1, (2, 3))


def image_of_two_entries(latents=None):
    """Its encoder is a crude one."""
    networks = lambda x: torch.cat([-0.3 * x[:, :1] + 0.2 * x[:, 1:], 0 * x[:, :1]], 1), odds
    autoencoder = Autoencoder(*networks, (1,), LevelOdds(TERNARY))
    return LatentDiffusion(autoencoder, latents, (2,)) if latents else VAE(autoencoder, (2,))


EVERY = torch.cartesian_prod(TERNARY.values(), TERNARY.values())


def masses(log_density):
    """P(x) of every image, by quadrature over z."""
    z = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    weights = log_density(z).exp() * (z[1] - z[0])
    masses = odds(z).softmax(-1)
    index = TERNARY.index(EVERY).long()
    return weights @ (masses[:, 0, index[:, 0]] * masses[:, 1, index[:, 1]])


def two_peaks():
    return iw.Diffusion(exact_denoiser(TWO_PEAKS, VANISHING, "large"), (1,), steps=40, dtype=F64)


LATENTS = {"a VAE": (None, Normal(torch.zeros(1), torch.ones(1)).log_prob), "peaks": (two_peaks(), TWO_PEAKS.log_prob)}
latents = pytest.mark.parametrize("kind", LATENTS)


def one_draw(self):
    return self.log_weights.mean(0)


@bug("the mean of log-weights", iw.model.ImportanceEstimate, "value", property(one_draw))
@latents
def test_the_probabilities_of_all_images_are_right_and_add_up_to_one(kind):
    diffusion, log_density = LATENTS[kind]
    model = image_of_two_entries(diffusion)
    log_weights = model.log_prob(EVERY.repeat(50, 1), draws=4).log_weights
    estimate = iw.model.ImportanceEstimate(log_weights.reshape(200, 9))
    exact = masses(log_density)
    assert float(exact.sum()) == pytest.approx(1, abs=1e-6)
    error = 4 * float((exact * estimate.std_error).square().sum().sqrt())
    assert float(estimate.value.exp().sum()) == pytest.approx(1, abs=error)
    assert error < 0.2
    assert bool(((estimate.value - exact.log()).abs() < 4 * estimate.std_error).all())


@latents
def test_the_bounds_of_all_images_leave_probability_over(kind):
    model = image_of_two_entries(LATENTS[kind][0])
    result = model.bound(EVERY.repeat(100, 1))
    torch.testing.assert_close(result.bits_per_dim, result.total / (2 * math.log(2)))
    means = result.total.reshape(100, 9).mean(0)
    assert 0.1 < float((-means).exp().sum()) < 1
    assert bool((means > -masses(LATENTS[kind][1]).log()).all())


@latents
def test_sampled_images_have_their_probabilities(kind):
    diffusion, log_density = LATENTS[kind]
    x = image_of_two_entries(diffusion).sample(10_000, seed=2).double()
    counts = torch.stack([(x == image).all(1).sum() for image in EVERY]).double()
    assert float(counts.sum()) == 10_000
    error = (masses(log_density) * 10_000).sqrt()
    assert float(((counts - 10_000 * masses(log_density)) / error).abs().max()) < 4.5


def test_more_draws_of_the_bound_change_its_noise_and_not_its_value():
    x = POINTS[0].expand(400, 3)
    few, many = (EXACT.model(shift=0.5).bound(x, steps=5, draws=draws, seed=draws).total for draws in (1, 6))
    assert float(few.mean()) == pytest.approx(float(many.mean()), abs=4 * float(few.std()) / 20)
    assert float(few.std() / many.std()) == pytest.approx(math.sqrt(6), rel=0.2)


def test_an_example_does_not_depend_on_those_after_it():
    x = POINTS.repeat(400, 1)
    model = EXACT.model(steps=3)
    bounds, estimates = model.bound(x, draws=2).total, model.log_prob(x, draws=2).log_weights
    for n in (1, 1100):
        torch.testing.assert_close(model.bound(x[:n], draws=2).total, bounds[:n])
        torch.testing.assert_close(model.log_prob(x[:n], draws=2).log_weights, estimates[:, :n])
    assert len(bounds.unique()) == 1200


def small_picture_model():
    options = iw.nn.AutoencoderOptions(2, 2, 8)
    torch.manual_seed(0)
    autoencoder = iw.model.build_autoencoder(options, (3, 5, 7))
    denoiser = iw.Denoiser(lambda x_t, t: 0.1 * x_t, iw.Gaussian(VANISHING), "x", "large")
    spec = iw.data.DataSpec((3, 5, 7), "NHWC", "float32", -3.0, 3.0, None)
    transform = iw.data.Transform(spec, (0.0,) * 3, (1.0,) * 3)
    return LatentDiffusion(autoencoder, iw.Diffusion(denoiser, (2, 3, 4), steps=4), (3, 5, 7), transform)


def test_a_sample_of_a_seed_does_not_depend_on_how_many_are_drawn():
    model = small_picture_model()
    many = model.sample(200, seed=4)
    assert many.shape == (200, 5, 7, 3)
    for n, first in ((1, 0), (40, 0), (7, 100), (60, 140)):
        assert np.array_equal(model.sample(n, first=first, seed=4), many[first : first + n])
    assert not np.array_equal(model.sample(3, seed=5), many[:3])
    assert len(np.unique(many.reshape(200, -1), axis=0)) == 200


@pytest.mark.parametrize("mean", [False, True])
def test_walks_end_in_the_samples(mean):
    model = small_picture_model()
    states = list(model.progressive(200, seed=4, mean=mean))
    assert [round(state.s, 6) for state in states] == [0.75, 0.5, 0.25, 0.0]
    assert [state.x_s.shape[1:] for state in states] == [(2, 3, 4)] * 3 + [(3, 5, 7)]
    assert np.array_equal(model.to_data(states[-1].x_s), model.sample(200, seed=4, mean=mean))
    for state in states:
        noisy, estimate = model.shown(state)
        assert noisy.shape == estimate.shape == (200, 5, 7, 3)
    np.testing.assert_array_equal(estimate, model.sample(200, seed=4, mean=True))


def test_a_film_shows_what_the_latents_decode_to(tmp_path):
    model = small_picture_model()
    film = iw.Film(model, tmp_path / "film.png", frames=4)
    list(film.record(model.progressive(5, seed=0)))
    film.save()
    assert len(film.shots) == 4
    noisy = model.noisy_to_data(next(iter(model.progressive(5, seed=0))).x_s, 0.75)
    np.testing.assert_allclose(film.shots[0][0], noisy[:16], rtol=1e-5)


def test_codes_come_back_and_interpolation_joins_them():
    model = EXACT.model(in_data_units(), steps=30)
    x = (tensor([30.0, -5.0, 0.0]) + tensor([7.0, 0.2, 1.0]) * POINTS).numpy()
    z = model.encode(x)
    torch.testing.assert_close(z, EXACT.posterior(POINTS)[0])
    drawn = model.encode(np.repeat(x[:1], 4000, 0), seed=0)
    torch.testing.assert_close(drawn.mean(0), z[0], atol=0.04, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), EXACT.posterior(POINTS)[1], atol=0.03, rtol=0)
    decoded = z @ EXACT.weight.T + EXACT.mean
    np.testing.assert_allclose(model.decode(z), tensor([30.0, -5.0, 0.0]) + tensor([7.0, 0.2, 1.0]) * decoded)
    noisy = model.decode(z.expand(3, 2), seed=1)
    assert not np.array_equal(noisy, model.decode(z))
    for options in ({}, {"t": 0.01, "seed": 3}):
        between = model.interpolate(x[0], x[1], 5, **options)
        tolerance = 0.02 if not options else 3.0
        np.testing.assert_allclose(between[[0, -1]], model.decode(z[:2]), rtol=0, atol=tolerance)


def labelled():
    """The latents' denoiser knows where the label is: each has the peak of its own."""

    def network(x_t, t, label=None):
        place = torch.zeros(len(x_t), 2) if label is None else torch.nn.functional.one_hot(label - 1, 2) * 3.0
        return place.to(x_t)

    condition = iw.data.ConditionSpec(("left", "right"))
    denoiser = iw.Denoiser(network, iw.Gaussian(VANISHING), "x", "large")
    latents = iw.Diffusion(denoiser, (2,), steps=20, dtype=F64, condition=condition)
    return LatentDiffusion(EXACT.autoencoder(), latents, (3,))


def test_a_label_conditions_the_latents():
    model = labelled()
    for i, label in enumerate(("left", "right")):
        expected = EXACT.weight[:, i] * 3 + EXACT.mean
        torch.testing.assert_close(model.sample(1, label=label, mean=True)[0], expected, rtol=1e-4, atol=1e-4)
        product = model * iw.Condition(label=label)
        assert torch.equal(product.sample(9, seed=1), model.sample(9, seed=1, label=label))
    x = EXACT.weight[:, 0] * 3 + EXACT.mean
    right, wrong = (float(model.bound(x[None], label=label, steps=10).total) for label in ("left", "right"))
    assert right < wrong


@pytest.mark.parametrize(
    ("act", "where"),
    [
        (lambda m: m.sample(0), "n: got 0"),
        (lambda m: m.sample(2, seed=-1), "seed: got -1, need an integer >= 0"),
        (lambda m: m.bound(POINTS, draws=0), "draws: got 0"),
        (lambda m: m.bound(POINTS, steps=0), "steps: got 0"),
        (lambda m: m.log_prob(POINTS, draws=0), "draws: got 0"),
        (lambda m: m.log_prob(POINTS, divergence="none"), "divergence"),
        (lambda m: m.sample(1, label="left"), "label: got left, need none"),
        (
            lambda m: m.relatives(POINTS[0], 0.5, 3),
            "relatives: got a LatentDiffusion, need a diffusion model of the data",
        ),
        (lambda m: m.interpolate(POINTS[0], POINTS[1], 1), "n: got 1"),
        (lambda m: LatentDiffusion(m.autoencoder, two_peaks(), (3,)), r"latents: got shape \(1,\), need \(2,\)"),
        (lambda m: m * iw.Measurement(torch.ones(1, 3), 0.0, 0.1), "factor: got a measurement"),
        (lambda m: m * iw.Classifier(lambda x: x.sum(1)), "factor: got a measurement or a classifier"),
    ],
)
def test_a_bad_option_is_refused(act, where):
    with pytest.raises(iw.ConfigError, match=where):
        act(EXACT.model(steps=5))


@pytest.mark.parametrize(
    ("act", "where"),
    [
        (lambda m: m.bound(POINTS[:, :2]), r"x: got shape \(3, 2\)"),
        (lambda m: m.bound(POINTS * math.nan), "a missing value"),
        (lambda m: m.decode(torch.zeros(2, 3)), r"z: got shape \(2, 3\)"),
        (lambda m: image_of_two_entries(two_peaks()).bound(tensor([[0.1, 0.0]])), "off the lattice"),
    ],
)
def test_bad_data_is_refused(act, where):
    with pytest.raises(iw.DataError, match=where):
        act(EXACT.model(steps=5))


def test_a_decoder_of_other_values_is_refused():
    spec = iw.data.DataSpec((2,), "ND", "uint8", 0.0, 3.0, 4)
    transform = iw.data.Transform(spec, (1.5, 1.5), (1.5, 1.5))
    with pytest.raises(iw.ConfigError, match="autoencoder: got Lattice"):
        VAE(image_of_two_entries().autoencoder, (2,), transform)
    with pytest.raises(iw.ConfigError, match="autoencoder: got real numbers, need a decoder of Lattice"):
        VAE(untrained_vector(), (2,), transform)


def untrained_vector():
    return iw.model.build_autoencoder(iw.nn.AutoencoderOptions(1, 1, 8), (2,))
