r"""Gaussian diffusion: $q(x_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2)$ (Sohl-Dickstein et al. 2015).

For $0 \le s < t \le 1$, with $\alpha_{ts} = \alpha_t/\alpha_s$ and
$\sigma_{ts}^2 = \sigma_t^2 - \alpha_{ts}^2\sigma_s^2$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import over, sum_event
from inkwash.process.distributions import (
    BinnedNormal,
    Bins,
    DiscretizedNormal,
    Lattice,
    Masses,
    Normal,
    NormalMixture,
    standard_normal,
)
from inkwash.process.noise import steps
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import AnyEstimate, Process, Scheduled
from inkwash.process.region import Region, between
from inkwash.process.spike_slab import SpikeSlab
from inkwash.process.variance import ReverseVariance


@dataclass(frozen=True)
class Gaussian(Scheduled):
    """The Gaussian process of a schedule.

    Args:
        schedule: gives `alpha`, `sigma` and `log_snr` at any time in [0, 1].
    """

    schedule: Schedule
    has_variance: ClassVar[bool] = True

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Normal:
        r"""$p(x_1) = \mathcal N(0, \alpha_1^2 + \sigma_1^2)$: the mean and variance, at t = 1, of data with mean 0 and
        variance 1.

        This is $\mathcal N(0, I)$ for a variance-preserving schedule, and for a schedule without signal at t = 1 whose
        noise has variance 1. For a variance-exploding schedule it is $\mathcal N(0, 1 + \sigma_1^2)$; the usual choice,
        $\mathcal N(0, \sigma_1^2)$, hardly differs.
        """
        mean = torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))
        return Normal(mean, over(self.scale(1.0) ** 2, mean))

    def scale(self, t: float | Tensor) -> Tensor:
        r"""$c_t = \sqrt{\alpha_t^2 + \sigma_t^2}$, float64: if x is $\mathcal N(0, I)$, so is $x_t/c_t$."""
        return torch.sqrt(self.schedule.alpha(t) ** 2 + self.schedule.sigma(t) ** 2)

    def marginal(self, x: Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2)$ (DDPM eq. 4)."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return Normal(over(alpha, x) * x, over(sigma**2, x))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        r"""Standard normal noise $\epsilon$."""
        return standard_normal(shape, generator, like)

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        r"""$x_t = \alpha_t x + \sigma_t\epsilon$."""
        return over(self.schedule.alpha(t), x) * x + over(self.schedule.sigma(t), x) * noise

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_t \mid x_s) = \mathcal N(\alpha_{ts} x_s, \sigma_{ts}^2)$ (DDPM eq. 2 for neighbours)."""
        alpha_ts = self.schedule.alpha(t) / self.schedule.alpha(s)
        return Normal(over(alpha_ts, x_s) * x_s, over(steps.transition_var(self.schedule, s, t), x_s))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_s \mid x_t, x) = \mathcal N\big(\tfrac{\alpha_{ts}\sigma_s^2}{\sigma_t^2} x_t +
        \tfrac{\alpha_s\sigma_{ts}^2}{\sigma_t^2} x,\ \tfrac{\sigma_{ts}^2\sigma_s^2}{\sigma_t^2}\big)$
        (DDPM eqs. 6-7)."""
        mean = self._posterior_mean(x_t, x, s, t)
        return Normal(mean, over(steps.posterior_var(self.schedule, s, t), mean))

    def reverse(self, x_t: Tensor, estimate: Estimate, s: float | Tensor, t: float | Tensor) -> Normal | SpikeSlab:
        r"""$p(x_s \mid x_t)$: the posterior mean at $\hat x$, with the reverse variance of the estimate (DDPM §3.2).
        Where numbers recur, the variance is that of the mixture of these steps; at time 0 they have their
        probabilities."""
        mean = self._posterior_mean(x_t, estimate.x, s, t)
        var = over(estimate.variance.of_step(self.schedule, s, t, estimate.spread), mean)
        if estimate.spiked is None:
            return Normal(mean, var)
        if bool((torch.as_tensor(s) == 0).all()):
            return estimate.spiked.decoding(Normal(mean, var))
        small, pull = (over(each(self.schedule, s, t), mean) for each in (steps.posterior_var, steps.pull))
        return Normal(mean, estimate.spiked.step_var(small, var, pull))

    def decoder(
        self, x_t: Tensor, estimate: Estimate, times: Tensor, lattice: Lattice | Bins | None
    ) -> Normal | DiscretizedNormal | BinnedNormal | Masses | NormalMixture | SpikeSlab:
        r"""$p(x \mid x_{\tau_1})$: the masses of the levels if the estimate has them, and otherwise a normal around
        $\hat x$, because the mean of $q(x_0 \mid x_t, x)$ is x; beside it, the masses of numbers that recur.

        Raises:
            ConfigError: the grid has one step, and the reverse variance needs two.
        """
        if isinstance(lattice, Lattice) and estimate.level_logits is not None:
            return Masses(estimate.level_logits.double(), lattice)
        if estimate.mixture is not None:
            return estimate.mixture.on(lattice)
        normal = Normal(estimate.x, over(estimate.variance.of_decoder(self.schedule, times, estimate.spread), x_t))
        if estimate.spiked is not None:
            return estimate.spiked.decoding(normal, lattice)
        return normal if lattice is None else normal.on(lattice)

    def _posterior_mean(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Tensor:
        return over(steps.keep(self.schedule, s, t), x_t) * x_t + over(steps.pull(self.schedule, s, t), x) * x


def require_gaussian(process: Process, where: str, otherwise: str | None = None) -> Gaussian:
    """Return the process if it is Gaussian.

    Args:
        process: the process.
        where: what needs it.
        otherwise: what goes with every process, if there is something.

    Raises:
        ConfigError: it is another process; the error names `where`.
    """
    if not isinstance(process, Gaussian):
        need = "a Gaussian process" + (f", or {otherwise}" if otherwise else "")
        raise ConfigError(where, f"a {type(process).__name__} process", need)
    return process


@short_repr
@dataclass(frozen=True)
class Noisy:
    """Noisy data, with everything that is known before the network is evaluated.

    Args:
        x_t: the noisy data, `(B, *event)`.
        t: its time, `()` or `(B,)`, float64.
        process: the process that made the noise.
        alpha: the signal scale, shaped to multiply `x_t`.
        sigma: the noise scale, in the same shape.
    """

    x_t: Tensor
    t: Tensor
    process: Gaussian
    alpha: Tensor
    sigma: Tensor

    @classmethod
    def at(cls, x_t: Tensor, t: Tensor, process: Gaussian) -> Noisy:
        """Noisy data with the scales that the process has at time `t`."""
        return cls(x_t, t, process, over(process.schedule.alpha(t), x_t), over(process.schedule.sigma(t), x_t))

    def eps_of(self, x: Tensor) -> Tensor:
        r"""$\hat\epsilon = (x_t - \alpha\hat x)/\sigma$."""
        return (self.x_t - self.alpha * x) / self.sigma


@short_repr
@dataclass(frozen=True)
class Estimate(AnyEstimate):
    r"""Everything that a network's output at $(x_t, t)$ implies.

    Args:
        x: $\hat x$, the estimate of the clean data, `(B, *event)`, model units.
        eps: $\hat\epsilon$, the estimate of the noise, `(B, *event)`.
        x_t: the noisy data, `(B, *event)`.
        t: its time, `()` or `(B,)`, float64.
        process: the process that made the noise.
        variance: the variance of the reverse step.
        spread: what that variance needs beside the times, `(B, *event)`: an output of the network for it, or the
            variance of each entry under the law that the network predicts; None if it needs neither.
        level_logits: log-probabilities of each entry's levels, up to a constant, `(B, *event, levels)`, if the network
            predicts them.
        mixture: the law of each entry given $x_t$, if the network predicts one.
        spiked: the same, where some numbers recur.
    """

    x: Tensor
    eps: Tensor
    x_t: Tensor
    t: Tensor
    process: Gaussian
    variance: ReverseVariance
    spread: Tensor | None = None
    level_logits: Tensor | None = None
    mixture: NormalMixture | None = None
    spiked: SpikeSlab | None = None

    @property
    def score(self) -> Tensor:
        r"""$\hat s = -\hat\epsilon/\sigma$, the estimate of $\nabla\log p(x_t)$ (Tweedie's formula,
        $\alpha\hat x = x_t + \sigma^2\hat s$)."""
        return -self.eps / over(self.process.schedule.sigma(self.t), self.eps)

    @property
    def v(self) -> Tensor:
        r"""$\hat v = \alpha\hat\epsilon - \sigma\hat x$ (Salimans & Ho 2022, App. D)."""
        alpha, sigma = self.process.schedule.alpha(self.t), self.process.schedule.sigma(self.t)
        return over(alpha, self.eps) * self.eps - over(sigma, self.x) * self.x

    @property
    def velocity(self) -> Tensor:
        r"""$\hat u = \hat\epsilon - \hat x$ (Lipman et al. 2023, eq. 22, with time reversed)."""
        return self.eps - self.x

    @property
    def law(self) -> Normal | SpikeSlab:
        r"""$\mathcal N\big(\hat x, 1/(1 + \mathrm{SNR})\big)$, whose variance is that of standard normal data given
        $x_t$ (PiGDM, Song et al. 2023); beside it, the masses of numbers that recur."""
        var = over(1 / (1 + self.process.schedule.log_snr(self.t).exp()), self.x)
        normal = Normal(self.x.double(), var.double())
        return normal if self.spiked is None else self.spiked.to(normal.mean).decoding(normal)

    def mean(self, s: float | Tensor) -> Tensor:
        r"""The mean of the reverse step to time s, which is the posterior mean at $\hat x$ (DDPM eq. 7)."""
        return self.process.posterior(self.x_t, self.x, s, self.t).mean

    def with_x(self, x: Tensor) -> Estimate:
        r"""The estimate with another $\hat x$, and with the $\hat\epsilon$ that follows from it;
        `level_logits` stay."""
        return replace(self, x=x, eps=Noisy.at(self.x_t, self.t, self.process).eps_of(x))

    def with_variance(self, variance: ReverseVariance) -> Estimate:
        """The estimate with another variance of the reverse step."""
        return replace(self, variance=variance, spread=variance.spread_of(self))

    def with_known(self, clean: Tensor, known: Tensor) -> Estimate:
        return self.with_x(torch.where(known, clean, self.x))

    def within(self, region: Region) -> tuple[Estimate, Tensor]:
        """The estimate given that x lies in a region, and the log of the probability that it does, `(B,)`."""
        law = self.law
        if isinstance(law, SpikeSlab):
            kept, log_mass = law.within(region.low, region.high)
            return replace(self.with_x(kept.mean.to(self.x)), spiked=kept.to(self.x)), sum_event(log_mass)
        mean, log_mass = between(law, region.low, region.high)
        return self.with_x(mean.to(self.x)), sum_event(log_mass)
