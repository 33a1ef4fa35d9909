"""How probable a model finds data: its variational bound by part and by time, over-fitting, the exact log-density.

Numbers are in the unit of the report: bits per dimension for data with levels, nats per example otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inkwash.core.display import Display
from inkwash.core.options import to_json
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionKeywords
from inkwash.evaluation.finding import Finding, Grade, is_beyond
from inkwash.evaluation.subject import FEWEST, Subject
from inkwash.likelihood.bound import Bound, MeanBound
from inkwash.likelihood.flow import EXACT_UP_TO
from inkwash.likelihood.ode import Adaptive
from inkwash.model.diffusion import Diffusion
from inkwash.model.latent_model import LatentModel
from inkwash.model.shares import results_of
from inkwash.process.gaussian import Gaussian

_SOLVER = Adaptive(rtol=1e-3, atol=1e-3)  # its error is far below the standard error over examples
_EXACT_ENTRIES = 8192
_DRAWS, _DECODED_ENTRIES = 100, 1 << 16
_WALKED_DRAWS, _WALKED_ENTRIES = 4, 2048
TERMS = 100
"""Terms of the bound where the options leave them open."""


@dataclass(frozen=True)
class BoundByTime:
    """What each stretch of time adds to the bound, a mean over examples.

    Args:
        time_edges: the K + 1 times that separate the stretches, decreasing.
        held_out: K numbers for held-out data.
        train: K numbers for training data; None where that is not known.
    """

    time_edges: list[float]
    held_out: list[float]
    train: list[float] | None


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
class Importance:
    """The negative log-likelihood of held-out data by importance sampling of the latent.

    Args:
        held_out: mean over examples. On average the estimate is too high.
        std_error: standard error of the mean.
        draw_error: mean standard error of an example's estimate, from its draws.
        effective_draws: what the draws of an example are worth, a mean; if it is near 1, do not trust the estimate.
        draws: number of draws of the latent of each example.
        unit: that of the bound.
        examples: number of examples.
    """

    held_out: float
    std_error: float
    draw_error: float
    effective_draws: float
    draws: int
    unit: str
    examples: int


@dataclass(frozen=True)
class Likelihood(Finding):
    """The bound, over-fitting and the exact log-density.

    Args:
        bound: by set: `held_out`, `train` and, if examples have conditions, `held_out_given_condition`.
        bound_by_time: of held-out and training data.
        overfitting: difference of the two bounds; None where training data is not known.
        log_density: None for data or models without one, and for large examples.
        importance: None for models without a latent, and for large latents that are walked to.
        each: what each example adds to the bounds, by set, to `log_density` and to `importance`, in their units; it is
            not written.
    """

    bound: dict[str, MeanBound]
    bound_by_time: BoundByTime
    overfitting: Overfitting | None
    log_density: LogDensity | None
    importance: Importance | None
    each: dict[str, Array] = field(default_factory=dict)

    def to_json(self) -> Any:
        plain = to_json(replace(self, each={}))
        del plain["each"]
        return plain

    def grades(self) -> dict[str, Grade]:
        found = {
            f"bound, {name.replace('_', ' ')}": Grade(bound.total, "low", bound.unit, self.each.get(name))
            for name, bound in self.bound.items()
        }
        if self.overfitting is not None:
            held_out, train = self.each.get("held_out"), self.each.get("train")
            found["over-fitting"] = Grade(self.overfitting.gap, "low", self.unit, held_out, train)
        if self.log_density is not None:
            each = self.each.get("log_density")
            found["log-density"] = Grade(self.log_density.held_out, "high", self.log_density.unit, each)
        if self.importance is not None:
            each = self.each.get("importance")
            found["likelihood"] = Grade(self.importance.held_out, "low", self.importance.unit, each)
        return found

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
        if (found := self.importance) is not None:
            yield (
                f"likelihood    held out {found.held_out:.3f} ± {found.std_error:.3f} {found.unit} (by importance "
                f"sampling; {found.draws} draws of z, worth {found.effective_draws:.1f}; {found.examples} examples)"
            )
        if (gap := self.overfitting) is not None:
            yield f"over-fitting  held out - train = {gap.gap:.3f} ± {gap.std_error:.3f} {self.unit}"

    def warnings(self) -> Iterator[str]:
        gap = self.overfitting
        if gap is not None and is_beyond(gap.gap, gap.std_error):
            yield f"over-fitting: the bound is {gap.gap:.3f} {self.unit} worse on held-out data than on training data"


def measure_likelihood(subject: Subject, display: Display) -> Likelihood:
    """The bound of held-out and training data, and the exact log-density of held-out data."""
    display.say("evaluating the bound …")
    parts, condition = subject.parts, subject.held_out_condition
    needed = condition if subject.needs_condition else None
    tasks: list[Callable[[], Any]] = [
        lambda: _bound(subject, parts.held_out, needed),
        lambda: _bound(subject, parts.train) if subject.is_trained_on else None,
        lambda: _bound(subject, parts.held_out, condition) if condition and not needed else None,
        lambda: _log_density(subject, display),
        lambda: _importance(subject, display),
    ]
    with display.bar("evaluating the bound"):
        held_out, train, given_condition, (log_density, densities), (importance, likelihoods) = results_of(tasks)
    every = {"held_out": held_out, "train": train, "held_out_given_condition": given_condition}
    bounds = {name: bound for name, bound in every.items() if bound is not None}
    each = {name: (bound.total * _unit(bound)).cpu().numpy() for name, bound in bounds.items()}
    return Likelihood(
        bound={name: bound.mean() for name, bound in bounds.items()},
        bound_by_time=BoundByTime(held_out.time_edges.tolist(), _per_time(held_out), train and _per_time(train)),
        overfitting=train and _overfitting(held_out, train),
        log_density=log_density,
        importance=importance,
        each=each | {"log_density": densities, "importance": likelihoods},
    )


def _bound(subject: Subject, x: Array, condition: ConditionKeywords | None = None) -> Bound:
    config = subject.config
    steps = math.inf if config.bound_steps == "inf" else config.bound_steps
    seed = derived_seed(config.seed, Purpose.EVALUATE)
    terms = {"steps": steps, "terms": config.bound_terms or TERMS} if subject.model.steps > 1 else {}
    return subject.model.bound(x, seed=seed, **{**terms, **(condition or {})})


def _unit(bound: Bound) -> float:
    """Nats per example times this number are in the unit of the report."""
    return 1.0 if bound.levels is None else 1 / (bound.dims * math.log(2))


def _per_time(bound: Bound) -> list[float]:
    return (bound.per_time.mean(0) * _unit(bound)).tolist()


def _overfitting(held_out: Bound, train: Bound) -> Overfitting:
    gap = float(held_out.total.mean() - train.total.mean()) * _unit(held_out)
    error = math.hypot(float(held_out.std_error), float(train.std_error)) * _unit(held_out)
    return Overfitting(gap, error)


_NONE: tuple[None, Array] = None, np.zeros(0)


def _log_density(subject: Subject, display: Display) -> tuple[LogDensity | None, Array]:
    """The density of vectors of at most 64 real numbers, over as many examples without gaps as take little time; and
    that of each example."""
    size, model = math.prod(subject.spec.shape), subject.model
    if not subject.spec.is_real.all() or size > EXACT_UP_TO or not isinstance(model, Diffusion):
        return _NONE
    if not isinstance(model.process, Gaussian):
        return _NONE
    held_out = subject.parts.held_out
    held_out = held_out[~np.isnan(held_out).reshape(len(held_out), -1).any(1)][: max(_EXACT_ENTRIES // size, FEWEST)]
    if len(held_out) < FEWEST:
        return _NONE
    display.say("evaluating the exact log-density …")
    result = model.log_prob(held_out, solver=_SOLVER)
    count = len(result.value)
    error = float(result.value.std()) / math.sqrt(count)
    evaluations = float(result.evaluations.double().mean())
    found = LogDensity(float(result.value.mean()), error, "nats", count, evaluations)
    return found, result.value.double().cpu().numpy()


def _importance(subject: Subject, display: Display) -> tuple[Importance | None, Array]:
    """The likelihood of as many held-out examples as take little time, for a model with a latent whose density is known
    or, if it is walked to, has few entries; and that of each example."""
    model = subject.model
    if not isinstance(model, LatentModel):
        return _NONE
    draws, entries, size = _DRAWS, _DECODED_ENTRIES, math.prod(model.shape)
    if model.steps > 1:
        draws, entries, size = _WALKED_DRAWS, _WALKED_ENTRIES, math.prod(model.latents.shape)
        if size > EXACT_UP_TO:
            return _NONE
    display.say("estimating the likelihood …")
    x = subject.parts.held_out[: max(entries // size, FEWEST)]
    found = model.log_prob(x, draws=draws, seed=derived_seed(subject.config.seed, Purpose.EVALUATE))
    discrete = model.autoencoder.lattice is not None
    unit = 1 / (math.prod(model.shape) * math.log(2)) if discrete else 1.0
    importance = Importance(
        held_out=-float(found.value.mean()) * unit,
        std_error=float(found.value.std()) / math.sqrt(len(x)) * unit,
        draw_error=float(found.std_error.mean()) * unit,
        effective_draws=float(found.effective_draws.mean()),
        draws=draws,
        unit="bits/dim" if discrete else "nats",
        examples=len(x),
    )
    return importance, -found.value.double().cpu().numpy() * unit
