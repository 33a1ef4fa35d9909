"""Draw samples into a folder, and say what a run is: what `inkwash sample` and `inkwash inspect` do."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from inkwash import pictures, storage
from inkwash.checkpoint import list_checkpoints
from inkwash.config import to_json
from inkwash.data import Transform
from inkwash.display import Display
from inkwash.errors import ConfigError
from inkwash.model import Diffusion
from inkwash.product import Product
from inkwash.run import Run, StrPath, load, read_header


def draw(model: Diffusion | Product, n: int, display: Display, **options: Any) -> Any:
    """`model.sample(n, **options)` with a progress bar."""
    with display.walk(f"drawing {n} samples") as done:
        for state in model.trajectory(n, **options):
            done(1 - state[0])
    return model.to_data(state[1])


def draw_to_folder(run: StrPath, out: Path, n: int, display: Display, **options: Any) -> None:
    """Draw `n` samples from a run into `out`: `samples.npy`, one picture of all, and for images a PNG each.

    Args:
        run: folder of a run or checkpoint.
        out: folder to write to; made if need be.
        n: how many, at least 1.
        display: where to report.
        **options: as of `Diffusion.sample`.
    """
    model = load(run)
    data = draw(model, n, display, **options)
    spec = cast(Transform, model.transform).spec
    _require_no_leftovers(out, n if spec.is_image else 0)
    storage.make_folder(out)
    buffer = io.BytesIO()
    np.save(buffer, data, allow_pickle=False)
    storage.replace(out / "samples.npy", buffer.getvalue())
    pictures.save_samples(out / "samples.png", spec, data)
    display.say(f"array     {out / 'samples.npy'} ({data.dtype} {data.shape}, data units)")
    display.say(f"picture   {out / 'samples.png'}")
    if spec.is_image:
        for i, pixels in enumerate(pictures.to_pixels(spec, data)):
            pictures.save_pixels(out / f"{i:06d}.png", pixels)
        display.say(
            f"images    {out / '000000.png'} … {n - 1:06d}.png; [{spec.low:g}, {spec.high:g}] shown as black to white"
        )
    display.say(f"next      inkwash evaluate {run}")


def _require_no_leftovers(out: Path, n: int) -> None:
    """Refuse a folder in which images of a larger draw would stand among the new ones."""
    if any(int(path.stem) >= n for path in out.glob("[0-9]" * 6 + ".png")):
        raise ConfigError("out", f"{out}, which holds more images of an earlier draw", "an empty folder or a new one")


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
    display.say("versions   " + ", ".join(f"{name} {version}" for name, version in header.versions.items()))
    display.say("config")
    display.say(json.dumps(to_json(config), indent=2, ensure_ascii=False))
    if len(list_checkpoints(Run(Path(run)).checkpoints)) and header.step < (config.train.steps or 0):
        display.say(f"next       inkwash train {config.source} --out {run}   (with the options above) resumes")
    else:
        display.say(f"next       inkwash sample {run} -n 64")
