r"""Schedules in closed form, and a schedule that removes the last signal from another one."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time
from inkwash.process.noise.schedule import Schedule, VariancePreserving, log_alpha_bar_between, log_snr_of, require_ends


@dataclass(frozen=True)
class SohlDicksteinSchedule(VariancePreserving):
    r"""$\bar\alpha(t) = 1 - t$: every step removes the same amount of the signal's power.

    On the grid of T steps, for any T, these are the betas $\beta_k = 1/(T-k+1)$ (Sohl-Dickstein et al. 2015, §2.4.1,
    there for binomial diffusion). No signal is left at t = 1, so a network cannot predict the noise; it must predict x
    or v.
    """

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        return torch.log1p(-as_time(t))

    def time(self, log_snr: float | Tensor) -> Tensor:
        return torch.sigmoid(-as_time(log_snr))


@dataclass(frozen=True)
class RectifiedSchedule(Schedule):
    r"""$\alpha = 1 - u$, $\sigma = u$ with $u = \frac{s t}{1 + (s - 1) t}$: a straight line from data to noise (Liu et
    al. 2022, §2.1), along which the times are shifted towards noise (Esser et al. 2024, eq. 23).

    The schedule is neither variance-preserving nor variance-exploding. No signal is left at t = 1, so a network must
    predict x, v or the velocity.

    Args:
        shift: s; 1 shifts nothing, and any other value moves the log-SNR at every time by $-2\log s$.

    Raises:
        ConfigError: a shift that is not above 0.
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise ConfigError("schedule.shift", self.shift, "a number > 0")

    def alpha(self, t: float | Tensor) -> Tensor:
        t = as_time(t)
        return (1 - t) / (1 + (self.shift - 1) * t)

    def sigma(self, t: float | Tensor) -> Tensor:
        t = as_time(t)
        return self.shift * t / (1 + (self.shift - 1) * t)

    def log_snr(self, t: float | Tensor) -> Tensor:
        t = as_time(t)
        return 2 * (torch.log1p(-t) - torch.log(t) - math.log(self.shift))

    def time(self, log_snr: float | Tensor) -> Tensor:
        return torch.sigmoid(-0.5 * as_time(log_snr) - math.log(self.shift))


@dataclass(frozen=True)
class LogLinearSchedule(VariancePreserving):
    r"""A variance-preserving schedule whose log-SNR falls on a straight line:

    $\lambda(t) = \lambda_0 + (\lambda_1 - \lambda_0)\,u$ with $u = \frac{t - 1/T}{1 - 1/T}$ for $t \ge 1/T$, and
    $\alpha^2 = \mathrm{sigmoid}(\lambda)$.

    `LearnedSchedule` starts from it (Kingma et al. 2021, App. H). Below $t = 1/T$, $\sigma$ falls linearly to 0, so
    that time 0 is data.

    Args:
        steps: T, at least 2; the log-SNR is $\lambda_0$ at t = 1/T.
        log_snr_first: $\lambda_0$, the log-SNR at t = 1/T. At 13.3, $\sigma/\alpha$ is a sixth of the distance between
            neighbours of 256 levels in [-1, 1]; for L levels, this holds at $2\log(3(L-1))$.
        log_snr_last: $\lambda_1$, the log-SNR at t = 1; less than `log_snr_first`.
    """

    steps: int = 1000
    log_snr_first: float = 13.3
    log_snr_last: float = -8.0

    def __post_init__(self) -> None:
        require_ends(self.steps, self.log_snr_first, self.log_snr_last)

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        return log_alpha_bar_between(as_time(t), self.steps, self.log_snr_first, self.log_snr_last, lambda u: 1 - u)

    def time(self, log_snr: float | Tensor) -> Tensor:
        log_snr = as_time(log_snr)
        below = torch.sqrt(torch.sigmoid(-log_snr) / torch.sigmoid(-as_time(self.log_snr_first)).to(log_snr.device))
        u = (self.log_snr_first - log_snr) / (self.log_snr_first - self.log_snr_last)
        position = torch.where(log_snr > self.log_snr_first, below, 1 + u * (self.steps - 1))
        return (position / self.steps).clamp(0, 1)


@dataclass(frozen=True)
class _Exploding(Schedule):
    r"""$\alpha = 1$, and $\sigma$ grows from `sigma_min` at t = 1/T to `sigma_max` at t = 1. Below $t = 1/T$,
    $\sigma = \sigma_{\min} t T$, so that time 0 is data."""

    steps: int = 1000
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        require_integer("schedule.steps", self.steps, least=2)
        if not 0 < self.sigma_min < math.inf:
            raise ConfigError("schedule.sigma_min", self.sigma_min, "a number > 0")
        if not self.sigma_min < self.sigma_max < math.inf:
            raise ConfigError("schedule.sigma_max", self.sigma_max, f"more than sigma_min, {self.sigma_min}")

    @abstractmethod
    def _risen(self, u: Tensor) -> Tensor:
        r"""$\sigma$ at the share u of the rise, from 0 at t = 1/T to 1 at t = 1."""

    @abstractmethod
    def _share(self, sigma: Tensor) -> Tensor:
        """The inverse of `_risen`."""

    def alpha(self, t: float | Tensor) -> Tensor:
        return as_time(t) ** 0  # 1, but differentiable in t

    def sigma(self, t: float | Tensor) -> Tensor:
        position = as_time(t) * self.steps
        u = ((position - 1) / (self.steps - 1)).clamp(min=0)
        return torch.where(position < 1, self.sigma_min * position, self._risen(u))

    def log_snr(self, t: float | Tensor) -> Tensor:
        return -2 * torch.log(self.sigma(t))

    def time(self, log_snr: float | Tensor) -> Tensor:
        sigma = torch.exp(-0.5 * as_time(log_snr))
        below, above = sigma / self.sigma_min, 1 + self._share(sigma) * (self.steps - 1)
        return (torch.where(sigma < self.sigma_min, below, above) / self.steps).clamp(0, 1)


