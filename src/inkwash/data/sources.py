"""Load a data set by name or path, and check it before anything is trained on it.

Every failure is a `DataError` that names the file and, where there is one, the index of the example at fault.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from inkwash.condition import Condition
from inkwash.config import DataConfig
from inkwash.data.builtin import BUILTIN
from inkwash.data.files import read_npy, read_npz, read_pictures
from inkwash.data.transform import Array, DataSpec, Layout, Type, has_channels
from inkwash.errors import DataError

_BLOCK = 4096


@dataclass(frozen=True)
class Dataset:
    """A checked data set.

    Args:
        name: short name, for folders and titles.
        data: the examples in data units, first axis the examples; may be memory-mapped.
        spec: what one example is.
        notes: what loading chose or converted, one sentence each, to be shown to the user.
        condition: the classes of the labels, if these were asked for.
        labels: the number of each example's class, 1, 2, …, int64 `(N,)`, likewise.
    """

    name: str
    data: Array
    spec: DataSpec
    notes: tuple[str, ...] = ()
    condition: Condition = field(default_factory=Condition)
    labels: Array | None = None

    def fingerprint(self) -> str:
        """SHA-256 over shape, dtype and values, and over the labels."""
        digest = hashlib.sha256(f"{self.data.shape} {self.data.dtype.str}".encode())
        for start in range(0, len(self.data), _BLOCK):
            digest.update(np.ascontiguousarray(self.data[start : start + _BLOCK]).tobytes())
        if self.labels is not None:
            digest.update(repr(self.condition.classes).encode() + self.labels.tobytes())
        return digest.hexdigest()


def load_dataset(source: str, config: DataConfig | None = None) -> Dataset:
    """The data set that `source` names: a built-in name, an `.npy` or `.npz` file, or a folder of PNG/JPEG pictures.

    Args:
        source: name or path.
        config: key, labels, layout and levels, where the user gave them.

    Raises:
        DataError: missing, unreadable, damaged, empty, mixed or non-finite data, or labels that do not fit them.
    """
    config = config or DataConfig()
    raw = _read(source, config)
    layout, notes = _layout(source, raw, config)
    _require_sound(source, raw.data)
    spec = _spec(source, raw.data, layout, raw.levels if config.levels is None else config.levels)
    name = source if source in BUILTIN else Path(source).stem
    data = Dataset(name, raw.data, spec, (*raw.notes, *notes))
    return data if raw.labels is None else _labelled(data, raw.labels, source, config.labels)


@dataclass(frozen=True)
class _Raw:
    """An array as read, with what its source knows of it."""

    data: Array
    levels: int | None = None
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    labels: Array | None = None


def _read(source: str, config: DataConfig) -> _Raw:
    path = Path(source)
    if config.key is not None and path.suffix != ".npz":
        raise DataError("data.key", repr(config.key), "an .npz file to look it up in")
    if source in BUILTIN:
        return _builtin(source, config.labels)
    if not _exists(path):
        raise DataError("data", repr(source), _known(source))
    if config.labels is not None and path.suffix != ".npz":
        raise DataError("data.labels", repr(config.labels), "an .npz file, or a built-in set that has labels")
    if path.is_dir():
        data, notes = read_pictures(path)
        return _Raw(data, layout="NHW" if data.ndim == 3 else "NHWC", notes=notes)
    if path.suffix == ".npy":
        return _Raw(read_npy(path))
    if path.suffix == ".npz":
        (data, *labels), notes = read_npz(path, config.key, config.labels)
        return _Raw(data, notes=notes, labels=labels[0] if labels else None)
    raise DataError(source, f"a {path.suffix or 'nameless'} file", "a folder of pictures, an .npy or an .npz file")


def _builtin(source: str, labels: str | None) -> _Raw:
    load, levels, layout = BUILTIN[source]
    data, known = load()
    if labels is not None and labels not in known:
        raise DataError("data.labels", repr(labels), f"{', '.join(known) or 'nothing'}, as {source} has")
    return _Raw(data, levels, layout, labels=None if labels is None else known[labels])


def _labelled(data: Dataset, labels: Array, source: str, name: str | None) -> Dataset:
    """Data with its labels, after checking these."""
    where = f"{source}: labels {name}"
    if labels.shape != (len(data.data),):
        raise DataError(where, f"labels of shape {labels.shape}", f"one for each of {len(data.data)} examples")
    if labels.dtype.kind not in "biuU":
        raise DataError(where, f"labels of type {labels.dtype}", "whole numbers, booleans or text")
    nameless = (np.char.strip(labels) == "") if labels.dtype.kind == "U" else np.zeros(len(labels), bool)
    if nameless.any():
        raise DataError(f"{where}[{nameless.argmax()}]", "no text", "the name of a class")
    values, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise DataError(where, f"{values[0]} for every example", "labels of at least 2 classes")
    condition = Condition(tuple(map(str, values)))
    note = f"labels {name}: {condition.describe()}; {counts.min()} to {counts.max()} examples of each"
    return replace(data, notes=(*data.notes, note), condition=condition, labels=numbers.astype(np.int64) + 1)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _known(source: str) -> str:
    close = difflib.get_close_matches(source, BUILTIN, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"a file or folder that exists, or one of {', '.join(BUILTIN)}{hint}"


def _layout(source: str, raw: _Raw, config: DataConfig) -> tuple[Layout, tuple[str, ...]]:
    """The axes of an array: as the user or its source says, else by their number; of four and five, the smaller end is
    C."""
    shape = raw.data.shape
    names = [name for name in get_args(Layout) if len(name) == len(shape)]
    if not names or 0 in shape:
        raise DataError(source, f"an array of shape {shape}", "one of 1 to 5 axes, none of them empty")
    if len(raw.data) < 2:
        raise DataError(source, "one example", "at least 2: one to train on and one to hold out")
    if config.layout != "auto":
        allowed = names if raw.layout is None else [raw.layout]
        if config.layout not in allowed:
            raise DataError("data.layout", config.layout, f"one of {', '.join(allowed)} for shape {shape}")
        return config.layout, ()
    if raw.layout is not None or len(shape) < 3:
        return raw.layout or names[0], ()
    layout = names[0] if len(shape) == 3 or shape[-1] < shape[1] else names[1]
    return layout, (f"shape {shape} read as {layout}; --data.layout says otherwise",)


def _require_sound(source: str, data: Array) -> None:
    if data.dtype.name not in get_args(Type):
        raise DataError(source, f"values of type {data.dtype}", "integers, booleans or real numbers")
    if data.dtype.kind != "f":
        return
    for start in range(0, len(data), _BLOCK):
        bad = ~np.isfinite(data[start : start + _BLOCK])
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            value = data[start : start + _BLOCK][place]
            raise DataError(f"{source}[{start + place[0]}]", str(value), "finite numbers")


def _spec(source: str, data: Array, layout: Layout, levels: int | None) -> DataSpec:
    shape, dtype = _shape(data, layout), cast(Type, data.dtype.name)
    low, high = float(data.min()), float(data.max())
    if data.dtype.kind == "f" and levels is None:
        return DataSpec(shape, layout, dtype, low, high, None)
    if levels is None:
        low, high = _alphabet(data, low, high)
        levels = int(high - low) + 1
    elif low < 0 or high > levels - 1 or (data.dtype.kind == "f" and not np.array_equal(data, np.rint(data))):
        raise DataError(
            source, f"values in [{low:g}, {high:g}]", f"whole numbers 0 to {levels - 1} for {levels} levels"
        )
    else:
        low, high = 0.0, float(levels - 1)
    if not 2 <= levels <= 65536:
        raise DataError(source, f"{levels} levels", "between 2 and 65536")
    return DataSpec(shape, layout, dtype, low, high, levels)


def _alphabet(data: Array, low: float, high: float) -> tuple[float, float]:
    """The range of an integer type: the whole of uint8, uint16 and bool; what was seen of the wider ones."""
    whole = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}.get(data.dtype.name)
    return (low, high) if whole is None else (0.0, whole)


def _shape(data: Array, layout: Layout) -> tuple[int, ...]:
    rest = tuple(int(n) for n in data.shape[1:])
    if layout.endswith("C"):
        return rest[-1:] + rest[:-1]
    return rest if has_channels(layout) else (1, *rest)
