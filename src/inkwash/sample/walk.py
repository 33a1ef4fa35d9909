r"""A walk from noise to data as it goes on: where it is, and what it takes the data to be.

A sampler evaluates the denoiser at least once per step, and the result holds $\hat x(x_t)$, an estimate of the clean
data (Ho et al. 2020, eq. 15 and fig. 6). The estimates along a walk therefore cost nothing: they are noted as the
sampler evaluates them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_kind
from inkwash.core.progress import reached
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.noise.grid import as_grid
from inkwash.process.process import Process, Scheduled
from inkwash.sample.ancestral import Ancestral
from inkwash.sample.grids import Grid
from inkwash.sample.sampler import Sampler


class State(NamedTuple):
    r"""Where a walk is after a step.

    Attributes:
        s: the time; 0 is data.
        x_s: noisy data, `(B, *event)`, model units.
        x: $\hat x$, the last estimate of the clean data in the step, `(B, *event)`, model units. Samplers that evaluate
            the denoiser once per step do so at its start, so that this is $\hat x(x_t)$ of the state before. None for
            particles, which evaluate the denoiser at other rows than those of the state.
    """

    s: float
    x_s: Tensor
    x: Tensor | None


class Walker(ABC):
    """What walks from noise to data: a denoiser that a sampler steps with, or particles."""

    @abstractmethod
    def walk(
        self, x_t: Tensor, times: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> Iterator[State]:
        """Walk from `x_t` `(B, *event)` along the decreasing grid `times`, which starts at its time.

        Args:
            x_t: where to start, model units.
            times: float64, `(K + 1,)`.
            generator: of the noise.
            rows: the rows of a state that are passed on; the others walk along.

        Returns:
            A state after each step.
        """


@dataclass(frozen=True)
class Stepwise(Walker):
    """A denoiser, and the sampler that takes the steps.

    Args:
        denoiser: the denoiser.
        sampler: the sampler.
    """

    denoiser: AnyDenoiser
    sampler: Sampler

    @torch.no_grad()
    def walk(
        self, x_t: Tensor, times: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> Iterator[State]:
        watched = _Watched(self.denoiser)
        for s, x_s in self.sampler.trajectory(watched, x_t, times, generator):
            yield State(float(s), x_s[rows], None if watched.x is None else watched.x[rows])


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


class StepOptions(TypedDict, total=False):
    """Keywords that say which steps to take, as of `Diffusion.sample`."""

    sampler: Sampler | None
    steps: int | None
    times: Tensor | None
    grid: Grid | None


@dataclass(frozen=True)
class Plan:
    """The steps of a walk: their kind, and their times.

    Args:
        sampler: takes the steps.
        times: float64, `(K + 1,)`, decreasing from 1 to 0.
    """

    sampler: Sampler
    times: Tensor


@dataclass(frozen=True, eq=False)
class Walking:
    """How to walk, as far as it is decided; what is None is open.

    Args:
        sampler: takes the steps; `Ancestral()` if it is open.
        steps: number of steps; if it is open, that of the model's own grid.
        times: the grid itself, in place of `steps` and `grid`.
        grid: how the steps are spread; `UniformGrid()` if it is open.
    """

    sampler: Sampler | None = None
    steps: int | None = None
    times: Tensor | None = None
    grid: Grid | None = None

    def but(self, **options: Unpack[StepOptions]) -> "Walking":
        """The same, but for options that are not None. These come first: a grid of `times` gives way to `steps` or a
        `grid`, and these to `times`."""
        passed: StepOptions = {name: value for name, value in options.items() if value is not None}  # type: ignore[assignment]
        if passed.keys() & {"steps", "grid"}:
            passed.setdefault("times", None)
        elif "times" in passed:
            passed |= {"steps": None, "grid": None}
        return replace(self, **passed)

    @torch.no_grad()
    def plan(self, process: Process, own_steps: int) -> Plan:
        """The steps for a process, in a model whose own grid has `own_steps` steps.

        Raises:
            ConfigError: a bad option, or two that exclude each other.
        """
        sampler, grid = Ancestral() if self.sampler is None else self.sampler, self.grid
        require_kind("sampler", sampler, Sampler)
        if grid is None:
            return Plan(sampler, as_grid(self.steps, self.times, own_steps))
        require_kind("grid", grid, Grid)
        if self.times is not None:
            raise ConfigError("times", self.times.tolist(), "either times or a grid, not both")
        if not isinstance(process, Scheduled):
            raise ConfigError("grid", grid, f"no grid: a {type(process).__name__} process has no schedule")
        steps = own_steps if self.steps is None else self.steps
        return Plan(sampler, grid.times(process.schedule, steps, own_steps))


class Walkable:
    """What samples by walking: a model, or a product of a model with factors."""

    walks: Callable[..., list[Iterator[State]]]
    """The walks that `sample` takes for its `n` examples, one for each slot. None starts before it is iterated. The
    rows of all together are the examples in order, in model units. Options and errors are those of `sample`."""
    to_data: Callable[[Tensor], Any]
    """Examples in model units to data units."""

    def progressive(self, n: int, **options: Any) -> Iterator[State]:
        r"""Yield `(s, x_s, x)` after every step of these walks, all in step.

        `x_s` `(n, *shape)` is noisy data in model units, and x, or $\hat x$, the estimate that the step was taken with;
        it costs no further evaluation of the denoiser. At the end of an ancestral or DDIM walk it is the sample
        (progressive generation: Ho et al. 2020, fig. 6). Options are those of `sample`.
        """
        yield from abreast(self.walks(n, **options))

    def trajectory(self, n: int, **options: Any) -> Iterator[tuple[float, Tensor]]:
        """Yield `(s, x_s)`: as `progressive`, without the estimates."""
        for state in self.progressive(n, **options):
            yield state.s, state.x_s


def end_of(walk: Iterable[State]) -> State:
    """The last state of a walk; those before it are dropped as they come."""
    for state in walk:
        reached(1 - state.s)
    return state


def masked(walk: Iterable[State], present: Tensor) -> Iterator[State]:
    """A walk that ends in 0 where an entry is not `present`, boolean `(B, *event)`."""
    for state in walk:
        yield state._replace(x_s=state.x_s.where(present.to(state.x_s.device), 0)) if state.s == 0 else state


def abreast(walks: Iterable[Iterable[State]]) -> Iterator[State]:
    """Several walks along one grid, in step, as one walk of all their rows."""
    for states in zip(*walks, strict=True):
        estimates = [each.x for each in states if each.x is not None]
        yield State(states[0].s, torch.cat([each.x_s for each in states]), torch.cat(estimates) if estimates else None)
