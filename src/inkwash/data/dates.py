"""Dates and times: from text, and from arrays of NumPy, to whole numbers, and back.

A date stands in the data as the number of units since the beginning of 1970, and a duration as a number of units. The
unit is the resolution, the coarsest one that holds every value of the column. A date with a time zone is counted in
UTC; but if all are midnights of their zone, then the days of the zone are counted (or its months, or years).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

import numpy as np

from inkwash.core.shapes import Array

Resolution = Literal["Y", "M", "D", "h", "m", "s", "ms", "us"]
"""Units of NumPy, from the coarsest to the finest."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<name>jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|january|february|march|april|august|"
_MONTH += r"september|october|november|december)\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +)?"
_CLOCK = r"(?:[T ] *(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?(?: ?(?P<half>[ap])\.?m\.?)?"
_CLOCK += r"(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?"
_YEAR, _DAY = r"(?P<Y>\d{4})", r"(?P<D>\d{1,2})(?:st|nd|rd|th)?"
_FORMS = [
    re.compile(form + _CLOCK, re.IGNORECASE)
    for form in (
        _YEAR + r"(?P<mark>[-/.])(?P<M>\d{1,2})(?P=mark)(?P<D>\d{1,2})",
        r"(?P<D>\d{1,2})\.(?P<M>\d{1,2})\." + _YEAR,
        r"(?P<one>\d{1,2})(?P<mark>[-/])(?P<two>\d{1,2})(?P=mark)" + _YEAR,
        _WEEKDAY + _DAY + r"[ -]" + _MONTH + r",?[ -]" + _YEAR,
        _WEEKDAY + _MONTH + r" " + _DAY + r",? " + _YEAR,
    )
]
_MONTH_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (_YEAR + r"-(?P<M>\d\d)", _YEAR + r"/(?P<M>\d\d)", _MONTH + r",?[ -]" + _YEAR)
]
_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)?")


class DayOrMonthFirstError(ValueError):
    """Dates such as 03/04/2024, of which nothing in the column says whether the day or the month comes first."""


def parse_dates(texts: Sequence[str], day_first: bool | None = None) -> tuple[Array, Resolution, str | None] | None:
    """The dates that texts of a column stand for; None if one of them is no date, or if only some have a zone.

    It reads ISO 8601, also with / or . between year, month and day, or with a space before the time; 31.12.2024;
    31/12/2024 or 12/31/2024, if the column shows which of the two it is; 31 Dec 2024 and December 31, 2024; and months,
    2024-12 or Dec 2024. A year has four digits. A time has hours and minutes, perhaps with am or pm, and perhaps an
    offset from UTC.

    Args:
        texts: the cells, or the different ones of them; none of them is a missing cell.
        day_first: whether the day comes first in 03/04/2024; None: the column decides it.

    Returns:
        The number of units since the beginning of 1970 of each text, int64 `(N,)`, in UTC if there is a zone; the unit,
        which is the finest that a text has; and the zone, "UTC" or an offset such as "+01:00", or "UTC" for dates of
        different offsets.

    Raises:
        DayOrMonthFirstError: nothing decides which of the day and the month comes first.
    """
    found = [_match(text.strip()) for text in texts]
    parts = [match for match in found if match is not None]
    if len(parts) < len(found) or not parts:
        return None
    numeric = [(int(str(part["one"])), int(str(part["two"]))) for part in parts if part.get("one")]
    first = _day_first(numeric) if day_first is None else day_first
    try:
        dates = [_date(part, bool(first)) for part in parts]
    except (ValueError, OverflowError):  # the 31st of June, a 13th month, or before year 1 in UTC
        return None
    if numeric and first is None and any(one != two for one, two in numeric):
        raise DayOrMonthFirstError
    zones = {_zone_text(part.get("zone")) for part in parts}
    if None in zones and len(zones) > 1:
        return None
    resolution = max(map(_stated, parts), key=get_args(Resolution).index)
    values = np.array(dates, "datetime64[us]").astype(f"datetime64[{resolution}]").astype(np.int64)
    return values, resolution, zones.pop() if len(zones) == 1 else "UTC"


