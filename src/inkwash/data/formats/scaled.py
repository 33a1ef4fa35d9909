"""Numbers of a file that stand for others, slope * number + intercept, and samples in the type of a file."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.columns import listed

_TYPES = (np.uint8, np.uint16, np.int16, np.int32, np.int64)


def integer_type(low: float, high: float) -> np.dtype[np.generic]:
    """The smallest type of whole numbers from `low` to `high`, without a sign if none is needed."""
    fitting = (each for each in _TYPES if np.iinfo(each).min <= low and high <= np.iinfo(each).max)
    return np.dtype(next(fitting, np.float64))


def real_type(low: float, high: float) -> np.dtype[np.generic]:
    """The type of real numbers that stand for whole ones from `low` to `high`: float32 if these have 16 bits."""
    return np.dtype(np.float32 if high - low < 1 << 16 else np.float64)


def scaled(numbers: Array, slope: float, intercept: float) -> Array:
    """slope * number + intercept: real numbers of their own type; whole ones as whole ones if slope and intercept are
    whole, and otherwise as real ones."""
    if numbers.dtype.kind == "f":
        dtype = numbers.dtype.newbyteorder("=")
    else:
        ends = np.iinfo(numbers.dtype).min, np.iinfo(numbers.dtype).max
        is_integral = slope % 1 == 0 == intercept % 1
        meant = sorted(slope * end + intercept for end in ends)
        dtype = integer_type(*meant) if is_integral else real_type(*ends)
    return (numbers.astype(np.float64) * slope + intercept).astype(dtype)


def packing_note(where: str, attributes: Iterable[str]) -> tuple[str, ...]:
    """A note on attributes by which netCDF packs values and marks missing ones, where a format has no such meaning.

    Args:
        where: what has them.
        attributes: their names.
    """
    found = [name for name in ("scale_factor", "add_offset", "_FillValue", "missing_value") if name in {*attributes}]
    return (f"{where} has {listed(found)}, conventions of netCDF that are not applied: values as stored",) * bool(found)


def in_type(data: Array, dtype: np.dtype[np.generic]) -> Array:
    """Samples in the type of a file: of whole numbers the nearest, within the type. The end of a series, NaN, is no
    whole number: samples with one stay real."""
    if data.dtype.kind != "f" or dtype.kind == "f":
        return np.asarray(data, dtype)
    if np.isnan(data).any():
        return data
    low, high = (0, 1) if dtype.kind == "b" else _limits(dtype)
    highest = high if high < 1 << 53 else np.nextafter(float(high), 0)  # that of 64 bits is no float64
    return np.clip(np.rint(data.astype(np.float64)), low, highest).astype(dtype)


def _limits(dtype: Any) -> tuple[int, int]:
    found = np.iinfo(dtype)
    return found.min, found.max
