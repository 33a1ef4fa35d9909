"""Pictures from a folder or a zip file, at their own depth and in their own mode; nothing is resized or converted.

A zip file is read in place. Members that are encrypted, that are archives themselves, or whose name leads out of the
archive are refused.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.png16 import decode_png
from inkwash.data.raw import Raw, require_distinct, room_for, short

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_MODES = {"L": "grey", "LA": "grey with alpha", "RGB": "colour", "RGBA": "colour with alpha", "I;16": "16-bit grey"}
_MOST_PACKED = 1 << 28
_KIND = "a PNG, JPEG or TIFF picture"
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    UserWarning,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
)
Opener = Callable[[], bytes]


def read_folder(folder: Path) -> Raw:
    """All pictures in and below a folder, in the order of their paths, as `(N, H, W)` or `(N, H, W, C)`.

    Raises:
        DataError: there are no pictures, or they cannot be read or differ in size, mode or depth.
    """
    paths = {PurePosixPath(path.relative_to(folder).as_posix()): path for path in folder.rglob("*")}
    files = {name: path for name, path in paths.items() if _is_picture(name) or path.is_file()}
    return _collected(folder, {name: path.read_bytes for name, path in files.items()})


def read_zip(path: Path) -> Raw:
    """All pictures of a zip file, as `read_folder` reads them.

    Raises:
        DataError: it is no zip file, it has a member that is refused, or `read_folder` would refuse its pictures.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            require_distinct(str(path), [info.filename for info in members])
            for info in members:
                _require_plain(path, info)
            return _collected(path, {PurePosixPath(info.filename): partial(archive.read, info) for info in members})
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete zip file of pictures") from None


def _require_plain(path: Path, info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename)
    flaws = {
        "an encrypted file": info.flag_bits & 1,
        "an archive in an archive": name.suffix.lower() == ".zip",
        "a name outside of the archive": name.is_absolute() or ".." in name.parts or "\\" in info.filename,
        f"{info.file_size} bytes in one picture": info.file_size > _MOST_PACKED and _is_picture(name),
    }
    for flaw, there in flaws.items():
        if there:
            raise DataError(f"{path}/{info.filename}", flaw, "a plain zip file of pictures")


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _is_picture(name: PurePosixPath) -> bool:
    return name.suffix.lower() in SUFFIXES and not _is_hidden(name)


def _collected(root: Path, found: dict[PurePosixPath, Opener]) -> Raw:
    """The pictures among files, all of one size, mode and depth; the labels "folder" name the folder of each.

    Pictures are turned upright as their EXIF orientation says. Notes count these, and the files that are not read.
    """
    names = sorted(name for name in found if _is_picture(name))
    others = _counted([name for name in sorted(found) if not _is_picture(name) and not _is_hidden(name)])
    if not names:
        got = f"no picture, but {others}" if others else "no picture"
        raise DataError(str(root), got, f"one with {', '.join(SUFFIXES)} files in it")
    data, notes = stack(str(root), {str(root / name): found[name] for name in names})
    folders = _folders(names)
    if (folders != folders[0]).any():
        notes = (*notes, f"pictures of {len(np.unique(folders))} folders, taken together")
    if others:
        notes = (*notes, f"not read: {others}")
    return Raw(data, "NHW" if data.ndim == 3 else "NHWC", notes=notes, labels={"folder": folders})


def _counted(names: list[PurePosixPath]) -> str:
    """How many files have each of the five most frequent endings, and how many have others."""
    counts = Counter(name.suffix.lower() or "without an ending" for name in names)
    first = dict(counts.most_common(5))
    first |= {"of other endings": counts.total() - sum(first.values())} if len(counts) > 5 else {}
    return ", ".join(f"{count} {ending}" for ending, count in first.items())


def note_turned(count: int) -> tuple[str, ...]:
    """The note about pictures that were turned upright, if there are any."""
    return (f"{count} picture(s) turned upright by their EXIF orientation",) if count else ()


def stack(root: str, found: Mapping[str, Opener]) -> tuple[Array, tuple[str, ...]]:
    """At least one picture, all of one size, mode and depth, as one array, and notes on what was done to them.

    Args:
        root: name of the source, for messages.
        found: what opens each picture, by its name.

    Raises:
        DataError: a picture that cannot be read, pictures that differ, or more than there is room for.
    """
    names = list(found)
    first = decode(names[0], found[names[0]])[0]
    (data, notes), turned = room_for(root, (len(names), *first.shape), first.dtype), 0
    for i, name in enumerate(names):
        picture, was_turned = decode(name, found[name])
        if picture.shape != first.shape or picture.dtype != first.dtype:
            raise DataError(name, shape_words(picture), f"{shape_words(first)} like {Path(names[0]).name}")
        data[i], turned = picture, turned + was_turned
    return data, (*notes, *note_turned(turned))


