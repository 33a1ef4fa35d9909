"""The machine: where a model lives, and the C library's allocator, asked to keep what is freed.

Schedules, likelihoods and encodings are float64, which Apple's GPUs do not have: there, "auto" is the CPU.

Training on a CPU allocates and frees the same large arrays at every step. By default glibc hands arrays above 32 MiB
back to the system at once, and the next one is made of fresh pages, each of which the kernel zeroes at its first touch.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from inkwash.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def accelerator() -> Accelerator:
    """This process among those that were started together, and its device, as `accelerate` has it."""
    import torch
    from accelerate import Accelerator

    return Accelerator(cpu=torch.backends.mps.is_available())


def device_of(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is what training would take.

    Raises:
        ConfigError: "cuda", and no GPU that torch can use.
    """
    import torch

    if name == "auto":
        return accelerator().device
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu, as torch finds no CUDA GPU here")
    return device


def keep_freed_memory() -> bool:
    """Let freed memory serve the next allocation of this process, for as long as the process lives.

    The process then holds on to the most memory it ever used.

    Returns:
        Whether the C library could be asked to; only glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
