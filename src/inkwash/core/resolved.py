"""Options once they are decided: what a run stores, and what everything after the decisions takes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from inkwash.core.brief import short_repr
from inkwash.core.config import (
    AutoencoderConfig,
    Config,
    Depth,
    NetworkConfig,
    NetworkName,
    ObjectiveName,
    OutputName,
    ProcessConfig,
    ProcessName,
    ScheduleName,
    TimesName,
    TrainConfig,
    Width,
)
from inkwash.core.options import Count, Positive, Range, Share


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedProcessConfig(ProcessConfig):
    """`ProcessConfig` once it is decided. The options of one kind of process or schedule are None for the others."""

    schedule: ScheduleName
    kind: ProcessName


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedNetworkConfig(NetworkConfig):
    """`NetworkConfig` once it is decided. The options of one kind of network are None for the others."""

    kind: NetworkName
    width: Width
    depth: Depth
    dropout: Share


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedAutoencoderConfig(AutoencoderConfig):
    """`AutoencoderConfig` once it is decided. `kl_weight` is None where training is joint, `stages` for a VAE, and
    `steps` unless training has two stages."""

    channels: Count
    factor: Annotated[int, Range(1, 64)]
    width: Width
    patch: Annotated[int, Range(1, 64)]
    depth: Depth
    output: OutputName


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedTrainConfig(TrainConfig):
    """`TrainConfig` once it is decided. Without a condition `condition_dropout` is None, and without transformations so
    are `augment` and `augment_share`. In headers that are older than the option, `optimizer` is None."""

    steps: Count
    batch_size: Count
    learning_rate: Positive
    micro_batch_size: Count


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedDenoisingTrainConfig(ResolvedTrainConfig):
    """`TrainConfig` once it is decided for a denoiser."""

    objective: ObjectiveName
    times: TimesName


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(Config):
    """`Config` once it is decided, by `inkwash.training.defaults.resolve`; in JSON both look the same."""

    train: ResolvedTrainConfig


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedDenoisingConfig(ResolvedConfig):
    """The decided options of a model with a denoiser."""

    process: ResolvedProcessConfig
    network: ResolvedNetworkConfig
    train: ResolvedDenoisingTrainConfig


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedDiffusionConfig(ResolvedDenoisingConfig):
    """The decided options of a diffusion model."""

    model: Literal["diffusion"] = "diffusion"


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedVAEConfig(ResolvedConfig):
    """The decided options of a variational autoencoder."""

    model: Literal["vae"] = "vae"
    autoencoder: ResolvedAutoencoderConfig


@short_repr
@dataclass(frozen=True, kw_only=True)
class ResolvedLatentConfig(ResolvedDenoisingConfig):
    """The decided options of a diffusion model of latents."""

    model: Literal["latent"] = "latent"
    autoencoder: ResolvedAutoencoderConfig


AnyResolvedConfig = ResolvedDiffusionConfig | ResolvedVAEConfig | ResolvedLatentConfig
"""What a run stores; `model` says which of them it is."""
