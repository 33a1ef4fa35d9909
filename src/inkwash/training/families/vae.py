"""Variational autoencoders: encoder and decoder are trained on their bound, in one stage."""

from __future__ import annotations

from inkwash.core.config import Config, DataConfig
from inkwash.core.errors import ConfigError
from inkwash.core.resolved import ResolvedVAEConfig
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.vae import VAE
from inkwash.sample.walk import StepOptions
from inkwash.training.defaults import resolve_train, with_defaults, with_sections
from inkwash.training.examples import Examples
from inkwash.training.families.coding import (
    Coding,
    count_levels,
    describe_autoencoder,
    kl_weight_of,
    new_autoencoder,
    resolve_autoencoder,
    words_of_bound,
)
from inkwash.training.families.family import Family, refuse_augmentation, refuse_options
from inkwash.training.latents import CodeLoss
from inkwash.training.lesson import Stage
from inkwash.training.times import Proposal, Uniform

_LEARNING_RATE = 1e-3


class VAEFamily(Family[ResolvedVAEConfig, Autoencoder]):
    """Variational autoencoders."""

    def resolve(self, config: Config, spec: DataSpec, examples: int | None = None) -> ResolvedVAEConfig:
        _require_unconditional(config.data)
        if config.preset:
            raise ConfigError("preset", config.preset, "--model diffusion or latent; a vae has none")
        for section in ("process", "denoiser", "network", "sampling"):
            refuse_options(section, getattr(config, section), "--model diffusion or latent; a vae has none")
        refuse_augmentation(config.train)
        for option in ("objective", "times"):
            if getattr(config.train, option) is not None:
                need = "--model diffusion or latent; a vae is trained on its bound"
                raise ConfigError(f"train.{option}", getattr(config.train, option), need)
        if config.train.optimizer == "muon":
            raise ConfigError("train.optimizer", "muon", "adamw, or --model diffusion or latent")
        autoencoder = resolve_autoencoder(config, spec, kl_weight=1.0)
        for option in ("stages", "steps"):
            if getattr(autoencoder, option) is not None:
                raise ConfigError(f"autoencoder.{option}", getattr(autoencoder, option), "--model latent")
        train = resolve_train(
            with_defaults(config.train, learning_rate=_LEARNING_RATE, optimizer="adamw"), spec, examples, config.data
        )
        return with_sections(ResolvedVAEConfig, config, train=train, autoencoder=autoencoder)

    def build(self, config: ResolvedVAEConfig, transform: Transform, condition: ConditionSpec) -> Autoencoder:
        return new_autoencoder(config.autoencoder, transform, config.train.seed)

    def prime(self, trained: Autoencoder, examples: Examples) -> None:
        count_levels(trained, examples)

    def stages(self, config: ResolvedVAEConfig, transform: Transform) -> tuple[Stage, ...]:
        lesson = Coding(CodeLoss(kl_weight_of(config.autoencoder)))
        return (Stage(lesson, 0, config.train.steps, undecayed=lambda trained: trained.output.parameters()),)

    def proposal(self, config: ResolvedVAEConfig) -> Proposal:
        return Uniform()

    def model(
        self, config: ResolvedVAEConfig, transform: Transform, trained: Autoencoder, condition: ConditionSpec
    ) -> VAE:
        return VAE(trained, transform.spec.shape, transform)

    def trained(self, model: VAE) -> Autoencoder:
        return model.autoencoder

    def preview(self, config: ResolvedVAEConfig, steps: int) -> StepOptions:
        return {}

    def walk(self, config: ResolvedVAEConfig, steps: int) -> StepOptions:
        return {}

    def describe(self, config: ResolvedVAEConfig, spec: DataSpec, trained: Autoencoder) -> dict[str, str]:
        return {"network": describe_autoencoder(config.autoencoder, spec.shape, trained)}

    def goal(self, config: ResolvedVAEConfig) -> str:
        return words_of_bound(config.autoencoder)


def _require_unconditional(config: DataConfig) -> None:
    """Raise a `ConfigError` for conditions, which a VAE does not take."""
    for option in ("labels", "condition", "shrink"):
        if getattr(config, option) is not None:
            raise ConfigError(
                f"data.{option}", getattr(config, option), "--model diffusion or latent; a vae takes none"
            )
