"""Load a data set by name or path, and check it before anything is trained on it.

Every failure is a `DataError` that names the file and, where there is one, the index of the example at fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.builtin import BUILTIN
from inkwash.data.columns import LARGEST_WHOLE, Column, Type, describe_columns, require_numbers
from inkwash.data.condition import ConditionSpec, goes_with
from inkwash.data.raw import Raw
from inkwash.data.readers import read, source_name
from inkwash.data.rows import blocks, take
from inkwash.data.spec import DataSpec, has_channels


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
        given: what is given of each example, as data of its own, likewise.
    """

    name: str
    data: Array
    spec: DataSpec
    notes: tuple[str, ...] = ()
    condition: ConditionSpec = field(default_factory=ConditionSpec)
    labels: Array | None = None
    given: Dataset | None = None

    def conditions(self, places: Array) -> dict[str, Any]:
        """What the examples at `places` are told by, as `Diffusion.sample` takes it: `label`, `given`, both or none."""
        told: dict[str, Any] = {}
        if self.labels is not None and self.condition.classes is not None:
            told["label"] = [self.condition.classes[number - 1] for number in self.labels[places]]
        if self.given is not None:
            told["given"] = take(self.given.data, places)
        return told

    def fingerprint(self) -> str:
        """SHA-256 over shape, dtype and values, and over the names of columns, the labels and what is given."""
        digest = hashlib.sha256(f"{self.data.shape} {self.data.dtype.str}".encode())
        if self.spec.columns is not None:
            digest.update(_columns_text(self.spec.columns).encode())
        for block in blocks(self.data):
            digest.update(block.tobytes())
        if self.labels is not None:
            digest.update(repr(self.condition.classes).encode() + self.labels.tobytes())
        if self.given is not None:
            digest.update(self.given.fingerprint().encode())
        return digest.hexdigest()


def _columns_text(columns: Mapping[str, Column]) -> str:
    """The columns of a table as the fingerprint hashes them, spelled out: renaming a field of `Column` must not make a
    run refuse its own data."""
    each = (
        f"({name!r}, Column(dtype={column.dtype!r}, categories={column.categories!r}, missing={column.missing!r}))"
        for name, column in columns.items()
    )
    return f"[{', '.join(each)}]"


def load_dataset(source: Any, config: DataConfig | None = None) -> Dataset:
    """The data set that a source holds, checked.

    Args:
        source: a built-in name; a path to a folder or `.zip` file of pictures, or to an `.npy`, `.npz`, `.csv`,
            `.parquet` or IDX file; `hf:NAME` of the Hub; a NumPy array, a tensor, a map-style
            `torch.utils.data.Dataset` of items x or (x, label), a `datasets.Dataset`, or a `pandas.DataFrame`. The
            first axis of an array is the examples.
        config: key, labels, condition, layout and levels, where the user gave them.

    Raises:
        DataError: missing, unreadable, damaged, empty, mixed or non-finite data, or labels or a condition that do not
            fit them.
        ConfigError: a condition of two kinds.
    """
    config = config or DataConfig()
    where, raw, given = source_name(source), read(source, config), None
    if config.condition is not None:
        if config.shrink is not None:
            raise ConfigError("data.shrink", config.shrink, "no data.condition beside it, or that alone")
        raw, given = raw.parted(config.condition, where)
    layout, notes = _layout(where, raw, config)
    gaps = _gaps(raw, layout, config)
    ends = _range(where, raw, None if gaps is None else gaps > 0)
    spec = _spec(where, raw, layout, ends, raw.levels if config.levels is None else config.levels)
    if gaps is not None:
        spec = replace(spec, missing=tuple((gaps > 0).tolist()))
        notes = (*notes, f"NaN stands for a missing entry: {gaps.sum()} of {raw.data.size}")
    described = describe_columns(raw.columns, raw.data) if raw.columns else ()
    data = Dataset(_short_name(where), raw.data, spec, (*raw.notes, *described, *notes))
    labels = raw.labels_named(config.labels, where)
    data = data if labels is None else _labelled(data, labels, where, config.labels)
    if config.shrink is not None:
        return _noted(data, _shrunk(data, config.shrink))
    return data if given is None else _noted(data, _given(data, given, where, config.condition))


