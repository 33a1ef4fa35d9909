"""Data sets that are objects of Python: arrays, tensors, lists, generators, and data sets of torch."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch import Tensor

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array, to_array
from inkwash.data.arrays import read_npy
from inkwash.data.decode import Decoded, decode, picture_of
from inkwash.data.images import SUFFIXES, folders_of, is_picture_file, stack
from inkwash.data.raw import Raw, exists, require_room, short


def is_array(source: Any) -> bool:
    """Whether it is an array of NumPy, or one of xarray."""
    labelled = getattr(sys.modules.get("xarray"), "DataArray", np.ndarray)
    return isinstance(source, np.ndarray | labelled)


def is_items(source: Any) -> bool:
    """Whether it is a list or tuple of examples, or a generator of them."""
    return isinstance(source, list | tuple | Iterator)


def read_array(source: Any, _where: str, _config: DataConfig) -> Raw:
    """An array, as it is; it may be memory-mapped. What is masked is missing."""
    return Raw(np.asarray(unmasked(source)), masked=is_masked(source))


def unmasked(x: Any) -> Any:
    """A masked array as real numbers with NaN for what is masked, if anything is; anything else as it is."""
    if not is_masked(x):
        return x.data if isinstance(x, np.ma.MaskedArray) else x
    return np.ma.filled(x if x.dtype.kind == "f" else x.astype(np.float64), np.nan)


def as_array(x: Any) -> Array:
    """A tensor, also one of a type that NumPy lacks, a masked array, with NaN for what is masked, or anything else of
    which NumPy makes an array."""
    return to_array(x) if isinstance(x, Tensor) else np.asarray(unmasked(x))


def is_masked(x: Any) -> bool:
    """Whether it is an array with masked entries."""
    return isinstance(x, np.ma.MaskedArray) and bool(np.ma.getmaskarray(x).any())


def read_tensor(source: Tensor, where: str, _config: DataConfig) -> Raw:
    """A tensor, as an array of the same type, or of the float32 that holds all of its values.

    Raises:
        DataError: NumPy does not have its type.
    """
    found = _of_array(source, where)
    return Raw(found.values[0], notes=tuple(f"a tensor {words}" for words in found.done))


def read_items(source: Any, where: str, config: DataConfig) -> Raw:
    """All items of a data set, a list or a generator, x or (x, label), held in memory; labels only if an option wants
    them. Of paths without labels, the labels "folder" name the folder of each.

    Raises:
        DataError: no items, items that differ in type or shape, or an item that is no array of numbers.
    """
    items = source if hasattr(source, "__getitem__") and hasattr(source, "__len__") else _listed(source, where)
    if not len(items):
        raise DataError(where, "no items", "at least two")
    labelled = config.labels not in (None, "folder") or config.condition is not None
    first, labels, masked = _parts(items[0]), dict[int, Array](), set[int]()

    def decoded(i: int, place: str) -> Decoded:  # the file of a picture is closed before the next is opened
        parts = _parts(items[i])
        if len(parts) != len(first):
            raise DataError(place, f"{len(parts)} part(s)", f"{len(first)}, as the first")
        if labelled and len(parts) > 1:
            if parts[1] is None:
                raise DataError(f"{place}: label", "None", "a class for each item; leave the others out first")
            labels[i] = _of_array(parts[1], f"{place}: label").values[0]
        if is_masked(parts[0]):
            masked.add(i)
        return _example(parts[0], place, config)

    decoders: dict[str, Callable[[], Decoded]] = {}
    for i in range(len(items)):
        place = f"{where}[{i}]"
        decoders[place] = partial(decoded, i, place)
    raw, files = stack(where, decoders, config)
    beside = {"label": _stacked(where, labels)[files]} if labels else _folders(items, first[0], files)
    unused = (f"items of {len(first)} parts: x, a label, and others that are not used",) if len(first) > 2 else ()
    return Raw(raw.data, raw.layout, raw.levels, (*raw.notes, *unused), beside, masked=bool(masked))


def _listed(source: Any, where: str) -> list[Any]:
    """All items of what can only be gone through, as long as there is room for them."""
    items, size = [], 0
    for item in source:
        items.append(item)
        size += getattr(_parts(item)[0], "nbytes", 0)
        require_room(where, size, held=size)
    return items


def _parts(item: Any) -> Sequence[Any]:
    """x and what comes with it, if the first part of an item is an array, tensor, picture or path; otherwise the item
    is x, even if it is a list of numbers."""
    from PIL import Image

    kinds = (np.ndarray, Tensor, Image.Image, str, os.PathLike)
    is_parted = isinstance(item, tuple | list) and item and isinstance(item[0], kinds)
    return item if is_parted else (item,)


def _example(x: Any, where: str, config: DataConfig) -> Decoded:
    """One example: a picture, the path of a picture or of an array, or numbers."""
    from PIL import Image

    if isinstance(x, Image.Image):
        return picture_of(where, x, config.pages)
    if not isinstance(x, str | os.PathLike):
        return _of_array(x, where)
    path = Path(x)
    if not exists(path) and is_picture_file(path):
        raise DataError(where, f"no file {path}", "paths of files that exist")
    if path.suffix == ".npy":
        return _of_array(read_npy(path), where)
    if not is_picture_file(path):
        need = f"an array, a picture, or the path of a file {', '.join(SUFFIXES)} or .npy"
        raise DataError(where, repr(str(x)), need)
    return decode(str(path), path.read_bytes, config.pages)


def _folders(items: Sequence[Any], first: Any, files: Array) -> dict[str, Array]:
    """The folder of each path, as labels, if items are paths, as the first is."""
    if not isinstance(first, str | os.PathLike):
        return {}
    names = [PurePosixPath(Path(_parts(items[i])[0]).resolve().as_posix()) for i in range(len(items))]
    return {"folder": folders_of(names)[files]}


def _stacked(where: str, labels: dict[int, Array]) -> Array:
    """Labels of one kind and shape."""
    first = labels[0]
    for i, label in labels.items():
        if (label.dtype.kind, label.shape) != (first.dtype.kind, first.shape):
            got, need = (f"{each.dtype} of shape {each.shape}" for each in (label, first))
            raise DataError(f"{where}[{i}]: label", got, f"{need}, as the first")
    return np.stack(list(labels.values()))


def _of_array(x: Any, where: str) -> Decoded:
    """One example, or all of them, as an array of its own type."""
    if isinstance(x, dict):
        need = "x or (x, label); take them out of it, as in [item['image'] for item in data]"
        raise DataError(where, f"a dict of {', '.join(map(str, x))}", need)
    try:
        array = as_array(x)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"values of type {x.dtype}" if isinstance(x, Tensor) else f"no array ({short(error)})"
        raise DataError(where, got, "numbers of a type that NumPy has, as many in each row") from None
    kind = str(x.dtype).removeprefix("torch.") if isinstance(x, Tensor) else array.dtype.name
    done = () if kind == array.dtype.name else (f"of {kind} read as float32, which holds all of its values",)
    return Decoded(array[None], None, done=done)
