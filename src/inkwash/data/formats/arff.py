"""ARFF, the tables of Weka, OpenML and the UCI repository (Witten & Frank 2005, §2.4): a header with the type of each
column, then rows, which may be sparse.

A question mark without quotes is a missing cell. A weight of a row, in braces at its end, is refused unless it is 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_finite
from inkwash.data.columns import Column, listed
from inkwash.data.formats.format import TABLES, Format, ends_in, in_one
from inkwash.data.frames import encode_frame, read_frame
from inkwash.data.raw import Raw, require_room, short
from inkwash.data.reading import Reading
from inkwash.data.spec import DataSpec
from inkwash.data.table import known_columns

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_CELL = re.compile(rf"\s*((?:\d+\s+)?(?:{_QUOTED})|[^,'\"{{}}]*?)\s*(?:,|$)")
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|[^\s{{]+)\s*(\{{.*\}}|\S.*)\s*$", re.IGNORECASE)
_WEIGHT = re.compile(rf"^((?:{_QUOTED}|[^'\"])*?[^,\s])\s*,?\s*\{{([^{{}},]*)\}}\s*$")
_PLAIN = re.compile(r"[^\s,'\"{}%?\\]+")
_PARTS = {"M": "%m", "d": "%d", "H": "%H", "m": "%M", "s": "%S"}
_JAVA = {"yyyy": "%Y", "yy": "%y", "MMM": "%b", "SSS": "%f"} | {
    letters: code for letter, code in _PARTS.items() for letters in (letter, 2 * letter)
}
_ISO = "yyyy-MM-dd'T'HH:mm:ss"
_DATES = {4: "yyyy", 7: "yyyy-MM", 10: "yyyy-MM-dd", 16: "yyyy-MM-dd'T'HH:mm", 19: _ISO}
_FINEST = f"{_ISO}.SSS"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
Cell = str | None


@dataclass(frozen=True)
class _Attribute:
    """A column, as the header has it.

    Args:
        name: of the column.
        kind: "numeric", "nominal", "string" or "date".
        words: the categories of a nominal column.
        format: of dates, in the letters of Java.
    """

    name: str
    kind: str
    words: tuple[str, ...] = ()
    format: str = _ISO


def read(path: Path, config: DataConfig) -> Raw:
    """A table in an ARFF file, as `read_frame`.

    Raises:
        DataError: a line that is no ARFF, a weight, or a table that `read_frame` refuses.
    """
    return read_frame(_frame(path), str(path), config)


def read_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from an ARFF file, as `from_frame`."""
    known_columns(str(path), spec)
    return encode_frame(spec, str(path), _frame(path))


def _frame(path: Path) -> Any:
    import pandas

    require_room(str(path), path.stat().st_size)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "an ARFF file in UTF-8") from None
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("%")]
    start = next((i for i, (_, line) in enumerate(lines) if line.lower() == "@data"), None)
    if start is None:
        raise DataError(str(path), "no line @data", "a complete ARFF file")
    heads = [(n, line) for n, line in lines[:start] if line.lower().startswith("@attribute")]
    attributes = [_attribute(f"{path} line {n}", line) for n, line in heads]
    rows = [_row(f"{path} line {n}", line, attributes) for n, line in lines[start + 1 :]]
    cells = zip(*rows, strict=True) if rows else [()] * len(attributes)
    columns = [_column(str(path), each, found) for each, found in zip(attributes, cells, strict=True)]
    return pandas.concat(columns, axis=1) if columns else pandas.DataFrame()


def _attribute(where: str, line: str) -> _Attribute:
    found = _ATTRIBUTE.match(line)
    if found is None:
        raise DataError(where, repr(line), "@attribute, a name and a type")
    name, kind = _plain(found[1]), found[2].strip()
    if kind.startswith("{"):
        return _Attribute(name, "nominal", tuple(_plain(cell) for cell in _cells(where, kind.strip("{} \t"))))
    word, rest = (*kind.split(None, 1), "")[:2]
    if word.lower() in ("numeric", "real", "integer"):
        return _Attribute(name, "numeric")
    if word.lower() in ("string", "date"):
        return _Attribute(name, word.lower(), format=_plain(rest.strip()) or _ISO)
    raise DataError(where, f"type {kind}", "numeric, real, integer, string, date, or categories in braces")


def _row(where: str, line: str, attributes: Sequence[_Attribute]) -> list[Cell]:
    """The cells of a line; None where one is missing."""
    weight = None if line.startswith("{") and line.count("{") == 1 else _WEIGHT.match(line)
    if weight is not None and weight[2].strip() not in ("1", "1.0"):
        raise DataError(where, f"a weight, {weight[2]}", "rows without weights, which a model of rows does not take")
    text = line if weight is None else weight[1]
    if text.startswith("{") and text.endswith("}"):
        return _sparse(where, text[1:-1], attributes)
    cells = _cells(where, text)
    if len(cells) != len(attributes):
        raise DataError(where, f"{len(cells)} cells", f"{len(attributes)}, one for each attribute")
    return [None if cell == "?" else _plain(cell) for cell in cells]


