"""One chunk of examples as bytes: those of a scheme, or packed integers where these are fewer.

```
8 bytes    checksum of the integers and of what is missing, compared after decoding
1 byte     how they are coded: 0 packed, 1 by the scheme; 2 more if entries are missing
           which entries are missing: 4 bytes for the length, and packed bits
           the integers
```
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.container import CHECKSUM, WRITTEN, checksum, packed, unpacked
from inkwash.codec.scheme import Scheme
from inkwash.core.errors import CodecError, ConfigError, DataError
from inkwash.core.shapes import Array

_PACKED, _BY_SCHEME, _HAS_GAPS = 0, 1, 2
_LENGTH = struct.Struct("<I")
_WIDTHS = ("<u1", "<u2", "<u4")
_LOST = (ArithmeticError, DataError, LookupError, RuntimeError, ValueError)
"""What decoding raises where its numbers are not those of the encoder."""


@dataclass(frozen=True)
class Chunks:
    """How the chunks of a file become bytes, and come back.

    Args:
        scheme: what uses the model.
        shape: of one example in model units.
        low: the smallest integer in the file.
        high: the largest.
    """

    scheme: Scheme
    shape: tuple[int, ...]
    low: int
    high: int

    def pack(self, integers: Tensor, gone: Array) -> bytes:
        """The bytes of examples.

        Args:
            integers: int64 `(B, *shape)`.
            gone: which entries are missing, boolean; integers stand there all the same.
        """
        plain, own = self._packed(integers), self.scheme.encode(integers)
        method, content = (_BY_SCHEME, own) if len(own) < len(plain) else (_PACKED, plain)
        gaps = b""
        if gone.any():
            bits = packed(np.packbits(gone).tobytes())
            method, gaps = method + _HAS_GAPS, _LENGTH.pack(len(bits)) + bits
        return _sum(integers, gone) + bytes([method]) + gaps + content

    def unpack(self, part: memoryview, count: int, where: str) -> tuple[Tensor, Array]:
        """The integers `(count, *shape)`, and which entries are missing.

        Raises:
            CodecError: they are not those that were packed.
        """
        if len(part) <= CHECKSUM or part[CHECKSUM] > _BY_SCHEME + _HAS_GAPS:
            raise CodecError(where, "no chunk", WRITTEN)
        method, content = part[CHECKSUM], part[CHECKSUM + 1 :]
        gone = np.zeros((count, *self.shape), bool)
        if method & _HAS_GAPS:
            gone, content = self._gaps(content, count, where)
        decode = self._by_scheme if method & _BY_SCHEME else self._unpacked
        integers = decode(content, count, where)
        if _sum(integers, gone) != part[:CHECKSUM]:
            raise CodecError(where, "other examples than were compressed", "the model and the machine of the file")
        return integers, gone

    def _gaps(self, content: memoryview, count: int, where: str) -> tuple[Array, memoryview]:
        size = count * math.prod(self.shape)
        if len(content) < _LENGTH.size:
            raise CodecError(where, "no list of missing entries", WRITTEN)
        end = _LENGTH.size + _LENGTH.unpack(content[: _LENGTH.size])[0]
        bits = np.frombuffer(unpacked(content[_LENGTH.size : end], -(-size // 8), where), np.uint8)
        return np.unpackbits(bits, count=size).astype(bool).reshape(count, *self.shape), content[end:]

    def _by_scheme(self, content: memoryview, count: int, where: str) -> Tensor:
        try:
            found = self.scheme.decode(bytes(content), count)
        except _LOST as error:
            if isinstance(error, ConfigError):
                raise
            got = f"bytes that do not decode ({error})"
            raise CodecError(where, got, "the model and the machine of the file") from None
        if found.shape != (count, *self.shape) or found.dtype != torch.int64:
            raise CodecError(where, f"{found.dtype} {tuple(found.shape)}", f"{count} examples of shape {self.shape}")
        return found

    @property
    def _width(self) -> np.dtype[np.unsignedinteger]:
        """The narrowest type for the integers, counted from the lowest."""
        fitting = (np.dtype(name) for name in _WIDTHS if self.high - self.low <= np.iinfo(name).max)
        return next(fitting, np.dtype("<u8"))

    def _packed(self, integers: Tensor) -> bytes:
        return packed((integers - self.low).numpy().astype(self._width).tobytes())

    def _unpacked(self, content: memoryview, count: int, where: str) -> Tensor:
        size = count * math.prod(self.shape)
        flat = np.frombuffer(unpacked(content, size * self._width.itemsize, where), self._width)
        return torch.from_numpy(flat.astype(np.int64).reshape(count, *self.shape)) + self.low


def _sum(integers: Tensor, gone: Array) -> bytes:
    """A checksum of what decoding must give."""
    seen = integers.numpy().astype("<i8").copy()
    seen[gone] = 0
    return checksum(seen.tobytes() + np.packbits(gone).tobytes())
