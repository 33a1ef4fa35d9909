r"""A walk from noise to data as it goes on: where it is, and what it takes the data to be.

A denoiser is asked at least once per step, and what it answers holds $\hat x(x_t)$, an estimate of the clean data (Ho
et al. 2020, eq. 15 and fig. 6). So the estimates along a walk cost nothing: they are noted as the sampler asks for
them.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inkwash.denoise import AnyDenoiser
from inkwash.sample import Sampler


class State(NamedTuple):
    r"""What a walk has come to after a step.

    Args:
        s: the time; 0 is data.
        x_s: noisy data, `(B, *event)`, model units.
        x: $\hat x$, the last estimate of the clean data that the step asked for, `(B, *event)`, model units. Samplers
            that ask once per step ask at its start, so that this is $\hat x(x_t)$ of the state before. None where a
            walk asks for other rows than its own, as particles do.
    """

    s: float
    x_s: Tensor
    x: Tensor | None


class Walkable(ABC):
    """What is drawn from by walking: a model, or a product of one with factors."""

    @abstractmethod
    def walks(self, n: int, **options: Any) -> list[Iterator[State]]:
        """The walks that `sample` takes, one for each slot of examples; none starts before it is asked.

        The rows of all together are the `n` examples in order, model units. Options and errors are those of `sample`.
        """

    def progressive(self, n: int, **options: Any) -> Iterator[State]:
        r"""Yield `(s, x_s, x)` after every step of these walks, all in step.

        `x_s` `(n, *shape)` is noisy data in model units, and x, or $\hat x$, the estimate that the step was taken by:
        the denoiser is asked no more often. At the end of an ancestral or DDIM walk it is the sample (progressive
        generation: Ho et al. 2020, fig. 6). Options are those of `sample`.
        """
        yield from abreast(self.walks(n, **options))

    def trajectory(self, n: int, **options: Any) -> Iterator[tuple[float, Tensor]]:
        """As `progressive`, without the estimates: yield `(s, x_s)`."""
        for state in self.progressive(n, **options):
            yield state.s, state.x_s


class _Watched:
    """A denoiser whose last estimate of the clean data is kept."""

    def __init__(self, denoiser: AnyDenoiser) -> None:
        self.x: Tensor | None = None
        self.denoiser = denoiser
        self.process = denoiser.process

    def __call__(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any:
        estimate = self.denoiser(x_t, t, **condition)
        self.x = estimate.x
        return estimate


@torch.no_grad()
def walk(
    denoiser: AnyDenoiser,
    sampler: Sampler,
    x_t: Tensor,
    times: Tensor,
    generator: torch.Generator,
    rows: slice = slice(None),
) -> Iterator[State]:
    """Walk from `x_t` `(B, *event)` along the decreasing grid `times`, which starts at its time.

    Args:
        denoiser: what the sampler asks.
        sampler: how to walk.
        x_t: where to start, model units.
        times: float64, `(K + 1,)`.
        generator: of the noise.
        rows: which rows of a state are given out; the others walk along.

    Returns:
        A state after each step.
    """
    watched = _Watched(denoiser)
    for s, x_s in sampler.trajectory(watched, x_t, times, generator):
        yield State(float(s), x_s[rows], None if watched.x is None else watched.x[rows])


def end_of(walk: Iterable[State]) -> State:
    """Walk to the end; the states on the way are dropped as they come."""
    return deque(walk, maxlen=1).pop()


def abreast(walks: Iterable[Iterable[State]]) -> Iterator[State]:
    """Several walks along one grid, in step, as one walk of all their rows."""
    for states in zip(*walks, strict=True):
        estimates = [each.x for each in states if each.x is not None]
        yield State(states[0].s, torch.cat([each.x_s for each in states]), torch.cat(estimates) if estimates else None)