def _noted(data: Dataset, given: Dataset) -> Dataset:
    """Data with what is given of it."""
    return replace(data, notes=(*data.notes, f"condition {given.name}: {given.spec.describe()}"), given=given)


def _given(data: Dataset, values: Array, source: str, name: str | None) -> Dataset:
    """What is given beside data, after checking it."""
    where = f"{source}: condition {name}"
    if values.ndim == 0 or len(values) != len(data.data) or 0 in values.shape:
        raise DataError(where, f"shape {values.shape}", f"numbers for each of {len(data.data)} examples")
    names = _layouts_beside(values.ndim, data.spec)
    if not names:
        raise DataError(where, f"shape {values.shape}", f"a number or vector for each {data.spec.kind}, or its like")
    layout = _channels_at_the_smaller_end(names, values.shape)
    low, high = _range(where, Raw(values))
    spec = DataSpec(_shape(values, layout), layout, cast(Type, values.dtype.name), low, high, None)
    if not goes_with(spec, data.spec):
        raise DataError(where, f"sides {spec.size}", f"sides that divide those of the examples, {data.spec.size}")
    return Dataset(str(name), values, spec)


def _layouts_beside(axes: int, spec: DataSpec) -> list[Layout]:
    """The layouts of so many axes that go beside examples: numbers and vectors, and what has as many sides, as the
    examples themselves if it may be."""
    if axes < 3:
        return ["N"] if axes == 1 else ["ND"]
    if len(spec.layout) == axes:
        return [spec.layout]
    alike = [name for name in get_args(Layout) if len(name.replace("C", "")) - 1 == len(spec.size)]
    return [name for name in alike if len(name) == axes]


