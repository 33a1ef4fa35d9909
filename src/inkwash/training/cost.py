"""What a training run will cost in memory and time: measured before its first step, and revised at each.

The estimate of memory counts the gradients and what the optimizer keeps, which are 12 bytes per weight, or 8 for a
matrix that Muon trains, and what the forward pass keeps for the backward pass, which grows with the number of examples
taken at a time. The weights and their average are in memory already. What the backward pass and the optimizer need only
for a moment is not counted. The estimate is therefore a lower bound: a run that does not fit by it does not fit.

The estimate of time comes from whole steps, which are taken for a few seconds, or for a twentieth of a short run. The
first one, which is slower, does not count. It includes the looks at samples and held-out data, and the summary at the
end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from rich.filesize import decimal
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.machine import free_memory, require_memory
from inkwash.core.resolved import ResolvedTrainConfig
from inkwash.core.shapes import event_size
from inkwash.training.build import count_parameters
from inkwash.training.lesson import Batch, Stage
from inkwash.training.prepare import Prepared
from inkwash.training.resolve import family_of
from inkwash.training.state import TrainState

_MOST_SECONDS, _SHARE = 3.0, 0.05
_REMEMBERED = 50
_SMALLER = "a smaller network: network.width, network.depth"


@dataclass(frozen=True)
class Cost:
    """The cost of a training step.

    Args:
        weights: bytes for gradients, moments and everything else that does not grow with the examples.
        example: bytes that each example keeps for the backward pass.
        rows: the number of examples taken at a time.
        free: bytes that were free before.
        seconds: the time of a step.
    """

    weights: int
    example: int
    rows: int
    free: int
    seconds: float

    def describe(self) -> str:
        """The memory in words."""
        memory = f"{decimal(self.weights + self.rows * self.example)} of memory, of {decimal(self.free)} free"
        return f"{memory} ({decimal(self.weights)} for the weights, {decimal(self.example)} per example)"


@dataclass(frozen=True)
class Forecast:
    """How long a run takes, in seconds.

    Args:
        stages: the stages of training.
        steps: of a step of each stage.
        every: how many steps are between looks at samples and held-out data; there is one after the last step.
        look: of a look.
        summary: of the summary at the end.
    """

    stages: Sequence[Stage]
    steps: tuple[float, ...]
    every: int
    look: float = 0.0
    summary: float = 0.0

    @classmethod
    def unknown(cls, config: ResolvedTrainConfig, state: TrainState) -> Forecast:
        """That of a run of which nothing has been measured."""
        return cls(state.stages, (0.0,) * len(state.stages), config.monitor_every)

    @property
    def training(self) -> float:
        """How long training takes, without the summary."""
        return self.left(0) - self.summary

    def left(self, step: int) -> float:
        """How long all of it takes after a number of steps."""
        spans = [max(stage.last - max(step, stage.first), 0) for stage in self.stages]
        steps = sum(span * each for span, each in zip(spans, self.steps, strict=True))
        return steps + self.looks(step) * self.look + self.summary

    def looks(self, step: int = 0) -> int:
        """How many looks there are after a number of steps."""
        last = self.stages[-1].last
        return last // self.every - step // self.every + (last % self.every > 0 and step < last)

    def describe(self) -> str:
        """All of it in words."""
        looks = f"{self.looks()} look{'s' if self.looks() > 1 else ''} of {_words(self.look)}"
        summary = f" and a summary of {_words(self.summary)}" if self.summary else ""
        return f"{timedelta(seconds=round(self.left(0)))} in all, with {looks}{summary}"


def _words(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds >= 1 else f"{seconds:.1g} s"


class Pace:
    """How long a run still takes: as forecast, and as it turns out.

    Args:
        forecast: what was measured before; its steps may be 0 where nothing was.
    """

    def __init__(self, forecast: Forecast) -> None:
        self.forecast, self._look = forecast, _Mean()
        self._steps = [_Mean() for _ in forecast.stages]
        self._since, self._stage = time.perf_counter(), -1

    def stepped(self, step: int) -> None:
        """A step is done, counted from 1. The first one of a stage or a process is slower, and does not count."""
        before, lap = self._stage, self._lap()
        self._stage = next(number for number, stage in enumerate(self.forecast.stages) if step <= stage.last)
        if before == self._stage:
            self._steps[self._stage].add(lap)

    def rested(self, looked: bool) -> None:
        """What follows a step is done too, with a look or without one."""
        if looked:
            self._look.add(self._lap())
        self._lap()

    def _lap(self) -> float:
        before, self._since = self._since, time.perf_counter()
        return self._since - before

    def left(self, step: int) -> float:
        """How many seconds are left after a number of steps."""
        old, latest = self.forecast, max((k for k, mean in enumerate(self._steps) if mean.count), default=0)
        usual = self._steps[latest].of(old.steps[latest])
        ratio = usual / old.steps[latest] if old.steps[latest] else 1.0
        forecast = zip(self._steps, old.steps, strict=True)
        steps = tuple(mean.of(each * ratio or usual) for mean, each in forecast)
        return Forecast(old.stages, steps, old.every, self._look.of(old.look), old.summary * ratio).left(step)


class _Mean:
    """A mean that forgets what is long past."""

    def __init__(self) -> None:
        self.count, self.value = 0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / min(self.count, _REMEMBERED)

    def of(self, usual: float) -> float:
        """The mean, or the usual value as long as there is none."""
        return self.value if self.count else usual


def require_weights_fit(prepared: Prepared, processes: int) -> None:
    """Check that weights, gradients, moments and averages, and a batch, fit into memory, before any of them is made.

    Args:
        prepared: what training starts from.
        processes: how many share a batch.

    Raises:
        ConfigError: they do not fit.
    """
    config, transform = prepared.config, prepared.transform
    with torch.device("meta"):
        trained = family_of(config).build(config, transform, prepared.examples.condition)
    moments = 1 if config.train.optimizer == "muon" else 2  # at least
    require_memory("weights of the network", count_parameters(trained), 4 * (2 + moments + len(config.train.ema)))
    require_memory("train.batch_size", config.train.batch_size // processes, 8 * event_size(transform.spec.shape))


def measure_cost(state: TrainState, draw: Callable[[int], Batch], rows: int, steps: int, examples: int) -> Cost:
    """Measure the cost of a step; the state does not change.

    Args:
        state: the state before the step.
        draw: draws the share of this process in the batch of a step, by its number.
        rows: how many examples to take at a time.
        steps: how many steps there will be.
        examples: how many examples this process has. What is remembered of one saves time when it is met again.

    Raises:
        ConfigError: memory does not suffice. On a GPU this means that it does not suffice for a single example, since
            training there takes fewer at a time if it must.
    """
    batch = draw(0)
    trial, rows = _Trial(state, batch), min(rows, len(batch.x))
    (fixed, example), free = trial.kept_bytes(), free_memory(batch.x.device)
    weights = state.optimizer.nbytes() + fixed
    fitting = max(free - weights, 0) // example
    if fitting < (1 if batch.x.is_cuda else rows):
        got = f"{rows}, which takes {decimal(weights + rows * example)} of memory, with {decimal(free)} free"
        raise ConfigError("train.micro_batch_size", got, f"at most {fitting}" if fitting else _SMALLER)
    rows = min(rows, fitting)
    while not trial.fits(rows):
        if rows == 1:
            raise ConfigError("train.micro_batch_size", "1, and no memory for it", _SMALLER)
        rows //= 2
    new = min(examples / (steps * len(batch.x)), 1.0)
    return Cost(weights, example, rows, free, _seconds_of(lambda k: _Trial(state, draw(k)).step(rows), steps, new))


def _seconds_of(step: Callable[[int], None], steps: int, new: float) -> float:
    """The mean time of a step, of so many that there will be, a share of which meets examples that are new."""
    step(0)  # warms up
    first = again = 0.0
    count = 0
    while not count or first + again < min(_MOST_SECONDS, _SHARE * steps * (first + again) / (2 * count)):
        count += 1
        first, again = first + _seconds(step, count), again + _seconds(step, count)
    return (new * first + (1 - new) * again) / count


def _seconds(step: Callable[[int], None], number: int) -> float:
    began = time.perf_counter()
    step(number)
    return time.perf_counter() - began


@dataclass(frozen=True)
class _Trial:
    """A step on the first examples of a batch, which changes nothing."""

    state: TrainState
    batch: Batch

    def loss(self, rows: int) -> Tensor:
        """The mean loss of the first `rows` examples."""
        devices = [self.batch.x.device] if self.batch.x.is_cuda else []
        with torch.random.fork_rng(devices):  # dropout takes random numbers
            return self.state.stage.lesson.loss(self.state.trained, self.batch.part(slice(rows))).mean()

    def kept_bytes(self) -> tuple[int, int]:
        """Bytes that the forward pass keeps beside the weights: for any number of examples, and for each example."""
        most = min(len(self.batch.x), 4)
        few = most // 2
        less = self._kept_bytes(few) if few else 0
        each = (self._kept_bytes(most) - less) // (most - few)
        return less - few * each, each

    def _kept_bytes(self, rows: int) -> int:
        sizes = {p.untyped_storage().data_ptr(): 0 for p in self.state.trained.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes.setdefault(storage.data_ptr(), min(storage.nbytes(), tensor.nbytes))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _alive = self.loss(rows)
        return sum(sizes.values())

    def fits(self, rows: int) -> bool:
        """Whether there is memory for the forward and backward pass over the first `rows` examples."""
        try:
            self.loss(rows).backward()
        except torch.OutOfMemoryError:
            return False
        finally:
            self.state.optimizer.zero_grad()
        return True

    def step(self, rows: int) -> None:
        """All that a step does, over `rows` examples at a time, with gradients of 0 and a learning rate of 0."""
        devices = [self.batch.x.device] if self.batch.x.is_cuda else []
        with torch.random.fork_rng(devices):
            for part in self.batch.parts(rows):
                self.state.stage.lesson.loss(self.state.trained, part).sum().backward()
        parameters = list(self.state.trained.parameters())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self._update(parameters)
        if self.batch.x.is_cuda:
            torch.cuda.synchronize(self.batch.x.device)

    @torch.no_grad()
    def _update(self, parameters: Sequence[Tensor]) -> None:
        optimizer, rates = self.state.optimizer, [group["lr"] for group in self.state.optimizer.param_groups]
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        for slow, fast in zip(self.state.average.parameters(), parameters, strict=True):
            slow.lerp_(fast, 0.0)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        optimizer.zero_grad()
        optimizer.state.clear()
