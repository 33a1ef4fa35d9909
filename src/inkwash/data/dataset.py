"""Load a data set by name or path, and check it before anything is trained on it.

Every failure is a `DataError` that names the file and, where there is one, the index of the example at fault.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.brief import page
from inkwash.core.config import DataConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.builtin import BUILTIN
from inkwash.data.columns import Column, describe_columns
from inkwash.data.condition import ConditionKeywords, ConditionSpec, goes_with
from inkwash.data.csv_files import dump_csv
from inkwash.data.doubts import Doubt, require_none
from inkwash.data.infer import infer_given_spec, infer_spec, with_real_numbers
from inkwash.data.pictures import png_of, sheet
from inkwash.data.ragged import ended
from inkwash.data.raw import Raw, require_room
from inkwash.data.readers import divided, read, source_name
from inkwash.data.recurring import recurring_words, with_laws
from inkwash.data.rows import blocks, take
from inkwash.data.spec import DataSpec

_SHOWN = 16
"""How many examples a notebook shows."""


@dataclass(frozen=True)
class Dataset:
    """A checked data set.

    Args:
        name: short name, for folders and titles.
        data: the examples in data units along the first axis; may be memory-mapped.
        spec: what one example is.
        notes: what loading decided or converted, one sentence each, to be shown to the user.
        condition: the classes of the labels, if the user wants labels.
        labels: the number of each example's class, 1, 2, …, int64 `(N,)`, if the user wants labels.
        given: the values given with each example, as data of their own, if the user wants such a condition.
        doubts: what was decided about a table and could be otherwise.
    """

    name: str
    data: Array
    spec: DataSpec
    notes: tuple[str, ...] = ()
    condition: ConditionSpec = field(default_factory=ConditionSpec)
    labels: Array | None = None
    given: Dataset | None = None
    doubts: tuple[Doubt, ...] = ()

    def __repr__(self) -> str:
        beside = f"; {self.condition.describe()}" if self.condition.classes else ""
        return f"<Dataset {self.name}: {len(self.data)} examples, {self.spec.describe()}{beside}>"

    def _repr_html_(self) -> str:
        """The notes, and the first examples as a grid or a table."""
        first = take(self.data, slice(0, _SHOWN))
        if self.spec.columns is not None:
            return page(repr(self), self.notes, table=csv.reader(dump_csv(self.spec, first).decode().splitlines()))
        return page(repr(self), self.notes, [png_of(sheet(self.spec, first))])

    def conditions(self, places: Array) -> ConditionKeywords:
        """The conditions of the examples at `places`, as `Diffusion.sample` takes them."""
        found: ConditionKeywords = {}
        if self.labels is not None and self.condition.classes is not None:
            found["label"] = [self.condition.classes[number - 1] for number in self.labels[places]]
        if self.given is not None:
            found["given"] = take(self.given.data, places)
        return found

    def fingerprint(self) -> str:
        """SHA-256 over shape, dtype and values, and over the names of columns, the labels and the given values."""
        digest = hashlib.sha256(f"{self.data.shape} {self.data.dtype.str}".encode())
        if self.spec.columns is not None:
            digest.update(_columns_text(self.spec.columns).encode())
        for name, constant in (self.spec.reading.constants if self.spec.reading else {}).items():
            digest.update(f"{name!r}: {constant.column.categories!r} {constant.value!r}".encode())
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
        f"({name!r}, Column(dtype={column.dtype!r}, categories={column.categories!r}, missing={column.missing!r}"
        f"{_newer_text(column)}))"
        for name, column in columns.items()
    )
    return f"[{', '.join(each)}]"


def _newer_text(column: Column) -> str:
    """The fields that columns did not always have, where they say something."""
    clock = column.clock
    text = "" if clock is None else f", resolution={clock.resolution!r}, zone={clock.zone!r}"
    is_typed = column.ordered or column.level_type != "str"
    return text + f", ordered={column.ordered!r}, level_type={column.level_type!r}" * is_typed


def load_dataset(source: Any, config: DataConfig | None = None) -> Dataset:
    """The data set that a source holds, checked.

    Args:
        source: a built-in name, a path to a file or folder, or `hf:NAME` of the Hub; or an object: an array, a tensor,
            a data frame, a `datasets.Dataset`, or a list, a generator or a map-style `torch.utils.data.Dataset` of
            items x or (x, label). `inkwash.data.readers` lists every kind. The first axis of an array holds the
            examples.
        config: how the source is read and what its examples are, where the user decides it.

    Raises:
        DataError: missing, unreadable, damaged, empty, mixed or non-finite data, or labels or a condition that do not
            fit it; with `config.strict`, doubts about a table.
        ConfigError: two conditions in one run, `data.shrink` and `data.condition`.
    """
    config = config or DataConfig()
    where, raw, values = source_name(source), read(source, config), None
    if config.lengths is not None:
        raw = ended(raw, config, where)
    raw = with_real_numbers(raw, config, where)
    if config.condition is not None:
        if config.shrink is not None:
            raise ConfigError("data.shrink", config.shrink, "no data.condition beside it, or only that")
        raw, values = raw.without_condition(config.condition, where)
    if config.strict:
        require_none(where, raw.doubts, config)
    if config.infinite == "missing" and raw.columns is None and raw.data.dtype.kind == "f":
        require_room(where, raw.data.nbytes)
        raw = replace(raw, data=np.where(np.isinf(raw.data), np.nan, raw.data))
    raw = _with_laws(raw, config)
    spec, notes = infer_spec(where, raw, config)
    described = (
        [*describe_columns(raw.columns, raw.data), *recurring_words(raw.columns, raw.data)] if raw.columns else ()
    )
    spec = replace(spec, reading=raw.reading, origin=raw.origin)
    data = Dataset(_short_name(where), raw.data, spec, (*raw.notes, *described, *notes), doubts=raw.doubts)
    if config.labels is not None:
        data = _labelled(data, raw.labels_named(config.labels, where), where, config.labels)
    if config.shrink is not None:
        return _with_given(data, _shrunk(data, config.shrink))
    return data if values is None else _with_given(data, _given(data, values, where, str(config.condition)))


def _with_laws(raw: Raw, config: DataConfig) -> Raw:
    """A table with what the numbers of its columns show about their law; other data as it is.

    Raises:
        ConfigError: `data.masses` does not fit it.
    """
    if raw.columns is None or config.levels not in (None, "real"):
        if config.masses is not None:
            need = "a table without data.levels, whose columns have names"
            raise ConfigError("data.masses", " ".join(config.masses), need)
        return raw
    return replace(raw, columns=with_laws(raw.columns, raw.data, config))


def _short_name(where: str) -> str:
    """The name of a built-in set or an object, or of a file or folder without its ending, even if the path is `.`."""
    path = Path(divided(where)[0].strip("<>"))
    return where if where in BUILTIN else (path if path.name.strip(".") else path.resolve()).stem


def _labelled(data: Dataset, labels: Array, source: str, name: str) -> Dataset:
    """Data with its labels, which are checked first."""
    where = f"{source}: labels {name}"
    if labels.shape != (len(data.data),):
        raise DataError(where, f"labels of shape {labels.shape}", f"one for each of {len(data.data)} examples")
    if labels.dtype.kind not in "biuU":
        raise DataError(where, f"labels of type {labels.dtype}", "whole numbers, booleans or text")
    nameless = (np.char.strip(labels) == "") if labels.dtype.kind == "U" else np.zeros(len(labels), bool)
    if nameless.any():
        got = f"no class, as in {nameless.sum()} of {len(labels)} examples (None, -1 or empty text)"
        need = "a class for each example; leave the others out first, or train without data.labels"
        raise DataError(f"{where}[{nameless.argmax()}]", got, need)
    values, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise DataError(where, f"{values[0]} for every example", "labels of at least 2 classes")
    condition = ConditionSpec(tuple(map(str, values)))
    note = f"labels {name}: {condition.describe()}; {counts.min()} to {counts.max()} examples of each"
    return replace(data, notes=(*data.notes, note), condition=condition, labels=numbers.astype(np.int64) + 1)


def _with_given(data: Dataset, given: Dataset) -> Dataset:
    """Data with the values given with it, and a note on these."""
    return replace(data, notes=(*data.notes, f"condition {given.name}: {given.spec.describe()}"), given=given)


def _given(data: Dataset, values: Array, source: str, name: str) -> Dataset:
    """The values given with data, which are checked first."""
    where = f"{source}: condition {name}"
    if values.ndim == 0 or len(values) != len(data.data) or 0 in values.shape:
        raise DataError(where, f"shape {values.shape}", f"numbers for each of {len(data.data)} examples")
    spec = infer_given_spec(where, values, data.spec)
    if not goes_with(spec, data.spec):
        raise DataError(where, f"sides {spec.size}", f"sides that divide those of the examples, {data.spec.size}")
    return Dataset(name, values, spec)


def _shrunk(data: Dataset, factor: int) -> Dataset:
    """Means over blocks of examples, float32, as data in the layout of the examples."""
    spec = data.spec
    if spec.may_miss.any():
        raise DataError("data.shrink", f"{factor}, of series with missing places", "series without; a mean needs all")
    if not spec.size or any(side % factor for side in spec.size):
        need = "sides that it divides" if spec.size else "series, images or volumes"
        raise DataError("data.shrink", f"{factor}, of a {spec.describe()}", need)
    sides = tuple(side // factor for side in spec.size)
    small = replace(spec, shape=(spec.shape[0], *sides), dtype="float32", levels=None, contrast=None)
    parts = (block_means(spec.to_channels_first(block), factor) for block in blocks(data.data))
    means = small.from_channels_first(np.concatenate([part.astype(np.float32) for part in parts]))
    return Dataset(f"shrink {factor}", means, small)


def block_means(x: Array, factor: int) -> Array:
    """Means of `(N, C, *size)` over blocks of `factor` places along each side, float64; `factor` divides the sides."""
    for axis in range(2, x.ndim):
        ahead = np.moveaxis(x.astype(np.float64), axis, 0)
        total: Any = sum(ahead[i::factor] for i in range(factor))
        x = np.moveaxis(total / factor, 0, axis)
    return x