@dataclass(frozen=True)
class KarrasSchedule(_Exploding):
    r"""The variance-exploding schedule of EDM: $\alpha = 1$ and, for $t \ge 1/T$,

    $\sigma(t) = \big(\sigma_{\min}^{1/\rho} + u\,(\sigma_{\max}^{1/\rho} - \sigma_{\min}^{1/\rho})\big)^\rho$ with
    $u = \tfrac{tT - 1}{T - 1}$ (Karras et al. 2022, eq. 5).

    The times 1, (T-1)/T, …, 1/T, 0 give the paper's list: its $\sigma_i$ belongs to the time $(T-i)/T$, and its last
    entry, 0, to time 0. Below $t = 1/T$, $\sigma = \sigma_{\min} t T$, so that time 0 is data.

    Args:
        steps: T, at least 2.
        sigma_min: the noise scale at t = 1/T, in model units; positive.
        sigma_max: the noise scale at t = 1, in model units.
        rho: how strongly the steps crowd at low noise; 1 spaces $\sigma$ evenly.
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rho < math.inf:
            raise ConfigError("schedule.rho", self.rho, "a number > 0")

    @property
    def _root_ends(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

    def _risen(self, u: Tensor) -> Tensor:
        low, high = self._root_ends
        return (low + u * (high - low)) ** self.rho

    def _share(self, sigma: Tensor) -> Tensor:
        low, high = self._root_ends
        return (sigma ** (1 / self.rho) - low) / (high - low)


@dataclass(frozen=True)
class GeometricSchedule(_Exploding):
    r"""The variance-exploding schedule of score matching: $\alpha = 1$ and, for $t \ge 1/T$,

    $\sigma(t) = \sigma_{\min}(\sigma_{\max}/\sigma_{\min})^u$ with $u = \tfrac{tT - 1}{T - 1}$: a geometric sequence on
    the grid of T steps (Song & Ermon 2019, §4.2; Song et al. 2021, App. C). Below $t = 1/T$,
    $\sigma = \sigma_{\min} t T$, so that time 0 is data.

    Args:
        steps: T, at least 2.
        sigma_min: the noise scale at t = 1/T, in model units; positive.
        sigma_max: the noise scale at t = 1, in model units. It should be about the largest distance between two
            examples (Song & Ermon 2020, technique 1).
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def _risen(self, u: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(u * math.log(self.sigma_max / self.sigma_min))

    def _share(self, sigma: Tensor) -> Tensor:
        return torch.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class ZeroTerminalSchedule(Schedule):
    r"""A variance-preserving schedule, changed so that no signal is left at t = 1 (Lin et al. 2023, Alg. 1):

    $\alpha(t) = \frac{a(t) - a(1)}{1 - a(1)}$, where a is the signal scale of the base, and $\sigma^2 = 1 - \alpha^2$.

    The paper shifts the list $a_1 … a_T$ and scales it so that its first entry, at t = 1/T, stays the same. Here
    $a(0) = 1$ stays the same, since time 0 is data. Our scale is theirs times $\frac{a_1 - a_T}{a_1 (1 - a_T)}$, which
    is a little less than 1. A network cannot predict the noise at t = 1; it must predict x, v or the velocity.

    Args:
        base: a variance-preserving schedule that keeps some signal at t = 1.
    """

    base: VariancePreserving

    def __post_init__(self) -> None:
        if not isinstance(self.base, VariancePreserving):
            raise ConfigError("schedule.base", type(self.base).__name__, "a variance-preserving schedule")
        if self.base.alpha(1.0) == 0:
            raise ConfigError("schedule.base", type(self.base).__name__, "a schedule that keeps some signal at time 1")

    def _lost(self, t: float | Tensor) -> Tensor:
        """1 - a(t), with its relative precision near t = 0."""
        return -torch.expm1(0.5 * self.base.log_alpha_bar(t))

    def alpha(self, t: float | Tensor) -> Tensor:
        left = -torch.expm1(-0.5 * self.base.log_alpha_bar_left(t))  # 1 - a(1)/a(t), precise near t = 1
        return self.base.alpha(t) * left / self._lost(1.0).to(left.device)

    def sigma(self, t: float | Tensor) -> Tensor:
        lost = self._lost(t)
        share = lost / self._lost(1.0).to(lost.device)  # 1 - alpha
        return torch.sqrt(share * (2 - share))

    def log_snr(self, t: float | Tensor) -> Tensor:
        return 2 * (torch.log(self.alpha(t)) - torch.log(self.sigma(t)))

    def time(self, log_snr: float | Tensor) -> Tensor:
        share = -torch.expm1(0.5 * logsigmoid(as_time(log_snr)))
        lost = share * self._lost(1.0).to(share.device)
        return self.base.time(log_snr_of(2 * torch.log1p(-lost)))