def _folders(names: list[PurePosixPath]) -> Array:
    """The folder of each picture below the folder that all have in common; it is empty where there is none."""
    top = os.path.commonpath([name.parent for name in names])
    return np.array([str(name.parent.relative_to(top)).removeprefix(".") for name in names])


def read_picture(path: Path, bits: bool = False) -> Array:
    """One PNG, JPEG or TIFF picture, upright: `(H, W)` or `(H, W, C)`, uint8 or uint16.

    Args:
        path: the file.
        bits: whether a picture of mode 1, black and white, is read too, as booleans.

    Raises:
        DataError: an unreadable file, or a mode that is not read.
    """
    return decode(str(path), path.read_bytes, {"1": "black and white"} | _MODES if bits else _MODES)[0]


def decode(where: str, opener: Opener, modes: dict[str, str] = _MODES) -> tuple[Array, bool]:
    """The pixels of a picture, and whether it was turned upright.

    Args:
        where: its name, for messages.
        opener: gives its bytes.
        modes: Pillow's names of the modes that are read.

    Raises:
        DataError: bytes that are no picture, or a mode that is not read.
    """
    from PIL import Image

    with _damage_named(where):
        content = opener()
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF")) as picture:
            deep = _deep_colour(picture)
            picture.load()
            if deep and picture.format == "PNG":
                return _only_upright(where, picture, decode_png(content)), False
            return _pixels(where, picture, deep, modes)


def pixels_of(where: str, picture: Any) -> tuple[Array, bool]:
    """The pixels of a `PIL.Image.Image`, as `decode`; they are read from its file now if Pillow has not read them yet.

    Raises:
        DataError: `decode` would refuse the picture, or it has more bits per channel than Pillow keeps.
    """
    with _damage_named(where):
        deep = _deep_colour(picture)
        picture.load()
        return _pixels(where, picture, deep, _MODES)


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    """Turn every error and warning by which Pillow reports damage into a `DataError`."""
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
            raise DataError(where, f"no readable picture ({short(error)})", _KIND) from None


def _pixels(where: str, picture: Any, deep: str | None, modes: dict[str, str]) -> tuple[Array, bool]:
    """The pixels of a picture, and whether it was turned upright; `deep` is the mode of a file with more bits."""
    from PIL import ImageOps

    mode = deep or picture.mode.replace("I;16B", "I;16")
    pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # a camera's JPEG, with previews
    if mode not in modes:
        raise DataError(where, f"a picture of mode {mode}", "one of mode " + ", ".join(modes))
    if pages > 1 or "transparency" in picture.info:
        got = f"{pages} pages" if pages > 1 else "a colour that stands for transparency"
        raise DataError(where, got, "one picture, whose transparency, if any, is a channel of its own")
    turned = _is_turned(picture)
    array = np.asarray(ImageOps.exif_transpose(picture) if turned else picture)
    return array.astype(array.dtype.newbyteorder("=")), turned


def _is_turned(picture: Any) -> bool:
    """Whether its EXIF orientation is not upright: it is 2 to 8, as 0 stands for none."""
    return picture.getexif().get(0x0112) in range(2, 9)


def _only_upright(where: str, picture: Any, pixels: Array) -> Array:
    """Pixels that Pillow did not read and therefore cannot turn upright."""
    if _is_turned(picture) or "transparency" in picture.info:
        raise DataError(
            where, "16-bit colour to be turned or made transparent", "a picture that is stored upright and opaque"
        )
    return pixels


def _deep_colour(picture: Any) -> str | None:
    """The mode of the file, if it stores more than 8 bits per channel and Pillow would silently cut them to 8."""
    stored = [str(part[3]) for part in getattr(picture, "tile", ())]
    return next((mode for mode in stored if ";16" in mode and not picture.mode.startswith("I;16")), None)


def shape_words(picture: Array) -> str:
    """Size, channels and type in words."""
    channels = picture.shape[2] if picture.ndim == 3 else 1
    return f"{picture.shape[1]}x{picture.shape[0]} pixels, {channels} channel(s), {picture.dtype}"
