"""Options that were left open: the shape, the kind and the number of the data decide them."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, get_args

from torch import nn

from inkwash.core.config import (
    AutoencoderConfig,
    Config,
    DataConfig,
    DenoiserConfig,
    NetworkConfig,
    ObjectiveName,
    PredictionName,
    ProcessConfig,
    ProcessName,
    ScheduleName,
    TimesName,
    TrainConfig,
    VarianceName,
)
from inkwash.core.errors import ConfigError
from inkwash.core.options import narrowed
from inkwash.core.resolved import (
    ResolvedConfig,
    ResolvedDenoisingConfig,
    ResolvedDenoisingTrainConfig,
    ResolvedNetworkConfig,
    ResolvedProcessConfig,
    ResolvedTrainConfig,
)
from inkwash.data.spec import FEW_LEVELS, DataSpec
from inkwash.nn import NETWORKS
from inkwash.nn.options import SMALL
from inkwash.presets import PRESETS
from inkwash.training.augment import require_moves
from inkwash.training.build import network_options
from inkwash.training.kinds import KINDS
from inkwash.training.sampling import require_sampling
from inkwash.training.times import PROPOSALS

D = TypeVar("D", bound=ResolvedDenoisingConfig)
R = TypeVar("R", bound=ResolvedConfig)
Section = TypeVar("Section", AutoencoderConfig, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig)

_LEAST_STEPS, _MOST_STEPS = 300, 5000
_FEW = 1000
_SHOWS_LEVELS = 64  # how many places show which levels an example has
_BY_HEART = 300  # how many examples of series, images and volumes a network does not learn by heart with Muon
_MOST_LEVELS, _MOST_MIXTURES = 1 << 20, 1 << 13
_REAL_FIRST = 9.2  # sigma/alpha is a hundredth of the spread of the data
REAL_SPACING = 0.01
"""The least distance between the laws of a mixture, where no levels give one: that of the default's first noise."""
_APART = 3  # how many sigma/alpha are half the distance between neighbouring levels at the first time
_APART_IN_TIME = 4  # as many, where a network that sees the day and the week of a date tells hours or days apart
_LAST_FIRST = 28.0  # float32 has no digits left for less noise
_OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
_USUAL_OBJECTIVE: Mapping[PredictionName | None, ObjectiveName] = {
    "levels": "continuous",
    "mixture": "continuous",
    "F": "edm",
    "v": "v",
    "velocity": "velocity",
    "mean": "bound",
}
"""The usual objective of a prediction, if it is not the simple one."""
_USUAL_VARIANCE: Mapping[PredictionName, VarianceName] = {"levels": "small", "mixture": "matched"}
"""The usual reverse variance of a prediction, if it is not the large one."""
_TRAINS_SCHEDULE: Mapping[ScheduleName, tuple[ObjectiveName, ...]] = {
    "learned": ("continuous", "bound"),
    "learned-betas": ("bound",),
}
_TRAINS_VARIANCE: Mapping[VarianceName | None, tuple[ObjectiveName, ...]] = {
    "learned": ("hybrid", "bound"),
    "free": ("hybrid", "bound"),
}
_UNWEIGHTED: tuple[TimesName, ...] = ("low-discrepancy", "uniform")


def resolve_denoising(kind: type[D], config: Config, spec: DataSpec, examples: int | None = None) -> D:
    """The config with every option of the process, the denoiser, the network and the training decided by the data.

    Args:
        kind: what to return.
        config: the options that are set, and None for the others.
        spec: what the data is.
        examples: how many there are; None counts as many.

    Raises:
        ConfigError: an option that the process, network or schedule does not have, or that does not go with the data.
    """
    process = _resolve_process(config, spec)
    denoiser = _resolve_denoiser(config.denoiser, process.kind, spec)
    network = _resolve_network(config.network, spec, examples)
    objective = _objective(config.train, process, denoiser)
    times = _times(config.train, process, objective)
    options = network_options(network)
    rate = options.learning_rate(math.prod(spec.shape))
    optimizer = "adamw" if examples is not None and examples < _BY_HEART else options.optimizer
    usual = {"objective": objective, "times": times, "learning_rate": rate, "optimizer": optimizer}
    open_train = with_defaults(config.train, **usual)
    train = narrowed(ResolvedDenoisingTrainConfig, resolve_train(open_train, spec, examples, config.data), "train")
    decided = with_sections(kind, config, process=process, denoiser=denoiser, network=network, train=train)
    untrained = KINDS[process.kind].denoiser(decided, spec, nn.Identity())  # refuses what does not go together
    require_sampling(config.sampling, untrained, spec.lattice, "sampling.")
    return decided


