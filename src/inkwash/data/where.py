"""Conditions on the columns of a table as text: `Sex=female, Age>30, Embarked in S|C`.

Commas separate conditions, and all of them hold. Names and values that have a comma or a sign of comparison stand in
double quotes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.data.bounds import Bounds
from inkwash.data.cells import is_finite
from inkwash.data.columns import Column, listed
from inkwash.data.spec import DataSpec

_PART = re.compile(r'(?:[^,"]|"[^"]*")+')
_CONDITION = re.compile(r'\s*("[^"]*"|.+?)\s*(<=|>=|!=|=|<|>|\s+in\s)\s*(.+?)\s*', re.DOTALL)
_FORM = "conditions such as Sex=female, Age>30, Embarked in S|C"


@dataclass(frozen=True)
class Allowed:
    """What the cells of a column may be: numbers from `low` to `high`, or categories by their numbers; data units."""

    low: float = -math.inf
    high: float = math.inf
    categories: frozenset[int] | None = None

    @property
    def only(self) -> float | None:
        """The only number or category that is allowed; None if there are several."""
        if self.categories is not None:
            return float(next(iter(self.categories))) if len(self.categories) == 1 else None
        return self.low if self.low == self.high else None

    def is_empty(self, limits: Bounds) -> bool:
        """Whether no sample can be any of it, where samples keep to limits."""
        low, high = self._within(limits)
        is_open = limits.bent and low == high and not limits.holds(np.array(low))
        return self.categories == frozenset() or low > high or is_open

    def beside(self, limits: Bounds | None) -> Allowed:
        """The same, without an end that limits keep already."""
        if limits is None or self.only is not None:
            return self
        low, high = self._within(limits)
        return replace(
            self, low=self.low if low != limits.low else -math.inf, high=self.high if high != limits.high else math.inf
        )

    def describe(self, limits: Bounds, column: Column) -> str:
        """What samples can be of it, in words."""
        if self.categories is not None:
            return listed((column.categories or ())[i] for i in sorted(self.categories))
        low, high = self._within(limits)
        return f"{column.shown(low)} to {column.shown(high)}"

    def _within(self, limits: Bounds) -> tuple[float, float]:
        low, high = (
            (-math.inf if limits.low is None else limits.low),
            (math.inf if limits.high is None else limits.high),
        )
        return max(self.low, low), min(self.high, high)


def read_where(text: str, spec: DataSpec, bounds: Mapping[str, Bounds]) -> dict[int, Allowed]:
    """What conditions allow, by the number of the column.

    Args:
        text: the conditions.
        spec: what the data is.
        bounds: those that samples keep to, by the number of the column.

    Raises:
        ConfigError: other data than a table, text that is no condition, an unknown column or category, or conditions
            that no sample can meet.
    """
    if spec.columns is None or spec.levels is not None:
        raise ConfigError("where", spec.describe(), "a table without data.levels, whose columns have names")
    if _PART.sub("", text).strip(", ") or not text.strip(", "):
        raise ConfigError("where", repr(text), _FORM)
    found: dict[int, Allowed] = {}
    for part in filter(str.strip, _PART.findall(text)):
        name, sign, value = _parted(part)
        if name not in spec.columns:
            raise ConfigError("where", repr(name), f"one of the columns {listed(spec.columns)}")
        column, place = spec.columns[name], [*spec.columns].index(name)
        before, limits = found.get(place, _anything(column)), bounds.get(str(place), Bounds(None, None))
        found[place] = _narrowed(before, column, name, sign, value)
        if found[place].is_empty(limits):
            need = f"what {name} can be here: {before.describe(limits, column)}"
            raise ConfigError("where", part.strip(), need)
    return {place: allowed.beside(bounds.get(str(place))) for place, allowed in found.items()}


def _parted(part: str) -> tuple[str, str, str]:
    """Name, sign and value of a condition."""
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise ConfigError("where", repr(part.strip()), _FORM)
    name, sign, value = match.groups()
    return name.strip('"'), sign.strip(), value


def _anything(column: Column) -> Allowed:
    """What a column may be without any condition."""
    names = column.categories
    return Allowed() if names is None else Allowed(categories=frozenset(range(len(names))))


def _narrowed(allowed: Allowed, column: Column, name: str, sign: str, value: str) -> Allowed:
    """What is allowed under one more condition."""
    values = [each.strip().strip('"') for each in (value.split("|") if sign == "in" else [value])]
    if allowed.categories is not None:
        named = _categories(column, name, sign, values)
        return replace(allowed, categories=allowed.categories & named)
    number = column.bound(values[0])
    if sign in ("in", "!=") or math.isnan(number):
        what = "a number such as 3.5" if column.clock is None else f"a time such as {column.shown(column.clock.mean)}"
        got = f"{name} {sign} {value}".strip()
        raise ConfigError("where", repr(got), f"{name} with =, <, <=, > or >= and {what}")
    low, high = _range(column, sign, number)
    return Allowed(max(allowed.low, low), min(allowed.high, high))


def _range(column: Column, sign: str, value: float) -> tuple[float, float]:
    """The smallest and the largest number of a column under a condition; both belong to it."""
    at: tuple[float, float] = (value, value)
    if column.step:
        at, below, above = _neighbours(value, column.per_unit or 1)
    else:
        kind = np.dtype(column.dtype).type
        below, above = (float(np.nextafter(kind(value), kind(end))) for end in (-math.inf, math.inf))
    ends = {"=": at, "<": (-math.inf, below), "<=": (-math.inf, at[1]), ">": (above, math.inf), ">=": (at[0], math.inf)}
    return ends[sign]


def _neighbours(value: float, per_unit: int) -> tuple[tuple[float, float], float, float]:
    """The first multiple of a resolution that is not below a number and the last that is not above it, the last below
    it, and the first above it."""
    nearest = round(value * per_unit)
    if nearest / per_unit == value:  # 1.1 * 10 is more than 11
        return (value, value), (nearest - 1) / per_unit, (nearest + 1) / per_unit
    low, high = math.floor(value * per_unit) / per_unit, math.ceil(value * per_unit) / per_unit
    return (high, low), low, high


def _categories(column: Column, name: str, sign: str, values: list[str]) -> frozenset[int]:
    """The numbers of the categories that meet a condition."""
    names = column.categories or ()
    if sign in ("=", "!=", "in"):
        named = frozenset(_category(column, name, value) for value in values)
        return frozenset(range(len(names))) - named if sign == "!=" else named
    if not all(map(is_finite, (*names, *values))):
        raise ConfigError(f"where {name}", sign, f"=, != or in, for {listed(names)}")
    low, high = _range(Column("float64"), sign, float(values[0]))
    return frozenset(i for i, each in enumerate(names) if low <= float(each) <= high)


def _category(column: Column, name: str, value: str) -> int:
    """The number of a category."""
    try:
        (number,) = column.encode("", [value])
    except DataError:
        number = np.nan
    if np.isnan(number):
        raise ConfigError(f"where {name}", repr(value), f"one of {listed(column.categories or ())}")
    return int(number)
