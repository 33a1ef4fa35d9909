"""Train a model on data, into a run that can be stopped anywhere and resumed: what `inkwash train` does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from inkwash.core import storage
from inkwash.core.config import (
    AutoencoderConfig,
    Config,
    DataConfig,
    DenoiserConfig,
    ModelName,
    NetworkConfig,
    ProcessConfig,
    SamplingConfig,
    TrainConfig,
)
from inkwash.core.display import Display
from inkwash.core.errors import RunInterrupted
from inkwash.core.machine import accelerator as this_process, flushed_denormals, keep_freed_memory
from inkwash.core.progress import reached
from inkwash.data.readers import source_name
from inkwash.training.checkpoint import list_checkpoints
from inkwash.training.cost import Forecast, Pace, require_weights_fit
from inkwash.training.group import Group
from inkwash.training.loop import training
from inkwash.training.prepare import Prepared, prepare
from inkwash.training.reporter import Reporter, announce, announce_cost
from inkwash.training.run import Run, StrPath
from inkwash.training.shards import settings
from inkwash.training.state import TrainState, start
from inkwash.training.tracker import tracking


def train(
    source: Any,
    out: StrPath | None = None,
    *,
    config: Config | None = None,
    data: DataConfig | None = None,
    process: ProcessConfig | None = None,
    denoiser: DenoiserConfig | None = None,
    network: NetworkConfig | None = None,
    train: TrainConfig | None = None,
    sampling: SamplingConfig | None = None,
    model: ModelName | None = None,
    autoencoder: AutoencoderConfig | None = None,
    display: Display | None = None,
    report: bool = True,
) -> Run:
    """Fit a model to data: a diffusion model, a variational autoencoder, or a diffusion model of its latents.

    Called again with the same arguments, it resumes the run, or returns it if it is finished.

    Args:
        source: the data, by name, by path or as an object; see `inkwash.load_dataset`.
        out: the run's folder; `runs/NAME` by default.
        config: the options to start from, such as those of `inkwash.presets`. A section that is passed as well replaces
            the section of the config; the source does in any case.
        data: how to read the data.
        process: how data is turned into noise.
        denoiser: what the network's output means.
        network: the network.
        train: how to train it.
        sampling: how samples are taken by default, on the way and afterwards.
        model: which kind of model; a diffusion model by default.
        autoencoder: the encoder and decoder of models that have them.
        display: where to print what is done; standard output by default.
        report: whether to sample from the model on the way and, at the end, to leave samples, the learning curve and
            the bound on held-out data. Without a report the run holds its checkpoints and metrics.

    Raises:
        ConfigError: an option is bad; nothing has been written.
        DataError: the data is bad; nothing has been written.
        NonFiniteError: training diverged; the last checkpoint is sound.
        RunInUseError: another trainer holds the run.
        RunInterrupted: Ctrl-C or SIGTERM stopped training, after saving.
    """
    base = config or Config()
    options = replace(
        base,
        source=source_name(source),
        data=data or base.data,
        process=process or base.process,
        denoiser=denoiser or base.denoiser,
        network=network or base.network,
        train=train or base.train,
        sampling=sampling or base.sampling,
        model=model or base.model,
        autoencoder=autoencoder or base.autoencoder,
    )
    return fit(options, None if out is None else Path(out), source, display, report)


@flushed_denormals()
def fit(
    config: Config,
    out: Path | None = None,
    source: Any = None,
    display: Display | None = None,
    report: bool = True,
) -> Run:
    """`train` for a complete config, whose own source is read unless another `source` is passed."""
    keep_freed_memory()
    prepared, group = prepare(config, source), Group(this_process(), shards=settings())
    group.require_agreement(prepared)
    run = Run(out or Path("runs") / prepared.dataset.name)
    run.require_place(prepared)
    if not group.shards:
        require_weights_fit(prepared, group.size)
    with display if group.main and display else Display(group.main) as shown:
        state = start(prepared.config, prepared.examples, group.home)
        announce(prepared, state, shown)
        if group.size > 1:
            shown.say(f"processes {group.describe(prepared.config.train.batch_size)}")
        forecast = Forecast.unknown(prepared.config.train, state)
        if not list_checkpoints(run.checkpoints) and not group.shards:  # a run that costs too much writes nothing
            forecast = announce_cost(prepared, state, group.accelerator, shown, report)
        if group.main:
            storage.make_folder(run.checkpoints)
        with storage.lock(run.path / "lock") if group.main else nullcontext():
            _resume(state, prepared, run, group, shown)
            if state.step < prepared.config.train.steps:
                with tracking(run.path, prepared.config, state.step) if group.main else nullcontext() as tracker:
                    reporter = Reporter(prepared, run, shown, report, tracker)
                    _train(state, prepared, run, group, reporter, Pace(forecast))
            if group.main:
                with group.on_device(state):
                    Reporter(prepared, run, shown, report).conclude(state)
    return run


def _resume(state: TrainState, prepared: Prepared, run: Run, group: Group, display: Display) -> None:
    """Bring a state to the newest checkpoint of its run; a new run first writes the checkpoint that it starts from."""
    steps = prepared.config.train.steps
    if group.main and not list_checkpoints(run.checkpoints):
        run.begin(prepared, state)
    group.wait()
    run.resume(prepared, state)
    if group.main:
        run.discard_after(state.step)
    if state.step:
        display.say(f"{'finished' if state.step == steps else 'resuming'}  at step {state.step} of {steps}")


def _train(state: TrainState, prepared: Prepared, run: Run, group: Group, reporter: Reporter, pace: Pace) -> None:
    """Train from the step of a state to the last one; the main process shows progress, logs and saves on the way."""
    config, began, kept = prepared.config.train, time.monotonic() - state.seconds, state
    state = group.shared(state)
    bar_of = reporter.display.progress(config.steps, state.step)
    with _stop_signals() as caught, bar_of as bar, group.noticing_loss():
        for done in training(state, prepared.examples, config, group.accelerator):
            pace.stepped(done.step)
            state.seconds = time.monotonic() - began
            last = done.step == config.steps
            is_look_due = done.step % config.monitor_every == 0 or last
            if is_look_due:
                group.collect(state, kept)
            if group.main:
                held_out = _look(kept, group, reporter) if is_look_due and not caught else None
                pace.rested(held_out is not None)
                bar.update(done.step, done.loss, held_out, pace.left(done.step))
                reached(done.step / config.steps)
                reporter.log(state, done, held_out)
            stop = 0 if last else group.agreed_signal(caught)
            if done.step % config.save_every == 0 or last or stop:
                group.collect(state, kept)
                if group.main:
                    run.save(prepared, kept)
            if stop:
                group.wait()  # for the checkpoint: when one process ends, its launcher ends the others
                message = f"stopped at step {done.step} of {config.steps} and saved; the same command resumes"
                raise RunInterrupted(message, stop)
        group.wait()


def _look(state: TrainState, group: Group, reporter: Reporter) -> float:
    with group.on_device(state):
        return reporter.look(state)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of stopping; a second one ends the process at once."""
    caught: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if caught:
            os._exit(128 + number)
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
