r"""Losses of autoencoders and of latent diffusion, per example `(B,)` and per entry, as all losses of this room.

`CodeLoss` is the first of two stages, or all that a VAE needs; the second stage trains a diffusion model on latents
that no longer change, with any `Objective`. `JointLoss` trains encoder, decoder and diffusion model at once. Then the
encoder must see the bound itself: under another weight of the times it would move the latents to where the diffusion
model is weighed less, not to where it is better (Vahdat et al. 2021, §3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from inkwash.core.options import Range
from inkwash.core.shapes import event_size, sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.model.autoencoder import Autoencoder
from inkwash.process.distributions import LOG_2PI, Normal
from inkwash.process.gaussian import require_gaussian
from inkwash.training.objective import REGRESSIONS, Regression


@dataclass(frozen=True)
class CodeLoss:
    r"""$\beta\,\mathrm{KL}(q(z \mid x)\,\|\,\mathcal N(0, I)) - \log p(x \mid z)$, nats per entry. For $\beta = 1$ it
    is the bound of a VAE (Kingma & Welling 2014, eq. 3); others weigh the divergence (Higgins et al. 2017).

    Args:
        kl_weight: $\beta$.
    """

    kl_weight: Annotated[float, Range(0)] = 1.0

    def loss(self, autoencoder: Autoencoder, x: Tensor, noise: Tensor) -> Tensor:
        """The loss at one draw of z, made of standard normal `noise` `(B, *latent)`, for `x` `(B, *event)`."""
        encoding = autoencoder.encoding(x)
        z = encoding.mean + encoding.std * noise
        standard = Normal(z.new_zeros(z.shape), z.new_ones(()))
        total = self.kl_weight * encoding.kl(standard) - autoencoder.log_likelihood(x, z)
        return total / event_size(x.shape[1:])


@dataclass(frozen=True)
class JointLoss:
    r"""The bound of a latent diffusion model in continuous time, with one time for each example, nats per entry of x:

    $-\log p(x \mid z) - H[q(z \mid x)] + \mathrm{KL}(q(z_1 \mid z)\,\|\,p(z_1)) +
    \tfrac12\lvert d\lambda/dt\rvert\,\lVert\epsilon - \hat\epsilon(z_t, t)\rVert^2 + \tfrac d2(\log 2\pi e -
    \lambda_{\tau_1})$.

    The last term is the decoder of the latents $\mathcal N(z_{\tau_1}/\alpha, \sigma^2/\alpha^2)$ at the first time,
    which takes no network and has no noise (Vahdat et al. 2021, theorem 1). Earlier times do not count. Its integral
    over t bounds $-\log p(x)$, so that the gradient in all weights, those of the encoder too, is that of a bound.

    Args:
        steps: T, which sets the first time $\tau_1 = 1/T$.
    """

    steps: int = 1000

    def loss(
        self, autoencoder: Autoencoder, denoiser: AnyDenoiser, x: Tensor, noise: Tensor, t: Tensor, latent_noise: Tensor
    ) -> Tensor:
        """The loss for `x` `(B, *event)` at times `t` `(B,)`, from the standard normal noise of the encoder and that of
        the diffusion model, each `(B, *latent)`.

        Raises:
            ConfigError: a process that is not Gaussian.
        """
        encoding = autoencoder.encoding(x)
        z = encoding.mean + encoding.std * noise
        latents = self.bound_of_latents(denoiser, z, t, latent_noise)
        total = latents - autoencoder.log_likelihood(x, z) - encoding.entropy()
        return total / event_size(x.shape[1:])

    def bound_of_latents(self, denoiser: AnyDenoiser, z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The bound on -log p(z) at times `t`, nats per example."""
        process, first = require_gaussian(denoiser.process, "objective"), 1 / self.steps
        estimate = denoiser(process.diffuse(z, t, noise), t)
        diffusion = sum_event(Regression(*REGRESSIONS["continuous"], first=first).errors(estimate, z, noise))
        prior = process.marginal(z, 1.0).kl(process.prior(z.shape, like=z))
        decoder = LOG_2PI + 1 - float(process.schedule.log_snr(first))
        return prior + diffusion + 0.5 * decoder * event_size(z.shape[1:])
