"""Files of data that tests write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def npy(folder, array, name="data.npy", **options):
    np.save(folder / name, array, **options)
    return str(folder / name)


def pictures(folder, modes=("L", "L", "L"), sizes=None):
    (folder / "pictures").mkdir()
    for i, mode in enumerate(modes):
        size = sizes[i] if sizes else (8, 8)
        Image.effect_noise(size, 50).convert(mode).save(folder / "pictures" / f"{i}.png")
    return folder / "pictures"


def png(*size):
    buffer = io.BytesIO()
    Image.effect_noise(size or (8, 8), 50).save(buffer, "PNG")
    return buffer.getvalue()


def table(folder, text):
    (folder / "data.csv").write_text(text)
    return str(folder / "data.csv")


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(shape, dtype="<f4"):
    """The header of an .npy file that claims to hold an array of this shape and type."""
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


def huge_png(side):
    """A small file that claims to hold a picture of so many pixels a side."""
    start = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return content + chunk(b"IEND", b"")
