"""Zarr, versions 2 and 3: arrays in chunks, each a file of a folder or a member of a zip file.

A chunk that is not there reads as the fill value, be it that it was never written or that it was lost; a note counts
those. Samples are a store of one array, with the version, type, attributes, names of axes and fill value of that which
was read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.formats.format import Files, Format
from inkwash.data.formats.scaled import in_type, packing_note
from inkwash.data.named import read_named
from inkwash.data.raw import DAMAGE, Raw, readable, short
from inkwash.data.spec import DataSpec
from inkwash.data.stored import beside, stored

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_DAMAGE = (*DAMAGE, KeyError, TypeError)


def recognises(path: Path) -> bool:
    """Whether a folder is a store of Zarr, or a zip file is called like one."""
    name = path.name.lower()
    return name.endswith((".zarr", ".zarr.zip")) or (path.is_dir() and any((path / mark).exists() for mark in _MARKS))


def read(path: Path, config: DataConfig) -> Raw:
    """An array of a store of Zarr.

    Raises:
        DataError: an unreadable store, no array of the name that an option has, or one that is refused.
    """
    import zarr

    with readable(str(path), "a complete store of Zarr", _DAMAGE, what="an unreadable store"):
        found = zarr.open(zarr.storage.ZipStore(path) if path.is_file() else path, mode="r")
        if isinstance(found, zarr.Array):
            if config.key is not None:
                raise DataError("data.key", repr(config.key), f"no name: {path} is an array")
            arrays = {"array": found}
        else:
            arrays = {name: each for name, each in found.members(max_depth=None) if isinstance(each, zarr.Array)}
    names = [name for name, each in arrays.items() if each.ndim]
    one = len(arrays) == 1 and "array" in arrays
    return read_named(
        str(path),
        names,
        config,
        lambda key: _array(str(path) if one else f"{path}:{key}", arrays[key]),
        lambda key: beside(f"{path}:{key}", arrays[key].nbytes, lambda: arrays[key][:]),
    )


def _array(where: str, array: Any) -> Raw:
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf":
        raise DataError(where, f"values of type {array.dtype}", "real numbers")
    chunks, there = array.nchunks, array.nchunks_initialized
    fill = f"{chunks - there} of {chunks} chunks of {where} are not there: they read as {array.fill_value}"
    kept = {
        "key": array.path,
        "dtype": dtype.str,
        "version": array.metadata.zarr_format,
        "chunks": array.chunks,
        "fill": array.fill_value,
        "axes": getattr(array.metadata, "dimension_names", None),
        "attributes": json.dumps(dict(array.attrs)),
    }

    def rows(first: int, end: int) -> Array:
        try:
            return np.asarray(array[first:end])
        except _DAMAGE as error:
            raise DataError(f"{where}[{first}:{end}]", f"unreadable ({short(error)})", "a complete store") from None

    notes = (*((fill,) if there < chunks else ()), *packing_note(where, array.attrs))
    return Raw(stored(where, array.shape, dtype, rows, array.chunks[0]), notes=notes, kept=kept)


def write(name: str, spec: DataSpec, data: Array) -> Files:
    """Samples as the files of a store of one array."""
    import zarr

    kept = dict(spec.origin or {})
    values = in_type(data, np.dtype(kept.get("dtype", data.dtype)))
    files: dict[str, Any] = {}
    chunks = tuple(min(pair) for pair in zip(kept.get("chunks") or data.shape, data.shape, strict=True))
    made = zarr.create_array(
        store=zarr.storage.MemoryStore(files),
        name=kept.get("key") or None,
        shape=data.shape,
        dtype=values.dtype,
        chunks=chunks,
        fill_value=kept.get("fill", 0),
        dimension_names=kept.get("axes"),
        attributes=json.loads(kept.get("attributes", "{}")),
        zarr_format=kept.get("version", 3),
    )
    made[...] = values
    for each in sorted(files, key=lambda each: each.endswith(_MARKS)):  # what says that there is an array comes last
        yield f"{name}/{each}", files[each].to_bytes()


FORMAT = Format(
    name="zarr",
    words="a store of Zarr",
    recognises=recognises,
    read=read,
    options=("key", "lengths"),
    packages=("zarr",),
    extra="zarr",
    suffix=".zarr",
    write=write,
)
