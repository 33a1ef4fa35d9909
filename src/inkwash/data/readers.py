"""From what a user has, a name, a path or an object of Python, to an array: which reader takes it."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.arrays import is_idx, read_idx, read_npy, read_npz
from inkwash.data.builtin import BUILTIN
from inkwash.data.frames import read_frame, read_parquet
from inkwash.data.hub import read_features, read_hub
from inkwash.data.images import SUFFIXES, note_turned, pixels_of, read_folder, read_picture, read_zip, shape_words
from inkwash.data.raw import Raw, short
from inkwash.data.spec import DataSpec
from inkwash.data.table import read_csv

_OBJECTS = ("<array>", "<tensor>", "<table>", "<dataset>", "<hub>")
_FILES = "a folder or .zip file of pictures, an .npy, .npz, .csv, .parquet or IDX file"
_TABLES = (".csv", ".parquet", "<table>", "<hub>")


def source_name(source: Any) -> str:
    """What a source is called in messages and in a run: the words themselves, a path, or the kind of an object.

    A `Path` is one whatever it is called: `Path("digits")` is `./digits`, and "digits" the built-in set.

    Raises:
        DataError: an object of another kind than those that are read.
    """
    if isinstance(source, str):
        return source
    if isinstance(source, os.PathLike):
        path: str = os.fspath(source)
        return f"./{path}" if path in (*BUILTIN, *_OBJECTS) or path.startswith("hf:") else path
    pandas, hub = sys.modules.get("pandas"), sys.modules.get("datasets")
    kinds = {"<array>": np.ndarray, "<tensor>": Tensor, "<dataset>": torch.utils.data.Dataset}
    kinds |= {"<table>": pandas.DataFrame} if pandas else {}
    kinds |= {"<hub>": hub.Dataset} if hub and hasattr(hub, "Dataset") else {}
    name = next((name for name, kind in kinds.items() if isinstance(source, kind)), None)
    if name is None or isinstance(source, np.ma.MaskedArray):
        need = "a name or path, a NumPy array, a tensor, a Dataset of torch or of the Hub, or a pandas DataFrame"
        raise DataError("data", f"a {type(source).__name__}", need)
    return name


def read(source: Any, config: DataConfig) -> Raw:
    """Read a source, as far as that needs no decision.

    Args:
        source: see `inkwash.data.load_dataset`.
        config: which array, and which labels and condition.

    Raises:
        DataError: a missing, unreadable or damaged source, or an option that does not go with it.
    """
    where = source_name(source)
    if config.key is not None and not where.endswith(".npz"):
        raise DataError("data.key", repr(config.key), "an .npz file to look it up in")
    for option in ("drop", "categories", "numbers"):
        if getattr(config, option) and not where.endswith(_TABLES) and not where.startswith("hf:"):
            got = ", ".join(getattr(config, option))
            raise DataError(f"data.{option}", got, "a table of one's own, with such columns")
    if where.startswith("hf:"):
        return read_hub(where, config)
    if isinstance(source, str | os.PathLike):
        return _read_builtin(where) if where in BUILTIN else _read_path(where, config)
    if where == "<array>":
        return Raw(source)
    if where == "<tensor>":
        return Raw(_as_array(source, where)[0])
    if where == "<hub>":
        return read_features(source, where, config)
    return read_frame(source, where, config) if where == "<table>" else _read_dataset(source, where, config)


def _read_builtin(name: str) -> Raw:
    raw, path = BUILTIN[name](), Path(name)
    note = f"{name} is the built-in set; ./{name} is the {'folder' if path.is_dir() else 'file'} of that name"
    return replace(raw, notes=(*raw.notes, note)) if path.exists() else raw


def _read_path(source: str, config: DataConfig) -> Raw:
    path, named = Path(source), {"labels": config.labels, "condition": config.condition}
    beside = {option: name for option, name in named.items() if name is not None}
    if source in _OBJECTS:
        raise DataError("data", f"{source}, which was given from Python", "the same data again, from Python")
    if not _exists(path):
        raise DataError("data", repr(source), _known(source))
    if path.is_dir():
        return read_folder(path)
    if path.suffix == ".zip":
        return read_zip(path)
    if path.suffix == ".csv":
        return read_csv(path, config)
    if path.suffix == ".parquet":
        return read_parquet(path, config)
    if path.suffix == ".npz":
        (data, *found), notes = read_npz(path, config.key, beside)
        return Raw(data, notes=notes, labels=dict(zip(beside.values(), found, strict=True)))
    if path.suffix == ".npy" or is_idx(path):
        arrays = {name: _read_beside(path, option, name) for option, name in beside.items()}
        return Raw(_read_array(path), labels=arrays)
    raise DataError(source, f"a {path.suffix or 'nameless'} file", _FILES)


def _read_array(path: Path) -> Array:
    return read_npy(path) if path.suffix == ".npy" else read_idx(path)


def _read_beside(path: Path, option: str, name: str) -> Array:
    """The labels or condition of a file of one array: another such file in its folder."""
    beside = path.parent / name
    if not _exists(beside) or not (beside.suffix == ".npy" or is_idx(beside)):
        raise DataError(f"data.{option}", repr(name), f"the name of an .npy or IDX file beside {path.name}")
    return np.array(_read_array(beside))


def _read_dataset(source: Any, where: str, config: DataConfig) -> Raw:
    """All items of a map-style dataset, x or (x, label), held in memory: labels only if they are asked for."""
    if not hasattr(source, "__len__") or not len(source):
        raise DataError(where, "a dataset that is empty or has no length", "a map-style one: items by their index")
    asked = config.labels is not None or config.condition is not None
    arrays: list[list[Array]] = []
    turned, need = 0, None
    for i in range(len(source)):  # the file of a picture is closed before the next is opened
        parts, place = _parts(source[i]), f"{where}[{i}]"
        found = [_as_array(part, place) for part in parts[: 1 + asked]]
        arrays.append([array for array, _ in found])
        turned += sum(was_turned for _, was_turned in found)
        got = len(parts), found[0][0].dtype, found[0][0].shape
        need = need or got
        if got != need or len(parts) > 2:
            words = "{} part(s), the first {} of shape {}".format(*got)
            raise DataError(place, words, "x or (x, label), as the first: {1} of shape {2}".format(*need))
    data, *labels = zip(*arrays, strict=True)
    targets = {"label": _stacked(where, labels[0])} if labels else {}
    return Raw(np.stack(data), notes=note_turned(turned), labels=targets)


def _parts(item: Any) -> Any:
    """What an item consists of: x and its label, if x is an array, tensor or picture; else it is x, be it a list of
    numbers."""
    from PIL import Image

    is_parted = isinstance(item, tuple | list) and item and isinstance(item[0], np.ndarray | Tensor | Image.Image)
    return item if is_parted else (item,)


def _stacked(where: str, labels: Sequence[Array]) -> Array:
    """Labels of one kind and shape."""
    first = labels[0]
    for i, label in enumerate(labels):
        if (label.dtype.kind, label.shape) != (first.dtype.kind, first.shape):
            got, need = (f"{each.dtype} of shape {each.shape}" for each in (label, first))
            raise DataError(f"{where}[{i}]: label", got, f"{need}, as the first")
    return np.stack(labels)


def _as_array(x: Any, where: str) -> tuple[Array, bool]:
    """One example, or all, as an array of its own type, and whether it is a picture that was turned upright."""
    from PIL import Image

    if isinstance(x, Image.Image):
        return pixels_of(where, x)
    try:
        return (x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)), False
    except (TypeError, ValueError) as error:
        got = f"values of type {x.dtype}" if isinstance(x, Tensor) else f"no array ({short(error)})"
        raise DataError(where, got, "numbers of a type that NumPy has, as many in each row") from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _known(source: str) -> str:
    close = difflib.get_close_matches(source, BUILTIN, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"a file or folder that exists, or one of {', '.join(BUILTIN)}{hint}"


def read_example(path: Path, spec: DataSpec) -> Array:
    """One example in data units, as it came: the array of an `.npy` file, or a picture.

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
    if not spec.is_image or path.suffix.lower() not in SUFFIXES:
        need = "an .npy file" + (" or a PNG, JPEG or TIFF picture" if spec.is_image else "")
        raise DataError(str(path), "no example", f"{need}, or the number of a held-out example")
    pixels = read_picture(path)
    share = pixels / np.iinfo(pixels.dtype).max
    if share.shape != (spec.shape[1:] if spec.shape[0] == 1 else (*spec.shape[1:], spec.shape[0])):
        raise DataError(str(path), shape_words(pixels), f"the shape of an example, {spec.describe()}")
    data = spec.low + share * (spec.high - spec.low)
    data = (np.rint(data) if spec.levels else data).astype(spec.dtype)
    channels_first = data[None] if spec.shape[0] == 1 else np.moveaxis(data, -1, 0)
    return spec.from_channels_first(channels_first[None])[0]
