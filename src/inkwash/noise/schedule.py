r"""What a schedule answers, and what all variance-preserving ones share."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from inkwash.shapes import as_time

_HALVINGS = 64


class Schedule(ABC):
    r"""What a schedule answers; every method takes times of any shape and returns float64 of that shape.

    `alpha`, `sigma` and `log_snr` are differentiable in t for $0 < t < 1$.
    """

    @abstractmethod
    def alpha(self, t: float | Tensor) -> Tensor:
        r"""Signal scale $\alpha(t)$; $\alpha(0) = 1$."""

    @abstractmethod
    def sigma(self, t: float | Tensor) -> Tensor:
        r"""Noise scale $\sigma(t)$, a standard deviation; $\sigma(0) = 0$."""

    @abstractmethod
    def log_snr(self, t: float | Tensor) -> Tensor:
        r"""$\log(\alpha^2/\sigma^2)$, decreasing in t; $+\infty$ where there is no noise, $-\infty$ where no signal."""

    @torch.no_grad()
    def time(self, log_snr: float | Tensor) -> Tensor:
        """The time at which the schedule reaches `log_snr`: the inverse of the method `log_snr`.

        By bisection, down to neighbouring floats; it carries no gradient. A schedule with a closed inverse has its own.
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
        r"""$\log\bar\alpha(t) = 2\log\alpha(t)$ (Ho et al. 2020, below eq. 4); keeps its relative precision near 0."""

    def log_alpha_bar_left(self, t: float | Tensor) -> Tensor:
        r"""$\log(\bar\alpha(t)/\bar\alpha(1))$: what is still to be lost. Finite where $\alpha(1) > 0$."""
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
        """Which times are 0, and the times with others put in their place: a gradient at time 0 would be NaN."""
        t = as_time(t)
        return t == 0, torch.where(t == 0, 0.5, t)


def log_snr_of(log_alpha_bar: Tensor) -> Tensor:
    r"""$\log\frac{\bar\alpha}{1-\bar\alpha}$ from $\log\bar\alpha$; its inverse is `logsigmoid`."""
    return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))
