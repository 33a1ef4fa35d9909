"""What examples share, into a folder: what `inkwash relatives` and `inkwash interpolate` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.commands.output import write_array
from inkwash.core.config import Device
from inkwash.core.display import Display
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.readers import read_example
from inkwash.model.diffusion import Diffusion
from inkwash.model.watch import noisy_to_data
from inkwash.training.run import Run, StrPath, load


def example(run: StrPath, model: Diffusion, name: str) -> Array:
    """The example that a word of the command line names: a file, or the number of a held-out example of the run.

    Raises:
        DataError: no such file or number, or not an example of the model.
        CheckpointError: a number, and a checkpoint in place of a run.
    """
    spec = model.units.spec
    if not name.isdecimal():
        return read_example(Path(name), spec)
    held_out = Run(Path(run)).split()[1]
    if int(name) >= len(held_out):
        raise DataError(name, "no such example", f"one of the {len(held_out)} held out, 0 to {len(held_out) - 1}")
    return np.asarray(Run(Path(run)).dataset().data[held_out[int(name)]])


def relatives_to_folder(
    run: StrPath,
    name: str,
    at: Sequence[float],
    n: int,
    out: Path,
    display: Display,
    *,
    seed: int,
    device: Device = "auto",
    **options: Any,
) -> None:
    """For each time, `n` relatives of an example into `out`: `relatives.npy` `(len(at), n, …)` and `relatives.png`.

    A row of the picture has the example, the latent that is shared, and the relatives.

    Args:
        run: folder of a run.
        name: of the example; see `example`.
        at: times of the latents.
        n: how many relatives at each time, at least 1.
        out: folder to write to; made if need be.
        display: where to report.
        seed: of the noise.
        device: where to draw.
        **options: as of `Diffusion.sample_from`.
    """
    model = load(run, device)
    x = example(run, model, name)[None]
    drawn = []
    with display.bar(f"drawing {n} relatives at each time") as done:
        for t in at:
            drawn.append(model.relatives(x[0], t, n, seed=seed, **options))
            done(len(drawn) / len(at))
    latents = [noisy_to_data(model, model.diffuse(x, t, seed=seed), t) for t in at]
    rows = [np.concatenate([x, *parts]) for parts in zip(latents, drawn, strict=True)]
    _write(out, "relatives", model, np.stack(drawn), rows, display)
    display.say(f"next      inkwash interpolate {run} {name} 0")


def interpolate_to_folder(
    run: StrPath, a: str, b: str, n: int, out: Path, display: Display, *, device: Device = "auto", **options: Any
) -> None:
    """`n` examples on the way from `a` to `b` into `out`: `interpolation.npy` and `interpolation.png`.

    Args:
        run: folder of a run.
        a: an example; see `example`.
        b: another.
        n: how many, both ends among them.
        out: folder to write to; made if need be.
        display: where to report.
        device: where to draw.
        **options: as of `Diffusion.interpolate`.
    """
    model = load(run, device)
    data = model.interpolate(example(run, model, a), example(run, model, b), n, **options)
    _write(out, "interpolation", model, data, [data], display)
    display.say(f"next      inkwash relatives {run} {a}")


def _write(out: Path, name: str, model: Diffusion, data: Array, rows: Sequence[Array], display: Display) -> None:
    write_array(out / f"{name}.npy", data, display)
    pictures.save_rows(out / f"{name}.png", model.units.spec, rows)
    display.say(f"picture   {out / f'{name}.png'}")
