r"""Noise schedules: signal scale $\alpha(t)$ and noise scale $\sigma(t)$ of $x_t = \alpha(t)\,x + \sigma(t)\,\epsilon$.

A time is a float in $[0, 1]$; 0 is data, 1 is noise. Everything here is float64, whatever the dtype of the data.
A schedule tabulated at T steps is exact at the times k/T; in between, $\log\bar\alpha = \log\alpha^2$ is interpolated
linearly, that is, noise comes at a constant rate within a step.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inkwash.errors import ConfigError
from inkwash.shapes import as_time


class Schedule(ABC):
    r"""What a schedule answers; every method takes times of any shape and returns float64 of that shape."""

    @abstractmethod
    def alpha(self, t: float | Tensor) -> Tensor:
        r"""Signal scale $\alpha(t)$."""

    @abstractmethod
    def sigma(self, t: float | Tensor) -> Tensor:
        r"""Noise scale $\sigma(t)$, a standard deviation."""

    @abstractmethod
    def log_snr(self, t: float | Tensor) -> Tensor:
        r"""$\log(\alpha^2/\sigma^2)$, decreasing in t; $+\infty$ where there is no noise."""

    @abstractmethod
    def time(self, log_snr: float | Tensor) -> Tensor:
        """The time at which the schedule reaches `log_snr`: the inverse of the method `log_snr`."""


class _Tabulated(Schedule):
    r"""A variance-preserving schedule ($\alpha^2 + \sigma^2 = 1$) given by its T betas."""

    @abstractmethod
    def table(self) -> Tensor:
        r"""The betas $\beta_1 … \beta_T$, float64, shape `(T,)`."""

    @cached_property
    def _log_alpha_bar(self) -> Tensor:
        steps = torch.log1p(-self.table())
        return torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        r"""$\log\bar\alpha(t) = 2\log\alpha(t)$ (Ho et al. 2020, below eq. 4)."""
        t = as_time(t)
        table = self._log_alpha_bar.to(t.device)
        position = t * (len(table) - 1)
        index = position.floor().long().clamp(0, len(table) - 2)
        return torch.lerp(table[index], table[index + 1], position - index)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.exp(0.5 * self.log_alpha_bar(t))

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(self.log_alpha_bar(t)))

    def log_snr(self, t: float | Tensor) -> Tensor:
        log_alpha_bar = self.log_alpha_bar(t)
        return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))

    def time(self, log_snr: float | Tensor) -> Tensor:
        log_alpha_bar = torch.nn.functional.logsigmoid(as_time(log_snr))
        table = self._log_alpha_bar.to(log_alpha_bar.device)
        index = (torch.searchsorted(-table, -log_alpha_bar) - 1).clamp(0, len(table) - 2)
        fraction = (log_alpha_bar - table[index]) / (table[index + 1] - table[index])
        return ((index + fraction) / (len(table) - 1)).clamp(0, 1)


def _require_steps(steps: float, where: str = "schedule.steps") -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError(where, steps, "an integer >= 1")


@dataclass(frozen=True)
class TabulatedSchedule(_Tabulated):
    r"""The schedule of a given list of betas, $\bar\alpha_k = \prod_{i\le k}(1-\beta_i)$.

    Args:
        betas: $\beta_1 … \beta_T$, each in (0, 1).
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(float(b) for b in self.betas))
        _require_steps(len(self.betas))
        for beta in self.betas:
            if not 0 < beta < 1:
                raise ConfigError("schedule.betas", beta, "numbers between 0 and 1, both excluded")

    def table(self) -> Tensor:
        return torch.tensor(self.betas, dtype=torch.float64)


@dataclass(frozen=True)
class LinearSchedule(_Tabulated):
    r"""Betas on a line, from 1e-4 to 0.02 at T = 1000; scaled by 1000/T for another T (Ho et al. 2020, §4).

    Args:
        steps: T; at least 21, below which the scaled betas would reach 1.
        beta_start: $\beta_1$ at T = 1000.
        beta_end: $\beta_T$ at T = 1000.
    """

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        _require_steps(self.steps)
        for name in ("beta_start", "beta_end"):
            beta = getattr(self, name)
            if not 0 < beta < 1:
                raise ConfigError(f"schedule.{name}", beta, "a number between 0 and 1, both excluded")
            if beta * 1000 >= self.steps:
                need = f"more than {beta * 1000:g}, so that {name}, scaled by 1000/steps, stays below 1"
                raise ConfigError("schedule.steps", self.steps, need)

    def table(self) -> Tensor:
        scale = 1000 / self.steps
        return torch.linspace(self.beta_start * scale, self.beta_end * scale, self.steps, dtype=torch.float64)


@dataclass(frozen=True)
class CosineSchedule(_Tabulated):
    r"""$\bar\alpha_k = f(k/T)/f(0)$ with $f(t) = \cos^2\big(\tfrac{t+s}{1+s}\tfrac{\pi}{2}\big)$ and betas capped
    (Nichol & Dhariwal 2021, eq. 17).

    Args:
        steps: T.
        offset: the paper's s; keeps the first betas from being too small.
        max_beta: cap on each beta, so that the last step keeps some signal.
    """

    steps: int = 1000
    offset: float = 0.008
    max_beta: float = 0.999

    def __post_init__(self) -> None:
        _require_steps(self.steps)
        if not 0 <= self.offset < math.inf:
            raise ConfigError("schedule.offset", self.offset, "a number >= 0")
        if not 0 < self.max_beta < 1:
            raise ConfigError("schedule.max_beta", self.max_beta, "a number between 0 and 1, both excluded")

    def table(self) -> Tensor:
        k = torch.arange(self.steps + 1, dtype=torch.float64)
        angle = (k / self.steps + self.offset) / (1 + self.offset) * (math.pi / 2)
        before, after = angle[:-1], angle[1:]
        # 1 - cos²(after)/cos²(before), written without the cancellation
        beta = torch.sin(after - before) * torch.sin(after + before) / torch.cos(before) ** 2
        return beta.clamp(max=self.max_beta)


SCHEDULES: dict[str, type[LinearSchedule] | type[CosineSchedule]] = {"linear": LinearSchedule, "cosine": CosineSchedule}
"""The schedules that a name and a number of steps describe."""


def uniform_grid(steps: float) -> Tensor:
    """The T-step grid `1, (T-1)/T, …, 1/T, 0`: shape `(T + 1,)`, float64, decreasing."""
    _require_steps(steps, "steps")
    return torch.arange(steps, -1, -1, dtype=torch.float64) / steps


def as_grid(steps: float | None, times: Tensor | None, default: int) -> Tensor:
    """The grid asked for by a number of steps or by its times; `default` steps if by neither.

    Raises:
        ConfigError: both given, or times that do not decrease from 1 to 0.
    """
    if times is None:
        return uniform_grid(default if steps is None else steps)
    if steps is not None:
        raise ConfigError("steps", steps, "either steps or times, not both")
    grid = as_time(times)
    if grid.ndim != 1 or len(grid) < 2 or grid[0] != 1 or grid[-1] != 0 or not bool((grid.diff() < 0).all()):
        raise ConfigError("times", grid.tolist(), "a decreasing list of times from 1 to 0")
    return grid
