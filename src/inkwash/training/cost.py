"""What a training run will cost, measured before its first step: memory, and time per step.

Memory: the gradients and AdamW's two moments, 12 bytes per weight, and what the forward pass keeps for the backward
pass, which grows with the examples taken at a time. The weights and their average are in memory already. What
the backward pass needs for a moment is not counted, so that the estimate is a lower one, and what does not fit by it
does not fit. Time: one forward and backward pass, without the optimizer and the data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from rich.filesize import decimal
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.training.build import count_parameters
from inkwash.training.loop import Batch, TrainState, denoising_loss, rows_of
from inkwash.training.objective import Objective

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Cost:
    """What a training step takes.

    Args:
        weights: bytes for gradients and moments, and what else does not grow with the examples.
        example: bytes kept for the backward pass, per example.
        rows: examples taken at a time.
        free: bytes that were free before.
        seconds: of a step's forward and backward passes.
    """

    weights: int
    example: int
    rows: int
    free: int
    seconds: float

    def describe(self, steps: int) -> str:
        """The cost of so many steps in one line."""
        memory = f"{decimal(self.weights + self.rows * self.example)} of memory, of {decimal(self.free)} free"
        parts = f"{decimal(self.weights)} for the weights, {decimal(self.example)} per example"
        whole = timedelta(seconds=round(steps * self.seconds))
        return f"{self.seconds:.2g} s a step, {whole} in all; {memory} ({parts})"


def measure_cost(state: TrainState, batch: Batch, objective: Objective, rows: int) -> Cost:
    """Measure the cost of a step; nothing of the state changes.

    Args:
        state: before the step.
        batch: of the step, this process's share.
        objective: what training lowers.
        rows: how many examples are to be taken at a time.

    Raises:
        ConfigError: the memory will not do, on a GPU for a single example: there training makes do with fewer at a
            time.
    """
    loss, rows = _Loss(state, batch, objective), min(rows, len(batch.x))
    (fixed, example), free = loss.kept(), free_memory(batch.x.device)
    weights = 12 * count_parameters(state.denoiser) + fixed
    fitting = max(free - weights, 0) // example
    if fitting < (1 if batch.x.is_cuda else rows):
        got = f"{rows}, which takes {decimal(weights + rows * example)} of memory, with {decimal(free)} free"
        raise ConfigError("train.micro_batch_size", got, f"at most {fitting}" if fitting else "a smaller network")
    rows = min(rows, fitting)
    while (timed := loss.seconds(rows)) is None:
        if rows == 1:
            raise ConfigError("train.micro_batch_size", "1, and no memory for it", "a smaller network")
        rows //= 2
    return Cost(weights, example, rows, free, timed * len(batch.x) / rows)


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still have: of the GPU, or of the machine and of the container it runs in."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    used = psutil.Process().memory_info().rss
    limits = [Path(name).read_text().strip() for name in _LIMITS if Path(name).exists()]
    return min([psutil.virtual_memory().available, *(int(limit) - used for limit in limits if limit.isdecimal())])


class _Loss:
    """The loss of the first rows of a batch, as training would take it."""

    def __init__(self, state: TrainState, batch: Batch, objective: Objective) -> None:
        self.state, self.batch, self.objective = state, batch, objective

    def __call__(self, rows: int) -> Tensor:
        part, batch = slice(rows), self.batch
        told = rows_of(batch.told, part)
        devices = [batch.x.device] if batch.x.is_cuda else []
        with torch.random.fork_rng(devices):  # dropout draws
            return denoising_loss(
                self.objective, self.state.denoiser, batch.x[part], batch.times.t[part], batch.noise[part], told
            ).mean()

    def kept(self) -> tuple[int, int]:
        """Bytes that the forward pass keeps beside the weights: for any number of examples, and for each."""
        most = min(len(self.batch.x), 4)
        few = most // 2
        less = self._kept(few) if few else 0
        each = (self._kept(most) - less) // (most - few)
        return less - few * each, each

    def _kept(self, rows: int) -> int:
        held = {p.untyped_storage().data_ptr(): 0 for p in self.state.denoiser.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            held.setdefault(storage.data_ptr(), min(storage.nbytes(), tensor.nbytes))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _alive = self(rows)
        return sum(held.values())

    def seconds(self, rows: int) -> float | None:
        """Time of a forward and backward pass over so many rows; None if memory ran out."""
        began = time.perf_counter()
        try:
            self(rows).backward()
        except torch.OutOfMemoryError:
            self.state.optimizer.zero_grad()
            return None
        if self.batch.x.is_cuda:
            torch.cuda.synchronize(self.batch.x.device)
        self.state.optimizer.zero_grad()
        return time.perf_counter() - began
