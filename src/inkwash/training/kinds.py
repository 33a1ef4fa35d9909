"""One record for each kind of process: the data it is for, what it decides, how it is built and how it is described."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

from torch import nn

from inkwash.core.config import (
    CategoryNoise,
    ObjectiveName,
    PredictionName,
    ProcessName,
    RegressionName,
    ScheduleName,
    VarianceName,
)
from inkwash.core.errors import ConfigError
from inkwash.core.options import Fraction, narrowed
from inkwash.core.resolved import ResolvedDenoisingConfig, ResolvedProcessConfig
from inkwash.data.spec import DataSpec
from inkwash.denoise.denoiser import Denoiser, NetworkDenoiser, variance_of
from inkwash.denoise.discrete import MixedDenoiser, OddsDenoiser
from inkwash.denoise.prediction import NAMED, Levels, Mean, Mixture, Prediction
from inkwash.denoise.spikes import Spiked
from inkwash.process import SCHEDULES
from inkwash.process.bernoulli import Bernoulli
from inkwash.process.categorical import Categorical
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise.closed import LogLinearSchedule, SohlDicksteinSchedule
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import Discrete, Scheduled
from inkwash.process.variance import Analytic, ReverseVariance
from inkwash.training.objective import MixedLoss, Objective, Regression

_TRAINED: tuple[ScheduleName, ...] = ("learned-betas", "learned")
_UNBOUNDED: tuple[ScheduleName, ...] = ("karras", "geometric")


@dataclass(frozen=True)
class NoOptions:
    """A process without options of its own has none."""


@dataclass(frozen=True)
class BitOptions:
    """Options of the process of bits."""

    rate: Fraction = 0.5


@dataclass(frozen=True)
class CategoryOptions:
    """Options of a process with categories."""

    categories: CategoryNoise = "absorbing"


@dataclass(frozen=True)
class NumberOptions:
    """Options of a denoiser of numbers."""

    predicts: PredictionName
    variance: VarianceName
    clip: bool


@dataclass(frozen=True)
class Kind:
    """One kind of process.

    Args:
        data: the data it is for, in words.
        suits: whether it is for data of a spec.
        process: makes the process.
        denoiser: makes the denoiser around a network.
        describe: says in a few words what the process is and what the network predicts.
        options: the options of `ProcessConfig` that other kinds may not have, with their defaults.
        schedule: the default schedule.
        impossible: the schedules that do not go with it.
        gives: what the network gives: predictions of "numbers", which then have `NumberOptions`, "odds", or both.
        variances: the reverse variances that numbers can have.
        objectives: the objectives that train all of it.
        regression: makes the objective from that of the numbers and the number of steps.
    """

    data: str
    suits: Callable[[DataSpec], bool]
    process: Callable[[ResolvedProcessConfig, DataSpec], Scheduled]
    denoiser: Callable[[ResolvedDenoisingConfig, DataSpec, nn.Module], NetworkDenoiser]
    describe: Callable[[ResolvedDenoisingConfig], str]
    options: type = NoOptions
    schedule: ScheduleName = "log-linear"
    impossible: tuple[ScheduleName, ...] = ()
    gives: tuple[Literal["numbers", "odds"], ...] = ("numbers",)
    variances: tuple[VarianceName, ...] = get_args(VarianceName)
    objectives: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    regression: Callable[[Regression, int], Objective] = lambda regression, steps: regression


def _gaussian(config: ResolvedProcessConfig, spec: DataSpec) -> Gaussian:
    return Gaussian(_schedule(config))


def _bernoulli(config: ResolvedProcessConfig, spec: DataSpec) -> Bernoulli:
    return Bernoulli(_schedule(config), narrowed(BitOptions, config, "process").rate)


def _categorical(config: ResolvedProcessConfig, spec: DataSpec) -> Categorical:
    return _categories(config, spec, _schedule(config))


def _mixed(config: ResolvedProcessConfig, spec: DataSpec) -> Mixed:
    """Numbers follow the schedule of the config, and categories one of their own."""
    categories = _categories(config, spec, SohlDicksteinSchedule())
    return Mixed(Gaussian(_schedule(config)), categories, tuple(size > 0 for size in spec.sizes))


def _categories(config: ResolvedProcessConfig, spec: DataSpec, schedule: Schedule) -> Categorical:
    sizes = tuple(size for size in spec.sizes if size)
    return Categorical(schedule, sizes, narrowed(CategoryOptions, config, "process").categories)


def _schedule(config: ResolvedProcessConfig) -> Schedule:
    if config.log_snr_first is not None:
        return LogLinearSchedule(config.steps, config.log_snr_first)
    return SCHEDULES[config.schedule](config.steps)


def _number_denoiser(config: ResolvedDenoisingConfig, spec: DataSpec, network: nn.Module) -> Denoiser:
    process = _gaussian(config.process, spec)
    prediction, variance = _prediction(config, spec), _variance(config, spec, process)
    return Denoiser(network, process, prediction, variance, config.denoiser.sees)


def _odds_denoiser(config: ResolvedDenoisingConfig, spec: DataSpec, network: nn.Module) -> OddsDenoiser:
    process = cast(Discrete, KINDS[config.process.kind].process(config.process, spec))
    return OddsDenoiser(network, process, config.denoiser.sees)


def _mixed_denoiser(config: ResolvedDenoisingConfig, spec: DataSpec, network: nn.Module) -> MixedDenoiser:
    process = _mixed(config.process, spec)
    prediction, variance = _prediction(config, spec), _variance(config, spec, process.numbers)
    return MixedDenoiser(network, process, prediction, variance, config.denoiser.sees)


def _prediction(config: ResolvedDenoisingConfig, spec: DataSpec) -> Prediction:
    """What the network predicts of numbers; those of a table with categories are a part of its columns."""
    prediction = _plain_prediction(config, spec)
    counts = (
        [count for count, size in zip(spec.recurring, spec.sizes, strict=True) if not size] if spec.recurring else []
    )
    return Spiked(prediction, counts) if counts else prediction


def _plain_prediction(config: ResolvedDenoisingConfig, spec: DataSpec) -> Prediction:
    name = narrowed(NumberOptions, config.denoiser, "denoiser").predicts
    if name == "mean":
        return Mean(config.process.steps)
    if name == "mixture":
        return Mixture()
    return Levels(lattice_of(spec)) if name == "levels" else NAMED[name]


def lattice_of(spec: DataSpec) -> Lattice:
    """The values of data with levels, in model units.

    Raises:
        ConfigError: data without levels.
    """
    if spec.lattice is None:
        raise ConfigError("denoiser.predicts", "levels", "data with levels")
    return spec.lattice


def _variance(config: ResolvedDenoisingConfig, spec: DataSpec, process: Gaussian) -> ReverseVariance:
    """The reverse variance, before anything is measured."""
    name = narrowed(NumberOptions, config.denoiser, "denoiser").variance
    if name == "analytic":
        return Analytic.of_normal_data(process.schedule, config.process.steps)
    return variance_of("denoiser.variance", name, _prediction(config, spec))


def _describe_gaussian(config: ResolvedDenoisingConfig) -> str:
    denoiser = narrowed(NumberOptions, config.denoiser, "denoiser")
    clipped = ", clipped" if denoiser.clip else ""
    return f"gaussian, {_on_schedule(config)}{denoiser.predicts}{clipped}; {denoiser.variance} variance"


def _describe_bernoulli(config: ResolvedDenoisingConfig) -> str:
    rate = narrowed(BitOptions, config.process, "process").rate
    return f"bernoulli, rate {rate:g}, {_on_schedule(config)}the log-odds of each bit"


def _describe_categorical(config: ResolvedDenoisingConfig) -> str:
    return f"{config.process.categories} noise on categories, {_on_schedule(config)}their log-weights"


def _describe_mixed(config: ResolvedDenoisingConfig) -> str:
    return f"{_describe_gaussian(config)}; {config.process.categories} noise on categories"


def _on_schedule(config: ResolvedDenoisingConfig) -> str:
    return f"{config.process.schedule} schedule, {config.process.steps} steps; the network predicts "


KINDS: dict[ProcessName, Kind] = {
    "gaussian": Kind(
        data="data without categories",
        suits=lambda spec: not any(spec.sizes),
        process=_gaussian,
        denoiser=_number_denoiser,
        describe=_describe_gaussian,
    ),
    "bernoulli": Kind(
        data="data with 2 levels",
        suits=lambda spec: spec.levels == 2 and not any(spec.sizes),
        process=_bernoulli,
        denoiser=_odds_denoiser,
        describe=_describe_bernoulli,
        options=BitOptions,
        schedule="linear",
        impossible=_TRAINED + _UNBOUNDED,
        gives=("odds",),
        objectives=("bound",),
    ),
    "mixed": Kind(
        data="tables of numbers and categories",
        suits=lambda spec: any(spec.sizes) and not all(spec.sizes),
        process=_mixed,
        denoiser=_mixed_denoiser,
        describe=_describe_mixed,
        options=CategoryOptions,
        impossible=_TRAINED,
        gives=("numbers", "odds"),
        variances=("small", "large"),
        objectives=(*get_args(RegressionName), "bound"),
        regression=MixedLoss,
    ),
    "categorical": Kind(
        data="tables of categories",
        suits=lambda spec: any(spec.sizes) and all(spec.sizes),
        process=_categorical,
        denoiser=_odds_denoiser,
        describe=_describe_categorical,
        options=CategoryOptions,
        schedule="sohl-dickstein",
        impossible=_TRAINED + _UNBOUNDED,
        gives=("odds",),
        objectives=("bound",),
    ),
}
"""Kinds of process by the name that the command line knows them by; the first that suits the data is the default."""
