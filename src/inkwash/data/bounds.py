r"""Where the numbers of a table's columns lie, and what keeps samples there.

**Observed** bounds are the smallest and the largest number of the training part. A sample beyond an end is moved to it:
samples are censored. Strictly between the ends, their density is the one that the model reports; at an end, they have
all the probability that the model has beyond it; and the model's density of rows beyond is still reported, so that new
rows can be scored. For whole numbers, the probability of a value between the ends, ends included, is at least the one
reported, so the bound remains a bound.

**Stated** bounds are those of the user, and a row beyond them is refused. If no number lies at an end, the column goes
through a curve (`inkwash.data.curves.Log`), which has no sample outside; its density is exact, by the change of
variables. If numbers lie at an end, as fares of 0 do, they have a probability there and no density, and samples are
censored in the same way. So are whole numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, listed
from inkwash.data.curves import Log
from inkwash.data.spec import DataSpec

OBSERVED, FREE = "observed", "free"
_FORM = "observed, free, or COLUMN=LOW:HIGH, such as Age=0:120 or Fare=0:"


@dataclass(frozen=True)
class Bounds:
    """Where the numbers of a column lie.

    Args:
        low: the smallest number that a sample can be; None if there is none.
        high: the largest number.
        stated: whether the user stated them, so that rows beyond are refused.
        bent: whether a curve keeps samples between them, so that no number lies at an end.
    """

    low: float | None
    high: float | None
    stated: bool = False
    bent: bool = False

    @property
    def curve(self) -> Log | None:
        """The curve that keeps samples between the bounds, if there is one."""
        return Log(self.low, self.high) if self.bent else None

    def clip(self, data: Array) -> Array:
        """Numbers `(N,)`, those beyond an end moved to it."""
        return np.clip(data, self.low, self.high)

    def holds(self, data: Array) -> Array:
        """Which numbers `(N,)` rows may have."""
        return np.isnan(data) | (self.clip(data) == data) if self.curve is None else self.curve.holds(data)

    def check(self, where: str, column: Column) -> None:
        """Check that the ends are in order.

        Raises:
            ConfigError: they are not.
        """
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(where, self.describe(column), "the smaller number first")

    def describe(self, column: Column) -> str:
        """The bounds in words, as cells of the column."""
        low, high = (None if end is None else column.shown(end) for end in (self.low, self.high))
        if low is None or high is None:
            words = ("above", "below") if self.bent else ("at least", "at most")
            return f"{words[0]} {low}" if high is None else f"{words[1]} {high}"
        return f"{'between' if self.bent else 'from'} {low} {'and' if self.bent else 'to'} {high}"


def find_bounds(options: Sequence[str] | None, spec: DataSpec, data: Array, train: Array | None) -> dict[str, Bounds]:
    """The bounds of the columns of numbers, by the number of the column, in a table without levels.

    Args:
        options: `data.bounds`: "observed" or "free" for the columns that are not named, and NAME=LOW:HIGH.
        spec: what the data is.
        data: all rows, `(N, D)`.
        train: the rows to train on; all by default.

    Raises:
        ConfigError: options that name no column of numbers, or no bounds; or any option for other data.
        DataError: a number beyond the bounds that are stated for it.
    """
    if spec.columns is None or spec.levels is not None:
        if options is not None:
            raise ConfigError("data.bounds", " ".join(options), "a table without data.levels, whose columns have names")
        return {}
    every, stated = _read(options or (), spec)
    found = {}
    for i, (name, column) in enumerate(spec.columns.items()):
        if spec.sizes[i]:
            continue
        if name in stated:
            found[str(i)] = _stated(f"data, column {name!r}", stated[name], data[:, i], column)
        elif every == OBSERVED:
            found[str(i)] = _observed(data[:, i] if train is None else data[train, i])
    return found


def _observed(data: Array) -> Bounds:
    """The range of numbers `(N,)`, some of which are not missing."""
    return Bounds(float(np.fmin.reduce(data)), float(np.fmax.reduce(data)))


def _read(options: Sequence[str], spec: DataSpec) -> tuple[str, dict[str, Bounds]]:
    """The bounds of columns that are not named, and those of the others by name."""
    words = [option for option in options if option in (OBSERVED, FREE)]
    if len(set(words)) > 1:
        raise ConfigError("data.bounds", " ".join(words), "observed or free, for the columns that are not named")
    stated = dict(_one(option, spec) for option in options if option not in words)
    return (*words, OBSERVED)[0], stated


def _one(option: str, spec: DataSpec) -> tuple[str, Bounds]:
    name, equals, ends = option.rpartition("=")
    if not equals or ":" not in ends:
        raise ConfigError("data.bounds", repr(option), _FORM)
    numbers = {name: column for name, column in (spec.columns or {}).items() if not column.categories}
    if name not in numbers:
        raise ConfigError("data.bounds", repr(name), f"a column of numbers: {listed(numbers) or 'there is none'}")
    bounds = _between(ends, numbers[name])
    if bounds is None:
        raise ConfigError("data.bounds", repr(option), _FORM)
    bounds.check(f"data.bounds: {name}", numbers[name])
    return name, bounds


def _between(ends: str, column: Column) -> Bounds | None:
    """Bounds as LOW:HIGH, of which one may be left out; a time may have colons of its own. None: there are none."""
    colons = (i for i, sign in enumerate(ends) if sign == ":")
    for parts in ((ends[:i].strip(), ends[i + 1 :].strip()) for i in colons):
        low, high = (column.bound(part) if part else None for part in parts)
        if any(parts) and not any(end is not None and np.isnan(end) for end in (low, high)):
            return Bounds(low, high, stated=True)
    return None


def _stated(where: str, bounds: Bounds, data: Array, column: Column) -> Bounds:
    """Stated bounds of numbers `(N,)`, and whether a curve keeps samples there."""
    require_within(where, bounds, data, column)
    bent = replace(bounds, bent=True)
    return bent if column.limits is None and bent.holds(data).all() else bounds


def require_within(where: str, bounds: Bounds, data: Array, column: Column) -> None:
    """Refuse numbers `(N,)` beyond the bounds that are stated for them.

    Raises:
        DataError: there is one; the message has its row.
    """
    if not bounds.stated:
        return
    beyond = ~bounds.holds(data)
    if beyond.any():
        row, what = int(beyond.argmax()), "numbers" if column.clock is None else "times"
        need = f"{what} {bounds.describe(column)}, as data.bounds says"
        raise DataError(f"{where}, row {row}", column.shown(data[row]), need)


def describe_bounds(bounds: dict[str, Bounds], spec: DataSpec) -> str:
    """What keeps samples where, in words; empty where nothing does."""
    columns = [*(spec.columns or {}).items()]
    words = [
        f"{columns[int(i)][0]} {each.describe(columns[int(i)][1])}" + ("" if each.bent else ", ends included")
        for i, each in bounds.items()
        if each.stated
    ]
    if len(words) < len(bounds):
        words.append(f"{'other ' if words else ''}numbers within their range in the training part")
    return f"samples: {'; '.join(words)}" if words else ""
