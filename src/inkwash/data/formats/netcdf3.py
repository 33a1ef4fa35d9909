"""How long a netCDF-3 file has to be, by its header: the library netCDF4 reads zeros, or nothing at all, where it ends
early. The header is that of the NetCDF Classic Format Specification (Unidata), in versions 1, 2 and 5."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Of one value of each type."""


def require_complete(path: Path) -> None:
    """Refuse a netCDF-3 file that ends before its values do; any other file passes.

    Raises:
        EOFError: it ends early.
        struct.error, KeyError, IndexError: its header is damaged.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\1", b"\2", b"\5"):
            return
        need, found = _Header(file, magic[3]).end(), path.stat().st_size
    if found < need:
        raise EOFError(f"it ends after {found} of {need} bytes")


class _Header:
    """The header of a file, read from its beginning on.

    Args:
        file: it stands behind the version.
        version: that of the format.
    """

    def __init__(self, file: IO[bytes], version: int) -> None:
        self.file = file
        self.count, self.place = "q" if version == 5 else "i", "i" if version == 1 else "q"

    def end(self) -> int:
        """The first byte behind the last value of any variable."""
        records = max(self._number(self.count), 0)  # -1: a stream, of which nobody counted the records
        sides = self._list(lambda: self._number(self.count))
        self._attributes()
        variables = self._list(self._variable)
        ends, in_records = [0], []
        for axes, width, begin in variables:
            shape = [sides[axis] for axis in axes]
            size = width * math.prod(side for side in shape if side)
            if shape and not shape[0]:  # the axis of records
                in_records.append((begin, size))
            else:
                ends.append(begin + size)
        step = sum(size if len(in_records) == 1 else -(-size // 4) * 4 for _, size in in_records)
        ends += [begin + (records - 1) * step + size for begin, size in in_records if records]
        return max(ends)

    def _variable(self) -> tuple[list[int], int, int]:
        """Its axes, the bytes of a value, and where it begins."""
        axes = [self._number(self.count) for _ in range(self._number(self.count))]
        self._attributes()
        width = _BYTES[self._number("i")]
        self._number(self.count)  # its size, which is cut off where it is large
        return axes, width, self._number(self.place)

    def _attributes(self) -> None:
        self._list(lambda: self._skip(_BYTES[self._number("i")]))

    def _list(self, item: Callable[[], Any]) -> list[Any]:
        """What follows the names of a list of dimensions, attributes or variables."""
        self._number("i")  # what they are
        found = []
        for _ in range(self._number(self.count)):
            self._skip(1)  # the name
            found.append(item())
        return found

    def _skip(self, width: int) -> None:
        """Pass by a number of values, and by what fills up their last four bytes."""
        size = width * self._number(self.count)
        self.file.seek(-(-size // 4) * 4, 1)

    def _number(self, kind: str) -> int:
        return int(struct.unpack(f">{kind}", self.file.read(struct.calcsize(f">{kind}")))[0])
