r"""The interface of a noise schedule, and what all variance-preserving schedules share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time

_HALVINGS = 64


class Schedule(ABC):
    r"""A noise schedule; every method takes times of any shape and returns float64 of that shape.

    `alpha`, `sigma` and `log_snr` are differentiable in t for $0 < t < 1$.
    """

    @abstractmethod
    def alpha(self, t: float | Tensor) -> Tensor:
        r"""The signal scale $\alpha(t)$; $\alpha(0) = 1$."""

    @abstractmethod
    def sigma(self, t: float | Tensor) -> Tensor:
        r"""The noise scale $\sigma(t)$, a standard deviation; $\sigma(0) = 0$."""

    @abstractmethod
    def log_snr(self, t: float | Tensor) -> Tensor:
        r"""$\log(\alpha^2/\sigma^2)$, decreasing in t; $+\infty$ where there is no noise, $-\infty$ where no signal."""

    @torch.no_grad()
    def time(self, log_snr: float | Tensor) -> Tensor:
        """The time at which the schedule reaches `log_snr`: the inverse of the method `log_snr`.

        It is found by bisection, down to neighbouring floats, and carries no gradient. Schedules whose inverse has a
        closed form override this method.
        """
        target = as_time(log_snr)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            early = self.log_snr(middle) >= target
            low, high = torch.where(early, middle, low), torch.where(early, high, middle)
        return low


class VariancePreserving(Schedule):
    r"""A schedule with $\alpha^2 + \sigma^2 = 1$, given by $\log\bar\alpha = \log\alpha^2$."""

    @abstractmethod
    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        r"""$\log\bar\alpha(t) = 2\log\alpha(t)$ (Ho et al. 2020, below eq. 4), with its relative precision near 0."""

    def log_alpha_bar_left(self, t: float | Tensor) -> Tensor:
        r"""$\log(\bar\alpha(t)/\bar\alpha(1))$, which measures the signal yet to be lost; finite if $\alpha(1) > 0$."""
        return self.log_alpha_bar(t) - self.log_alpha_bar(1.0).to(as_time(t).device)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.exp(0.5 * self.log_alpha_bar(t))

    def sigma(self, t: float | Tensor) -> Tensor:
        clean, noisy = self._split(t)
        return torch.where(clean, 0.0, torch.sqrt(-torch.expm1(self.log_alpha_bar(noisy))))

    def log_snr(self, t: float | Tensor) -> Tensor:
        clean, noisy = self._split(t)
        return torch.where(clean, torch.inf, log_snr_of(self.log_alpha_bar(noisy)))

    def _split(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """Which times are 0, and the times with 0.5 in place of 0, where a gradient would be NaN."""
        t = as_time(t)
        return t == 0, torch.where(t == 0, 0.5, t)


def log_alpha_bar_between(
    t: Tensor, steps: int, first: float | Tensor, last: float | Tensor, share_left: Callable[[Tensor], Tensor]
) -> Tensor:
    r"""$\log\bar\alpha$ of a log-SNR that falls from `first` at t = 1/T to `last` at t = 1.

    Below $t = 1/T$, $\sigma$ falls linearly to 0, so that time 0 is data.

    Args:
        t: times, of any shape.
        steps: T, at least 2.
        first: log-SNR at t = 1/T.
        last: log-SNR at t = 1.
        share_left: the share of the fall that is left at $u = \frac{t - 1/T}{1 - 1/T}$, from 1 at u = 0 to 0 at u = 1.
    """
    position = t * steps
    log_snr = last + (first - last) * share_left(((position - 1) / (steps - 1)).clamp(min=0))
    below = torch.sigmoid(-as_time(first).to(t.device)) * position.clamp(max=1) ** 2
    return torch.where(position < 1, torch.log1p(-below), logsigmoid(log_snr))


def log_snr_of(log_alpha_bar: Tensor) -> Tensor:
    r"""$\log\frac{\bar\alpha}{1-\bar\alpha}$ from $\log\bar\alpha$; its inverse is `logsigmoid`."""
    return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))


def require_ends(steps: int, log_snr_first: float, log_snr_last: float) -> None:
    """Check a number of steps, and the log-SNRs after the first and the last of them.

    Raises:
        ConfigError: there are fewer than 2 steps, or the log-SNRs are not finite and falling.
    """
    require_integer("schedule.steps", steps, least=2)
    if not -math.inf < log_snr_last < log_snr_first < math.inf:
        raise ConfigError("schedule.log_snr_last", log_snr_last, f"a number below log_snr_first, {log_snr_first}")