def _match(text: str) -> dict[str, str | None] | None:
    """The parts of a date in one of the forms."""
    matches = (form.fullmatch(text) for form in (*_FORMS, *_MONTH_FORMS))
    return next((match.groupdict() for match in matches if match is not None), None)


def _day_first(pairs: Sequence[tuple[int, int]]) -> bool | None:
    """Whether the first of two numbers is the day; None if nothing decides it, as neither is ever above 12."""
    if any(one > 12 for one, _ in pairs):
        return True
    return False if any(two > 12 for _, two in pairs) else None


def _date(part: dict[str, str | None], day_first: bool) -> datetime:
    """The moment that the parts of a date stand for, without its zone, which has been subtracted."""
    day, month = part.get("D"), part.get("M")
    if part.get("one"):
        day, month = (part["one"], part["two"]) if day_first else (part["two"], part["one"])
    if part.get("name"):
        month = str(_MONTHS.index(str(part["name"])[:3].lower()) + 1)
    hour = int(part.get("h") or 0)
    if part.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError("an hour of 12 that is not one of them")
        hour = hour % 12 + 12 * (str(part["half"]).lower() == "p")
    micro = int((part.get("f") or "").ljust(6, "0")[:6])
    minute, second = int(part.get("m") or 0), int(part.get("s") or 0)
    found = datetime(int(str(part["Y"])), int(month or 1), int(day or 1), hour, minute, second, micro)
    zone = _zone_text(part.get("zone"))
    return found if zone is None else found - zone_named(zone).utcoffset(None)  # type: ignore[operator]


def _stated(part: dict[str, str | None]) -> Resolution:
    """The unit of the last part that a date has."""
    if part.get("f"):
        return "ms" if len(str(part["f"])) <= 3 else "us"
    if part.get("s"):
        return "s"
    if part.get("m"):
        return "m"
    return "D" if part.get("D") or part.get("one") else "M"


def _zone_text(zone: str | None) -> str | None:
    """An offset as it is stored: "UTC", or hours and minutes."""
    if zone is None or zone.upper() in ("Z", "UTC", "GMT"):
        return zone and "UTC"
    sign, hours, minutes = cast(re.Match[str], _OFFSET.fullmatch(zone)).groups()
    return "UTC" if (hours, minutes or "00") == ("00", "00") else f"{sign}{hours}:{minutes or '00'}"


def zone_named(zone: str) -> tzinfo:
    """The time zone of a name: "UTC", an offset such as "+01:00" or "UTC+01:00", or a name such as "Europe/Berlin".

    Raises:
        ValueError: there is none.
    """
    if zone == "UTC":
        return UTC
    offset = _OFFSET.fullmatch(zone)
    if offset is None:
        try:
            return ZoneInfo(zone)
        except (KeyError, OSError):
            raise ValueError(f"no time zone {zone!r}") from None
    sign, hours, minutes = offset.groups()
    return timezone((-1 if sign == "-" else 1) * timedelta(hours=int(hours), minutes=int(minutes or 0)))


def coarsest(values: Array) -> Resolution:
    """The coarsest unit that holds every one of the values `(N,)`, which are datetime64 or timedelta64 of NumPy; those
    that are missing do not count. A duration has no months, and what is finer than a microsecond is left out."""
    seen, kind = values[~np.isnat(values)], values.dtype.name.split("[")[0]
    units = [unit for unit in get_args(Resolution) if kind == "datetime64" or unit not in ("Y", "M")]
    exact = seen.astype(f"{kind}[us]")
    return next(unit for unit in units if unit == "us" or (exact.astype(f"{kind}[{unit}]") == exact).all())


def is_by_day(resolution: str) -> bool:
    """Whether a unit is a day or longer: then the days of a zone are counted, and not those of UTC."""
    return resolution in ("Y", "M", "D")


