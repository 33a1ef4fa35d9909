"""What the numbers of a column show about their law: their resolution, and which of them recur.

A number that recurs has a probability of its own, beside the density of the others. By default this is a number that
stands in a hundredth of the cells, and in ten at least, and five times as often as the numbers next to it: the median
of the five multiples of the resolution on either side. Where the column has no resolution, every number that stands so
often recurs, since no density would repeat one. Together they stand in a tenth of the cells, or there are none.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, listed
from inkwash.data.resolution import find_decimals

NO_MASSES = "none"
_LEAST, _SHARE, _TIMES, _NEXT = 10, 0.01, 5, 5
_TOGETHER = 0.1


def with_laws(columns: Mapping[str, Column], data: Array, config: DataConfig) -> dict[str, Column]:
    """The columns of a table `(N, D)`, with the resolution of their numbers, and those that recur.

    Args:
        columns: what they are otherwise.
        data: what stands in the data, NaN where a cell is missing.
        config: `masses` names the columns whose numbers may recur; by default all.

    Raises:
        ConfigError: the option names a column that is none of numbers, or of which no number recurs.
    """
    wanted = config.masses
    if wanted is not None and wanted != (NO_MASSES,):
        _require_numbers(wanted, columns)
    return {
        name: _with_law(name, column, data[:, i][~np.isnan(data[:, i])], wanted)
        for i, (name, column) in enumerate(columns.items())
    }


def _with_law(name: str, column: Column, known: Array, wanted: tuple[str, ...] | None) -> Column:
    if not column.is_number:
        return column
    if not column.is_integer and len(known) >= _LEAST:  # a resolution of fewer cells may be chance
        column = replace(column, per_unit=find_decimals(np.unique(known), column.dtype))
    if wanted is None:
        return replace(column, recurring=_recurring(known, column.step))
    found = _often(known)[0]
    if name in wanted and not len(found):
        need = f"a column with a number in {_LEAST} cells, and in {_SHARE:.0%} of them"
        raise ConfigError("data.masses", repr(name), need)
    return replace(column, recurring=tuple(found.tolist())) if name in wanted else column


def _require_numbers(wanted: tuple[str, ...], columns: Mapping[str, Column]) -> None:
    numbers = [name for name, column in columns.items() if column.is_number]
    for name in wanted:
        if name not in numbers:
            raise ConfigError("data.masses", repr(name), f"{NO_MASSES}, or columns of numbers: {listed(numbers)}")


def _often(known: Array) -> tuple[Array, Array]:
    """The numbers that stand in many cells, in order, and how often each does."""
    numbers, counts = np.unique(known, return_counts=True)
    often = counts >= max(_LEAST, _SHARE * len(known))
    return numbers[often], counts[often]


def _recurring(known: Array, step: float) -> tuple[float, ...] | None:
    """The numbers that recur; None if there are none."""
    numbers, counts = _often(known)
    if step:
        places = np.rint(known / step)
        away = np.delete(np.arange(-_NEXT, _NEXT + 1), _NEXT)
        every, times = np.unique(places, return_counts=True)
        beside = np.rint(numbers / step)[:, None] + away
        at = np.searchsorted(every, beside).clip(max=len(every) - 1)
        usual = np.median(np.where(every[at] == beside, times[at], 0), 1)
        numbers, counts = numbers[counts >= _TIMES * usual], counts[counts >= _TIMES * usual]
    return tuple(numbers.tolist()) if counts.sum() >= _TOGETHER * len(known) else None


def recurring_words(columns: Mapping[str, Column], data: Array) -> list[str]:
    """What is printed about the numbers that recur in a table `(N, D)`, if there are some."""
    found = []
    for i, (name, column) in enumerate(columns.items()):
        if column.recurring:
            known = data[:, i][~np.isnan(data[:, i])]
            share = np.isin(known, column.recurring).mean()
            found.append(f"{name} ({share:.0%} of the cells: {listed(map(column.shown, column.recurring))})")
    return [f"numbers that recur, each with a probability: {'; '.join(found)}"] if found else []
