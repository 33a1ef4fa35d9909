r"""Steps that are learned for one network: linear combinations of its estimates so far, on times of their own.

Every multistep solver adds multiples of the state and of past estimates, and differs from others only in the
coefficients and the times (Shaul et al. 2024, "Bespoke non-stationary solvers for fast sampling of diffusion and flow
models"). Those of a polynomial suit every network; here they are what suits one best.
`inkwash.model.flow_trajectories` learns them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.noise.grid import as_grid
from inkwash.process.noise.schedule import Schedule
from inkwash.sample.quadrature import combine, levels
from inkwash.sample.sampler import Multistep

_NEAR = 1e-9


@dataclass(frozen=True)
class LearnedSteps(Multistep):
    r"""Steps $z_s = w_0 z_t + \sum_{j\ge1} w_j\hat x_j$ with $z = x_t/\sqrt{\alpha^2+\sigma^2}$, where $\hat x_1,
    \hat x_2, …$ are the newest estimates, one evaluation per step.

    Args:
        times: the times of the walk, from 1 to 0; it has no other.
        angles: $\arctan(\sigma/\alpha)$ at these times, by which the schedule is known.
        weights: $w_0, w_1, …$ of each step.

    Raises:
        ConfigError: parts that do not go together.
    """

    times: tuple[float, ...]
    angles: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        steps = len(as_grid(None, self.grid(), 0)) - 1
        if (len(self.angles), len(self.weights)) != (steps + 1, steps):
            got = f"{len(self.angles)} angles and weights of {len(self.weights)} steps"
            raise ConfigError("sampler.weights", got, f"those of {steps} steps")
        for number, weights in enumerate(self.weights, 1):
            if not (2 <= len(weights) <= number + 1 and all(map(math.isfinite, weights))):
                raise ConfigError(
                    "sampler.weights", weights, f"finite ones of the state and of 1 to {number} estimates"
                )

    def grid(self) -> Tensor:
        """The times of the walk, float64."""
        return torch.tensor(self.times, dtype=torch.float64)

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        scales = self._scales(self.schedule(denoiser), times)
        x, seen = x_1, list[Tensor]()
        for (t, s), (now, then), weights in zip(pairwise(times), pairwise(scales), self.weights, strict=True):
            seen = [denoiser(x, t).x, *seen][: len(weights) - 1]
            x = combine([then / now * weights[0], *(then * each for each in weights[1:])], [x, *seen])
            yield s, x

    def _scales(self, schedule: Schedule, times: Tensor) -> list[float]:
        r"""$\sqrt{\alpha^2+\sigma^2}$ at the times.

        Raises:
            ConfigError: other times, or another schedule, than those that the steps were learned for.
        """
        if times.tolist() != list(self.times):
            raise ConfigError("times", times.tolist(), f"those of the learned steps, {list(self.times)}")
        found = levels(schedule, times)
        if any(abs(level.angle - angle) > _NEAR for level, angle in zip(found, self.angles, strict=True)):
            raise ConfigError("sampler", "steps learned for another schedule", f"steps learned for {schedule}")
        return [math.hypot(level.alpha, level.sigma) for level in found]
