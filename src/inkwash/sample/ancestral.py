r"""Samplers made of the posterior $q(x_s \mid x_t, x)$ at the estimate of x: ancestral sampling and DDIM."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.distributions import standard_normal
from inkwash.sample.quadrature import combine, levels
from inkwash.sample.sampler import Sampler


@dataclass(frozen=True)
class Ancestral(Sampler):
    """Samples each x_s from the reverse kernel p(x_s | x_t) (DDPM algorithm 2); it takes any process and any grid."""

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        reverse = denoiser.process.reverse(x_t, denoiser(x_t, t), s, t)
        return reverse.last_draw(generator) if s == 0 else reverse.draw(generator)


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""$x_s = \alpha_s\hat x + \sqrt{\sigma_s^2 - \eta^2\tilde\beta}\,\hat\epsilon + \eta\sqrt{\tilde\beta}\,z$ with
    $\tilde\beta$ the posterior variance of the pair (Song et al. 2020, eqs. 12 and 16).

    Args:
        eta: 0 is deterministic; 1 has the mean and variance of the ancestral step with the small variance.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ConfigError("sampler.eta", self.eta, "a number between 0 and 1")

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        schedule = self.schedule(denoiser)
        (now, then), estimate = levels(schedule, torch.stack([t, s])), denoiser(x_t, t)
        noise_var = -((self.eta * then.sigma) ** 2) * math.expm1(2 * (now.log_ratio - then.log_ratio))
        mean = combine([then.alpha, math.sqrt(max(then.sigma**2 - noise_var, 0))], [estimate.x, estimate.eps])
        if self.eta == 0 or s == 0:
            return mean
        return mean.add_(standard_normal(x_t.shape, generator, like=x_t), alpha=math.sqrt(noise_var))
