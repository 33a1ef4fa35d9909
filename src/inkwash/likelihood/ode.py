r"""Ordinary differential equations $dy/d\tau = f(\tau, y)$ for a batch, each example at its own pace.

A solver is a frozen dataclass; its fields are its options. It moves states `(B, D)` from one time to another, and
counts the evaluations of the field for each example. Adaptive steps are controlled per example, so that a result does
not depend on the other examples in the batch. A solver that fails to arrive raises; it never returns an intermediate
state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError, require_integer

Field = Callable[[Tensor, Tensor], Tensor]
"""A field takes times `(B,)` and states `(B, D)` to slopes `(B, D)`."""


class Solver(ABC):
    """Follows a field."""

    @abstractmethod
    def solve(self, field: Field, state: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        """Move `state` `(B, D)` from time `start` to time `stop`, in either direction.

        Returns:
            The state at `stop`, and the number of evaluations of the field for each example, `(B,)`.

        Raises:
            NonFiniteError: the field is NaN or infinite between them.
            ConfigError: the tolerance is not reached within the evaluations allowed.
        """


@dataclass(frozen=True)
class Fixed(Solver):
    """The classical Runge-Kutta method of order 4 (Kutta 1901) in equal steps, four evaluations each.

    Args:
        steps: number of steps.
    """

    steps: int = 32

    def __post_init__(self) -> None:
        require_integer("solver.steps", self.steps)

    def solve(self, field: Field, state: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        h = (stop - start) / self.steps
        for i in range(self.steps):
            time = state.new_full((len(state),), start + i * h)
            k1 = field(time, state)
            k2 = field(time + h / 2, state + h / 2 * k1)
            k3 = field(time + h / 2, state + h / 2 * k2)
            k4 = field(time + h, state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        _require_finite(state)
        return state, torch.full((len(state),), 4 * self.steps)


@dataclass(frozen=True)
class Adaptive(Solver):
    """The embedded Runge-Kutta pair of orders 5 and 4 of Dormand & Prince (1980), with the size of steps per example.

    A step is accepted if the estimated error of every entry of the state is at most `atol + rtol |entry|`.

    Args:
        rtol: tolerance per step relative to an entry.
        atol: absolute tolerance per step, in the unit of an entry.
        max_evaluations: the most evaluations of the field for one example.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_evaluations: int = 2000

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "max_evaluations"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"solver.{name}", value, "a number above 0")

    def solve(self, field: Field, state: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        time = state.new_full((len(state),), start)
        step = torch.full_like(time, (stop - start) * _FIRST_STEP)
        slope = field(time, state)
        _require_finite(slope)
        evaluations = torch.ones(len(state), dtype=torch.int64, device=state.device)
        active = time != stop
        while bool(active.any()):
            self._require_progress(active, time, step, evaluations)
            last = step.abs() >= (stop - time).abs()
            step = torch.where(last, stop - time, step)
            new, new_slope, error = _dormand_prince(field, time, state, slope, step)
            size = self._size(error, state, new)
            taken = active & (size <= 1)
            time = torch.where(taken, torch.where(last, stop, time + step), time)
            state, slope = torch.where(taken[:, None], new, state), torch.where(taken[:, None], new_slope, slope)
            step = step * (0.9 * size**-0.2).clamp(0.2, 5.0)
            evaluations += 6 * active
            active = time != stop
        return state, evaluations

    def _size(self, error: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """The largest error of an example in units of its tolerance, `(B,)`; infinite where it is NaN."""
        allowed = self.atol + self.rtol * torch.maximum(old.abs(), new.abs())
        return (error.abs() / allowed).nan_to_num(nan=torch.inf).amax(1)

    def _require_progress(self, active: Tensor, time: Tensor, step: Tensor, evaluations: Tensor) -> None:
        if bool((active & (time + step == time)).any()):
            raise NonFiniteError("flow", "NaN, infinity or a jump", "a network that is finite and continuous")
        if int(evaluations.max()) + 6 > self.max_evaluations:
            need = f"more, or looser tolerances: {int(active.sum())} examples are not done"
            raise ConfigError("solver.max_evaluations", self.max_evaluations, need)


_FIRST_STEP = 1 / 32
"""Length of the first step tried, as a share of the distance."""

_NODES = (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
_STAGES: tuple[Sequence[float], ...] = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def _dormand_prince(
    field: Field, time: Tensor, state: Tensor, slope: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step for each example: the state of order 5, the slope there, and the difference to the state of order 4."""
    slopes, new, h = [slope], state, step[:, None]
    for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
        new = state + h * _combine(weights, slopes)
        slopes.append(field(time + node * step, new))
    return new, slopes[-1], h * _combine(_ERROR, slopes)


def _combine(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    return torch.stack([w * k for w, k in zip(weights, slopes, strict=True) if w]).sum(0)


def _require_finite(values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise NonFiniteError("flow", "NaN or infinity", "a network that is finite at every noise level")
