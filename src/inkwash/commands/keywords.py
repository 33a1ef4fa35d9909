"""From the options of a command to the keywords of `Diffusion.sample`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from inkwash.commands.options import SamplingOptions
from inkwash.core.config import SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.data.arrays import read_npy
from inkwash.data.condition import ConditionKeywords
from inkwash.model.options import WalkOptions
from inkwash.sample import SAMPLERS
from inkwash.sample.grids import GRIDS
from inkwash.sample.walk import StepOptions
from inkwash.training.learned_grid import Criterion, learned_grid
from inkwash.training.run import StrPath

K = TypeVar("K")


def walk_options(options: SamplingOptions, run: StrPath, display: Display) -> WalkOptions:
    """How to walk, and under what condition.

    Raises:
        ConfigError: an option that neither the sampler nor the grid has, or a bad value.
        DataError: an unreadable file of conditions.
    """
    return {
        **condition_keywords(options),
        **step_options(options.walk, run, display),
        "guidance": options.guidance,
        "present": None,
    }


def condition_keywords(options: SamplingOptions) -> ConditionKeywords:
    """Under what condition to sample.

    Raises:
        DataError: an unreadable file of conditions.
    """
    found: ConditionKeywords = {"label": options.label}
    if options.given is not None:
        found["given"] = read_npy(Path(options.given))
    return found


def step_options(config: SamplingConfig, run: StrPath, display: Display) -> StepOptions:
    """The sampler, the number of steps and the grid, which is learned now if it has to be.

    Raises:
        ConfigError: an option that neither the sampler nor the grid has, or a bad value.
    """
    own = {name: value for name, value in asdict(config).items() if value is not None and name not in _OF_EVERY_WALK}
    sampler, grid = SAMPLERS[config.sampler], None if config.grid == "learned" else GRIDS[config.grid]
    for option, value in own.items():
        if option not in _names(sampler) and (grid is None or option not in _names(grid)):
            having = (name for name, kind in (*SAMPLERS.items(), *GRIDS.items()) if option in _names(kind))
            raise ConfigError(option, value, f"a sampler or grid that has this option: {', '.join(having)}")
    if grid is not None:
        return {"sampler": _made(sampler, own), "grid": _made(grid, own), "steps": config.steps}
    if config.steps is None:
        raise ConfigError("steps", config.steps, "a number of steps, for which the grid is learned")
    criterion: Criterion = "bound" if config.sampler == "ancestral" else "trajectory"
    return {"sampler": _made(sampler, own), "times": learned_grid(run, criterion, config.steps, display)}


_OF_EVERY_WALK = ("sampler", "steps", "grid")


def _names(kind: Any) -> set[str]:
    """The options of a sampler or grid."""
    return {option.name for option in fields(kind)}


def _made(kind: type[K], options: Mapping[str, Any]) -> K:
    """An object of a kind, with those of the options that it has."""
    return kind(**{name: value for name, value in options.items() if name in _names(kind)})
