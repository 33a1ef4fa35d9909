"""Columns of dates and of durations, from arrays of NumPy and from text."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER
from inkwash.data.clock import TimeType, clock_of
from inkwash.data.columns import Column
from inkwash.data.dates import counts_of, parse_dates, zone_named


def time_column(
    where: str,
    values: Array,
    dtype: TimeType,
    zone: str | None = None,
    day_first: bool | None = None,
    written: Literal["digits", "time"] | None = None,
) -> tuple[Column, Array]:
    """A column of dates or durations: what it is, and what stands in the data for its cells.

    Args:
        where: table and column, for messages.
        values: datetime64 or timedelta64 `(N,)`, NaT where a cell is missing; dates in UTC if they have a zone.
        dtype: the type that they came in.
        zone: time zone of dates, if they have one.
        day_first: whether the day came first in dates of text, if that had to be known.
        written: as of `Clock`.

    Raises:
        DataError: an unknown zone, or a date too far from 1970 for its unit.
    """
    try:
        zone_named(zone or "UTC")
    except ValueError as error:
        raise DataError(where, f"dates with {error}", "a zone by its name, as Europe/Berlin, or an offset") from None
    counts, resolution = counts_of(values, zone)
    seen = counts[~np.isnan(counts)]
    if len(seen) and np.abs(seen).max() > LARGEST_INTEGER:
        raise DataError(where, "microseconds more than 285 years from 1970", "dates nearer to it, or no fractions")
    clock = clock_of(counts, resolution, zone=zone, day_first=day_first, written=written)
    return Column(dtype, None, bool(np.isnan(counts).any()), clock=clock), counts


def text_time_column(
    where: str, texts: Sequence[str], places: Array, day_first: bool | None = None
) -> tuple[Column, Array] | None:
    """A column of dates in text; None if some of the texts is no date.

    Args:
        where: table and column, for messages.
        texts: the different texts.
        places: float64 `(N,)`, the place of each cell's text, NaN where a cell is missing.
        day_first: whether the day comes first in 03/04/2024; None: the texts decide it.

    Raises:
        DataError: as `time_column`.
        DayOrMonthFirstError: nothing says whether the day or the month comes first.
    """
    found = parse_dates(texts, day_first)
    if found is None:
        return None
    values, unit, zone = found
    each: Any = values.astype(f"datetime64[{unit}]")
    cells = each[np.where(np.isnan(places), 0, places).astype(int)]
    cells[np.isnan(places)] = np.array("NaT", cells.dtype)
    day_first = next((first for first in (True, False) if _is_read_so(texts, first, values)), None)
    return time_column(where, cells, cast(TimeType, f"datetime64[{unit}]"), zone, day_first)


def _is_read_so(texts: Sequence[str], day_first: bool, values: Array) -> bool:
    """Whether dates mean what they were found to mean because the day, or the month, comes first."""
    this, other = (parse_dates(texts, first) for first in (day_first, not day_first))
    return (
        this is not None and np.array_equal(this[0], values) and (other is None or not np.array_equal(other[0], values))
    )


def days_in_digits(values: Array) -> Array | None:
    """The days that whole numbers such as 20240131 stand for, datetime64[D] `(N,)`, NaT where one is NaN; None if some
    of the numbers is no date of the years 1800 to 2199, or of the year 9999, which often stands for none."""
    known = values[~np.isnan(values)]
    if (known % 1).any() or not ((known >= 18000101) & (known < 1e8)).all():
        return None
    year, month, day = (known // 10000).astype(int), (known // 100 % 100).astype(int), (known % 100).astype(int)
    if not ((month >= 1) & (month <= 12) & (day >= 1) & ((year < 2200) | (year == 9999))).all():
        return None
    months = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    if (days.astype("datetime64[M]") != months).any():
        return None
    found = np.full(len(values), "NaT", "datetime64[D]")
    found[~np.isnan(values)] = days
    return found
