"""From options to objects: choose what was left open, build network, denoiser and model."""

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from inkwash.bernoulli import Bernoulli
from inkwash.bits import BitDenoiser
from inkwash.config import Config, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig, chosen
from inkwash.data.condition import Condition
from inkwash.data.transform import DataSpec, Transform
from inkwash.denoise import AnyDenoiser, Clipped, Denoiser, NetworkDenoiser
from inkwash.distributions import Lattice
from inkwash.errors import ConfigError
from inkwash.gaussian import Gaussian
from inkwash.model import Diffusion
from inkwash.nn import MLP, GivenEmbedding, LabelEmbedding, LevelNet, UNet
from inkwash.nn.layers import ConditionEmbedding
from inkwash.noise import SCHEDULES, LogLinearSchedule, Schedule
from inkwash.objective import REGRESSIONS, ContinuousBound, Hybrid, Objective, PairBound, Regression
from inkwash.prediction import NAMED, Levels, Mean, Prediction
from inkwash.propose import PROPOSALS, LogSnrDensity, Proposal
from inkwash.randomness import Purpose, derived_seed
from inkwash.variance import SIMPLE, Analytic, ReverseVariance

Section = TypeVar("Section", ProcessConfig, DenoiserConfig, NetworkConfig, TrainConfig)
_ATTENTION_PLACES = 64
_SMALL = 256
_MOST_LEVELS = 1 << 20
_FEATURES = 32
_NOT_OF_BITS = ("karras", "learned-betas", "learned")
_KNOTS = 32
_TOLD_APART = 3  # how many sigma/alpha are half the distance between neighbouring levels at the first time
_OBJECTIVE_OF = {"levels": "continuous", "F": "edm", "mean": "bound"}
_TIMES_OF = {"continuous": "log-snr-density", "edm": "log-normal"}
_TRAINS_SCHEDULE: dict[str, tuple[str, ...]] = {"learned": ("continuous", "bound"), "learned-betas": ("bound",)}
_TRAINS_VARIANCE: dict[str, tuple[str, ...]] = {"learned": ("hybrid", "bound"), "free": ("hybrid", "bound")}
_UNWEIGHTED = ("low-discrepancy", "uniform")


def resolve(config: Config, spec: DataSpec) -> Config:
    """The config with every choice that was left open made from the shape of the data.

    Raises:
        ConfigError: an option that the chosen process, network or schedule does not have.
    """
    config = replace(config, process=_resolve_process(config, spec))
    denoiser = _resolve_bits(config.denoiser) if _is_bits(config) else _resolve_denoiser(config, spec)
    network = _resolve_unet(config.network, spec) if _kind(config, spec) == "unet" else _resolve_mlp(config.network)
    train = _resolve_train(config, denoiser, spec)
    resolved = replace(config, network=network, denoiser=denoiser, train=train)
    _assemble(resolved, spec, nn.Identity())  # refuses what does not go together
    return resolved


