"""Options that were left open: what the shape, the kind and the number of the data choose for them."""

import itertools
import math
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from inkwash.core.config import Config, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import chosen
from inkwash.data.spec import DataSpec
from inkwash.training.build import _assemble
from inkwash.training.objective import REGRESSIONS
from inkwash.training.times import PROPOSALS

Section = TypeVar("Section", ProcessConfig, DenoiserConfig, NetworkConfig, TrainConfig)
_ATTENTION_PLACES = 64
_SMALL = 256
_LEAST_STEPS, _MOST_STEPS = 300, 5000
_FEW = 1000
_MOST_LEVELS = 1 << 20
_OF_PLACES = ("unet", "dit")
_OWNERS = {"multipliers": "unet", "attention": "unet", "patch": "dit"}
_UNBOUNDED, _TRAINED = ("karras",), ("learned-betas", "learned")
_REAL_FIRST = 9.2  # sigma/alpha is a hundredth of the spread of the data
_TOLD_APART = 3  # how many sigma/alpha are half the distance between neighbouring levels at the first time
_OBJECTIVE_OF = {"levels": "continuous", "F": "edm", "v": "v", "mean": "bound"}
_TRAINS_SCHEDULE: dict[str, tuple[str, ...]] = {"learned": ("continuous", "bound"), "learned-betas": ("bound",)}
_TRAINS_VARIANCE: dict[str, tuple[str, ...]] = {"learned": ("hybrid", "bound"), "free": ("hybrid", "bound")}
_UNWEIGHTED = ("low-discrepancy", "uniform")
_KINDS_OF_DATA = [
    spec
    for levels in (None, 2, 256)
    for spec in (
        DataSpec((2,), "ND", "float32", 0.0, 255.0, levels),
        DataSpec((1, 8, 8), "NHW", "float32", 0.0, 255.0, levels),
    )
]


def require_possible(config: Config) -> None:
    """Refuse options that no data goes with, before any is read.

    Raises:
        ConfigError: as `resolve`, where it says the same of every kind of data. Options of tables with categories wait
            for the table.
    """
    if config.process.categories or config.process.kind in ("mixed", "categorical"):
        return
    refused = {}
    for spec in _KINDS_OF_DATA:
        try:
            resolve(config, spec)
        except ConfigError as error:
            refused[str(error)] = error
        else:
            return
    if len(refused) == 1:
        raise refused.popitem()[1]


def resolve(config: Config, spec: DataSpec, examples: int | None = None) -> Config:
    """The config with every choice that was left open made from the shape of the data.

    Args:
        config: what was asked for.
        spec: what the data is.
        examples: how many there are; None counts as many.

    Raises:
        ConfigError: an option that the chosen process, network or schedule does not have.
    """
    if config.data.transform != "standard" and not spec.is_real.any():
        raise ConfigError("data.transform", config.data.transform, "data with real numbers")
    config = replace(config, process=_resolve_process(config, spec))
    denoiser = _resolve_denoiser(config, spec) if has_numbers(config) else _resolve_odds(config)
    network = _resolve_network(config.network, spec, examples)
    config = replace(config, network=network)
    train = _resolve_train(config, denoiser, spec, examples)
    resolved = replace(config, denoiser=denoiser, train=train)
    _assemble(resolved, spec, nn.Identity())  # refuses what does not go together
    return resolved


def has_numbers(config: Config) -> bool:
    """Whether there are real numbers to predict, and not odds alone."""
    return config.process.kind in ("gaussian", "mixed")


def _resolve_process(whole: Config, spec: DataSpec) -> ProcessConfig:
    possible = _process_kinds(spec)
    config = _filled(whole.process, {"kind": possible[0]})
    if config.kind not in possible:
        raise ConfigError("process.kind", f"{config.kind}, and {spec.describe()}", " or ".join(possible))
    if config.kind != "bernoulli" and config.rate is not None:
        raise ConfigError("process.rate", config.rate, f"the bernoulli process; the {config.kind} one has no rate")
    if not any(spec.sizes) and config.categories is not None:
        raise ConfigError("process.categories", config.categories, "a table with categories")
    if config.kind != "gaussian" and config.schedule in _TRAINED + (() if config.kind == "mixed" else _UNBOUNDED):
        need = f"a schedule that is not trained and keeps the variance bounded, for the {config.kind} process"
        raise ConfigError("process.schedule", config.schedule, need)
    defaults: dict[str, Any] = {"schedule": "log-linear"}
    if config.kind == "bernoulli":
        defaults = {"schedule": "linear", "rate": 0.5}
    if any(spec.sizes):
        defaults["categories"] = "absorbing"
    if config.kind == "categorical":
        defaults["schedule"] = "sohl-dickstein"
    by_level = (whole.denoiser.predicts or _predicts(whole, spec)) == "levels"
    return _with_first(_filled(config, defaults), spec.levels if by_level else None)


