"""What a process is: a fixed way to spread data into noise, and the family of its reverse steps.

For any pair of times `0 <= s < t <= 1` a process gives the distributions of diffusion by name. Striding, respacing and
few-step sampling need nothing more: a step is a pair of times. The bound and the ancestral sampler are written against
this interface alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Protocol, Self, cast

import torch
from torch import Tensor

from inkwash.process.distributions import Bins, Lattice
from inkwash.process.noise.schedule import Schedule


class Distribution(Protocol):
    """What a process returns; see `inkwash.process.distributions`."""

    @property
    def mean(self) -> Tensor: ...

    def draw(self, generator: torch.Generator) -> Tensor: ...

    def final(self, generator: torch.Generator) -> Tensor: ...

    def log_prob(self, x: Tensor, present: Tensor | None = None) -> Tensor: ...


class Kernel(Distribution, Protocol):
    """A step, or several at once, of the walk between data and noise."""

    def entropy(self, present: Tensor | None = None) -> Tensor: ...

    def kl(self, other: Any, present: Tensor | None = None) -> Tensor: ...


class AnyEstimate(ABC):
    """What a denoiser believes of clean data, given noisy data; a frozen dataclass, one kind for each process."""

    @property
    @abstractmethod
    def law(self) -> Distribution:
        """The law of clean data under the estimate, independent entries, float64."""

    @abstractmethod
    def with_known(self, clean: Tensor, known: Tensor) -> Self:
        """The estimate with the entries of `clean` `(B, *event)` put in where the boolean `known` is true."""

    def rows(self, index: Tensor) -> Self:
        """The estimate of some rows."""
        kept = {item.name: _rows(getattr(self, item.name), index) for item in fields(cast(Any, self))}
        return cast(Self, replace(cast(Any, self), **kept))


def _rows(part: Any, index: Tensor) -> Any:
    """Some rows of what has rows; anything else as it is."""
    if isinstance(part, AnyEstimate):
        return part.rows(index)
    return part[index] if isinstance(part, Tensor) and part.ndim else part


class Process(ABC):
    """The forward process q and the family of the reverse kernel p. Times are `()` or `(B,)`, data `(B, *event)`.

    `lattice` holds the values that data, clean or noisy, take under the process; None where they are real numbers.
    """

    lattice: ClassVar[Lattice | None] = None

    @abstractmethod
    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Kernel:
        """p(x_1), for data of `shape` (batch included), in the dtype and on the device of `like`."""

    @abstractmethod
    def marginal(self, x: Tensor, t: float | Tensor) -> Kernel:
        """q(x_t | x)."""

    @abstractmethod
    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """The randomness of `marginal`, for data of `shape`: the same on every device."""

    @abstractmethod
    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw of `marginal(x, t)`, made from `noise`."""

    @abstractmethod
    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Kernel:
        """q(x_t | x_s)."""

    @abstractmethod
    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Kernel:
        """q(x_s | x_t, x)."""

    @abstractmethod
    def reverse(self, x_t: Tensor, estimate: Any, s: float | Tensor, t: float | Tensor) -> Kernel:
        """p(x_s | x_t), with the parameters implied by `estimate`, of the kind that denoisers of this process give."""

    @abstractmethod
    def decoder(self, x_t: Tensor, estimate: Any, times: Tensor, lattice: Lattice | Bins | None) -> Distribution:
        """p(x | x_t) at the first time after 0 of the decreasing grid `times`; on `lattice` for discrete data."""


class Scheduled(Process):
    """A process whose noise follows a schedule."""

    schedule: Schedule
