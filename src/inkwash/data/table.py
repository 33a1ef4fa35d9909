"""Tables from and to CSV (RFC 4180), and what all tables share. Each row is an example, each column an entry.

What stands in the data are float64 numbers, which have every whole number up to 2^53; see `inkwash.data.columns`.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import (
    LARGEST_WHOLE,
    Column,
    is_finite,
    is_missing,
    is_number,
    is_whole,
    listed,
    number_column,
    require_few,
    text_column,
)
from inkwash.data.raw import Raw, short
from inkwash.data.spec import DataSpec

_ROWS = 4096
Row = tuple[int, list[str]]


def read_csv(path: Path, config: DataConfig) -> Raw:
    """A `.csv` file: UTF-8, commas, column names in the first row, `(N, D)`.

    A column of whole numbers alone is int64, of other numbers float64; `false` and `true` are booleans, other text is
    text, without the space around it. Where the first row has nothing but numbers and missing cells it is an example,
    and columns are named 0, 1, …, which is noted.

    Args:
        path: the file.
        config: which columns to drop, which one holds labels and is no entry of the examples then, and which hold
            categories or numbers.

    Raises:
        DataError: no such table; the message names the column, and the line if there is one.
    """
    with _opened(path) as (names, named, rows):
        return _parsed(str(path), names, named, rows, config)


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns of a `.csv` file, and the cells of each row as text, without the space around it.

    Raises:
        DataError: an unreadable file.
    """
    with _opened(path) as (names, _, rows):
        return names, [[cell.strip() for cell in row] for _, row in rows]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], bool, Iterator[Row]]]:
    """The names of the columns, whether the file has them, and the rows with the line of each."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            first: list[str] = next(reader, [])
            rows = ((reader.line_num, row) for row in reader)
            if _is_row(first):
                yield [str(i) for i in range(len(first))], False, chain([(1, first)], rows)
            else:
                yield _as_names(str(path), first), True, rows
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a .csv file in UTF-8") from None


def _is_row(cells: Sequence[str]) -> bool:
    """Whether the first line is an example: numbers and missing cells alone."""
    return any(map(is_number, cells)) and all(is_number(cell) or is_missing(cell) for cell in cells)


def _as_names(where: str, cells: Sequence[str]) -> list[str]:
    """The names in the first line."""
    real = next((cell for cell in cells if is_number(cell) and not is_whole(cell) and not is_missing(cell)), None)
    if real is not None:
        raise DataError(f"{where} line 1", f"the number {real.strip()} among text", "names of columns, above the rows")
    return [name.strip() for name in cells]


def _parsed(where: str, names: list[str], named: bool, rows: Iterator[Row], config: DataConfig) -> Raw:
    readers = {name: _Reader(where, name, asked(name, config)) for name in wanted_columns(where, names, config)}
    classes: list[str] = []
    count = 0
    for lines, cells in _blocks(where, len(names), rows):
        count += len(lines)
        of_name = dict(zip(names, cells, strict=True))
        for name, reader in readers.items():
            reader.add(lines, of_name[name])
        classes += of_name[config.labels] if config.labels is not None else ()
    require_rows(where, count)
    labels = {} if config.labels is None else {config.labels: _csv_labels(where, config.labels, classes)}
    note = () if named else ("no column names in the first line: they are 0, 1, …",)
    return as_raw({name: reader.column() for name, reader in readers.items()}, labels, note)


def _blocks(where: str, width: int, rows: Iterator[Row]) -> Iterator[tuple[list[int], list[tuple[str, ...]]]]:
    """Some rows at a time: their lines, and their cells by column."""
    while block := list(islice(rows, _ROWS)):
        for line, row in block:
            if len(row) != width:
                raise DataError(f"{where} line {line}", f"{len(row)} cells", f"{width}, as the first line has")
        yield [line for line, _ in block], list(zip(*(row for _, row in block), strict=True))


class _Reader:
    """A column as its cells come: numbers, or numbers that stand for the different texts; NaN for missing ones."""

    def __init__(self, where: str, name: str, categories: bool | None) -> None:
        self.where, self.name, self.categories = where, name, categories
        self.is_text = categories  # None until a cell tells
        self.whole, self.values = True, array("d")
        self.texts: dict[str, float] = {}

    def add(self, lines: Sequence[int], cells: Sequence[str]) -> None:
        """Take the next cells, with the line of each."""
        for kind in () if self.is_text else (int, float):
            plain = _plain_numbers(kind, cells)
            if plain is not None:
                self.is_text, self.whole = False, self.whole and kind is int
                return self.values.extend(plain)
        self.values.extend(map(self._value, lines, cells))

    def _value(self, line: int, cell: str) -> float:
        if is_missing(cell):
            return math.nan
        if self.is_text is None:
            self.is_text = not is_number(cell)
        where = f"{self.where} line {line}, column {self.name!r}"
        return self._text(where, cell.strip()) if self.is_text else self._number(where, cell)

    def _text(self, where: str, cell: str) -> float:
        if cell not in self.texts:
            if not self.categories and is_number(cell):
                raise DataError(where, f"the number {cell} among text", "text, or the column in data.categories")
            self.texts[cell] = float(len(self.texts))
            require_few(f"{self.where}, column {self.name!r}", len(self.texts), bool(self.categories))
        return self.texts[cell]

    def _number(self, where: str, cell: str) -> float:
        if not is_finite(cell):
            raise DataError(where, repr(cell), "a finite number, or the column in data.categories")
        self.whole = self.whole and is_whole(cell)
        if self.whole and abs(int(cell)) > LARGEST_WHOLE:
            raise DataError(where, cell, "a whole number up to 2^53")
        return float(cell)

    def column(self) -> tuple[Column, Array]:
        """What the column is, and what stands in the data for its cells."""
        where, values = f"{self.where}, column {self.name!r}", np.array(self.values)
        if self.is_text:
            return text_column(where, list(self.texts), values, bool(self.categories))
        return number_column(where, "int64" if self.whole else "float64", values, self.categories)


def _plain_numbers(kind: type[int] | type[float], cells: Sequence[str]) -> list[float] | None:
    """All cells as numbers of a kind, if they are such, not NaN and below 2^53: the quick way for most columns."""
    try:
        values: list[float] = [*map(kind, cells)]
    except ValueError:
        return None
    near = min(values) > -LARGEST_WHOLE and max(values) < LARGEST_WHOLE and not math.isnan(sum(values))
    return values if near and "_" not in "".join(cells) else None


def _csv_labels(where: str, name: str, cells: list[str]) -> Array:
    return as_labels(where, name, ["" if is_missing(cell) else cell.strip() for cell in cells])


def as_labels(where: str, name: str, cells: list[str]) -> Array:
    """Labels `(N,)` from text: whole numbers, or text; nothing where one is missing.

    Raises:
        DataError: real numbers.
    """
    if cells and all(map(is_whole, cells)):
        return np.array([int(cell) for cell in cells])
    real = [cell for cell in cells if cell]
    if real and all(map(is_number, real)) and not all(map(is_whole, real)):
        raise DataError(f"{where}, column {name!r}", "real numbers", "whole numbers or text, to be labels")
    return np.array(cells)


def wanted_columns(where: str, names: Sequence[str], config: DataConfig) -> list[str]:
    """The columns that are entries of the examples: those not dropped, nor labels.

    Raises:
        DataError: names that are empty or stand twice, or options that do not go with them.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(where, f"column {twice!r} twice", "a name of its own for each column")
    if not names or "" in names:
        got = f"no name of column {names.index('')}" if names else "no column"
        raise DataError(where, got, "a first line of column names")
    labels = () if config.labels is None else (config.labels,)
    options = {"drop": config.drop, "labels": labels, "categories": config.categories, "numbers": config.numbers}
    given = [(option, name) for option, some in options.items() for name in some or ()]
    for i, (option, name) in enumerate(given):
        if name not in names:
            raise DataError(f"data.{option}", repr(name), f"one of the columns {listed(names)}")
        if name in (earlier for _, earlier in given[:i]):
            raise DataError(f"data.{option}", repr(name), f"a column that no other of {', '.join(options)} has")
    wanted = [name for name in names if name not in (*(config.drop or ()), *labels)]
    if not wanted:
        raise DataError(where, "no column beside the labels", "at least one to model")
    return wanted


