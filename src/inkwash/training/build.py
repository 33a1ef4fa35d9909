"""From options to objects: build network, process, denoiser and model, and describe them in a few words."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from inkwash.core.config import Config, NetworkConfig, ProcessConfig
from inkwash.core.options import chosen
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, Denoiser, NetworkDenoiser
from inkwash.denoise.discrete import BitDenoiser, CategoryDenoiser, MixedDenoiser
from inkwash.denoise.prediction import NAMED, Levels, Mean, Prediction
from inkwash.denoise.wrap import Clipped
from inkwash.model.diffusion import Diffusion
from inkwash.nn.columns import ColumnTransformer
from inkwash.nn.dit import DiT
from inkwash.nn.layers import ConditionEmbedding, GivenEmbedding, LabelEmbedding
from inkwash.nn.levels import LevelNet
from inkwash.nn.mlp import MLP
from inkwash.nn.tables import TableNet
from inkwash.nn.unet import UNet
from inkwash.process.bernoulli import Bernoulli
from inkwash.process.categorical import Categorical
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise import SCHEDULES
from inkwash.process.noise.closed import LogLinearSchedule, SohlDicksteinSchedule
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import Scheduled
from inkwash.process.variance import SIMPLE, Analytic, ReverseVariance
from inkwash.training.objective import REGRESSIONS, ContinuousBound, Hybrid, MixedLoss, Objective, PairBound, Regression
from inkwash.training.times import PROPOSALS, LogSnrDensity, Proposal

_FEATURES = 32
_KNOTS = 32


def build_network(config: Config, spec: DataSpec, condition: ConditionSpec | None = None) -> nn.Module:
    """The network of a resolved config, its weights drawn from the seed of the training; it takes what the condition
    says, nothing by default."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.train.seed, Purpose.WEIGHTS))
        spreads = config.denoiser.variance in ("learned", "free")
        channels = spec.shape[0]
        backbone = partial(_backbone, config.network, spec, condition or ConditionSpec())
        missing, sizes = bool(spec.may_miss.any()), spec.sizes or (0,) * channels
        if any(sizes) or missing:
            masked = config.process.categories == "absorbing"
            inputs, outputs = TableNet.widths(sizes, masked, missing, spreads)
            return TableNet(backbone(inputs, outputs), sizes, masked, missing)
        if config.denoiser.predicts != "levels":
            return backbone((1,) * channels, (1,) * (channels * (1 + spreads)))
        values = chosen(spec.lattice).values()
        features = min(_FEATURES, len(values) - 1)
        network = backbone((LevelNet.inputs_per_channel(),) * channels, (features,) * channels)
        return LevelNet(network, spec.shape, values, features, len(values) + spreads)


def build_process(config: ProcessConfig, spec: DataSpec) -> Scheduled:
    """The process of a resolved config."""
    schedule = _schedule(config)
    if config.kind == "bernoulli":
        return Bernoulli(schedule, chosen(config.rate))
    if config.kind == "categorical":
        return build_categories(config, spec)
    numbers = Gaussian(schedule)
    if config.kind == "gaussian":
        return numbers
    return Mixed(numbers, build_categories(config, spec), tuple(size > 0 for size in spec.sizes))


def build_categories(config: ProcessConfig, spec: DataSpec) -> Categorical:
    """The process of the categories of a table, which survive on a schedule of their own where there are numbers."""
    schedule = SohlDicksteinSchedule() if config.kind == "mixed" else _schedule(config)
    return Categorical(schedule, tuple(size for size in spec.sizes if size), chosen(config.categories))


def _schedule(config: ProcessConfig) -> Schedule:
    if config.schedule == "log-linear":
        return LogLinearSchedule(config.steps, chosen(config.log_snr_first))
    return SCHEDULES[chosen(config.schedule)](config.steps)


def build_lattice(config: Config, spec: DataSpec) -> Lattice | None:
    """The values of data with levels in model units: those of the process, if it has values of its own."""
    return build_process(config.process, spec).lattice or spec.lattice


def build_denoiser(config: Config, spec: DataSpec, condition: ConditionSpec | None = None) -> NetworkDenoiser:
    """The denoiser of a resolved config, as it is before training; see `build_network`."""
    return _assemble(config, spec, build_network(config, spec, condition))


