"""Latent diffusion: an autoencoder, and a diffusion model of its latents, one after the other or both at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.core.config import Config, SamplingConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.randomness import Purpose, generator
from inkwash.core.resolved import ResolvedAutoencoderConfig, ResolvedLatentConfig
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import Denoiser, NetworkDenoiser
from inkwash.denoise.measure import measured_variance
from inkwash.denoise.wrap import under
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.latent import LatentDiffusion
from inkwash.process.variance import Analytic
from inkwash.sample.walk import StepOptions
from inkwash.training.build import (
    build_denoiser,
    build_objective,
    build_proposal,
    describe_network,
    describe_process,
)
from inkwash.training.defaults import has_few_levels, resolve_denoising, with_defaults
from inkwash.training.encodings import Encodings
from inkwash.training.examples import Examples
from inkwash.training.families.coding import (
    Coding,
    autoencoder_options,
    count_levels,
    describe_autoencoder,
    kl_weight_of,
    new_autoencoder,
    resolve_autoencoder,
    words_of_bound,
)
from inkwash.training.families.diffusion import Denoising, schedule_parameters, some_examples
from inkwash.training.families.family import Family, refuse_augmentation
from inkwash.training.latents import CodeLoss, JointLoss
from inkwash.training.lesson import Batch, Lesson, Noise, Shape, Stage
from inkwash.training.sampling import merged, step_options
from inkwash.training.times import Proposal, Times

_KL_WEIGHTS = {"levels": 1.0, "entry": 0.01, "shared": 0.01}
_STANDARDISED, _BLOCK = 4096, 256


class Networks(nn.Module):
    """What is trained.

    Args:
        autoencoder: the encoder and decoder.
        denoiser: that of the latents.
    """

    def __init__(self, autoencoder: Autoencoder, denoiser: NetworkDenoiser) -> None:
        super().__init__()
        self.autoencoder, self.denoiser = autoencoder, denoiser


@dataclass(frozen=True)
class CodingFirst(Lesson[Networks]):
    """The first stage.

    Args:
        coding: the lesson of the autoencoder.
    """

    coding: Coding

    def draw(self, trained: Networks, proposal: Proposal, x: Shape, random: torch.Generator) -> tuple[Times, Noise]:
        return self.coding.draw(trained.autoencoder, proposal, x, random)

    def loss(self, trained: Networks, batch: Batch) -> Tensor:
        return self.coding.loss(trained.autoencoder, batch)


@dataclass(frozen=True)
class DenoisingLatents(Lesson[Networks]):
    """The second stage: draws of the latents are data.

    Args:
        denoising: the lesson of the denoiser.
        encodings: the laws of the latents.
    """

    denoising: Denoising
    encodings: Encodings

    def draw(self, trained: Networks, proposal: Proposal, x: Shape, random: torch.Generator) -> tuple[Times, Noise]:
        return _draw(self.denoising, trained, proposal, x, random)

    def loss(self, trained: Networks, batch: Batch) -> Tensor:
        noise, latent_noise = batch.noise
        encoding = self.encodings.of(trained.autoencoder, batch.indices, batch.x)
        z = encoding.mean + encoding.std * noise
        return self.denoising.loss(trained.denoiser, replace(batch, x=z, noise=(latent_noise,)))

    def learn(self, trained: Networks, proposal: Proposal, times: Times, losses: Tensor) -> None:
        self.denoising.learn(trained.denoiser, proposal, times, losses)


@dataclass(frozen=True)
class Jointly(Lesson[Networks]):
    """The bound of all of it at once.

    Args:
        loss_of: the bound.
        denoising: the lesson that draws the times.
    """

    loss_of: JointLoss
    denoising: Denoising

    def draw(self, trained: Networks, proposal: Proposal, x: Shape, random: torch.Generator) -> tuple[Times, Noise]:
        return _draw(self.denoising, trained, proposal, x, random)

    def loss(self, trained: Networks, batch: Batch) -> Tensor:
        denoiser = under(trained.denoiser, batch.condition, slice(None))
        noise, latent_noise = batch.noise
        return self.loss_of.loss(trained.autoencoder, denoiser, batch.x, noise, batch.times.t, latent_noise)


def _draw(
    denoising: Denoising, trained: Networks, proposal: Proposal, x: Shape, random: torch.Generator
) -> tuple[Times, Noise]:
    """The times, the noise of the encoder and that of the diffusion."""
    latent = (x[0], *trained.autoencoder.latent)
    times, (latent_noise,) = denoising.draw(trained.denoiser, proposal, latent, random)
    return times, (torch.randn(latent, generator=random), latent_noise)


class LatentFamily(Family[ResolvedLatentConfig, Networks]):
    """Diffusion models of the latents of an autoencoder."""

    def resolve(self, config: Config, spec: DataSpec, examples: int | None = None) -> ResolvedLatentConfig:
        if not spec.size:
            need = "series, images or volumes; for vectors and tables, diffusion or vae"
            raise ConfigError("model", f"latent, and {spec.describe()}", need)
        if config.denoiser.predicts == "mixture":
            raise ConfigError(
                "denoiser.predicts", "mixture", "another prediction for latents, to which no law can be fitted"
            )
        refuse_augmentation(config.train)
        stages = config.autoencoder.stages or "two-stage"
        joint = stages == "joint"
        output = config.autoencoder.output or ("levels" if has_few_levels(spec) else "shared")
        usual: dict[str, Any] = {"output": output, "stages": stages}
        autoencoder = resolve_autoencoder(
            config, spec, **usual, **({} if joint else {"kl_weight": _KL_WEIGHTS[output]})
        )
        train = _require_bound(config.train) if joint else config.train
        half_done = replace(config, autoencoder=autoencoder, train=train)
        decided = resolve_denoising(ResolvedLatentConfig, half_done, latent_spec(autoencoder, spec), examples)
        return replace(decided, autoencoder=_staged(autoencoder, decided.train.steps))

    def build(self, config: ResolvedLatentConfig, transform: Transform, condition: ConditionSpec) -> Networks:
        autoencoder = new_autoencoder(config.autoencoder, transform, config.train.seed)
        return Networks(autoencoder, build_denoiser(config, latent_spec(config.autoencoder, transform.spec), condition))

    def prime(self, trained: Networks, examples: Examples) -> None:
        count_levels(trained.autoencoder, examples)

    def stages(self, config: ResolvedLatentConfig, transform: Transform) -> tuple[Stage, ...]:
        denoising, total = Denoising(build_objective(config, None)), config.train.steps
        if config.autoencoder.steps is None:
            joint = Jointly(JointLoss(config.process.steps), denoising)
            return (Stage(joint, 0, total, undecayed=_undecayed),)
        first, coding = config.autoencoder.steps, Coding(CodeLoss(kl_weight_of(config.autoencoder)))
        autoencoder, denoiser = (lambda trained: trained.autoencoder), (lambda trained: trained.denoiser)
        encodings = Encodings()

        def begin(trained: Networks, average: Networks, examples: Examples) -> None:
            freeze_latents(trained, average, examples)
            encodings.forget()

        return (
            Stage(CodingFirst(coding), 0, first, autoencoder, _undecayed),
            Stage(DenoisingLatents(denoising, encodings), first, total, denoiser, _undecayed, begin),
        )

    def proposal(self, config: ResolvedLatentConfig) -> Proposal:
        return build_proposal(config)

    def measure(self, config: ResolvedLatentConfig, average: Networks, examples: Examples) -> None:
        """Measure the errors of an analytic variance of the latents."""
        denoiser = average.denoiser
        if isinstance(denoiser, Denoiser) and isinstance(denoiser.variance, Analytic):
            x, condition = some_examples(examples, denoiser.variance.log_snr.device)
            with torch.no_grad():
                z = average.autoencoder.encoding(x).draw(generator(config.train.seed, Purpose.ENCODE))
            found = measured_variance(denoiser, z, config.process.steps, condition, config.train.seed)
            denoiser.variance.log_error.copy_(found.log_error)

    def model(
        self, config: ResolvedLatentConfig, transform: Transform, trained: Networks, condition: ConditionSpec
    ) -> LatentDiffusion:
        latents = Diffusion(
            trained.denoiser, trained.autoencoder.latent, steps=config.process.steps, condition=condition
        )
        latents = latents.with_options(variance=config.sampling.variance, **step_options(config.sampling))
        return LatentDiffusion(trained.autoencoder, latents, transform.spec.shape, transform)

    def trained(self, model: LatentDiffusion) -> Networks:
        return Networks(model.autoencoder, cast(NetworkDenoiser, model.latents.denoiser))

    def preview(self, config: ResolvedLatentConfig, steps: int) -> StepOptions:
        return step_options(merged(config.sampling, SamplingConfig("ddim", steps)))

    def walk(self, config: ResolvedLatentConfig, steps: int) -> StepOptions:
        return {"steps": config.sampling.steps or min(steps, config.process.steps)}

    def describe(self, config: ResolvedLatentConfig, spec: DataSpec, trained: Networks) -> dict[str, str]:
        size = latent_spec(config.autoencoder, spec).size
        return {
            "encoder": describe_autoencoder(config.autoencoder, spec.shape, trained.autoencoder),
            "network": describe_network(config.network, size, trained.denoiser),
            "process": describe_process(config),
        }

    def goal(self, config: ResolvedLatentConfig) -> str:
        denoising = f"objective {config.train.objective}, times {config.train.times}"
        first = config.autoencoder.steps
        if first is None:
            return f"{denoising}, of both networks at once"
        return f"{first} steps on the autoencoder, {words_of_bound(config.autoencoder)}; then {denoising}"


def latent_spec(config: ResolvedAutoencoderConfig, spec: DataSpec) -> DataSpec:
    """The latents of data, as data: real numbers of mean 0 and variance 1."""
    layouts: dict[int, Any] = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
    shape = autoencoder_options(config).latent(spec.shape)
    return DataSpec(shape, layouts[len(spec.size)], "float32", -1.0, 1.0, None)


def _require_bound(config: TrainConfig) -> TrainConfig:
    """The options of joint training, which is on the bound in continuous time, at times that all count the same.

    Raises:
        ConfigError: other objectives or times.
    """
    if config.objective not in (None, "continuous"):
        need = "continuous, for autoencoder.stages joint, which is on the bound"
        raise ConfigError("train.objective", config.objective, need)
    if config.times not in (None, "low-discrepancy", "uniform"):
        raise ConfigError("train.times", config.times, "low-discrepancy or uniform, for autoencoder.stages joint")
    return with_defaults(config, objective="continuous", times="low-discrepancy")


def _staged(config: ResolvedAutoencoderConfig, steps: int) -> ResolvedAutoencoderConfig:
    """The options with the number of steps of the first stage.

    Raises:
        ConfigError: a stage without steps, or options of two stages for joint training.
    """
    if config.stages == "joint":
        for option in ("steps", "kl_weight"):
            if getattr(config, option) is not None:
                need = "autoencoder.stages two-stage; joint training has none"
                raise ConfigError(f"autoencoder.{option}", getattr(config, option), need)
        return config
    first = config.steps or max(steps // 4, 1)
    if not 0 < first < steps:
        raise ConfigError("autoencoder.steps", first, f"at least 1, and fewer than all {steps} steps of training")
    return replace(config, steps=first)


def _undecayed(trained: Networks) -> Iterator[nn.Parameter]:
    yield from trained.autoencoder.output.parameters()
    yield from schedule_parameters(trained.denoiser)


@torch.no_grad()
def freeze_latents(trained: Networks, average: Networks, examples: Examples) -> None:
    """Take the averaged autoencoder for good, and standardise its latents on at most 4,096 of the examples."""
    device = next(trained.parameters()).device
    rows = np.array_split(np.arange(min(len(examples), _STANDARDISED)), -(-min(len(examples), _STANDARDISED) // _BLOCK))
    average.autoencoder.standardise(examples.take(block).to(device) for block in rows)
    trained.autoencoder.load_state_dict(average.autoencoder.state_dict())
