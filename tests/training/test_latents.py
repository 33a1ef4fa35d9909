"""Losses of autoencoders and of latent diffusion against the bounds that they stand for, and their gradients."""

import math

import pytest
import torch
from bugs import bug
from linear_latents import with_diagonal_posterior
from oracles import F64, Straight, cubature, exact_denoiser, tensor
from torch.distributions import MultivariateNormal, kl_divergence

import inkwash as iw
from inkwash.model import VAE, Autoencoder, SharedNoise, build_autoencoder
from inkwash.nn import AutoencoderOptions
from inkwash.training.latents import CodeLoss, JointLoss

EXACT = with_diagonal_posterior()
STRAIGHT = Straight(16.0, -16.0)
POINT = tensor([-0.5, -4.0, 2.0])


class Movable(torch.nn.Module):
    """The exact encoder, moved by a shift and a log-factor of its variance that can be trained."""

    def __init__(self, shift=(0.0, 0.0), log_spread=0.0):
        super().__init__()
        self.shift = torch.nn.Parameter(tensor(shift))
        self.log_spread = torch.nn.Parameter(tensor(log_spread))

    def forward(self, x):
        mean, cov = EXACT.posterior(x)
        return torch.cat([mean + self.shift, (self.log_spread + cov.diagonal().log()).expand_as(mean)], 1)


def joint_loss(encoder):
    """The expected joint loss of one example, nats: a mean over all noise, and over times by quadrature."""
    decode = lambda z: z @ EXACT.weight.T + EXACT.mean  # noqa: E731
    autoencoder = Autoencoder(encoder, decode, (2,), SharedNoise(EXACT.noise_var))
    denoiser = exact_denoiser(EXACT.latents, STRAIGHT)
    noise, latent_noise = cubature(2)
    nodes = 4000
    t = ((torch.arange(nodes, dtype=F64) + 0.5) / nodes).repeat_interleave(8)
    x = POINT.expand(8 * nodes, 3)
    pairs = noise.repeat(nodes, 1), latent_noise.repeat(nodes, 1)
    return 3 * JointLoss(1000).loss(autoencoder, denoiser, x, pairs[0], t, pairs[1]).mean()


def divergence(shift, log_spread):
    mean, cov = EXACT.posterior(POINT[None])
    wrong = MultivariateNormal(mean + tensor(shift), math.exp(log_spread) * torch.diag(cov.diagonal()))
    return float(kl_divergence(wrong, MultivariateNormal(mean, cov)))


LOSS = JointLoss.bound_of_latents


def latents_without_gradient(self, denoiser, z, t, noise):
    return LOSS(self, denoiser, z.detach(), t, noise)


def doubled(self, denoiser, z, t, noise):
    return 2 * LOSS(self, denoiser, z, t, noise)


@bug("latents detached", JointLoss, "bound_of_latents", latents_without_gradient)
@bug("another weight", JointLoss, "bound_of_latents", doubled)
@pytest.mark.parametrize(("shift", "log_spread"), [((0.0, 0.0), 0.0), ((0.4, -0.2), 0.5)])
def test_the_joint_loss_is_the_bound_and_so_is_its_gradient(shift, log_spread):
    """It lies above -log p(x) by the encoder's error, whose gradient is known: (shift / var, (spread - 1))."""
    encoder = Movable(shift, log_spread)
    loss = joint_loss(encoder)
    gap = float(loss.detach() + EXACT.law.log_prob(POINT)) - divergence(shift, log_spread)
    assert 0 < gap < 0.01
    loss.backward()
    var = EXACT.posterior(POINT[None])[1].diagonal()
    torch.testing.assert_close(encoder.shift.grad, tensor(shift) / var, atol=0.01, rtol=0)
    assert float(encoder.log_spread.grad) == pytest.approx(math.expm1(log_spread), abs=0.01)


def test_the_loss_of_codes_is_the_bound_of_a_vae():
    torch.manual_seed(0)
    autoencoder = build_autoencoder(AutoencoderOptions(2, 1, 16, 1), (3,)).double()
    x = torch.randn(1, 3, dtype=F64).expand(4000, 3)
    noise = torch.randn(4000, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        losses, doubled = (3 * CodeLoss(weight).loss(autoencoder, x, noise) for weight in (1.0, 2.0))
    exact = VAE(autoencoder, (3,)).bound(x)
    spread = math.hypot(float(losses.std()), float(exact.total.std())) / math.sqrt(4000)
    assert float(losses.mean()) == pytest.approx(float(exact.total.mean()), abs=4 * spread)
    torch.testing.assert_close(doubled - losses, exact.prior)


def closed_form_fit(x, latent):
    """The largest mean log-likelihood of probabilistic PCA, and its noise variance (Tipping & Bishop 1999)."""
    eigenvalues = torch.linalg.eigvalsh(x.T.cov(correction=0)).flip(0)
    noise_var = eigenvalues[latent:].mean()
    log_det = eigenvalues[:latent].log().sum() + (len(eigenvalues) - latent) * noise_var.log()
    return -0.5 * float(len(eigenvalues) * (1 + math.log(2 * math.pi)) + log_det), float(noise_var)


def test_training_reaches_the_likelihood_that_linear_networks_can_reach():
    random = torch.Generator().manual_seed(3)
    stick = torch.randn(300, 1, generator=random) @ torch.tensor([[1.2, 0.4, -0.8]])
    x = (stick + 0.6 * torch.randn(300, 3, generator=random) + torch.tensor([0.3, -0.5, 0.2])).double()
    torch.manual_seed(0)
    networks = AutoencoderOptions(1, 1, 8, 0).build((3,), 3)
    autoencoder = Autoencoder(*(network.double() for network in networks), (1,), SharedNoise(0.1))
    optimizer = torch.optim.Adam(autoencoder.parameters(), 0.1)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 300)
    for _ in range(300):
        optimizer.zero_grad()
        CodeLoss().loss(autoencoder, x, torch.randn(300, 1, generator=random).double()).mean().backward()
        optimizer.step()
        decay.step()
    best, noise_var = closed_form_fit(x, 1)
    vae = VAE(autoencoder, (3,))
    assert best - 0.01 < float(vae.log_prob(x, draws=20).value.mean()) < best + 0.001
    assert -float(vae.bound(x).total.mean()) > best - 0.02
    assert autoencoder.output.noise_var == pytest.approx(noise_var, rel=0.05)


def test_a_process_without_noise_of_numbers_is_refused():
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(iw.LinearSchedule()))
    with pytest.raises(iw.ConfigError, match="objective: got a Bernoulli process"):
        JointLoss().bound_of_latents(denoiser, torch.zeros(1, 2), torch.zeros(1), torch.zeros(1, 2))
