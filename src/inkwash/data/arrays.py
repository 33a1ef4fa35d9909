"""Arrays from `.npy`, `.npz` and IDX files; nothing that a header claims is trusted.

IDX is the format of MNIST (LeCun, Cortes & Burges 1998): two zero bytes, a type, the number of axes, their lengths as
big-endian 32-bit integers, and the values.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.named import name_of, names_beside, read_named
from inkwash.data.raw import DAMAGE, Raw, exists, filled, readable, require_distinct, require_room, short

_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_array_file(path: Path, config: DataConfig) -> Raw:
    """An `.npy` or IDX file; labels, a condition and lengths are other such files in its folder.

    Raises:
        DataError: an unreadable file, or no file of the name that an option has.
    """
    labels = {name: _read_beside(path, option, name) for option, name in names_beside(config).items()}
    return Raw(_read_file(path), labels=labels)


def _read_beside(path: Path, option: str, name: str) -> Array:
    """The labels, the condition or the lengths that lie in a file beside the examples."""
    beside = path.parent / name
    if not exists(beside) or not (beside.suffix.lower() == ".npy" or is_idx(beside)):
        raise DataError(f"data.{option}", repr(name), f"the name of an .npy or IDX file beside {path.name}")
    return np.array(_read_file(beside))


def _read_file(path: Path) -> Array:
    return read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path)


def read_npy(path: Path) -> Array:
    """An `.npy` file, memory-mapped; arrays of objects are refused, and never unpickled.

    Raises:
        DataError: no file, or an unreadable one.
    """
    if not exists(path):
        raise DataError(str(path), "no such file", "an .npy file of numbers")
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith((np.lib.format.MAGIC_PREFIX, b"PK")):
                raise ValueError("its first bytes are not those of .npy")
        with np.errstate(over="raise"):
            data = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(data, np.ndarray):
            data.close()
            raise ValueError("it is an archive")
        if isinstance(data, np.memmap) and (more := path.stat().st_size - data.offset - data.nbytes):
            raise ValueError(f"{more} bytes follow its array")
    except DAMAGE as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete .npy file of numbers") from None
    return data


def read_npz(path: Path, config: DataConfig) -> Raw:
    """An array of an `.npz` file, with the arrays that options name as labels, condition or lengths.

    Raises:
        DataError: an unreadable file, or one without such an array.
    """
    with readable(str(path), "a complete .npz file of numbers"), zipfile.ZipFile(path) as archive:
        require_distinct(str(path), archive.namelist())
        return read_named(
            str(path), _names(archive), config, lambda name: Raw(_read_member(path, archive, f"{name}.npy"))
        )


def key_of(path: Path, config: DataConfig) -> str:
    """The name of the array of an `.npz` file that holds the examples; see `read_npz`, which raises the same."""
    with readable(str(path), "a complete .npz file of numbers"), zipfile.ZipFile(path) as archive:
        return name_of(str(path), _names(archive), "key", config.key)


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    info = archive.getinfo(name)
    require_room(f"{path}/{name}", info.file_size, info.compress_size)
    with archive.open(name) as member:
        return array_in(member, info.file_size)


def array_in(member: IO[bytes], size: int) -> Array:
    """An array from a member of an archive, after checking that its header does not claim more than it holds.

    Args:
        member: the bytes of an .npy file.
        size: how many there are.
    """
    version = np.lib.format.read_magic(member)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(member)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError("it holds Python objects" if dtype.hasobject else "it holds no numbers")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"its header claims {shape}, more than the file holds")
    flat = filled(member, math.prod(shape) * dtype.itemsize).view(dtype)
    if member.read(1):
        raise ValueError("bytes follow its array")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def is_idx(path: Path) -> bool:
    """Whether a file has a name like those of IDX files: `train-images-idx3-ubyte.gz`, `points.idx`."""
    return re.search(r"[.-]idx(\d-\w+)?(\.gz)?$", path.name) is not None


def read_idx(path: Path) -> Array:
    """An IDX file, memory-mapped; a compressed one is read into memory.

    Raises:
        DataError: it is no IDX file, or its length is not what its header claims.
    """
    packed = path.suffix == ".gz"
    with readable(str(path), "a complete IDX file"), gzip.open(path) if packed else path.open("rb") as file:
        shape, dtype = _idx_header(file)
        size, start = math.prod(shape) * dtype.itemsize, 4 + 4 * len(shape)
        if not packed:
            _require_size(shape, size, path.stat().st_size - start)
            return np.memmap(path, dtype, "r", start, shape)
        require_room(str(path), size, path.stat().st_size)
        content = filled(file, size)
        _require_size(shape, size, size + len(file.read(1)))
        return content.view(dtype).reshape(shape)


def _idx_header(file: Any) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    zero, kind, axes = struct.unpack(">HBB", file.read(4))
    if zero or kind not in _IDX or not axes:
        raise ValueError("its first bytes are not those of IDX")
    return struct.unpack(f">{axes}I", file.read(4 * axes)), np.dtype(_IDX[kind])


def _require_size(shape: tuple[int, ...], size: int, found: int) -> None:
    if found != size:
        raise ValueError(f"its header claims {shape}, {size} bytes, and {'more' if found > size else 'fewer'} follow")
