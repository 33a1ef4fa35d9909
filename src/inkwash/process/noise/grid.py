"""Grids of times: a model with T steps has a decreasing tensor of T + 1 times from 1 to 0."""

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time


def uniform_grid(steps: float) -> Tensor:
    """The uniform grid of T steps, `1, (T-1)/T, …, 1/T, 0`: shape `(T + 1,)`, float64, decreasing."""
    require_integer("steps", steps)
    return torch.arange(steps, -1, -1, dtype=torch.float64) / steps


def as_grid(steps: float | None, times: Tensor | None, default: int) -> Tensor:
    """The grid with these times, or the uniform grid with this number of steps; `default` steps if both are None.

    Raises:
        ConfigError: both are given, or the times do not decrease from 1 to 0.
    """
    if times is None:
        return uniform_grid(default if steps is None else steps)
    if steps is not None:
        raise ConfigError("steps", steps, "either steps or times, not both")
    grid = as_time(times)
    if grid.ndim != 1 or len(grid) < 2 or grid[0] != 1 or grid[-1] != 0 or not bool((grid.diff() < 0).all()):
        raise ConfigError("times", grid.tolist(), "a decreasing list of times from 1 to 0")
    return grid


def grid_from(t: float, grid: Tensor) -> Tensor:
    """The grid that starts at `t` and continues with the times of `grid` below `t`.

    Raises:
        ConfigError: `t` is outside (0, 1].
    """
    if not 0 < t <= 1:
        raise ConfigError("t", t, "a time above 0 and at most 1")
    return torch.cat([as_time(t)[None], grid[grid < t]])
