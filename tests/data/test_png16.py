"""16-bit PNG, checked by Pillow: it filters 16-bit grey with alpha as 8-bit colour with alpha."""

import io
import struct
import zlib

import numpy as np
import pytest
from bugs import bug
from datafiles import chunk
from PIL import Image

from inkwash.data import png16 as deep
from inkwash.data.png16 import decode_png, encode_png


def smooth(*shape):
    """Pixels that differ little from their neighbours, so that every filter is of use."""
    random = np.random.default_rng(5)
    return (np.cumsum(np.cumsum(random.integers(-300, 310, shape), 0), 1) % 65536).astype(np.uint16)


def with_depth(content, depth, colour):
    """A PNG that says of its bytes that they are of another depth and colour type."""
    header = content[16:24] + bytes([depth, colour]) + content[26:29]
    return content[:8] + chunk(b"IHDR", header) + content[33:]


def as_pillow_writes(pixels):
    """16-bit grey with alpha `(H, W, 2)`, its rows filtered by Pillow, and the filters."""
    buffer = io.BytesIO()
    as_bytes = np.ascontiguousarray(pixels, ">u2").view(np.uint8)
    Image.fromarray(as_bytes, "RGBA").save(buffer, "PNG")
    content = buffer.getvalue()
    at, packed = 33, b""
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        packed += content[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    kinds = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(len(pixels), -1)[:, 0]
    return with_depth(content, 16, 4), set(kinds.tolist())


@bug("predictor that takes the neighbour before", deep, "_paeth", lambda left, above, corner: left + above - corner)
def test_filters_are_undone():
    used = set()
    for pixels in (smooth(23, 17, 2), smooth(9, 40, 2) * 7, np.sort(smooth(40, 9, 2), 0)):
        content, kinds = as_pillow_writes(pixels)
        used |= kinds
        assert np.array_equal(decode_png(content), pixels)
    assert used >= {1, 2, 4}


@bug(
    "bytes of 16 bits in the wrong order",
    np,
    "ascontiguousarray",
    lambda array, dtype=None: np.array(array, "<u2" if dtype == ">u2" else dtype),
)
def test_pillow_reads_what_is_written():
    pixels = smooth(11, 6, 2)
    with Image.open(io.BytesIO(with_depth(encode_png(pixels), 8, 6))) as picture:
        assert np.array_equal(np.asarray(picture).reshape(11, -1).view(">u2"), pixels.reshape(11, -1))
    with Image.open(io.BytesIO(encode_png(pixels[..., 0]))) as picture:
        assert np.array_equal(np.asarray(picture), pixels[..., 0])


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (4, 9, 2), (6, 1, 3), (3, 7, 4)])
def test_pixels_come_back(shape):
    assert np.array_equal(decode_png(encode_png(smooth(*shape))), smooth(*shape))


def test_interlaced_pictures_are_refused():
    content = encode_png(smooth(4, 4))
    with pytest.raises(ValueError, match="interlaced"):
        decode_png(content[:28] + b"\1" + content[29:])
