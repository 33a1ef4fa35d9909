"""HDF5 (The HDF Group): arrays in groups, with attributes. What is neither chunked nor packed is mapped into memory.

A chunk that was never written reads as the fill value; a note counts those. Samples are written to a file of one data
set, with the path, type, attributes, labels of axes and compression of that which was read.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import listed
from inkwash.data.formats.format import Format, ends_in, in_one
from inkwash.data.formats.scaled import in_type, packing_note
from inkwash.data.named import names_beside, read_named
from inkwash.data.raw import DAMAGE, Raw, short
from inkwash.data.spec import DataSpec
from inkwash.data.stored import beside, stored

_CACHE = 1 << 26
_OF_SCALES = {
    "CLASS",
    "NAME",
    "REFERENCE_LIST",
    "DIMENSION_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_nc3_strict",
}
"""Attributes by which HDF5 and netCDF tie data sets to one another."""


def read(path: Path, config: DataConfig) -> Raw:
    """A data set of an HDF5 file.

    Raises:
        DataError: an unreadable file, no data set of the name that an option has, or one that is refused.
    """
    file = opened(path)
    names = names_of(path, file)
    for key in (config.key, *names_beside(config).values()):
        if key is not None and (inner := [name for name in names if name.startswith(f"{key.strip('/')}/")]):
            raise DataError(f"{path}:{key}", "a group", f"one of its data sets: {listed(inner)}")
    return read_named(
        str(path),
        names,
        config,
        lambda key: _dataset(path, file[key]),
        lambda key: beside(f"{path}:{key}", file[key].nbytes, lambda: file[key][()]),
    )


def opened(path: Path) -> Any:
    """An HDF5 file, open to be read; it is closed when nothing of it is used any more.

    Raises:
        DataError: it cannot be read.
    """
    import h5py

    try:
        return h5py.File(path, "r", rdcc_nbytes=_CACHE)
    except (OSError, RuntimeError) as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete HDF5 file") from None


def names_of(path: Path, file: Any) -> list[str]:
    """The paths of all data sets that are arrays."""
    import h5py

    found: list[str] = []
    try:
        file.visititems(
            lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) and each.shape else None
        )
    except DAMAGE as error:
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete HDF5 file") from None
    return found


def _dataset(path: Path, dataset: Any) -> Raw:
    where = f"{path}:{dataset.name.strip('/')}"
    require_plain(path, where, dataset)
    enum = (dataset.dtype.metadata or {}).get("enum")
    kept = {
        "key": dataset.name,
        "dtype": dataset.dtype.str,
        "enum": enum,
        "fill": dataset.fillvalue,
        "compression": {name: getattr(dataset, name) for name in ("compression", "compression_opts", "shuffle")},
        "axes": [dim.label for dim in dataset.dims],
        "attributes": attributes(dataset),
        "file": attributes(dataset.file),
    }
    return Raw(rows(path, where, dataset), notes=tuple(_notes(where, dataset)), kept=kept)


def require_plain(path: Path, where: str, dataset: Any) -> None:
    """Refuse data sets that are no arrays of numbers in this file.

    Raises:
        DataError: text, objects, records or complex numbers, or values that lie in other files that are missing.
    """
    if dataset.dtype.kind not in "biuf":
        words = {"O": "text or lists", "S": "text", "V": "records", "c": "complex numbers"}
        raise DataError(where, words.get(dataset.dtype.kind, f"values of type {dataset.dtype}"), "real numbers")
    if dataset.external:
        raise DataError(where, f"values in another file, {dataset.external[0][0]}", "values in the file itself")
    sources = {each.file_name for each in dataset.virtual_sources()} - {"."} if dataset.is_virtual else set()
    gone = sorted(name for name in sources if not (path.parent / name).exists())
    if gone:
        raise DataError(where, f"a view of {listed(gone)}, which is not there", "all files of the view")


def rows(path: Path, where: str, dataset: Any) -> Array:
    """The array of a data set: mapped into memory, or read when needed."""
    offset = None if dataset.is_virtual or dataset.chunks or not _is_plain(dataset) else dataset.id.get_offset()
    if offset is not None and path.stat().st_size >= offset + dataset.nbytes > offset:
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    return stored(where, dataset.shape, dataset.dtype, lambda first, end: dataset[first:end])


def _is_plain(dataset: Any) -> bool:
    """Whether the numbers of a file are those of NumPy, bit for bit. HDF5 knows others, such as real numbers of 16 bits
    that h5py reads as float32."""
    from h5py import h5t

    return bool(h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()))


def attributes(thing: Any) -> dict[str, Any]:
    """The attributes of a file, group or data set."""
    return {name: value for name, value in thing.attrs.items() if name not in _OF_SCALES}


def _notes(where: str, dataset: Any) -> list[str]:
    notes = [*packing_note(where, dataset.attrs)]
    if not (dataset.chunks or dataset.is_virtual or dataset.id.get_storage_size()):
        notes.append(f"{where} was never written: it reads as {dataset.fillvalue}")
    if dataset.chunks and not dataset.is_virtual:
        chunks = int(np.prod([-(-side // part) for side, part in zip(dataset.shape, dataset.chunks, strict=True)]))
        if missing := chunks - dataset.id.get_num_chunks():
            notes.append(
                f"{missing} of {chunks} chunks of {where} were never written: they read as {dataset.fillvalue}"
            )
    if dataset.scaleoffset is not None and dataset.dtype.kind == "f":
        notes.append(f"{where} is packed by scale and offset, which made the smallest value of NaN")
    return notes


def dump(spec: DataSpec, data: Array) -> bytes:
    """Samples as a file of one data set."""
    import h5py

    kept, content = dict(spec.origin or {}), io.BytesIO()
    dtype = np.dtype(kept.get("dtype", data.dtype))
    values = in_type(data, dtype)
    packing = {name: value for name, value in (kept.get("compression") or {}).items() if value is not None}
    with h5py.File(content, "w") as file:
        is_enum = "enum" in kept and values.dtype == dtype
        kind = h5py.enum_dtype(kept["enum"], basetype=dtype) if is_enum else values.dtype
        made = file.create_dataset(
            kept.get("key", "data"), data=values, dtype=kind, fillvalue=kept.get("fill"), **packing
        )
        for i, label in enumerate(kept.get("axes", ())):
            made.dims[i].label = label
        made.attrs.update(kept.get("attributes", {}))
        file.attrs.update(kept.get("file", {}))
    return content.getvalue()


FORMAT = Format(
    name="hdf5",
    words="an HDF5 file",
    recognises=ends_in(".h5", ".hdf5", ".he5", ".hdf"),
    read=read,
    options=("key", "lengths"),
    packages=("h5py",),
    extra="hdf5",
    suffix=".h5",
    write=in_one(dump),
)
