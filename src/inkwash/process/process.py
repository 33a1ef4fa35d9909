"""A process is a fixed way to spread data into noise, together with the family of its reverse steps.

For any pair of times `0 <= s < t <= 1`, a process gives the distributions of diffusion by name. A step is a pair of
times, so striding, respacing and few-step sampling need nothing more. The bound and the ancestral sampler use only
this interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from inkwash.process.distributions import Bins, Lattice
from inkwash.process.noise.schedule import Schedule


class Distribution(Protocol):
    """A distribution that a process returns; see `inkwash.process.distributions`."""

    @property
    def mean(self) -> Tensor: ...

    def draw(self, generator: torch.Generator) -> Tensor: ...

    def last_draw(self, generator: torch.Generator) -> Tensor: ...

    def log_prob(self, x: Tensor, present: Tensor | None = None) -> Tensor: ...

    def entry_log_prob(self, x: Tensor) -> Tensor: ...


class Kernel(Distribution, Protocol):
    """The distribution of one step, or of several steps at once, of the walk between data and noise."""

    def entropy(self, present: Tensor | None = None) -> Tensor: ...

    def kl(self, other: Any, present: Tensor | None = None) -> Tensor: ...

    def entry_kl(self, other: Any) -> Tensor: ...


@runtime_checkable
class Rowed(Protocol):
    """A law that knows which of its parts have a row for each example."""

    def rows(self, index: Tensor) -> Any: ...


@dataclass(frozen=True)
class AnyEstimate(ABC):
    """What a denoiser estimates about clean data from noisy data; each process has its kind, a frozen dataclass."""

    @property
    @abstractmethod
    def law(self) -> Distribution:
        """The law of clean data under the estimate, with independent entries; float64."""

    @abstractmethod
    def with_known(self, clean: Tensor, known: Tensor) -> Self:
        """The estimate with the entries of `clean` `(B, *event)` in place of its own where `known` is true."""

    def rows(self, index: Tensor) -> Self:
        """The estimate of the selected rows."""
        return replace(self, **{field.name: _rows(getattr(self, field.name), index) for field in fields(self)})


def _rows(part: Any, index: Tensor) -> Any:
    """The selected rows of an estimate or of a tensor that has rows; any other field stays as it is."""
    if isinstance(part, AnyEstimate | Rowed):
        return part.rows(index)
    return part[index] if isinstance(part, Tensor) and part.ndim else part


class Process(ABC):
    """The forward process q and the family of the reverse kernel p. Times are `()` or `(B,)`, data `(B, *event)`."""

    lattice: ClassVar[Lattice | None] = None
    """The values that clean and noisy data take, the same for every entry; None if there is no such lattice."""
    has_variance: ClassVar[bool] = False
    """Whether the reverse step has a variance that an estimate does not imply: a `ReverseVariance` decides it."""

    @abstractmethod
    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Kernel:
        """p(x_1) for data of `shape`, which includes the batch, in the dtype and on the device of `like`."""

    @abstractmethod
    def marginal(self, x: Tensor, t: float | Tensor) -> Kernel:
        """q(x_t | x)."""

    @abstractmethod
    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """The randomness that `diffuse` needs for data of `shape`; it is the same on every device."""

    @abstractmethod
    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw from `marginal(x, t)`, made of `noise`."""

    @abstractmethod
    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Kernel:
        """q(x_t | x_s)."""

    @abstractmethod
    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Kernel:
        """q(x_s | x_t, x)."""

    @abstractmethod
    def reverse(self, x_t: Tensor, estimate: Any, s: float | Tensor, t: float | Tensor) -> Kernel:
        """p(x_s | x_t), with the parameters that `estimate` implies; it is of this process's own kind of estimate."""

    @abstractmethod
    def decoder(self, x_t: Tensor, estimate: Any, times: Tensor, lattice: Lattice | Bins | None) -> Distribution:
        """p(x | x_t) at the first time t after 0 of the decreasing grid `times`; on `lattice` for discrete data."""


class Scheduled(Process):
    """A process whose noise level follows a schedule."""

    schedule: Schedule


class Discrete(Scheduled):
    """A process of discrete data, for which a network gives odds."""

    @abstractmethod
    def estimate(self, odds: Tensor, x_t: Tensor, t: Tensor) -> AnyEstimate:
        """The estimate that the odds of a network imply at noisy data `x_t` `(B, *event)` and time t, float64."""
