"""PNG with 16 bits per channel, which Pillow cuts to 8 where there is more than one channel.

The format is that of the PNG specification (W3C, third edition, 2025): §9 filters, §11.2 chunks. This code trusts that
a file is complete, because Pillow has read it and checked its sums.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from inkwash.core.shapes import Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_CHANNELS = {colour: channels for channels, colour in _COLOUR_TYPE.items()}


def decode_png(content: bytes) -> Array:
    """Pixels `(H, W)` or `(H, W, C)`, uint16, of a PNG with 16 bits per channel.

    Raises:
        ValueError: the picture is interlaced, or it has less data than its size needs.
        struct.error: a chunk is cut off.
    """
    chunks = list(_chunks(content))
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if interlaced:
        raise ValueError("it is interlaced, with 16 bits per channel")
    step = 2 * _CHANNELS[colour]
    size = height * (1 + width * step)
    flat = zlib.decompressobj().decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"), size)
    rows = np.frombuffer(flat, np.uint8).reshape(height, 1 + width * step)
    plain = _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, step).astype(np.int16))
    pixels = plain.astype(np.uint8).view(">u2").astype(np.uint16)
    return pixels[..., 0] if step == 2 else pixels


def encode_png(pixels: Array) -> bytes:
    """A PNG of pixels `(H, W)` or `(H, W, C)`, uint16: grey, grey and alpha, colour, or colour and alpha."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0)
    body = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    parts = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place, kind = len(_SIGNATURE), b""
    while place < len(content) and kind != b"IEND":  # what follows is no part of the picture
        size, kind = struct.unpack_from(">I4s", content, place)
        yield kind, content[place + 8 : place + 8 + size]
        place += size + 12


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _unfiltered(kinds: Array, filtered: Array) -> Array:
    """Bytes `(H, W, B)` from their differences to what the filter of each row predicts (§9.2).

    A pixel depends on the pixels left, above, and above left of it, so that a diagonal can be computed at once.
    """
    height, width, _ = filtered.shape
    plain = np.pad(np.zeros_like(filtered), ((1, 0), (1, 0), (0, 0)))
    for diagonal in range(height + width - 1):
        row = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        column = diagonal - row
        left, above, corner = plain[row + 1, column], plain[row, column + 1], plain[row, column]
        predicted = (np.zeros_like(left), left, above, (left + above) // 2, _paeth(left, above, corner))
        plain[row + 1, column + 1] = (filtered[row, column] + np.choose(kinds[row, None], predicted)) % 256
    return plain[1:, 1:]


def _paeth(left: Array, above: Array, corner: Array) -> Array:
    """Whichever of three neighbours is nearest to left + above - corner (§9.4)."""
    middle = left + above - corner
    to_left, to_above, to_corner = (abs(middle - each) for each in (left, above, corner))
    nearest_two = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest_two)