def counts_of(values: Array, zone: str | None = None) -> tuple[Array, Resolution]:
    """What stands in the data for dates or durations, and its unit.

    Args:
        values: datetime64 or timedelta64 of NumPy `(N,)`; dates in UTC if there is a zone.
        zone: the zone of dates.

    Returns:
        Whole numbers of the unit, float64 `(N,)`, NaN where a value is missing.
    """
    resolution = coarsest(values)
    if zone is not None:
        local = to_local(values, zone)
        unit = coarsest(local)
        missing_or_same = np.isnat(values) | (to_utc(local, zone) == values.astype("datetime64[us]"))
        values, resolution = (local, unit) if is_by_day(unit) and missing_or_same.all() else (values, resolution)
        if not is_by_day(unit) and is_by_day(resolution):
            resolution = "h"  # a midnight of UTC is no midnight of the zone
    return _numbers(values, resolution), resolution


def _numbers(values: Array, resolution: str) -> Array:
    kind = values.dtype.name.split("[")[0]
    counts = values.astype(f"{kind}[{resolution}]").astype(np.int64)
    return np.where(np.isnat(values), np.nan, counts)


def counts_at(values: Array, resolution: str, zone: str | None = None) -> Array:
    """As `counts_of`, for values that go into a column of a known unit; they are cut off to it."""
    return _numbers(to_local(values, zone) if zone is not None and is_by_day(resolution) else values, resolution)


def values_of(counts: Array, kind: str, resolution: str, zone: str | None = None) -> Array:
    """The inverse of `counts_of`: datetime64 or timedelta64 (`kind`) of NumPy `(N,)` in the unit, or in microseconds if
    there is a zone, from whole numbers, NaN where one is missing."""
    values = np.nan_to_num(counts).astype(np.int64).astype(f"{kind}[{resolution}]")
    values[np.isnan(counts)] = np.array("NaT", values.dtype)
    if zone is None:
        return values
    return to_utc(values, zone) if is_by_day(resolution) else values.astype("datetime64[us]")


def to_local(values: Array, zone: str) -> Array:
    """What the clocks of a zone show at moments of UTC, datetime64[us] `(N,)`."""
    clock = zone_named(zone)
    return _shifted(values, lambda when: when.replace(tzinfo=UTC).astimezone(clock).utcoffset(), 1)


def to_utc(local: Array, zone: str) -> Array:
    """The moments of UTC at which the clocks of a zone show `local`, datetime64[us] `(N,)`: the first of two, and for a
    time that is left out the one as much later."""
    clock = zone_named(zone)
    return _shifted(local, lambda when: when.replace(tzinfo=clock).utcoffset(), -1)


def _shifted(values: Array, offset: Callable[[datetime], timedelta | None], sign: int) -> Array:
    """Values with the offset of each added or subtracted; beyond the years of Python, that of the nearest of them."""
    exact = values.astype("datetime64[us]")
    different, places = np.unique(exact, return_inverse=True)
    known = np.clip(different, *np.array(["0001-01-03", "9999-12-29"], exact.dtype))
    offsets: Iterable[timedelta | None] = (timedelta(0) if np.isnat(value) else offset(value.item()) for value in known)
    shifts = np.array([*offsets], "timedelta64[us]")
    return (different + sign * shifts)[places]


def dumps(values: Array, resolution: str, zone: str | None = None) -> list[str]:
    """Dates `(N,)` as text of ISO 8601, down to a unit: 2024-12, 2024-12-31, 2024-12-31T10:30, or with a zone
    2024-12-31T10:30+01:00. A missing one is empty."""
    shown = values if zone is None else to_local(values, zone)
    offsets = [0] * len(values) if zone is None else (shown - values.astype(shown.dtype)).astype("timedelta64[s]")
    even = np.asarray(offsets).astype(int) % 60 == 0  # a local mean time of long ago has seconds, and is left to UTC
    shown = np.where(even, shown, values.astype(shown.dtype))
    minutes = np.where(even, np.asarray(offsets).astype(int) // 60, 0)
    unit = resolution if zone is None or not is_by_day(resolution) else "m"
    each = zip(shown.astype(f"datetime64[{unit}]"), minutes.tolist(), strict=True)
    return ["" if np.isnat(value) else f"{value}{'' if zone is None else _offset_text(m)}" for value, m in each]


def _offset_text(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
