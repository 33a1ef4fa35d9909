"""Train a model on data, into a run that can be stopped anywhere and resumed: what `inkwash train` does."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inkwash.core import storage
from inkwash.core.config import (
    Config,
    DataConfig,
    DenoiserConfig,
    NetworkConfig,
    ProcessConfig,
    ResolvedConfig,
    TrainConfig,
)
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError, NonFiniteError, RunInterrupted
from inkwash.core.machine import accelerator, keep_freed_memory
from inkwash.core.options import check, first_difference, to_json
from inkwash.core.randomness import Purpose, generator
from inkwash.core.shapes import Array
from inkwash.core.version import __version__
from inkwash.data import pictures
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.readers import source_name
from inkwash.data.rows import take
from inkwash.data.transform import Transform, fit_transform
from inkwash.denoise.denoiser import Denoiser
from inkwash.likelihood.bound import Bound
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Gaussian
from inkwash.process.variance import Analytic
from inkwash.sample.ancestral import DDIM, Ancestral
from inkwash.training.build import (
    build_lattice,
    build_model,
    build_objective,
    build_proposal,
    describe_network,
    describe_process,
    in_use,
)
from inkwash.training.checkpoint import clear_unfinished, list_checkpoints, save_checkpoint
from inkwash.training.cost import measure_cost
from inkwash.training.defaults import require_possible, resolve
from inkwash.training.loop import (
    Examples,
    Step,
    TrainState,
    denoising_loss,
    draw_batch,
    measure_variance,
    rows_of,
    start,
    training,
    with_present,
)
from inkwash.training.run import Header, Run, StrPath, split_indices

if TYPE_CHECKING:
    from accelerate import Accelerator

_MONITORED = 256
_PREVIEW_STEPS = 50
_SUMMARY_EXAMPLES, _SUMMARY_TERMS = 512, 50


def train(
    source: Any,
    out: StrPath | None = None,
    *,
    data: DataConfig | None = None,
    process: ProcessConfig | None = None,
    denoiser: DenoiserConfig | None = None,
    network: NetworkConfig | None = None,
    train: TrainConfig | None = None,
    display: Display | None = None,
    report: bool = True,
) -> Run:
    """Fit a diffusion model to data; called again with the same arguments it resumes, or returns the finished run.

    Args:
        source: the data, by name, by path or as an object; see `inkwash.load_dataset`.
        out: the run's folder; `runs/NAME` by default.
        data: how to read the data.
        process: how data is spread into noise.
        denoiser: what the network's output means.
        network: the network.
        train: how it is trained.
        display: where to say what is done; on standard output by default.
        report: draw samples on the way, and at the end samples, the learning curve and the bound on held-out data.
            Without it the run has its checkpoints and metrics.

    Raises:
        ConfigError: a bad option; nothing has been written.
        DataError: bad data; nothing has been written.
        NonFiniteError: training diverged; the last checkpoint is sound.
        RunInUseError: another trainer holds the run.
        RunInterrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    config = Config(
        source_name(source),
        data or DataConfig(),
        process or ProcessConfig(),
        denoiser or DenoiserConfig(),
        network or NetworkConfig(),
        train or TrainConfig(),
    )
    return fit(config, None if out is None else Path(out), source, display, report)


def fit(
    config: Config,
    out: Path | None = None,
    source: Any = None,
    display: Display | None = None,
    report: bool = True,
) -> Run:
    """`train` for a whole config; the source is that of the config unless it is given."""
    check(config)
    require_possible(config)
    keep_freed_memory()
    dataset = load_dataset(config.source if source is None else source, config.data)
    run = Run(out or Path("runs") / dataset.name)
    job = _Job.prepare(config, dataset, run, accelerator(), report)
    _require_place(run, job)
    main = job.accelerator.is_main_process
    with display if main and display else Display(main) as shown:
        state = job.begin(shown)
        if main:
            storage.make_folder(run.checkpoints)
        with storage.lock(run.path / "lock") if main else nullcontext():
            job.execute(state, shown)
    return run


