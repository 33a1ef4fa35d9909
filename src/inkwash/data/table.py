"""What tables from every source share: each row is an example, each column an entry.

The data are float64 numbers, which include every integer up to 2^53; see `inkwash.data.columns`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_integer, is_number
from inkwash.data.columns import Column, listed
from inkwash.data.raw import Raw
from inkwash.data.spec import DataSpec


def entry_columns(where: str, names: Sequence[str], config: DataConfig) -> list[str]:
    """The columns that are entries of the examples: those that are neither dropped nor labels.

    Raises:
        DataError: a column without a name, two columns of one name, or options that do not fit the names.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(where, f"column {twice!r} twice", "a name of its own for each column")
    if not names or "" in names:
        got = f"no name of column {names.index('')}" if names else "no column"
        raise DataError(where, got, "a first line of column names")
    labels = () if config.labels is None else (config.labels,)
    _require_named_once(names, labels, config)
    entries = [name for name in names if name not in (*(config.drop or ()), *labels)]
    if not entries:
        raise DataError(where, "no column beside the labels", "at least one to model")
    return entries


def _require_named_once(names: Sequence[str], labels: tuple[str, ...], config: DataConfig) -> None:
    """Refuse options that name a column which is not there, or which another option names too."""
    options = {"drop": config.drop, "labels": labels, "categories": config.categories, "numbers": config.numbers}
    uses = [(option, name) for option, some in options.items() for name in some or ()]
    for i, (option, name) in enumerate(uses):
        if name not in names:
            raise DataError(f"data.{option}", repr(name), f"one of the columns {listed(names)}")
        if name in (earlier for _, earlier in uses[:i]):
            raise DataError(f"data.{option}", repr(name), f"a column that no other of {', '.join(options)} has")


def holds_categories(name: str, config: DataConfig) -> bool | None:
    """Whether the options make a column categories (True) or numbers (False); None if they leave it open."""
    if name in (config.categories or ()):
        return True
    return False if config.levels not in (None, "real") or name in (config.numbers or ()) else None


def require_rows(where: str, count: int) -> None:
    """Refuse a table of fewer than two rows.

    Raises:
        DataError: it has fewer.
    """
    if count < 2:
        raise DataError(where, f"{('no', 'one')[count]} example", "at least 2: one to train on and one to hold out")


def as_labels(where: str, name: str, cells: list[str]) -> Array:
    """Labels `(N,)` from text: integers, or text that is empty where one is missing.

    Raises:
        DataError: real numbers.
    """
    if cells and all(map(is_integer, cells)):
        return np.array([int(cell) for cell in cells])
    present = [cell for cell in cells if cell]
    if present and all(map(is_number, present)) and not all(map(is_integer, present)):
        raise DataError(f"{where}, column {name!r}", "real numbers", "whole numbers or text, to be labels")
    return np.array(cells)


def as_raw(found: Mapping[str, tuple[Column, Array]], labels: Mapping[str, Array], notes: Iterable[str] = ()) -> Raw:
    """A table of columns, each with the numbers that stand in the data for its cells `(N,)`."""
    columns = {name: column for name, (column, _) in found.items()}
    data = np.stack([values for _, values in found.values()], axis=1)
    return Raw(data, "ND", notes=tuple(notes), labels=labels, columns=columns)


def known_columns(where: str, spec: DataSpec) -> dict[str, Column]:
    """The columns of a known table.

    Raises:
        DataError: the spec describes no table.
    """
    if spec.columns is None:
        raise DataError(where, spec.describe(), "a table, with names of columns")
    return spec.columns


def encode(columns: Mapping[str, Column], where: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Array:
    """New rows of a known table, as the data that they stand for: float64 `(N, D)`.

    Args:
        columns: the columns of the table, in order.
        where: what the rows are called in messages.
        names: the columns that the cells of a row belong to, in any order.
        rows: cells as values of Python or as text; None, NaN and the words for missing cells are missing.

    Raises:
        DataError: other columns, a row of another length, or a cell that its column cannot hold.
    """
    if sorted(names) != sorted(columns):
        raise DataError(where, f"columns {listed(names)}", f"exactly {listed(columns)}")
    every = list(rows)
    for i, row in enumerate(every):
        if len(row) != len(names):
            raise DataError(f"{where}, row {i}", f"{len(row)} cells", f"{len(names)}, one for each column")
    cells = dict(zip(names, zip(*every, strict=True), strict=True)) if every else {}
    parts = (column.encode(f"{where}, column {name!r}", cells.get(name, ())) for name, column in columns.items())
    return np.stack([*parts], axis=1)
