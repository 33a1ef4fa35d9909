"""Diffusion models of data: a denoiser is trained, in one stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.core.config import Config, SamplerName, SamplingConfig
from inkwash.core.resolved import ResolvedDiffusionConfig
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import Denoiser, NetworkDenoiser
from inkwash.denoise.discrete import MixedDenoiser
from inkwash.denoise.measure import measured_variance
from inkwash.denoise.spikes import Spiked
from inkwash.denoise.wrap import under
from inkwash.model.diffusion import Diffusion
from inkwash.model.units import require_same_values
from inkwash.nn.levels import LevelNet, MixtureNet
from inkwash.nn.tables import TableNet
from inkwash.process.distributions import Lattice
from inkwash.process.variance import Analytic
from inkwash.sample.walk import StepOptions
from inkwash.training.build import (
    build_denoiser,
    build_lattice,
    build_model,
    build_objective,
    build_process,
    build_proposal,
    describe_network,
    describe_process,
    in_use,
)
from inkwash.training.defaults import REAL_SPACING, resolve_denoising
from inkwash.training.examples import Examples
from inkwash.training.families.family import Family, refuse_options
from inkwash.training.lesson import Batch, Lesson, Noise, Shape, Stage
from inkwash.training.objective import Objective
from inkwash.training.sampling import merged, step_options
from inkwash.training.times import Proposal, Times

MEASURED = 256
"""Most training examples that an analytic variance is measured on."""


@dataclass(frozen=True)
class Denoising(Lesson[NetworkDenoiser]):
    """An objective at random times.

    Args:
        objective: what is minimised.
    """

    objective: Objective

    def draw(
        self, trained: NetworkDenoiser, proposal: Proposal, x: Shape, random: torch.Generator
    ) -> tuple[Times, Noise]:
        times = proposal.draw(x[0], trained.process.schedule, random)
        return times, (trained.process.noise(x, random),)

    def loss(self, trained: NetworkDenoiser, batch: Batch) -> Tensor:
        conditioned, (noise,) = under(trained, batch.condition, slice(None)), batch.noise
        return self.objective.loss(conditioned, batch.x, batch.times.t, noise, batch.condition.get("present"))

    def learn(self, trained: NetworkDenoiser, proposal: Proposal, times: Times, losses: Tensor) -> None:
        proposal.learn(times, losses, trained.process.schedule)


class DiffusionFamily(Family[ResolvedDiffusionConfig, NetworkDenoiser]):
    """Diffusion models."""

    def resolve(self, config: Config, spec: DataSpec, examples: int | None = None) -> ResolvedDiffusionConfig:
        refuse_options("autoencoder", config.autoencoder, "--model vae or latent, which have an autoencoder")
        return resolve_denoising(ResolvedDiffusionConfig, config, spec, examples)

    def lattice(self, config: ResolvedDiffusionConfig, spec: DataSpec) -> Lattice | None:
        return build_lattice(config, spec)

    def build(self, config: ResolvedDiffusionConfig, transform: Transform, condition: ConditionSpec) -> NetworkDenoiser:
        return build_denoiser(config, transform.spec, condition)

    def prime(self, trained: NetworkDenoiser, examples: Examples) -> None:
        lattice = examples.transform.lattice
        _fit_spikes(trained, examples)
        if isinstance(trained.network, LevelNet):
            values = cast(Lattice, lattice)
            trained.network.head.count(values.index(block) for block in examples.blocks())
        elif isinstance(trained.network, MixtureNet):
            trained.network.fit(examples.blocks, lattice.spacing if isinstance(lattice, Lattice) else REAL_SPACING)
        elif isinstance(trained.network, TableNet):
            trained.network.count(examples.blocks())

    def stages(self, config: ResolvedDiffusionConfig, transform: Transform) -> tuple[Stage, ...]:
        lesson = Denoising(build_objective(config, transform.lattice))
        return (Stage(lesson, 0, config.train.steps, undecayed=schedule_parameters),)

    def proposal(self, config: ResolvedDiffusionConfig) -> Proposal:
        return build_proposal(config)

    def measure(self, config: ResolvedDiffusionConfig, average: NetworkDenoiser, examples: Examples) -> None:
        """Measure the errors of an analytic variance."""
        if isinstance(average, Denoiser) and isinstance(average.variance, Analytic):
            x, condition = some_examples(examples, average.variance.log_error.device)
            used = in_use(config, examples.transform.lattice, average)
            measured = measured_variance(used, x, config.process.steps, condition, config.train.seed)
            average.variance.log_error.copy_(measured.log_error)

    def check(self, config: ResolvedDiffusionConfig, transform: Transform) -> None:
        require_same_values(build_process(config.process, transform.spec), transform)

    def model(
        self,
        config: ResolvedDiffusionConfig,
        transform: Transform,
        trained: NetworkDenoiser,
        condition: ConditionSpec,
    ) -> Diffusion:
        return build_model(config, transform, trained, condition)

    def trained(self, model: Diffusion) -> NetworkDenoiser:
        return cast(NetworkDenoiser, model.denoiser)

    def preview(self, config: ResolvedDiffusionConfig, steps: int) -> StepOptions:
        usual: SamplerName = (
            "ddim" if config.process.kind == "gaussian" else "ancestral"
        )  # DDIM serves no other process
        return step_options(merged(config.sampling, SamplingConfig(usual, steps)))

    def walk(self, config: ResolvedDiffusionConfig, steps: int) -> StepOptions:
        return {"steps": config.sampling.steps or min(steps, config.process.steps)}

    def describe(self, config: ResolvedDiffusionConfig, spec: DataSpec, trained: NetworkDenoiser) -> dict[str, str]:
        return {
            "network": describe_network(config.network, spec.size, trained),
            "process": describe_process(config),
        }

    def goal(self, config: ResolvedDiffusionConfig) -> str:
        return f"objective {config.train.objective}, times {config.train.times}"


def _fit_spikes(trained: NetworkDenoiser, examples: Examples) -> None:
    """Set the numbers that recur in each column, and how often they do."""
    predicts = trained.numbers.predicts if isinstance(trained, MixedDenoiser) else getattr(trained, "predicts", None)
    if isinstance(predicts, Spiked):
        recurring, sizes = examples.transform.recurring, examples.transform.spec.sizes
        numbers = [i for i, size in enumerate(sizes) if not size]
        values = [recurring.get(i, torch.empty(0)) for i in numbers]
        predicts.fit(values, (block[:, numbers] for block in examples.blocks()))


def schedule_parameters(denoiser: NetworkDenoiser) -> Iterable[nn.Parameter]:
    """The parameters of a learned schedule, which no weight decay acts on."""
    return denoiser.schedule.parameters() if isinstance(denoiser.schedule, nn.Module) else ()


def some_examples(examples: Examples, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """At most 256 of the examples trained on, and their conditions, to measure an analytic variance on."""
    positions = np.arange(min(len(examples), MEASURED))
    return examples.take(positions).to(device), examples.conditions(positions)