def build_network(config: Config, spec: DataSpec, condition: Condition | None = None) -> nn.Module:
    """The network of a resolved config, its weights drawn from the seed of the training; it takes what the condition
    says, nothing by default."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.train.seed, Purpose.WEIGHTS))
        spreads = config.denoiser.variance in ("learned", "free")
        channels = spec.shape[0]
        backbone = partial(_backbone, config.network, spec, condition or Condition())
        if config.denoiser.predicts != "levels":
            return backbone(channels, channels * (1 + spreads))
        values = chosen(spec.lattice).values()
        features = min(_FEATURES, len(values) - 1)
        network = backbone(channels * LevelNet.inputs_per_channel(), channels * features)
        return LevelNet(network, spec.shape, values, features, len(values) + spreads)


def build_process(config: ProcessConfig) -> Gaussian | Bernoulli:
    """The process of a resolved config."""
    if config.schedule == "log-linear":
        schedule: Schedule = LogLinearSchedule(config.steps, chosen(config.log_snr_first))
    else:
        schedule = SCHEDULES[chosen(config.schedule)](config.steps)
    return Gaussian(schedule) if config.kind == "gaussian" else Bernoulli(schedule, chosen(config.rate))


def build_lattice(config: Config, spec: DataSpec) -> Lattice | None:
    """The values of data with levels in model units: those of the process, if it has values of its own."""
    return build_process(config.process).lattice or spec.lattice


def build_denoiser(config: Config, spec: DataSpec, condition: Condition | None = None) -> NetworkDenoiser:
    """The denoiser of a resolved config, as it is before training; see `build_network`."""
    return _assemble(config, spec, build_network(config, spec, condition))


def _assemble(config: Config, spec: DataSpec, network: nn.Module) -> NetworkDenoiser:
    process = build_process(config.process)
    if isinstance(process, Bernoulli):
        return BitDenoiser(network, process, config.denoiser.sees)
    return Denoiser(network, process, _prediction(config, spec), _variance(config, process), config.denoiser.sees)


def build_model(
    config: Config, transform: Transform, denoiser: NetworkDenoiser, condition: Condition | None = None
) -> Diffusion:
    """The distribution that a trained denoiser and its config stand for."""
    used = in_use(config, denoiser)
    return Diffusion(used, transform.spec.shape, transform, config.process.steps, condition=condition)


def in_use(config: Config, denoiser: NetworkDenoiser) -> AnyDenoiser:
    """The denoiser as a config's model asks it: clipped or not."""
    return Clipped(denoiser) if config.denoiser.clip else denoiser


def build_objective(config: Config, spec: DataSpec) -> Objective:
    """What a resolved config's training lowers."""
    name = chosen(config.train.objective)
    if name == "continuous" and config.process.schedule == "learned":
        return ContinuousBound(spec.lattice)
    if name in REGRESSIONS:
        return Regression(*REGRESSIONS[name], first=1 / config.process.steps)
    bound = PairBound(config.process.steps, build_lattice(config, spec))
    return bound if name == "bound" else Hybrid(bound)


def build_proposal(config: Config) -> Proposal:
    """Where a resolved config's training looks."""
    if config.train.times == "log-snr-density":
        return LogSnrDensity(first=1 / config.process.steps)
    return PROPOSALS[chosen(config.train.times)]()


def describe_process(config: Config) -> str:
    """The process, and what the network says of it, in a few words."""
    process, denoiser = config.process, config.denoiser
    walk = f"{process.schedule} schedule, {process.steps} steps; the network predicts "
    if _is_bits(config):
        return f"bernoulli, rate {process.rate:g}, {walk}the log-odds of each bit"
    clipped = ", clipped" if denoiser.clip else ""
    return f"gaussian, {walk}{denoiser.predicts}{clipped}; {denoiser.variance} variance"


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


def _backbone(config: NetworkConfig, spec: DataSpec, condition: Condition, inputs: int, outputs: int) -> nn.Module:
    width, depth, embeddings = chosen(config.width), chosen(config.depth), _embeddings(condition)
    if config.kind == "mlp":
        return MLP(inputs, width, depth, config.dropout, outputs, embeddings)
    multipliers, attention = chosen(config.multipliers), chosen(config.attention)
    beside = condition.given.spec.shape[0] if condition.given and condition.given.spec.size else 0
    told: dict[str, Any] = {"condition": embeddings, "axes": len(spec.size), "given": beside}
    return UNet(inputs, width, multipliers, depth, attention, config.dropout, outputs, **told)


def _embeddings(condition: Condition) -> dict[str, ConditionEmbedding]:
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
    return Mean(config.process.steps) if name == "mean" else NAMED[name]


def _variance(config: Config, process: Gaussian) -> ReverseVariance:
    """The reverse variance, before anything is measured."""
    name = chosen(config.denoiser.variance)
    if name != "analytic":
        return SIMPLE[name]
    first, last = (float(process.schedule.log_snr(t)) for t in (1.0, 1 / config.process.steps))
    log_snr = torch.linspace(max(first, -20.0), last, _KNOTS, dtype=torch.float64)
    return Analytic(log_snr, 1 / (1 + log_snr.exp()))