def asked(name: str, config: DataConfig) -> bool | None:
    """Whether the user wants a column to hold categories (True) or numbers (False), if either."""
    if name in (config.categories or ()):
        return True
    return False if config.levels is not None or name in (config.numbers or ()) else None


def require_rows(where: str, count: int) -> None:
    """Refuse a table of fewer than two rows.

    Raises:
        DataError: it has fewer.
    """
    if count < 2:
        raise DataError(where, f"{('no', 'one')[count]} example", "at least 2: one to train on and one to hold out")


def as_raw(found: Mapping[str, tuple[Column, Array]], labels: Mapping[str, Array], notes: Iterable[str] = ()) -> Raw:
    """A table of columns, each with what stands in the data for its cells `(N,)`."""
    columns = {name: column for name, (column, _) in found.items()}
    data = np.stack([values for _, values in found.values()], axis=1)
    return Raw(data, "ND", notes=tuple(notes), labels=labels, columns=columns)


def encode(columns: Mapping[str, Column], where: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Array:
    """Rows of a table that is known, as the data they stand for: float64 `(N, D)`.

    Args:
        columns: of the table, in order.
        where: what the rows are called in messages.
        names: columns that the cells of a row belong to, in any order.
        rows: cells as values of Python or as text; None, NaN and words for missing cells are missing.

    Raises:
        DataError: other columns, a row of another length, or a cell that is none of its column's.
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


def dump_csv(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as CSV: categories by name, numbers in their type, nothing for missing cells."""
    columns = spec.columns or {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.words(data[:, i]) for i, column in enumerate(columns.values())), strict=True))
    return text.getvalue().encode()