def _process_kinds(spec: DataSpec) -> tuple[str, ...]:
    """The processes that data can go through, the usual one first."""
    if any(spec.sizes):
        return ("categorical",) if all(spec.sizes) else ("mixed",)
    return ("gaussian", "bernoulli") if spec.levels == 2 else ("gaussian",)


def _with_first(config: ProcessConfig, levels: int | None) -> ProcessConfig:
    """The first log-SNR of a schedule that has it for an option: where a network that predicts levels can tell
    neighbouring ones apart, and otherwise where DDPM begins."""
    if config.schedule == "log-linear":
        first = 2 * math.log(_TOLD_APART * (levels - 1)) if levels else _REAL_FIRST
        return _filled(config, {"log_snr_first": first})
    if config.log_snr_first is not None:
        raise ConfigError("process.log_snr_first", config.log_snr_first, "the schedule log-linear")
    return config


def _resolve_odds(config: Config) -> DenoiserConfig:
    denoiser, kind = config.denoiser, config.process.kind
    for name in ("predicts", "variance", "clip"):
        if getattr(denoiser, name) is not None:
            need = f"the gaussian process; of the {kind} one a network gives log-odds, and the reverse step follows"
            raise ConfigError(f"denoiser.{name}", getattr(denoiser, name), need)
    if denoiser.sees == "nothing":
        raise ConfigError("denoiser.sees", denoiser.sees, f"log_snr, for the {kind} process")
    return denoiser


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
    if config.process.kind == "mixed" and filled.variance not in ("small", "large"):
        raise ConfigError("denoiser.variance", filled.variance, "small or large, for rows of numbers and categories")
    if filled.clip and spec.levels is None:
        raise ConfigError("denoiser.clip", True, "data with levels, whose range is known")
    return filled


def _predicts(config: Config, spec: DataSpec) -> str:
    """Levels where there are few; else F, or v where the network must not see the noise that scales its input."""
    if _by_level(config, spec):
        return "levels"
    return "v" if config.denoiser.sees == "nothing" else "F"


def _by_level(config: Config, spec: DataSpec) -> bool:
    """Whether there are few enough levels for a network that sees the noise to speak of each."""
    few = spec.levels is not None and spec.levels <= 256 and math.prod(spec.shape) * spec.levels <= _MOST_LEVELS
    return few and config.denoiser.sees != "nothing"


def _resolve_train(config: Config, denoiser: DenoiserConfig, spec: DataSpec, examples: int | None) -> TrainConfig:
    objective = _objective(config, denoiser)
    possible = _times(config.process, objective)
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
        "steps": 1500 if spec.size else _steps(examples),
        "batch_size": batch_size,
        "micro_batch_size": batch_size,
        "learning_rate": _learning_rate(config.network, spec),
        "objective": objective,
        "times": possible[0],
        "condition_dropout": 0.1 if config.data.conditional else None,
    }
    return _filled(config.train, defaults)


def _learning_rate(network: NetworkConfig, spec: DataSpec) -> float:
    if network.kind in ("dit", "transformer"):
        return 1e-3
    return 3e-3 if spec.size else 2e-3 if math.prod(spec.shape) <= _SMALL else 5e-4


