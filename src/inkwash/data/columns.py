"""What the columns of a table hold: numbers, or categories by their numbers 0, 1, …; NaN stands for a missing cell.

Text, booleans and pandas categories are categories. So are whole numbers that take 2 to 16 neighbouring values, as 1 to
5 are, some of them more than once; other numbers are numbers.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array

Type = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]
LARGEST_WHOLE = 1 << 53
"""Up to here float64, which tables are held in, has every whole number."""
MOST_NEIGHBOURS, MOST_TEXTS, MOST_CATEGORIES = 16, 64, 1024
"""Most values of whole numbers that are categories, most different texts, and most of either where the user says that
they are categories."""
_MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none", "?", "-"}
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?")


@dataclass(frozen=True)
class Column:
    """What the cells of a column are.

    Args:
        dtype: NumPy name of their type, "str" for text, "category" for a pandas categorical of text.
        categories: names of the categories in the order of their numbers 0, 1, …; None: numbers.
        missing: whether cells may be missing.
    """

    dtype: Type | Literal["str", "category"]
    categories: tuple[str, ...] | None = None
    missing: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the cells are whole numbers, be they categories or not."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest of the whole numbers that stand in the data; None for real numbers."""
        if self.categories is not None:
            return 0, len(self.categories) - 1
        if not self.is_whole:
            return None
        ends = np.iinfo(self.dtype)
        return max(int(ends.min), -LARGEST_WHOLE), min(int(ends.max), LARGEST_WHOLE)

    def check(self, where: str) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        names = self.categories
        if names is None:
            if self.dtype in ("bool", "str", "category"):
                raise ConfigError(f"{where}.categories", None, f"names of categories, for cells of type {self.dtype}")
            return
        if len(set(names)) < len(names) or (self.dtype == "bool" and len(names) != 2):
            raise ConfigError(f"{where}.categories", listed(names), "names that differ; of booleans two")
        if self.dtype not in ("bool", "str", "category") and not all(map(is_whole, names)):
            raise ConfigError(f"{where}.categories", listed(names), f"whole numbers, for cells of type {self.dtype}")

    def encode(self, where: str, cells: Iterable[Any]) -> Array:
        """Cells as they stand in a table, float64 `(N,)`: numbers, or numbers of categories; NaN where one is missing.

        Args:
            where: of the table and column, for messages.
            cells: values of Python or NumPy, or text as in a file; None, NaN and words for missing cells are missing.

        Raises:
            DataError: a category that is none of the column's, or no finite number, with its row counted from 0.
        """
        numbers = {name: float(i) for i, name in enumerate(self.categories or ())}
        return np.array([self._encoded(where, i, cell, numbers) for i, cell in enumerate(cells)], np.float64)

    def words(self, values: Array) -> Array:
        """Cells as text, by what stands in the data for them `(N,)`: nothing where one is missing."""
        names = self.decode(values) if self.categories is None else self._names(values)
        return np.where(np.isnan(values), "", names.astype(str))

    def decode(self, values: Array) -> Array:
        """Cells in their type, by what stands in the data for them `(N,)`: anything where one is missing."""
        if self.categories is None or self.dtype == "bool":
            return np.where(np.isnan(values), 0, values).astype(self.dtype)
        names = self._names(values)
        return names if self.dtype in ("str", "category") else names.astype(self.dtype)

    def numbers(self, values: Array) -> Array:
        """The numbers that cells of whole or real numbers are, float64 `(N,)`; NaN where one is missing."""
        return values if self.categories is None else np.where(np.isnan(values), np.nan, self.decode(values))

    def _names(self, values: Array) -> Array:
        return np.array(self.categories)[np.where(np.isnan(values), 0, values).astype(int)]

    def _encoded(self, where: str, row: int, cell: Any, numbers: Mapping[str, float]) -> float:
        if cell is None or (isinstance(cell, float | np.floating) and np.isnan(cell)):
            return np.nan
        name = self._name(cell)
        if name in numbers:
            return numbers[name]
        if is_missing(name):
            return np.nan
        if self.categories is not None:
            raise DataError(f"{where}, row {row}", repr(cell), f"one of {listed(self.categories)}")
        if not is_finite(name) or (self.is_whole and not float(name).is_integer()):
            raise DataError(f"{where}, row {row}", repr(cell), f"a {'whole' if self.is_whole else 'finite'} number")
        return float(name)

    def _name(self, cell: Any) -> str:
        if self.dtype == "bool" and isinstance(cell, bool | np.bool_):
            return (self.categories or ())[int(cell)]
        if isinstance(cell, float | np.floating) and self.categories is not None and float(cell).is_integer():
            return str(int(cell))
        return str(cell)


def is_missing(cell: str) -> bool:
    """Whether text stands for a missing cell: nothing, NA, N/A, NaN, null, none, ? or -, in letters of any size."""
    return cell.strip().lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether text is a number, be it infinite."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_whole(cell: str) -> bool:
    """Whether text is a whole number in decimal digits."""
    return _WHOLE.fullmatch(cell.strip()) is not None


def _is_plain(cell: str) -> bool:
    """Whether text is what is written for a whole number of 64 bits."""
    return is_whole(cell) and str(int(cell)) == cell and -(1 << 63) <= int(cell) < 1 << 63


def is_finite(cell: str) -> bool:
    """Whether text is a finite number."""
    return is_number(cell) and bool(np.isfinite(float(cell)))


