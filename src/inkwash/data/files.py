"""Read arrays and pictures from files, trusting nothing a header says."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from inkwash.data.transform import Array, DataSpec
from inkwash.errors import DataError

_PICTURES = {".png", ".jpg", ".jpeg"}
_MODES = {"L": "grey", "LA": "grey with alpha", "RGB": "colour", "RGBA": "colour with alpha", "I;16": "16-bit grey"}
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
        raise DataError(str(path), f"an unreadable file ({_short(error)})", "a whole .npy file of numbers") from None
    return data


def read_npz(path: Path, key: str | None, labels: str | None) -> tuple[list[Array], tuple[str, ...]]:
    """One array of an `.npz` file, after it that of the labels if these are asked for, and a note of which; `key` names
    the first, otherwise the only one or a customary name."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            chosen = [_choose(path, names, "key", key)]
            chosen += [] if labels is None else [_choose(path, names, "labels", labels)]
            arrays = [_read_member(archive, f"{name}.npy") for name in chosen]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"an unreadable file ({_short(error)})", "a whole .npz file of numbers") from None
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


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
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


def read_pictures(folder: Path) -> tuple[Array, tuple[str, ...]]:
    """All PNG and JPEG pictures of a folder, in order of name, as `(N, H, W)` or `(N, H, W, C)`, and notes.

    Pictures are turned upright as their EXIF orientation says, which is noted. All must share one mode and size.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES and not p.name.startswith("."))
    if not paths:
        raise DataError(str(folder), "no picture", "a folder with .png, .jpg or .jpeg files in it")
    first = _read_picture(paths[0])[0]
    data = np.empty((len(paths), *first.shape), first.dtype)
    turned = 0
    for i, path in enumerate(paths):
        picture, was_turned = _read_picture(path)
        if picture.shape != first.shape or picture.dtype != first.dtype:
            need = f"{_shape_words(first)} like {paths[0].name}"
            raise DataError(str(path), _shape_words(picture), need)
        data[i] = picture
        turned += was_turned
    return data, (f"{turned} picture(s) turned upright by their EXIF orientation",) if turned else ()


def read_example(path: Path, spec: DataSpec) -> Array:
    """One example in data units, as it came: the array of an `.npy` file, or a PNG or JPEG picture.

    Black to white is the range of the data, as in the pictures that `inkwash sample` writes. Nothing is resized, and a
    picture of another number of channels is refused.

    Raises:
        DataError: an unreadable file, or one of another kind or shape.
    """
    if path.suffix == ".npy":
        array = np.array(read_npy(path))
        if array.shape != spec.data_shape:
            raise DataError(str(path), f"shape {array.shape}", f"one example, shape {spec.data_shape}")
        return array
    if not spec.is_image or path.suffix.lower() not in _PICTURES:
        need = "an .npy file" + (" or a PNG or JPEG picture" if spec.is_image else "")
        raise DataError(str(path), "no example", f"{need}, or the number of a held-out example")
    pixels = read_picture(path)
    share = pixels / np.iinfo(pixels.dtype).max
    if share.shape != (spec.shape[1:] if spec.shape[0] == 1 else (*spec.shape[1:], spec.shape[0])):
        raise DataError(str(path), _shape_words(pixels), f"the shape of an example, {spec.describe()}")
    data = spec.low + share * (spec.high - spec.low)
    data = (np.rint(data) if spec.levels else data).astype(spec.dtype)
    channels_first = data[None] if spec.shape[0] == 1 else np.moveaxis(data, -1, 0)
    return spec.from_channels_first(channels_first[None])[0]


def read_picture(path: Path, bits: bool = False) -> Array:
    """One PNG or JPEG picture, upright, `(H, W)` or `(H, W, C)`; of mode 1, booleans, only where `bits` are asked for.

    Raises:
        DataError: an unreadable file, or one of another mode.
    """
    return _read_picture(path, {"1": "black and white"} | _MODES if bits else _MODES)[0]


def _read_picture(path: Path, modes: dict[str, str] = _MODES) -> tuple[Array, bool]:
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as picture:
                deep = _deep_colour(picture)
                picture.load()
                turned = picture.getexif().get(0x0112, 1) != 1
                upright: Any = ImageOps.exif_transpose(picture) if turned else picture
                mode, array = deep or upright.mode, np.asarray(upright)
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            raise DataError(str(path), f"no readable picture ({_short(error)})", "a PNG or JPEG picture") from None
    if mode not in modes:
        raise DataError(str(path), f"a picture of mode {mode}", "one of mode " + ", ".join(modes))
    return array, turned


def _deep_colour(picture: Any) -> str | None:
    """How the file stores more than 8 bits per channel in a mode that would silently be cut to 8."""
    stored = [str(part[3]) for part in picture.tile]
    return next((mode for mode in stored if ";16" in mode and picture.mode != "I;16"), None)


def _shape_words(picture: Array) -> str:
    channels = picture.shape[2] if picture.ndim == 3 else 1
    return f"{picture.shape[1]}x{picture.shape[0]} pixels, {channels} channel(s), {picture.dtype}"


def _short(error: BaseException) -> str:
    return str(error).split("\n")[0][:120] or type(error).__name__
