"""Examples with missing entries, completed into a folder: what `inkwash impute` does."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from inkwash.commands.keywords import model_of, walk_options
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output
from inkwash.commands.relatives import data_options
from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data.examples import read_values
from inkwash.data.readers import read_rows, table_suffix
from inkwash.data.spec import DataSpec
from inkwash.posterior.method import Method
from inkwash.training.run import StrPath

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles of draws that are written down."""
LEVEL_NAMES = tuple(f"q{level:.0%}".replace("%", "") for level in LEVELS)
_HEADER = ("row", "column", *LEVEL_NAMES, "likeliest", "probability")


def read_incomplete(path: Path, spec: DataSpec, config: DataConfig | None = None) -> Array:
    """Examples of a known kind with missing entries, float64 `(B, …)`: a file of a table's columns, in any
    order; of other data an `.npy` file with NaN, or a file of a format that says what is missing.

    Args:
        path: the file, perhaps with a colon and the name of an array behind it.
        spec: what the data is.
        config: how a run reads its data.

    Raises:
        DataError: an unreadable file, or one of other examples.
    """
    if spec.columns is not None:
        return read_rows(path, spec)
    array = read_values(path, spec, config)
    if array.ndim == 0 or array.shape[1:] != spec.data_shape:
        raise DataError(str(path), f"shape {array.shape}", f"examples of shape {spec.data_shape}, along the first axis")
    return np.array(array, np.float64)


def impute_to_folder(
    run: StrPath, source: Path, n: int, options: SamplingOptions, output: Output, *, method: Method | None = None
) -> None:
    """Write `n` completions of examples with missing entries.

    For a table these are `completed-001.csv` and so on, or `.parquet` if the table came so, and `cells.csv`. That has
    for each missing cell quantiles of the draws or, if it holds a category, the likeliest one and its share. For other
    data it is `completed.npy` `(n, B, …)`.

    Args:
        run: folder of a run or checkpoint.
        source: file of the examples; see `read_incomplete`.
        n: how many, at least 1.
        options: seed, condition, device and walk.
        output: where to write.
        method: how to sample; see `Diffusion.impute`.

    Raises:
        ConfigError: the folder holds completions of another kind or of a larger `n`.
        DataError: an unreadable file, or one without a missing entry.
    """
    keywords, model = walk_options(options), model_of(run, options, output.display)
    spec = model.units.spec
    given = read_incomplete(source, spec, data_options(run))
    gone = np.isnan(given)
    if not gone.any():
        raise DataError(str(source), "no missing entry", "some: empty cells of a table, or NaN in an .npy file")
    output.say(f"missing   {gone.sum()} of {gone.size} entries, in {gone.reshape(len(gone), -1).any(1).sum()} examples")
    names = [] if spec.columns is None else [f"completed-{i:03d}{table_suffix(source)}" for i in range(1, n + 1)]
    output.refuse_leftovers("completed-[0-9]*", names)
    with output.display.bar(f"drawing {n} completions"):
        draws = model.impute(given, n, seed=options.seed, method=method, **keywords)
    if spec.columns is None:
        return output.array("completed.npy", draws)
    for name, drawn in zip(names, draws, strict=True):
        (output if name in (names[0], names[-1]) else output.silent()).table(name, spec, drawn)
    cells = output.write("cells.csv", _cells(spec, gone, draws))
    output.say(f"cells     {cells} (one line for each missing cell)")
    output.say(f"next      {typed('evaluate', run)}")


def _cells(spec: DataSpec, gone: Array, draws: Array) -> bytes:
    """What was drawn for each missing cell, as CSV; rows are counted from 0."""
    columns, text = list((spec.columns or {}).items()), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for row, place in np.argwhere(gone):
        name, column = columns[place]
        drawn = draws[:, row, place]
        if column.categories is None:
            quantiles = np.quantile(drawn, LEVELS)
            cells = quantiles.tolist() if column.clock is None else column.texts(quantiles).tolist()
            writer.writerow([row, name, *cells, "", ""])
        else:
            values, counts = np.unique(drawn, return_counts=True)
            likeliest = column.categories[int(values[counts.argmax()])]
            writer.writerow([row, name, *[""] * len(LEVELS), likeliest, counts.max() / len(drawn)])
    return text.getvalue().encode()
