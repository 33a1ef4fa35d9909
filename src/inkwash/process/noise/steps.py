r"""The coefficients of a Gaussian step between the times s < t, as functions of a schedule; float64.

Let $\alpha_{ts} = \alpha_t/\alpha_s$ and $\sigma_{ts}^2 = \sigma_t^2 - \alpha_{ts}^2\sigma_s^2$. Differences of
variances are computed from log-SNRs, $\sigma_{ts}^2 = -\sigma_t^2\,\mathrm{expm1}(\lambda_t - \lambda_s)$, which keeps
their relative precision when s and t are close.
"""

import torch
from torch import Tensor

from inkwash.core.shapes import as_time
from inkwash.process.noise.schedule import Schedule


def transition_var(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\sigma_{ts}^2$, the variance of $q(x_t \mid x_s)$; DDPM's $\beta$ for neighbours on a grid."""
    return -(schedule.sigma(t) ** 2) * torch.expm1(_log_snr_change(schedule, s, t))


def posterior_var(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\sigma_{ts}^2\sigma_s^2/\sigma_t^2$, the variance of $q(x_s \mid x_t, x)$; DDPM's $\tilde\beta$ for neighbours.

    It is 0 at s = 0.
    """
    return -(schedule.sigma(s) ** 2) * torch.expm1(_log_snr_change(schedule, s, t))


def pull(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\alpha_s\sigma_{ts}^2/\sigma_t^2$, the coefficient of x in the posterior mean; 1 at s = 0."""
    return -schedule.alpha(s) * torch.expm1(_log_snr_change(schedule, s, t))


def keep(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\alpha_{ts}\sigma_s^2/\sigma_t^2$, the coefficient of $x_t$ in the posterior mean; 0 at s = 0."""
    alpha_ts = schedule.alpha(t) / schedule.alpha(s)
    return alpha_ts * (schedule.sigma(s) / schedule.sigma(t)) ** 2


def _log_snr_change(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\lambda_t - \lambda_s$."""
    return schedule.log_snr(as_time(t)) - schedule.log_snr(as_time(s))
