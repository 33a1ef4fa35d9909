"""The machine: the device that a model lives on, the group of processes, and settings that let the C library keep freed
memory, and the processor take the smallest numbers for zero.

Schedules, likelihoods and encodings are float64, which Apple's GPUs do not support, so "auto" means the CPU there.

Training on a CPU allocates and frees the same large arrays at every step. By default, glibc hands arrays above 32 MiB
back to the system at once. The next array is then made of fresh pages, and the kernel zeroes each at its first touch.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from inkwash.core.errors import ConfigError
from inkwash.core.processes import introduce, this_place
from inkwash.core.text import shortened

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_PATIENCE = 5.0
"""Seconds that a process gives its group to end."""


def accelerator() -> Accelerator:
    """The `Accelerator` of this process: its device, and its place among the processes that were started together.

    Processes that are together for the first time form a group, which ends with them.

    Raises:
        ConfigError: they cannot: there are more of them than GPUs, or they do not find each other.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.utils import parse_flag_from_env

    place, on_cpu = this_place(), parse_flag_from_env("ACCELERATE_USE_CPU") or not _has_gpu()
    if not on_cpu and place.size > 1:
        place.require_gpu(torch.accelerator.device_count())
    introduce(place)
    is_first = not torch.distributed.is_initialized()
    try:
        found = Accelerator(cpu=on_cpu)
    except torch.distributed.DistNetworkError as error:
        first_line = str(error).partition("\n")[0]
        raise ConfigError("processes", first_line, "a free MASTER_PORT at MASTER_ADDR, and every process") from None
    if is_first and torch.distributed.is_initialized():
        atexit.register(_end_group)
    return found


def _end_group() -> None:
    """End the group of processes: one that is left to the destructors may abort its process.

    A process that failed may have left an exchange unfinished, for which this would wait as long as the others do.
    """
    import torch

    if torch.distributed.is_initialized():
        with Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(_PATIENCE, exit=True, file=nowhere)
            torch.distributed.destroy_process_group()
            faulthandler.cancel_dump_traceback_later()


def _has_gpu() -> bool:
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found is not None and found.type != "mps"


def device_of(name: str | torch.device) -> torch.device:
    """The device with this name; "auto" is the one that training would use.

    Raises:
        ConfigError: the name is "cuda", and torch finds no CUDA GPU.
    """
    import torch

    if name == "auto":
        return accelerator().device
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu, as torch finds no CUDA GPU here")
    return device


def free_memory(device: torch.device | None = None) -> int:
    """Bytes that this process can still have: those of a GPU, or those of the machine and of its container."""
    import psutil
    import torch

    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    used = psutil.Process().memory_info().rss
    limits = [Path(name).read_text().strip() for name in _LIMITS if Path(name).exists()]
    return min([psutil.virtual_memory().available, *(int(limit) - used for limit in limits if limit.isdecimal())])


def require_memory(where: str, count: int, size: int, device: torch.device | None = None) -> None:
    """Raise a `ConfigError` unless so many things, of so many bytes each, fit into the memory that is free."""
    free = free_memory(device)
    if count * size > free:
        got = f"{shortened(count)}, which take {decimal(count * size)} of memory, with {decimal(free)} free"
        raise ConfigError(where, got, f"at most {free // size}" if free >= size else "less")


def keep_freed_memory() -> bool:
    """Let this process reuse the memory that it frees, for as long as it lives.

    The process then holds on to the largest amount of memory that it ever used.

    Returns:
        Whether the C library accepted the setting; only glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))


class _Heap(ctypes.Structure):
    """What `mallinfo2` of glibc says; `fordblks` is the number of free bytes."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


def return_freed_memory(most: int = 1 << 30) -> None:
    """Give memory that was freed back to the system, if it is more than `most` bytes.

    torch asks glibc for aligned arrays, and before version 2.38 that finds no freed one of the same size: a loop that
    makes the same large arrays again and again holds ever more memory, of which nearly all is free.
    """
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Heap
        if library.mallinfo2().fordblks > most:
            library.malloc_trim(0)
    except (OSError, TypeError, AttributeError):
        return


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let the CPU take results below the smallest normal number, 1e-38 in float32, for zero.

    They come of sharp softmaxes and closed gates. They mean nothing in training, and a single one among a hundred
    numbers makes a convolution several times slower. torch's threads inherit the setting when they start; those that
    run already keep their own.
    """
    import numpy as np
    import torch

    for kind in (np.float32, np.float64):
        np.finfo(kind)  # NumPy before 2.4 measures it when it is first asked for, wrongly where denormals vanish
    before = float(torch.tensor(1e-310, dtype=torch.float64) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
