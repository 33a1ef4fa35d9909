"""From options to objects: choose what was left open, build network, denoiser and model."""

import math
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from inkwash.config import Config, NetworkConfig, ProcessConfig, TrainConfig, chosen
from inkwash.data.transform import DataSpec, Transform
from inkwash.denoise import Clipped, Denoiser, Network
from inkwash.errors import ConfigError
from inkwash.gaussian import Gaussian
from inkwash.model import Diffusion
from inkwash.nn import MLP, UNet
from inkwash.noise import SCHEDULES
from inkwash.randomness import Purpose, derived_seed

Section = TypeVar("Section", NetworkConfig, TrainConfig)
_ATTENTION_PIXELS = 64
_SMALL = 256


def resolve(config: Config, spec: DataSpec) -> Config:
    """The config with every choice that was left open made from the shape of the data.

    Raises:
        ConfigError: an option that the chosen network or schedule does not have.
    """
    build_denoiser(config, nn.Identity())  # refuses what does not go together
    network = _resolve_unet(config.network, spec) if _kind(config, spec) == "unet" else _resolve_mlp(config.network)
    defaults = {
        "steps": 1500 if spec.is_image else 5000,
        "batch_size": 64 if spec.is_image else 256,
        "learning_rate": 2e-3 if math.prod(spec.shape) <= _SMALL else 5e-4,
    }
    clip = spec.levels is not None if config.denoiser.clip is None else config.denoiser.clip
    if clip and spec.levels is None:
        raise ConfigError("denoiser.clip", True, "data with levels, whose range is known")
    return replace(
        config,
        network=network,
        denoiser=replace(config.denoiser, clip=clip),
        train=_filled(config.train, defaults),
    )


def build_network(config: NetworkConfig, spec: DataSpec, seed: int) -> nn.Module:
    """The network of a resolved config, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, Purpose.WEIGHTS))
        if config.kind == "mlp":
            return MLP(spec.shape[0], chosen(config.width), chosen(config.depth), config.dropout)
        return UNet(
            spec.shape[0],
            chosen(config.width),
            chosen(config.multipliers),
            chosen(config.depth),
            chosen(config.attention),
            config.dropout,
        )


def build_process(config: ProcessConfig) -> Gaussian:
    """The process of a config."""
    return Gaussian(SCHEDULES[config.schedule](config.steps))


def build_denoiser(config: Config, network: Network) -> Denoiser:
    """The denoiser of a resolved config around `network`, which is given log-SNR."""
    return Denoiser(
        network, build_process(config.process), config.denoiser.predicts, config.denoiser.variance, sees="log_snr"
    )


def build_model(config: Config, transform: Transform, network: nn.Module) -> Diffusion:
    """The distribution that a trained network and its config stand for."""
    denoiser = build_denoiser(config, network)
    held = Clipped(denoiser) if config.denoiser.clip else denoiser
    return Diffusion(held, transform.spec.shape, transform, config.process.steps)


def count_parameters(network: nn.Module) -> int:
    """Number of trained numbers in a network."""
    return sum(p.numel() for p in network.parameters())


def describe_network(config: NetworkConfig, network: nn.Module) -> str:
    """The network in a few words."""
    million = f"{count_parameters(network) / 1e6:.2f} M parameters"
    if config.kind == "mlp":
        return f"MLP, width {config.width}, depth {config.depth}, {million}"
    resolutions = f"multipliers {config.multipliers}, attention {config.attention}"
    return f"U-Net, width {config.width}, {resolutions}, {config.depth} block(s) each, {million}"


def _kind(config: Config, spec: DataSpec) -> str:
    kind = config.network.kind or ("unet" if spec.is_image else "mlp")
    if (kind == "unet") != spec.is_image:
        raise ConfigError("network.kind", kind, "unet for images, mlp for vectors")
    return kind


def _resolve_unet(config: NetworkConfig, spec: DataSpec) -> NetworkConfig:
    multipliers = config.multipliers or _multipliers(spec.shape[1:])
    pixels = [math.prod(math.ceil(side / 2**i) for side in spec.shape[1:]) for i in range(len(multipliers))]
    attention = tuple(i > 0 and count <= _ATTENTION_PIXELS for i, count in enumerate(pixels))
    filled = _filled(
        config,
        {
            "kind": "unet",
            "width": 32,
            "depth": 1 if math.prod(spec.shape[1:]) <= _SMALL else 2,
            "multipliers": multipliers,
            "attention": attention,
        },
    )
    if chosen(filled.width) % 8:
        raise ConfigError("network.width", filled.width, "a multiple of 8")
    if len(chosen(filled.attention)) != len(multipliers):
        raise ConfigError(
            "network.attention", filled.attention, f"{len(multipliers)} entries, as network.multipliers has"
        )
    return filled


def _resolve_mlp(config: NetworkConfig) -> NetworkConfig:
    for name in ("multipliers", "attention"):
        if getattr(config, name) is not None:
            raise ConfigError(f"network.{name}", getattr(config, name), "a U-Net; an MLP has none")
    return _filled(config, {"kind": "mlp", "width": 128, "depth": 4})


def _multipliers(size: tuple[int, ...]) -> tuple[int, ...]:
    """Halve until the longer side is down to four to seven pixels, at most three times."""
    stages = min(max(int(math.log2(max(size) / 4)), 0) + 1, 4)
    return (1, 2, 2, 2)[:stages]


def _filled(config: Section, defaults: dict[str, Any]) -> Section:
    """A config whose fields that are None take their default."""
    return replace(config, **{name: value for name, value in defaults.items() if getattr(config, name) is None})
