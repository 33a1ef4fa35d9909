r"""Stochastic samplers by the score: the reverse stochastic equation in Euler's steps, and Langevin dynamics.

A Langevin step at time t is $x \leftarrow x + a\,\hat s + \sqrt{2a}\,z$. Its length follows from a ratio r of signal to
noise, $a = 2(r\sigma_t)^2$. That is the length of Song et al. 2021 (Alg. 4 and 5),
$2(r\lVert z\rVert/\lVert\hat s\rVert)^2$, with the norms for pure noise. It depends only on the time: the steps are
then a Markov chain with a known stationary law, and no example affects another. Around a normal law of variance V that
law has the variance $V/(1 - \tfrac{a}{2V})$.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_integer
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.distributions import standard_normal
from inkwash.sample.ancestral import DDIM, Ancestral
from inkwash.sample.quadrature import combine, levels
from inkwash.sample.sampler import Sampler


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    r"""Euler-Maruyama steps of the reverse stochastic equation (Song et al. 2021, eq. 6) in $y = x_t/\alpha$,
    $\varsigma = \sigma/\alpha$:

    $y_s = y_t - \frac{\varsigma_t^2 - \varsigma_s^2}{\varsigma_t}\hat\epsilon + \sqrt{\varsigma_t^2-\varsigma_s^2}\,z$.

    The step to time 0 adds no noise and ends at $\hat x$. From a time without signal, where the noise would be
    infinite, the step is the exact solution, `DDIM(eta=1)`.
    """

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        now, then = levels(self.schedule(denoiser), torch.stack([t, s]))
        if now.alpha == 0:
            return DDIM(1.0).step(denoiser, x_t, t, s, generator)
        mean = denoiser(x_t, t).mean(s)
        if s == 0:
            return mean
        added = then.alpha * math.sqrt(now.noise_to_signal**2 - then.noise_to_signal**2)
        return combine([1.0, added], [mean, standard_normal(x_t.shape, generator, like=x_t)])


@dataclass(frozen=True)
class Corrected(Sampler):
    r"""A step, and then Langevin steps at its end; there are none at time 0, where the score has no scale.

    Args:
        corrections: Langevin steps after each step, one evaluation each.
        snr: r, the ratio of signal to noise in a step; the $\epsilon$ of Song & Ermon (2019) is $(2r\sigma_L)^2$.

    Raises:
        ConfigError: an option out of range.
    """

    corrections: int = 1
    snr: float = 0.16

    def __post_init__(self) -> None:
        require_integer("sampler.corrections", self.corrections)
        if not 0 < self.snr < math.inf:
            raise ConfigError("sampler.snr", self.snr, "a number > 0")

    @abstractmethod
    def predict(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        """x_s before the correction."""

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        return self.correct(denoiser, self.predict(denoiser, x_t, t, s, generator), s, generator)

    def correct(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """x after the Langevin steps at time t."""
        length = 2 * (self.snr * float(self.schedule(denoiser).sigma(t))) ** 2
        for _ in range(self.corrections if t > 0 else 0):
            noise = standard_normal(x.shape, generator, like=x)
            x = combine([1.0, length, math.sqrt(2 * length)], [x, denoiser(x, t).score, noise])
        return x


@dataclass(frozen=True)
class AnnealedLangevin(Corrected):
    r"""Annealed Langevin dynamics (Song & Ermon 2019, Alg. 1): $x_t/\alpha_t$ is kept from one time to the next, where
    Langevin steps follow. The step to time 0 ends at $\hat x$ (Jolicoeur-Martineau et al. 2021, §3.1); from a
    time without signal x_s is a `DDIM()` step. Options are those of `Corrected`.
    """

    def predict(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        now, then = levels(self.schedule(denoiser), torch.stack([t, s]))
        if now.alpha == 0 or s == 0:
            return DDIM().step(denoiser, x_t, t, s, generator)
        return x_t * (then.alpha / now.alpha)


@dataclass(frozen=True)
class PredictorCorrector(Corrected):
    """An ancestral step, and then Langevin steps at its end (Song et al. 2021, Alg. 1). Options are those of
    `Corrected`."""

    def predict(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        return Ancestral().step(denoiser, x_t, t, s, generator)
