r"""A walk from noise to data as it goes on: where it is, and what it takes the data to be.

A denoiser is asked at least once per step, and what it answers holds $\hat x(x_t)$, an estimate of the clean data (Ho
et al. 2020, eq. 15 and fig. 6). So the estimates along a walk cost nothing: they are noted as the sampler asks for
them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_kind
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.noise.grid import as_grid
from inkwash.process.process import Process, Scheduled
from inkwash.sample.ancestral import Ancestral
from inkwash.sample.grids import Grid
from inkwash.sample.sampler import Sampler


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


@dataclass(frozen=True)
class Walk:
    """How to walk: the kind of steps, and their times.

    Args:
        sampler: the kind of steps.
        times: float64, `(K + 1,)`, decreasing from 1 to 0.
    """

    sampler: Sampler
    times: Tensor


@torch.no_grad()
def plan(
    process: Process,
    own_steps: int,
    *,
    sampler: Sampler | None = None,
    steps: int | None = None,
    times: Tensor | None = None,
    grid: Grid | None = None,
) -> Walk:
    """The walk that options ask for, or else that of a model of `own_steps` steps.

    Raises:
        ConfigError: a bad option, or two that exclude each other.
    """
    sampler = Ancestral() if sampler is None else sampler
    require_kind("sampler", sampler, Sampler)
    if grid is None:
        return Walk(sampler, as_grid(steps, times, own_steps))
    require_kind("grid", grid, Grid)
    if times is not None:
        raise ConfigError("times", times, "either times or a grid, not both")
    if not isinstance(process, Scheduled):
        raise ConfigError("grid", grid, f"no grid: a {type(process).__name__} process has no schedule")
    return Walk(sampler, grid.times(process.schedule, own_steps if steps is None else steps, own_steps))


class Walkable:
    """What is sampled by walking: a model, or a product of one with factors."""

    walks: Callable[..., list[Iterator[State]]]
    """The walks that `sample` takes for its `n` examples, one for each slot; none starts before it is asked. The rows
    of all together are the examples in order, model units. Options and errors are those of `sample`."""

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