def _objective(config: Config, denoiser: DenoiserConfig) -> str:
    """The objective asked for, or else the one that trains all there is to train."""
    variance, schedule = str(denoiser.variance), str(config.process.schedule)
    by_variance, by_schedule = _TRAINS_VARIANCE.get(variance, ()), _TRAINS_SCHEDULE.get(schedule, ())
    asked = {f"{variance} variance": by_variance, f"{schedule} schedule": by_schedule}
    if not has_numbers(config):
        asked[f"{config.process.kind} process"] = ("bound",)
    if config.process.kind == "mixed":
        asked["mixed process"] = (*REGRESSIONS, "bound")
    limits = {what: some for what, some in asked.items() if some}
    usual = (_OBJECTIVE_OF.get(str(denoiser.predicts), "simple"), *itertools.chain(*limits.values()))
    fitting = (name for name in usual if all(name in some for some in limits.values()))
    objective: str = config.train.objective or str(next(fitting))
    for what, some in limits.items():
        if objective not in some:
            raise ConfigError("train.objective", objective, f"{' or '.join(some)}, to train the {what}")
    if variance == "analytic" and (objective in ("hybrid", "bound") or by_schedule):
        need = f"another one with objective {objective}, which trains on it: this one is measured afterwards"
        raise ConfigError("denoiser.variance", "analytic", need)
    return objective


def _times(process: ProcessConfig, objective: str) -> tuple[str, ...]:
    """The proposals of times that an objective goes with, the usual one first."""
    if objective == "continuous" and process.schedule == "learned":
        return _UNWEIGHTED  # the schedule itself is the density: with another one its shape would find no optimum
    if objective in ("hybrid", "bound"):
        return (*_UNWEIGHTED, "loss-history")  # the others leave out the first step, which is the decoder's
    usual = "log-snr-density" if objective == "continuous" else "low-discrepancy"
    if (process.kind, process.schedule, objective) == ("gaussian", "karras", "edm"):
        usual = "log-normal"
    return (usual, *(name for name in PROPOSALS if name != usual))


def _resolve_network(config: NetworkConfig, spec: DataSpec, examples: int | None) -> NetworkConfig:
    kind = config.kind or ("unet" if spec.size else "mlp")
    if (kind in _OF_PLACES) != bool(spec.size):
        need = f"{' or '.join(_OF_PLACES)} for series, images and volumes, mlp or transformer for vectors"
        raise ConfigError("network.kind", kind, need)
    for name, owner in _OWNERS.items():
        if owner != kind and getattr(config, name) is not None:
            raise ConfigError(f"network.{name}", getattr(config, name), f"the network {owner}; {kind} has none")
    defaults: dict[str, dict[str, Any]] = {
        "mlp": {"width": 128, "depth": 4},
        "transformer": {"width": 32, "depth": 3},
        "dit": {"width": 128, "depth": 4, "patch": _patch_side(spec.size)},
    }
    few = not spec.size and examples is not None and examples < _FEW
    config = _filled(replace(config, kind=kind), {"dropout": 0.5 if few else 0.0})
    return _resolve_unet(config, spec) if kind == "unet" else _filled(config, defaults[kind])


def _resolve_unet(config: NetworkConfig, spec: DataSpec) -> NetworkConfig:
    multipliers = config.multipliers or _multipliers(spec.size)
    places = [math.prod(math.ceil(side / 2**i) for side in spec.size) for i in range(len(multipliers))]
    attention = tuple(i > 0 and count <= _ATTENTION_PLACES for i, count in enumerate(places))
    depth = 1 if math.prod(spec.size) <= _SMALL else 2
    filled = _filled(config, {"width": 32, "depth": depth, "multipliers": multipliers, "attention": attention})
    if chosen(filled.width) % 8:
        raise ConfigError("network.width", filled.width, "a multiple of 8")
    if len(chosen(filled.attention)) != len(multipliers):
        raise ConfigError(
            "network.attention", filled.attention, f"{len(multipliers)} entries, as network.multipliers has"
        )
    return filled


def _patch_side(size: tuple[int, ...]) -> int:
    """The smallest side of a patch, above one place, of which there are few enough to attend to each other."""
    few = (n for n in itertools.count(2) if math.prod(math.ceil(side / n) for side in size) <= _ATTENTION_PLACES)
    return next(few)


def _steps(examples: int | None) -> int:
    """Steps for vectors: a network that looks at few of them much longer learns them by heart."""
    return _MOST_STEPS if examples is None else min(max(3 * examples, _LEAST_STEPS), _MOST_STEPS)


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
