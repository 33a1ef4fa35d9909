"""Tables of numbers: from and to CSV (RFC 4180) and pandas. Each row is an example, each column an entry.

Numbers are held as float64, which has every integer up to 2^53; the type of each column is kept beside them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from inkwash.data.raw import Raw, short
from inkwash.data.transform import LARGEST_WHOLE, Array, DataSpec, Type
from inkwash.errors import DataError

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
_SHOWN = 12


def read_csv(path: Path, labels: str | None) -> Raw:
    """A `.csv` file: UTF-8, commas, column names in the first row, `(N, D)`.

    A column of whole numbers alone is int64, any other float64. Where the first row has nothing but numbers it is an
    example, and columns are named 0, 1, …, which is noted.

    Args:
        path: the file.
        labels: the column that holds labels; it is no entry of the examples then, and may be text.

    Raises:
        DataError: no such table; the message names line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parsed(str(path), csv.reader(file, strict=True), labels)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a .csv file in UTF-8") from None


def _parsed(where: str, rows: Any, labels: str | None) -> Raw:
    first: list[str] = next(rows, [])
    named = not all(map(_is_number, first))
    names = [name.strip() for name in first] if named else [str(i) for i in range(len(first))]
    _require_names(where, names, labels)
    place = None if labels is None else names.index(labels)
    numbers, whole, classes = array("d"), dict.fromkeys(names, True), []
    for row in chain([] if named else [first], rows):
        at = f"{where} line {rows.line_num}"
        if len(row) != len(names):
            raise DataError(at, f"{len(row)} cells", f"{len(names)}, as the first line has")
        for i, (name, cell) in enumerate(zip(names, row, strict=True)):
            if i == place:
                classes.append(cell)
                continue
            whole[name] = whole[name] and _WHOLE.fullmatch(cell) is not None
            numbers.append(_number(f"{at}, column {name!r}", cell, whole[name]))
    columns: dict[str, Type] = {name: "int64" if whole[name] else "float64" for name in names if name != labels}
    notes = () if named else ("no column names in the first line: they are 0, 1, …",)
    data = np.frombuffer(numbers, np.float64) if numbers else np.empty(0)
    told = {} if labels is None else {labels: _as_labels(classes)}
    return Raw(data.reshape(-1, len(columns)), "ND", notes=(*notes, *_said(columns)), labels=told, columns=columns)


def _number(where: str, cell: str, whole: bool) -> float:
    if not _is_number(cell) or not math.isfinite(float(cell)):
        raise DataError(where, "a missing value" if cell.strip().lower() in _MISSING else repr(cell), "a finite number")
    if whole and abs(int(cell)) > LARGEST_WHOLE:
        raise DataError(where, cell, "a whole number up to 2^53")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _as_labels(cells: list[str]) -> Array:
    whole = all(map(_WHOLE.fullmatch, cells))
    return np.array([int(cell) for cell in cells] if whole and cells else [cell.strip() for cell in cells])


def _require_names(where: str, names: list[str], labels: str | None) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(where, f"column {twice!r} twice", "a name of its own for each column")
    if not names or "" in names:
        got = f"no name of column {names.index('')}" if names else "no column"
        raise DataError(where, got, "a first line of column names")
    if labels is not None and labels not in names:
        raise DataError("data.labels", repr(labels), f"one of the columns {_listed(names)}")
    if len(names) == (labels is not None):
        raise DataError(where, "no column beside the labels", "at least one of numbers")


def _said(columns: dict[str, Type]) -> Iterator[str]:
    """What a user is told of the columns."""
    yield f"columns {_listed(columns)}"
    whole = [name for name, kind in columns.items() if kind[:3] in ("int", "uin")]
    if whole:
        yield f"whole numbers, taken as real ones and rounded in samples: {_listed(whole)}"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (f", … ({len(every)} in all)" if len(every) > _SHOWN else "")


def read_frame(frame: Any, where: str, labels: str | None) -> Raw:
    """A `pandas.DataFrame` of numbers, `(N, D)`.

    Args:
        frame: the table; of its index nothing is used.
        where: its name, for messages.
        labels: the column that holds labels, as of `read_csv`.

    Raises:
        DataError: a column of another type, or whole numbers beyond 2^53.
    """
    names = [str(name) for name in frame.columns]
    _require_names(where, names, labels)
    series = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    told = {} if labels is None else {labels: _frame_labels(series.pop(labels))}
    for name, column in series.items():
        if column.dtype.name not in set(get_args(Type)) - {"bool"}:
            raise DataError(f"{where}, column {name!r}", f"values of type {column.dtype}", "a NumPy type of numbers")
        if column.dtype.kind in "iu" and len(column) and max(-int(column.min()), int(column.max())) > LARGEST_WHOLE:
            raise DataError(f"{where}, column {name!r}", "whole numbers beyond 2^53", "smaller ones")
    columns = {name: cast(Type, column.dtype.name) for name, column in series.items()}
    data = np.stack([column.to_numpy(np.float64) for column in series.values()], axis=1)
    return Raw(data, "ND", notes=tuple(_said(columns)), labels=told, columns=columns)


def _frame_labels(column: Any) -> Array:
    """Labels as NumPy knows them; categories and text as text, a missing one as none."""
    return column.to_numpy() if column.dtype.kind in "biu" else column.astype(object).fillna("").to_numpy(str)


def dump_csv(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as CSV, with the names and types of its columns."""
    columns = spec.columns or {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    cells = (data[:, i].astype(kind).astype(str) for i, kind in enumerate(columns.values()))
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue().encode()


def to_frame(spec: DataSpec, data: Array) -> Any:
    """Examples `(N, D)` of a table as a `pandas.DataFrame`, with the names and types of its columns.

    Raises:
        DataError: the data of the spec is no table.
    """
    import pandas

    if spec.columns is None:
        raise DataError("to_frame", spec.describe(), "a table, with names of columns")
    return pandas.DataFrame({name: data[:, i].astype(kind) for i, (name, kind) in enumerate(spec.columns.items())})
