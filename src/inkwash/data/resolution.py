"""The resolution of numbers: the coarsest of 1, 1/10, …, 1/10^9, 1/2, 1/4, …, 1/2^30 of which all are multiples, bit
for bit in their type."""

from typing import Any

import numpy as np

from inkwash.core.shapes import Array

MOST_MULTIPLES = 1 << 31
"""Numbers are fewer multiples of their resolution than this."""
_RESOLUTIONS = sorted({*(10**d for d in range(10)), *(2**k for k in range(31))})
_FIRST = 256
_COARSE = 16
"""A resolution that says something is so many times the distance between neighbouring numbers of the type."""


def find_per_unit(values: Array, dtype: Any) -> int | None:
    """How many multiples of their resolution make one unit of numbers; None if they have no resolution.

    Args:
        values: finite numbers `(N,)`, float64.
        dtype: the type that they came in.
    """
    largest = float(np.abs(values).max(initial=0))
    for each in _RESOLUTIONS:
        if largest * each < MOST_MULTIPLES and all(_are(part, each, dtype) for part in (values[:_FIRST], values)):
            return each
    return None


def find_decimals(values: Array, dtype: Any) -> int | None:
    """`find_per_unit`, where the numbers were rounded: a type has itself a resolution, which says nothing of them."""
    found = find_per_unit(values, dtype)
    if found is None:
        return None
    apart = float(np.spacing(np.median(np.abs(values)).astype(dtype)))
    return found if _COARSE * apart * found <= 1 else None


def multiples(values: Array, per_unit: int) -> Array:
    """Numbers moved to the nearest multiple of 1 / `per_unit`."""
    return np.asarray(np.rint(values * per_unit) / per_unit)


def _are(values: Array, per_unit: int, dtype: Any) -> bool:
    """Whether numbers are multiples of a resolution."""
    with np.errstate(over="ignore"):
        return bool((multiples(values, per_unit).astype(dtype) == values.astype(dtype)).all())
