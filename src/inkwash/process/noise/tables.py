r"""Variance-preserving schedules given by a table of T betas.

They are exact at the times k/T. In between, $\log\bar\alpha = \log\alpha^2$ is interpolated linearly, so noise is added
at a constant rate within a step.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time
from inkwash.process.noise.schedule import VariancePreserving


def running_sum(steps: Tensor) -> Tensor:
    """The sums `0, s_1, s_1 + s_2, …`: from `(T,)` to `(T + 1,)`."""
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def read(table: Tensor, t: Tensor) -> Tensor:
    """The value at times t of a table of values at the times k/T, `(T + 1,)`, interpolated linearly."""
    table = table.to(t.device)
    position = t * (len(table) - 1)
    index = position.floor().long().clamp(0, len(table) - 2)
    return torch.lerp(table[index], table[index + 1], position - index)


def read_down_to_nothing(table: Tensor, t: Tensor) -> Tensor:
    r"""`read` of a table of $\log\bar\alpha$ that ends at $-\infty$: in its last step $\alpha$ falls linearly."""
    left = (1 - t) * (len(table) - 1)
    return torch.where(left < 1, table[-2].to(t.device) + 2 * torch.log(left), read(table[:-1], t * _share(table)))


def find_down_to_nothing(table: Tensor, value: Tensor) -> Tensor:
    """The inverse of `read_down_to_nothing`."""
    last = table[-2].to(value.device)
    beyond = 1 - torch.exp((value - last) / 2) / (len(table) - 1)
    return torch.where(value < last, beyond, find(table[:-1], value) / _share(table))


def _share(table: Tensor) -> float:
    """The share of all steps in those before the last."""
    return (len(table) - 1) / (len(table) - 2)


def find(table: Tensor, value: Tensor) -> Tensor:
    """The times at which a decreasing table takes a value: the inverse of `read`."""
    table = table.to(value.device)
    index = (torch.searchsorted(-table, -value) - 1).clamp(0, len(table) - 2)
    fraction = (value - table[index]) / (table[index + 1] - table[index])
    return ((index + fraction) / (len(table) - 1)).clamp(0, 1)


class _Tabulated(VariancePreserving):
    """A schedule given by its T betas."""

    @abstractmethod
    def table(self) -> Tensor:
        r"""The betas $\beta_1 … \beta_T$, float64, shape `(T,)`."""

    @cached_property
    def _log_alpha_bar(self) -> Tensor:
        return running_sum(torch.log1p(-self.table()))

    @cached_property
    def _log_alpha_bar_left(self) -> Tensor:
        """The sums from the end, where those from the start have lost the small differences."""
        return running_sum(-torch.log1p(-self.table()).flip(0))

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        return read(self._log_alpha_bar, as_time(t))

    def log_alpha_bar_left(self, t: float | Tensor) -> Tensor:
        return read(self._log_alpha_bar_left, 1 - as_time(t))

    def time(self, log_snr: float | Tensor) -> Tensor:
        return find(self._log_alpha_bar, logsigmoid(as_time(log_snr)))


@short_repr
@dataclass(frozen=True)
class TabulatedSchedule(_Tabulated):
    r"""The schedule of a list of betas, $\bar\alpha_k = \prod_{i\le k}(1-\beta_i)$.

    Args:
        betas: $\beta_1 … \beta_T$, each in (0, 1). If $\beta_T = 1$, no signal is left at t = 1 (Lin et al. 2023), and
            $\alpha$ falls linearly in the last step.
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(float(b) for b in self.betas))
        require_integer("schedule.steps", len(self.betas), least=1 + self._ends_in_noise)
        for beta in self.betas[:-1] if self._ends_in_noise else self.betas:
            if not 0 < beta < 1:
                need = "numbers between 0 and 1, both excluded; the last of several may be 1"
                raise ConfigError("schedule.betas", beta, need)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def _ends_in_noise(self) -> bool:
        """Whether the last step leaves no signal."""
        return self.betas[-1:] == (1.0,)

    def table(self) -> Tensor:
        return torch.tensor(self.betas, dtype=torch.float64)

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        if self._ends_in_noise:
            return read_down_to_nothing(self._log_alpha_bar, as_time(t))
        return super().log_alpha_bar(t)

    def time(self, log_snr: float | Tensor) -> Tensor:
        if self._ends_in_noise:
            return find_down_to_nothing(self._log_alpha_bar, logsigmoid(as_time(log_snr)))
        return super().time(log_snr)


@dataclass(frozen=True)
class LinearSchedule(_Tabulated):
    r"""Betas on a straight line, from 1e-4 to 0.02 at T = 1000, scaled by 1000/T for another T (Ho et al. 2020, §4).

    Args:
        steps: T; with the default betas at least 21, as the scaled betas must stay below 1.
        beta_start: $\beta_1$ at T = 1000.
        beta_end: $\beta_T$ at T = 1000.
    """

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        require_integer("schedule.steps", self.steps)
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
        max_beta: the cap on each beta, which makes the last step keep some signal.
    """

    steps: int = 1000
    offset: float = 0.008
    max_beta: float = 0.999

    def __post_init__(self) -> None:
        require_integer("schedule.steps", self.steps)
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
