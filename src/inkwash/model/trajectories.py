r"""Trajectories of the probability-flow ODE, and the few steps that come closest to their ends.

A step of a multistep solver is linear in the state and the estimates so far, so the best coefficients for reaching
given points are those of least squares. They are found from the first step to the last, each at the states that the
steps before it really lead to: a later step then makes up for what earlier ones lack. This is done for every list of
times that a search looks at, and the times are those whose walks end closest to the trajectories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError, require_integer
from inkwash.core.randomness import Purpose, Slots, generator, seed_of
from inkwash.core.shapes import event_size
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.model.diffusion import Diffusion
from inkwash.model.grid_costs import candidate_times
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.noise.grid import uniform_grid
from inkwash.sample.grids import AngleGrid, KarrasGrid
from inkwash.sample.learned import LearnedSteps
from inkwash.sample.multistep import Adams
from inkwash.sample.sampler import Sampler

_MOST_STEPS = 20
_MEMORY = 6
"""Most estimates that a step combines."""
_ALIKE = 1e-6
"""Estimates that differ by less, relative to their size, are taken for equal: a network in float32 rounds so."""
_ENTRIES = 32768
_REMEMBERED = 64


@torch.no_grad()
def flow_trajectories(
    model: Diffusion, n: int | None = None, *, candidates: Tensor | None = None, seed: int | None = None
) -> FlowTrajectories:
    """Follow trajectories of the flow from the prior to data, in a step of `Adams(3)` between neighbouring candidates.

    Args:
        model: a model of a Gaussian process; it is used without a condition.
        n: how many trajectories; by default as many as have 32,768 entries, but at least 64 and at most 512.
        candidates: as for `bound_costs`.
        seed: of the trajectories' starts; None takes one from torch's global generator.

    Raises:
        ConfigError: bad candidates, a bad `n` or `seed`, a process that is not Gaussian.
    """
    process, times = require_gaussian(model.process, "flow_trajectories"), candidate_times(model, candidates)
    count = min(max(_ENTRIES // event_size(model.shape), 64), 512) if n is None else n
    require_integer("n", count)
    like = torch.zeros((), dtype=torch.float64, device=model.device)
    random = generator(seed_of(seed), Purpose.TRAJECTORY)
    starts = process.prior((count, *model.shape), like=like).draw(random)
    states = _walked(model.denoiser, Adams(3), starts, times, Slots(model.shape, model.device).rows)
    return FlowTrajectories(model.denoiser, process, times, states, model.steps)


@dataclass(frozen=True, eq=False)
class FlowTrajectories:
    """Points of n trajectories at M + 1 times.

    Args:
        denoiser: implies the flow.
        process: the process of the denoiser.
        times: decreasing from 1 to 0, `(M + 1,)`, float64.
        states: x_t at these times, `(M + 1, n, *event)`, float64.
        finest: T of the model's own grid.
    """

    denoiser: AnyDenoiser
    process: Gaussian
    times: Tensor
    states: Tensor
    finest: int

    @cached_property
    def angles(self) -> Tensor:
        r"""$\arctan(\sigma/\alpha)$ at the times, `(M + 1,)`."""
        schedule = self.process.schedule
        return torch.atan2(schedule.sigma(self.times), schedule.alpha(self.times))

    def learned(self, steps: int) -> tuple[LearnedSteps, int]:
        """The steps that come closest to the ends of these trajectories.

        The times are searched for among those of the trajectories: from each of three usual grids, one time after
        another is moved by ever smaller distances, where the walks then end closer.

        Args:
            steps: how many, from 1 to 20, and at most M.

        Returns:
            The steps, and how many examples, each at one time, the network was evaluated on to find them.

        Raises:
            ConfigError: a bad `steps`.
            NonFiniteError: the estimates are NaN or infinite.
        """
        last = len(self.times) - 1
        require_integer("steps", steps)
        if steps > min(_MOST_STEPS, last):
            raise ConfigError("steps", steps, f"at most {min(_MOST_STEPS, last)}")
        fit = _Fit(self)
        places = min((_searched(fit, start) for start in self._usual(steps)), key=fit.error)
        kept = list(places)
        found = LearnedSteps(
            tuple(self.times[kept].tolist()), tuple(self.angles[kept].tolist()), fit.reached(places).weights
        )
        return found, fit.evaluations

    @torch.no_grad()
    def error(self, sampler: Sampler, times: Tensor) -> float:
        """How far from the ends of these trajectories the walks of a sampler end: the root mean square distance of an
        entry, over its standard deviation.

        Args:
            sampler: takes the steps; its noise, if it adds any, has the seed 0.
            times: the times of the walk, decreasing from 1 to 0.
        """
        ends = _walked(self.denoiser, sampler, self.states[0], times, len(self.states[0]))[-1]
        return float((ends - self.states[-1]).pow(2).mean().sqrt() / self.states[-1].std())

    def _usual(self, steps: int) -> list[tuple[int, ...]]:
        """Places of the candidates closest to usual grids, where these differ, and of evenly chosen candidates."""
        schedule, last = self.process.schedule, len(self.times) - 1
        grids = [grid.times(schedule, steps, self.finest) for grid in (AngleGrid(), KarrasGrid())]
        angles = [torch.atan2(schedule.sigma(grid), schedule.alpha(grid)) for grid in grids]
        found = [(each[:, None] - self.angles).abs().argmin(1).tolist() for each in angles]
        found.append((last * (1 - uniform_grid(steps))).round().long().tolist())
        ends = [(0, *each[1:-1], last) for each in found]
        return [each for each in ends if all(a < b for a, b in pairwise(each))]


@dataclass(frozen=True, eq=False)
class _Reached:
    """Where walks are after the steps to some places.

    Args:
        state: z, `(n, size)`.
        seen: the newest estimates of z at time 0, the newest first.
        weights: those of each step.
    """

    state: Tensor
    seen: tuple[Tensor, ...]
    weights: tuple[tuple[float, ...], ...]


class _Fit:
    """Walks from the starts of trajectories, by the best weights for any times; walks that begin alike share their
    beginning.

    Args:
        trajectories: to follow.
    """

    def __init__(self, trajectories: FlowTrajectories) -> None:
        self.flow, self.evaluations = trajectories, 0
        self.scales = trajectories.process.scale(trajectories.times)
        self.rows = Slots(trajectories.states.shape[2:], trajectories.states.device).rows
        self.reached, self._estimates = lru_cache(_REMEMBERED)(self._reach), lru_cache(_REMEMBERED)(self._estimate)

    def error(self, places: tuple[int, ...]) -> float:
        """The mean squared distance of a walk along these places from the ends."""
        return float((self.reached(places).state - self._points(places[-1])).pow(2).mean())

    def _points(self, place: int) -> Tensor:
        return self.flow.states[place].flatten(1) / self.scales[place].to(self.flow.states)

    def _reach(self, places: tuple[int, ...]) -> _Reached:
        if len(places) == 1:
            return _Reached(self._points(0), (), ())
        before = self.reached(places[:-1])
        seen = (self._estimates(places[:-1]), *before.seen)[:_MEMORY]
        weights = _least_squares((before.state, *seen), self._points(places[-1]))
        state = torch.stack([weight * part for weight, part in zip(weights, (before.state, *seen), strict=True)]).sum(0)
        return _Reached(state, seen, (*before.weights, weights))

    @torch.no_grad()
    def _estimate(self, places: tuple[int, ...]) -> Tensor:
        """The estimate of x where the walk along these places ends, `(n, size)`."""
        x_t = (self.scales[places[-1]].to(self.flow.states) * self.reached(places).state).view_as(self.flow.states[0])
        t = self.flow.times[places[-1]]
        self.evaluations += len(x_t)
        estimates = [self.flow.denoiser(part, t).x.double() for part in x_t.split(self.rows)]
        return _finite(torch.cat(estimates)).flatten(1)


def _least_squares(parts: tuple[Tensor, ...], goal: Tensor) -> tuple[float, ...]:
    """Weights with which the parts add up to the goal as well as they can; of parts that are alike, the smallest."""
    columns = torch.stack([part.flatten() for part in parts], 1).cpu()
    sizes = columns.norm(dim=0).clamp(min=torch.finfo(columns.dtype).tiny)
    found = torch.linalg.lstsq(columns / sizes, goal.flatten().cpu()[:, None], rcond=_ALIKE, driver="gelsd")
    return tuple((found.solution[:, 0] / sizes).tolist())


def _searched(fit: _Fit, places: tuple[int, ...]) -> tuple[int, ...]:
    """Places whose error is a minimum or close to one, from others not far away."""
    distance = max(places[-1] // len(places), 1)
    while distance:
        for j in range(1, len(places) - 1):
            places = min((places, *_moved(places, j, distance)), key=fit.error)
        distance //= 2
    return places


def _moved(places: tuple[int, ...], j: int, distance: int) -> list[tuple[int, ...]]:
    """The same places with place j moved either way, where they stay in order."""
    others = (places[j] - distance, places[j] + distance)
    return [(*places[:j], each, *places[j + 1 :]) for each in others if places[j - 1] < each < places[j + 1]]


def _walked(denoiser: AnyDenoiser, sampler: Sampler, starts: Tensor, times: Tensor, rows: int) -> Tensor:
    """States along the times, `(len(times), n, *event)`."""
    parts = []
    for part in starts.split(rows):
        walk = sampler.trajectory(denoiser, part, times, generator(0, Purpose.TRAJECTORY))
        parts.append(torch.stack([part, *(state for _, state in walk)]))
    return _finite(torch.cat(parts, 1))


def _finite(values: Tensor) -> Tensor:
    """The values themselves.

    Raises:
        NonFiniteError: they are NaN or infinite.
    """
    if not bool(values.isfinite().all()):
        raise NonFiniteError("sampler", "NaN or infinity", "a network that is finite at every noise level")
    return values