def number_column(where: str, dtype: Type, values: Array, categories: bool | None = None) -> tuple[Column, Array]:
    """A column of numbers: what it is, and what stands in the data for its cells.

    Args:
        where: table and column, for messages.
        dtype: type of the numbers.
        values: float64 `(N,)`, NaN where a cell is missing.
        categories: whether they are categories; None: if they are whole and take few neighbouring values.

    Raises:
        DataError: none but missing cells, the same number everywhere, or numbers that cannot be categories but have to.
    """
    seen = np.unique(values[~np.isnan(values)])
    _require_two(where, [f"{value:g}" for value in seen[:2]], "constant ")
    whole = Column(dtype).is_whole
    if categories is None:
        neighbours = whole and bool(seen[-1] - seen[0] == len(seen) - 1)
        again = len(seen) < int((~np.isnan(values)).sum())
        categories = neighbours and again and len(seen) <= MOST_NEIGHBOURS
    if not categories:
        return Column(dtype, None, bool(np.isnan(values).any())), values
    if not np.array_equal(seen, np.rint(seen)):
        raise DataError(where, "real numbers", "whole numbers or text, to be categories")
    numbers = np.where(np.isnan(values), np.nan, np.searchsorted(seen, values))
    return category_column(where, dtype, [str(int(value)) for value in seen], numbers)


def text_column(
    where: str, names: Sequence[str], numbers: Array, asked: bool = False, typed: bool = False
) -> tuple[Column, Array]:
    """A column of text: what it is, and what stands in the data for its cells.

    Of text that came without a type, `false` and `true`, in letters of any size, are booleans, and whole numbers that
    are written as usual, not as 007, are whole numbers.

    Args:
        where: table and column, for messages.
        names: the different texts.
        numbers: float64 `(N,)`, the place of each cell's text in `names`, NaN where a cell is missing.
        asked: whether the user says that these are categories.
        typed: whether the source says that these are text.

    Raises:
        DataError: one text alone, too many of them, as many as cells, or dates.
    """
    require_few(where, len(names), asked)
    if names and not asked and all(map(_DATE.fullmatch, names)):
        refuse_dates(where)
    if not asked and 1 < len(names) == np.count_nonzero(~np.isnan(numbers)):
        raise DataError(where, "a text of its own in each row", "categories; data.drop leaves the column out")
    whole = all(map(is_whole, names))
    order = sorted(range(len(names)), key=lambda i: (int(names[i]) if whole else 0, names[i]))
    ordered = [names[i] for i in order]
    rank = np.append(np.argsort(order), np.nan)
    dtype: Any = "str"
    if not typed and [name.lower() for name in ordered] == ["false", "true"]:
        dtype = "bool"
    elif not typed and all(map(_is_plain, names)):
        dtype = "int64"
    return category_column(where, dtype, ordered, rank[np.where(np.isnan(numbers), -1, numbers).astype(int)])


def category_column(where: str, dtype: Any, names: Sequence[str], numbers: Array) -> tuple[Column, Array]:
    """A column of categories in their order, and the numbers of its cells `(N,)`, float64, NaN where one is missing.

    Raises:
        DataError: fewer than two categories occur, or there are too many.
    """
    seen = np.unique(numbers[~np.isnan(numbers)])
    _require_two(where, [repr(names[int(i)]) for i in seen[:2]])
    require_few(where, len(names), asked=True)
    return Column(dtype, tuple(names), bool(np.isnan(numbers).any())), numbers


def require_few(where: str, count: int, asked: bool) -> None:
    """Refuse more categories than a column may have.

    Raises:
        DataError: there are more.
    """
    if count > (MOST_CATEGORIES if asked else MOST_TEXTS):
        more = "" if asked else f", or up to {MOST_CATEGORIES} with data.categories"
        need = f"at most {MOST_CATEGORIES if asked else MOST_TEXTS}{more}; data.drop leaves the column out"
        raise DataError(where, f"{count} or more categories", need)


def refuse_dates(where: str) -> None:
    """Refuse a column of dates.

    Raises:
        DataError: always.
    """
    need = "numbers, as days since the first one, or year, month and weekday; data.drop leaves the column out"
    raise DataError(where, "dates", need)


def require_numbers(columns: Mapping[str, Column]) -> None:
    """Refuse categories and missing cells, where all columns are to have one alphabet.

    Raises:
        DataError: a column has them.
    """
    for name, column in columns.items():
        if column.categories is not None or column.missing:
            got = "missing cells" if column.missing else f"categories, {listed(column.categories or ())}"
            raise DataError(f"data, column {name!r}", got, "whole numbers in every row, as data.levels asks")


def describe_columns(columns: Mapping[str, Column], data: Array) -> list[str]:
    """What a user is told of a table's columns, one sentence each."""
    said = [f"columns {listed(columns)}"]
    whole = [name for name, column in columns.items() if column.is_whole and column.categories is None]
    if whole:
        said.append(f"whole numbers, rounded in samples: {listed(whole)}")
    kinds = [f"{name} ({len(c.categories)}: {listed(c.categories)})" for name, c in columns.items() if c.categories]
    if kinds:
        said.append(f"categories: {'; '.join(kinds)}")
    counts = [f"{name} {np.isnan(data[:, i]).sum()}" for i, (name, c) in enumerate(columns.items()) if c.missing]
    if counts:
        said.append(f"missing cells, of {len(data)}: {listed(counts)}")
    return said


def listed(names: Iterable[str], most: int = 12) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f", … ({len(every)} in all)" if len(every) > most else "")


def _require_two(where: str, seen: Sequence[str], what: str = "") -> None:
    if not seen:
        raise DataError(where, "no value", "cells that are not all missing; data.drop leaves the column out")
    if len(seen) == 1:
        raise DataError(where, f"the {what}{seen[0]} in every row", "values that vary; data.drop leaves the column out")