def _resolve_process(config: Config, spec: DataSpec) -> ResolvedProcessConfig:
    process, possible = config.process, [name for name, kind in KINDS.items() if kind.suits(spec)]
    name = process.kind or possible[0]
    kind, schedule = KINDS[name], process.schedule or KINDS[name].schedule
    if name not in possible:
        raise ConfigError("process.kind", f"{name}, and {spec.describe()}", " or ".join(possible))
    if config.preset and name not in PRESETS[config.preset]:
        need = " or ".join(f"process.kind {kind}, for {KINDS[kind].data}" for kind in PRESETS[config.preset])
        raise ConfigError("preset", f"{config.preset}, and the process {name}", need)
    _require_own("process", process, name, {other: kind.options for other, kind in KINDS.items()})
    if schedule in kind.impossible:
        suitable = " or ".join(each for each in get_args(ScheduleName) if each not in kind.impossible)
        need = f"{suitable}, for the {name} process: one that is not trained and keeps the variance bounded"
        raise ConfigError("process.schedule", schedule, need)
    if schedule != "log-linear" and process.log_snr_first is not None:
        raise ConfigError("process.log_snr_first", process.log_snr_first, "process.schedule log-linear")
    first = _first_log_snr(config.denoiser, spec) if schedule == "log-linear" else None
    own = {option.name: option.default for option in fields(kind.options)}
    filled = with_defaults(process, kind=name, schedule=schedule, log_snr_first=first, **own)
    return narrowed(ResolvedProcessConfig, filled, "process")


def _first_log_snr(config: DenoiserConfig, spec: DataSpec) -> float:
    """The log-SNR of the first time: where a network that predicts levels can tell neighbouring ones apart; where sigma
    is the distance between them if it predicts mixtures, whose decoder tells them apart; otherwise where DDPM begins,
    or where sigma is a quarter of the unit that dates and durations count, if that is later.
    """
    predicts = config.predicts or _predicts(config, spec)
    if predicts == "levels" and spec.levels:
        return 2 * math.log(_APART * (spec.levels - 1))
    if predicts == "mixture" and spec.lattice:
        return -2 * math.log(spec.lattice.spacing)
    if spec.finest_time is not None:
        return min(max(_REAL_FIRST, -2 * math.log(spec.finest_time / _APART_IN_TIME)), _LAST_FIRST)
    return _REAL_FIRST


def _resolve_denoiser(config: DenoiserConfig, name: ProcessName, spec: DataSpec) -> DenoiserConfig:
    if "numbers" not in KINDS[name].gives:
        return _without_numbers(config, name)
    predicts = config.predicts or _predicts(config, spec)
    by_level, are_plain = predicts in ("levels", "mixture"), not (any(spec.sizes) or spec.may_miss.any())
    if predicts == "levels" and (spec.levels is None or config.sees != "log_snr"):
        raise ConfigError("denoiser.predicts", predicts, "data with levels (data.levels), and denoiser.sees log_snr")
    if predicts == "mixture" and (config.sees != "log_snr" or not are_plain):
        need = "data without categories and missing entries, and denoiser.sees log_snr"
        raise ConfigError("denoiser.predicts", predicts, need)
    variance = _USUAL_VARIANCE.get(predicts, "large")
    clip = spec.levels is not None and not by_level
    filled = with_defaults(
        config, predicts=predicts, variance=variance, clip=clip, histogram=_histogram(predicts, spec)
    )
    if filled.variance not in KINDS[name].variances:
        need = f"{' or '.join(KINDS[name].variances)}, for {KINDS[name].data}"
        raise ConfigError("denoiser.variance", filled.variance, need)
    if spec.recurring and predicts == "mixture":
        raise ConfigError("denoiser.predicts", predicts, "another one, as numbers recur; or data.masses none")
    if filled.histogram and (predicts != "levels" or not spec.size):
        need = "false, or series, images or volumes, and denoiser.predicts levels"
        raise ConfigError("denoiser.histogram", True, need)
    if filled.clip and spec.levels is None:
        raise ConfigError("denoiser.clip", True, "false, or data with levels (data.levels), whose range is known")
    return filled


