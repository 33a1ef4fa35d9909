"""Tables from and to CSV files (RFC 4180)."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_finite, is_integer, is_missing, is_number
from inkwash.data.column_kinds import number_column, text_column
from inkwash.data.columns import LARGEST_INTEGER, Column
from inkwash.data.raw import Raw, short
from inkwash.data.spec import DataSpec
from inkwash.data.table import (
    as_labels,
    as_raw,
    encode,
    entry_columns,
    holds_categories,
    known_columns,
    require_rows,
)

_ROWS = 4096
Row = tuple[int, list[str]]
"""The line that a row stands in, and its cells."""


@dataclass(frozen=True)
class _Lines:
    """An open file: the names of the columns, whether the file has such names, and the rows, which are read once."""

    names: list[str]
    has_names: bool
    rows: Iterator[Row]


def read_csv(path: Path, config: DataConfig) -> Raw:
    """A `.csv` file: UTF-8, commas, column names in the first row, `(N, D)`.

    A column that holds only integers is int64, a column of other numbers float64; `false` and `true` are booleans, and
    other text is text, without the space around it. If the first row holds only numbers and missing cells, it is an
    example, and the columns are named 0, 1, …, which a note says.

    Args:
        path: the file.
        config: which columns to drop, which one holds labels, and which hold categories or numbers.

    Raises:
        DataError: there is no such table; the message names the column, and the line if there is one.
    """
    with _opened(path) as lines:
        return _parsed(str(path), lines, config)


def read_csv_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a `.csv` file, float64 `(N, D)`.

    Raises:
        DataError: an unreadable file, other columns, or a cell that its column cannot hold.
    """
    columns = known_columns(str(path), spec)
    with _opened(path) as lines:
        rows = [[cell.strip() for cell in row] for _, row in lines.rows]
        return encode(columns, str(path), lines.names, rows)


@contextmanager
def _opened(path: Path) -> Iterator[_Lines]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            first: list[str] = next(reader, [])
            rows = ((reader.line_num, row) for row in reader)
            if _is_row(first):
                yield _Lines([str(i) for i in range(len(first))], False, chain([(1, first)], rows))
            else:
                yield _Lines(_as_names(str(path), first), True, rows)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a .csv file in UTF-8") from None


def _is_row(cells: Sequence[str]) -> bool:
    """Whether the first line is an example: it holds only numbers and missing cells."""
    return any(map(is_number, cells)) and all(is_number(cell) or is_missing(cell) for cell in cells)


def _as_names(where: str, cells: Sequence[str]) -> list[str]:
    """The names in the first line."""
    real = next((cell for cell in cells if is_number(cell) and not is_integer(cell) and not is_missing(cell)), None)
    if real is not None:
        raise DataError(f"{where} line 1", f"the number {real.strip()} among text", "names of columns, above the rows")
    return [name.strip() for name in cells]


def _parsed(where: str, lines: _Lines, config: DataConfig) -> Raw:
    entries = entry_columns(where, lines.names, config)
    parsers = {name: _ColumnParser(where, name, holds_categories(name, config)) for name in entries}
    labels: list[str] = []
    count = 0
    for places, cells in _blocks(where, len(lines.names), lines.rows):
        count += len(places)
        of_name = dict(zip(lines.names, cells, strict=True))
        for name, parser in parsers.items():
            parser.add(places, of_name[name])
        labels += of_name[config.labels] if config.labels is not None else ()
    require_rows(where, count)
    found = {} if config.labels is None else {config.labels: _labels(where, config.labels, labels)}
    notes = () if lines.has_names else ("no column names in the first line: they are 0, 1, …",)
    return as_raw({name: parser.column() for name, parser in parsers.items()}, found, notes)


def _labels(where: str, name: str, cells: list[str]) -> Array:
    return as_labels(where, name, ["" if is_missing(cell) else cell.strip() for cell in cells])


def _blocks(where: str, width: int, rows: Iterator[Row]) -> Iterator[tuple[list[int], list[tuple[str, ...]]]]:
    """Some rows at a time: their lines, and their cells by column."""
    while block := list(islice(rows, _ROWS)):
        for line, row in block:
            if len(row) != width:
                raise DataError(f"{where} line {line}", f"{len(row)} cells", f"{width}, as the first line has")
        yield [line for line, _ in block], list(zip(*(row for _, row in block), strict=True))


class _ColumnParser:
    """A column while its cells arrive: as numbers, or as numbers for the different texts, with NaN for missing cells.

    Args:
        where: name of the table, for messages.
        name: name of the column.
        categories: whether the cells are categories; None: the cells themselves decide.
    """

    def __init__(self, where: str, name: str, categories: bool | None) -> None:
        self.where, self.name, self.categories = where, name, categories
        self.is_text = categories  # None until a cell decides it
        self.is_integer, self.values = True, array("d")
        self.texts: dict[str, float] = {}

    def add(self, lines: Sequence[int], cells: Sequence[str]) -> None:
        """Take the next cells, with the line of each."""
        for kind in () if self.is_text else (int, float):
            plain = _plain_numbers(kind, cells)
            if plain is not None:
                self.is_text, self.is_integer = False, self.is_integer and kind is int
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
        return self.texts[cell]

    def _number(self, where: str, cell: str) -> float:
        if not is_finite(cell):
            raise DataError(where, repr(cell), "a finite number, or the column in data.categories")
        self.is_integer = self.is_integer and is_integer(cell)
        if self.is_integer and abs(int(cell)) > LARGEST_INTEGER:
            raise DataError(where, cell, "a whole number up to 2^53")
        return float(cell)

    def column(self) -> tuple[Column, Array]:
        """What the column is, and what stands in the data for its cells."""
        where, values = f"{self.where}, column {self.name!r}", np.array(self.values)
        if self.is_text:
            return text_column(where, list(self.texts), values, bool(self.categories))
        return number_column(where, "int64" if self.is_integer else "float64", values, self.categories)


def _plain_numbers(kind: type[int] | type[float], cells: Sequence[str]) -> list[float] | None:
    """All cells as numbers of a kind if they are, and not NaN and below 2^53; this is the fast path of most columns."""
    try:
        values: list[float] = [*map(kind, cells)]
    except ValueError:
        return None
    near = min(values) > -LARGEST_INTEGER and max(values) < LARGEST_INTEGER and not math.isnan(sum(values))
    return values if near and "_" not in "".join(cells) else None


def dump_csv(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as CSV: names of categories, numbers in their type, nothing for missing cells."""
    columns = spec.columns or {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.texts(data[:, i]) for i, column in enumerate(columns.values())), strict=True))
    return text.getvalue().encode()
