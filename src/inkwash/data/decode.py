"""One picture to numbers, at its own depth: Pillow reads it where it keeps all of it, and `tiff` and `png16` the rest.

Some modes of Pillow are converted, because nothing is lost that a picture means: a palette to its colours, a colour
that stands for transparency to a channel, CMYK to RGB. What was done is kept with the picture, to be said.
"""

from __future__ import annotations

import io
import lzma
import math
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.brief import short_repr
from inkwash.core.config import Layout, PagesName
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.png16 import decode_png
from inkwash.data.raw import CUT, require_room, short
from inkwash.data.tiff import INVERTED, arrange, is_inverted, is_plain, read_tiff

FORMATS = ("PNG", "JPEG", "TIFF")
TURNED = "turned upright by their EXIF orientation"
_TIFF, _BIG_TIFF = (b"II*\0", b"MM\0*"), (b"II+\0", b"MM\0+")
_KEPT = ("1", "L", "LA", "RGB", "RGBA", "I;16", "I", "F")
_TO_RGB = {"CMYK": "RGB", "YCbCr": "RGB", "PA": "RGBA"}
_DAMAGE = (*CUT, SyntaxError, ValueError, UserWarning, struct.error, zipfile.BadZipFile, lzma.LZMAError, RuntimeError)
Opener = Callable[[], bytes]


class DamagedError(DataError):
    """A picture whose bytes cannot be read."""


@short_repr
@dataclass(frozen=True)
class Decoded:
    """The numbers of a picture, or of another item.

    Args:
        values: its examples, `(n, …)`; one unless the pages of a picture are examples. Fewer than 8 bits are spread
            over 0 to 255.
        layout: the axes of `values`, if it is a picture.
        bits: how many bits per value the file has, if fewer than 8.
        done: what was done to it, in words that go on from "items" or "pictures".
        pages: whether it has several pages.
    """

    values: Array
    layout: Layout | None
    bits: int | None = None
    done: tuple[str, ...] = ()
    pages: bool = False

    @property
    def noun(self) -> str:
        """What notes call it."""
        return "item(s)" if self.layout is None else "picture(s)"

    def describe(self) -> str:
        """Size, channels and type in words."""
        if self.layout is None:
            return f"{self.values.dtype.name} of shape {self.values.shape[1:]}"
        shape = self.values.shape[1:] if self.layout.endswith("C") else (*self.values.shape[1:], 1)
        sides = "x".join(map(str, reversed(shape[:-1])))
        return f"{sides} pixels, {shape[-1]} channel(s), {self.values.dtype.name}"


def decode(where: str, opener: Opener, pages: PagesName | None = None) -> Decoded:
    """A PNG, JPEG or TIFF picture, upright.

    Args:
        where: its name, for messages.
        opener: gives its bytes.
        pages: what a page is, if it has several.

    Raises:
        DamagedError: bytes that are no picture.
        DataError: a mode that is not read, or several pages without `pages`.
    """
    from PIL import Image, UnidentifiedImageError

    with _damage_named(where):
        content = opener()
        if content.startswith(_BIG_TIFF):
            return _of_tiff(where, content, pages)
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if not _is_beyond_pillow(picture):
                    return _of_pillow(where, picture, pages)
                if picture.format == "PNG":
                    picture.load()  # checks all sums
                    return _of_deep_png(where, picture, content)
        except UnidentifiedImageError:
            if not content.startswith(_TIFF):
                raise ValueError("its beginning is that of none" if content else "it is empty") from None
        return _of_tiff(where, content, pages)


def picture_of(where: str, picture: Any, pages: PagesName | None = None) -> Decoded:
    """A `PIL.Image.Image`, as `decode`; it is read from its file now if Pillow has not read it yet.

    Raises:
        DataError: as `decode`, or it has more bits per channel than Pillow has kept.
    """
    with _damage_named(where):
        if not _is_beyond_pillow(picture):
            return _of_pillow(where, picture, pages)
        if picture.fp is None or picture.format not in FORMATS:
            got = f"a {picture.format} picture that Pillow has cut to mode {picture.mode}"
            raise DataError(where, got, "its path, an array, or the picture before it is loaded")
        picture.fp.seek(0)
        return decode(where, picture.fp.read, pages)


