"""The autoencoder of a model: what is decided about it, how it is built, and the lesson that trains it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from inkwash.core.config import Config, OutputName
from inkwash.core.errors import ConfigError
from inkwash.core.options import narrowed
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.resolved import ResolvedAutoencoderConfig
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.model.autoencoder import Autoencoder, LevelOdds, build_autoencoder
from inkwash.nn.autoencoder import AutoencoderOptions, LevelDecoder
from inkwash.training.build import describe_size
from inkwash.training.defaults import has_few_levels, with_defaults
from inkwash.training.examples import Examples
from inkwash.training.latents import CodeLoss
from inkwash.training.lesson import Batch, Lesson, Noise, Shape
from inkwash.training.times import Proposal, Times


@dataclass(frozen=True)
class Coding(Lesson[Autoencoder]):
    """An autoencoder's own bound, at one draw of each latent; it looks at no times.

    Args:
        loss_of: the bound, with a weight for its divergence.
    """

    loss_of: CodeLoss

    def draw(self, trained: Autoencoder, proposal: Proposal, x: Shape, random: torch.Generator) -> tuple[Times, Noise]:
        all_one = torch.ones(x[0], dtype=torch.float64)
        return Times(all_one, all_one), (torch.randn((x[0], *trained.latent), generator=random),)

    def loss(self, trained: Autoencoder, batch: Batch) -> Tensor:
        return self.loss_of.loss(trained, batch.x, *batch.noise)


def resolve_autoencoder(config: Config, spec: DataSpec, **defaults: Any) -> ResolvedAutoencoderConfig:
    """The options of an autoencoder, all decided by the shape of the data, or by other defaults.

    Raises:
        ConfigError: data with categories or missing values, or options that do not go with each other or the data.
    """
    if any(spec.sizes) or spec.may_miss.any():
        kind = "a table with categories" if any(spec.sizes) else "data with missing values"
        raise ConfigError("model", f"{config.model}, and {kind}", "diffusion, which models them")
    usual = {**_usual(spec, config.autoencoder.factor), **defaults}
    decided = narrowed(ResolvedAutoencoderConfig, with_defaults(config.autoencoder, **usual), "autoencoder")
    autoencoder_options(decided).latent(spec.shape)  # refuses what does not go with the shape
    if decided.output == "levels" and spec.lattice is None:
        raise ConfigError("autoencoder.output", decided.output, "entry or shared, for data without levels")
    return decided


def _usual(spec: DataSpec, factor: int | None) -> dict[str, Any]:
    """The defaults by the shape of the data, and by the factor if it is set."""
    output: OutputName = "levels" if has_few_levels(spec) else "entry"
    if not spec.size:
        entries = math.prod(spec.shape)
        return {"channels": min(entries, 16), "factor": 1, "patch": 1, "width": 128, "depth": 2, "output": output}
    factor = factor or _factor(spec.size)
    patch = 2 if factor >= 4 else 1
    return {"channels": 4, "factor": factor, "patch": patch, "width": 32, "depth": 1, "output": output}


def _factor(size: tuple[int, ...]) -> int:
    """The power of 2, from 2 to 8, that leaves at least 16 places along the longest side where it can."""
    return min(max(size), 2) if max(size) < 32 else min(1 << int(math.log2(max(size) / 16)), 8)


def autoencoder_options(config: ResolvedAutoencoderConfig) -> AutoencoderOptions:
    """The options that the networks have."""
    return narrowed(AutoencoderOptions, config, "autoencoder")


def new_autoencoder(config: ResolvedAutoencoderConfig, transform: Transform, seed: int) -> Autoencoder:
    """The autoencoder of data that a transform takes to model units; its weights depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, Purpose.WEIGHTS))
        options = autoencoder_options(config)
        return build_autoencoder(options, transform.spec.shape, transform.lattice, config.output)


def kl_weight_of(config: ResolvedAutoencoderConfig) -> float:
    """The weight of the divergence, which is 1 where training is on the bound."""
    return 1.0 if config.kl_weight is None else config.kl_weight


def words_of_bound(config: ResolvedAutoencoderConfig) -> str:
    """What the autoencoder is trained on, in a few words."""
    weight = kl_weight_of(config)
    return "objective: its bound" + ("" if weight == 1 else f", the divergence with weight {weight:g}")


def count_levels(autoencoder: Autoencoder, examples: Examples) -> None:
    """Let a decoder that gives probabilities of levels start from their frequencies."""
    if isinstance(autoencoder.output, LevelOdds):
        lattice = autoencoder.output.lattice
        cast(LevelDecoder, autoencoder.decoder).head.count(lattice.index(block) for block in examples.blocks())


def describe_autoencoder(config: ResolvedAutoencoderConfig, shape: tuple[int, ...], autoencoder: Autoencoder) -> str:
    """The networks and what they give, in a few words."""
    words = {"levels": "the odds of each level", "entry": "a mean and a spread of each entry", "shared": "means"}
    networks = autoencoder_options(config).describe(shape)
    return f"{networks}, {describe_size(autoencoder)}; it gives {words[config.output]}"
