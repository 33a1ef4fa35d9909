"""The processes that train one model together: what they must agree on, and how they stop.

Each computes every step on its share of the batch. The first of them writes. What only one of them knows, such as a
signal that it caught, becomes known to all at the end of a step, so that all stop after the same one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object

from inkwash.core.errors import ConfigError, ProcessLostError
from inkwash.core.options import first_difference
from inkwash.training.prepare import Prepared
from inkwash.training.shards import collect, require_shardable, sharded
from inkwash.training.state import TrainState

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin

_TRANSPORTS = ("gloo", "NCCL", "nccl", "onnection closed", "onnection reset")
"""Words of an error with which torch reports that another process does not answer."""


@dataclass(frozen=True)
class Group:
    """The processes that train together; a single one is a group as well.

    Args:
        accelerator: this process, and its place among them.
        parent: the process that started this one, if there are several; they end when it has ended.
        shards: accelerate's settings if each process holds a share of the state; see `inkwash.training.shards`.
    """

    accelerator: Accelerator
    parent: int = field(default_factory=os.getppid)
    shards: FullyShardedDataParallelPlugin | None = None

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.accelerator.is_main_process

    @property
    def home(self) -> torch.device:
        """Where a state without shares lives."""
        return torch.device("cpu") if self.shards else self.accelerator.device

    def describe(self, batch_size: int) -> str:
        """How the processes share a batch, in words."""
        shards = "" if self.shards is None else "; each holds a share of weights, gradients, moments and average"
        return f"{self.size} take {batch_size // self.size} examples of each step, by {_backend()}{shards}"

    def require_agreement(self, prepared: Prepared) -> None:
        """Check that the processes can share a batch equally, and that they do the same.

        Raises:
            ConfigError: they cannot, or this process has other options or other data than the first one.
        """
        batch_size = prepared.config.train.batch_size
        if batch_size % self.size:
            raise ConfigError("train.batch_size", batch_size, f"a multiple of the {self.size} processes")
        if self.shards:
            require_shardable(prepared.config, self.size)
        if self.size == 1:
            return
        config, fingerprint = gather_object([(prepared.config, prepared.fingerprint)])[0]
        if difference := first_difference(prepared.config, config):
            name, got, need = difference
            raise ConfigError(name, got, f"{need}, as process 0 has")
        if prepared.fingerprint != fingerprint:
            raise ConfigError("data", f"other data in process {self.accelerator.process_index}", "that of process 0")

    def shared(self, state: TrainState) -> TrainState:
        """The state that this process trains: its shares of a state, if it holds shares, and otherwise the state."""
        return state if self.shards is None else sharded(state, self.shards, self.accelerator)

    def collect(self, state: TrainState, kept: TrainState) -> None:
        """Bring `kept`, from which a state was shared, up to date in the first process."""
        if self.shards is not None and kept.step < state.step:
            collect(state, kept)

    @contextmanager
    def on_device(self, kept: TrainState) -> Iterator[None]:
        """Have the networks of a state without shares on the device, to sample from them and to evaluate them."""
        for network in (kept.trained, kept.average):
            network.to(self.accelerator.device)
        yield
        for network in (kept.trained, kept.average):
            network.to(self.home)

    def wait(self) -> None:
        """Wait until every process has come here."""
        self.accelerator.wait_for_everyone()

    def agreed_signal(self, caught: list[int]) -> int:
        """The number of the signal after which all processes stop, the same in all; 0 if there is none.

        Args:
            caught: signals that this process has caught.
        """
        if self.size == 1:
            return max(caught, default=0)
        orphaned = os.getppid() != self.parent
        own = torch.tensor([max(caught, default=signal.SIGTERM if orphaned else 0)], device=self.accelerator.device)
        return int(self.accelerator.gather(own).max())

    @contextmanager
    def noticing_loss(self) -> Iterator[None]:
        """Turn torch's error about a process that does not answer into a `ProcessLostError`."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not any(word in str(error) for word in _TRANSPORTS):
                raise
            got = f"no answer from one of {self.size}"
            raise ProcessLostError("processes", got, "all of them; the same command resumes") from error


def _backend() -> str:
    return str(torch.distributed.get_backend())
