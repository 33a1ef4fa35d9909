"""MATLAB's .mat files of versions 4 to 7, which SciPy reads, and of version 7.3, which are HDF5 with the axes reversed.

Arrays have the axes and the type that they have in MATLAB: the examples lie along the first axis. Samples are written
in the version that was read.
"""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.formats import hdf5
from inkwash.data.formats.format import Format, ends_in, in_one
from inkwash.data.formats.scaled import in_type
from inkwash.data.named import read_named
from inkwash.data.raw import DAMAGE, Raw, require_extra, require_room, short
from inkwash.data.spec import DataSpec
from inkwash.data.stored import beside, stored

_DAMAGE = (*DAMAGE, KeyError, TypeError, IndexError, NotImplementedError)
_CLASSES = {
    "double": "float64",
    "single": "float32",
    "logical": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""MATLAB's types of numbers, and those of NumPy. A matrix may be stored as a smaller type, if its values allow it."""
_OF_NUMPY = {dtype: name for name, dtype in _CLASSES.items()}
_HEAD = 512


def read(path: Path, config: DataConfig) -> Raw:
    """A matrix of a .mat file.

    Raises:
        DataError: an unreadable file, no matrix of the name that an option has, or one that is refused.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD + 8)
    if head[_HEAD:] == b"\x89HDF\r\n\x1a\n" or head.startswith(b"\x89HDF"):
        require_extra("h5py", "hdf5", str(path))
        return _read_hdf5(path, config)
    from scipy.io import matlab

    version = "4" if 0 in head[:4] else "5"  # those of version 5 begin with text
    try:
        known = {name: (shape, _CLASSES[kind]) for name, shape, kind in matlab.whosmat(path) if kind in _CLASSES}
    except (*_DAMAGE, matlab.MatReadError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete .mat file") from None
    return read_named(
        str(path),
        list(known),
        config,
        lambda key: _matrix(path, key, *known[key], version),
        lambda key: beside(f"{path}:{key}", 0, lambda: _matrix(path, key, *known[key], version).data),
    )


def _matrix(path: Path, key: str, shape: tuple[int, ...], dtype: str, version: str) -> Raw:
    from scipy.io import matlab

    where = f"{path}:{key}"
    require_room(where, math.prod(shape) * np.dtype(dtype).itemsize, path.stat().st_size)
    try:
        found = matlab.loadmat(path, variable_names=[key])[key]
    except (*_DAMAGE, matlab.MatReadError) as error:
        raise DataError(where, f"unreadable ({short(error)})", "a complete .mat file") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        got = "complex numbers" if isinstance(found, np.ndarray) else "a sparse matrix"
        raise DataError(where, got, "a full matrix of real numbers")
    return Raw(np.ascontiguousarray(found, dtype), kept={"key": key, "version": version, "dtype": dtype})


def _read_hdf5(path: Path, config: DataConfig) -> Raw:
    file = hdf5.opened(path)
    names = [name for name in hdf5.names_of(path, file) if _class_of(file[name]) in _CLASSES and name[0] != "#"]
    return read_named(
        str(path),
        names,
        config,
        lambda key: _transposed(path, key, file[key]),
        lambda key: beside(f"{path}:{key}", file[key].nbytes, lambda: _transposed(path, key, file[key]).data),
    )


def _class_of(dataset: Any) -> str:
    kind = dataset.attrs.get("MATLAB_class", b"")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _transposed(path: Path, key: str, dataset: Any) -> Raw:
    where = f"{path}:{key}"
    if dataset.attrs.get("MATLAB_empty", 0):
        raise DataError(where, "an empty matrix", "one with examples")
    hdf5.require_plain(path, where, dataset)
    dtype = np.dtype(bool) if _class_of(dataset) == "logical" else dataset.dtype

    def rows(first: int, end: int) -> Array:
        return dataset[..., first:end].T.astype(dtype)

    return Raw(stored(where, dataset.shape[::-1], dtype, rows), kept={"key": key, "version": "7.3", "dtype": dtype.str})


def dump(spec: DataSpec, data: Array) -> bytes:
    """Samples as a .mat file of one matrix, in the version that was read."""
    from scipy.io import matlab

    kept, content = dict(spec.origin or {}), io.BytesIO()
    key, data = kept.get("key", "data"), in_type(data, np.dtype(kept.get("dtype", data.dtype)))
    if (version := kept.get("version", "5")) != "7.3":
        matrix = {key: data if data.ndim > 1 else data[:, None]}
        matlab.savemat(content, matrix, format=version, do_compression=version == "5")
        return content.getvalue()
    import h5py

    with h5py.File(content, "w", userblock_size=_HEAD) as file:
        plain = data.astype(np.uint8) if data.dtype == np.bool_ else data
        made = file.create_dataset(key, data=(plain if plain.ndim > 1 else plain[:, None]).T, compression="gzip")
        name = _OF_NUMPY[data.dtype.name]
        made.attrs["MATLAB_class"] = np.bytes_(name)
        if name == "logical":
            made.attrs["MATLAB_int_decode"] = np.int32(1)
    text = b"MATLAB 7.3 MAT-file, written by inkwash".ljust(116) + bytes(8)
    return (text + struct.pack("<HH", 0x0200, 0x4D49)).ljust(_HEAD, b"\0") + content.getvalue()[_HEAD:]


FORMAT = Format(
    name="matlab",
    words="a .mat file of MATLAB",
    recognises=ends_in(".mat"),
    read=read,
    options=("key", "lengths"),
    suffix=".mat",
    write=in_one(dump),
)
