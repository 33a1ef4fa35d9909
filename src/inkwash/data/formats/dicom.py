"""DICOM: slices of CT, MR and other scanners as volumes, and single pictures.

The slices of one series are sorted along the normal of their plane, as ImagePositionPatient says (DICOM PS3.3,
C.7.6.2); values are RescaleSlope * number + RescaleIntercept (C.11.1), which for CT are Hounsfield units.

A run keeps where voxels lie and how large they are, and nothing else of a file: no name, date, number or text. Samples
are NIfTI files, as a DICOM file has to belong to a patient and a study, and samples belong to none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError, Decoded
from inkwash.data.formats.folders import damage_named, files_of, paths_in
from inkwash.data.formats.format import PICTURES, Format
from inkwash.data.formats.nifti import Space, write_nifti
from inkwash.data.formats.scaled import integer_type, real_type
from inkwash.data.images import SUFFIXES, stack
from inkwash.data.raw import Raw, require_room

_WORDS = "DICOM file"
_ENDINGS = (".dcm", ".dicom", ".ima")
_UNEVEN = 0.05
"""Steps between slices differ by no more than this share of them."""
_TAGS = [
    *("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"),
    *("NumberOfFrames", "PhotometricInterpretation", "BitsStored", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
]


@dataclass(frozen=True)
class Slice:
    """One picture of a scanner.

    Args:
        path: its file.
        series: which other slices belong to it; no part of a run.
        position: of its first pixel, in millimetres to the left, back and top, `(3,)`; None if it is not known.
        axes: directions of its rows and columns, `(2, 3)`.
        spacing: between rows and between columns, in millimetres.
        slope: what numbers are multiplied with.
        intercept: what is then added.
        ends: the smallest and the largest number that its bits have.
        white_is_low: whether small values are white.
    """

    path: Path
    series: str
    position: Array | None
    axes: Array
    spacing: tuple[float, float]
    slope: float
    intercept: float
    ends: tuple[int, int]
    white_is_low: bool

    @property
    def normal(self) -> Array:
        """The direction across the slice, `(3,)`."""
        return np.cross(*self.axes)

    @property
    def meant(self) -> tuple[float, float]:
        """The smallest and the largest value that it can have."""
        low, high = sorted(self.slope * end + self.intercept for end in self.ends)
        return low, high


def read_dicom(path: Path, config: DataConfig) -> Raw:
    """A folder of series, each a volume, or of single pictures. With `data.pages` examples, each slice is an example.

    Raises:
        DataError: a file that cannot be read or has several frames, a series with a gap, or examples that differ.
    """
    raw = _read(path, config)
    if len(raw.data) < 2:
        got = f"one series of {raw.data.shape[1]} slices" if raw.data.ndim > 3 else "one picture"
        raise DataError(str(path), got, "a folder of several; with --data.pages examples, each slice is an example")
    return raw


def _read(path: Path, config: DataConfig) -> Raw:
    """As `read_dicom`, also of one series or picture."""
    files = files_of(path, is_dicom)
    slices, damaged, others = _slices(files.paths, config.skip_damaged)
    stacks = _stacks(path, slices, config)
    dtype, first = _type(slices), stacks[0]
    found = {str(each[0].path): partial(_decode, each, dtype) for each in stacks}
    raw, places = stack(str(path), found, replace(config, pages=None))
    is_volume, space = len(first) > 1, _space(first)
    layout: Layout = "NDHW" if is_volume else "NHW"
    folders = dict(zip(files.paths, files.folders, strict=True))
    labels = np.array([folders[each[0].path] for each in stacks])[places]
    words = f"{len(stacks)} series of {len(first)} slices" if is_volume else f"{len(stacks)} pictures"
    white = ("MONOCHROME1: small values are white; they are as they were",) if first[0].white_is_low else ()
    notes = (words, f"{dtype} after slope and intercept; {space.describe()}", *white, *raw.notes)
    notes = (*notes, *damaged, *others, *files.notes)
    return replace(
        raw,
        data=raw.data if is_volume else raw.data[:, 0],
        layout=layout,
        labels={"folder": labels},
        notes=notes,
        kept={**space.kept, "dtype": dtype.str},
    )


def is_dicom(path: Path) -> bool:
    """Whether a file has the name of one of DICOM, or no ending and the mark of the format."""
    if path.suffix.lower() in _ENDINGS:
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return is_dicom(path)
    paths = paths_in(path)
    return not any(each.suffix.lower() in SUFFIXES for each in paths) and any(map(is_dicom, paths))


def _slices(paths: Sequence[Path], skip: bool) -> tuple[list[Slice], tuple[str, ...], tuple[str, ...]]:
    """The pictures among files, a note on those that are damaged and left out, and one on those without a picture."""
    found, damaged, others = list[Slice](), list[DamagedError](), 0
    for path in paths:
        try:
            read = _slice(path)
        except DamagedError as error:
            if not skip:
                raise
            damaged.append(error)
            continue
        found += [] if read is None else [read]
        others += read is None
    if not found:
        raise damaged[0] if damaged else DataError(str(paths[0].parent), "DICOM files without pixels", "pictures")
    left = f"{len(damaged)} damaged file(s) left out: {', '.join(error.where for error in damaged[:50])}"
    more = f"not read: {others} DICOM file(s) without pixels"
    return found, (left,) if damaged else (), (more,) if others else ()


def _slice(path: Path) -> Slice | None:
    """What the header of a file says, or None if it has no picture.

    Raises:
        DataError: several frames, colours, or values by a table.
    """
    import pydicom

    with damage_named(path, _WORDS):
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        if "Rows" not in head:
            return None
        _require_plain(path, head)
        bits, signed = int(head.BitsStored), bool(head.PixelRepresentation)
        position, (down, right) = head.get("ImagePositionPatient"), head.get("PixelSpacing") or (1, 1)
        return Slice(
            path=path,
            series=str(head.get("SeriesInstanceUID", path)),
            position=None if position is None else np.array(position, np.float64),
            axes=np.array(head.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0), np.float64).reshape(2, 3),
            spacing=(float(down), float(right)),
            slope=float(head.get("RescaleSlope", 1)),
            intercept=float(head.get("RescaleIntercept", 0)),
            ends=(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1),
            white_is_low=head.PhotometricInterpretation == "MONOCHROME1",
        )


def _require_plain(path: Path, head: Any) -> None:
    colours = head.get("PhotometricInterpretation")
    if colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(str(path), f"pixels of the kind {colours}", "MONOCHROME1 or MONOCHROME2")
    if int(head.get("NumberOfFrames") or 1) > 1:
        need = "a file for each slice; dcm2niix makes NIfTI files of it, which are read"
        raise DataError(str(path), f"{head.NumberOfFrames} frames in one file", need)
    if "ModalityLUTSequence" in head:
        raise DataError(str(path), "values by a table (Modality LUT)", "values by slope and intercept")


def _stacks(root: Path, slices: Sequence[Slice], config: DataConfig) -> list[list[Slice]]:
    """The slices of each example."""
    if len({each.white_is_low for each in slices}) > 1:
        other = next(each for each in slices if each.white_is_low != slices[0].white_is_low)
        raise DataError(str(other.path), "MONOCHROME1 and 2 in one folder", f"one of them, like {slices[0].path.name}")
    if config.pages == "examples":
        return [[each] for each in slices]
    series: dict[str, list[Slice]] = {}
    for each in slices:
        series.setdefault(each.series, []).append(each)
    counts = sorted({len(each) for each in series.values()})
    if counts[-1] == 1 and config.pages is None:
        return [*series.values()]
    if counts[0] == 1:
        alone = next(each[0] for each in series.values() if len(each) == 1)
        need = "series of several slices, or --data.pages examples, if each slice is an example"
        raise DataError(str(alone.path), "a series of one slice", need)
    return [_sorted(each) for each in series.values()]


def _sorted(slices: Sequence[Slice]) -> list[Slice]:
    """The slices of a series in the order of their places.

    Raises:
        DataError: no places, slices that are not parallel, two at one place, or a gap.
    """
    first, hint = slices[0], "; --data.pages examples takes each slice for itself"
    for each in slices:
        if each.position is None:
            raise DataError(str(each.path), "no position (ImagePositionPatient)", f"one for each slice{hint}")
        if not np.allclose(each.axes, first.axes, atol=1e-3):
            raise DataError(str(each.path), "a slice of another direction", f"parallel ones{hint}")
    heights = np.array([each.position for each in slices]) @ first.normal
    order = np.argsort(heights)
    steps = np.diff(heights[order])
    worst = int(np.argmax(np.abs(steps - np.median(steps))))
    if np.abs(steps - np.median(steps)).max() > _UNEVEN * np.median(steps) or np.median(steps) <= 0:
        got = f"{steps[worst]:.6g} mm to the next slice, where others have {np.median(steps):.6g} mm"
        raise DataError(str(slices[order[worst]].path), got, f"even steps, without a gap{hint}")
    return [slices[i] for i in order]


def _type(slices: Iterable[Slice]) -> np.dtype[np.generic]:
    """The type of all values: whole numbers if every slope and intercept is whole."""
    every = list(slices)
    if any(each.slope % 1 or each.intercept % 1 for each in every):
        return real_type(min(each.ends[0] for each in every), max(each.ends[1] for each in every))
    return integer_type(min(each.meant[0] for each in every), max(each.meant[1] for each in every))


def _decode(slices: Sequence[Slice], dtype: np.dtype[np.generic]) -> Decoded:
    """A volume `(1, slices, rows, columns)`."""
    planes = [_values(each, dtype) for each in slices]
    for each, plane in zip(slices, planes, strict=True):
        if plane.shape != planes[0].shape:
            raise DataError(str(each.path), f"{plane.shape} pixels", f"{planes[0].shape}, like {slices[0].path.name}")
    return Decoded(np.stack(planes)[None], None)


def _values(part: Slice, dtype: np.dtype[np.generic]) -> Array:
    import pydicom

    with damage_named(part.path, _WORDS):
        content = pydicom.dcmread(part.path)
        require_room(str(part.path), int(content.Rows) * int(content.Columns) * 4)
        _require_decoder(part.path, content.file_meta.TransferSyntaxUID)
        numbers = content.pixel_array
    return (numbers.astype(np.float64) * part.slope + part.intercept).astype(dtype)


def _require_decoder(path: Path, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    if syntax.is_compressed and syntax.is_encapsulated and not get_decoder(syntax).is_available:
        need = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        raise MissingPackageError(str(path), f"pixels compressed as {syntax.name}, without a decoder", need)


def _space(slices: Sequence[Slice]) -> Space:
    """Where voxels lie: DICOM counts to the left and to the back, NIfTI to the right and to the front.

    The places of single slices, which differ, are not kept.
    """
    first, last = slices[0], slices[-1]
    down, right = first.spacing
    if len(slices) == 1 or first.position is None or last.position is None:
        return Space(np.diag([right, down, 1.0, 1.0]), units=("mm", "unknown"))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.axes[0] * right, first.axes[1] * down
    affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return Space(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, (1, 1), ("mm", "unknown"))


FORMAT = Format(
    name="dicom",
    words="series or pictures in .dcm files",
    recognises=_recognises,
    read=read_dicom,
    options=PICTURES,
    packages=("pydicom", "nibabel"),
    extra="medical",
    write=write_nifti,
    read_one=_read,
    same=("orientation",),
)
