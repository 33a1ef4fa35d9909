"""How a file of text divides into lines and cells: what its first lines show, and what the options say.

`csv.Sniffer` asks which delimiter is likely. This module only takes one that divides every line into equally many
cells, because a wrong one would make a table of nonsense.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import IO

from inkwash.core.config import DataConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.data.cells import is_integer, is_missing, is_number
from inkwash.data.doubts import Doubt
from inkwash.data.number_formats import Decimal
from inkwash.data.reading import Dialect

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_ROWS = 1000
"""How many rows the first look reads."""
_BYTES, _LOOK = 1 << 16, 1 << 22
"""How much the first look reads, of bytes to find the encoding and of characters to find the rest."""
_LONGEST = 1 << 22
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_COMMA = re.compile(r"[+-]?\d+,\d+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_POINT = re.compile(r"[+-]?\d*\.\d+")


class Lines:
    """The lines of an open file that are read, counted with those that are not.

    Args:
        where: its name, for messages.
        file: the file.
        comment: what a line that is not read begins with.
    """

    def __init__(self, where: str, file: IO[str], comment: str) -> None:
        self.where, self.file, self.comment, self.number = where, file, comment, 0

    def __iter__(self) -> Iterator[str]:
        for line in bounded(self.where, self.file):
            self.number += 1
            if not self.comment or not line.startswith(self.comment):
                yield line


def bounded(where: str, file: IO[str], longest: int = _LONGEST) -> Iterator[str]:
    """The lines of an open file, none of which fills the memory.

    Raises:
        DataError: a line is longer than so many characters.
    """
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise DataError(f"{where} line {number}", f"more than {longest} characters", "a line for each example")
        yield line


def opened(path: Path, encoding: str) -> IO[str]:
    """A file of text, which may be compressed."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def dialect_of(path: Path, config: DataConfig) -> tuple[Dialect, list[Doubt]]:
    """How a file divides into cells, and what was decided about that.

    Raises:
        DataError: an encoding that cannot be found out.
        ConfigError: an encoding or a delimiter that there is not.
    """
    encoding, doubts = _encoding(path, config.encoding)
    with opened(path, encoding) as file:
        lines = _first_lines(str(path), file)
    comment, more = _comment(lines, config.comment)
    read = [line for line in lines if not comment or not line.startswith(comment)]
    delimiter, others = _delimiter(path, read, config.delimiter)
    rows = list(csv.reader(read, delimiter=delimiter))
    decimal, last = _decimal(delimiter, rows, config.decimal)
    return Dialect(delimiter, decimal, encoding, comment), [*doubts, *more, *others, *last]


def _first_lines(where: str, file: IO[str]) -> list[str]:
    """What the first look reads."""
    lines, size = list[str](), 0
    for line in islice(bounded(where, file), _ROWS):
        lines.append(line)
        size += len(line)
        if size > _LOOK:
            break
    return lines


def _encoding(path: Path, stated: str | None) -> tuple[str, list[Doubt]]:
    if stated is not None:
        try:
            codecs.lookup(stated)
        except LookupError:
            raise ConfigError("data.encoding", repr(stated), "an encoding that Python knows, such as latin-1") from None
        return stated, []
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        head = file.read(_BYTES)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is not None:
        return marked, []
    if head.count(0) > len(head) // 4:
        name = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        return name, [_of_file(f"{head.count(0)} zero bytes", f"read as {name}", "encoding", "utf-8", name)]
    if _decodes(path, "utf-8"):
        return "utf-8-sig", []
    if _decodes(path, "cp1252"):
        return "cp1252", [_of_file("bytes that are not UTF-8", "read as cp1252", "encoding", "latin-2", "cp1252")]
    raise DataError(str(path), "text in an unknown encoding", "UTF-8, or data.encoding with the name of another one")


def _decodes(path: Path, encoding: str) -> bool:
    try:
        with opened(path, encoding) as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _of_file(seen: str, done: str, option: str, otherwise: str, settled: str) -> Doubt:
    return Doubt("", seen, done, (option, otherwise), (option, settled))


def _comment(lines: Sequence[str], stated: str | None) -> tuple[str, list[Doubt]]:
    """What comments begin with: # if lines at the beginning of the file do."""
    if stated is not None:
        return stated, []
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if not count or count == len(lines):
        return "", []
    return "#", [_of_file(f"{count} first lines with #", "read as comments", "comment", "", "#")]


