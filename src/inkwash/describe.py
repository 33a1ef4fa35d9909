"""What was chosen for a run, in a few words."""

import math
from collections.abc import Iterable

from torch import nn

from inkwash.build import patch_of
from inkwash.config import Config, NetworkConfig, chosen


def describe_process(config: Config) -> str:
    """The process, and what the network says of it, in a few words."""
    process, denoiser = config.process, config.denoiser
    walk = f"{process.schedule} schedule, {process.steps} steps; the network predicts "
    codes = f"{process.categories} noise on categories"
    if process.kind == "bernoulli":
        return f"bernoulli, rate {process.rate:g}, {walk}the log-odds of each bit"
    if process.kind == "categorical":
        return f"{codes}, {walk}their log-weights"
    clipped = ", clipped" if denoiser.clip else ""
    numbers = f"gaussian, {walk}{denoiser.predicts}{clipped}; {denoiser.variance} variance"
    return numbers if process.kind == "gaussian" else f"{numbers}; {codes}"


def count_parameters(network: nn.Module) -> int:
    """Number of trained numbers in a network."""
    return sum(p.numel() for p in network.parameters())


def describe_network(config: NetworkConfig, size: tuple[int, ...], network: nn.Module) -> str:
    """The network for examples of a size, in a few words."""
    dropout = f", dropout {config.dropout:g}" if config.dropout else ""
    million = f"{count_parameters(network) / 1e6:.2f} M parameters{dropout}"
    shape = f"width {config.width}, depth {config.depth}"
    if config.kind in ("mlp", "transformer"):
        name = "MLP" if config.kind == "mlp" else "transformer of columns"
        return f"{name}, {shape}, {million}"
    if config.kind == "dit":
        return f"DiT, {_describe_patches(size, patch_of(size, chosen(config.patch)))}, {shape}, {million}"
    resolutions = f"multipliers {config.multipliers}, attention {config.attention}"
    return f"U-Net, width {config.width}, {resolutions}, {config.depth} block(s) each, {million}"


def _describe_patches(size: tuple[int, ...], patch: tuple[int, ...]) -> str:
    grid = [math.ceil(side / places) for side, places in zip(size, patch, strict=True)]
    whole = [count * places for count, places in zip(grid, patch, strict=True)]
    padded = f", padded to {_by(whole)}" if tuple(whole) != size else ""
    return f"{_by(grid)} patches of {_by(patch)}{padded}"


def _by(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))
