"""Examples with missing entries, completed into a folder: what `inkwash impute` does."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.commands.output import require_no_leftovers, write_array, write_table
from inkwash.core import storage
from inkwash.core.config import Device
from inkwash.core.display import Display
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.arrays import read_npy
from inkwash.data.frames import read_rows
from inkwash.data.spec import DataSpec
from inkwash.training.run import StrPath, load

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_HEADER = ("row", "column", *(f"q{level:.0%}".replace("%", "") for level in _LEVELS), "likeliest", "probability")


def read_incomplete(path: Path, spec: DataSpec) -> Array:
    """Examples of a known kind with missing entries, float64 `(B, …)`: a `.csv` or `.parquet` file of a table's
    columns, in any order; of other data an `.npy` file with NaN.

    Raises:
        DataError: an unreadable file, or one of other examples.
    """
    if spec.columns is not None:
        return read_rows(path, spec)
    array = read_npy(path)
    if array.dtype.kind not in "biuf":
        raise DataError(str(path), f"values of type {array.dtype}", "numbers, with NaN for what is missing")
    if array.ndim == 0 or array.shape[1:] != spec.data_shape:
        raise DataError(str(path), f"shape {array.shape}", f"examples of shape {spec.data_shape}, along the first axis")
    return np.array(array, np.float64)


def impute_to_folder(
    run: StrPath,
    source: Path,
    n: int,
    out: Path,
    display: Display,
    *,
    device: Device = "auto",
    **options: Any,
) -> None:
    """Complete examples `n` times, into `out`: of a table `completed-001.csv` and so on, or `.parquet` if it came so,
    and `cells.csv`, which has for each missing cell quantiles of the draws or, of a category, the likeliest one and its
    share; of other data `completed.npy` `(n, B, …)`.

    Args:
        run: folder of a run or checkpoint.
        source: file of the examples; see `read_incomplete`.
        n: how many draws, at least 1.
        out: folder to write to; made if need be.
        display: where to report.
        device: where to draw.
        **options: as of `Diffusion.impute`.

    Raises:
        ConfigError: `out` holds draws of another kind or of a larger `n`.
        DataError: an unreadable file, or one without a missing entry.
    """
    model = load(run, device)
    spec = model.units.spec
    given = read_incomplete(source, spec)
    gone = np.isnan(given)
    if not gone.any():
        raise DataError(str(source), "no missing entry", "examples with some")
    display.say(
        f"missing   {gone.sum()} of {gone.size} entries, in {gone.reshape(len(gone), -1).any(1).sum()} examples"
    )
    names = [] if spec.columns is None else [f"completed-{i:03d}{source.suffix}" for i in range(1, n + 1)]
    require_no_leftovers(out, "completed-[0-9]*", names)
    draws = model.impute(given, n, **options)
    if spec.columns is None:
        return write_array(out / "completed.npy", draws, display)
    for name, drawn in zip(names, draws, strict=True):
        write_table(out / name, spec, drawn, display if name in (names[0], names[-1]) else Display(shown=False))
    storage.replace(out / "cells.csv", _cells(spec, gone, draws))
    display.say(f"cells     {out / 'cells.csv'} (one line for each missing cell)")
    display.say(f"next      inkwash evaluate {run}")


def _cells(spec: DataSpec, gone: Array, draws: Array) -> bytes:
    """What was drawn for each missing cell, as CSV; rows are counted from 0."""
    columns, text = list((spec.columns or {}).items()), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for row, place in np.argwhere(gone):
        name, column = columns[place]
        drawn = draws[:, row, place]
        if column.categories is None:
            writer.writerow([row, name, *np.quantile(drawn, _LEVELS).tolist(), "", ""])
        else:
            values, counts = np.unique(drawn, return_counts=True)
            likeliest = column.categories[int(values[counts.argmax()])]
            writer.writerow([row, name, *[""] * len(_LEVELS), likeliest, counts.max() / len(drawn)])
    return text.getvalue().encode()
