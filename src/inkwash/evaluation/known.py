"""What was found about data alone, such as the floor of a distance, so that the next model that is compared with the
same data need not find it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from inkwash.core.shapes import Array

Found = TypeVar("Found")


class Known:
    """Results by what they are of: a name, and the very values of the data."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def of(self, what: str, data: Sequence[Array], find: Callable[[], Found]) -> Found:
        """The result of `find`, which depends on nothing but `what` and the data."""
        digest = hashlib.sha256(what.encode())
        for array in data:
            digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        key = digest.hexdigest()
        if key not in self._found:
            self._found[key] = find()
        found: Found = self._found[key]
        return found
