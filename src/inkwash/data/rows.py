"""Rows of an array that may be larger than memory: some at a time, none of them kept.

What was read of a mapped file counts as this process's memory until it is let go, here at once; the system may still
have it at hand.
"""

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from inkwash.core.shapes import Array

_ENTRIES = 1 << 20


def take(data: Array, rows: Array | slice) -> Array:
    """A copy of some examples.

    Args:
        data: all examples, `(N, …)`.
        rows: which of them.
    """
    found = np.array(data[rows])
    file: Any = data.base
    is_shared = isinstance(data, np.memmap) and data.mode != "c"  # a private map would lose what was written to it
    if is_shared and isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
    return found


def blocks(data: Array, rows: Array | None = None) -> Iterator[Array]:
    """Copies of the examples in their order, as many at a time as have a million entries, and at least one.

    Args:
        data: all examples, `(N, …)`.
        rows: which of them; all by default. On a disk, increasing ones are read fastest.
    """
    places = range(len(data)) if rows is None else rows
    step = max(1, _ENTRIES // max(1, math.prod(data.shape[1:])))
    for start in range(0, len(places), step):
        part = slice(start, start + step)
        yield take(data, part if rows is None else rows[part])
