"""Draw samples into a folder, and say what a run is: what `inkwash sample` and `inkwash inspect` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inkwash.commands.output import require_no_leftovers, write_array, write_table
from inkwash.core.config import Device
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.machine import accelerator
from inkwash.core.randomness import Slots
from inkwash.data import pictures
from inkwash.data.spec import DataSpec
from inkwash.model.diffusion import Diffusion
from inkwash.model.watch import Film, draw
from inkwash.training.run import StrPath, load, read_header

if TYPE_CHECKING:
    from accelerate import Accelerator


def draw_share(
    model: Diffusion, n: int, display: Display, place: Accelerator, film: Film | None, **options: Any
) -> Any:
    """As `draw`, the slots shared out over the processes that run this: all get the result, bit for bit that of one."""
    from accelerate.utils import gather_object

    model.condition.inputs(n, options.get("label"), options.get("given"))  # checks them whole
    rows = Slots(model.shape, model.device).rows
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
    spec = model.units.spec
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