def _assemble(config: Config, spec: DataSpec, network: nn.Module) -> NetworkDenoiser:
    process, sees = build_process(config.process, spec), config.denoiser.sees
    if isinstance(process, Bernoulli):
        return BitDenoiser(network, process, sees)
    if isinstance(process, Categorical):
        return CategoryDenoiser(network, process, sees)
    numbers = process.numbers if isinstance(process, Mixed) else require_gaussian(process, "process")
    prediction, variance = _prediction(config, spec), _variance(config, numbers)
    if isinstance(process, Mixed):
        return MixedDenoiser(network, process, prediction, variance, sees)
    return Denoiser(network, numbers, prediction, variance, sees)


def build_model(
    config: Config, transform: Transform, denoiser: NetworkDenoiser, condition: ConditionSpec | None = None
) -> Diffusion:
    """The distribution that a trained denoiser and its config stand for."""
    used = in_use(config, denoiser)
    return Diffusion(used, transform.spec.shape, transform, config.process.steps, condition=condition)


def in_use(config: Config, denoiser: NetworkDenoiser) -> AnyDenoiser:
    """The denoiser as a config's model asks it: clipped or not."""
    return Clipped(denoiser) if config.denoiser.clip else denoiser


def build_objective(config: Config, lattice: Lattice | Bins | None) -> Objective:
    """What a resolved config's training lowers, for data that takes the values of a lattice, or real ones."""
    name, steps = chosen(config.train.objective), config.process.steps
    if name == "continuous" and config.process.schedule == "learned":
        return ContinuousBound(lattice)
    if name in REGRESSIONS:
        regression = Regression(*REGRESSIONS[name], first=1 / steps)
        return MixedLoss(regression, steps) if config.process.kind == "mixed" else regression
    bound = PairBound(steps, lattice)
    return bound if name == "bound" else Hybrid(bound)


def build_proposal(config: Config) -> Proposal:
    """Where a resolved config's training looks."""
    if config.train.times == "log-snr-density":
        return LogSnrDensity(first=1 / config.process.steps)
    return PROPOSALS[chosen(config.train.times)]()


def _backbone(
    config: NetworkConfig, spec: DataSpec, condition: ConditionSpec, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> nn.Module:
    """A network of what stands side by side for each channel or column."""
    width, depth, dropout = chosen(config.width), chosen(config.depth), chosen(config.dropout)
    embeddings = _embeddings(condition)
    if config.kind == "transformer":
        return ColumnTransformer(inputs, width, depth, dropout, outputs, embeddings)
    if config.kind == "mlp":
        return MLP(sum(inputs), width, depth, dropout, sum(outputs), embeddings)
    beside = condition.given.spec.shape[0] if condition.given and condition.given.spec.size else 0
    told: dict[str, Any] = {"condition": embeddings, "given": beside}
    if config.kind == "dit":
        patch = patch_of(spec.size, chosen(config.patch))
        return DiT(sum(inputs), patch, width, depth, dropout, sum(outputs), **told)
    multipliers, attention, axes = chosen(config.multipliers), chosen(config.attention), len(spec.size)
    return UNet(sum(inputs), width, multipliers, depth, attention, dropout, sum(outputs), axes=axes, **told)


def _embeddings(condition: ConditionSpec) -> dict[str, ConditionEmbedding]:
    """What makes features of what a network is told, but for what enters beside the noisy data."""
    made: dict[str, ConditionEmbedding] = {}
    if condition.classes:
        made["label"] = partial(LabelEmbedding, len(condition.classes))
    if condition.given and not condition.given.spec.size:
        made["given"] = partial(GivenEmbedding, condition.given.spec.shape[0])
    return made


def _prediction(config: Config, spec: DataSpec) -> Prediction:
    name = chosen(config.denoiser.predicts)
    if name == "levels":
        return Levels(chosen(spec.lattice))
    return Mean(config.process.steps) if name == "mean" else NAMED[name]  # type: ignore[index]


def _variance(config: Config, process: Gaussian) -> ReverseVariance:
    """The reverse variance, before anything is measured."""
    name = chosen(config.denoiser.variance)
    if name != "analytic":
        return SIMPLE[name]  # type: ignore[index]
    first, last = (float(process.schedule.log_snr(t)) for t in (1.0, 1 / config.process.steps))
    log_snr = torch.linspace(max(first, -20.0), last, _KNOTS, dtype=torch.float64)
    return Analytic(log_snr, 1 / (1 + log_snr.exp()))


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


def patch_of(size: tuple[int, ...], places: int) -> tuple[int, ...]:
    """A patch of so many places along each side, or the whole of a shorter side."""
    return tuple(min(places, side) for side in size)
