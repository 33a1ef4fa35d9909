"""Variational autoencoders: encoder and decoder are trained on their bound, in one stage."""

from __future__ import annotations

from inkwash.core.config import Config, DataConfig, ResolvedTrainConfig, ResolvedVAEConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import narrowed
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.model.vae import VAE
from inkwash.training.defaults import filled, resolve_train
from inkwash.training.examples import Examples
from inkwash.training.families.coding import (
    Coding,
    build_autoencoder,
    count_levels,
    describe_autoencoder,
    resolve_autoencoder,
)
from inkwash.training.families.family import Family, refuse_options
from inkwash.training.latents import CodeLoss
from inkwash.training.lesson import Stage
from inkwash.training.times import Proposal, Uniform

_LEARNING_RATE = 1e-3


class VAEFamily(Family[ResolvedVAEConfig, Autoencoder]):
    """Variational autoencoders."""

    def resolve(self, config: Config, spec: DataSpec, examples: int | None = None) -> ResolvedVAEConfig:
        _require_unconditional(config.data)
        for section in ("process", "denoiser", "network"):
            refuse_options(section, getattr(config, section), "--model diffusion or latent; a vae has none")
        for option in ("objective", "times"):
            if getattr(config.train, option) is not None:
                need = "--model diffusion or latent; a vae is trained on its bound"
                raise ConfigError(f"train.{option}", getattr(config.train, option), need)
        autoencoder = resolve_autoencoder(config, spec, kl_weight=1.0)
        for option in ("stages", "steps"):
            if getattr(autoencoder, option) is not None:
                raise ConfigError(f"autoencoder.{option}", getattr(autoencoder, option), "--model latent")
        train = resolve_train(filled(config.train, learning_rate=_LEARNING_RATE), spec, examples, config.data)
        return narrowed_config(config, train, autoencoder)
