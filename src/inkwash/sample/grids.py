r"""How the times of a walk are spread: grids of a number of steps, for a schedule.

A grid of N steps has N times above 0, the first of which is 1, and then 0. The grids differ in the variable in which
these N are evenly spaced, and in the last of the N: where the variable reaches 0 at time 0, it may be one step before
that; otherwise it is 1/T, the smallest time of the model's own grid. Where the log-SNR at time 1, and with it the
variable, is infinite, that of (T - 1)/T takes its place: the first step then leads from time 1 to where the second of
the N would be.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.config import GridName
from inkwash.core.errors import ConfigError, require_integer
from inkwash.process.noise.grid import uniform_grid
from inkwash.process.noise.schedule import Schedule


class Grid(ABC):
    """Spreads the times of a walk."""

    @abstractmethod
    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        """Times from 1 to 0, `(steps + 1,)`, float64, decreasing.

        Args:
            schedule: implies how noisy a time is.
            steps: N, at least 1.
            finest: T, at least 2: 1/T and (T - 1)/T are the outermost times that the model knows, except 0 and 1.

        Raises:
            ConfigError: a bad number, or so many steps that neighbouring times are equal.
        """


@dataclass(frozen=True)
class UniformGrid(Grid):
    """Spreads times evenly, `1, (N-1)/N, …, 1/N, 0`; they depend only on the number of steps."""

    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        return uniform_grid(steps)


@dataclass(frozen=True)
class QuadraticGrid(Grid):
    r"""Spreads times evenly in $\sqrt t$, denser close to data (Song et al. 2020, App. D.2)."""

    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        return _closed(_even(1.0, _smallest(steps, finest) ** 0.5, steps) ** 2)


@dataclass(frozen=True)
class LogSnrGrid(Grid):
    """Spreads times evenly in log-SNR (Lu et al. 2022a, §4.1)."""

    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        start, stop = _end_levels(schedule, steps, finest)
        return _closed(schedule.time(_even(start, stop, steps)))


@dataclass(frozen=True)
class KarrasGrid(Grid):
    r"""Spreads times evenly in $(\sigma/\alpha)^{1/\rho}$ (Karras et al. 2022, eq. 5).

    Args:
        rho: $\rho$; 1 is even in $\sigma/\alpha$, and the larger it is, the closer the grid is to even in log-SNR.

    Raises:
        ConfigError: `rho` not above 0.
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.rho < float("inf"):
            raise ConfigError("grid.rho", self.rho, "a number > 0")

    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        start, stop = (torch.exp(-level / (2 * self.rho)) for level in _end_levels(schedule, steps, finest))
        return _closed(schedule.time(-2 * self.rho * _even(start, stop, steps).log()))


@dataclass(frozen=True)
class AngleGrid(Grid):
    r"""Spreads times evenly in the angle $\varphi = \arctan(\sigma/\alpha)$, down to 0 if the model's grid is as fine.

    Normalised data turns by this angle under the flow (Salimans & Ho 2022, App. D): standard normal data rests while
    the angle runs, and stretches of log-SNR where nothing happens take no steps.
    """

    def times(self, schedule: Schedule, steps: int, finest: int = 1000) -> Tensor:
        ends = torch.tensor([1.0, _smallest(steps, finest)], dtype=torch.float64)
        start, own = torch.atan2(schedule.sigma(ends), schedule.alpha(ends))
        return _closed(schedule.time(-2 * _even(start, torch.maximum(start / steps, own), steps).tan().log()))


GRIDS: dict[GridName, type[Grid]] = {
    "uniform": UniformGrid,
    "quadratic": QuadraticGrid,
    "log-snr": LogSnrGrid,
    "karras": KarrasGrid,
    "angle": AngleGrid,
}
"""Grids by the name that the command line knows them by."""


def _smallest(steps: int, finest: int) -> float:
    """The smallest time above 0.

    Raises:
        ConfigError: a bad number.
    """
    require_integer("steps", steps)
    require_integer("finest", finest, 2, 2**62)
    return 1 / finest


def _end_levels(schedule: Schedule, steps: int, finest: int) -> tuple[Tensor, Tensor]:
    """Log-SNRs at the two ends of the evenly spaced times."""
    first = _smallest(steps, finest)
    start, before, stop = schedule.log_snr(torch.tensor([1.0, 1 - first, first], dtype=torch.float64))
    return (before if torch.isinf(start) else start), stop


def _even(start: float | Tensor, stop: float | Tensor, steps: int) -> Tensor:
    return torch.linspace(float(start), float(stop), steps, dtype=torch.float64)


def _closed(times: Tensor) -> Tensor:
    """The times, with 1 in place of the first, and 0 after the last."""
    grid = torch.cat([times.new_ones(1), times[1:], times.new_zeros(1)])
    if not bool((grid.diff() < 0).all()):
        raise ConfigError("steps", len(times), "fewer steps: neighbouring times of this grid are equal")
    return grid