def _without_numbers(config: DenoiserConfig, name: ProcessName) -> DenoiserConfig:
    """The config for a process without numbers, which leaves nothing to decide."""
    for option in ("predicts", "variance", "clip", "histogram"):
        if getattr(config, option) is not None:
            need = f"process.kind gaussian; for {name} the network gives log-odds, and the reverse step follows"
            raise ConfigError(f"denoiser.{option}", getattr(config, option), need)
    if config.sees == "nothing":
        raise ConfigError("denoiser.sees", config.sees, f"log_snr or time, for the {name} process")
    return config


def _predicts(config: DenoiserConfig, spec: DataSpec) -> PredictionName:
    """Levels where there are few and the network sees the log-SNR, a mixture where there are many and for a real number
    alone, whose law it is fitted to; else F, or v where the network must not see the noise that scales its input."""
    if config.sees == "nothing":
        return "v"
    if config.sees == "log_snr" and has_few_levels(spec):
        return "levels"
    many = spec.levels is not None and spec.levels > FEW_LEVELS and math.prod(spec.shape) <= _MOST_MIXTURES
    alone = spec.shape == (1,) and not spec.may_miss.any() and not spec.recurring
    return "mixture" if config.sees == "log_snr" and (many or alone) else "F"


def _histogram(predicts: PredictionName, spec: DataSpec) -> bool:
    """Whether a network compares the levels of an example with those of the data: where there are few, and enough
    places to show them."""
    few = predicts == "levels" and spec.levels is not None and spec.levels <= FEW_LEVELS
    return few and math.prod(spec.size) >= _SHOWS_LEVELS


def has_few_levels(spec: DataSpec) -> bool:
    """Whether a network can give the odds of every level of every entry."""
    return spec.levels is not None and spec.levels <= FEW_LEVELS and math.prod(spec.shape) * spec.levels <= _MOST_LEVELS


def _resolve_network(config: NetworkConfig, spec: DataSpec, examples: int | None) -> ResolvedNetworkConfig:
    places, vectors = ([name for name in NETWORKS if NETWORKS[name].of_places == of] for of in (True, False))
    possible = places if spec.size else vectors
    name = config.kind or possible[0]
    if name not in possible:
        need = f"{' or '.join(places)} for series, images and volumes, {' or '.join(vectors)} for vectors"
        raise ConfigError("network.kind", name, need)
    _require_own("network", config, name, NETWORKS)
    few = not spec.size and examples is not None and examples < _FEW
    dropout = config.dropout if config.dropout is not None else 0.5 if few else 0.0
    options: Any = NETWORKS[name].decide(config, spec.size, dropout)
    return narrowed(ResolvedNetworkConfig, replace(config, kind=name, **asdict(options)), "network")


def resolve_train(config: TrainConfig, spec: DataSpec, examples: int | None, data: DataConfig) -> ResolvedTrainConfig:
    """The options of training whose learning rate is decided, with everything else decided that all models need.

    Raises:
        ConfigError: hidden conditions without a condition, or a part of a batch that is larger than the batch.
    """
    if not data.conditional and config.condition_dropout is not None:
        need = "data.labels, data.condition or data.shrink; there is nothing to hide"
        raise ConfigError("train.condition_dropout", config.condition_dropout, need)
    if len(set(config.ema)) < len(config.ema):
        raise ConfigError("train.ema", config.ema, "each horizon once")
    require_moves(config.augment or (), spec.size, spec.describe())
    if config.augment_share is not None and not config.augment:
        raise ConfigError("train.augment_share", config.augment_share, "train.augment; nothing is transformed")
    small = math.prod(spec.shape) <= SMALL
    batch_size = config.batch_size or ((64 if small else 32) if spec.size else 256)
    if (config.micro_batch_size or 1) > batch_size:
        raise ConfigError("train.micro_batch_size", config.micro_batch_size, f"at most train.batch_size, {batch_size}")
    filled = with_defaults(
        config,
        steps=1500 if spec.size else _steps(examples),
        batch_size=batch_size,
        micro_batch_size=batch_size,
        condition_dropout=0.1 if data.conditional else None,
        augment_share=0.5 if config.augment else None,
    )
    return narrowed(ResolvedTrainConfig, filled, "train")


