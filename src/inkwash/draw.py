"""Draw samples into a folder, and say what a run is: what `inkwash sample` and `inkwash inspect` do."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inkwash import pictures, storage
from inkwash.checkpoint import list_checkpoints
from inkwash.config import Device, WalkConfig, check, to_json
from inkwash.data import DataSpec
from inkwash.data.frame import dump_parquet
from inkwash.data.table import dump_csv
from inkwash.device import accelerator
from inkwash.display import Display
from inkwash.errors import ConfigError
from inkwash.film import Film, transform_of
from inkwash.learned_grid import learned_grid
from inkwash.model import Diffusion
from inkwash.noise import GRIDS
from inkwash.product import Product
from inkwash.randomness import slot_rows
from inkwash.run import Run, StrPath, load, read_header
from inkwash.sample import SAMPLERS

if TYPE_CHECKING:
    from accelerate import Accelerator


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
        every: dict[str, Any] = {**SAMPLERS, **GRIDS}
        having = (k for k, kind in every.items() if option in {own.name for own in fields(kind)})
        raise ConfigError(option, value, f"a sampler or grid that has this option: {', '.join(having)}")
    if grid != "learned":
        return made | {"steps": steps}
    if steps is None:
        raise ConfigError("steps", steps, "a number of steps, for which the grid is learned")
    return made | {"times": learned_grid(run, "bound" if name == "ancestral" else "trajectory", steps, display)}


def draw(model: Diffusion | Product, n: int, display: Display, film: Film | None = None, **options: Any) -> Any:
    """`model.sample(n, **options)` with a progress bar; a film records its first slot of examples."""
    walks = model.walks(n, **options)
    if film is not None:
        walks[0] = film.record(walks[0])
    ends = []
    with display.walk(f"drawing {n} samples") as done:
        for k, walk in enumerate(walks):
            for state in walk:
                done((k + 1 - state.s) / len(walks))
            ends.append(state.x_s)
    return model.to_data(torch.cat(ends))


def draw_share(
    model: Diffusion, n: int, display: Display, place: Accelerator, film: Film | None, **options: Any
) -> Any:
    """As `draw`, the slots shared out over the processes that run this: all get the result, bit for bit that of one."""
    from accelerate.utils import gather_object

    model.condition.told(n, options.get("label"), options.get("given"))  # checks them whole
    rows = slot_rows(model.shape, model.device)
    slots, index, count = -(-n // rows), place.process_index, place.num_processes
    first, end = (min(rows * -(-slots * i // count), n) for i in (index, index + 1))
    film = film if place.is_main_process else None
    given, taken = options.get("given"), model.condition.given
    if given is not None and taken is not None and np.ndim(given) > len(taken.spec.data_shape):
        options["given"] = given[first:end]
    share = [draw(model, end - first, display, film, first=first, **options)] if end > first else []
    return np.concatenate(gather_object(share))


def draw_to_folder(
    run: StrPath,
    out: Path,
    n: int,
    display: Display,
    *,
    device: Device = "auto",
    film: str | None = None,
    frames: int = 40,
    **options: Any,
) -> None:
    """Draw `n` samples from a run into `out`: `samples.npy` or, of a table, `samples.csv` or, where it came from
    such a file, `samples.parquet`; one picture of all, and a PNG each but for vectors.

    Processes started together, by `accelerate launch` or `torchrun`, share the work; the first of them writes.

    Args:
        run: folder of a run or checkpoint.
        out: folder to write to; made if need be.
        n: how many, at least 1.
        display: where to report.
        device: where to draw.
        film: name, within `out`, of a film of the first samples; see `Film`. None: there is none.
        frames: of the film, at most.
        **options: as of `Diffusion.sample`, the seed among them.
    """
    place, model = accelerator(), load(run, device)
    spec = transform_of(model).spec
    require_no_leftovers(out, "[0-9]" * 6 + ".png", [f"{i:06d}.png" for i in range(n if spec.size else 0)])
    if film is not None and (Path(film).name != film or Path(film).stem == "samples" or Path(film).stem.isdecimal()):
        raise ConfigError("film", film, "a name, without a folder, that no file of samples has")
    recorded = None if film is None else Film(model, out / film, frames)
    display = display if place.is_main_process else Display(shown=False)
    data = draw_share(model, n, display, place, recorded, **options)
    if place.is_main_process:
        _write(out, spec, data, read_header(run)[0].config.source, display)
        if recorded is not None:
            recorded.save()
            display.say(f"film      {recorded.path}")
        display.say(f"next      inkwash evaluate {run}")


def _write(out: Path, spec: DataSpec, data: Any, source: str, display: Display) -> None:
    if spec.columns:
        write_table(out / f"samples{'.parquet' if source.endswith('.parquet') else '.csv'}", spec, data, display)
    else:
        write_array(out / "samples.npy", data, display)
    pictures.save_samples(out / "samples.png", spec, data)
    display.say(f"picture   {out / 'samples.png'}")
    if spec.size:
        for i, pixels in enumerate(pictures.to_files(spec, data)):
            pictures.save_pixels(out / f"{i:06d}.png", pixels)
        last, span = len(data) - 1, f"[{spec.low:g}, {spec.high:g}]"
        ends = "bottom to top" if spec.kind == "series" else "black to white"
        display.say(f"images    {out / '000000.png'} … {last:06d}.png; {span} shown as {ends}")


def write_array(path: Path, data: Any, display: Display) -> None:
    """Write examples as .npy, into a folder that is made if need be, and say so."""
    storage.make_folder(path.parent)
    buffer = io.BytesIO()
    np.save(buffer, data, allow_pickle=False)
    storage.replace(path, buffer.getvalue())
    display.say(f"array     {path} ({data.dtype} {data.shape}, data units)")


def write_table(path: Path, spec: DataSpec, data: Any, display: Display) -> None:
    """Write rows of a table as .csv or .parquet, into a folder that is made if need be, and say so."""
    storage.make_folder(path.parent)
    storage.replace(path, (dump_parquet if path.suffix == ".parquet" else dump_csv)(spec, data))
    display.say(f"table     {path} ({len(data)} rows, {len(spec.columns or ())} columns)")


def require_no_leftovers(out: Path, pattern: str, names: Iterable[str]) -> None:
    """Refuse a folder in which files of an earlier draw, by their pattern, would stand among those to be written."""
    if {path.name for path in out.glob(pattern)} - set(names):
        raise ConfigError("out", f"{out}, which holds more files of an earlier draw", "an empty folder or a new one")


def inspect_run(run: StrPath, display: Display) -> None:
    """Print what a run, or one of its checkpoints, is."""
    header, path = read_header(run)
    config = header.config
    display.say(f"checkpoint {path} (verified)")
    display.say(f"step       {header.step} of {config.train.steps}; {header.skipped} skipped; {header.seconds:.0f} s")
    display.say(f"data       {config.source}: {header.examples} examples, sha256 {header.fingerprint[:12]}…")
    display.say(f"           {header.transform.describe()}")
    if header.condition.classes:
        display.say(f"labels     {config.data.labels}: {header.condition.describe()}")
    if header.condition.given:
        name = config.data.condition or f"shrink {config.data.shrink}"
        display.say(f"condition  {name}: {header.condition.given.describe()}")
    display.say("versions   " + ", ".join(f"{name} {version}" for name, version in header.versions.items()))
    display.say("config")
    display.say(json.dumps(to_json(config), indent=2, ensure_ascii=False))
    if len(list_checkpoints(Run(run).checkpoints)) and header.step < (config.train.steps or 0):
        display.say(f"next       inkwash train {config.source} --out {run}   (with the options above) resumes")
    else:
        display.say(f"next       inkwash sample {run} -n 64")
