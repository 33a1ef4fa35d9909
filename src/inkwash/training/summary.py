"""What closes a training run: samples and the bound on held-out data, as much of both as a tenth of its time allows.

The cost is that of evaluating the network. A walk evaluates it once a step for each slot of samples, and the bound once
a term for each slot of examples; both are measured on one slot. Samples get two fifths of the time. If it is too short
for all steps of all samples, these walk as the pictures on the way do, in fewer steps, and then there are fewer of
them. The bound gets the rest. First it loses terms, as these add least to its precision, and then examples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError, NonFiniteError
from inkwash.core.options import from_json
from inkwash.core.progress import tracked
from inkwash.core.randomness import Slots
from inkwash.data.rows import take
from inkwash.likelihood.bound import MeanBound
from inkwash.model.model import Model
from inkwash.sample.walk import StepOptions
from inkwash.training.prepare import Prepared
from inkwash.training.resolve import family_of

SHARE, LEAST_SECONDS = 0.1, 5.0
"""The summary takes at most this share of the time of training, and may in any case take so many seconds."""
_CAREFUL = 0.8  # of the time that is allowed: what is measured on one slot may be too little
_OF_SAMPLES = 0.4
_STEPS, _FEWEST_STEPS = 250, 25
_EXAMPLES, _TERMS, _FEWEST_TERMS = 512, 50, 10
_TRIAL = 8


@dataclass(frozen=True)
class Price:
    """Seconds for one slot of something that evaluates the network many times.

    Args:
        rows: how many examples a slot has.
        start: what does not depend on the number of evaluations.
        each: an evaluation.
    """

    rows: int
    start: float
    each: float

    def of(self, count: int, evaluations: int | None) -> float:
        """Seconds for so many examples, with so many evaluations of each."""
        return math.ceil(count / self.rows) * (self.start + (evaluations or 0) * self.each)

    def fitting(self, allowed: float, wanted: int, most: int | None, fewest: int) -> tuple[int, int | None]:
        """How many examples, of those wanted, and evaluations of each, of at most so many, fit into a time."""
        slots = math.ceil(wanted / self.rows)
        if most is not None:
            most = min(most, max(int((allowed / slots - self.start) / self.each), min(fewest, most)))
        one = self.start + (most or 0) * self.each
        return min(wanted, min(slots, max(int(allowed / one), 1)) * self.rows), most


@dataclass(frozen=True)
class Prices:
    """What a model of some family costs.

    Args:
        walk: samples and the steps of their walk.
        bound: the bounds of examples, without their conditions and given them, and their terms.
    """

    walk: Price
    bound: Price


@dataclass(frozen=True)
class Extent:
    """How much the summary looks at.

    Args:
        samples: how many samples are taken.
        steps: the steps that each takes; None for a model without a walk.
        examples: on how many held-out examples the bound is evaluated.
        terms: how many terms of it are evaluated for each; None if it has none.
        seconds: how long all of it takes.
    """

    samples: int
    steps: int | None
    examples: int
    terms: int | None
    seconds: float

    def describe(self) -> str:
        """What is done, in words."""
        steps = "" if self.steps is None else f" in {self.steps} steps"
        terms = "" if self.terms is None else f" in {self.terms} terms each"
        what = f"sampling {self.samples}{steps}, and evaluating the bound of {self.examples} held-out examples{terms}"
        return f"{what}: about {timedelta(seconds=math.ceil(self.seconds))}"


def measure_prices(prepared: Prepared, model: Model) -> Prices:
    """Measure what sampling and the bound cost."""
    shapes = [model.shape] if model.steps == 1 else [model.shape, getattr(model, "latents", model).shape]
    rows = max(Slots(shape, model.device).rows for shape in shapes)
    walk = family_of(prepared.config).preview(prepared.config, _TRIAL)
    x, conditions = _held_out(prepared, min(rows, len(prepared.held_out)))

    def sample(steps: int) -> Any:
        own = {**walk, "steps": steps} if walk else {}
        return model.sample(rows, seed=0, **{**own, **prepared.conditions(rows)})

    def bound(terms: int) -> Any:
        return model.bound(x, **({"terms": terms} if model.steps > 1 else {}))

    bounds = 1 + bool(conditions)
    return Prices(_price(sample, rows, bool(walk)), _price(bound, rows, model.steps > 1, bounds))


def _price(call: Callable[[int], Any], rows: int, counts: bool, times: int = 1) -> Price:
    """The price of a call, made so many times, that may depend on a number of evaluations."""
    call(1)  # is slower than the others
    little = seconds(lambda: call(1))
    if not counts:
        return Price(rows, times * little, 0.0)
    much = seconds(lambda: call(_TRIAL))
    each = max((much - little) / (_TRIAL - 1), much / (4 * _TRIAL))  # however uneven the machine is
    return Price(rows, times * max(much - _TRIAL * each, 0.0), times * each)


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes; it may fail for numbers that are not finite, as untrained networks do."""
    began = time.perf_counter()
    with suppress(NonFiniteError):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def fitting_extent(prepared: Prepared, model: Model, prices: Prices, training: float) -> Extent:
    """How much the summary of a training of so many seconds looks at."""
    allowed = max(SHARE * training, LEAST_SECONDS) * _CAREFUL
    most_steps = family_of(prepared.config).walk(prepared.config, _STEPS).get("steps")
    fewest = prepared.config.sampling.steps or _FEWEST_STEPS  # what the user decides is not for us to change
    samples, steps = prices.walk.fitting(allowed * _OF_SAMPLES, sample_count(prepared), most_steps, fewest)
    spent, most = prices.walk.of(samples, steps), min(_EXAMPLES, len(prepared.held_out))
    most_terms = min(_TERMS, model.steps - 1) if model.steps > 1 else None
    examples, terms = prices.bound.fitting(max(allowed - spent, 0.0), most, most_terms, _FEWEST_TERMS)
    return Extent(samples, steps, examples, terms, spent + prices.bound.of(examples, terms))


