"""How probable a model finds data: its variational bound by part and by time, over-fitting, the exact log-density.

Numbers are in the unit of the report: bits per dimension for data with levels, nats per example otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inkwash.core.display import Display
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionKeywords
from inkwash.evaluation.finding import Finding, is_beyond
from inkwash.evaluation.subject import FEWEST, Subject
from inkwash.likelihood.bound import Bound, MeanBound
from inkwash.likelihood.flow import EXACT_UP_TO
from inkwash.likelihood.ode import Adaptive
from inkwash.process.gaussian import Gaussian

_SOLVER = Adaptive(rtol=1e-3, atol=1e-3)  # its error is far below the standard error over examples
_EXACT_ENTRIES = 8192


@dataclass(frozen=True)
class BoundByTime:
    """What each stretch of time adds to the bound, a mean over examples.

    Args:
        time_edges: the K + 1 times that separate the stretches, decreasing.
        held_out: K numbers for held-out data.
        train: K numbers for training data.
    """

    time_edges: list[float]
    held_out: list[float]
    train: list[float]


@dataclass(frozen=True)
class Overfitting:
    """Held-out bound minus training bound, and its standard error."""

    gap: float
    std_error: float


@dataclass(frozen=True)
class LogDensity:
    """The exact log-density of held-out data, along the probability-flow ODE.

    Args:
        held_out: mean over examples.
        std_error: standard error of the mean.
        unit: nats.
        examples: number of examples.
        evaluations: mean number of evaluations of the network per example.
    """

    held_out: float
    std_error: float
    unit: str
    examples: int
    evaluations: float


@dataclass(frozen=True)
class Likelihood(Finding):
    """The bound, over-fitting and the exact log-density.

    Args:
        bound: by set: `held_out`, `train` and, if examples have conditions, `held_out_given_condition`.
        bound_by_time: of held-out and training data.
        overfitting: difference of the two bounds.
        log_density: None for data or processes without one, and for large examples.
    """

    bound: dict[str, MeanBound]
    bound_by_time: BoundByTime
    overfitting: Overfitting
    log_density: LogDensity | None

    @property
    def unit(self) -> str:
        """The unit of the bounds."""
        return self.bound["held_out"].unit

    def lines(self) -> Iterator[str]:
        for name, bound in self.bound.items():
            error = "" if bound.std_error is None else f" ± {bound.std_error:.3f}"
            parts = ", ".join(f"{part} {value:.3f}" for part, value in bound.parts.items())
            total = f"{bound.total:.3f}{error} {bound.unit}"
            yield f"{name.replace('_', ' '):<13} {total} ({parts}; {bound.examples} examples)"
        if (exact := self.log_density) is not None:
            yield (
                f"log-density   held out {exact.held_out:.3f} ± {exact.std_error:.3f} nats (exact, by the flow; "
                f"{exact.examples} examples)"
            )
        gap = self.overfitting
        yield f"over-fitting  held out - train = {gap.gap:.3f} ± {gap.std_error:.3f} {self.unit}"

    def warnings(self) -> Iterator[str]:
        gap = self.overfitting
        if is_beyond(gap.gap, gap.std_error):
            yield f"over-fitting: the bound is {gap.gap:.3f} {self.unit} worse on held-out data than on training data"


def measure_likelihood(subject: Subject, display: Display) -> Likelihood:
    """The bound of held-out and training data, and the exact log-density of held-out data."""
    display.say("evaluating the bound …")
    parts, condition = subject.parts, subject.held_out_condition
    held_out, train = (_bound(subject, x) for x in (parts.held_out, parts.train))
    bounds = {"held_out": held_out, "train": train}
    if condition:
        bounds["held_out_given_condition"] = _bound(subject, parts.held_out, condition)
    return Likelihood(
        bound={name: bound.mean() for name, bound in bounds.items()},
        bound_by_time=BoundByTime(held_out.time_edges.tolist(), _per_time(held_out), _per_time(train)),
        overfitting=_overfitting(held_out, train),
        log_density=_log_density(subject, display),
    )


def _bound(subject: Subject, x: Array, condition: ConditionKeywords | None = None) -> Bound:
    config = subject.config
    steps = math.inf if config.bound_steps == "inf" else config.bound_steps
    seed = derived_seed(config.seed, Purpose.EVALUATE)
    return subject.model.bound(x, steps=steps, terms=config.bound_terms, seed=seed, **(condition or {}))


def _unit(bound: Bound) -> float:
    """Nats per example times this number are in the unit of the report."""
    return 1.0 if bound.levels is None else 1 / (bound.dims * math.log(2))


def _per_time(bound: Bound) -> list[float]:
    return (bound.per_time.mean(0) * _unit(bound)).tolist()


def _overfitting(held_out: Bound, train: Bound) -> Overfitting:
    gap = float(held_out.total.mean() - train.total.mean()) * _unit(held_out)
    error = math.hypot(float(held_out.std_error), float(train.std_error)) * _unit(held_out)
    return Overfitting(gap, error)


def _log_density(subject: Subject, display: Display) -> LogDensity | None:
    """The density of vectors of at most 64 real numbers, over as many examples without gaps as take little time."""
    size, model = math.prod(subject.spec.shape), subject.model
    if not subject.spec.is_real.all() or size > EXACT_UP_TO or not isinstance(model.process, Gaussian):
        return None
    held_out = subject.parts.held_out
    held_out = held_out[~np.isnan(held_out).reshape(len(held_out), -1).any(1)][: max(_EXACT_ENTRIES // size, FEWEST)]
    if len(held_out) < FEWEST:
        return None
    display.say("evaluating the exact log-density …")
    result = model.log_prob(held_out, solver=_SOLVER)
    count = len(result.value)
    error = float(result.value.std()) / math.sqrt(count)
    return LogDensity(float(result.value.mean()), error, "nats", count, float(result.evaluations.double().mean()))
