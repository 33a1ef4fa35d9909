"""How networks run while they are trained: the numbers that they compute with, and whether they are compiled.

Half precision is autocast (Micikevicius et al. 2018, §3) inside of the networks proper, every `Backbone`: they take
and give float32. Their weights, the optimizer, the averages, and all that surrounds a network (embeddings of data,
schedules, objectives, losses) stay in the precision that they have. float16 has no numbers for small gradients, so the
loss is scaled up before its gradient is taken (§3.2).

The averages of the weights run as they are, uncompiled and in float32: they are what is compared with held-out data,
and what samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from inkwash.core.config import PrecisionName, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.nn.layers import Backbone

_DTYPES: dict[PrecisionName, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def require_engine(config: TrainConfig, device: torch.device) -> None:
    """Check that a device can train as the options say.

    Raises:
        ConfigError: float16 without a GPU, or no compiler works here.
    """
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision", "fp16 without a GPU", "bf16 or fp32, or a GPU")
    if config.compile and (failure := _compiler_failure(device)):
        got = f"true, and no compiler that works ({failure})"
        raise ConfigError("train.compile", got, "false, or a compiler that torch.compile finds")


def _compiler_failure(device: torch.device) -> str | None:
    """What goes wrong where something small is compiled; None if it works."""
    new = time.time()  # a constant that no cache has seen, so that the compiler has to work
    try:
        torch.compile(lambda x: (x * new).sin(), fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # a compiler may fail in any way
        return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:120]}"
    return None


def engine_words(config: TrainConfig) -> str:
    """How networks run, if not in float32 uncompiled, as the end of a line."""
    return f", in {config.precision}" * (config.precision != "fp32") + ", compiled" * config.compile


def new_scaler(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler:
    """What scales losses and gradients; it changes nothing unless training is in float16."""
    return torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")


@contextmanager
def tuned(trained: nn.Module, config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Let every backbone of what is trained run as the options say, in float32 uncompiled exactly as before.

    Args:
        trained: what is trained; its parameters and their names stay the same.
        config: the options.
        device: where it lives.
    """
    is_changed = config.compile or config.precision in _DTYPES
    networks = [module for module in trained.modules() if is_changed and isinstance(module, Backbone)]
    for network in networks:
        network.__dict__["forward"] = _forward(network.forward, config, device)  # hides the method of its class
    try:
        yield
    finally:
        for network in networks:
            del network.__dict__["forward"]


def _forward(plain: Callable[..., Tensor], config: TrainConfig, device: torch.device) -> Callable[..., Tensor]:
    """A forward pass in half precision, or compiled, or both."""
    run = torch.compile(plain) if config.compile else plain
    dtype = _DTYPES.get(config.precision)
    if dtype is None:
        return run

    def forward(*inputs: Tensor, **named: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype):
            output = run(*inputs, **named)
        return output.float()

    return forward
