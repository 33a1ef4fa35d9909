r"""Ordinary differential equations $dy/d\tau = f(\tau, y)$ for a batch, each example at its own pace.

A solver is a frozen dataclass; its fields are its options. It moves states `(B, D)` from one time to another, and
counts the evaluations of the field for each example. Adaptive steps are controlled per example, so that a result does
not depend on the other examples in the batch. A solver that fails to arrive raises; it never returns an intermediate
state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError, require_integer
from inkwash.core.progress import reached, tracked

Field = Callable[[Tensor, Tensor], Tensor]
"""A field takes times `(B,)` and states `(B, D)` to slopes `(B, D)`."""


class Solver(ABC):
    """Follows a field."""

    @abstractmethod
    def solve(
        self, field: Field, state: Tensor, start: float, stop: float, slope: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Move a state from one time to another, in either direction.

        Args:
            field: says the slopes.
            state: where to start, `(B, D)`.
            start: the time there.
            stop: the time to reach.
            slope: that at the start, `(B, D)`, where it is known; it saves an evaluation.

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

    def solve(
        self, field: Field, state: Tensor, start: float, stop: float, slope: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        h, saved = (stop - start) / self.steps, slope is not None
        for i in tracked(range(self.steps)):
            time = state.new_full((len(state),), start + i * h)
            k1, slope = field(time, state) if slope is None else slope, None
            k2 = field(time + h / 2, state + h / 2 * k1)
            k3 = field(time + h / 2, state + h / 2 * k2)
            k4 = field(time + h, state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        _require_finite(state)
        return state, torch.full((len(state),), 4 * self.steps - saved)


@dataclass(frozen=True)
class Adaptive(Solver):
    r"""Adams-Bashforth-Moulton steps whose size and order are chosen for each example (Shampine & Gordon 1975).

    A step of order k goes along the polynomial through the newest k slopes, evaluates the field once, at its end, and
    is then repeated along the polynomial that goes through that slope too. In Newton's form the polynomials of all
    orders have their terms in common, and the last term of each is taken for its error. A step is accepted if this
    error is at most `atol + rtol |entry|` for every entry of the state. The next step has the neighbouring order that
    promises the longest step.

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

    def solve(
        self, field: Field, state: Tensor, start: float, stop: float, slope: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        time, span = state.new_full((len(state),), start), stop - start
        past = _Past.of(time, span, field(time, state) if slope is None else slope)
        _require_finite(past.slopes[0])
        evaluations = torch.full_like(time, slope is None, dtype=torch.int64)
        order, step = torch.ones_like(evaluations), torch.full_like(time, span * _FIRST_STEP)
        active = time != stop
        while bool(active.any()):
            self._require_progress(active, time, step, evaluations)
            last = step.abs() >= (stop - time).abs()
            step, end = torch.where(last, stop - time, step), torch.where(last, stop, time + step)
            h = torch.where(active, step, span)
            guess = state + _first(past.terms(time, h), order)
            seen = past.before(end, field(end, guess))
            terms = seen.terms(time, h)
            new = state + _first(terms, order + 1)
            sizes = self._sizes(terms, state, new)
            taken = active & (sizes.gather(0, order[None])[0] <= 1)
            order, growth = _promised(sizes, order, past.known, taken)
            step, evaluations = step * growth, evaluations + active.long()
            past = past.where(~taken, seen)
            time, state = torch.where(taken, end, time), torch.where(taken[:, None], new, state)
            active = time != stop
            reached(float(((time - start) / span).mean()))
        return state, evaluations

    def _sizes(self, errors: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """The largest entry of errors `(K, B, D)` in units of its tolerance, `(K, B)`; infinite where it is NaN."""
        allowed = self.atol + self.rtol * torch.maximum(old.abs(), new.abs())
        return (errors.abs() / allowed).nan_to_num(nan=torch.inf).amax(2)

    def _require_progress(self, active: Tensor, time: Tensor, step: Tensor, evaluations: Tensor) -> None:
        if bool((active & (time + step == time)).any()):
            raise NonFiniteError("flow", "NaN, infinity or a jump", "a network that is finite and continuous")
        if int(evaluations.max()) + 1 > self.max_evaluations:
            need = f"more, or looser tolerances: {int(active.sum())} examples are not done"
            raise ConfigError("solver.max_evaluations", self.max_evaluations, need)


_FIRST_STEP = 1 / 50
"""Length of the first step tried, as a share of the distance."""

_HIGHEST_ORDER = 6
_AIM = 0.1
"""The error that a step aims at, in units of its tolerance: a tenth, since a refused step costs an evaluation too."""

_GAUSS = np.polynomial.legendre.leggauss(_HIGHEST_ORDER)
_NODES, _WEIGHTS = torch.tensor(_GAUSS[0] / 2 + 0.5), torch.tensor(_GAUSS[1] / 2)
"""The Gauss-Legendre rule from 0 to 1, exact for all the polynomials."""


@dataclass(frozen=True)
class _Past:
    """The newest slopes of each example, the newest first.

    Args:
        times: where they were, `(K, B)`, all different.
        slopes: `(K, B, D)`.
        known: how many of them are no placeholders, `(B,)`.
    """

    times: Tensor
    slopes: Tensor
    known: Tensor

    @classmethod
    def of(cls, time: Tensor, span: float, slope: Tensor) -> "_Past":
        """The one slope at the start, and placeholders at times before."""
        places = span * torch.arange(_HIGHEST_ORDER, dtype=time.dtype, device=time.device)
        slopes = slope.expand(_HIGHEST_ORDER, *slope.shape)
        return cls(time - places[:, None], slopes, torch.ones_like(time, dtype=torch.int64))

    def before(self, time: Tensor, slope: Tensor) -> "_Past":
        """The same with one slope more, the newest."""
        times, slopes = torch.cat([time[None], self.times]), torch.cat([slope[None], self.slopes])
        return _Past(times, slopes, (self.known + 1).clamp(max=_HIGHEST_ORDER))

    def where(self, kept: Tensor, other: "_Past") -> "_Past":
        """The rows that are `kept`, and the newest slopes of `other` in place of the rest."""
        times = torch.where(kept, self.times, other.times[:_HIGHEST_ORDER])
        slopes = torch.where(kept[:, None], self.slopes, other.slopes[:_HIGHEST_ORDER])
        return _Past(times, slopes, torch.where(kept, self.known, other.known))

    def terms(self, time: Tensor, step: Tensor) -> Tensor:
        r"""What the terms of Newton's polynomial add in a step: `(K, B, D)`, the first m for the newest m slopes.

        Term m is $h\,[f_0, …, f_m]\int_0^1 \prod_{i<m}(r - r_i)\,dr$, with divided differences of the slopes at the
        places $r_i$, where the step goes from 0 to 1.
        """
        places, table, terms = (self.times - time) / step, self.slopes, []
        rule, kernel = _WEIGHTS.to(places), torch.ones_like(places[0])[:, None]
        for m in range(len(places)):
            terms.append((step * (kernel * rule).sum(1))[:, None] * table[0])
            kernel = kernel * (_NODES.to(places) - places[m][:, None])
            table = table.diff(dim=0) / (places[m + 1 :] - places[: -m - 1])[..., None]
        return torch.stack(terms)


def _first(terms: Tensor, count: Tensor) -> Tensor:
    """The sum of the first `count` `(B,)` of terms `(K, B, D)`."""
    return terms.where((_index(terms) < count)[..., None], 0).sum(0)


def _promised(sizes: Tensor, order: Tensor, known: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
    """The next order of each example, and the next step as a multiple of this one.

    Args:
        sizes: the error of each order from 0, in units of its tolerance, `(K, B)`; that of order k falls as the power
            k + 1 of the step.
        order: of this step, `(B,)`.
        known: how many slopes were known before it, `(B,)`.
        taken: whether it was accepted, `(B,)`.
    """
    orders = _index(sizes)
    growth = (_AIM / sizes.clamp(min=1e-30)) ** (1 / (orders + 1))
    open_orders = (orders >= order.sub(1).clamp(min=1)) & (orders <= torch.minimum(known, order + taken))
    length, found = growth.where(open_orders, 0).max(0)
    starts = taken & (known == order) & (found == order) & (order < _HIGHEST_ORDER)
    return found + starts, length.clamp(min=0.2).minimum(torch.where(taken, 2.0, 0.9))


def _index(rows: Tensor) -> Tensor:
    """Numbers of the rows, `(K, 1)`."""
    return torch.arange(len(rows), device=rows.device)[:, None]


def _require_finite(values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise NonFiniteError("flow", "NaN or infinity", "a network that is finite at every noise level")
