"""A compressed file, byte by byte.

```
4 bytes    magic
1 byte     format, 1
4 bytes    length of the header, little-endian
           header, strict JSON
4 bytes    CRC-32 of all of the above
           parts, one after another, each followed by its checksum of 8 bytes
```

The checksum of a part is BLAKE2b keyed by everything above the parts, so that a part belongs to one header only. The
header says how long each part is; a file that is longer or shorter is damaged. Nothing is decoded before its checksum
was compared, and nothing that a header claims takes memory before it was compared with the file and the machine.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from inkwash.core import storage
from inkwash.core.errors import CheckpointError, CodecError, ConfigError
from inkwash.core.options import Range, from_json

H = TypeVar("H")

MAGIC = b"\x93INK"
FORMAT = 1
CHECKSUM = 8
"""Bytes of the checksum of a part."""
_HEAD = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")
WRITTEN = "the file as inkwash wrote it"


def checksum(content: bytes | memoryview, key: bytes = b"") -> bytes:
    """A checksum of 8 bytes, which depends on a key too."""
    return hashlib.blake2b(content, digest_size=CHECKSUM, key=key).digest()


def sealed(header: dict[str, Any], parts: Sequence[bytes]) -> bytes:
    """A file of a header, which is plain data, and parts. The header must say how long the parts are."""
    plain = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    above = _HEAD.pack(MAGIC, FORMAT, len(plain)) + plain
    above += _CRC.pack(zlib.crc32(above))
    key = _key(above)
    return b"".join([above, *(piece for part in parts for piece in (part, checksum(part, key)))])


def _key(above: bytes | memoryview) -> bytes:
    return hashlib.blake2b(above, digest_size=32).digest()


@dataclass(frozen=True)
class Opened:
    """A file whose header has been checked, and whose parts have not.

    Args:
        header: plain data.
        body: the parts with their checksums.
        key: what the checksums depend on.
        where: what the file is called in messages.
    """

    header: dict[str, Any]
    body: memoryview
    key: bytes
    where: str

    def parsed(self, kind: type[H]) -> H:
        """The header as a dataclass.

        Raises:
            CodecError: an entry is missing, unknown or bad.
        """
        try:
            return from_json(kind, self.header, "header")
        except ConfigError as error:
            raise CodecError(self.where, f"a header that does not fit ({error})", "one of this version") from None

    def parts(self, lengths: Sequence[int]) -> list[Callable[[], memoryview]]:
        """For each part a function that compares its checksum and returns it.

        Args:
            lengths: how many bytes each part has, without its checksum.

        Raises:
            CodecError: the lengths are not those of the file; or, when the part is read, it is damaged.
        """
        need = sum(lengths) + CHECKSUM * len(lengths)
        if need != len(self.body):
            raise CodecError(self.where, f"{len(self.body)} bytes of parts", f"{need}, as its header says")
        readers, start = [], 0
        for i, length in enumerate(lengths):
            readers.append(self._reader(i, start, start + length))
            start += length + CHECKSUM
        return readers

    def _reader(self, i: int, start: int, end: int) -> Callable[[], memoryview]:
        def read() -> memoryview:
            part = self.body[start:end]
            if checksum(part, self.key) != self.body[end : end + CHECKSUM]:
                raise CodecError(f"{self.where}, part {i}", "damaged bytes", WRITTEN)
            return part

        return read


def opened(data: bytes | memoryview, where: str) -> Opened:
    """A file whose header is whole.

    Args:
        data: the bytes of the file.
        where: what it is called in messages.

    Raises:
        CodecError: other bytes, or those of another version.
    """
    view = memoryview(data)
    start = view[: _HEAD.size]
    if len(start) < _HEAD.size or start[:4] != MAGIC:
        raise CodecError(where, "no compressed file", "a file that inkwash compress wrote")
    _, version, length = _HEAD.unpack(start)
    if version != FORMAT:
        raise CodecError(where, f"format {version}", f"format {FORMAT}, which this version of inkwash reads")
    end = _HEAD.size + length
    above, crc = view[:end], view[end : end + _CRC.size]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(above):
        raise CodecError(where, "a damaged header", WRITTEN)
    try:
        header = storage.parse_json(bytes(view[_HEAD.size : end]), where)
    except CheckpointError as error:
        raise CodecError(where, f"a damaged header ({error})", WRITTEN) from None
    if not isinstance(header, dict):
        raise CodecError(where, "a header that is no object", WRITTEN)
    return Opened(header, view[end + _CRC.size :], _key(view[: end + _CRC.size]), where)


@dataclass(frozen=True)
class _Listed:
    """The header of a bundle."""

    names: tuple[str, ...]
    lengths: tuple[Annotated[int, Range(0)], ...]


def bundled(files: Mapping[str, bytes]) -> bytes:
    """Several files as one."""
    return sealed({"names": [*files], "lengths": [*map(len, files.values())]}, [*files.values()])


def unbundled(content: bytes | memoryview, where: str) -> dict[str, bytes]:
    """The files that were `bundled`, by name.

    Raises:
        CodecError: other bytes.
    """
    bundle = opened(content, where)
    listed = bundle.parsed(_Listed)
    if len(listed.names) != len(listed.lengths):
        raise CodecError(where, f"{len(listed.names)} names", f"{len(listed.lengths)}, one for each part")
    return {name: bytes(read()) for name, read in zip(listed.names, bundle.parts(listed.lengths), strict=True)}


def packed(content: bytes) -> bytes:
    """Bytes, compressed by zlib."""
    return zlib.compress(content, 9)


def unpacked(content: bytes | memoryview, size: int, where: str) -> bytes:
    """The `size` bytes that were `packed`; never more are made.

    Raises:
        CodecError: they are not as many, or not packed.
    """
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(content, size + 1)
    except zlib.error as error:
        raise CodecError(where, f"bytes that do not unpack ({error})", WRITTEN) from None
    if len(found) != size or not machine.eof or machine.unused_data:
        raise CodecError(where, f"{len(found)} unpacked bytes or more", f"{size}")
    return found
