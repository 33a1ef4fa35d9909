"""What an array holds: its axes, its range and its levels, from what the user, its source and its numbers say."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import LARGEST_INTEGER, Type, require_numbers
from inkwash.data.raw import Raw
from inkwash.data.rows import blocks
from inkwash.data.spec import FEW_LEVELS, DataSpec, has_channels, rounding

_HARDLY = 1e-4
"""A channel whose values span no more than this share of them is said to hardly vary."""
DEPTHS = (10, 12, 14, 16)
"""Bits per value that cameras store in uint16."""


def infer_spec(where: str, raw: Raw, config: DataConfig) -> tuple[DataSpec, tuple[str, ...]]:
    """What the examples are, and notes on what was decided.

    Args:
        where: name of the source, for messages.
        raw: the examples as they were read.
        config: layout, levels and missing entries, where the user decides them.

    Raises:
        DataError: an empty array, values that are no finite numbers, or options that do not fit the array.
    """
    layout, notes = _layout(where, raw, config)
    gaps = _gaps(raw, layout, config)
    ends = _range(where, raw, None if gaps is None else gaps > 0)
    levels = raw.levels if config.levels is None else config.levels
    if raw.data.dtype == np.uint16 and levels is None:
        levels = 1 << (bits := _depth(ends[1]))
        notes = (*notes, f"values up to {ends[1]:g} read as {bits} bits; --data.levels says otherwise")
    spec = _spec(where, raw, layout, ends, levels)
    spec, remarks = _without_constants(raw, spec)
    notes = (*notes, *remarks)
    gaps = None if gaps is None else gaps[spec.varies]
    if gaps is None:
        return replace(spec, contrast=_contrast(raw.data, spec)), notes
    note = f"NaN stands for a missing entry: {gaps.sum()} of {raw.data.size}"
    return replace(spec, missing=tuple((gaps > 0).tolist())), (*notes, note)


def infer_given_spec(where: str, values: Array, spec: DataSpec) -> DataSpec:
    """What values given with examples are: numbers or vectors, or what has as many sides as the examples.

    Args:
        where: name of the values, for messages.
        values: one row for each example.
        spec: what the examples are.

    Raises:
        DataError: another number of axes, or values that are no finite numbers.
    """
    names = _layouts_beside(values.ndim, spec)
    if not names:
        raise DataError(where, f"shape {values.shape}", f"a number or vector for each {spec.kind}, or its like")
    layout = _channels_at_the_smaller_end(names, values.shape)
    low, high = _range(where, Raw(values))
    return DataSpec(_shape(values, layout), layout, cast(Type, values.dtype.name), low, high, None)


def _layout(where: str, raw: Raw, config: DataConfig) -> tuple[Layout, tuple[str, ...]]:
    """The axes of an array: those that the user or the source names, or else those that its number of axes implies; of
    four or five axes, C is at the smaller end."""
    shape = raw.data.shape
    names = [name for name in get_args(Layout) if len(name) == len(shape)]
    if not names or 0 in shape:
        raise DataError(where, f"an array of shape {shape}", "one of 1 to 5 axes, none of them empty")
    if len(raw.data) < 2:
        raise DataError(where, "one example", "at least 2: one to train on and one to hold out")
    if config.layout != "auto":
        allowed = names if raw.layout is None else [raw.layout]
        if config.layout not in allowed:
            raise DataError("data.layout", config.layout, f"one of {', '.join(allowed)} for shape {shape}")
        return config.layout, ()
    if raw.layout is not None or len(shape) < 3:
        return raw.layout or names[0], ()
    layout = _channels_at_the_smaller_end(names[: 1 if len(shape) == 3 else 2], shape)
    return layout, (f"shape {shape} read as {layout}; --data.layout says otherwise",)


def _layouts_beside(axes: int, spec: DataSpec) -> list[Layout]:
    """The layouts that values with so many axes can have beside examples, that of the examples if possible."""
    if axes < 3:
        return ["N"] if axes == 1 else ["ND"]
    if len(spec.layout) == axes:
        return [spec.layout]
    alike = [name for name in get_args(Layout) if len(name.replace("C", "")) - 1 == len(spec.size)]
    return [name for name in alike if len(name) == axes]


def _channels_at_the_smaller_end(names: Sequence[Layout], shape: tuple[int, ...]) -> Layout:
    """The one of two layouts, with C last and C first, that fits a shape; a single layout fits."""
    return names[0] if len(names) == 1 or shape[-1] < shape[1] else names[1]


def _shape(data: Array, layout: Layout) -> tuple[int, ...]:
    """Shape of one example in model units."""
    rest = tuple(int(n) for n in data.shape[1:])
    if layout.endswith("C"):
        return rest[-1:] + rest[:-1]
    return rest if has_channels(layout) else (1, *rest)


def _gaps(raw: Raw, layout: Layout, config: DataConfig) -> Array | None:
    """How often each entry of vectors is NaN, `(D,)`, if the user wants NaN to stand for a missing one."""
    if not config.missing:
        return None
    if raw.columns or layout not in ("N", "ND") or raw.data.dtype.kind != "f" or config.levels is not None:
        need = "an array of vectors of real numbers; missing cells of a table need no option"
        raise DataError("data.missing", "True", need)
    return sum(np.isnan(block).reshape(len(block), -1).sum(0) for block in blocks(raw.data))


def _range(where: str, raw: Raw, may_miss: Array | None = None) -> tuple[float, float]:
    """The smallest and the largest value, after checking that each is a finite number that float64 has, or is missing
    in an entry that may be missing."""
    data, start = raw.data, 0
    if data.dtype.name not in get_args(Type):
        raise DataError(where, f"values of type {data.dtype}", "integers, booleans or real numbers")
    if may_miss is None:
        may_miss = np.array([column.missing for column in (raw.columns or {}).values()] or [False])
    ends: list[Any] = []
    for block in blocks(data):
        gone = np.isnan(block)
        bad, need = ~(np.isfinite(block) | (gone & may_miss)), "finite numbers"
        if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
            bad, need = (block > LARGEST_INTEGER) | (block < -LARGEST_INTEGER), "whole numbers up to 2^53"
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            column = f", column {list(raw.columns)[place[1]]!r}" if raw.columns else ""
            raise DataError(f"{where}[{start + place[0]}]{column}", str(block[place]), need)
        ends += [] if gone.all() else [np.nanmin(block), np.nanmax(block)]
        start += len(block)
    if not ends:
        raise DataError(where, "no value", "entries that are not all missing")
    return float(min(ends)), float(max(ends))


def _spec(where: str, raw: Raw, layout: Layout, ends: tuple[float, float], levels: int | None) -> DataSpec:
    data, (low, high) = raw.data, ends
    if levels is not None:
        require_numbers(raw.columns or {})
    shape, dtype = _shape(data, layout), cast(Type, data.dtype.name)
    if data.dtype.kind == "f" and levels is None:
        return DataSpec(shape, layout, dtype, low, high, None, raw.columns)
    if levels is None:
        low, high = _alphabet(data, low, high)
        levels = int(high - low) + 1
    elif low < 0 or high > levels - 1 or not _holds_integers(data):
        need = f"whole numbers 0 to {levels - 1} for {levels} levels"
        raise DataError(where, f"values in [{low:g}, {high:g}]", need)
    else:
        low, high = 0.0, float(levels - 1)
    if not 2 <= levels <= 65536:
        raise DataError(where, f"{levels} levels", "between 2 and 65536")
    return DataSpec(shape, layout, dtype, low, high, levels, raw.columns)


def _without_constants(raw: Raw, spec: DataSpec) -> tuple[DataSpec, tuple[str, ...]]:
    """The data with its constant channels set apart, and notes on these and on those that hardly vary.

    A channel of real numbers is constant if its values differ by no more than rounding does. If all are, none is set
    apart.
    """
    if spec.levels is not None or raw.columns or not has_channels(spec.layout):
        return spec, ()
    low, high = _ends_by_channel(raw.data, spec)
    size, word = np.maximum(np.abs(low), np.abs(high)), "channel" if spec.size else "column"
    is_constant = high - low <= rounding(spec.dtype) * size
    hardly = [i for i in np.flatnonzero(high - low <= _HARDLY * size) if not is_constant[i]]
    remarks = [f"{word} {i} hardly varies: from {low[i]:.9g} to {high[i]:.9g}" for i in hardly]
    if is_constant.all() or not is_constant.any():
        return spec, tuple(remarks)
    values = tuple(float(low[i]) if is_constant[i] else None for i in range(len(low)))
    remarks += [
        f"{word} {i} is constant, {value:.9g}: it is not modelled, and samples have it"
        for i, value in enumerate(values)
        if value is not None
    ]
    shape, least, most = (values.count(None), *spec.size), low[~is_constant].min(), high[~is_constant].max()
    return replace(spec, shape=shape, constants=values, low=float(least), high=float(most)), tuple(remarks)


def _ends_by_channel(data: Array, spec: DataSpec) -> tuple[Array, Array]:
    """The smallest and the largest value of each channel, `(C,)`; NaN, which is not equal to any, where one is
    missing."""
    parts = (spec.to_channels_first(block).reshape(len(block), spec.shape[0], -1) for block in blocks(data))
    ends = [(part.min((0, 2)), part.max((0, 2))) for part in parts]
    low, high = (np.array(each, np.float64) for each in zip(*ends, strict=True))
    return low.min(0), high.max(0)


def _depth(high: float) -> int:
    """The bits of a camera whose largest value was `high`: the least of the usual depths that holds it."""
    return next(bits for bits in DEPTHS if high < 1 << bits)


def _contrast(data: Array, spec: DataSpec) -> tuple[float, float] | None:
    """Mean and standard deviation of more levels than `FEW_LEVELS`; None for fewer, and where all are the same."""
    if spec.levels is None or spec.levels <= FEW_LEVELS:
        return None
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks(data)) / data.size
    squares = sum(float(((block - mean) ** 2).sum(dtype=np.float64)) for block in blocks(data))
    return (mean, math.sqrt(squares / data.size)) if squares else None


def _holds_integers(data: Array) -> bool:
    return data.dtype.kind != "f" or all(np.array_equal(block, np.rint(block)) for block in blocks(data))


def _alphabet(data: Array, low: float, high: float) -> tuple[float, float]:
    """The range of integers: all values of bool and uint8, otherwise the range in the data."""
    largest = {"bool": 1.0, "uint8": 255.0}.get(data.dtype.name)
    return (low, high) if largest is None else (0.0, largest)