def _is_bits(config: Config) -> bool:
    return config.process.kind == "bernoulli"


def _kind(config: Config, spec: DataSpec) -> str:
    kind = config.network.kind or ("unet" if spec.size else "mlp")
    if (kind == "unet") != bool(spec.size):
        raise ConfigError("network.kind", kind, "unet for series, images and volumes, mlp for vectors")
    return kind


def _resolve_process(whole: Config, spec: DataSpec) -> ProcessConfig:
    config = whole.process
    if config.kind == "gaussian":
        if config.rate is not None:
            raise ConfigError("process.rate", config.rate, "the bernoulli process; the gaussian one has no rate")
        by_level = whole.denoiser.predicts == "levels" or (whole.denoiser.predicts is None and _by_level(whole, spec))
        return _with_first(_filled(config, {"schedule": "log-linear" if by_level else "linear"}), spec)
    if spec.levels != 2:
        got = "bernoulli, and " + (f"data with {spec.levels} levels" if spec.levels else "continuous data")
        raise ConfigError("process.kind", got, "data with 2 levels, or gaussian")
    if config.schedule in _NOT_OF_BITS:
        need = "a schedule that is not trained and keeps the variance bounded, for the bernoulli process"
        raise ConfigError("process.schedule", config.schedule, need)
    return _with_first(_filled(config, {"schedule": "linear", "rate": 0.5}), spec)


def _with_first(config: ProcessConfig, spec: DataSpec) -> ProcessConfig:
    """The first log-SNR of a schedule that has it for an option: where neighbouring levels can be told apart."""
    if config.schedule == "log-linear":
        first = 2 * math.log(_TOLD_APART * (spec.levels - 1)) if spec.levels else 13.3
        return _filled(config, {"log_snr_first": first})
    if config.log_snr_first is not None:
        raise ConfigError("process.log_snr_first", config.log_snr_first, "the schedule log-linear")
    return config


def _resolve_bits(config: DenoiserConfig) -> DenoiserConfig:
    for name in ("predicts", "variance", "clip"):
        if getattr(config, name) is not None:
            need = "the gaussian process; of bits a network gives the log-odds, and the reverse step follows"
            raise ConfigError(f"denoiser.{name}", getattr(config, name), need)
    if config.sees == "nothing":
        raise ConfigError("denoiser.sees", config.sees, "log_snr, for the bernoulli process")
    return config


def _resolve_denoiser(config: Config, spec: DataSpec) -> DenoiserConfig:
    predicts = config.denoiser.predicts or _predicts(config, spec)
    by_level = predicts == "levels"
    if by_level and (spec.levels is None or config.denoiser.sees == "nothing"):
        raise ConfigError("denoiser.predicts", predicts, "data with levels, and a network that sees the noise level")
    defaults = {
        "predicts": predicts,
        "variance": "small" if by_level else "large",
        "clip": spec.levels is not None and not by_level,
    }
    filled = _filled(config.denoiser, defaults)
    if filled.clip and spec.levels is None:
        raise ConfigError("denoiser.clip", True, "data with levels, whose range is known")
    return filled


def _predicts(config: Config, spec: DataSpec) -> str:
    """Levels where there are few; else the noise, or what can still be predicted where there is nothing but noise."""
    schedule = build_process(config.process).schedule
    if _by_level(config, spec):
        return "levels"
    if bool(schedule.alpha(1.0) == 0):
        return "v"
    return "F" if config.process.schedule == "karras" and config.denoiser.sees != "nothing" else "eps"


def _by_level(config: Config, spec: DataSpec) -> bool:
    """Whether there are few enough levels for a network that sees the noise to speak of each."""
    few = spec.levels is not None and spec.levels <= 256 and math.prod(spec.shape) * spec.levels <= _MOST_LEVELS
    return few and config.denoiser.sees != "nothing"