@dataclass
class _Job:
    """One process's part in training one run."""

    config: ResolvedConfig
    dataset: Dataset
    run: Run
    accelerator: Accelerator
    transform: Transform
    examples: Examples
    held_out: Examples
    fingerprint: str
    report: bool

    @classmethod
    def prepare(
        cls, options: Config, dataset: Dataset, run: Run, accelerator: Accelerator, report: bool = True
    ) -> _Job:
        config = resolve(options, dataset.spec, len(dataset.data))
        if config.train.batch_size % accelerator.num_processes:
            need = f"a multiple of the {accelerator.num_processes} processes"
            raise ConfigError("train.batch_size", config.train.batch_size, need)
        inside, outside = split_indices(len(dataset.data), config.data.held_out, config.data.split_seed)
        condition, given = dataset.condition, None
        if dataset.given is not None:
            given, where = dataset.given.data, f"condition {dataset.given.name}"
            condition = replace(condition, given=fit_transform(dataset.given.spec, given, rows=inside, where=where))
        lattice, kind = build_lattice(config, dataset.spec), config.data.transform
        transform = fit_transform(dataset.spec, dataset.data, lattice, inside, kind)
        _require_every_class(dataset, inside)
        examples, held_out = (
            Examples(dataset.data, part, transform, condition, dataset.labels, given) for part in (inside, outside)
        )
        fingerprint = dataset.fingerprint()
        return cls(config, dataset, run, accelerator, transform, examples, held_out, fingerprint, report)

    def begin(self, display: Display) -> TrainState:
        """The state before training; nothing is written, so that a run that costs too much leaves nothing."""
        state = start(self.config, self.examples, self.accelerator.device)
        self.announce(state, display)
        if not list_checkpoints(self.run.checkpoints):
            self.announce_cost(state, display)
        return state

    def execute(self, state: TrainState, display: Display) -> None:
        """Train from where the run is, under its lock."""
        self.resume(state, display)
        if state.step < self.config.train.steps:
            self.loop(state, display)
        if self.accelerator.is_main_process and self.report:
            self.conclude(state, display)

    def announce(self, state: TrainState, display: Display) -> None:
        """Say what was made of the data and chosen for it."""
        config, spec = self.config, self.transform.spec
        display.say(f"data      {self.dataset.name}: {len(self.examples)} to train on, {len(self.held_out)} held out")
        for note in self.dataset.notes:
            display.say(f"          {note}")
        display.say(f"          {self.transform.describe()}")
        display.say(f"network   {describe_network(config.network, spec.size, state.denoiser)}")
        display.say(f"process   {describe_process(config)}")
        display.say(
            f"training  {config.train.steps} steps of {config.train.batch_size} examples on "
            f"{self.accelerator.device.type}; learning rate {config.train.learning_rate:g}; objective "
            f"{config.train.objective}, times {config.train.times}"
        )
        if len(self.examples) < config.train.batch_size:
            display.say(
                f"          fewer examples ({len(self.examples)}) than a batch: each stands in it several times"
            )
        if not spec.size and spec.shape[0] > 4096:
            display.say(
                f"          {spec.shape[0]} entries per example, in no order; images need their height and width, "
                "series their layout"
            )

    def announce_cost(self, state: TrainState, display: Display) -> None:
        """Say what the run will cost; refuse what memory will not do for."""
        config = self.config.train
        batch = draw_batch(state, self.examples, config, self.accelerator)
        objective = build_objective(self.config, self.transform.lattice)
        cost = measure_cost(state, batch, objective, config.micro_batch_size)
        display.say(f"cost      about {cost.describe(config.steps)}")

    def resume(self, state: TrainState, display: Display) -> None:
        """Continue from the newest checkpoint; a new run writes its first one and continues from that."""
        main = self.accelerator.is_main_process
        if main and not list_checkpoints(self.run.checkpoints):
            self.run.write_start(self.config, self.examples.indices, self.held_out.indices)
            storage.replace(self.run.metrics_file, b"")
            self.save(state)
        self.accelerator.wait_for_everyone()
        header, groups, path = self.run.restore()
        self.require_same(header)
        state.load(groups, str(path))
        state.step, state.skipped, state.seconds = header.step, header.skipped, header.seconds
        if main:
            clear_unfinished(self.run.checkpoints)
            kept = [line for line in self.run.metrics() if line["step"] <= state.step]
            storage.replace(self.run.metrics_file, b"".join(storage.dump_line(line) for line in kept))
        if state.step:
            done = state.step == self.config.train.steps
            display.say(f"{'finished' if done else 'resuming'}  at step {state.step} of {self.config.train.steps}")

    def require_same(self, header: Header) -> None:
        """Refuse to continue a run with other options or data than it was started with."""
        difference = first_difference(self.config, header.config)
        if difference:
            name, got, need = difference
            raise ConfigError(name, got, f"{need}, as the run {self.run.path} was started with (or another --out)")
        if self.fingerprint != header.fingerprint:
            raise ConfigError("data", "other data than before", f"that of the run {self.run.path} (or another --out)")

    def loop(self, state: TrainState, display: Display) -> None:
        """Train, showing progress, saving and looking at samples on the way."""
        config, main = self.config.train, self.accelerator.is_main_process
        model = build_model(self.config, self.transform, state.average, self.examples.condition)
        before, began = state.seconds, time.monotonic()
        window: list[float] = []
        with _stop_signals(main) as caught, display.progress(config.steps, state.step) as bar:
            for done in training(state, self.examples, self.config, self.accelerator):
                if not main:
                    continue
                state.seconds = before + time.monotonic() - began
                window.append(done.loss)
                last = done.step == config.steps
                monitored = done.step % config.monitor_every == 0 or last
                held_out = self.monitor(state, model) if monitored and not caught else None
                bar.update(done.step, done.loss, held_out)
                if done.step % config.log_every == 0 or held_out is not None:
                    self.log(state, done, window, held_out)
                if done.step % config.save_every == 0 or last or caught:
                    self.save(state)
                if caught and not last:
                    message = f"stopped at step {done.step} of {config.steps} and saved; the same command resumes"
                    raise RunInterrupted(message, caught[0])

    def monitor(self, state: TrainState, model: Diffusion) -> float:
        """The loss on held-out data; with a report also draw samples into the run, both with the averaged weights."""
        if self.report:
            self.preview(state, model)
        return held_out_loss(self.config, state, self.held_out, self.accelerator.device)

    def preview(self, state: TrainState, model: Diffusion) -> None:
        """Draw samples into the run."""
        count = 64 if self.transform.spec.size else 2048
        storage.make_folder(self.run.path / "samples")
        sampler = DDIM() if isinstance(model.process, Gaussian) else Ancestral()  # others take no path without draws
        with suppress(NonFiniteError):  # a young network may walk off to infinity: no picture of that
            data = model.sample(count, seed=0, sampler=sampler, steps=_PREVIEW_STEPS, **self.conditions(count))
            pictures.save_samples(self.run.path / "samples" / f"step-{state.step:09d}.png", self.transform.spec, data)

    def conditions(self, count: int) -> dict[str, Any]:
        """What so many samples are asked with: what held-out examples are told by, in turn."""
        return self.dataset.conditions(np.resize(self.held_out.indices, count))

    def log(self, state: TrainState, done: Step, window: list[float], held_out: float | None) -> None:
        """Add a line to the metrics; numbers that are not finite stand as null."""
        finite = [loss for loss in window if loss - loss == 0]
        line: dict[str, Any] = {
            "step": done.step,
            "loss": sum(finite) / len(finite) if finite else None,
            "grad_norm": done.grad_norm if done.finite else None,
            "learning_rate": done.learning_rate,
            "skipped": state.skipped,
            "seconds": round(state.seconds, 3),
        }
        storage.append(
            self.run.metrics_file, storage.dump_line(line | ({} if held_out is None else {"held_out_loss": held_out}))
        )
        window.clear()

    def save(self, state: TrainState) -> None:
        """Write a checkpoint; weights that are not finite are refused."""
        average, seed = state.average, self.config.train.seed
        if isinstance(average, Denoiser) and isinstance(average.variance, Analytic):
            measure_variance(average.variance, in_use(self.config, average), self.examples, seed)
        groups = state.tensors()
        for group in groups.values():
            for name, tensor in group.items():
                if not bool(tensor.isfinite().all()):
                    raise NonFiniteError(f"step {state.step}: {name}", "a weight that is not finite", "finite weights")
        versions = {"inkwash": __version__, "torch": torch.__version__, "python": platform.python_version()}
        header = Header(
            self.config,
            self.transform,
            self.examples.condition,
            self.fingerprint,
            len(self.dataset.data),
            state.step,
            state.skipped,
            state.seconds,
            versions,
        )
        save_checkpoint(self.run.checkpoints, state.step, to_json(header), groups)

    def conclude(self, state: TrainState, display: Display) -> None:
        """Leave a picture of samples, the learning curve and the held-out bound, and say where all is."""
        run = self.run
        model = build_model(self.config, self.transform, state.average, self.examples.condition)
        summary = run.path / "summary.json"
        if not summary.exists():
            display.say("drawing samples and evaluating the bound on held-out data …")
            count = 64 if self.transform.spec.size else 4096
            data = model.sample(count, seed=0, steps=min(250, self.config.process.steps), **self.conditions(count))
            pictures.save_samples(run.path / "samples.png", self.transform.spec, data)
            pictures.save_curve(run.path / "curve.png", run.metrics())
            places = self.held_out.indices[:_SUMMARY_EXAMPLES]
            bounds = held_out_bounds(model, self.dataset, places, terms=_SUMMARY_TERMS)
            parts = {f"{name}_bound": bound_parts(bound) for name, bound in bounds.items()}
            storage.replace(summary, storage.dump_json({**parts, "seconds": state.seconds}))
        plain = storage.parse_json(summary.read_bytes(), str(summary))
        for line in _closing_words(run, plain):
            display.say(line)


