"""Tables from and to files of text (RFC 4180, and what other programs make of it)."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.as_read import Cells
from inkwash.data.cells import CODE, LARGEST_INTEGER, is_integer, is_missing
from inkwash.data.columns import Type
from inkwash.data.dialects import Lines, dialect_of, first_row, opened
from inkwash.data.doubts import Doubt
from inkwash.data.judge import Judge
from inkwash.data.number_formats import NumberFormat
from inkwash.data.raw import CUT, Raw, require_room, short
from inkwash.data.reading import Dialect, Reading
from inkwash.data.spec import DataSpec
from inkwash.data.table import as_labels, as_raw, encode, entry_columns, known_columns, named, require_rows

_ROWS, _CELLS = 4096, 1 << 20
"""How many rows, and how many cells, are read at a time."""
_DAMAGE = (*CUT, UnicodeError, csv.Error)
_CODES = re.compile(rf"(?m)^\s*{CODE}\s*$")
"""`is_code` of many cells at once, a line for each."""
Row = tuple[int, list[str]]
"""The line that a row stands in, and its cells."""


@dataclass(frozen=True)
class _Table:
    """A file of text that is being read.

    Args:
        path: the file.
        dialect: how it divides into cells.
        names: the columns.
    """

    path: Path
    dialect: Dialect
    names: list[str]

    def blocks(self) -> Iterator[tuple[list[int], dict[str, tuple[str, ...]]]]:
        """Some rows at a time: their lines, and their cells by column.

        Raises:
            DataError: a row with another number of cells.
        """
        with _rows(self.path, self.dialect) as rows:
            rest = islice(rows, int(self.dialect.has_names), None)
            while block := list(islice(rest, _rows_of(len(self.names), _ROWS))):
                for line, row in block:
                    if len(row) != len(self.names):
                        self._refuse(line, row)
                cells = zip(*(row for _, row in block), strict=True)
                yield [line for line, _ in block], dict(zip(self.names, cells, strict=True))

    def _refuse(self, line: int, row: Sequence[str]) -> None:
        need = f"{len(self.names)}, as the first line has"
        if row and row[0].lstrip()[:1] in ("#", "%", "/"):
            need += f"; or --data.comment '{row[0].lstrip()[0]}', to leave such lines out"
        raise DataError(f"{self.path} line {line}", f"{len(row)} cells", need)


def is_text_table(path: Path) -> bool:
    """Whether a file has a name like those of tables in text: `.csv` or `.tsv`, perhaps with `.gz`."""
    return re.search(r"\.(csv|tsv)(\.gz)?$", path.name.lower()) is not None


def read_csv(path: Path, config: DataConfig) -> Raw:
    """A table in a file of text, `.csv` or `.tsv`, perhaps compressed as `.gz`; `(N, D)`.

    Encoding, delimiter, decimal mark and comments are what the first lines show, unless the options say them; see
    `inkwash.data.dialects`. What the columns are is up to `inkwash.data.judge`. There is no space around a cell.

    Args:
        path: the file.
        config: which columns to drop, which one holds labels, which hold categories or numbers, and how to read.

    Raises:
        DataError: there is no such table; the message names the column, and the line if there is one.
    """
    where = str(path)
    table, doubts, notes = _opened(path, config)
    entries = entry_columns(where, table.names, config)
    lines, labels, columns = _columns(table, entries, config)
    require_rows(where, len(lines))
    judge = Judge(where, config, lambda row: f"line {lines[row]}", table.dialect.decimal)
    verdicts = {name: judge.verdict(name, columns[name]) for name in entries}
    found = {} if config.labels is None else {config.labels: _labels(where, config.labels, labels)}
    raw = as_raw(judge, verdicts, found, notes)
    return raw.with_dialect(table.dialect, doubts)


def read_csv_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a file of text, float64 `(N, D)`.

    Raises:
        DataError: an unreadable file, other columns, or a cell that its column cannot hold.
    """
    known_columns(str(path), spec)
    table = _opened(path, DataConfig(), spec)[0]
    rows = (row for _, cells in table.blocks() for row in zip(*cells.values(), strict=True))
    return encode(spec, str(path), table.names, [[cell.strip() for cell in row] for row in rows])


