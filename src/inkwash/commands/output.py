"""What commands write: arrays, tables and pictures in a folder, each with a line that says where."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.data.csv_files import dump_csv
from inkwash.data.frames import dump_parquet
from inkwash.data.spec import DataSpec


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
