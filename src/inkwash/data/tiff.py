"""TIFF that Pillow cuts, misreads or refuses: more than 8 bits per channel, signed and real numbers, several pages.

The format is that of TIFF 6.0 (Adobe, 1992): §8 baseline fields, §12 planar configuration, §19 sample format. What the
pages of a file are, comes from `tifffile`, which knows the axes that ImageJ, OME and others write beside them.
"""

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from inkwash.core.config import PagesName
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.core.shapes import Array
from inkwash.data.raw import require_extra, require_room

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_BITS, _PHOTOMETRIC, _ORIENTATION, _EXTRA, _FORMAT = 258, 262, 274, 338, 339
_ALPHA = (1, 2)
INVERTED = "inverted, because their file says that 0 is white"


def is_plain(tags: Any, pages: int) -> bool:
    """Whether Pillow reads a TIFF as it is: one page of unsigned integers, of 8 bits per channel or 16-bit grey.

    Args:
        tags: the fields of its first page by their number, as Pillow gives them.
        pages: how many pages it has.
    """
    bits, kinds, extra = tags.get(_BITS, (1,)), tags.get(_FORMAT, (1,)), tags.get(_EXTRA, ())
    is_deep_grey = tuple(bits) == (16,) and tags.get(_PHOTOMETRIC) == _BLACK_IS_ZERO
    is_shallow = max(bits) <= 8 and all(kind in _ALPHA for kind in extra)
    return pages == 1 and set(kinds) == {1} and (is_shallow or is_deep_grey)


def is_inverted(tags: Any) -> bool:
    """Whether Pillow has inverted the values of a plain TIFF, in whose file 0 is white."""
    return tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def read_tiff(where: str, content: bytes, pages: PagesName | None) -> tuple[Array, bool, str | None]:
    """The examples of a TIFF, `(n, [D,] H, W[, C])`, whether they have channels, and what was done to their values.

    Args:
        where: its name, for messages.
        content: its bytes.
        pages: what a page is, if there are several.

    Raises:
        DataError: pages of several kinds, pages without `pages`, or a colour space that is not read.
        MissingPackageError: no `tifffile`, or no `imagecodecs` for its compression.
        ValueError: a damaged file, as `tifffile` finds it.
    """
    tifffile = require_extra("tifffile", "tiff", where)
    with _page_errors(), tifffile.TiffFile(io.BytesIO(content)) as file:
        kinds = [each for each in file.series if not each.keyframe.is_reduced]
        if len(kinds) != 1:
            got = ", ".join(f"{each.shape} {each.dtype}" for each in kinds) or "no pages"
            raise DataError(where, f"pages of several kinds, {got}", "pages of one size and type in a file")
        series = kinds[0]
        _require_known(where, series.keyframe)
        require_room(where, series.nbytes, len(content))
        values, done = _meant(_decoded(where, series), series.keyframe)
        axes = series.axes + "S" * (values.ndim - len(series.axes))
    return *arrange(where, values, axes, pages), done


@contextmanager
def _page_errors() -> Iterator[None]:
    """Raise what `tifffile` only logs: that it lost its path from page to page, and took those that it had found."""
    logger, found = logging.getLogger("tifffile"), list[str]()

    def keep(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("<tifffile.TiffPages"):
            found.append(record.getMessage())
        return False

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
    if found:
        raise ValueError(found[0])


def _require_known(where: str, page: Any) -> None:
    tag = page.tags.get(_ORIENTATION)
    if tag is not None and tag.value in range(2, 9):
        raise DataError(where, "pages of TIFF to be turned upright", "a picture that is stored upright")
    known = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR)
    if page.photometric not in known or (page.photometric == _YCBCR and page.compression.name != "JPEG"):
        got = f"TIFF of the colour space {page.photometric.name}, of {page.bitspersample} bits or several pages"
        raise DataError(where, got, "grey, RGB or a palette; convert it to RGB first")


def _decoded(where: str, series: Any) -> Array:
    try:
        return series.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            got = f"TIFF with the compression {series.keyframe.compression.name} and no package imagecodecs"
            raise MissingPackageError(where, got, "pip install 'inkwash[tiff]'") from None
        raise


def _meant(values: Array, page: Any) -> tuple[Array, str | None]:
    """Values that grow with brightness, and what was done to them; signed and real numbers stay as they are."""
    if page.photometric == _PALETTE:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        return np.moveaxis(colours[:, values], 0, -1), "converted from a palette to RGB"
    if page.photometric != _WHITE_IS_ZERO:
        return values, None
    if values.dtype.kind == "b":
        return ~values, INVERTED
    if values.dtype.kind != "u":
        return values, "kept as stored, though their file says that small numbers are white"
    return values.dtype.type((1 << page.bitspersample) - 1) - values, INVERTED


def arrange(where: str, values: Array, axes: str, pages: PagesName | None) -> tuple[Array, bool]:
    """Examples `(n, [D,] H, W[, C])` from all pages of a file, and whether they have channels.

    Args:
        where: its name, for messages.
        values: all values of the file.
        axes: a letter for each axis: Y and X the sides of a page, C and S channels, Z depth; all others are pages.
        pages: whether a page is an example, or the slice of a volume. A volume runs along Z, or along the only other
            axis; the remaining axes are examples.

    Raises:
        DataError: several pages without `pages`, or several axes for the depth.
    """
    kept = [i for i, letter in enumerate(axes) if letter in "YX" or values.shape[i] > 1]
    letters = "".join(axes[i] for i in kept)
    values = values.reshape([values.shape[i] for i in kept])
    other = [i for i, letter in enumerate(letters) if letter not in "YXCS"]
    channels = [i for i, letter in enumerate(letters) if letter in "CS"]
    if other and pages is None:
        count, names = math.prod(values.shape[i] for i in other), f"axes {letters} of shape {values.shape}"
        need = "--data.pages examples, if each is an example, or volume, if they are the slices of one"
        raise DataError(where, f"{count} pages ({names})", need)
    depth = _depth(where, letters, other) if pages == "volume" and other else []
    sides = [*depth, letters.index("Y"), letters.index("X")]
    sizes = [values.shape[i] for i in sides] + [math.prod(values.shape[i] for i in channels)] * bool(channels)
    ordered = values.transpose([i for i in other if i not in depth] + sides + channels)
    return ordered.reshape(-1, *sizes), bool(channels)


def _depth(where: str, letters: str, other: list[int]) -> list[int]:
    """The one axis that is the depth of a volume."""
    found = [i for i in other if letters[i] == "Z"] or other
    if len(found) > 1:
        need = "one axis of pages beside Y and X, or Z among them, for --data.pages volume"
        raise DataError(where, f"pages along {letters}", need)
    return found
