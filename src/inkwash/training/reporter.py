"""What training says on the display, and the metrics, pictures and summary that it leaves in the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError, NonFiniteError
from inkwash.core.options import from_json
from inkwash.data import pictures
from inkwash.data.rows import take
from inkwash.likelihood.bound import MeanBound
from inkwash.model.model import Model
from inkwash.training.cost import measure_cost
from inkwash.training.loop import Step, draw_batch, held_out_loss
from inkwash.training.prepare import Prepared
from inkwash.training.resolve import family_of
from inkwash.training.run import Run
from inkwash.training.state import TrainState
from inkwash.training.tracker import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

_PREVIEW_STEPS, _SAMPLE_STEPS = 50, 250
_SUMMARY_EXAMPLES, _SUMMARY_TERMS = 512, 50


def announce(prepared: Prepared, state: TrainState, display: Display) -> None:
    """Print what the data is, and what was decided for it."""
    for line in _description(prepared, state):
        display.say(line)


def _description(prepared: Prepared, state: TrainState) -> Iterator[str]:
    dataset, config, count = prepared.dataset, prepared.config, len(prepared.examples)
    spec, train = prepared.transform.spec, config.train
    yield f"data      {dataset.name}: {count} to train on, {len(prepared.held_out)} held out"
    for note in (*dataset.notes, prepared.transform.describe()):
        yield f"          {note}"
    family = family_of(config)
    for name, text in family.describe(config, spec, state.trained).items():
        yield f"{name:<10}{text}"
    steps = f"{train.steps} steps of {train.batch_size} examples on {state.device.type}"
    yield f"training  {steps}; learning rate {train.learning_rate:g}; {family.goal(config)}"
    if count < train.batch_size:
        yield f"          fewer examples ({count}) than a batch: each stands in it several times"
    if not spec.size and spec.shape[0] > 4096:
        entries = f"{spec.shape[0]} entries per example, in no order"
        yield f"          {entries}; images need their height and width, series their layout"


def announce_cost(prepared: Prepared, state: TrainState, accelerator: Accelerator, display: Display) -> None:
    """Print what training will cost.

    Raises:
        ConfigError: memory does not suffice.
    """
    config, stages = prepared.config.train, state.stages
    for number, stage in enumerate(stages):
        state.move_to(number)
        batch = draw_batch(state, prepared.examples, config, accelerator)
        cost = measure_cost(state, batch, config.micro_batch_size)
        which = f"; stage {number + 1}" if len(stages) > 1 else ""
        display.say(f"cost      about {cost.describe(stage.last - stage.first)}{which}")
    state.move_to(0)


class Reporter:
    """Keeps the metrics of a training run, samples on the way, and sums up at the end.

    Args:
        prepared: what training starts from.
        run: where metrics and pictures go.
        display: where words go.
        samples: whether to sample from the model, on the way and at the end.
        tracker: where metrics and pictures go as well.
    """

    def __init__(
        self, prepared: Prepared, run: Run, display: Display, samples: bool = True, tracker: Tracker | None = None
    ) -> None:
        self.prepared, self.run, self.display, self.samples = prepared, run, display, samples
        self.tracker = tracker or Tracker()
        self._losses: list[float] = []  # since the last line of metrics

    def look(self, state: TrainState) -> float:
        """Sample from the averaged weights into the run, and return their loss on held-out data."""
        if self.samples:
            self._preview(self.prepared.model(state.average), state.step)
        fresh = family_of(self.prepared.config).proposal(self.prepared.config)
        return held_out_loss(self.prepared.config.train, state, fresh, self.prepared.held_out)

    def _preview(self, model: Model, step: int) -> None:
        spec, folder = self.prepared.transform.spec, self.run.path / "samples"
        count = 64 if spec.size else 2048
        storage.make_folder(folder)
        config = self.prepared.config
        walk = family_of(config).preview(config, _PREVIEW_STEPS)
        with suppress(NonFiniteError):  # the samples of a young network may grow to infinity: no picture of that
            data = model.sample(count, seed=0, **{**walk, **self.prepared.conditions(count)})
            pictures.save_samples(folder / f"step-{step:09d}.png", spec, data)
            self.tracker.picture(folder / f"step-{step:09d}.png", step)

    def log(self, state: TrainState, done: Step, held_out: float | None) -> None:
        """Note the loss of a step; write a line of metrics if one is due, or if there is a held-out loss.

        A line has the mean of the finite losses since the last line. Null stands for a number that is not finite.
        """
        self._losses.append(done.loss)
        if done.step % self.prepared.config.train.log_every and held_out is None:
            return
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        line: dict[str, Any] = {
            "step": done.step,
            "loss": sum(finite) / len(finite) if finite else None,
            "grad_norm": done.grad_norm if done.finite else None,
            "learning_rate": done.learning_rate,
            "skipped": state.skipped,
            "seconds": round(state.seconds, 3),
        }
        if held_out is not None:
            line["held_out_loss"] = held_out
        storage.append(self.run.metrics_file, storage.dump_line(line))
        self.tracker.log(line)
        self._losses.clear()

    def conclude(self, state: TrainState) -> None:
        """Sample from the trained model, draw the learning curve, evaluate the held-out bound, and print the results.

        What an earlier call has left in the run is only printed.
        """
        if not self.samples:
            return
        file = self.run.path / "summary.json"
        if not file.exists():
            self.display.say("sampling, and evaluating the bound on held-out data …")
            model = self.prepared.model(state.average)
            self._draw_results(model)
            summary = Summary(*self._held_out_bounds(model), state.seconds)
            storage.replace(file, storage.dump_json(summary.to_json()))
        for line in _closing_words(self.run, Summary.read(file)):
            self.display.say(line)

    def _draw_results(self, model: Model) -> None:
        spec, config = self.prepared.transform.spec, self.prepared.config
        count, walk = 64 if spec.size else 4096, family_of(config).walk(config, _SAMPLE_STEPS)
        data = model.sample(count, seed=0, **{**walk, **self.prepared.conditions(count)})
        pictures.save_samples(self.run.path / "samples.png", spec, data)
        pictures.save_curve(self.run.path / "curve.png", self.run.metrics())

    def _held_out_bounds(self, model: Model) -> tuple[MeanBound, MeanBound | None]:
        """The bound on held-out examples and, if these have conditions, the one given them."""
        indices = self.prepared.held_out.indices[:_SUMMARY_EXAMPLES]
        x, conditions = take(self.prepared.dataset.data, indices), self.prepared.dataset.conditions(indices)
        terms = {"terms": _SUMMARY_TERMS} if model.steps > 1 else {}
        bound = model.bound(x, **terms).mean()
        return bound, model.bound(x, **terms, **conditions).mean() if conditions else None


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds.

    Args:
        held_out_bound: the bound on held-out examples, without their conditions.
        held_out_given_condition_bound: the bound given their conditions; None, and not in the file, without conditions.
        seconds: the time spent in training.
    """

    held_out_bound: MeanBound
    held_out_given_condition_bound: MeanBound | None
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
            return from_json(cls, {"held_out_given_condition_bound": None, **plain})
        except (ConfigError, TypeError) as error:
            raise CheckpointError(str(file), f"no summary ({error})", "the file as inkwash wrote it") from None


def _closing_words(run: Run, summary: Summary) -> Iterator[str]:
    yield f"trained   in {summary.seconds:.0f} s"
    yield from _bound_words(summary.held_out_bound, "variational bound")
    if summary.held_out_given_condition_bound is not None:
        yield from _bound_words(summary.held_out_given_condition_bound, "the same, conditional")
    yield f"run       {run.path}"
    yield f"samples   {run.path / 'samples.png'}"
    yield f"curve     {run.path / 'curve.png'}"
    yield f"next      inkwash sample {run.path} -n 64 --out {run.path / 'drawn'}"
    yield f"          inkwash evaluate {run.path}"


def _bound_words(bound: MeanBound, name: str) -> Iterator[str]:
    error = "" if bound.std_error is None else f" ± {bound.std_error:.3f}"
    yield f"held out  {bound.total:.3f}{error} {bound.unit} ({name}, {bound.examples} examples)"
    yield "          " + ", ".join(f"{part} {value:.3f}" for part, value in bound.parts.items())