def bound_parts(result: Bound) -> dict[str, Any]:
    """Means over examples of a bound and its parts, in bits/dim for data with levels and in nats otherwise."""
    discrete = result.levels is not None
    unit = result.in_bits_per_dim if discrete else (lambda nats: nats)
    parts = {name: getattr(result, name) for name in ("prior", "diffusion", "reconstruction", "total")}
    means = {name: float(unit(value.mean())) for name, value in parts.items()}
    error = float(unit(result.std_error)) if len(result.total) > 1 else None
    return {**means, "std_error": error, "unit": "bits/dim" if discrete else "nats", "examples": len(result.total)}


def held_out_bounds(model: Diffusion, dataset: Dataset, places: Array, **options: Any) -> dict[str, Bound]:
    """The bound on the examples at `places` of the data and, if these have conditions, the one given these."""
    x, told = take(dataset.data, places), dataset.conditions(places)
    bounds = {"held_out": model.bound(x, **options)}
    return bounds | ({"held_out_given_condition": model.bound(x, **told, **options)} if told else {})


def held_out_loss(config: ResolvedConfig, state: TrainState, held_out: Examples, device: torch.device) -> float:
    """Loss of the averaged weights on at most 256 held-out examples, at times and noise that never change."""
    random = generator(config.train.seed, Purpose.MONITOR)
    count = min(len(held_out), _MONITORED)
    objective, process = build_objective(config, held_out.transform.lattice), state.average.process
    x, told = with_present(held_out.take(np.arange(count)), held_out.told(np.arange(count)))
    times, noise = build_proposal(config).draw(count, process.schedule, random), process.noise(x.shape, random)
    losses = []
    with torch.no_grad():
        for rows in torch.arange(count).split(64):
            own_x, own_t, own_noise = (part[rows].to(device) for part in (x, times.t, noise))
            losses.append(denoising_loss(objective, state.average, own_x, own_t, own_noise, rows_of(told, rows)).cpu())
    return float((torch.cat(losses) * times.weight).mean())