def read_text_columns(path: Path, spec: DataSpec) -> tuple[Dialect, dict[str, list[str]]]:
    """How a file with new rows of a known table divides into cells, and all of its columns as text, by name.

    Raises:
        DataError: as `read_csv_rows`.
    """
    table = _opened(path, DataConfig(), spec)[0]
    columns: dict[str, list[str]] = {name: [] for name in table.names}
    for _, cells in table.blocks():
        for name, each in cells.items():
            columns[name] += each
    return table.dialect, columns


def _opened(
    path: Path, config: DataConfig, known: DataSpec | None = None
) -> tuple[_Table, list[Doubt], tuple[str, ...]]:
    """A file, what was decided about it, and a note if its columns have no names."""
    dialect, doubts = _dialect(path, config, known)
    with _rows(path, dialect) as rows:
        top = [row for _, row in islice(rows, 1)]
        head = [*top, *(row for _, row in islice(rows, _rows_of(len(top[0]), 1000)))] if top else []
    first = named([name.strip() for name in head[0]]) if head else []
    if known is not None and {*(known.columns or ())} <= {*first}:
        has_names, more = True, list[Doubt]()
    else:
        has_names, more = first_row(head, config) if dialect.has_names else (False, [])
    table = _Table(path, replace(dialect, has_names=has_names), first if has_names else _places(first))
    note = "no column names in the first line: they are 0, 1, …"
    return table, [*doubts, *more], () if has_names else (note,)


