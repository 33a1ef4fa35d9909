r"""The variational autoencoder: $p(x) = \int p(z)\,p(x \mid z)\,dz$ with $p(z) = \mathcal N(0, I)$.

$-\log p(x) \le \mathrm{KL}(q(z \mid x) \,\|\, p(z)) + \mathbb E_q[-\log p(x \mid z)]$ (Kingma & Welling 2014, eq. 3).
The gap is $\mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))$: a better encoder closes it, and so does importance sampling
from the same encoder.

A diffusion model is a VAE whose encoder is fixed: its latent is the complete path of noisy data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.randomness import seed_of
from inkwash.core.shapes import event_size
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import Denoiser
from inkwash.likelihood.bound import Bound
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.importance import Codes, ImportanceEstimate
from inkwash.model.latent_model import LatentModel
from inkwash.process.distributions import Normal
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.tables import CosineSchedule
from inkwash.sample.walk import State

Proposal = Literal["encoder", "prior"]
_STEPS = 250


class VAE(LatentModel):
    """A variational autoencoder as a probability distribution over data of one shape.

    Args:
        autoencoder: its encoder and decoder, whose latents are not standardised.
        shape: shape of one example in model units.
        transform: takes data units to model units and back. None: the two are the same.

    Raises:
        ConfigError: a decoder whose values are not those of the transform.
    """

    steps = 1

    def __init__(self, autoencoder: Autoencoder, shape: tuple[int, ...], transform: Transform | None = None) -> None:
        super().__init__(autoencoder, shape, _standard_latents(autoencoder), transform)

    def walks(
        self, n: int, *, first: int = 0, seed: int | None = None, mean: bool = False, **options: Any
    ) -> list[Iterator[State]]:
        self.refuse(options)
        slots, seed = self.latents.slots(n, first), seed_of(seed)
        z = torch.cat([self.latents.start(slot, seed)[0][slot.own] for slot in slots])
        middle = self.decoded(z, first=first)
        return [iter([State(0.0, middle if mean else self.decoded(z, first=first, seed=seed), middle)])]

    @property
    def prior(self) -> Normal:
        """p(z), the law of one latent, `(1, *latent)`, float64."""
        mean = torch.zeros(1, *self.autoencoder.latent, dtype=torch.float64, device=self.device)
        return Normal(mean, mean.new_ones(()))

    @torch.no_grad()
    def bound(self, x: Any, *, seed: int = 0, draws: int = 1, **options: Any) -> Bound:
        """The variational bound on -log p(x), nats per example, float64.

        Its parts are those of a diffusion model of one step: `prior` is KL(q(z | x) ‖ p(z)), `reconstruction` is
        E[-log p(x | z)], and `diffusion` between them is 0. The total is the mean of -log w (see `ImportanceEstimate`),
        and `reconstruction` is the total less the divergence, which is in closed form: if the encoder is the exact
        posterior, the total has no noise.

        Args:
            x: data units, `(B, …)`.
            seed: of the draws of z.
            draws: how many draws of z to average over, per example.
            **options: those of a walk's bound, and conditions, all None.

        Raises:
            DataError: `x` is not of the model's shape, an entry is missing, or entries are not on the lattice.
            ConfigError: `draws` below 1, an option, or networks whose outputs do not fit `x`.
        """
        self.refuse(options)
        model_x = self._complete(x)
        codes = self.codes(model_x, seed, draws)
        kl, total = codes.encoding.kl(self.prior), -self._log_weights(codes).mean(0)
        return Bound(
            prior=kl,
            diffusion=torch.zeros_like(kl),
            reconstruction=total - kl,
            per_time=kl.new_zeros(len(kl), 0),
            time_edges=torch.ones(1, dtype=torch.float64),
            dims=event_size(self.shape),
            levels=self._levels,
            lower=torch.full_like(kl, torch.nan),
            prior_log_prob=torch.full_like(kl, torch.nan),
        ).with_log_det(self.units.log_det(model_x))

    @torch.no_grad()
    def log_prob(
        self, x: Any, *, seed: int = 0, draws: int = 100, proposal: Proposal = "encoder"
    ) -> ImportanceEstimate:
        """Estimate log p(x) by importance sampling, in float64 and on the log scale.

        Args:
            x: data units, `(B, …)`.
            seed: of the draws of z; with the encoder these are those of `bound`.
            draws: how many draws of z per example.
            proposal: the law of these draws: the "encoder", or the "prior" as in the definition of p(x). The narrower
                the noise of the decoder, the fewer z explain an x, and the more hopeless the prior becomes.

        Raises:
            DataError: as `bound`.
            ConfigError: `draws` below 1, an unknown `proposal`, or networks whose outputs do not fit `x`.
        """
        if proposal not in get_args(Proposal):
            raise ConfigError("proposal", repr(proposal), "one of " + ", ".join(get_args(Proposal)))
        model_x = self._complete(x)
        codes = self.codes(model_x, seed, draws, self.prior if proposal == "prior" else None)
        return ImportanceEstimate(self._log_weights(codes) + self.units.log_det(model_x))

    def _log_weights(self, codes: Codes) -> Tensor:
        """Log-weights `(draws, B)`."""
        log_prior = torch.stack([self.prior.log_prob(z) for z in codes.z])
        return codes.log_likelihood + log_prior - codes.log_proposal


def _standard_latents(autoencoder: Autoencoder) -> Diffusion:
    """N(0, I) as a diffusion model, whose denoiser is known."""
    schedule = CosineSchedule()
    process = Gaussian(schedule)

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        gain = schedule.alpha(t) / process.scale(t) ** 2
        return gain.reshape(-1, *(1,) * (x_t.ndim - 1)).to(x_t) * x_t

    like = autoencoder.like
    return Diffusion(Denoiser(network, process, "x", "large"), autoencoder.latent, steps=_STEPS, dtype=like.dtype)