def sample_count(prepared: Prepared) -> int:
    """How many samples the closing picture shows, if time allows."""
    return 64 if prepared.transform.spec.size else 4096


def final_walk(prepared: Prepared, extent: Extent) -> StepOptions:
    """The steps of the closing samples: those of the model, or if there is no time for them, those of a preview."""
    family, config = family_of(prepared.config), prepared.config
    walk = family.walk(config, _STEPS)
    return walk if walk.get("steps") == extent.steps else family.preview(config, extent.steps or 1)


def held_out_bounds(
    prepared: Prepared, model: Model, extent: Extent, display: Display
) -> tuple[MeanBound, MeanBound | None]:
    """The bound on held-out examples and, if these have conditions, the one given them, with a bar.

    Raises:
        NonFiniteError: a bound is not finite.
    """
    x, conditions = _held_out(prepared, extent.examples)
    terms: Any = {} if extent.terms is None else {"terms": extent.terms}
    given = [{}, conditions] if conditions else [{}]
    with display.bar("evaluating the bound on held-out data"):
        found = [_finite(model.bound(x, **terms, **each).mean()) for each in tracked(given)]
    return found[0], found[1] if conditions else None


def _finite(bound: MeanBound) -> MeanBound:
    if not math.isfinite(bound.total):
        raise NonFiniteError("held-out bound", f"{bound.total:g}", "a finite number; try a lower train.learning_rate")
    return bound


def _held_out(prepared: Prepared, count: int) -> tuple[Any, Any]:
    """The first held-out examples, in data units, and their conditions."""
    indices = prepared.held_out.indices[:count]
    return take(prepared.dataset.data, indices), prepared.dataset.conditions(indices)


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds.

    Args:
        held_out_bound: the bound on held-out examples, without their conditions.
        held_out_given_condition_bound: the bound given their conditions; None, and not in the file, without conditions.
        bound_terms: how many terms were evaluated for each example; None, and not in the file, if there are none.
        seconds: the time spent in training.
    """

    held_out_bound: MeanBound
    held_out_given_condition_bound: MeanBound | None
    bound_terms: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def read(cls, file: Path) -> Summary:
        """Read a summary.

        Raises:
            CheckpointError: the file is damaged.
        """
        plain = storage.parse_json(file.read_bytes(), str(file))
        try:
            return from_json(cls, {"held_out_given_condition_bound": None, "bound_terms": None, **plain})
        except (ConfigError, TypeError) as error:
            raise CheckpointError(str(file), f"no summary ({error})", "the file as inkwash wrote it") from None

    def lines(self) -> Iterator[str]:
        """The summary in words."""
        yield f"trained   in {self.seconds:.0f} s"
        yield from self._bound_lines(self.held_out_bound, "variational bound")
        if self.held_out_given_condition_bound is not None:
            yield from self._bound_lines(self.held_out_given_condition_bound, "the same, conditional")

    def _bound_lines(self, bound: MeanBound, name: str) -> Iterator[str]:
        error = "" if bound.std_error is None else f" ± {bound.std_error:.3f}"
        terms = "" if self.bound_terms is None else f", {self.bound_terms} terms of each"
        yield f"held out  {bound.total:.3f}{error} {bound.unit} ({name}, {bound.examples} examples{terms})"
        yield "          " + ", ".join(f"{part} {value:.3f}" for part, value in bound.parts.items())
