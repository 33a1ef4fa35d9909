"""Examples as integers, exactly: which whole number each value is, and back.

Levels are counted from the lowest, and categories, dates and whole numbers are integers already. A real number has to
be a multiple of the resolution of its column or channel, which is found from the data; see `inkwash.data.resolution`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.cells import Cells
from inkwash.core.errors import DataError
from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.data.resolution import MOST_MULTIPLES, find_per_unit
from inkwash.model.units import Units
from inkwash.process.distributions import Lattice

MISSING, NEGATIVE_ZERO = np.uint8(1), np.uint8(2)
"""What an integer does not say of an entry: that it is missing, or that its 0 has a sign, as -0.04 has if rounded."""


@dataclass(frozen=True)
class Marks:
    """How many multiples of its resolution make one unit, for each channel or entry.

    Args:
        per_unit: 1 for levels, categories and whole numbers.
    """

    per_unit: tuple[Annotated[int, Range(1, 1 << 30)], ...]

    def integers(self, units: Units, data: Array) -> tuple[Tensor, Array]:
        """Examples, data units as they came, as int64 `(N, *shape)`; and what no integer says, uint8: `MISSING`,
        `NEGATIVE_ZERO`, or 0.

        What stands for a missing entry is the most frequent integer of its column or channel among these examples.
        """
        values = _channels_first(units, data)
        gone = np.isnan(values)
        odd = gone * MISSING + ((values == 0) & np.signbit(values)) * NEGATIVE_ZERO
        first, lattice = _start(units), _own_lattice(units)
        if lattice is not None:
            found = lattice.index(torch.from_numpy(values)).numpy()
        else:
            found = np.rint((values - first) * self._column(values.ndim))
        filled = _filled(found, gone) if gone.any() else found
        return torch.from_numpy(filled.astype(np.int64)), odd

    def data(self, units: Units, integers: Tensor, odd: Array, dtype: Any) -> Array:
        """The examples, data units as they came, that integers `(N, *shape)` and what they do not say stand for."""
        found, lattice = integers.numpy().astype(np.float64), _own_lattice(units)
        if lattice is not None:
            values = lattice.low + found * lattice.spacing
        else:
            values = found / self._column(found.ndim) + _start(units)
        values[odd == MISSING] = np.nan
        values[odd == NEGATIVE_ZERO] = -0.0
        return _as_it_came(units, values).astype(dtype)

    def _column(self, axes: int) -> Array:
        return np.asarray(self.per_unit, np.float64).reshape(-1, *(1,) * (axes - 2))

    def cells(self, units: Units, low: Sequence[int], high: Sequence[int]) -> Cells | None:
        """What integers between `low` and `high` stand for; None if all are levels, bits or categories."""
        if None not in last_integers(units, len(low)):
            return None
        column, transform, shape = self._column(1 + len(units.shape)), units.transform, units.shape
        first, last = (torch.tensor(ends).reshape(-1, *(1,) * (len(shape) - 1)).expand(shape) for ends in (low, high))

        def to_model(integers: Tensor) -> Tensor:
            data = integers.double() / torch.from_numpy(column)
            return data if transform is None else transform.from_real(data)

        return Cells(first, last, to_model)

    def describe(self, units: Units) -> dict[str, str]:
        """The resolution of each column or channel of real numbers, by its name; of channels that agree, once."""
        if units.transform is None:
            return {} if units.values else {"entries": f"1/{max(self.per_unit)}"}
        spec = units.spec
        names = [spec.entry_words(int(i)) for i in np.flatnonzero(spec.is_real)]
        each = [f"1/{self.per_unit[i]}" for i in np.flatnonzero(spec.is_real)]
        if len({*each}) == 1 and len(each) > 1:
            return {f"{len(each)} {'channels' if spec.size else 'columns'}": each[0]}
        return dict(zip(names, each, strict=True))


def find_marks(units: Units, data: Array) -> Marks:
    """The marks of examples, data units as they came.

    Raises:
        DataError: real numbers without a common resolution, or too many multiples of it.
    """
    values = _channels_first(units, data)
    if units.values is not None or (units.transform is not None and units.spec.levels is not None):
        return Marks((1,) * values.shape[1])
    return Marks(tuple(_per_unit(units, i, values[:, i], data.dtype) for i in range(values.shape[1])))


def _per_unit(units: Units, i: int, values: Array, dtype: Any) -> int:
    """How many multiples of its resolution make one unit of a column or channel."""
    known = values[~np.isnan(values)]
    where = "x" if units.transform is None else f"x, {units.spec.entry_words(i)}"
    if not np.isfinite(known).all():
        raise DataError(where, "an infinite number", "finite numbers")
    found = find_per_unit(known, dtype)
    if found is not None:
        return found
    largest = float(np.abs(known).max(initial=0))
    got = f"real numbers up to {largest:g} without a common resolution, such as {known[0]:.17g}"
    raise DataError(where, got, f"multiples of one, fewer than {MOST_MULTIPLES} of it; round them first")


def last_integers(units: Units, entries: int) -> list[int | None]:
    """The last level or category of each channel or entry, by its number; None for other numbers."""
    if units.values is not None:
        return [units.values.levels - 1] * entries
    if units.transform is None:
        return [None] * entries
    spec = units.spec
    if spec.levels is not None:
        return [spec.levels - 1] * entries
    return [size - 1 if size else None for size in spec.sizes or (0,) * entries]


def same(a: Array, b: Array) -> bool:
    """Whether arrays of one type and shape have the same values: 0 and -0 differ, and missing entries are equal."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool((a == b).all())
    gone = np.isnan(a)
    equal = (a == b) & (np.signbit(a) == np.signbit(b))
    return bool((np.where(gone, np.isnan(b), equal)).all())


def _filled(found: Array, gone: Array) -> Array:
    """Integers with a frequent one of the same column or channel in place of missing ones."""
    filled = found.copy()
    for i in range(found.shape[1]):
        known = found[:, i][~gone[:, i]]
        values, counts = np.unique(known, return_counts=True)
        filled[:, i][gone[:, i]] = values[counts.argmax()] if len(values) else 0
    return filled


def _channels_first(units: Units, data: Array) -> Array:
    """Examples as they came, as float64 `(N, *shape)` without constant channels."""
    values = data if units.transform is None else units.spec.to_channels_first(data)
    return values.astype(np.float64)


def _as_it_came(units: Units, values: Array) -> Array:
    return values if units.transform is None else units.spec.from_channels_first(values)


def _start(units: Units) -> float:
    """The lowest level; 0 for data without levels."""
    return units.spec.low if units.transform is not None and units.spec.levels is not None else 0.0


def _own_lattice(units: Units) -> Lattice | None:
    """The values of entries of a model without a transform, if they are few."""
    return units.values if units.transform is None else None