def _delimiter(path: Path, lines: Sequence[str], stated: str | None) -> tuple[str, list[Doubt]]:
    usual = "\t" if ".tsv" in path.name.lower() else ","
    if stated is not None:
        named = {name: mark for mark, name in _DELIMITERS.items()} | {"space": " ", "\\t": "\t"}
        mark = named.get(stated, stated)
        if len(mark) != 1:
            raise ConfigError("data.delimiter", repr(stated), f"one character, or {', '.join(named)}")
        return mark, []
    fitting = {mark: rows for mark in _DELIMITERS if (rows := _divided(lines, mark))}
    if usual in fitting and len(fitting) > 1 and not _is_decimal_comma(fitting, usual):
        fitting = {usual: fitting[usual]}
    found = next((mark for mark in fitting if mark != usual), usual)
    if found == usual:
        return usual, []
    name = _DELIMITERS[found]
    seen = f"{len(fitting[found][0])} cells in each line between {name}s"
    other = _DELIMITERS[usual]
    return found, [_of_file(seen, f"divided at each {name}", "delimiter", other, name)]


def _divided(lines: Sequence[str], mark: str) -> list[list[str]]:
    """The rows that a delimiter makes, if all of them have equally many cells and more than one; otherwise none."""
    try:
        rows = list(csv.reader(lines, delimiter=mark))
    except csv.Error:  # a wide table without this delimiter is one cell, and too long for csv
        return []
    is_cut = len(lines) == _ROWS or sum(map(len, lines)) > _LOOK
    complete = rows[:-1] if is_cut and len(rows) > 1 else rows  # the last line may end within a cell
    return complete if complete and len(complete[0]) > 1 and len({len(row) for row in complete}) == 1 else []


def _is_decimal_comma(fitting: dict[str, list[list[str]]], usual: str) -> bool:
    """Whether commas divide every line only because every cell between other marks has a decimal comma."""
    others = [cell for mark, rows in fitting.items() if mark != usual for row in rows for cell in row if "," in cell]
    return usual == "," and bool(others) and all(_COMMA.fullmatch(cell.strip()) for cell in others)


def _decimal(
    delimiter: str, rows: Sequence[Sequence[str]], stated: Decimal | None
) -> tuple[Decimal | None, list[Doubt]]:
    """The decimal mark, from numbers that can have only one; where semicolons divide cells, a comma is one."""
    if stated is not None:
        return stated, []
    cells = [cell.strip() for row in rows for cell in row]
    with_comma = [cell for cell in cells if _COMMA.fullmatch(cell)]
    sure = any(not _GROUPED.fullmatch(cell.replace(",", ".")) for cell in with_comma)
    has_point = any(_POINT.fullmatch(cell) and not _GROUPED.fullmatch(cell) for cell in cells)
    if not has_point and (sure or (with_comma and delimiter == ";")):
        return ",", [_of_file(f"numbers such as {with_comma[0]}", "read with a decimal comma", "decimal", ".", ",")]
    return ("." if delimiter == "," else None), []


def first_row(rows: Sequence[Sequence[str]], config: DataConfig) -> tuple[bool, list[Doubt]]:
    """Whether the first row has the names of the columns, and what was decided about that.

    It has not if it has only numbers and missing cells, or a real number; but whole numbers that count by ones, and
    are mostly none that their columns could hold, are names, such as years.
    """
    if config.header != "auto" or not rows:
        return config.header != "no", []
    first, body = rows[0], rows[1:]
    numbers = [cell for cell in first if is_number(cell) and not is_missing(cell)]
    if not numbers:
        return True, []
    if len(numbers) + sum(map(is_missing, first)) < len(first):
        is_row = any(not is_integer(cell) for cell in numbers) or _recurs(first, body)
        doubt = _of_file(f"{listed_cells(first)} in the first line", "read as a row", "header", "yes", "no")
        return not is_row, [doubt] if is_row else []
    if _counts(first) and _mostly_beyond(first, body):
        doubt = _of_file(f"{listed_cells(first)} in the first line", "read as names", "header", "no", "yes")
        return True, [doubt]
    is_sure = any(not is_integer(cell) for cell in numbers)
    doubt = _of_file(f"{listed_cells(first)} in the first line", "read as a row", "header", "yes", "no")
    return False, [] if is_sure else [doubt]


def listed_cells(row: Sequence[str]) -> str:
    """The first cells of a row, for messages."""
    return ", ".join(cell.strip() for cell in row[:3]) + (", …" if len(row) > 3 else "")


def _recurs(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether all text of a row stands in other rows of its column too."""
    texts = [i for i, cell in enumerate(first) if not is_number(cell)]
    return bool(texts) and all(any(len(row) > i and row[i] == first[i] for row in body) for i in texts)


def _counts(cells: Sequence[str]) -> bool:
    if len(cells) < 2 or not all(map(is_integer, cells)):
        return False
    return all(int(b) - int(a) == 1 for a, b in pairwise(cells))


def _mostly_beyond(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether more than half of the numbers lie outside the range of their column, or above text."""
    beyond = 0
    for i, cell in enumerate(first):
        column = [float(row[i]) for row in body if len(row) > i and is_number(row[i]) and not is_missing(row[i])]
        beyond += not column or not min(column) <= float(cell) <= max(column)
    return beyond > len(first) / 2