def _shrunk(data: Dataset, factor: int) -> Dataset:
    """Means over blocks of examples, float32, as data in the layout of the examples."""
    spec = data.spec
    if not spec.size or any(side % factor for side in spec.size):
        need = "sides that it divides" if spec.size else "series, images or volumes"
        raise DataError("data.shrink", f"{factor}, of a {spec.describe()}", need)
    sides = tuple(side // factor for side in spec.size)
    small = replace(spec, shape=(spec.shape[0], *sides), dtype="float32", levels=None)
    parts = (block_means(spec.to_channels_first(block), factor) for block in blocks(data.data))
    means = small.from_channels_first(np.concatenate([part.astype(np.float32) for part in parts]))
    return Dataset(f"shrink {factor}", means, small)


def block_means(x: Array, factor: int) -> Array:
    """Means of `(N, C, *size)` over blocks of `factor` places along each side, which it divides, float64."""
    for axis in range(2, x.ndim):
        ahead = np.moveaxis(x.astype(np.float64), axis, 0)
        total: Any = sum(ahead[i::factor] for i in range(factor))
        x = np.moveaxis(total / factor, 0, axis)
    return x


def _short_name(where: str) -> str:
    """The name of a built-in set or an object, or a file's or folder's without its ending, also of `.` and `..`."""
    path = Path(where.strip("<>"))
    return where if where in BUILTIN else (path if path.name.strip(".") else path.resolve()).stem


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
    condition = ConditionSpec(tuple(map(str, values)))
    note = f"labels {name}: {condition.describe()}; {counts.min()} to {counts.max()} examples of each"
    return replace(data, notes=(*data.notes, note), condition=condition, labels=numbers.astype(np.int64) + 1)


def _layout(source: str, raw: Raw, config: DataConfig) -> tuple[Layout, tuple[str, ...]]:
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
    layout = _channels_at_the_smaller_end(names[: 1 if len(shape) == 3 else 2], shape)
    return layout, (f"shape {shape} read as {layout}; --data.layout says otherwise",)


def _channels_at_the_smaller_end(names: Sequence[Layout], shape: tuple[int, ...]) -> Layout:
    """Of layouts with C last and C first, which fits; of a single one, that."""
    return names[0] if len(names) == 1 or shape[-1] < shape[1] else names[1]


def _gaps(raw: Raw, layout: Layout, config: DataConfig) -> Array | None:
    """How often each entry of vectors is NaN, `(D,)`, if that stands for a missing one."""
    if not config.missing:
        return None
    if raw.columns or layout not in ("N", "ND") or raw.data.dtype.kind != "f" or config.levels is not None:
        need = "an array of vectors of real numbers; missing cells of a table need no option"
        raise DataError("data.missing", "True", need)
    return sum(np.isnan(block).reshape(len(block), -1).sum(0) for block in blocks(raw.data))


def _range(source: str, raw: Raw, missing: Array | None = None) -> tuple[float, float]:
    """The smallest and the largest value, all of them being finite numbers that float64 has, or missing in an entry
    that may be."""
    data, start = raw.data, 0
    if data.dtype.name not in get_args(Type):
        raise DataError(source, f"values of type {data.dtype}", "integers, booleans or real numbers")
    if missing is None:
        missing = np.array([column.missing for column in (raw.columns or {}).values()] or [False])
    ends: list[Any] = []
    for block in blocks(data):
        gone = np.isnan(block)
        bad, need = ~(np.isfinite(block) | (gone & missing)), "finite numbers"
        if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
            bad, need = (block > LARGEST_WHOLE) | (block < -LARGEST_WHOLE), "whole numbers up to 2^53"
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            column = f", column {list(raw.columns)[place[1]]!r}" if raw.columns else ""
            raise DataError(f"{source}[{start + place[0]}]{column}", str(block[place]), need)
        ends += [] if gone.all() else [np.nanmin(block), np.nanmax(block)]
        start += len(block)
    if not ends:
        raise DataError(source, "no value", "entries that are not all missing")
    return float(min(ends)), float(max(ends))


def _spec(source: str, raw: Raw, layout: Layout, ends: tuple[float, float], levels: int | None) -> DataSpec:
    data, (low, high) = raw.data, ends
    if levels is not None:
        require_numbers(raw.columns or {})
    shape, dtype = _shape(data, layout), cast(Type, data.dtype.name)
    if data.dtype.kind == "f" and levels is None:
        return DataSpec(shape, layout, dtype, low, high, None, raw.columns)
    if levels is None:
        low, high = _alphabet(data, low, high)
        levels = int(high - low) + 1
    elif low < 0 or high > levels - 1 or not _is_whole(data):
        raise DataError(
            source, f"values in [{low:g}, {high:g}]", f"whole numbers 0 to {levels - 1} for {levels} levels"
        )
    else:
        low, high = 0.0, float(levels - 1)
    if not 2 <= levels <= 65536:
        raise DataError(source, f"{levels} levels", "between 2 and 65536")
    return DataSpec(shape, layout, dtype, low, high, levels, raw.columns)


def _is_whole(data: Array) -> bool:
    return data.dtype.kind != "f" or all(np.array_equal(block, np.rint(block)) for block in blocks(data))


def _alphabet(data: Array, low: float, high: float) -> tuple[float, float]:
    """The range of an integer type: the whole of uint8, uint16 and bool; what was seen of the wider ones."""
    whole = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}.get(data.dtype.name)
    return (low, high) if whole is None else (0.0, whole)


def _shape(data: Array, layout: Layout) -> tuple[int, ...]:
    rest = tuple(int(n) for n in data.shape[1:])
    if layout.endswith("C"):
        return rest[-1:] + rest[:-1]
    return rest if has_channels(layout) else (1, *rest)
