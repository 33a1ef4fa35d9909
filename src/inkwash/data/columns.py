"""What a column of a table holds: numbers, or categories, for which the numbers 0, 1, … stand in the data.

NaN stands for a missing cell. `inkwash.data.column_kinds` decides which columns hold categories.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_finite, is_integer, is_missing
from inkwash.data.number_formats import NumberFormat

Type = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]
LARGEST_INTEGER = 1 << 53
"""Tables are held as float64, which has every integer up to this one."""


@dataclass(frozen=True)
class Column:
    """What the cells of a column are.

    Args:
        dtype: NumPy name of their type, "str" for text, "category" for a pandas categorical of text.
        categories: names of the categories in the order of their numbers 0, 1, …; None: the cells are numbers.
        missing: whether cells may be missing.
        written: how numbers are written in text, if not plainly.
    """

    dtype: Type | Literal["str", "category"]
    categories: tuple[str, ...] | None = None
    missing: bool = False
    written: NumberFormat | None = None

    @property
    def is_integer(self) -> bool:
        """Whether the cells are integers, which may be categories."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest of the integers that stand in the data; None where real numbers stand there."""
        if self.categories is not None:
            return 0, len(self.categories) - 1
        if not self.is_integer:
            return None
        ends = np.iinfo(self.dtype)
        return max(int(ends.min), -LARGEST_INTEGER), min(int(ends.max), LARGEST_INTEGER)

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
            raise ConfigError(f"{where}.categories", listed(names), "names that differ; two of them for booleans")
        if self.dtype not in ("bool", "str", "category") and not all(map(is_integer, names)):
            raise ConfigError(f"{where}.categories", listed(names), f"whole numbers, for cells of type {self.dtype}")

    def encode(self, where: str, cells: Iterable[Any], missing: Collection[str] = ()) -> Array:
        """The numbers that stand in the data for cells, float64 `(N,)`; NaN where a cell is missing.

        Args:
            where: name of the table and of the column, for messages.
            cells: values of Python or NumPy, or text as in a file. None, NaN and the words for missing cells are
                missing.
            missing: further words for missing cells, unless they are categories.

        Raises:
            DataError: a cell that is not one of the column's categories, or not a finite number; the message has its
                row, counted from 0.
        """
        numbers = {self._folded(name): float(i) for i, name in enumerate(self.categories or ())}
        return np.array([self._encoded(where, i, cell, numbers, missing) for i, cell in enumerate(cells)], np.float64)

    def texts(self, values: Array) -> Array:
        """The text of the cells that `values` `(N,)` stand for; it is empty where one is missing."""
        names = (self.decode(values) if self.categories is None else self._names(values)).astype(str)
        if self.written is not None:
            names = np.array([self.written.text(name) for name in names.tolist()], str)
        return np.where(np.isnan(values), "", names)

    def decode(self, values: Array) -> Array:
        """The cells that `values` `(N,)` stand for, in their type; where a cell is missing, any value."""
        if self.categories is None or self.dtype == "bool":
            return np.where(np.isnan(values), 0, values).astype(self.dtype)
        names = self._names(values)
        return names if self.dtype in ("str", "category") else names.astype(self.dtype)

    def numbers(self, values: Array) -> Array:
        """The numbers in the cells that `values` `(N,)` stand for, float64 `(N,)`; NaN where a cell is missing."""
        return values if self.categories is None else np.where(np.isnan(values), np.nan, self.decode(values))

    def _names(self, values: Array) -> Array:
        return np.array(self.categories)[np.where(np.isnan(values), 0, values).astype(int)]

    def _encoded(
        self, where: str, row: int, cell: Any, numbers: Mapping[str, float], missing: Collection[str]
    ) -> float:
        if cell is None or (isinstance(cell, float | np.floating) and np.isnan(cell)):
            return np.nan
        name = self._name(cell)
        if self._folded(name) in numbers:
            return numbers[self._folded(name)]
        if is_missing(name, missing):
            return np.nan
        number = self.written.number(name) if self.written is not None and isinstance(cell, str) else None
        if number is not None:
            name = str(int(number)) if number.is_integer() else repr(number)
        if self.categories is not None:
            raise DataError(f"{where}, row {row}", repr(cell), f"one of {listed(self.categories)}")
        if not is_finite(name) or (self.is_integer and not float(name).is_integer()):
            need = f"a {'whole' if self.is_integer else 'finite'} number"
            raise DataError(f"{where}, row {row}", repr(cell), need)
        return float(name)

    def _folded(self, name: str) -> str:
        """What two spellings of one category have in common: TRUE and true are one value."""
        return name.lower() if self.dtype == "bool" else name

    def _name(self, cell: Any) -> str:
        if self.dtype == "bool" and isinstance(cell, bool | np.bool_):
            return (self.categories or ())[int(cell)]
        if isinstance(cell, float | np.floating) and self.categories is not None and float(cell).is_integer():
            return str(int(cell))
        return str(cell)


def require_numbers(columns: Mapping[str, Column]) -> None:
    """Refuse categories and missing cells, where all columns have the same levels.

    Raises:
        DataError: a column has them.
    """
    for name, column in columns.items():
        if column.categories is not None or column.missing:
            got = "missing cells" if column.missing else f"categories, {listed(column.categories or ())}"
            raise DataError(f"data, column {name!r}", got, "whole numbers in every row, as data.levels wants them")


def describe_columns(columns: Mapping[str, Column], data: Array) -> list[str]:
    """What is printed about the columns of a table `(N, D)`, one sentence for each subject."""
    notes = [f"columns {listed(columns)}"]
    integers = [name for name, column in columns.items() if column.is_integer and column.categories is None]
    if integers:
        notes.append(f"whole numbers, rounded in samples: {listed(integers)}")
    kinds = [f"{name} ({len(c.categories)}: {listed(c.categories)})" for name, c in columns.items() if c.categories]
    if kinds:
        notes.append(f"categories: {'; '.join(kinds)}")
    counts = [f"{name} {np.isnan(data[:, i]).sum()}" for i, (name, c) in enumerate(columns.items()) if c.missing]
    if counts:
        notes.append(f"missing cells, of {len(data)}: {listed(counts)}")
    return notes


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names with commas between them, and how many there are if that is more than `most`."""
    every = list(names)
    return ", ".join(every[:most]) + (f", … ({len(every)} in all)" if len(every) > most else "")