def _steps(examples: int | None) -> int:
    """Steps for vectors: a network that looks at few of them much longer learns them by heart."""
    return _MOST_STEPS if examples is None else min(max(3 * examples, _LEAST_STEPS), _MOST_STEPS)


def _objective(config: TrainConfig, process: ResolvedProcessConfig, denoiser: DenoiserConfig) -> ObjectiveName:
    """The objective of the config, or else the usual one that trains all there is to train."""
    limits = {
        f"{denoiser.variance} variance": _TRAINS_VARIANCE.get(denoiser.variance, _OBJECTIVES),
        f"{process.schedule} schedule": _TRAINS_SCHEDULE.get(process.schedule, _OBJECTIVES),
        f"{process.kind} process": KINDS[process.kind].objectives,
    }
    names = (_USUAL_OBJECTIVE.get(denoiser.predicts, "simple"), *itertools.chain(*limits.values()))
    usual = next(name for name in names if all(name in some for some in limits.values()))
    objective = config.objective or usual
    for what, some in limits.items():
        if objective not in some:
            raise ConfigError("train.objective", objective, f"{' or '.join(some)}, to train the {what}")
    if denoiser.variance == "analytic" and (objective in ("hybrid", "bound") or process.schedule in _TRAINS_SCHEDULE):
        others = " or ".join(each for each in KINDS[process.kind].variances if each != "analytic")
        need = f"{others} with train.objective {objective}, which trains on it: this one is measured afterwards"
        raise ConfigError("denoiser.variance", "analytic", need)
    return objective


def _times(config: TrainConfig, process: ResolvedProcessConfig, objective: ObjectiveName) -> TimesName:
    """The proposal of times of the config, or else the usual one."""
    possible = _possible_times(process, objective)
    if config.times not in (None, *possible):
        need = f"{' or '.join(possible)}, with train.objective {objective} and process.schedule {process.schedule}"
        raise ConfigError("train.times", config.times, need)
    return config.times or possible[0]


def _possible_times(process: ResolvedProcessConfig, objective: ObjectiveName) -> tuple[TimesName, ...]:
    """The proposals of times that an objective goes with, the usual one first."""
    if objective == "continuous" and process.schedule == "learned":
        return _UNWEIGHTED  # the schedule itself is the density: with another one its shape would find no optimum
    if objective in ("mean", "hybrid", "bound"):
        return (*_UNWEIGHTED, "loss-history")  # the others leave out the first step of the grid
    usual: TimesName = "log-snr-density" if objective == "continuous" else "low-discrepancy"
    if (process.schedule, objective, KINDS[process.kind].gives) == ("karras", "edm", ("numbers",)):
        usual = "log-normal"
    return (usual, *(name for name in PROPOSALS if name != usual))


def with_sections(kind: type[R], config: Config, **sections: Any) -> R:
    """A config as another kind of config, with other sections."""
    return kind(**{option.name: getattr(config, option.name) for option in fields(config)} | sections)


def with_defaults(config: Section, **defaults: Any) -> Section:
    """A config whose fields that are None take their default."""
    return replace(config, **{name: value for name, value in defaults.items() if getattr(config, name) is None})


def _require_own(section: str, config: Any, name: str, kinds: Mapping[Any, type]) -> None:
    """Refuse options that other kinds of a section have and the kind of this name does not."""
    for option in fields(config):
        having = [kind for kind, options in kinds.items() if option.name in _names(options)]
        value = getattr(config, option.name)
        if having and name not in having and value is not None:
            need = f"{section}.kind {' or '.join(having)}; {name} has none"
            raise ConfigError(f"{section}.{option.name}", value, need)


def _names(options: Any) -> set[str]:
    return {option.name for option in fields(options)}
