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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError, NonFiniteError
from inkwash.core.options import from_json
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
_TRIAL_STEPS = 4


@dataclass(frozen=True)
class Price:
    """Seconds for one slot, of a model of some family.

    Args:
        rows: how many examples a slot has.
        step: a step of a walk, or all of sampling if there is no walk.
        term: a term of the bound, or all of it if it has none.
        bounds: how many bounds there are: without conditions, and given them.
    """

    rows: int
    step: float
    term: float
    bounds: int

    def of_samples(self, count: int, steps: int | None) -> float:
        """Seconds for so many samples in so many steps each."""
        return math.ceil(count / self.rows) * (steps or 1) * self.step

    def of_bounds(self, examples: int, terms: int | None) -> float:
        """Seconds for the bounds on so many examples of so many terms each."""
        return math.ceil(examples / self.rows) * ((terms or 0) + 1) * self.term * self.bounds


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


def measure_price(prepared: Prepared, model: Model) -> Price:
    """Measure what sampling and the bound cost."""
    shapes = [model.shape] if model.steps == 1 else [model.shape, getattr(model, "latents", model).shape]
    rows = max(Slots(shape, model.device).rows for shape in shapes)
    walk = family_of(prepared.config).preview(prepared.config, _TRIAL_STEPS)
    x, conditions = _held_out(prepared, min(rows, len(prepared.held_out)))

    def sample(steps: int) -> Callable[[], Any]:
        own = {**walk, "steps": steps} if walk else {}
        return lambda: model.sample(rows, seed=0, **{**own, **prepared.conditions(rows)})

    def bound(terms: int) -> Callable[[], Any]:
        return lambda: model.bound(x, **({"terms": terms} if model.steps > 1 else {}))

    seconds(sample(1))  # a first call is slower
    step = seconds(sample(_TRIAL_STEPS)) / (_TRIAL_STEPS if walk else 1)
    seconds(bound(1))
    term = seconds(bound(_TRIAL_STEPS)) / (_TRIAL_STEPS + 1 if model.steps > 1 else 1)
    return Price(rows, step, term, 1 + bool(conditions))


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes; it may fail for numbers that are not finite, as untrained networks do."""
    began = time.perf_counter()
    with suppress(NonFiniteError):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def extent(prepared: Prepared, model: Model, price: Price, training: float) -> Extent:
    """How much the summary of a training of so many seconds looks at."""
    allowed = max(SHARE * training, LEAST_SECONDS) * _CAREFUL
    most_steps = family_of(prepared.config).walk(prepared.config, _STEPS).get("steps")
    fewest = prepared.config.sampling.steps or _FEWEST_STEPS  # what the user decides is not for us to change
    samples, steps = _fitting(allowed * _OF_SAMPLES, price.step, sample_count(prepared), price.rows, most_steps, fewest)
    spent, most = price.of_samples(samples, steps), min(_EXAMPLES, len(prepared.held_out))
    most_terms = min(_TERMS, model.steps - 1) if model.steps > 1 else None
    term = price.term * price.bounds
    examples, terms = _fitting(allowed - spent, term, most, price.rows, most_terms, _FEWEST_TERMS)
    return Extent(samples, steps, examples, terms, spent + price.of_bounds(examples, terms))


def _fitting(
    allowed: float, price: float, wanted: int, rows: int, most: int | None, fewest: int
) -> tuple[int, int | None]:
    """How many examples, of those wanted, and evaluations of each, of at most so many, fit into a time."""
    slots, calls = math.ceil(wanted / rows), allowed / max(price, 1e-9)
    if most is not None:
        most = min(most, max(int(calls / slots), min(fewest, most)))
    slots = min(slots, max(int(calls / (most or 1)), 1))
    return min(wanted, slots * rows), most


def sample_count(prepared: Prepared) -> int:
    """How many samples the closing picture shows, if time allows."""
    return 64 if prepared.transform.spec.size else 4096


def final_walk(prepared: Prepared, chosen: Extent) -> StepOptions:
    """The steps of the closing samples: those of the model, or if there is no time for them, those of a preview."""
    family, config = family_of(prepared.config), prepared.config
    walk = family.walk(config, _STEPS)
    return walk if walk.get("steps") == chosen.steps else family.preview(config, chosen.steps or 1)


def held_out_bounds(
    prepared: Prepared, model: Model, chosen: Extent, display: Display
) -> tuple[MeanBound, MeanBound | None]:
    """The bound on held-out examples and, if these have conditions, the one given them, with a bar."""
    x, conditions = _held_out(prepared, chosen.examples)
    terms: Any = {} if chosen.terms is None else {"terms": chosen.terms}
    price = Price(Slots(model.shape, model.device).rows, 1.0, 1.0, 1 + bool(conditions))
    with _evaluations(model, round(price.of_bounds(len(x), chosen.terms)), display):
        bound = model.bound(x, **terms).mean()
        return bound, model.bound(x, **terms, **conditions).mean() if conditions else None


def _held_out(prepared: Prepared, count: int) -> tuple[Any, Any]:
    """The first held-out examples, in data units, and their conditions."""
    indices = prepared.held_out.indices[:count]
    return take(prepared.dataset.data, indices), prepared.dataset.conditions(indices)


@contextmanager
def _evaluations(model: Model, total: int, display: Display) -> Iterator[None]:
    """A bar of the evaluations of the network of a model, of which there will be so many."""
    network: Any = getattr(getattr(model, "latents", model), "denoiser", None)
    done = 0
    with display.bar("evaluating the bound on held-out data") as advance:

        def note(*given: Any) -> None:
            nonlocal done
            done += 1
            advance(min(done / total, 1.0))

        handle = network.register_forward_hook(note) if isinstance(network, nn.Module) else None
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()


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
