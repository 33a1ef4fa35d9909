"""OME-TIFF: pictures and volumes of microscopes, with the sizes of their pixels and the names of their channels.

The values are read as those of any TIFF, see `inkwash.data.tiff`; here is what the OME-XML says beside them (Open
Microscopy Environment, schema 2016-06), which samples get too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError
from inkwash.data.formats.folders import damage_named, files_of, holds
from inkwash.data.formats.format import PICTURES, Format
from inkwash.data.formats.scaled import in_type
from inkwash.data.images import SUFFIXES, read_folder, read_paged
from inkwash.data.raw import Raw
from inkwash.data.spec import DataSpec, has_channels

_KEPT = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
_NAMES = (".ome.tif", ".ome.tiff")


def read_ome(path: Path, config: DataConfig) -> Raw:
    """A folder of OME-TIFF files, or one of several pages.

    Raises:
        DataError: as for pictures.
    """
    raw = (read_folder if path.is_dir() else read_paged)(path, config)
    files = files_of(path, holds(*_NAMES)).paths
    known = [each for each in (_about_readable(path, config) for path in files) if each is not None]
    first, others = known[0], sum(each != known[0] for each in known)
    sizes = [f"{side[-1]} {first[side]:.6g} {first.get(side + 'Unit', 'µm')}" for side in _KEPT[:3] if side in first]
    note = f"{others} of {len(files)} files say otherwise than {files[0].name}, which samples are like"
    notes = (*raw.notes, *([f"a pixel is {', '.join(sizes)}"] if sizes else ()), *([note] if others else ()))
    return replace(raw, notes=notes, kept={"about": first, "dtype": raw.data.dtype.str})


def _about_readable(path: Path, config: DataConfig) -> dict[str, Any] | None:
    """As `_about`; None of a damaged file that is left out."""
    try:
        return _about(path)
    except DamagedError:
        if not config.skip_damaged:
            raise
        return None


def _about(path: Path) -> dict[str, Any]:
    """Sizes, their units, the names of channels, and whether channels are colours."""
    import tifffile

    with damage_named(path, "OME-TIFF file"), tifffile.TiffFile(path) as file:
        pixels = _first(_first(tifffile.xml2dict(file.ome_metadata or "<OME/>")["OME"] or {}, "Image"), "Pixels")
        about: dict[str, Any] = {name: float(pixels[name]) for name in _KEPT if name in pixels}
        about |= {f"{name}Unit": str(pixels[f"{name}Unit"]) for name in about if f"{name}Unit" in pixels}
        channels = pixels.get("Channel", [])
        names = [str(each.get("Name", "")) for each in (channels if isinstance(channels, list | tuple) else [channels])]
        return about | {"names": names if any(names) else [], "colours": "S" in file.series[0].axes}


def _first(parent: Any, name: str) -> Any:
    found = parent.get(name, {})
    return found[0] if isinstance(found, list | tuple) else found


def write_ome(name: str, spec: DataSpec, data: Array) -> Iterator[tuple[str, bytes]]:
    """A file for each sample, with the axes, sizes and channels of the data."""
    import tifffile

    origin: Any = spec.origin
    about, data = dict(origin["about"]), in_type(data, np.dtype(origin["dtype"] or data.dtype))
    names, colours = about.pop("names"), about.pop("colours")
    count = len(spec.varies) if has_channels(spec.layout) else 0
    channels_last = np.moveaxis(data, 1, -1) if count and not spec.layout.endswith("C") else data
    axes = "ZYX" if spec.kind == "volume" else "YX"
    if not colours:
        channels_last, axes = np.moveaxis(channels_last, -1, 1) if count else data, "C" * bool(count) + axes
    metadata = {"axes": axes + "S" * (colours and bool(count)), **about}
    if any(names) and len(names) == max(count, 1):
        metadata |= {"Channel": {"Name": list(names)}}
    for i, values in enumerate(channels_last):
        buffer = io.BytesIO()
        photometric = "rgb" if colours else "minisblack"
        tifffile.imwrite(buffer, np.ascontiguousarray(values), ome=True, photometric=photometric, metadata=metadata)
        yield f"{name}/{i:06d}.ome.tif", buffer.getvalue()


FORMAT = Format(
    name="ome-tiff",
    words="pictures or volumes in .ome.tif files",
    recognises=holds(*_NAMES, beside=SUFFIXES),
    read=read_ome,
    options=PICTURES,
    packages=("tifffile",),
    extra="tiff",
    write=write_ome,
)
