"""Read arrays from `.npy`, `.npz` and IDX files, trusting nothing a header says.

IDX is the format of MNIST (LeCun, Cortes & Burges 1998): two zero bytes, a type, the number of axes, their lengths as
big-endian 32-bit integers, and the values.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.raw import require_room, short

_IDX = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FIRST_CHOICES = ("x_train", "x", "X", "images", "data")


def read_npy(path: Path) -> Array:
    """An `.npy` file, memory-mapped; object arrays are refused, never unpickled."""
    try:
        with np.errstate(over="raise"):
            data = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(data, np.ndarray):
            data.close()
            raise ValueError("it is an archive")
    except (ValueError, ArithmeticError, EOFError, OSError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a whole .npy file of numbers") from None
    return data


def read_npz(path: Path, key: str | None, beside: Mapping[str, str]) -> tuple[list[Array], tuple[str, ...]]:
    """One array of an `.npz` file, after it those that options name beside it, and a note of which; `key` names the
    first, otherwise the only one or a customary name."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            chosen = [_choose(path, names, "key", key)]
            chosen += [_choose(path, names, option, name) for option, name in beside.items()]
            arrays = [_read_member(path, archive, f"{name}.npy") for name in chosen]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a whole .npz file of numbers") from None
    others = [name for name in names if name not in chosen]
    return arrays, (f"array {chosen[0]!r} of {path.name}; not used: {', '.join(others)}",) if others else ()


def _choose(path: Path, names: list[str], option: str, key: str | None) -> str:
    wanted = [key] if key is not None else [*_FIRST_CHOICES, *(names if len(names) == 1 else [])]
    chosen = next((name for name in wanted if name in names), None)
    if chosen is None:
        got = f"arrays {', '.join(names) or '(none)'}" if key is None else repr(key)
        raise DataError(
            f"{path}: data.{option}", got, "the name of one of its arrays: " + (", ".join(names) or "there is none")
        )
    return chosen


def _read_member(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    require_room(f"{path}/{name}", archive.getinfo(name).file_size)
    with archive.open(name) as member:
        return _read_array(member, archive.getinfo(name).file_size)


def _read_array(member: IO[bytes], size: int) -> Array:
    """Read an array from a zip member, after checking that its header does not promise more than the member holds."""
    version = np.lib.format.read_magic(member)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(member)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"its header claims {shape}, more than the file holds")
    flat = np.frombuffer(member.read(), dtype=dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def is_idx(path: Path) -> bool:
    """Whether a file is named as IDX files are: `train-images-idx3-ubyte.gz`, `points.idx`."""
    return re.search(r"[.-]idx(\d-\w+)?(\.gz)?$", path.name) is not None


def read_idx(path: Path) -> Array:
    """An IDX file, memory-mapped; a compressed one is read whole.

    Raises:
        DataError: no IDX file, or one of another length than its header says.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            shape, dtype = _idx_header(file)
            size, start = math.prod(shape) * dtype.itemsize, 4 + 4 * len(shape)
            if not packed:
                _require_size(shape, size, path.stat().st_size - start)
                return np.memmap(path, dtype, "r", start, shape)
            require_room(str(path), size)
            content = file.read(size + 1)
            _require_size(shape, size, len(content))
            return np.frombuffer(content, dtype).reshape(shape)
    except (ValueError, ArithmeticError, struct.error, EOFError, OSError, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a whole IDX file") from None


def _idx_header(file: Any) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    zero, kind, axes = struct.unpack(">HBB", file.read(4))
    if zero or kind not in _IDX or not axes:
        raise ValueError("its first bytes are not those of IDX")
    return struct.unpack(f">{axes}I", file.read(4 * axes)), np.dtype(_IDX[kind])


def _require_size(shape: tuple[int, ...], size: int, found: int) -> None:
    if found != size:
        raise ValueError(f"its header claims {shape}, {size} bytes, and {'more' if found > size else 'fewer'} follow")