def _sparse(where: str, text: str, attributes: Sequence[_Attribute]) -> list[Cell]:
    """A sparse row: what it leaves out is 0, and of categories the first."""
    row: list[Cell] = [each.words[0] if each.words else "0" for each in attributes]
    for pair in _cells(where, text) if text.strip() else ():
        place, cell = (*pair.split(None, 1), "")[:2]
        if not place.isdecimal() or int(place) >= len(row):
            raise DataError(where, repr(pair), f"a number up to {len(row) - 1}, and a value")
        row[int(place)] = None if cell.strip() == "?" else _plain(cell.strip())
    return row


def _cells(where: str, text: str) -> list[str]:
    """Text between commas, still with its quotes."""
    cells, place = [], 0
    while place <= len(text):
        found = _CELL.match(text, place)
        if found is None:
            raise DataError(where, repr(text[place:]), "cells with commas between them, and quotes in pairs")
        cells.append(found[1])
        place = found.end() + (found[0][-1:] != ",")
    return cells


def _plain(cell: str) -> str:
    """A cell without its quotes."""
    if cell[:1] not in ("'", '"'):
        return cell
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), cell[1:-1])


def _column(where: str, attribute: _Attribute, cells: Sequence[Cell]) -> Any:
    import pandas

    place = f"{where}, column {attribute.name!r}"
    known = [cell for cell in cells if cell is not None]
    if attribute.kind == "nominal":
        if odd := sorted({*known} - {*attribute.words}):
            raise DataError(place, repr(odd[0]), f"one of {listed(attribute.words)}")
        return pandas.Series(pandas.Categorical(cells, attribute.words), name=attribute.name)
    if attribute.kind == "numeric":
        if odd := [cell for cell in known if not is_finite(cell) and cell.lower() not in ("inf", "-inf", "nan")]:
            raise DataError(place, repr(odd[0]), "a number, or ? where it is missing")
        numbers = pandas.array([None if cell is None else float(cell) for cell in cells], "Float64")
        is_integral = all(float(cell).is_integer() and "." not in cell and "e" not in cell.lower() for cell in known)
        return pandas.Series(numbers.astype("Int64") if is_integral else numbers, name=attribute.name)
    if attribute.kind == "date":
        try:
            return pandas.Series(
                pandas.to_datetime(list(cells), format=_strptime(attribute.format)), name=attribute.name
            )
        except ValueError as error:
            raise DataError(place, f"no date ({short(error)})", f"dates as {attribute.format}") from None
    return pandas.Series(list(cells), dtype="string", name=attribute.name)


def _strptime(java: str) -> str:
    """The format of dates in the letters of Python."""
    parts = re.findall(r"'([^']*)'|((?:([A-Za-z])\3*)|[^A-Za-z']+)", java)
    return "".join(_JAVA.get(letters, letters) or quoted for quoted, letters, _ in parts)


def dump(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as ARFF; dates are in the format of ISO."""
    columns = (spec.reading or Reading()).with_constants(known_columns("samples.arff", spec), data)
    texts = {name: _texts(column, values) for name, (column, values) in columns.items()}
    head = [f"@attribute {_quoted(name)} {_type(columns[name][0], found)}" for name, found in texts.items()]
    rows = map(",".join, zip(*texts.values(), strict=True))
    return "\n".join(["@relation samples", "", *head, "", "@data", *rows, ""]).encode()


def _type(column: Column, texts: Sequence[str]) -> str:
    if column.clock is not None:
        longest = max(map(len, texts)) - 2
        return f'date "{_DATES.get(longest, _FINEST)}"' if column.is_date else "string"
    return "numeric" if column.categories is None else f"{{{','.join(map(_quoted, column.categories))}}}"


def _texts(column: Column, values: Array) -> list[str]:
    if column.clock is not None:
        return ["?" if not text else f'"{text.replace(" ", "T")}"' for text in column.texts(values).tolist()]
    gone = np.isnan(values)
    texts = column.texts(np.where(gone, 0, values)).tolist()
    return ["?" if is_gone else _quoted(text) for is_gone, text in zip(gone, texts, strict=True)]


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    escaped = (
        text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    return f"'{escaped}'"


FORMAT = Format(
    name="arff",
    words="a table in an .arff file",
    recognises=ends_in(".arff"),
    read=read,
    options=TABLES,
    packages=("pandas",),
    extra="tabular",
    suffix=".arff",
    write=in_one(dump),
    read_rows=read_rows,
)
