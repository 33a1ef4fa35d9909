"""One chunk of examples as bytes: those of a scheme, or packed integers where these are fewer.

```
1 byte     how they are coded: 0 packed, 1 by the scheme; 2 more if integers do not say all
           what they do not say: 4 bytes for the length, and a packed byte for each entry
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

from inkwash.codec.container import WRITTEN, packed, unpacked
from inkwash.codec.scheme import Scheme
from inkwash.core.errors import CodecError, ConfigError, DataError
from inkwash.core.shapes import Array

_PACKED, _BY_SCHEME, _HAS_MORE = 0, 1, 2
_LENGTH = struct.Struct("<I")
_WIDTHS = ("<u1", "<u2", "<u4")
OF_FILE = "the model and the machine of the file"
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

    def pack(self, integers: Tensor, given: Tensor, odd: Array) -> bytes:
        """The bytes of examples.

        Args:
            integers: int64 `(B, *shape)`.
            given: those that are given back; others only if the scheme loses some.
            odd: what the integers do not say, uint8; 0 where they say all.
        """
        plain, own = self._packed(given), self.scheme.encode(integers)
        method, content = (_BY_SCHEME, own) if len(own) < len(plain) else (_PACKED, plain)
        more = b""
        if odd.any():
            each = packed(odd.tobytes())
            method, more = method + _HAS_MORE, _LENGTH.pack(len(each)) + each
        return bytes([method]) + more + content

    def unpack(self, part: memoryview, count: int, where: str) -> tuple[Tensor, Array]:
        """The integers `(count, *shape)`, and what they do not say.

        Raises:
            CodecError: bytes that do not decode. Where they do, the examples may still be others.
        """
        is_coded, content, odd = self.content(part, count, where)
        return (self._by_scheme if is_coded else self._unpacked)(content, count, where), odd

    def content(self, part: memoryview, count: int, where: str) -> tuple[bool, memoryview, Array]:
        """Whether the scheme coded the examples, their bytes, and what the integers do not say.

        Raises:
            CodecError: other bytes.
        """
        if not len(part) or part[0] > _BY_SCHEME + _HAS_MORE:
            raise CodecError(where, "no chunk", WRITTEN)
        method, content = part[0], part[1:]
        odd = np.zeros((count, *self.shape), np.uint8)
        if method & _HAS_MORE:
            odd, content = self._more(content, count, where)
        return bool(method & _BY_SCHEME), content, odd

    def _more(self, content: memoryview, count: int, where: str) -> tuple[Array, memoryview]:
        size = count * math.prod(self.shape)
        if len(content) < _LENGTH.size:
            raise CodecError(where, "no list of what is missing", WRITTEN)
        end = _LENGTH.size + _LENGTH.unpack(content[: _LENGTH.size])[0]
        odd = np.frombuffer(unpacked(content[_LENGTH.size : end], size, where), np.uint8)
        return odd.reshape(count, *self.shape), content[end:]

    def _by_scheme(self, content: memoryview, count: int, where: str) -> Tensor:
        try:
            found = self.scheme.decode(bytes(content), count)
        except _LOST as error:
            if isinstance(error, ConfigError):
                raise
            got = f"bytes that do not decode ({error})"
            raise CodecError(where, got, OF_FILE) from None
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