def read_picture(path: Path) -> Array:
    """One PNG, JPEG or TIFF picture, upright: `(H, W)` or `(H, W, C)`; two levels are booleans.

    Raises:
        DataError: an unreadable file, a mode that is not read, or several pages.
    """
    picture = decode(str(path), path.read_bytes)
    return picture.values[0] > 0 if picture.bits == 1 else picture.values[0]


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Turn every error and warning by which the libraries report damage into a `DamagedError`."""
    from PIL import Image

    bomb = Image.DecompressionBombWarning
    with warnings.catch_warnings():
        for kind in (UserWarning, bomb):
            warnings.simplefilter("error", kind)
        try:
            yield
        except (*_DAMAGE, Image.DecompressionBombError, bomb) as error:
            if isinstance(error, DataError):
                raise
            got = f"no readable picture ({short(error)})"
            raise DamagedError(where, got, "a PNG, JPEG or TIFF picture") from None


def _is_beyond_pillow(picture: Any) -> bool:
    """Whether Pillow would cut or misread the numbers of a file: it keeps 8 bits per channel, or 16 of grey."""
    if picture.format == "TIFF":
        return not is_plain(picture.tag_v2, picture.n_frames)
    stored = [str(part[3]) for part in getattr(picture, "tile", ())]
    return any(";16" in mode for mode in stored) and not picture.mode.startswith("I;16")


def _of_tiff(where: str, content: bytes, pages: PagesName | None) -> Decoded:
    values, has_channels, done = read_tiff(where, content, pages)
    values = values.astype(values.dtype.newbyteorder("="))
    bits = 1 if values.dtype == np.bool_ else None
    values = values.astype(np.uint8) * np.uint8(255) if bits else values
    many = len(values) > 1 or values.ndim > 3 + has_channels
    return Decoded(values, _layout(values, has_channels), bits, () if done is None else (done,), many)


def _of_deep_png(where: str, picture: Any, content: bytes) -> Decoded:
    """Pixels that Pillow did not read and therefore cannot turn upright."""
    if _is_turned(picture) or "transparency" in picture.info:
        got = "16-bit colour to be turned or made transparent"
        raise DataError(where, got, "a picture that is stored upright and opaque")
    require_room(where, 8 * math.prod(picture.size) * 8)  # differences of 4 channels, of which 8 copies are made
    values = decode_png(content)[None]
    return Decoded(values, _layout(values, values.ndim == 4))


def _of_pillow(where: str, picture: Any, pages: PagesName | None) -> Decoded:
    """The frames of a picture that Pillow reads as it is; a camera's JPEG with previews has one."""
    from PIL import ImageSequence

    count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    require_room(where, count * math.prod(picture.size) * _bytes_of(picture.mode))
    bits, inverted = _few_bits(picture), picture.format == "TIFF" and is_inverted(picture.tag_v2)
    frames = [_frame(where, each) for each in (ImageSequence.Iterator(picture) if count > 1 else (picture,))]
    if len({(values.shape, values.dtype) for values, _ in frames}) > 1:
        raise DataError(where, "frames of several modes", "frames of one mode; convert them to RGB first")
    values, has_channels = np.stack([values for values, _ in frames]), frames[0][0].ndim == 3
    if count > 1:
        values, has_channels = arrange(where, values, "TYX" + "S" * has_channels, pages)
    done = dict.fromkeys(words for _, each in frames for words in each) | ({INVERTED: None} if inverted else {})
    return Decoded(values, _layout(values, has_channels), None if has_channels else bits, (*done,), count > 1)


def _frame(where: str, picture: Any) -> tuple[Array, tuple[str, ...]]:
    """The pixels of a picture, or of the frame at which it stands, and what was done to them."""
    from PIL import ImageOps

    turned = _is_turned(picture)
    picture.load()  # Pillow turns a TIFF here
    shown, done = _converted(where, ImageOps.exif_transpose(picture) if _is_turned(picture) else picture)
    pixels = np.asarray(shown)
    pixels = pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == np.bool_ else pixels
    return pixels.astype(pixels.dtype.newbyteorder("=")), (*done, *((TURNED,) if turned else ()))


def _converted(where: str, picture: Any) -> tuple[Any, tuple[str, ...]]:
    """A picture in a mode whose numbers are read, and what was done for that."""
    mode, clear = re.sub("^I;16.*", "I;16", picture.mode), "transparency" in picture.info
    if mode == "P":
        target = "RGBA" if clear or picture.palette.mode == "RGBA" else "RGB"
        return picture.convert(target), (f"converted from a palette to {target}",)
    if clear and mode in ("1", "L", "RGB"):
        target = "RGBA" if mode == "RGB" else "LA"
        return picture.convert(target), (f"converted to {target}, as a colour stands for transparency",)
    if mode in _TO_RGB:
        return picture.convert(_TO_RGB[mode]), (f"converted from {mode} to {_TO_RGB[mode]}, without a colour profile",)
    if clear or mode not in _KEPT:
        got = f"a picture of mode {mode}" + ", with a colour that stands for transparency" * clear
        need = f"one of mode {', '.join((*_KEPT, 'P', *_TO_RGB))}; convert it to RGB first"
        raise DataError(where, got, need)
    return picture, ()


def _bytes_of(mode: str) -> int:
    """The most bytes that a pixel of a mode takes."""
    return 4 if mode in ("I", "F") else max(len(mode), 2)


def _few_bits(picture: Any) -> int | None:
    """How many bits per grey value the file has, if fewer than 8; Pillow spreads them over 0 to 255."""
    stored = [str(part[3]) for part in getattr(picture, "tile", ())]
    few = [int(found[1]) for found in (re.search(r"L;([24])", mode) for mode in stored) if found]
    return 1 if picture.mode == "1" else next(iter(few), None)


def _is_turned(picture: Any) -> bool:
    """Whether its EXIF orientation is not upright: it is 2 to 8, as 0 stands for none."""
    return picture.getexif().get(0x0112) in range(2, 9)


def _layout(values: Array, has_channels: bool) -> Layout:
    """The axes of examples that are pictures or volumes."""
    if has_channels:
        return "NHWC" if values.ndim == 4 else "NDHWC"
    return "NHW" if values.ndim == 3 else "NDHW"