def _rows_of(columns: int, most: int) -> int:
    """How many rows of so many columns are read at a time."""
    return max(1, min(most, _CELLS // max(columns, 1)))


def _places(row: Sequence[str]) -> list[str]:
    """What the columns of a file without names are called."""
    return [str(i) for i in range(len(row))]


def _dialect(path: Path, config: DataConfig, known: DataSpec | None) -> tuple[Dialect, list[Doubt]]:
    """How a file divides into cells: as that of the known table did, if its columns come out so."""
    try:
        dialect, doubts = dialect_of(path, config)
    except _DAMAGE as error:
        raise _unreadable(path, error) from None
    if known is None or known.reading is None or known.reading.dialect in (None, dialect):
        return dialect, doubts
    of_table = known.reading.dialect
    try:
        with _rows(path, of_table) as rows:
            first = [cell.strip() for cell in next(rows, (0, [""]))[1]]
        names = {*first} if of_table.has_names else {*first, *_places(first)}
        fits = {*(known.columns or ())} <= names
    except DataError:
        fits = False
    return (of_table if fits else dialect), doubts


@contextmanager
def _rows(path: Path, dialect: Dialect) -> Iterator[Iterator[Row]]:
    """The rows of a file, each with its line."""
    try:
        with opened(path, dialect.encoding) as file:
            lines = Lines(str(path), file, dialect.comment)
            yield ((lines.number, row) for row in csv.reader(lines, delimiter=dialect.delimiter, strict=True))
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: BaseException) -> DataError:
    if isinstance(error, DataError):
        return error
    need = "text between delimiters; or data.encoding and data.delimiter, which say how to read it"
    return DataError(str(path), f"an unreadable file ({short(error)})", need)


def _columns(
    table: _Table, entries: Sequence[str], config: DataConfig
) -> tuple[array[int], list[str], dict[str, Cells]]:
    """The line of each row, the labels, and the columns as they were read.

    A column is read as numbers as long as all its cells are such. The others are read again, as text.
    """
    lines, labels = array("q"), [""][:0]
    numbers = {name: _Numbers(table.dialect) for name in entries if name not in (config.categories or ())}
    for places, cells in table.blocks():
        lines.extend(places)
        require_room(str(table.path), 8 * len(lines) * len(cells), held=8 * (len(lines) - len(places)) * len(cells))
        labels += cells[config.labels] if config.labels is not None else ()
        numbers = {name: column for name, column in numbers.items() if column.add(cells[name])}
    texts = {name: _Texts() for name in entries if name not in numbers}
    for _, cells in table.blocks() if texts else ():
        for name, column in texts.items():
            column.add(cells[name])
    return lines, labels, {name: column.cells() for name, column in (numbers | texts).items()}


def _labels(where: str, name: str, cells: list[str]) -> Array:
    return as_labels(where, name, ["" if is_missing(cell) else cell.strip() for cell in cells])


class _Numbers:
    """A column of plain numbers while its cells arrive."""

    def __init__(self, dialect: Dialect) -> None:
        self.comma = dialect.decimal == ","
        self.is_integer, self.has_decimals, self.largest, self.values = True, False, 0, array("d")

    def add(self, cells: Sequence[str]) -> bool:
        """Take the next cells, and say whether all of them are numbers or missing."""
        if self.comma:
            if any("." in cell for cell in cells):
                return False
            self.has_decimals = self.has_decimals or any("," in cell for cell in cells)
            cells = [cell.replace(",", ".") for cell in cells]
        joined = "\n".join(cells)
        if "_" in joined or _CODES.search(joined):
            return False
        try:
            self._take(cells)
        except ValueError:
            return False
        return True

    def _take(self, cells: Sequence[str]) -> None:
        present = cells
        try:
            integers = [*map(int, cells)]
        except ValueError:
            present = [cell for cell in cells if not is_missing(cell)]
            self.is_integer = self.is_integer and all(map(is_integer, present))
            integers = [*map(int, present)] if self.is_integer else []
        self.largest = max(self.largest, *map(abs, integers or [0]))
        self.values.extend(map(float, cells) if present is cells else map(_number, cells))

    def cells(self) -> Cells:
        """The column."""
        written = NumberFormat(decimal=",") if self.has_decimals else None
        dtype: Type = "int64" if self.is_integer else "float64"
        fits = not self.is_integer or self.largest <= LARGEST_INTEGER
        return Cells(np.array(self.values), dtype, written=written, fits=fits)


class _Texts:
    """A column of text while its cells arrive: the different texts, and the place of each cell among them."""

    def __init__(self) -> None:
        self.places: dict[str, float] = {}
        self.values = array("d")

    def add(self, cells: Sequence[str]) -> None:
        """Take the next cells."""
        self.values.extend(math.nan if is_missing(cell) else self._place(cell.strip()) for cell in cells)

    def _place(self, cell: str) -> float:
        return self.places.setdefault(cell, float(len(self.places)))

    def cells(self) -> Cells:
        """The column."""
        return Cells(np.array(self.values), "str", tuple(self.places))


def _number(cell: str) -> float:
    return math.nan if is_missing(cell) else float(cell)


def dump_csv(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as text in UTF-8: names of categories, numbers in their type, nothing for missing
    cells. Delimiter and decimal mark are those that the table was read with."""
    reading = spec.reading or Reading()
    return dump_text(text_columns(spec, data), replace(reading.dialect or Dialect(), encoding="utf-8", has_names=True))


def text_columns(spec: DataSpec, data: Array) -> dict[str, Array]:
    """The columns of examples `(N, D)` of a table as text, by name."""
    columns = (spec.reading or Reading()).with_constants(spec.columns or {}, data)
    return {name: column.texts(values) for name, (column, values) in columns.items()}


def dump_text(columns: Mapping[str, Iterable[str]], dialect: Dialect, line_end: str = "\n") -> bytes:
    """Columns of text as a file."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=dialect.delimiter, lineterminator=line_end)
    if dialect.has_names:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode(dialect.encoding)
