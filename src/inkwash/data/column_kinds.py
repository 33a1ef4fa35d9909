"""Columns of numbers and of text: which of them are categories, and what stands in the data for their cells.

Text, booleans and pandas categories are categories. Integers are categories too if they take 2 to 16 neighbouring
values, such as 1 to 5, and if some value occurs more than once. All other numbers are numbers. The options
`data.categories` and `data.numbers` come before these rules.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import is_integer, is_plain_integer
from inkwash.data.columns import Column, Type, number_name

_MOST_NEIGHBOURS = 16
"""Most different values of integers that are categories."""
MOST_CATEGORIES = 10_000
"""Most categories of any column."""
_MOST_TEXTS, _ROWS_OF_EACH = 64, 5
"""Categories that a column of text may have however few rows there are; beyond them, the rows for each of them."""


def number_column(where: str, dtype: Type, values: Array, categories: bool | None = None) -> tuple[Column, Array]:
    """A column of numbers: what it is, and what stands in the data for its cells.

    Args:
        where: table and column, for messages.
        dtype: type of the numbers.
        values: float64 `(N,)`, NaN where a cell is missing; at least two numbers occur.
        categories: whether they are categories; None: they are if they are integers with few neighbouring values.

    Raises:
        DataError: there are too many categories.
    """
    seen = np.unique(values[~np.isnan(values)])
    if not (are_categories(dtype, values, seen) if categories is None else categories):
        return Column(dtype, None, bool(np.isnan(values).any())), values
    numbers = np.where(np.isnan(values), np.nan, np.searchsorted(seen, values))
    return category_column(where, dtype, [number_name(value, dtype) for value in seen], numbers)


def are_categories(dtype: Type, values: Array, seen: Array) -> bool:
    """Whether numbers are integers that take few neighbouring values, some of them more than once."""
    neighbours = Column(dtype).is_integer and bool(seen[-1] - seen[0] == len(seen) - 1)
    again = len(seen) < int((~np.isnan(values)).sum())
    return neighbours and again and len(seen) <= _MOST_NEIGHBOURS


def text_column(
    where: str, names: Sequence[str], numbers: Array, wanted: bool = False, typed: bool = False
) -> tuple[Column, Array]:
    """A column of text: what it is, and what stands in the data for its cells.

    If the source has no types, `false` and `true`, in upper or lower
    case, are booleans, and integers are integers if they are written as usual: 7, not 007.

    Args:
        where: table and column, for messages.
        names: the different texts.
        numbers: float64 `(N,)`, the place of each cell's text in `names`, NaN where a cell is missing.
        wanted: whether the user wants these to be categories.
        typed: whether the source has types, and these cells are text there.

    Raises:
        DataError: there are too many texts.
    """
    require_few(where, len(names), len(numbers), wanted)
    integers = all(map(is_integer, names))
    order = sorted(range(len(names)), key=lambda i: (int(names[i]) if integers else 0, names[i]))
    ordered = [names[i] for i in order]
    rank = np.append(np.argsort(order), np.nan)[np.where(np.isnan(numbers), -1, numbers).astype(int)]
    return category_column(where, "str" if typed else _type_of(ordered), ordered, rank)


def _type_of(names: Sequence[str]) -> str:
    """The type of a column with these texts, in order, from a source that has no types."""
    if [name.lower() for name in names] == ["false", "true"]:
        return "bool"
    return "int64" if all(map(is_plain_integer, names)) else "str"


def category_column(where: str, dtype: Any, names: Sequence[str], numbers: Array) -> tuple[Column, Array]:
    """A column of categories in their order, and the numbers of its cells, float64 `(N,)`, NaN where one is missing.

    Args:
        where: table and column, for messages.
        dtype: type of the cells.
        names: the categories, of which some may not occur.
        numbers: the number of each cell's category, NaN where one is missing.

    Raises:
        DataError: there are too many.
    """
    require_few(where, len(names), len(numbers), wanted=True)
    return Column(dtype, tuple(names), bool(np.isnan(numbers).any())), numbers


def most_texts(rows: int) -> int:
    """How many different texts in so many rows are categories, if the user does not ask for categories."""
    return min(max(_MOST_TEXTS, rows // _ROWS_OF_EACH), MOST_CATEGORIES)


def require_few(where: str, count: int, rows: int, wanted: bool) -> None:
    """Refuse more categories than a column may have. It may have 10,000; but if the user does not ask for categories,
    each must stand for five rows in the mean, or there are no more than 64.

    Raises:
        DataError: there are more.
    """
    most = MOST_CATEGORIES if wanted else most_texts(rows)
    if count > most:
        more = "" if wanted or most == MOST_CATEGORIES else f", or up to {MOST_CATEGORIES} with data.categories"
        need = f"at most {most}, for {rows} rows{more}; data.drop leaves the column out"
        raise DataError(where, f"{count} categories", need)
