"""Files of data that tests write."""

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


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
