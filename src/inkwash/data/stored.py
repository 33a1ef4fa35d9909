"""An array in a file whose rows are read when they are needed, for formats that NumPy cannot map into memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.raw import DAMAGE, readable, require_room

IN_MEMORY = 1 << 28
"""Up to so many bytes, what has to be decoded is decoded once and held in memory."""


class Stored:
    """An array on disk: what `inkwash.data.rows` needs of one.

    Args:
        shape: `(N, …)`.
        dtype: type of the values that `read` gives.
        read: takes the first row and the one behind the last to these rows.
        chunk: how many rows are decoded at once; those that are asked for together are decoded once.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Callable[[int, int], Array], chunk: int = 1) -> None:
        self.shape, self.dtype, self._read, self._chunk = shape, np.dtype(dtype), read, chunk
        self.ndim, self.size = len(shape), math.prod(shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Rows by a slice, a number, or an array of numbers, which may repeat and have any order."""
        places = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        places = np.where(places < 0, places + len(self), places)
        if places.size and not (places.min() >= 0 and places.max() < len(self)):
            raise IndexError(f"row {places.max()} of {len(self)}")
        if places.ndim == 0:
            return self._read(int(places), int(places) + 1)[0]
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        order = np.argsort(places, kind="stable")
        apart = (np.diff(places[order]) > 1) & (np.diff(places[order] // self._chunk) > 0)
        for part in np.split(order, np.flatnonzero(apart) + 1):
            if len(part):
                first = int(places[part[0]])
                found[part] = self._read(first, int(places[part[-1]]) + 1)[places[part] - first]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:].astype(dtype or self.dtype, copy=False)


def stored(where: str, shape: tuple[int, ...], dtype: Any, read: Callable[[int, int], Array], chunk: int = 1) -> Array:
    """A `Stored` array, or the array itself if it is small.

    Args:
        where: what messages call the array.
        shape: `(N, …)`.
        dtype: type of the values that `read` gives.
        read: takes the first row and the one behind the last to these rows; what it raises for a damaged file becomes a
            `DataError`.
        chunk: how many rows are decoded at once.
    """

    def checked(first: int, end: int) -> Array:
        with readable(f"{where}[{first}:{end}]", "a complete file", what="unreadable"):
            return read(first, end)

    found = Stored(shape, dtype, checked, chunk)
    return np.asarray(found) if found.nbytes <= IN_MEMORY else cast(Array, found)


def beside(where: str, size: int, read: Callable[[], Any]) -> Array:
    """Labels, a condition or lengths from a file, as `labels_of`; they are held in memory.

    Args:
        where: what messages call them.
        size: their bytes, or those that the file claims.
        read: takes nothing to their values.

    Raises:
        DataError: too many for the memory, a damaged file, or text that is no UTF-8.
    """
    require_room(where, size)
    with readable(where, "a complete file, with text in UTF-8", (*DAMAGE, KeyError, TypeError), what="unreadable"):
        return labels_of(read())


def labels_of(values: Any) -> Array:
    """Labels or conditions as an array: of vectors of one entry the entries, of bytes their text, and of real numbers
    that are all whole the integers, since some formats hardly have others."""
    array = np.asarray(values)
    if array.dtype.kind in "SOT":
        array = np.array([each.decode() if isinstance(each, bytes) else each for each in array.ravel()])
    if array.dtype.kind == "f" and np.isfinite(array).all() and not (array % 1).any():
        array = array.astype(np.int64)
    return array.ravel() if array.ndim == 2 and 1 in array.shape else array
