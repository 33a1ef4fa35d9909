"""The processes that were started together: how each of them learns its place among the others.

A launcher tells each process its place by environment variables, under names of its own. Here they become those of
torchrun, which torch and accelerate read: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and
`MASTER_PORT`. This module imports nothing heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from inkwash.core.errors import ConfigError

_OURS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_MPI = "OMPI_COMM_WORLD"


@dataclass(frozen=True)
class Launcher:
    """What starts several processes.

    Args:
        name: what the user types.
        variables: the names of the variables that hold the number of this process, how many there are, and the same
            two numbers among those of its machine.
        binds: whether it can show each process GPUs of its own.
    """

    name: str
    variables: tuple[str, str, str, str]
    binds: bool = True

    def place(self, environment: Mapping[str, str]) -> Place | None:
        """The place that the variables describe, if all of them are there; of a list, such as `2(x3)`, the first."""
        found = [re.match(r"\d+", environment.get(name, "")) for name in self.variables]
        rank, size, local_rank, local_size = (int(number[0]) if number else -1 for number in found)
        return Place(rank, size, local_rank, local_size, self) if all(found) else None


LAUNCHERS = (
    Launcher("torchrun", _OURS, binds=False),
    Launcher("mpirun", (f"{_MPI}_RANK", f"{_MPI}_SIZE", f"{_MPI}_LOCAL_RANK", f"{_MPI}_LOCAL_SIZE")),
    Launcher("mpiexec", ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")),
    Launcher("srun", ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")),
)
"""Known launchers; `accelerate launch` uses torchrun's names. One that another may have started comes first."""


@dataclass(frozen=True)
class Place:
    """The place of this process among those that were started together.

    Args:
        rank: its number, from 0.
        size: how many processes there are.
        local_rank: its number among those of its machine.
        local_size: how many processes its machine has.
        launcher: what started them; None: nothing did, and there is one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: Launcher | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """The place that environment variables describe."""
        places = (launcher.place(environment) for launcher in LAUNCHERS)
        return next((place for place in places if place), cls())

    def require_gpu(self, gpus: int) -> None:
        """Raise a `ConfigError` if this process would share a GPU with another, of the `gpus` that it sees."""
        has_own = self.launcher is not None and self.launcher.binds and gpus == 1
        if self.local_rank >= gpus and not has_own:
            need = f"at most {gpus}, one for each GPU (or the CPU, by ACCELERATE_USE_CPU=true)"
            raise ConfigError("processes", f"{self.local_size} on one machine", need)


def this_place() -> Place:
    """The place of this process.

    Raises:
        ConfigError: accelerate was asked for several processes and has started one, or a variable is missing.
    """
    place = Place.of(os.environ)
    if place.launcher is not None:
        return place
    if {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= set(os.environ):  # accelerate sets both for several processes
        got = "one, which is all that accelerate launch starts here"
        raise ConfigError("processes", got, "torchrun --nproc_per_node NUMBER -m inkwash …")
    missing = [name for name in _OURS if name not in os.environ]
    if os.environ.get("WORLD_SIZE", "1") != "1" and missing:
        raise ConfigError(" and ".join(missing), "nothing", "numbers beside WORLD_SIZE, as torchrun sets them")
    return place


def introduce(place: Place) -> None:
    """Set the environment variables by which torch finds the other processes, as far as the launcher has not.

    Raises:
        ConfigError: there are several machines, and nothing says where the first process runs.
    """
    if place.size == 1:
        return
    numbers = (place.rank, place.size, place.local_rank, place.local_size)
    meeting = {"MASTER_ADDR": _first_machine(place, os.environ), "MASTER_PORT": _port(os.environ)}
    for name, value in ({name: str(n) for name, n in zip(_OURS, numbers, strict=True)} | meeting).items():
        os.environ.setdefault(name, value)


def _first_machine(place: Place, environment: Mapping[str, str]) -> str:
    if place.size == place.local_size or "MASTER_ADDR" in environment:
        return environment.get("MASTER_ADDR", "127.0.0.1")
    machines = environment.get("SLURM_STEP_NODELIST", "")
    first = re.match(r"([^\[,]+)(?:\[(\w+))?", machines)  # such as gpu[03-05,09] or one,two
    if first is None:
        raise ConfigError("MASTER_ADDR", "nothing", "the name of the machine on which process 0 runs")
    return first[1] + (first[2] or "")


def _port(environment: Mapping[str, str]) -> str:
    """A port that jobs and steps of SLURM on one machine hardly share; otherwise that of accelerate."""
    job, step = (int(environment.get(f"SLURM_{name}_ID", "-1")) for name in ("JOB", "STEP"))
    return "29500" if job < 0 else str(20000 + (job + 61 * step) % 12000)
