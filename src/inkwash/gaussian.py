r"""Gaussian diffusion: $q(x_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2)$ (Sohl-Dickstein et al. 2015).

For $0 \le s < t \le 1$, with $\alpha_{ts} = \alpha_t/\alpha_s$ and
$\sigma_{ts}^2 = \sigma_t^2 - \alpha_{ts}^2\sigma_s^2$.
Differences of variances are formed from log-SNRs, $\sigma_{ts}^2 = -\sigma_t^2\,\mathrm{expm1}(\lambda_t - \lambda_s)$,
which keeps their relative precision when s and t are close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inkwash.distributions import BinnedNormal, Bins, DiscretizedNormal, Lattice, Masses, Normal, standard_normal
from inkwash.errors import ConfigError
from inkwash.noise import Schedule
from inkwash.process import Process, Scheduled
from inkwash.shapes import as_time, over

if TYPE_CHECKING:
    from inkwash.denoise import Estimate


@dataclass(frozen=True)
class Gaussian(Scheduled):
    """The Gaussian process of a schedule.

    Args:
        schedule: gives `alpha`, `sigma` and `log_snr` at any time in [0, 1].
    """

    schedule: Schedule

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Normal:
        r"""$p(x_1) = \mathcal N(0, \alpha_1^2 + \sigma_1^2)$: the mean and variance that data of mean 0 and variance 1
        have at t = 1.

        Of a variance-preserving schedule, or of one without signal at t = 1 whose noise has variance 1, this is
        $\mathcal N(0, I)$. Of a variance-exploding one it is $\mathcal N(0, 1 + \sigma_1^2)$, where
        $\mathcal N(0, \sigma_1^2)$ is common and hardly differs.
        """
        mean = torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))
        return Normal(mean, over(self.scale(1.0) ** 2, mean))

    def scale(self, t: float | Tensor) -> Tensor:
        r"""$c_t = \sqrt{\alpha_t^2 + \sigma_t^2}$, float64: $x_t/c_t$ stays $\mathcal N(0, I)$ if x is."""
        return torch.sqrt(self.schedule.alpha(t) ** 2 + self.schedule.sigma(t) ** 2)

    def marginal(self, x: Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2)$ (DDPM eq. 4)."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return Normal(over(alpha, x) * x, over(sigma**2, x))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Standard normal noise."""
        return standard_normal(shape, generator, like)

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        r"""$x_t = \alpha_t x + \sigma_t\epsilon$."""
        return over(self.schedule.alpha(t), x) * x + over(self.schedule.sigma(t), x) * noise

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_t \mid x_s) = \mathcal N(\alpha_{ts} x_s, \sigma_{ts}^2)$ (DDPM eq. 2 for neighbours)."""
        alpha_ts = self.schedule.alpha(t) / self.schedule.alpha(s)
        return Normal(over(alpha_ts, x_s) * x_s, over(self.transition_var(s, t), x_s))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_s \mid x_t, x) = \mathcal N\big(\tfrac{\alpha_{ts}\sigma_s^2}{\sigma_t^2} x_t +
        \tfrac{\alpha_s\sigma_{ts}^2}{\sigma_t^2} x,\ \tfrac{\sigma_{ts}^2\sigma_s^2}{\sigma_t^2}\big)$
        (DDPM eqs. 6-7)."""
        mean = self._posterior_mean(x_t, x, s, t)
        return Normal(mean, over(self.posterior_var(s, t), mean))

    def reverse(self, x_t: Tensor, estimate: Estimate, s: float | Tensor, t: float | Tensor) -> Normal:
        r"""$p(x_s \mid x_t)$: the posterior mean at $\hat x$, with the reverse variance of the estimate (DDPM §3.2)."""
        mean = self._posterior_mean(x_t, estimate.x, s, t)
        return Normal(mean, over(estimate.variance.of_step(self, s, t, estimate.spread), mean))

    def decoder(
        self, x_t: Tensor, estimate: Estimate, times: Tensor, lattice: Lattice | Bins | None
    ) -> Normal | DiscretizedNormal | BinnedNormal | Masses:
        r"""$p(x \mid x_{\tau_1})$: what the estimate says of the levels, if it does; else a normal around $\hat x$,
        since $q(x_0 \mid x_t, x)$ has none but x for its mean.

        Raises:
            ConfigError: a grid of one step with a variance that needs a second pair.
        """
        if isinstance(lattice, Lattice) and estimate.level_logits is not None:
            return Masses(estimate.level_logits.double(), lattice)
        normal = Normal(estimate.x, over(estimate.variance.of_decoder(self, times, estimate.spread), x_t))
        return normal if lattice is None else normal.on(lattice)

    def transition_var(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\sigma_{ts}^2$, DDPM's $\beta$ for neighbours; float64."""
        return -(self.schedule.sigma(t) ** 2) * torch.expm1(self._log_snr_change(s, t))

    def posterior_var(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\sigma_{ts}^2\sigma_s^2/\sigma_t^2$, DDPM's $\tilde\beta$ for neighbours; float64, 0 at s = 0."""
        return -(self.schedule.sigma(s) ** 2) * torch.expm1(self._log_snr_change(s, t))

    def pull(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\alpha_s\sigma_{ts}^2/\sigma_t^2$, the coefficient of x in the posterior mean; float64, 1 at s = 0."""
        return -self.schedule.alpha(s) * torch.expm1(self._log_snr_change(s, t))

    def keep(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\alpha_{ts}\sigma_s^2/\sigma_t^2$, the coefficient of $x_t$ in the posterior mean; float64, 0 at s = 0."""
        alpha_ts = self.schedule.alpha(t) / self.schedule.alpha(s)
        return alpha_ts * (self.schedule.sigma(s) / self.schedule.sigma(t)) ** 2

    def _posterior_mean(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Tensor:
        return over(self.keep(s, t), x_t) * x_t + over(self.pull(s, t), x) * x

    def _log_snr_change(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return self.schedule.log_snr(as_time(t)) - self.schedule.log_snr(as_time(s))


def require_gaussian(process: Process, where: str) -> Gaussian:
    """The process, for what is made for Gaussian ones alone.

    Raises:
        ConfigError: another process; `where` says who asked.
    """
    if not isinstance(process, Gaussian):
        raise ConfigError(where, f"a {type(process).__name__} process", "a Gaussian process")
    return process