def _resolve_train(config: Config, denoiser: DenoiserConfig, spec: DataSpec) -> TrainConfig:
    objective = _objective(config, denoiser)
    possible = _times(chosen(config.process.schedule), objective)
    if config.train.times not in (None, *possible):
        what = f"{' or '.join(possible)}, with objective {objective} and schedule {config.process.schedule}"
        raise ConfigError("train.times", config.train.times, what)
    if not config.data.conditional and config.train.condition_dropout is not None:
        need = "data.labels, data.condition or data.shrink; there is nothing to hide"
        raise ConfigError("train.condition_dropout", config.train.condition_dropout, need)
    small = math.prod(spec.shape) <= _SMALL
    batch_size = config.train.batch_size or ((64 if small else 32) if spec.size else 256)
    if (config.train.micro_batch_size or 1) > batch_size:
        need = f"at most train.batch_size, {batch_size}"
        raise ConfigError("train.micro_batch_size", config.train.micro_batch_size, need)
    defaults = {
        "steps": 1500 if spec.size else 5000,
        "batch_size": batch_size,
        "micro_batch_size": batch_size,
        "learning_rate": 3e-3 if spec.size else 2e-3 if small else 5e-4,
        "objective": objective,
        "times": possible[0],
        "condition_dropout": 0.1 if config.data.conditional else None,
    }
    return _filled(config.train, defaults)


def _objective(config: Config, denoiser: DenoiserConfig) -> str:
    """The objective asked for, or else the one that trains all there is to train."""
    variance, schedule = str(denoiser.variance), str(config.process.schedule)
    by_variance, by_schedule = _TRAINS_VARIANCE.get(variance, ()), _TRAINS_SCHEDULE.get(schedule, ())
    asked = {f"{variance} variance": by_variance, f"{schedule} schedule": by_schedule}
    if _is_bits(config):
        asked["bernoulli process"] = ("bound",)
    limits = {what: some for what, some in asked.items() if some}
    usual = (*itertools.chain(*limits.values()), _OBJECTIVE_OF.get(str(denoiser.predicts), "simple"))
    fitting = (name for name in usual if all(name in some for some in limits.values()))
    objective: str = config.train.objective or str(next(fitting))
    for what, some in limits.items():
        if objective not in some:
            raise ConfigError("train.objective", objective, f"{' or '.join(some)}, to train the {what}")
    if variance == "analytic" and (objective in ("hybrid", "bound") or by_schedule):
        need = f"another one with objective {objective}, which trains on it: this one is measured afterwards"
        raise ConfigError("denoiser.variance", "analytic", need)
    return objective


def _times(schedule: str, objective: str) -> tuple[str, ...]:
    """The proposals of times that an objective goes with, the usual one first."""
    if objective == "continuous" and schedule == "learned":
        return _UNWEIGHTED  # the schedule itself is the density: with another one its shape would find no optimum
    if objective in ("hybrid", "bound"):
        return (*_UNWEIGHTED, "loss-history")  # the others leave out the first step, which is the decoder's
    usual = _TIMES_OF.get(objective, "low-discrepancy")
    return (usual, *(name for name in PROPOSALS if name != usual))


def _resolve_unet(config: NetworkConfig, spec: DataSpec) -> NetworkConfig:
    multipliers = config.multipliers or _multipliers(spec.size)
    places = [math.prod(math.ceil(side / 2**i) for side in spec.size) for i in range(len(multipliers))]
    attention = tuple(i > 0 and count <= _ATTENTION_PLACES for i, count in enumerate(places))
    filled = _filled(
        config,
        {
            "kind": "unet",
            "width": 32,
            "depth": 1 if math.prod(spec.size) <= _SMALL else 2,
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
    """Halve until the longest side is down to four to seven places, at most three times; a series as often as it takes
    for its last resolution to have attention, as it has nothing else to see all of it with."""
    halvings = min(max(int(math.log2(max(size) / 4)), 0), 3)
    if len(size) == 1:
        halvings = max(halvings, math.ceil(math.log2(size[0] / _ATTENTION_PLACES)))
    return (1, *(2,) * halvings)


def _filled(config: Section, defaults: dict[str, Any]) -> Section:
    """A config whose fields that are None take their default."""
    return replace(config, **{name: value for name, value in defaults.items() if getattr(config, name) is None})
