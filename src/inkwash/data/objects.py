"""Data sets that are objects of Python: arrays, tensors, and map-style data sets of torch."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.images import note_turned, pixels_of
from inkwash.data.raw import Raw, short


def is_array(source: Any) -> bool:
    """Whether it is an array of NumPy, or one of xarray."""
    labelled = getattr(sys.modules.get("xarray"), "DataArray", np.ndarray)
    return isinstance(source, np.ndarray | labelled)


def read_array(source: Any, _where: str, _config: DataConfig) -> Raw:
    """An array, as it is; it may be memory-mapped. What is masked is missing."""
    if not isinstance(source, np.ma.MaskedArray):
        return Raw(np.asarray(source))
    return Raw(unmasked(source), masked=bool(np.ma.getmaskarray(source).any()))


def unmasked(x: Any) -> Any:
    """A masked array as real numbers with NaN for what is masked, if anything is; anything else as it is."""
    if not isinstance(x, np.ma.MaskedArray):
        return x
    if not np.ma.getmaskarray(x).any():
        return x.data
    return np.ma.filled(x if x.dtype.kind == "f" else x.astype(np.float64), np.nan)


def read_tensor(source: Tensor, where: str, _config: DataConfig) -> Raw:
    """A tensor, as an array of the same type.

    Raises:
        DataError: NumPy does not have its type.
    """
    return Raw(_as_array(source, where)[0])


def read_items(source: Any, where: str, config: DataConfig) -> Raw:
    """All items of a map-style data set, x or (x, label), held in memory; labels only if an option wants them.

    Raises:
        DataError: no items, items that differ in type or shape, or an item that is no array of numbers.
    """
    if not hasattr(source, "__len__") or not len(source):
        raise DataError(where, "a dataset that is empty or has no length", "a map-style one: items by their index")
    labelled = config.labels is not None or config.condition is not None
    arrays: list[list[Array]] = []
    turned, need = 0, None
    for i in range(len(source)):  # the file of a picture is closed before the next is opened
        parts, place = _parts(source[i]), f"{where}[{i}]"
        found = [_as_array(part, place) for part in parts[: 1 + labelled]]
        arrays.append([values for values, _ in found])
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
    """x and its label, if the first part of an item is an array, tensor or picture; otherwise the item is x, even if it
    is a list of numbers."""
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
    """One example, or all of them, as an array of its own type, and whether it is a picture that was turned upright."""
    from PIL import Image

    if isinstance(x, Image.Image):
        return pixels_of(where, x)
    try:
        return (x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)), False
    except (TypeError, ValueError) as error:
        got = f"values of type {x.dtype}" if isinstance(x, Tensor) else f"no array ({short(error)})"
        raise DataError(where, got, "numbers of a type that NumPy has, as many in each row") from None
