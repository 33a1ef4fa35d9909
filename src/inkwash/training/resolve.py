"""The options of a run, all decided: the family of the model decides what was left open."""

from dataclasses import fields

from inkwash.core.config import Config, ProcessConfig
from inkwash.core.errors import ConfigError
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.data.spec import DataSpec
from inkwash.training.families import FAMILIES, AnyFamily
from inkwash.training.kinds import KINDS

_EXAMPLES_OF_DATA = [
    spec
    for levels in (None, 2, 256)
    for spec in (
        DataSpec((2,), "ND", "float32", 0.0, 255.0, levels),
        DataSpec((1, 8, 8), "NHW", "float32", 0.0, 255.0, levels),
    )
]
"""Data of every kind but tables with categories."""


def family_of(config: Config) -> AnyFamily:
    """The family of models that a config is of."""
    return FAMILIES[config.model]


def resolve(config: Config, spec: DataSpec, examples: int | None = None) -> AnyResolvedConfig:
    """The config with every option that was left open decided by the data.

    Args:
        config: the options that are set, and None for the others.
        spec: what the data is.
        examples: how many there are; None counts as many.

    Raises:
        ConfigError: an option that the model does not have, or that does not go with others or with the data.
    """
    if config.data.transform != "standard" and not spec.is_real.any():
        raise ConfigError("data.transform", config.data.transform, "data with real numbers")
    resolved: AnyResolvedConfig = family_of(config).resolve(config, spec, examples)
    return resolved


def require_possible(config: Config) -> None:
    """Refuse options that no data goes with, before any is read.

    Raises:
        ConfigError: the error of `resolve`, if it is the same for every kind of data. Options of tables with categories
            wait for the table.
    """
    if _is_for_tables(config.process):
        return
    refused = {}
    for spec in _EXAMPLES_OF_DATA:
        try:
            resolve(config, spec)
        except ConfigError as error:
            refused[str(error)] = error
        else:
            return
    if len(refused) == 1:
        raise refused.popitem()[1]


def _is_for_tables(config: ProcessConfig) -> bool:
    """Whether options belong to processes that only tables with categories go through."""
    options = {option.name for option in fields(config) if getattr(config, option.name) is not None}
    own = {name: {option.name for option in fields(kind.options)} for name, kind in KINDS.items()}
    kinds = [name for name in KINDS if config.kind == name or options & own[name]]
    return any(not any(map(KINDS[kind].suits, _EXAMPLES_OF_DATA)) for kind in kinds)
