"""What training minimises: the batch of a step, the lesson that makes a loss of it, and stages of several lessons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from inkwash.core.shapes import Array
from inkwash.training.examples import Examples
from inkwash.training.times import Proposal, Times

Shape = tuple[int, ...]
Noise = tuple[Tensor, ...]
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Batch:
    """The share of one process in the global batch of a step.

    Args:
        indices: where the examples lie in the data set.
        x: the clean examples, in model units, `(B, *event)`.
        times: the time at which training looks at each example.
        noise: the random numbers of each example, as many tensors as the lesson takes, `(B, …)`.
        condition: the condition of each example, by name; some are hidden. It includes which entries are `present` if
            any are missing.
        all_times: the times of the global batch.
    """

    indices: Array
    x: Tensor
    times: Times
    noise: Noise
    condition: dict[str, Tensor]
    all_times: Times

    def to(self, device: torch.device) -> Batch:
        """This share on a device; the times of the global batch stay where they are."""
        condition = {name: value.to(device) for name, value in self.condition.items()}
        times, noise = (
            Times(self.times.t.to(device), self.times.weight.to(device)),
            tuple(n.to(device) for n in self.noise),
        )
        return replace(self, x=self.x.to(device, non_blocking=True), times=times, noise=noise, condition=condition)

    def part(self, rows: slice) -> Batch:
        """Some of its examples."""
        condition = {name: value[rows] for name, value in self.condition.items()}
        times, noise = Times(self.times.t[rows], self.times.weight[rows]), tuple(n[rows] for n in self.noise)
        return replace(self, indices=self.indices[rows], x=self.x[rows], times=times, noise=noise, condition=condition)

    def parts(self, rows: int) -> Iterator[Batch]:
        """Its examples in order, `rows` at a time."""
        return (self.part(slice(first, first + rows)) for first in range(0, len(self.x), rows))


class Lesson(ABC, Generic[M]):
    """What a step of training minimises, and the random numbers that it takes."""

    @abstractmethod
    def draw(self, trained: M, proposal: Proposal, x: Shape, random: torch.Generator) -> tuple[Times, Noise]:
        """The times and the noise of a global batch.

        Args:
            trained: what is trained.
            proposal: how times are proposed.
            x: shape of the batch, `(B, *event)`.
            random: where the random numbers come from.
        """

    @abstractmethod
    def loss(self, trained: M, batch: Batch) -> Tensor:
        """The loss per example, `(B,)`, not yet weighted."""

    def learn(self, trained: M, proposal: Proposal, times: Times, losses: Tensor) -> None:
        """Take note of the losses `(B,)`, finite and not yet weighted, that times led to."""


def _all_of_it(trained: Any) -> nn.Module:
    return trained


def _none_of_it(trained: Any) -> Iterable[nn.Parameter]:
    return ()


def _nothing(trained: Any, average: Any, examples: Examples) -> None:
    pass


@dataclass(frozen=True)
class Stage:
    """Steps of training with one lesson, a schedule of the learning rate and an optimizer of their own.

    Args:
        lesson: what is minimised.
        first: the number of steps before it.
        last: the number of steps at its end.
        part: which part of what is trained it trains; the rest stays as it is.
        undecayed: parameters that the weight decay leaves alone.
        begin: what happens before its first step, to what is trained and to its average, given the examples; it is a
            pure function of these.
    """

    lesson: Lesson[Any]
    first: int
    last: int
    part: Callable[[Any], nn.Module] = _all_of_it
    undecayed: Callable[[Any], Iterable[nn.Parameter]] = _none_of_it
    begin: Callable[[Any, Any, Examples], None] = _nothing
