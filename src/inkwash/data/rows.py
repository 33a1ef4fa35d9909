"""Rows of an array that may be larger than memory: they are read in blocks, and none of them is kept.

What a process has read from a mapped file counts as its memory until it lets go of it. Here it does so at once; the
system may still keep the pages in its cache.
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
        rows: which of them to copy.
    """
    found = np.array(data[rows])
    file: Any = getattr(data, "base", None)
    is_shared = isinstance(data, np.memmap) and data.mode != "c"  # letting go of a private map would lose changes to it
    if is_shared and isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
    return found


def blocks(data: Array, rows: Array | None = None) -> Iterator[Array]:
    """Copies of the examples in their order; each block has about a million entries, and at least one example.

    Args:
        data: all examples, `(N, …)`.
        rows: which of them to copy; all by default. From a disk, rows in increasing order are read fastest.
    """
    places = range(len(data)) if rows is None else rows
    step = max(1, _ENTRIES // max(1, math.prod(data.shape[1:])))
    for start in range(0, len(places), step):
        part = slice(start, start + step)
        yield take(data, part if rows is None else rows[part])
