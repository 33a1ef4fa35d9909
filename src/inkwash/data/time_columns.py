"""Columns of dates and of durations, from arrays of NumPy and from text."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.clock import TimeType, clock_of
from inkwash.data.columns import LARGEST_INTEGER, Column
from inkwash.data.dates import DayOrMonthFirst, counts_of, parse_dates, zone_named


def time_column(
    where: str, values: Array, dtype: TimeType, zone: str | None = None, day_first: bool | None = None
) -> tuple[Column, Array]:
    """A column of dates or durations: what it is, and what stands in the data for its cells.

    Args:
        where: table and column, for messages.
        values: datetime64 or timedelta64 `(N,)`, NaT where a cell is missing; dates in UTC if they have a zone.
        dtype: the type that they came in.
        zone: time zone of dates, if they have one.
        day_first: whether the day came first in dates of text, if that had to be known.

    Raises:
        DataError: an unknown zone; or all cells are missing, or the same, or too far from 1970 for their unit.
    """
    try:
        zone_named(zone or "UTC")
    except ValueError as error:
        raise DataError(where, f"dates with {error}", "a zone by its name, as Europe/Berlin, or an offset") from None
    counts, resolution = counts_of(values, zone)
    seen = counts[~np.isnan(counts)]
    if len(seen) and np.abs(seen).max() > LARGEST_INTEGER:
        raise DataError(where, "microseconds more than 285 years from 1970", "dates nearer to it, or no fractions")
    _require_two(where, values)
    clock = clock_of(counts, resolution, zone=zone, day_first=day_first)
    return Column(dtype, None, bool(np.isnan(counts).any()), clock=clock), counts


def _require_two(where: str, values: Array) -> None:
    seen = np.unique(values[~np.isnat(values)])
    if not len(seen):
        raise DataError(where, "no value", "cells that are not all missing; data.drop leaves the column out")
    if len(seen) == 1:
        raise DataError(where, f"{seen[0]} in every row", "values that vary; data.drop leaves the column out")


def text_time_column(where: str, texts: Sequence[str], places: Array) -> tuple[Column, Array] | None:
    """A column of dates in text; None if some of the texts is no date.

    Args:
        where: table and column, for messages.
        texts: the different texts.
        places: float64 `(N,)`, the place of each cell's text, NaN where a cell is missing.

    Raises:
        DataError: as `time_column`; or nothing says whether the day or the month comes first in 03/04/2024.
    """
    try:
        found, day_first = parse_dates(texts), None
    except DayOrMonthFirst:
        got = f"dates such as {texts[0]!r}, of which none says whether the day or the month comes first"
        raise DataError(where, got, "dates as 2024-12-31; data.drop leaves the column out") from None
    if found is None:
        return None
    values, unit, zone = found
    each: Any = values.astype(f"datetime64[{unit}]")
    cells = each[np.where(np.isnan(places), 0, places).astype(int)]
    cells[np.isnan(places)] = np.datetime64("NaT")
    day_first = next((first for first in (True, False) if _is_read_so(texts, first, values)), None)
    return time_column(where, cells, cast(TimeType, f"datetime64[{unit}]"), zone, day_first)


def _is_read_so(texts: Sequence[str], day_first: bool, values: Array) -> bool:
    """Whether dates mean what they were found to mean because the day, or the month, comes first."""
    this, other = (parse_dates(texts, first) for first in (day_first, not day_first))
    return (
        this is not None and np.array_equal(this[0], values) and (other is None or not np.array_equal(other[0], values))
    )
