"""What tables from every source share: each row is an example, each column an entry.

The data are float64 numbers, which include every integer up to 2^53; see `inkwash.data.columns`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_integer, is_number
from inkwash.data.columns import Column, listed
from inkwash.data.judge import Judge, Verdict
from inkwash.data.raw import Raw
from inkwash.data.reading import Constant, Reading
from inkwash.data.spec import DataSpec

_MOST_COLUMNS = 100_000


def entry_columns(where: str, names: Sequence[str], config: DataConfig) -> list[str]:
    """The columns that are entries of the examples: those that are neither dropped nor labels.

    Raises:
        DataError: no column or too many, two columns of one name, or options that do not fit the names.
    """
    if len(names) > _MOST_COLUMNS:
        raise DataError(where, f"{len(names)} columns", f"at most {_MOST_COLUMNS}; an .npy file may have more")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(where, f"column {twice!r} twice", "a name of its own for each column")
    if not names:
        raise DataError(where, "no column", "a first line of column names")
    labels = () if config.labels is None else (config.labels,)
    _require_named_once(names, labels, config)
    entries = [name for name in names if name not in (*(config.drop or ()), *labels)]
    if not entries:
        raise DataError(where, "no column beside the labels", "at least one to model")
    return entries


def _require_named_once(names: Sequence[str], labels: tuple[str, ...], config: DataConfig) -> None:
    """Refuse options that name a column which is not there, or which another option names too."""
    options = {"drop": config.drop, "labels": labels} | {
        option: getattr(config, option) for option in ("categories", "numbers", "dates")
    }
    uses = [(option, name) for option, some in options.items() for name in some or ()]
    for i, (option, name) in enumerate(uses):
        if name not in names:
            raise DataError(f"data.{option}", repr(name), f"one of the columns {listed(names)}")
        if name in (earlier for _, earlier in uses[:i]):
            raise DataError(f"data.{option}", repr(name), f"a column that no other of {', '.join(options)} has")


def named(names: Sequence[str]) -> list[str]:
    """Names of columns; one that is empty becomes what pandas makes of it, such as `Unnamed: 0`."""
    return [name or f"Unnamed: {i}" for i, name in enumerate(names)]


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


def as_raw(
    judge: Judge, verdicts: Mapping[str, Verdict], labels: Mapping[str, Array], notes: Iterable[str] = ()
) -> Raw:
    """A table of columns that have been judged: entries of the examples, constants, and what is left out.

    Raises:
        DataError: infinite numbers, or no column that varies.
    """
    _require_finite(judge, verdicts)
    doubts = tuple(doubt for verdict in verdicts.values() for doubt in verdict.doubts)
    kept = {
        name: (each.column, each.values) for name, each in verdicts.items() if each.column and each.values is not None
    }
    same = {name: (column, values[0]) for name, (column, values) in kept.items() if _is_constant(values)}
    columns = {name: column for name, (column, _) in kept.items() if name not in same}
    if not columns:
        why = "; ".join(f"{doubt.column}: {doubt.seen}" for doubt in doubts)
        raise DataError(judge.where, f"no column to learn ({why})", "one that varies, and is no name of its rows")
    places = {name: place for place, name in enumerate(kept)}
    constants = {name: Constant(column, float(value), places[name]) for name, (column, value) in same.items()}
    reading = Reading(constants, *_aside(judge, verdicts, kept), judge.config.infinite == "missing")
    data = np.stack([kept[name][1] for name in columns], axis=1)
    return Raw(data, "ND", notes=tuple(notes), labels=labels, columns=columns, reading=reading, doubts=doubts)


def _is_constant(values: Array) -> bool:
    """Whether all cells are there, and the same."""
    return bool((values == values[0]).all())


def _aside(
    judge: Judge, verdicts: Mapping[str, Verdict], kept: Collection[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The columns that are left out, and the further words for missing cells; None if there are none."""
    labels = () if judge.config.labels is None else (judge.config.labels,)
    left_out = (*(judge.config.drop or ()), *labels, *(name for name in verdicts if name not in kept))
    words = chain(judge.config.missing_values or (), *(verdict.words for verdict in verdicts.values()))
    return left_out or None, tuple(dict.fromkeys(words)) or None


def _require_finite(judge: Judge, verdicts: Mapping[str, Verdict]) -> None:
    """Refuse infinite numbers, and name all columns that have some."""
    found = {name: verdict.infinite for name, verdict in verdicts.items() if verdict.infinite}
    if found:
        places = "; ".join(
            f"column {name!r} {len(rows)}: {', '.join(map(judge.place, rows[:3]))}{', …' if len(rows) > 3 else ''}"
            for name, rows in found.items()
        )
        count = sum(map(len, found.values()))
        need = f"finite numbers ({places}); --data.infinite missing takes these for missing cells"
        raise DataError(judge.where, f"{count} infinite number{'s' * (count > 1)}", need)


def known_columns(where: str, spec: DataSpec) -> dict[str, Column]:
    """The columns of a known table.

    Raises:
        DataError: the spec describes no table.
    """
    if spec.columns is None:
        raise DataError(where, spec.describe(), "a table, with names of columns")
    return spec.columns


def encode(spec: DataSpec, where: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Array:
    """New rows of a known table, as the data that they stand for: float64 `(N, D)`.

    Args:
        spec: what the table is, and how it was read.
        where: what the rows are called in messages.
        names: the columns that the cells of a row belong to, in any order; those that were left out, and constants, may
            be among them.
        rows: cells as values of Python or as text; None, NaN and the words for missing cells are missing.

    Raises:
        DataError: other columns, a row of another length, a cell that its column cannot hold, or another value of a
            constant.
    """
    columns, reading = known_columns(where, spec), spec.reading or Reading()
    if sorted(reading.entries(names, columns)) != sorted(columns):
        raise DataError(where, f"columns {listed(names)}", f"exactly {listed(columns)}")
    every = list(rows)
    for i, row in enumerate(every):
        if len(row) != len(names):
            raise DataError(f"{where}, row {i}", f"{len(row)} cells", f"{len(names)}, one for each column")
    cells = dict(zip(names, zip(*every, strict=True), strict=True)) if every else {}
    _require_constants(reading, where, cells)
    return np.stack([_encoded(column, reading, where, name, cells) for name, column in columns.items()], axis=1)


def _require_constants(reading: Reading, where: str, cells: Mapping[str, Sequence[Any]]) -> None:
    """Refuse another value of a constant, of which a model knows nothing."""
    for name, constant in reading.constants.items():
        place = f"{where}, column {name!r}"
        found = constant.column.encode(place, cells.get(name, ()), reading.missing or ())
        other = np.flatnonzero((found != constant.value) & ~np.isnan(found))
        if len(other):
            raise DataError(f"{place}, row {other[0]}", repr(cells[name][other[0]]), "the constant that the column was")


def _encoded(column: Column, reading: Reading, where: str, name: str, cells: Mapping[str, Sequence[Any]]) -> Array:
    known = cells.get(name, ()) if column.categories else map(reading.cell, cells.get(name, ()))
    return column.encode(f"{where}, column {name!r}", known, reading.missing or ())
