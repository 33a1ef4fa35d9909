"""The machine: the device that a model lives on, and a setting that lets the C library keep freed memory.

Schedules, likelihoods and encodings are float64, which Apple's GPUs do not support, so "auto" means the CPU there.

Training on a CPU allocates and frees the same large arrays at every step. By default, glibc hands arrays above 32 MiB
back to the system at once. The next array is then made of fresh pages, and the kernel zeroes each at its first touch.
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
    """The `Accelerator` of this process: its device, and its place among the processes that were started together."""
    import torch
    from accelerate import Accelerator

    return Accelerator(cpu=torch.backends.mps.is_available())


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
