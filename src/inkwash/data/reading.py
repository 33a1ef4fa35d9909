"""What was decided about a table beside its columns, so that later rows are read by the same decisions."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.columns import Column
from inkwash.data.number_formats import Decimal


@dataclass(frozen=True)
class Dialect:
    """How a file of text divides into cells.

    Args:
        delimiter: the character between cells.
        decimal: the mark before decimals; None: each column has its own.
        encoding: name of the encoding, as Python calls it.
        comment: what a line that is not read begins with; empty: every line is read.
        has_names: whether the first row has the names of the columns.
    """

    delimiter: str = ","
    decimal: Decimal | None = None
    encoding: str = "utf-8-sig"
    comment: str = ""
    has_names: bool = True


@dataclass(frozen=True)
class Constant:
    """A column with one value in every row, which no model needs to learn.

    Args:
        column: what its cells are.
        value: what stands in the data for the value, as for other columns.
        place: how many columns stand before it.
    """

    column: Column
    value: float
    place: int


@dataclass(frozen=True)
class Reading:
    """How a table was read.

    Args:
        constants: columns that are the same in every row, by name; they come back with samples.
        left_out: columns that are no part of the examples, which later rows may have or not.
        missing: further words for missing cells.
        infinite_is_missing: whether an infinite number stands for a missing cell.
        dialect: of a file of text.
    """

    constants: dict[str, Constant] = field(default_factory=dict)
    left_out: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    infinite_is_missing: bool = False
    dialect: Dialect | None = None

    def entries(self, names: Iterable[str], columns: Mapping[str, Column]) -> list[str]:
        """Those of some columns that are entries of the examples, or unknown."""
        aside = {*self.constants, *(self.left_out or ())} - {*columns}
        return [name for name in names if name not in aside]

    def without(self, names: Collection[str], columns: Mapping[str, Column]) -> "Reading":
        """The reading of a table of which some of the columns are left out too.

        Args:
            names: these columns.
            columns: all that vary.
        """
        order = [*self.with_constants(columns, np.empty((0, len(columns))))]
        constants = {
            name: replace(constant, place=constant.place - sum(each in names for each in order[: constant.place]))
            for name, constant in self.constants.items()
        }
        return replace(self, constants=constants, left_out=(*(self.left_out or ()), *names))

    def cell(self, cell: Any) -> Any:
        """A cell, or None in place of an infinite number that stands for a missing cell."""
        is_float = self.infinite_is_missing and isinstance(cell, str | float | np.floating)
        return None if is_float and _is_infinite(cell) else cell

    def with_constants(self, columns: Mapping[str, Column], data: Array) -> dict[str, tuple[Column, Array]]:
        """Columns and what stands in the data for their cells, `(N,)`, with the constants."""
        every = [(name, (column, data[:, i])) for i, (name, column) in enumerate(columns.items())]
        for name, constant in sorted(self.constants.items(), key=lambda item: item[1].place):
            every.insert(constant.place, (name, (constant.column, np.full(len(data), constant.value))))
        return dict(every)


def _is_infinite(cell: Any) -> bool:
    try:
        return bool(np.isinf(float(cell)))
    except ValueError:
        return False
