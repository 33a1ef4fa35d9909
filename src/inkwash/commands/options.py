"""Options of a walk, from the command line to what `Diffusion.sample` takes."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from inkwash.core.config import WalkConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.options import check
from inkwash.sample import SAMPLERS
from inkwash.sample.grids import GRIDS
from inkwash.training.learned_grid import learned_grid
from inkwash.training.run import StrPath


def walk_options(config: WalkConfig, run: StrPath, display: Display) -> dict[str, Any]:
    """The sampler, number of steps and grid that a config asks for, as `Diffusion.sample` takes them.

    Raises:
        ConfigError: an option that neither the sampler nor the grid has, or a bad value.
    """
    check(config)
    given = {name: value for name, value in asdict(config).items() if value is not None}
    name, grid, steps = given.pop("sampler"), given.pop("grid"), given.pop("steps", None)
    kinds: dict[str, Any] = {"sampler": SAMPLERS[name]} | ({} if grid == "learned" else {"grid": GRIDS[grid]})
    made: dict[str, Any] = {}
    for part, kind in kinds.items():
        own = {option.name for option in fields(kind)} & set(given)
        made[part] = kind(**{option: given.pop(option) for option in own})
    for option, value in given.items():
        every: list[tuple[str, Any]] = [*SAMPLERS.items(), *GRIDS.items()]
        having = (k for k, kind in every if option in {own.name for own in fields(kind)})
        raise ConfigError(option, value, f"a sampler or grid that has this option: {', '.join(having)}")
    if grid != "learned":
        return made | {"steps": steps}
    if steps is None:
        raise ConfigError("steps", steps, "a number of steps, for which the grid is learned")
    return made | {"times": learned_grid(run, "bound" if name == "ancestral" else "trajectory", steps, display)}
