"""What training says on the display, and the metrics, pictures and summary that it leaves in the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import NonFiniteError
from inkwash.core.text import typed
from inkwash.data import pictures
from inkwash.data.doubts import doubt_lines
from inkwash.model.model import Model
from inkwash.model.watch import draw
from inkwash.training.build import describe_rate
from inkwash.training.cost import Forecast, measure_cost
from inkwash.training.engine import engine_words, tuned
from inkwash.training.lesson import Batch
from inkwash.training.loop import Step, draw_batch, held_out_losses
from inkwash.training.prepare import Prepared
from inkwash.training.resolve import family_of
from inkwash.training.run import Run
from inkwash.training.state import TrainState
from inkwash.training.summary import (
    Extent,
    Summary,
    final_walk,
    fitting_extent,
    held_out_bounds,
    measure_prices,
    seconds,
)
from inkwash.training.tracker import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

_PREVIEW_STEPS = 50


def announce(prepared: Prepared, state: TrainState, display: Display) -> None:
    """Print what the data is, and what was decided for it."""
    for line in _description(prepared, state):
        display.say(line)


def _description(prepared: Prepared, state: TrainState) -> Iterator[str]:
    dataset, config, count = prepared.dataset, prepared.config, len(prepared.examples)
    spec, train = prepared.transform.spec, config.train
    yield f"data      {dataset.name}: {count} to train on, {len(prepared.held_out)} held out"
    for note in (*dataset.notes, *doubt_lines(dataset.doubts), prepared.transform.describe()):
        yield f"          {note}"
    family = family_of(config)
    for name, text in family.describe(config, spec, state.trained).items():
        yield f"{name:<10}{text}"
    steps = f"{train.steps} steps of {train.batch_size} examples on {state.device.type}{engine_words(train)}"
    yield f"training  {steps}; {describe_rate(train)}; {family.goal(config)}"
    if train.augment and train.augment_share:
        share = f"{', '.join(train.augment)}, each in {train.augment_share:.0%} of the examples"
        yield f"          transformed: {share}; the network sees it, and samples are not transformed"
    if count < train.batch_size:
        yield f"          fewer examples ({count}) than a batch: each stands in it several times"
    if not spec.size and spec.shape[0] > 4096:
        entries = f"{spec.shape[0]} entries per example, in no order"
        yield f"          {entries}; images need their height and width, series their layout"


def announce_cost(
    prepared: Prepared, state: TrainState, accelerator: Accelerator, display: Display, report: bool
) -> Forecast:
    """Print what training will cost, and return how long it will take.

    Raises:
        ConfigError: memory does not suffice.
    """
    config, costs = prepared.config.train, []
    for number, stage in enumerate(state.stages):
        state.move_to(number)
        batch_of = partial(_batch_of, state, prepared, accelerator)
        share = len(prepared.examples) // accelerator.num_processes
        with tuned(state.trained, config, state.device):
            costs.append(measure_cost(state, batch_of, config.micro_batch_size, stage.last - stage.first, share))
    forecast = replace(Forecast.unknown(config, state), steps=tuple(cost.seconds for cost in costs))
    if accelerator.is_main_process:
        forecast = _with_reports(forecast, prepared, state, report)
    state.move_to(0)
    for number, cost in enumerate(costs if len(costs) > 1 else ()):
        display.say(f"cost      about {cost.seconds:.2g} s a step of stage {number + 1}; {cost.describe()}")
    step = f"{costs[0].seconds:.2g} s a step, " if len(costs) == 1 else ""
    memory = f"; {costs[0].describe()}" if len(costs) == 1 else ""
    display.say(f"cost      about {step}{forecast.describe()}{memory}")
    return forecast


def _batch_of(state: TrainState, prepared: Prepared, accelerator: Accelerator, step: int) -> Batch:
    """The batch of a step to come; the state does not change."""
    before, state.step = state.step, step
    batch = draw_batch(state, prepared.examples, prepared.config.train, accelerator)
    state.step = before
    return batch


def _with_reports(forecast: Forecast, prepared: Prepared, state: TrainState, report: bool) -> Forecast:
    """A forecast of steps with the looks on the way and, if there is a report, its samples and the summary."""
    look = seconds(lambda: _held_out_losses(prepared, state))
    if not report:
        return replace(forecast, look=look)
    model = prepared.model(state.average)
    prices = measure_prices(prepared, model)
    steps = family_of(prepared.config).preview(prepared.config, _PREVIEW_STEPS).get("steps")
    forecast = replace(forecast, look=look + prices.walk.of(_preview_count(prepared), steps))
    return replace(forecast, summary=fitting_extent(prepared, model, prices, forecast.training).seconds)


def _held_out_losses(prepared: Prepared, state: TrainState) -> list[float]:
    fresh = family_of(prepared.config).proposal(prepared.config)
    return held_out_losses(prepared.config.train, state, fresh, prepared.held_out)


def _preview_count(prepared: Prepared) -> int:
    """How many samples a picture on the way shows."""
    return 64 if prepared.transform.spec.size else 2048


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
        """Choose the average of the weights that has the least loss on held-out data, sample from it into the run, and
        return its loss."""
        losses = _held_out_losses(self.prepared, state)
        state.averages.choose(losses)
        if self.samples:
            self._preview(self.prepared.model(state.average), state.step)
        return losses[state.averages.used]

    def _preview(self, model: Model, step: int) -> None:
        spec, folder = self.prepared.transform.spec, self.run.path / "samples"
        count = _preview_count(self.prepared)
        storage.make_folder(folder)
        config = self.prepared.config
        walk = family_of(config).preview(config, _PREVIEW_STEPS)
        with suppress(NonFiniteError):  # the samples of a young network may grow to infinity: no picture of that
            options: Any = {**walk, **self.prepared.conditions(count)}
            data = draw(model, count, Display(shown=False), seed=0, **options)
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
            model = self.prepared.model(state.average)
            extent = fitting_extent(self.prepared, model, measure_prices(self.prepared, model), state.seconds)
            self.display.say(f"summary   {extent.describe()}")
            self._draw_results(model, extent)
            bounds = held_out_bounds(self.prepared, model, extent, self.display)
            storage.replace(file, storage.dump_json(Summary(*bounds, extent.terms, state.seconds).to_json()))
        if len(state.averages.horizons) > 1:
            self.display.say(f"average   {state.averages.describe()}, the best of them on held-out examples")
        summary = Summary.read(file)
        for line in _closing_words(self.run, summary):
            self.display.say(line)
        self.display.found(run=str(self.run.path), step=state.step, **summary.to_json())
        self.display.wrote(file, self.run.path / "samples.png", self.run.path / "curve.png")

    def _draw_results(self, model: Model, extent: Extent) -> None:
        spec, conditions = self.prepared.transform.spec, self.prepared.conditions(extent.samples)
        options: dict[str, Any] = {"seed": 0, **final_walk(self.prepared, extent), **conditions}
        data = draw(cast(Any, model), extent.samples, self.display, **options)
        pictures.save_samples(self.run.path / "samples.png", spec, data)
        pictures.save_curve(self.run.path / "curve.png", self.run.metrics())


def _closing_words(run: Run, summary: Summary) -> Iterator[str]:
    yield from summary.lines()
    yield f"run       {run.path}"
    yield f"samples   {run.path / 'samples.png'}"
    yield f"curve     {run.path / 'curve.png'}"
    yield f"next      {typed('sample', run.path, '-n', 64, '--out', run.path / 'drawn')}"
    yield f"          {typed('evaluate', run.path)}"
