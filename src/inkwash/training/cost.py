"""What a training run will cost in memory and time, measured before its first step.

The estimate of memory counts the gradients and AdamW's two moments, which are 12 bytes per weight, and what the forward
pass keeps for the backward pass, which grows with the number of examples taken at a time. The weights and their average
are in memory already. What the backward pass needs only for a moment is not counted. The estimate is therefore a lower
bound: a run that does not fit by it does not fit. The estimate of time is that of one forward and backward pass,
without the optimizer and the data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import torch
from rich.filesize import decimal
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.training.build import count_parameters
from inkwash.training.lesson import Batch
from inkwash.training.state import TrainState

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Cost:
    """The cost of a training step.

    Args:
        weights: bytes for gradients, moments and everything else that does not grow with the examples.
        example: bytes that each example keeps for the backward pass.
        rows: the number of examples taken at a time.
        free: bytes that were free before.
        seconds: the time of the forward and backward passes of a step.
    """

    weights: int
    example: int
    rows: int
    free: int
    seconds: float

    def describe(self, steps: int) -> str:
        """The cost of a number of steps in one line."""
        memory = f"{decimal(self.weights + self.rows * self.example)} of memory, of {decimal(self.free)} free"
        parts = f"{decimal(self.weights)} for the weights, {decimal(self.example)} per example"
        duration = timedelta(seconds=round(steps * self.seconds))
        return f"{self.seconds:.2g} s a step, {duration} in all; {memory} ({parts})"


def measure_cost(state: TrainState, batch: Batch, rows: int) -> Cost:
    """Measure the cost of a step; the state does not change.

    Args:
        state: the state before the step.
        batch: the share of this process in the step's batch.
        rows: how many examples to take at a time.

    Raises:
        ConfigError: memory does not suffice. On a GPU this means that it does not suffice for a single example, since
            training there takes fewer at a time if it must.
    """
    trial, rows = _Trial(state, batch), min(rows, len(batch.x))
    (fixed, example), free = trial.kept_bytes(), free_memory(batch.x.device)
    weights = 12 * count_parameters(state.trained) + fixed
    fitting = max(free - weights, 0) // example
    if fitting < (1 if batch.x.is_cuda else rows):
        got = f"{rows}, which takes {decimal(weights + rows * example)} of memory, with {decimal(free)} free"
        raise ConfigError("train.micro_batch_size", got, f"at most {fitting}" if fitting else "a smaller network")
    rows = min(rows, fitting)
    while (seconds := trial.seconds(rows)) is None:
        if rows == 1:
            raise ConfigError("train.micro_batch_size", "1, and no memory for it", "a smaller network")
        rows //= 2
    return Cost(weights, example, rows, free, seconds * len(batch.x) / rows)


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still have: those of the GPU, or those of the machine and of its container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    used = psutil.Process().memory_info().rss
    limits = [Path(name).read_text().strip() for name in _LIMITS if Path(name).exists()]
    return min([psutil.virtual_memory().available, *(int(limit) - used for limit in limits if limit.isdecimal())])


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

    def seconds(self, rows: int) -> float | None:
        """The time of a forward and backward pass over the first `rows` examples; None if memory ran out."""
        began = time.perf_counter()
        try:
            self.loss(rows).backward()
        except torch.OutOfMemoryError:
            self.state.optimizer.zero_grad()
            return None
        if self.batch.x.is_cuda:
            torch.cuda.synchronize(self.batch.x.device)
        self.state.optimizer.zero_grad()
        return time.perf_counter() - began