def _require_every_class(dataset: Dataset, inside: Array) -> None:
    """Refuse labels with a class of which there is nothing to learn from."""
    classes = dataset.condition.classes
    if dataset.labels is None or classes is None:
        return
    missing = np.flatnonzero(np.bincount(dataset.labels[inside], minlength=len(classes) + 1)[1:] == 0)
    if len(missing):
        got = f"class {classes[missing[0]]!r} among the held-out examples alone"
        raise DataError(f"{dataset.name}: data.labels", got, "examples of every class to train on")


def _closing_words(run: Run, summary: dict[str, Any]) -> Iterator[str]:
    yield f"trained   in {summary['seconds']:.0f} s"
    for name, what in (
        ("held_out", "variational bound"),
        ("held_out_given_condition", "the same, conditional"),
    ):
        bound = summary.get(f"{name}_bound")
        if bound is not None:
            error = "" if bound["std_error"] is None else f" ± {bound['std_error']:.3f}"
            parts = ", ".join(f"{part} {bound[part]:.3f}" for part in ("prior", "diffusion", "reconstruction"))
            yield f"held out  {bound['total']:.3f}{error} {bound['unit']} ({what}, {bound['examples']} examples)"
            yield f"          {parts}"
    yield f"run       {run.path}"
    yield f"samples   {run.path / 'samples.png'}"
    yield f"curve     {run.path / 'curve.png'}"
    yield f"next      inkwash sample {run.path} -n 64 --out {run.path / 'drawn'}"
    yield f"          inkwash evaluate {run.path}"


def _require_place(run: Run, job: _Job) -> None:
    """Check the run's folder before anything is written: new, or a run, of the same options and data."""
    known = {"checkpoints", "config.json", "split.safetensors", "metrics.jsonl", "lock"}
    if run.path.exists() and not list_checkpoints(run.checkpoints):
        inside = run.path.iterdir() if run.path.is_dir() else [run.path]
        if any(each.name.lstrip(".").removesuffix(".new") not in known for each in inside):
            raise ConfigError("out", f"{run.path}, which is no run", "a run's folder, an empty one or a new one")
    elif run.path.exists():
        job.require_same(run.header())


@contextmanager
def _stop_signals(main: bool) -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of stopping; a second one leaves at once.

    Only the main process acts on them: it saves, and when it leaves, the launcher ends the others.
    """
    caught: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if caught:
            os._exit(128 + number)
        if main:
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
