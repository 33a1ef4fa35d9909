"""Columns of data frames in types that only say how cells are stored or shown, in the plain types of a table, and back.

A period is the date at which it begins, a time of day the duration since midnight, and a sparse column a dense one. A
column of objects is what pandas makes of them; if that is nothing, because numbers and text are mixed, it is read as
the text of a file would be.
"""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from inkwash.data.as_read import Cells
from inkwash.data.cells import is_missing
from inkwash.data.clock import since_midnight

_SCALARS = (str, bool, Real, Decimal, np.bool_)


def plain(series: Any) -> Any:
    """A column in a plain type, if its own is one of the kinds of the module; times of day stay times."""
    import pandas

    if isinstance(series.dtype, pandas.SparseDtype):
        series = series.sparse.to_dense()
    if series.dtype.name == "object":
        series = series.convert_dtypes()
    if isinstance(series.dtype, pandas.PeriodDtype):
        return series.dt.to_timestamp()
    return series


def times_of_day(series: Any) -> Any:
    """Times of day as durations since midnight, timedelta64 `(N,)`; None for other cells."""
    if series.dtype.name != "object" and not series.dtype.name.startswith("time"):
        return None
    cells = series.astype(object).where(series.notna(), None).tolist()
    if not any(isinstance(cell, time) for cell in cells):
        return None
    try:
        spans = [cell if cell is None else since_midnight(cell) for cell in cells]
    except (AttributeError, ValueError):  # not all of them are times, or they have zones
        return None
    return np.array(spans, "timedelta64[us]")


def as_times_of_day(spans: Any) -> list[time | None]:
    """The inverse of `times_of_day`."""
    return [None if span is None else _time(span) for span in spans.astype("timedelta64[us]").tolist()]


def _time(span: timedelta) -> time:
    minutes, second = divmod(span.seconds, 60)
    return time(minutes // 60, minutes % 60, second, span.microseconds)


def mixed_cells(series: Any) -> Cells | None:
    """Numbers and text in one column, as a file of text would have them; None for objects of other kinds."""
    cells = [None if gone else cell for cell, gone in zip(series.tolist(), series.isna(), strict=True)]
    if not all(cell is None or isinstance(cell, _SCALARS) for cell in cells):
        return None
    texts = [None if cell is None or is_missing(str(cell)) else str(cell).strip() for cell in cells]
    places = {text: float(i) for i, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    return Cells(np.array([np.nan if text is None else places[text] for text in texts]), "str", tuple(places))


def unreadable_words(series: Any) -> str:
    """What a column that is no part of any table holds, in words."""
    import pandas

    if isinstance(series.dtype, pandas.IntervalDtype):
        return f"intervals such as {series.dropna().iloc[0]}, which are read as a categorical (astype('category'))"
    kinds = sorted({type(cell).__name__ for cell in series.dropna()}) if series.dtype.name == "object" else []
    return f"values of type {' and '.join(kinds[:3]) or series.dtype}"
