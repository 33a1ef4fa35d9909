"""How a column of dates or durations counts time, and its cells from and to what users have."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER, is_missing
from inkwash.data.dates import (
    DayOrMonthFirstError,
    Resolution,
    counts_at,
    dumps,
    is_by_day,
    parse_dates,
    values_of,
    zone_named,
)

TimeType = Literal[
    "datetime64[M]",
    "datetime64[D]",
    "datetime64[m]",
    "datetime64[s]",
    "datetime64[ms]",
    "datetime64[us]",
    "datetime64[ns]",
    "timedelta64[s]",
    "timedelta64[ms]",
    "timedelta64[us]",
    "timedelta64[ns]",
]
"""Types of NumPy that dates and durations come in; only text and days have units of a minute or longer."""
SECONDS: dict[Resolution, float] = {
    "Y": 365.2425 * 86400,
    "M": 365.2425 * 7200,
    "D": 86400,
    "h": 3600,
    "m": 60,
    "s": 1,
    "ms": 1e-3,
    "us": 1e-6,
}
"""How long each unit is, in the mean."""
_PERIODS = {"day": 86400, "week": 7 * 86400, "year": 365.2425 * 86400}


@dataclass(frozen=True)
class Clock:
    """How a column counts time; see `inkwash.data.dates`.

    Args:
        resolution: the unit that is counted.
        mean: of the counts, which the model subtracts.
        std: standard deviation of the counts, which is one unit of the model.
        zone: time zone of dates, if they have one.
        day_first: whether the day comes first in dates of text such as 03/04/2024; None: no such text was seen.
        written: how cells are written, if not plainly: dates as the whole numbers 20240131 (digits), durations since
            midnight as times of day (time).
    """

    resolution: Resolution
    mean: float
    std: Annotated[float, Range(0, open_low=True)]
    zone: str | None = None
    day_first: bool | None = None
    written: Literal["digits", "time"] | None = None

    def check(self, where: str) -> None:
        """Check that there is such a zone.

        Raises:
            ConfigError: there is none.
        """
        try:
            zone_named(self.zone or "UTC")
        except ValueError as error:
            raise ConfigError(f"{where}.zone", self.zone, f"a time zone; {error}") from None

    @property
    def periods(self) -> dict[str, float]:
        """The periods that dates may repeat with and that the resolution can tell, in model units."""
        unit = SECONDS[self.resolution]
        return {name: length / unit / self.std for name, length in _PERIODS.items() if length > 1.5 * unit}

    @property
    def finest(self) -> float:
        """What a model must tell apart, in its units: the counts, or hours where these are longer."""
        return max(1.0, 3600 / SECONDS[self.resolution]) / self.std

    def limits(self, dtype: TimeType) -> tuple[int, int]:
        """The smallest and the largest count that a type can hold: dates from year 1 to year 9999, times of one day, or
        durations of 146,000 years; in nanoseconds, half of what these can count, because a zone may move the ends."""
        if self.written == "time":
            return 0, round(86400 / SECONDS[self.resolution]) - 1
        kind, unit = dtype[:-1].split("[")
        ends: Any = np.array([-(1 << 62), 1 << 62], f"{kind}[{unit if unit == 'ns' else 'us'}]")
        if kind == "datetime64" and unit != "ns":
            ends = np.array(["0001-01-03", "9999-12-29"], "datetime64[D]")
        low, high = ends.astype(f"{kind}[{self.resolution}]").astype(int).tolist()
        return max(low + 1, -LARGEST_INTEGER), min(high, LARGEST_INTEGER)

    def values(self, counts: Array, dtype: TimeType) -> Array:
        """Counts `(N,)`, NaN where one is missing, as values of a type; those of a zone are in UTC."""
        kind = dtype.split("[")[0]
        return values_of(np.rint(counts), kind, self.resolution, self.zone).astype(dtype)

    def texts(self, counts: Array, dtype: TimeType) -> list[str]:
        """Counts `(N,)` as text, empty where one is missing: dates of ISO 8601; durations as pandas writes them."""
        values = self.values(counts, dtype)
        if dtype.startswith("timedelta64"):
            spans = ["" if np.isnat(value) else _duration_text(value) for value in values.astype("timedelta64[us]")]
            return [text.removeprefix("0 days ") for text in spans] if self.written == "time" else spans
        texts = dumps(values, self._text_unit(dtype), self.zone)
        return [text.replace("-", "") for text in texts] if self.written == "digits" else texts

    def _text_unit(self, dtype: TimeType) -> str:
        """Down to which unit text goes: that of the type if it is one of text, or else the resolution."""
        unit = dtype.split("[")[1][:-1]
        if unit in ("M", "D", "m", "s"):
            return unit
        return {"Y": "D", "M": "D", "h": "m"}.get(self.resolution, self.resolution)

    def encode(self, where: str, cells: Iterable[Any], dtype: TimeType) -> Array:
        """The counts of cells, float64 `(N,)`; NaN where one is missing.

        Args:
            where: name of the table and of the column, for messages.
            cells: dates or durations of Python, NumPy or pandas, or text.
            dtype: type of the column.

        Raises:
            DataError: a cell that is none, has a zone where the column has none or the reverse, or is no whole number
                of the unit; the message has its row, counted from 0.
        """
        every = list(cells)
        kind = dtype.split("[")[0]
        need = f"a {_WORDS[kind]}" + (f" with a time zone, as {self.zone}" if self.zone else "")
        values = np.full(len(every), "NaT", f"{kind}[us]")
        for row, cell in enumerate(every):
            try:
                values[row] = self._moment(cell, kind)
            except DayOrMonthFirstError:
                raise DataError(f"{where}, row {row}", repr(cell), "a date as 2024-12-31") from None
            except (ValueError, TypeError, OverflowError):
                raise DataError(f"{where}, row {row}", repr(cell), need) from None
        counts = counts_at(values, self.resolution, self.zone)
        off = ~np.isnat(values) & (values_of(counts, kind, self.resolution, self.zone) != values)
        if off.any():
            row = int(off.argmax())
            raise DataError(f"{where}, row {row}", str(every[row]), f"whole {PLURALS[self.resolution]}, as in training")
        return counts

    def counts_of_words(self, words: Iterable[str], dtype: TimeType) -> Array:
        """The counts of those words that are dates or durations which the column can hold, `(K,)`."""
        found = [np.empty(0)]
        for word in words:
            with suppress(DataError):
                found.append(self.encode("", [word], dtype))
        return np.concatenate(found)

    def _moment(self, cell: Any, kind: str) -> Any:
        """One cell as datetime64 or timedelta64, dates in UTC if the column has a zone."""
        if cell is None or (isinstance(cell, float) and np.isnan(cell)):
            return np.array("NaT", f"{kind}[us]")
        if isinstance(cell, np.datetime64 | np.timedelta64):
            return _of_kind(cell, kind)
        if self.written == "digits" and isinstance(cell, int | float | np.number):
            return self._from_text(f"{cell:.0f}", kind)
        if isinstance(cell, time):
            cell = since_midnight(cell)
        if isinstance(cell, timedelta):
            return _of_kind(np.timedelta64(cell), kind)
        if isinstance(cell, date):
            return _of_kind(np.datetime64(self._without_zone(cell)), kind)
        return self._from_text(str(cell), kind)

    def _without_zone(self, cell: date) -> date:
        """A date in UTC if the column has a zone."""
        zone = cell.tzinfo if isinstance(cell, datetime) else None
        if (zone is None) != (self.zone is None):
            raise ValueError("a zone, or none")
        return cell if zone is None else cell.astimezone(UTC).replace(tzinfo=None)  # type: ignore[attr-defined]

    def _from_text(self, text: str, kind: str) -> Any:
        if is_missing(text) or text == "NaT":
            return np.array("NaT", f"{kind}[us]")
        if kind == "timedelta64":
            return parse_duration(f"0 days {text}" if self.written == "time" and "days" not in text else text)
        if self.written == "digits" and len(text) == 8 and text.isdecimal():
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        found = parse_dates([text], self.day_first)
        if found is None or (found[2] is None) != (self.zone is None):
            raise ValueError("no such date")
        return found[0].astype(f"datetime64[{found[1]}]")[0]

    def describe(self) -> str:
        """The unit, and the zone, in words."""
        of_day = " since midnight" if self.written == "time" else ""
        of_zone = of_day if self.zone is None else f", {self.zone}" + ("" if is_by_day(self.resolution) else " in UTC")
        return PLURALS[self.resolution] + of_zone


PLURALS: dict[Resolution, str] = {
    "Y": "years",
    "M": "months",
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
}
_WORDS = {"datetime64": "date", "timedelta64": "duration"}


def _of_kind(value: Any, kind: str) -> Any:
    if not value.dtype.name.startswith(kind):
        raise ValueError("a date in place of a duration, or the reverse")
    return value


def _duration_text(value: Any) -> str:
    """A duration as days and a time of day: 1 days 02:30:00."""
    span = value.item()
    micro = f".{span.microseconds:06d}" if span.microseconds else ""
    minutes, seconds = divmod(span.seconds, 60)
    return f"{span.days} days {minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{micro}"


def parse_duration(text: str) -> Any:
    """The inverse of `_duration_text`.

    Raises:
        ValueError: no such text.
    """
    days, _, clock = text.removeprefix("+").partition(" days ")
    hours, minutes, seconds = clock.split(":")
    return np.timedelta64(timedelta(int(days), float(seconds), 0, 0, int(minutes), int(hours)))


def since_midnight(moment: time) -> timedelta:
    """A time of day as a duration.

    Raises:
        ValueError: it has a zone, whose midnight depends on the day.
    """
    if moment.tzinfo is not None:
        raise ValueError("a time of day with a zone")
    return timedelta(0, moment.second, moment.microsecond, 0, moment.minute, moment.hour)


def clock_of(counts: Array, resolution: Resolution, **more: Any) -> Clock:
    """The clock of a column with these counts `(N,)`, NaN where one is missing."""
    return Clock(resolution, float(np.rint(np.nanmean(counts))), float(np.nanstd(counts)) or 1.0, **more)
