"""From what a user has, a name, a path or an object of Python, to an array: which reader takes it."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.config import DataConfig
from inkwash.data.builtin import BUILTIN
from inkwash.data.files import is_idx, read_idx, read_npy, read_npz
from inkwash.data.frame import read_frame, read_parquet
from inkwash.data.hub import read_features, read_hub
from inkwash.data.images import SUFFIXES, pixels_of, read_folder, read_picture, read_zip, shape_words
from inkwash.data.raw import Raw
from inkwash.data.table import read_csv
from inkwash.data.transform import Array, DataSpec
from inkwash.errors import DataError

_OBJECTS = ("<array>", "<tensor>", "<table>", "<dataset>", "<hub>")
_FILES = "a folder or .zip file of pictures, an .npy, .npz, .csv, .parquet or IDX file"
_TABLES = (".csv", ".parquet", "<table>", "<hub>")


def source_name(source: Any) -> str:
    """What a source is called in messages and in a run: the words themselves, a path, or the kind of an object.

    Raises:
        DataError: an object of another kind than those that are read.
    """
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
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
        return BUILTIN[where]() if where in BUILTIN else _read_path(where, config)
    if where == "<array>":
        return Raw(source)
    if where == "<tensor>":
        return Raw(_as_array(source, where))
    if where == "<hub>":
        return read_features(source, where, config)
    return read_frame(source, where, config) if where == "<table>" else _read_dataset(source, where)


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


def _read_dataset(source: Any, where: str) -> Raw:
    """All items of a map-style dataset, x or (x, label), held in memory."""
    if not hasattr(source, "__len__") or not len(source):
        raise DataError(where, "a dataset that is empty or has no length", "a map-style one: items by their index")
    items = [source[i] for i in range(len(source))]
    parts = [item if isinstance(item, tuple | list) else (item,) for item in items]
    data = [_as_array(part[0], f"{where}[{i}]") for i, part in enumerate(parts)]
    for i, (part, x) in enumerate(zip(parts, data, strict=True)):
        got, need = ((len(a), b.dtype, b.shape) for a, b in ((part, x), (parts[0], data[0])))
        if got != need or len(part) > 2:
            words = "{} part(s), the first {} of shape {}".format(*got)
            raise DataError(f"{where}[{i}]", words, "x or (x, label), as the first: {1} of shape {2}".format(*need))
    labels = {"label": np.array([_as_label(part[1]) for part in parts])} if len(parts[0]) == 2 else {}
    return Raw(np.stack(data), labels=labels)


def _as_label(label: Any) -> Any:
    if not isinstance(label, Tensor):
        return label
    return label.item() if label.ndim == 0 else label.numpy()


def _as_array(x: Any, where: str) -> Array:
    """One example, or all, as an array of its own type."""
    from PIL import Image

    if isinstance(x, Image.Image):
        return pixels_of(where, x)[0]
    if isinstance(x, Tensor):
        try:
            return x.detach().cpu().numpy()
        except TypeError:
            raise DataError(where, f"values of type {x.dtype}", "a type that NumPy has") from None
    return np.asarray(x)


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
