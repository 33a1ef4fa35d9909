"""What an example is: its shape and layout, its type and range, its levels or columns."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

import numpy as np

from inkwash.core.config import Layout
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, Type
from inkwash.data.origin import Origin
from inkwash.data.reading import Reading
from inkwash.data.resolution import multiples
from inkwash.process.distributions import Lattice

Kind = Literal["vector", "series", "image", "volume"]
FEW_LEVELS = 256
"""The most levels of data whose whole range a model looks at; of more, it looks at their contrast."""


def has_channels(layout: Layout) -> bool:
    """Whether a layout has an axis for channels or entries; without one, an example has a single channel."""
    return "C" in layout or layout == "ND"


def rounding(dtype: str) -> float:
    """How far apart values that should be one may lie, as a share of them: two steps of their type, or 1e-12."""
    return max(2 * float(np.finfo(dtype).eps), 1e-12)


def over_data(of_channels: Array, layout: Layout) -> Array:
    """One value for each entry of vectors or channel of series, `(C,)`, shaped to broadcast over data as it came."""
    return of_channels[:, None] if layout == "NCL" else of_channels


@dataclass(frozen=True)
class DataSpec:
    """What one example is.

    Args:
        shape: shape of an example in model units: `(D,)` for vectors, `(C, L)` for series, `(C, H, W)` for images and
            `(C, D, H, W)` for volumes.
        layout: axes of the data as it came: "N" numbers, "ND" vectors, "NL", "NLC" or "NCL" series, "NHW", "NHWC" or
            "NCHW" images, "NDHW", "NDHWC" or "NCDHW" volumes.
        dtype: NumPy name of the type of the data.
        low: smallest value: the lowest level of data with levels, otherwise the smallest value in the data.
        high: largest value: the highest level of data with levels, otherwise the largest value in the data.
        levels: how many equally spaced values an entry can take, one apart; None for continuous data.
        columns: what each entry of a table is, by its name and in order; None for other data.
        missing: which entries of other vectors, or channels of series, may be missing; None where none may.
        constants: the value of each channel or entry that is constant, and None for the others; None where all vary.
            The constants are no part of `shape`: they are left out of model units, and put back into data.
        contrast: mean and standard deviation of all values, where there are many levels; None where a model looks at
            the whole range.
        lengths: how many of the series have 1, 2, … places, where not all have as many; a shorter one is NaN beyond its
            end. None for other data.
        reading: how a table was read, beside its columns; None for other data.
        origin: the format of the file and what it had beside the values, so that samples are written as it was; None
            where samples are .npy files, pictures or tables.
    """

    shape: tuple[Annotated[int, Range(1, 1 << 24)], ...]
    layout: Layout
    dtype: Type
    low: float
    high: float
    levels: Annotated[int, Range(2, 65536)] | None
    columns: dict[str, Column] | None = None
    missing: tuple[bool, ...] | None = None
    contrast: tuple[float, Annotated[float, Range(0, open_low=True)]] | None = None
    constants: tuple[float | None, ...] | None = None
    lengths: tuple[Annotated[int, Range(0)], ...] | None = None
    reading: Reading | None = None
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"<DataSpec: {self.describe()}, {self.layout}>"

    @property
    def kind(self) -> Kind:
        """What an example is, by the number of its axes."""
        return get_args(Kind)[len(self.shape) - 1]

    @property
    def is_image(self) -> bool:
        """Whether an example is a picture `(C, H, W)`."""
        return self.kind == "image"

    @property
    def size(self) -> tuple[int, ...]:
        """Sides of a series `(L,)`, an image `(H, W)` or a volume `(D, H, W)`; a vector has none."""
        return self.shape[1:]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many categories each column of a table has, 0 for a column of numbers; empty for other data."""
        return tuple(len(column.categories or ()) for column in (self.columns or {}).values())

    @property
    def width(self) -> int:
        """How many columns a table has, with those that are the same in every row."""
        return len(self.columns or ()) + len(self.reading.constants if self.reading else ())

    @property
    def may_miss(self) -> Array:
        """Which entries or channels may be missing, boolean `(shape[0],)`."""
        if self.columns is None:
            return np.array(self.missing or [False] * self.shape[0])
        return np.array([column.missing for column in self.columns.values()])

    @property
    def is_real(self) -> Array:
        """Which entries or channels hold real numbers, and neither levels nor integers nor categories, boolean
        `(shape[0],)`."""
        if self.columns is None or self.levels is not None:
            return np.full(self.shape[0], self.levels is None)
        return np.array([column.limits is None for column in self.columns.values()])

    @property
    def is_integer(self) -> Array:
        """Which columns of a table hold integers that are numbers, not categories, boolean `(shape[0],)`."""
        columns = (self.columns or {}).values()
        return np.array([column.is_integer and not column.categories for column in columns] or [False] * self.shape[0])

    @property
    def steps(self) -> Array:
        """How far apart the numbers of samples are in each column of a table, data units, `(shape[0],)`; 0 where they
        are any real numbers, and for categories."""
        return np.array([column.step for column in (self.columns or {}).values()] or [0.0] * self.shape[0])

    @property
    def recurring(self) -> tuple[int, ...]:
        """How many numbers of each column have a probability of their own; empty where no column has any."""
        counts = tuple(len(column.recurring or ()) for column in (self.columns or {}).values())
        return counts if any(counts) else ()

    def recurring_words(self) -> str:
        """The columns with numbers that have a probability of their own, and how many each has."""
        each = zip(self.columns or {}, self.recurring, strict=False)
        return ", ".join(f"{name} ({count})" for name, count in each if count) or "no numbers that recur"

    def without_recurring(self) -> "DataSpec":
        """The same, as models read it that give every number a density."""
        columns = {name: replace(column, recurring=None) for name, column in (self.columns or {}).items()}
        return replace(self, columns=columns) if columns else self

    @property
    def periods(self) -> tuple[tuple[float, ...], ...]:
        """The periods that the dates of each column may repeat with, in model units; none for other columns."""
        dates = ((column.clock if column.is_date else None) for column in (self.columns or {}).values())
        return tuple(() if clock is None else tuple(clock.periods.values()) for clock in dates)

    @property
    def finest_time(self) -> float | None:
        """The least that a model must tell apart in dates and durations, in model units; None where there are none."""
        clocks = [column.clock for column in (self.columns or {}).values()]
        return min((clock.finest for clock in clocks if clock is not None), default=None)

    @property
    def lattice(self) -> Lattice | None:
        """The values that data with levels takes in model units under a process of real numbers: over [-1, 1], or at
        mean 0 and standard deviation 1 if their contrast is known."""
        if self.levels is None:
            return None
        if self.contrast is None:
            return Lattice(-1.0, 1.0, self.levels)
        mean, std = self.contrast
        return Lattice((self.low - mean) / std, (self.high - mean) / std, self.levels)

    @property
    def shown(self) -> tuple[float, float]:
        """The range that pictures show: all of it, or four standard deviations about the mean if the contrast is
        known."""
        mean, reach = (0.0, math.inf) if self.contrast is None else (self.contrast[0], 4 * self.contrast[1])
        return max(self.low, mean - reach), min(self.high, mean + reach)

    @property
    def is_as_in_files(self) -> bool:
        """Whether picture files hold the values as they are: all of uint8, or uint16 of any depth above 8 bits."""
        deep = self.dtype == "uint16" and self.levels is not None and self.levels > FEW_LEVELS
        return deep or (self.dtype, self.levels) == ("uint8", 256)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example as it came."""
        return self.from_all_channels(np.empty((1, len(self.varies), *self.size), np.uint8)).shape[1:]

    def to_channels_first(self, data: Array) -> Array:
        """Data as it came, to `(N, *shape)`, without constant channels."""
        if self.layout.endswith("C"):
            data = np.moveaxis(data, -1, 1)
        if self.constants is not None:
            data = data[:, self.varies]
        return data.reshape(len(data), *self.shape)

    def from_channels_first(self, x: Array) -> Array:
        """`(N, *shape)` back to the layout that the data came in, with its constant channels."""
        return self.from_all_channels(self._with_constants(x))

    def from_all_channels(self, x: Array) -> Array:
        """All channels, those that are constant among them, in the layout that the data came in."""
        if self.layout.endswith("C"):
            return np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return x if has_channels(self.layout) else x[:, 0]

    @property
    def varies(self) -> Array:
        """Which channels or entries of the data vary, boolean; the others are constant."""
        return np.array([value is None for value in self.constants or (None,) * self.shape[0]])

    def _with_constants(self, x: Array) -> Array:
        if self.constants is None:
            return x
        full = np.empty((len(x), len(self.constants), *x.shape[2:]), x.dtype)
        full[:, self.varies] = x
        for i in np.flatnonzero(~self.varies):
            full[:, i] = np.asarray(self.constants[i]).astype(x.dtype)
        return full

    def rounded(self, data: Array) -> Array:
        """Real numbers `(N, …)` moved to the nearest level, or in columns to the nearest integer, category or multiple
        of the resolution."""
        if self.levels is not None:
            return np.clip(np.rint(data), self.low, self.high)
        for i, column in enumerate((self.columns or {}).values()):
            if column.limits is not None:
                data[:, i] = np.clip(np.rint(data[:, i]), *column.limits)
            elif column.per_unit is not None:
                data[:, i] = multiples(data[:, i], column.per_unit)
        return data

    def describe(self) -> str:
        """The data in a few words."""
        size = "x".join(map(str, self.shape))
        kind = "table row" if self.columns else self.kind
        values = f"[{self.low:g}, {self.high:g}]" + (f" ({self.levels} levels)" if self.levels else "")
        shortest = "" if self.lengths is None else f", from {np.flatnonzero(self.lengths)[0] + 1} places on"
        return f"{kind} {size}{shortest}, {self.dtype} {values}"

    def entry_words(self, index: int) -> str:
        """What messages call a channel or an entry."""
        names, index = list(self.columns or ()), int(np.flatnonzero(self.varies)[index])
        return f"column {names[index]!r}" if names else f"{'channel' if self.size else 'column'} {index}"

    def check(self, where: str) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        axes = 1 if self.layout == "ND" else len(self.layout.replace("C", ""))
        if len(self.shape) != axes:
            raise ConfigError(f"{where}.shape", self.shape, f"{axes} sides for the layout {self.layout}")
        if self.low > self.high:
            raise ConfigError(f"{where}.low", self.low, f"at most {where}.high, {self.high:g}")
        if self.levels is not None and self.high - self.low != self.levels - 1:
            raise ConfigError(f"{where}.levels", self.levels, f"those of [{self.low:g}, {self.high:g}]")
        if self.contrast is not None and self.levels is None:
            raise ConfigError(f"{where}.contrast", self.contrast, "none, for data without levels")
        if self.lengths is not None and (self.missing is None or self.kind != "series" or not any(self.lengths)):
            raise ConfigError(f"{where}.lengths", f"{len(self.lengths)} counts", "those of series that may be missing")
        if self.origin is not None:
            self.origin.check(f"{where}.origin")
        self._check_entries(where)

    def _check_entries(self, where: str) -> None:
        entries = self.shape[0]
        if self.constants is not None:
            plain = has_channels(self.layout) and self.levels is None and self.columns is None
            if not plain or sum(value is None for value in self.constants) != entries or all(self.varies):
                raise ConfigError(f"{where}.constants", self.constants, "None for each channel of shape, or None")
        if self.columns is not None and (self.layout != "ND" or len(self.columns) != entries):
            raise ConfigError(f"{where}.columns", f"{len(self.columns)} columns", "one for each entry of a vector")
        for name, column in (self.columns or {}).items():
            column.check(f"{where}.columns.{name}")
        may_be = self.kind in ("vector", "series") and not self.columns and not self.levels
        if self.missing is not None and not (may_be and len(self.missing) == entries):
            need = "one for each entry of a vector, or channel of a series, of real numbers"
            raise ConfigError(f"{where}.missing", self.missing, need)

    def require_examples(self, data: Array, missing: bool = False) -> None:
        """Refuse data, as it came, that cannot be examples of this kind.

        Args:
            data: examples, NaN where an entry is missing.
            missing: whether every entry may be missing, and not only those that `may_miss`.

        Raises:
            DataError: another shape, a missing entry, or a value that is no level or category.
        """
        expected = self.data_shape
        if data.shape[1:] != expected or data.ndim == 0:
            raise DataError("data", f"shape {data.shape}", f"(N, {', '.join(map(str, expected))})".replace(", )", ")"))
        if self.constants is not None:
            self._require_constants(data)
        if not missing:
            self._require_present(data)
        if data.size:
            self._require_values(data)

    def _require_constants(self, data: Array) -> None:
        """Refuse channels that are constant in the data that was read, and have another value here."""
        channels = np.moveaxis(data, -1, 1) if self.layout.endswith("C") else data
        for i, value in enumerate(self.constants or ()):
            other = channels[:, i][~np.isnan(channels[:, i])]
            if value is not None and not np.isclose(other, value, rtol=rounding(self.dtype), atol=0).all():
                got = next(each for each in other.ravel() if each != value)
                where = f"data, {'channel' if self.size else 'column'} {i}"
                raise DataError(where, f"{got:g}", f"{value:g}, its constant")

    def _require_present(self, data: Array) -> None:
        gone = np.isnan(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
        is_known = self.missing is not None or self.columns is not None
        if is_known:
            may_miss = np.ones(len(self.varies), bool)  # a constant that is missing is known
            may_miss[self.varies] = self.may_miss
            gone &= ~over_data(may_miss, self.layout)
        if gone.any():
            row, *place = (int(i) for i in np.argwhere(gone)[0])
            entry = f", {self.entry_words(int(self.varies[: place[0]].sum()))}" if is_known and not self.size else ""
            raise DataError(f"data[{row}]{entry}", "a missing value", "a number: none was missing there in training")

    def _require_values(self, data: Array) -> None:
        """Refuse values that are no levels or categories."""
        if self.levels is not None:
            return _require_integers(data.reshape(-1, 1), np.array([self.low]), np.array([self.high]), ["data"])
        at = [i for i, count in enumerate(self.sizes) if count]
        if at:
            high = np.array([self.sizes[i] - 1 for i in at])
            _require_integers(data[:, at], np.zeros(len(at)), high, [f"data, {self.entry_words(i)}" for i in at])


def _require_integers(data: Array, low: Array, high: Array, where: list[str]) -> None:
    """Refuse values of columns `(N, K)` that are not missing, and no integers between the ends of their column."""
    fine = np.isnan(data) | ((data >= low) & (data <= high) & (data == np.rint(data)))
    if not fine.all():
        row, i = (int(k) for k in np.argwhere(~fine)[0])
        raise DataError(where[i], f"{data[row, i]:g}", f"whole numbers in [{low[i]:g}, {high[i]:g}]")
