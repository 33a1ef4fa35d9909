"""Series of unequal length: a list of arrays, and the `.ts` files of the UCR and UEA archives.

They become one array in which a series that ends early is NaN beyond its end. The format of `.ts` files is that of
sktime and aeon: lines of `@` and `#`, then `@data`, and a line for each series. There, channels are separated by
colons, places by commas, and `?` stands for a missing value; the last part of a line is the class, or the number to
predict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.dialects import bounded
from inkwash.data.objects import as_array, is_masked
from inkwash.data.raw import Raw, require_room, short

_LONGEST = 1 << 25
_TARGETS = {"@classlabel": "class", "@targetlabel": "target"}


def is_ragged(source: Any) -> bool:
    """Whether it is a list or tuple of series of unequal length: `(L,)`, `(L, C)` or `(C, L)`."""
    if not isinstance(source, list | tuple) or not all(isinstance(each, np.ndarray | Tensor) for each in source):
        return False
    axes = {each.ndim for each in source}
    return axes in ({1}, {2}) and len({tuple(each.shape) for each in source}) > 1


def read_ragged(source: Sequence[Any], where: str, config: DataConfig) -> Raw:
    """A list of series; the side that differs is time.

    Raises:
        DataError: no numbers, series that differ in both sides, or NaN that is not masked, without `data.missing`.
    """
    arrays = [as_array(each) for each in source]
    varies = [axis for axis in range(arrays[0].ndim) if len({array.shape[axis] for array in arrays}) > 1]
    if len(varies) > 1:
        got = f"shapes {arrays[0].shape}, {next(a.shape for a in arrays if a.shape != arrays[0].shape)}, …"
        raise DataError(where, got, "series that differ in their number of places only")
    layout: Layout = "NL" if arrays[0].ndim == 1 else "NLC" if varies == [0] else "NCL"
    can_miss = config.missing or any(map(is_masked, source))
    return padded(arrays, varies[0], layout, where, replace(config, missing=can_miss))


def padded(
    arrays: Sequence[Array], axis: int, layout: Layout, where: str, config: DataConfig, labels: Any = None
) -> Raw:
    """Series as one array, NaN beyond their ends.

    Args:
        arrays: the series.
        axis: which of their axes is time.
        layout: of all of them.
        where: what they are called in messages.
        config: whether they may have gaps.
        labels: of the series, by name.

    Raises:
        DataError: no real numbers, a series without a place, or NaN without `data.missing`.
    """
    dtype = np.result_type(*{array.dtype for array in arrays})
    lengths = np.array([array.shape[axis] for array in arrays])
    if dtype.kind not in "biuf":
        raise DataError(where, f"values of type {dtype}", "series of numbers")
    for i, array in enumerate(arrays):
        if not lengths[i] or (np.isnan(array).any() and not config.missing):
            got = "NaN" if lengths[i] else "no place"
            raise DataError(f"{where}[{i}]", got, "numbers; with --data.missing, NaN stands for a missing place")
    notes: tuple[str, ...] = ()
    if lengths.min() == lengths.max():
        return Raw(np.stack(arrays), layout, labels=labels or {})
    if dtype.kind != "f":
        dtype, notes = np.dtype(np.float64), (f"{dtype} read as real numbers, as series of unequal length are",)
    shape = list(arrays[0].shape)
    shape[axis] = int(lengths.max())
    require_room(where, len(arrays) * math.prod(shape) * dtype.itemsize)
    data = np.full((len(arrays), *shape), np.nan, dtype)
    for row, array in zip(data, arrays, strict=True):
        np.moveaxis(row, axis, 0)[: array.shape[axis]] = np.moveaxis(array, axis, 0)
    note = f"series of {lengths.min()} to {lengths.max()} places"
    return Raw(data, layout, notes=(*notes, note), labels=labels or {}, lengths=lengths)


def ended(raw: Raw, config: DataConfig, where: str) -> Raw:
    """An array of padded series as series of unequal length.

    Args:
        raw: the array, and beside it the number of places of each series.
        config: names these numbers, and the layout of the array.
        where: what the array is called in messages.

    Raises:
        DataError: no series, no numbers from 1 to the length of the array for each of them, or as `padded`.
    """
    lengths, layout = raw.labels[str(config.lengths)], raw.layout or config.layout
    if layout not in ("NL", "NLC", "NCL") or raw.data.ndim != len(layout):
        need = "series, with --data.layout NL, NLC or NCL"
        raise DataError("data.lengths", f"{config.lengths!r}, for an array of shape {raw.data.shape}", need)
    axis, name = layout.index("L"), f"{where}: lengths {config.lengths}"
    most = raw.data.shape[axis]
    if lengths.shape != raw.data.shape[:1] or lengths.dtype.kind not in "iu":
        need = f"a whole number for each of {len(raw.data)} series"
        raise DataError(name, f"{lengths.dtype} of shape {lengths.shape}", need)
    if (bad := (lengths < 1) | (lengths > most)).any():
        raise DataError(f"{name}[{bad.argmax()}]", lengths[bad.argmax()], f"1 to {most} places")
    arrays = [np.take(row, range(length), axis - 1) for row, length in zip(raw.data, lengths, strict=True)]
    can_miss = replace(config, missing=config.missing or raw.masked)
    found = padded(arrays, axis - 1, cast(Layout, layout), where, can_miss)
    notes = (*raw.notes, *found.notes)
    return replace(raw, data=found.data, layout=found.layout, lengths=found.lengths, notes=notes)


def read_ts(path: Path, config: DataConfig) -> Raw:
    """A `.ts` file; its classes are the labels `class`, and its targets the condition `target`.

    Raises:
        DataError: an unreadable file, one with time stamps, or series whose channels differ in length.
    """
    where, series, last = str(path), list[Array](), list[str]()
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = ((n, line.strip()) for n, line in enumerate(bounded(where, file, _LONGEST), 1))
            header = _header(where, lines)
            target = next((name for tag, name in _TARGETS.items() if header.get(tag) == "true"), None)
            for number, line in lines:
                if line and line[0] not in "#@":
                    parts = line.split(":")
                    last += [parts.pop().strip()] if target else []
                    series.append(_channels(f"{where} line {number}", parts))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(where, f"an unreadable file ({short(error)})", "a .ts file of text") from None
    channels = {len(each) for each in series}
    if len(channels) != 1:
        got = f"series of {sorted(channels)} channels" if channels else "no series"
        raise DataError(where, got, "series, as many channels in each")
    labels = {} if target is None else {target: _numbers(last) if target == "target" else np.array(last)}
    if len(series[0]) == 1:
        return padded([each[0] for each in series], 0, "NL", where, config, labels)
    return padded(series, 1, "NCL", where, config, labels)


def _header(where: str, lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    """What the lines before the data say, by tag."""
    header = dict[str, str]()
    for _, line in lines:
        tag = line.split() if line.startswith("@") else ["#"]
        header[tag[0].lower()] = (tag[1:] or [""])[0].lower()
        if line.lower() == "@data":
            break
    if header.get("@timestamps") == "true" or "@data" not in header:
        got = "time stamps" if "@data" in header else "no line @data"
        raise DataError(where, got, "a .ts file of series, a line for each after @data, without time stamps")
    return header


def _channels(where: str, parts: Sequence[str]) -> Array:
    """The channels of one line, `(C, L)`."""
    try:
        found = [_numbers(part.split(",")) for part in parts]
        return np.stack(found)
    except ValueError as error:
        need = "numbers with commas between them, and channels of equal length with colons between"
        raise DataError(where, f"no series ({short(error)})", need) from None


def _numbers(words: Sequence[str]) -> Array:
    return np.array([np.nan if word.strip() == "?" else float(word) for word in words])
