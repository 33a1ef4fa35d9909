"""How samples of a run are taken: the names of options stand for samplers and grids here.

Options of a later command come first, then those that the run was trained with, `Config.sampling`. What both leave open
is as `inkwash.Diffusion` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

from inkwash.core.config import SamplingConfig
from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import clipped, with_variance
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import require_gaussian
from inkwash.sample import SAMPLERS
from inkwash.sample.grids import GRIDS
from inkwash.sample.walk import StepOptions

K = TypeVar("K")

_OF_EVERY_WALK = {"sampler", "steps", "grid", "variance", "clip"}


def merged(config: SamplingConfig, base: SamplingConfig) -> SamplingConfig:
    """The options of `config` and, where it leaves one open, those of `base`; options of a sampler or grid in whose
    place `config` has another one are left out."""
    mine, theirs = asdict(config), asdict(base)
    both = SamplingConfig(**{name: theirs[name] if value is None else value for name, value in mine.items()})
    if both.sampler == "learned":  # has times of its own
        both = replace(both, grid=config.grid)
    return replace(both, **{name: value for name, value in mine.items() if name not in _own_names(both)})


def require_own(config: SamplingConfig, where: str = "", *, final: bool = True) -> None:
    """Refuse options that neither the sampler nor the grid has.

    Args:
        config: the options.
        where: what stands before the name of an option in an error.
        final: whether an open sampler or grid is the usual one; otherwise it may be any.

    Raises:
        ConfigError: such an option.
    """
    if config.sampler == "learned" and config.grid is not None:
        need = f"no grid beside --{where}sampler learned, whose steps have times of their own"
        raise ConfigError(f"{where}grid", config.grid, need)
    for option, value in asdict(config).items():
        if value is not None and option not in _own_names(config, final):
            having = (_flag_of(option, f"--{where}{what}", of) for what, of in (("sampler", SAMPLERS), ("grid", GRIDS)))
            raise ConfigError(f"{where}{option}", value, f"a sampler or grid that has this option:{''.join(having)}")


def _flag_of(option: str, flag: str, table: Mapping[Any, type]) -> str:
    """The flag that chooses, from a table, what has an option; nothing if nothing has it."""
    having = [name for name, kind in table.items() if option in _names(kind)]
    return f" {flag} {' or '.join(having)}" if having else ""


def require_sampling(config: SamplingConfig, denoiser: AnyDenoiser, lattice: Lattice | None, where: str) -> None:
    """Refuse options with which a run cannot be sampled once its denoiser is trained.

    Args:
        config: the options of a run.
        denoiser: its denoiser, trained or not.
        lattice: the values of its data, if they are levels.
        where: what stands before the name of an option in an error.

    Raises:
        ConfigError: options that do not go together, or not with the denoiser or the data.
    """
    require_own(config, where)
    step_options(config)  # refuses bad values
    for option in ("sampler", "grid"):
        if getattr(config, option) == "learned":
            need = f"another one; after training, inkwash sample RUN --{option} learned learns it"
            raise ConfigError(f"{where}{option}", "learned", need)
    if config.sampler not in (None, "ancestral"):
        require_gaussian(denoiser.process, f"{where}sampler {config.sampler}", f"--{where}sampler ancestral")
    if config.variance is not None:
        with_variance(denoiser, config.variance, f"{where}variance")
    if config.clip is not None:
        clipped(denoiser, config.clip, lattice, f"{where}clip")


def step_options(config: SamplingConfig) -> StepOptions:
    """The sampler, the number of steps and the grid, except what is learned.

    Raises:
        ConfigError: a bad value.
    """
    own = {name: value for name, value in asdict(config).items() if value is not None and name not in _OF_EVERY_WALK}
    found: StepOptions = {"steps": config.steps}
    if config.sampler is not None and config.sampler != "learned":
        found["sampler"] = _made(SAMPLERS[config.sampler], own)
    if config.grid is not None and config.grid != "learned":
        found["grid"] = _made(GRIDS[config.grid], own)
    return found


def _own_names(config: SamplingConfig, final: bool = True) -> set[str]:
    """The options that go with the sampler and the grid, or with those that open ones may be."""
    sampler, grid = ("ancestral", "uniform") if final else (None, None)
    kinds = _kinds(config.sampler or sampler, SAMPLERS) + _kinds(config.grid or grid, GRIDS)
    return _OF_EVERY_WALK.union(*map(_names, kinds))


def _kinds(name: str | None, table: Mapping[Any, type]) -> list[type]:
    """What a name may stand for: all of a table if it is None, and nothing if it is not in the table."""
    return [kind for each, kind in table.items() if name in (None, each)]


def _names(kind: Any) -> set[str]:
    """The options of a sampler or grid."""
    return {option.name for option in fields(kind)}


def _made(kind: type[K], options: Mapping[str, Any]) -> K:
    """An object of a kind, with those of the options that it has."""
    return kind(**{name: value for name, value in options.items() if name in _names(kind)})
