"""What a column of a table holds: numbers; categories, for which the numbers 0, 1, … stand in the data; or dates and
durations, for which counts of a unit stand there, as `inkwash.data.clock` says.

NaN stands for a missing cell. `inkwash.data.column_kinds` decides which columns hold categories.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER, is_finite, is_integer, is_missing
from inkwash.data.clock import Clock, TimeType
from inkwash.data.number_formats import NumberFormat

Type = Literal[
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]


@dataclass(frozen=True)
class Column:
    """What the cells of a column are.

    Args:
        dtype: NumPy name of their type, "str" for text, "category" for a pandas categorical.
        categories: names of the categories in the order of their numbers 0, 1, …; None: the cells are numbers.
        missing: whether cells may be missing.
        written: how numbers are written in text, if not plainly.
        ordered: whether a pandas categorical has an order.
        level_type: type of the categories of a pandas categorical.
        clock: how dates and durations are counted; None: the cells are neither.
        per_unit: how many multiples of their resolution make one unit of real numbers, 100 for numbers of two decimals;
            samples are rounded to it. None: they have no resolution, or their type has it.
        recurring: the numbers that have a probability of their own, increasing; see `inkwash.data.recurring`.
    """

    dtype: Type | TimeType | Literal["str", "category"]
    categories: tuple[str, ...] | None = None
    missing: bool = False
    written: NumberFormat | None = None
    ordered: bool = False
    level_type: Type | Literal["str"] = "str"
    clock: Clock | None = None
    per_unit: Annotated[int, Range(1, 1 << 30)] | None = None
    recurring: tuple[float, ...] | None = None

    @property
    def is_number(self) -> bool:
        """Whether the cells are numbers, and neither categories nor dates or durations."""
        return self.categories is None and self.clock is None

    @property
    def step(self) -> float:
        """How far apart the numbers of samples are, in the units of the data; 0 where they are any real numbers."""
        if self.categories is not None:
            return 0.0
        return 1.0 if self.is_integer else 1 / self.per_unit if self.per_unit else 0.0

    @property
    def is_integer(self) -> bool:
        """Whether the cells are integers, which may be categories or counts of time."""
        return self.clock is not None or self.dtype.startswith(("int", "uint"))

    @property
    def is_date(self) -> bool:
        """Whether the cells are dates."""
        return self.dtype.startswith("datetime64")

    @property
    def name_type(self) -> str:
        """Type of the names of categories: that of the cells, or for a pandas categorical that of its categories."""
        return self.level_type if self.dtype == "category" else self.dtype

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest of the integers that stand in the data; None where real numbers stand there."""
        if self.categories is not None:
            return 0, len(self.categories) - 1
        if not self.is_integer:
            return None
        if self.clock is not None:
            return self.clock.limits(cast(TimeType, self.dtype))
        ends = np.iinfo(self.dtype)
        return max(int(ends.min), -LARGEST_INTEGER), min(int(ends.max), LARGEST_INTEGER)

    def check(self, where: str) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        names = self.categories
        if (self.clock is None) == self.dtype.startswith(("datetime64", "timedelta64")):
            need = "one for dates and durations, and for nothing else"
            raise ConfigError(f"{where}.clock", self.clock, need)
        if self.clock is not None:
            self.clock.check(f"{where}.clock")
        if self.per_unit is not None and (names is not None or not self.dtype.startswith("float")):
            raise ConfigError(f"{where}.per_unit", self.per_unit, "none, for other cells than real numbers")
        if self.recurring is not None and not (self.is_number and sorted(set(self.recurring)) == [*self.recurring]):
            raise ConfigError(f"{where}.recurring", listed(map(str, self.recurring)), "increasing numbers, for numbers")
        if names is None:
            if self.dtype in ("bool", "str", "category"):
                raise ConfigError(f"{where}.categories", None, f"names of categories, for cells of type {self.dtype}")
            return
        if len(set(names)) < len(names) or (self.dtype == "bool" and len(names) != 2):
            raise ConfigError(f"{where}.categories", listed(names), "names that differ; two of them for booleans")
        is_name = is_finite if self.name_type.startswith("float") else is_integer
        if self.name_type not in ("bool", "str") and not all(map(is_name, names)):
            need = f"{'' if is_name is is_finite else 'whole '}numbers, for cells of type {self.name_type}"
            raise ConfigError(f"{where}.categories", listed(names), need)

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
        if self.clock is not None:
            present = [None if isinstance(cell, str) and is_missing(cell, missing) else cell for cell in cells]
            counts = self.clock.encode(where, present, cast(TimeType, self.dtype))
            return np.where(np.isin(counts, self.moments_among(missing)), np.nan, counts)
        numbers = {self._folded(self._name(name)): float(i) for i, name in enumerate(self.categories or ())}
        return np.array([self._encoded(where, i, cell, numbers, missing) for i, cell in enumerate(cells)], np.float64)

    def moments_among(self, words: Collection[str]) -> Array:
        """What stands in the data for those words that are dates or durations of the column, `(K,)`; nothing for other
        columns."""
        return np.empty(0) if self.clock is None else self.clock.counts_of_words(words, cast(TimeType, self.dtype))

    def texts(self, values: Array) -> Array:
        """The text of the cells that `values` `(N,)` stand for; it is empty where one is missing."""
        if self.clock is not None:
            return np.array(self.clock.texts(values, cast(TimeType, self.dtype)), str)
        cells = self.decode(values) if self.categories is None else self._picked(np.array(self.categories), values)
        names = cells.astype(str)
        if self.written is not None:
            names = np.array([self.written.text(name) for name in names.tolist()], str)
        return np.where(np.isnan(values), "", names)

    def bound(self, text: str) -> float:
        """The number that stands in the data for a number or a time in an option; NaN if the text is neither."""
        if self.clock is None:
            return float(text) if is_finite(text) else np.nan
        try:
            return float(self.encode("", [text])[0])
        except DataError:
            return np.nan

    def shown(self, value: float) -> str:
        """The text, in messages, of a number that stands in the data."""
        return f"{value:g}" if self.clock is None or np.isinf(value) else str(self.texts(np.array([value]))[0])

    def decode(self, values: Array) -> Array:
        """The cells that `values` `(N,)` stand for, in their type; where a cell is missing, any value. Dates of a zone
        are in UTC."""
        if self.clock is not None:
            return self.clock.values(values, cast(TimeType, self.dtype))
        if self.categories is None or self.dtype == "bool":
            return np.where(np.isnan(values), 0, values).astype(self.dtype)
        return self._picked(self.levels, values)

    @property
    def levels(self) -> Array:
        """The categories in their own type, `(K,)`."""
        names = np.array(self.categories)
        if self.name_type == "bool":
            return names == "True"
        return names if self.name_type == "str" else names.astype(np.dtype(self.name_type))

    def numbers(self, values: Array) -> Array:
        """The numbers in the cells that `values` `(N,)` stand for, float64 `(N,)`; NaN where a cell is missing."""
        return values if self.categories is None else np.where(np.isnan(values), np.nan, self.decode(values))

    def _picked(self, levels: Array, values: Array) -> Array:
        return levels[np.where(np.isnan(values), 0, values).astype(int)]

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
        text = str(cell)
        if self.categories is None or self.name_type in ("bool", "str") or not is_finite(text):
            return number_name(cell) if isinstance(cell, float | np.floating) and self.categories is not None else text
        return str(int(text)) if is_integer(text) else number_name(float(text), self.name_type)


def number_name(number: float | np.floating[Any], dtype: Any = np.float64) -> str:
    """The name of a category that is a number: without a point if it is whole, and with the digits of its type."""
    return str(int(number)) if float(number).is_integer() else str(np.dtype(dtype).type(number))


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
    clocks = {True: "dates", False: "durations"}
    for is_date, what in clocks.items():
        found = [f"{name} ({c.clock.describe()})" for name, c in columns.items() if c.clock and c.is_date == is_date]
        if found:
            notes.append(f"{what}: {'; '.join(found)}")
    integers = [name for name, c in columns.items() if c.is_integer and c.categories is None and c.clock is None]
    if integers:
        notes.append(f"whole numbers, rounded in samples: {listed(integers)}")
    rounded = [f"{name} {c.step:.10g}" for name, c in columns.items() if c.per_unit is not None]
    if rounded:
        notes.append(f"real numbers with a resolution, to which samples are rounded: {listed(rounded)}")
    kinds = [
        f"{name} ({len(c.categories)}{', ordered' * c.ordered}: {listed(c.categories)})"
        for name, c in columns.items()
        if c.categories
    ]
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
