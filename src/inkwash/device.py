"""Where a model lives: on a CUDA GPU or on the CPU.

Schedules, likelihoods and codes are float64, which Apple's GPUs do not have: there, "auto" is the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from inkwash.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator() -> Accelerator:
    """This process among those that were started together, and its device, as `accelerate` has it."""
    from accelerate import Accelerator

    return Accelerator(cpu=torch.backends.mps.is_available())


def device_of(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is what training would take.

    Raises:
        ConfigError: "cuda", and no GPU that torch can use.
    """
    if name == "auto":
        return accelerator().device
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu, as torch finds no CUDA GPU here")
    return device
