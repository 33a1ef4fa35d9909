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

from inkwash.distributions import DiscretizedNormal, Lattice, Normal
from inkwash.errors import ConfigError
from inkwash.noise import Schedule
from inkwash.process import Process
from inkwash.shapes import as_time, over

if TYPE_CHECKING:
    from inkwash.denoise import Estimate


@dataclass(frozen=True)
class Gaussian(Process):
    """The Gaussian process of a schedule.

    Args:
        schedule: gives `alpha`, `sigma` and `log_snr` at any time in [0, 1].
    """

    schedule: Schedule

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Normal:
        r"""$p(x_1) = \mathcal N(0, I)$."""
        mean = torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))
        return Normal(mean, mean.new_ones(()))

    def marginal(self, x: Tensor, t: float | Tensor) -> Normal:
        r"""$q(x_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2)$ (DDPM eq. 4)."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return Normal(over(alpha, x) * x, over(sigma**2, x))

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
        r"""$p(x_s \mid x_t)$: the posterior mean at $\hat x$, with the reverse variance of the estimate (DDPM §3.2).

        "small" is the posterior variance $\tilde\beta$, "large" the transition variance $\beta$.
        """
        mean = self._posterior_mean(x_t, estimate.x, s, t)
        return Normal(mean, over(self._reverse_var(estimate.variance, s, t), mean))

    def decoder(
        self, x_t: Tensor, estimate: Estimate, times: Tensor, lattice: Lattice | None
    ) -> Normal | DiscretizedNormal:
        r"""$p(x \mid x_{\tau_1})$: mean $\hat x$, since $q(x_0 \mid x_t, x)$ has none but x for its mean.

        The large variance is $\beta$ of the pair $(0, \tau_1)$. The small one would be 0 there, so the decoder takes
        that of the pair $(\tau_1, \tau_2)$, as Nichol & Dhariwal (2021) do.

        Raises:
            ConfigError: the small variance on a grid of one step, which has no second pair.
        """
        kind, first = estimate.variance, times[-2]
        if kind == "small" and len(times) < 3:
            raise ConfigError("steps", 1, "at least 2 steps with the small variance, or variance='large'")
        var = self.posterior_var(first, times[-3]) if kind == "small" else self.transition_var(0.0, first)
        normal = Normal(estimate.x, over(var, x_t))
        return normal if lattice is None else normal.on(lattice)

    def transition_var(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\sigma_{ts}^2$, DDPM's $\beta$ for neighbours; float64."""
        return -(self.schedule.sigma(t) ** 2) * torch.expm1(self._log_snr_change(s, t))

    def posterior_var(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        r"""$\sigma_{ts}^2\sigma_s^2/\sigma_t^2$, DDPM's $\tilde\beta$ for neighbours; float64, 0 at s = 0."""
        return -(self.schedule.sigma(s) ** 2) * torch.expm1(self._log_snr_change(s, t))

    def _reverse_var(self, kind: str, s: float | Tensor, t: float | Tensor) -> Tensor:
        return self.posterior_var(s, t) if kind == "small" else self.transition_var(s, t)

    def _posterior_mean(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Tensor:
        change = self._log_snr_change(s, t)
        alpha_s, alpha_ts = self.schedule.alpha(s), self.schedule.alpha(t) / self.schedule.alpha(s)
        of_x_t = alpha_ts * (self.schedule.sigma(s) / self.schedule.sigma(t)) ** 2
        return over(of_x_t, x_t) * x_t + over(-alpha_s * torch.expm1(change), x) * x

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
