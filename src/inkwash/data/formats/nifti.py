"""NIfTI: volumes of medical imaging, with the affine that says where their voxels lie.

The axes of a file are i, j, k (columns, rows, slices) and t; the affine takes i, j, k to x, y, z, which grow to the
right, to the front and upwards (https://nifti.nimh.nih.gov/nifti-1). Here k, j, i are depth, height and width, which is
the order in which a file stores them: a file that is not compressed and not scaled is mapped into memory.

A file may store whole numbers with a slope and an intercept. What they mean is read: whole numbers if slope and
intercept are whole, and otherwise real ones.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.decode import Decoded
from inkwash.data.formats.folders import damage_named, files_of, holds
from inkwash.data.formats.format import PICTURES, Format
from inkwash.data.formats.scaled import in_type, scaled
from inkwash.data.images import stack
from inkwash.data.raw import Raw, require_room
from inkwash.data.spec import DataSpec

_WORDS = "NIfTI file"


@dataclass(frozen=True)
class Space:
    """Where the voxels of a file lie.

    Args:
        affine: float64 `(4, 4)`, from i, j, k to x, y, z.
        codes: what kind of space the two affines of a file, sform and qform, lead to; 0: none.
        units: of length and of time.
    """

    affine: Array
    codes: tuple[int, int] = (0, 0)
    units: tuple[str, str] = ("mm", "sec")

    @property
    def orientation(self) -> str:
        """To which side i, j and k grow, such as RAS: right, anterior, superior."""
        from nibabel.orientations import aff2axcodes

        return "".join(letter or "?" for letter in aff2axcodes(self.affine))

    def describe(self) -> str:
        """Sizes and directions of voxels."""
        sides = " x ".join(f"{side:.6g}" for side in np.linalg.norm(self.affine[:3, :3], axis=0))
        return f"voxels of {sides} {self.units[0]} along i, j, k, which grow to {self.orientation}"

    @property
    def kept(self) -> dict[str, Any]:
        """What a run keeps of it."""
        about = {"affine": self.affine, "codes": self.codes, "units": self.units}
        return about | {"orientation": self.orientation}


def read_nifti(path: Path, config: DataConfig) -> Raw:
    """A folder of volumes or of series of volumes, or one series of volumes.

    With `data.pages` examples, each slice along k is an example.

    Raises:
        DataError: a file that cannot be read, volumes of several shapes or orientations, or one volume.
    """
    raw = _read(path, config)
    if len(raw.data) < 2 and not path.is_dir():
        need = "a folder of volumes, a series of them, or --data.pages examples, if each slice is an example"
        raise DataError(str(path), "one volume", need)
    return raw


def _read(path: Path, config: DataConfig) -> Raw:
    """As `read_nifti`, also of one volume."""
    files, spaces = files_of(path, FORMAT.recognises), list[Space]()
    if path.is_dir():
        found = {str(each): partial(_decode, each, config, spaces) for each in files.paths}
        raw, places = stack(str(path), found, config, sum(_count(each, config) for each in files.paths))
        raw = replace(raw, labels={"folder": files.folders[places]}, notes=(*raw.notes, *files.notes))
    else:
        raw = Raw(_decode(path, config, spaces).values)
    others = sum(not np.allclose(each.affine, spaces[0].affine) for each in spaces)
    note = f"{others} of {len(spaces)} files have another affine than {files.paths[0].name}, whose samples have"
    about = f"k, j, i are depth, height and width; {spaces[0].describe()}"
    notes = (*raw.notes, about, *((note,) if others else ()))
    layout: Layout = "NDHW" if raw.data.ndim == 4 else "NHW"
    return replace(raw, layout=layout, notes=notes, kept={**spaces[0].kept, "dtype": raw.data.dtype.str})


def _count(path: Path, config: DataConfig) -> int:
    """How many examples a file has; 0 if it is damaged, which is said later."""
    import nibabel

    try:
        return math.prod(nibabel.load(path).shape[2 if config.pages == "examples" else 3 :])
    except Exception:  # what damaged bytes make it raise has no common base
        return 0


def _decode(path: Path, config: DataConfig, spaces: list[Space]) -> Decoded:
    """The volumes `(n, k, j, i)` of a file, or its slices `(n, j, i)`.

    Its space, which must fit the others, is added to them.
    """
    import nibabel

    with damage_named(path, _WORDS):
        image = nibabel.load(path, mmap="r")
        header, shape = image.header, tuple(image.shape)
        space = Space(image.affine, (int(header["sform_code"]), int(header["qform_code"])), header.get_xyzt_units())
        _require_plain(path, shape, header.get_data_dtype())
        _require_size(path, image.dataobj)
        values = _values(image.dataobj).reshape(shape[:4], order="A").T
    if spaces and space.orientation != spaces[0].orientation:
        need = f"{spaces[0].orientation}, as in the first file; nibabel.as_closest_canonical turns volumes"
        raise DataError(str(path), f"axes that grow to {space.orientation}", need)
    spaces.append(space)
    values = values if len(shape) > 3 else values[None]
    if config.pages == "examples":
        values = values.reshape(-1, *values.shape[-2:])
    return Decoded(values, None, pages=len(shape) > 2)


def _require_plain(path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    if len(shape) < 2 or math.prod(shape[4:]) != 1:
        raise DataError(str(path), f"axes of sizes {shape}", "volumes or slices, with numbers as voxels")
    if dtype.names is not None or dtype.kind not in "iuf":
        raise DataError(str(path), f"voxels of type {dtype}", "whole or real numbers")


def _require_size(path: Path, proxy: Any) -> None:
    """Refuse a file that is shorter than its header says, or has too many values to be read into memory."""
    size, there = math.prod(proxy.shape) * proxy.dtype.itemsize, path.stat().st_size
    if path.suffix == ".gz" or not _is_plain(proxy):
        require_room(str(path), size, there if path.suffix == ".gz" else None)
    if path.suffix != ".gz" and there < proxy.offset + size:
        raise ValueError(f"{there} bytes of {proxy.offset + size}")


def _is_plain(proxy: Any) -> bool:
    return (float(proxy.slope), float(proxy.inter)) == (1, 0)


def _values(proxy: Any) -> Array:
    """What the numbers of a file mean."""
    if _is_plain(proxy):
        return np.asanyarray(proxy)
    return scaled(np.asarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter))


def write_nifti(name: str, spec: DataSpec, data: Array) -> Iterator[tuple[str, bytes]]:
    """A `.nii.gz` file for each sample, in the space of the data and of the type of its values, without a slope."""
    about: Any = spec.origin
    for i, values in enumerate(in_type(data, np.dtype(about["dtype"] or data.dtype))):
        yield f"{name}/{i:06d}.nii.gz", _dumped(values, Space(about["affine"], about["codes"], about["units"]))


def _dumped(values: Array, space: Space) -> bytes:
    """A volume `(k, j, i)` or slice `(j, i)` as a file."""
    import nibabel

    voxels = values.T if values.ndim == 3 else values.T[:, :, None]
    image = nibabel.Nifti1Image(voxels, space.affine, dtype=values.dtype)
    image.set_sform(space.affine, space.codes[0])
    image.set_qform(space.affine, space.codes[1])
    image.header.set_xyzt_units(*space.units)
    return gzip.compress(image.to_bytes(), mtime=0)


FORMAT = Format(
    name="nifti",
    words="volumes in .nii files",
    recognises=holds(".nii", ".nii.gz"),
    read=read_nifti,
    options=PICTURES,
    packages=("nibabel",),
    extra="medical",
    write=write_nifti,
    read_one=_read,
    same=("orientation",),
)
