"""`Sampler`: how to step along a grid of times, from the prior to data.

A sampler is a frozen dataclass; its fields are its options. A one-step method implements only `step`. A trajectory is a
generator, so progress bars, films and early stops need no callbacks. The last step, to time 0, adds no noise to real
numbers; discrete values are sampled, since their mean is not one of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.gaussian import require_gaussian
from inkwash.process.noise.schedule import Schedule


class Sampler(ABC):
    """Takes the steps of a walk from noise to data."""

    def schedule(self, denoiser: AnyDenoiser) -> Schedule:
        """The schedule of a Gaussian process, for samplers that take no other process.

        Raises:
            ConfigError: another process.
        """
        return require_gaussian(denoiser.process, f"sampler {type(self).__name__}", "--sampler ancestral").schedule

    @abstractmethod
    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        """From `x_t` `(B, *event)` at time t to x_s at the earlier time s; `t` and `s` are float64 scalars."""

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(s, x_s)` after each step along the decreasing grid `times`; the last is time 0."""
        x = x_1
        for t, s in pairwise(times):
            x = self.step(denoiser, x, t, s, generator)
            yield s, x


class Multistep(Sampler):
    """A sampler whose steps depend on the rest of the walk. What it remembers belongs to a trajectory, never to the
    sampler; a single step is a walk of one step."""

    @abstractmethod
    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(s, x_s)` after each step along the decreasing grid `times`; the last is time 0."""

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        return next(iter(self.trajectory(denoiser, x_t, torch.stack([t, s]), generator)))[1]
