"""What an array holds: its axes, its range and its levels, from what the user, its source and its numbers say."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER
from inkwash.data.columns import Type, require_numbers
from inkwash.data.raw import Raw, require_room
from inkwash.data.rows import blocks
from inkwash.data.spec import FEW_LEVELS, DataSpec, has_channels, over_data, rounding

_HARDLY = 1e-4
"""A channel whose values span no more than this share of them is said to hardly vary."""
DEPTHS = (10, 12, 14, 16)
"""Bits per value that cameras store in uint16."""
MOST_LEVELS = 65536
"""Integers of more levels are read as real numbers."""
_OF_EACH = 10
"""Floating point has levels only where each of them occurs so often on average."""


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
    ends = _range(where, raw, None if gaps is None else over_data(gaps > 0, layout))
    levels, integral = _stated_levels(raw, config), raw.data.dtype.kind != "f"
    if raw.data.dtype == np.uint16 and levels is None:
        levels = 1 << (bits := _depth(ends[1]))
        notes = (*notes, f"values up to {ends[1]:g} read as {bits} bits; --data.levels says otherwise")
    elif not (integral or config.levels or levels or gaps is not None) and _takes_few_values(raw, ends):
        integral = True
        span = f"{ends[0]:g} to {ends[1]:g}"
        notes = (*notes, f"whole numbers from {span} read as levels; --data.levels real reads them as real numbers")
    spec = _spec(where, raw, layout, ends, levels, integral)
    spec, remarks = _without_constants(raw, spec)
    notes = (*notes, *remarks)
    gaps = None if gaps is None else gaps[spec.varies]
    if gaps is None:
        return replace(spec, contrast=_contrast(raw.data, spec)), notes
    spec = replace(spec, missing=tuple((gaps > 0).tolist()))
    if raw.lengths is not None:
        return replace(spec, lengths=tuple(np.bincount(raw.lengths)[1:].tolist())), notes
    return spec, (*notes, f"NaN stands for a missing entry: {gaps.sum()} of {raw.data.size}")


def with_real_numbers(raw: Raw, config: DataConfig, where: str) -> Raw:
    """Whole numbers of which no model can name all levels as real numbers, with a note; other data as it is.

    Raises:
        DataError: whole numbers beyond 2^53, or too many for the memory.
    """
    data, may_be_many = raw.data, raw.data.dtype.kind in "iu" and raw.data.dtype.itemsize > 2
    if raw.columns or not may_be_many or raw.levels or config.levels not in (None, "real") or 0 in data.shape:
        return raw
    low, high = _range(where, raw)
    if high - low < MOST_LEVELS:
        return raw
    require_room(where, 8 * data.size)
    note = f"whole numbers from {low:.0f} to {high:.0f}, more than {MOST_LEVELS} levels, read as real numbers"
    return replace(raw, data=data.astype(np.float64), notes=(*raw.notes, note))


def infer_given_spec(where: str, values: Array, spec: DataSpec) -> DataSpec:
    """What values given with examples are: numbers or vectors, or what has as many sides as the examples. Values of the
    shape of the examples have their layout.

    Args:
        where: name of the values, for messages.
        values: one row for each example.
        spec: what the examples are.

    Raises:
        DataError: another number of axes, or values that are no finite numbers.
    """
    alike = values.shape[1:] == spec.data_shape
    names = [spec.layout] if alike else _layouts_beside(values.ndim, spec)
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
    """How often each entry of vectors or channel of series is NaN, if the user, a mask or unequal lengths say that NaN
    stands for a missing one."""
    stated = {
        ("data.infinite", "'missing'"): config.infinite == "missing" and not raw.columns,
        ("data.missing", "masked entries"): raw.masked,
        ("data.missing", "True"): config.missing,
        ("data.missing", "series of unequal length, which have no levels"): raw.lengths is not None,
    }
    if not any(stated.values()):
        return None
    can_miss = layout in ("N", "ND", "NL", "NLC", "NCL")
    if raw.columns or not can_miss or raw.data.dtype.kind != "f" or config.levels not in (None, "real"):
        need = "an array of vectors or series of real numbers; missing cells of a table need no option"
        raise DataError(*next(option for option, is_stated in stated.items() if is_stated), need)
    axis = 1 if layout == "ND" else layout.find("C")
    others = tuple(i for i in range(len(layout)) if i != axis)
    counts: Any = sum(np.atleast_1d(np.isnan(block).sum(others)) for block in blocks(raw.data))
    return cast(Array, counts)


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
            more = _more_like(raw, start + place[0]) if np.isinf(block[place]) else ""
            if np.isinf(block[place]) and data.ndim < 3:
                need += "; --data.infinite missing takes infinite ones for missing entries"
            raise DataError(f"{where}[{start + place[0]}]{column}", f"{block[place]}{more}", need)
        ends += [] if gone.all() else [np.nanmin(block), np.nanmax(block)]
        start += len(block)
    if not ends:
        raise DataError(where, "no value", "entries that are not all missing")
    return float(min(ends)), float(max(ends))


def _more_like(raw: Raw, first: int) -> str:
    """How many infinite numbers there are, and the next examples that have some; nothing if there is only one."""
    counts = np.concatenate([np.isinf(block).reshape(len(block), -1).sum(1) for block in blocks(raw.data)])
    others = [f"[{i}]" for i in np.flatnonzero(counts) if i != first][:3]
    words = f", one of {counts.sum()} infinite numbers{', also in ' * bool(others)}{', '.join(others)}"
    return words if counts.sum() > 1 else ""


def _takes_few_values(raw: Raw, ends: tuple[float, float]) -> bool:
    """Whether an array of floating point holds whole numbers only, so many of each that they are no accident."""
    levels = ends[1] - ends[0] + 1
    few = (
        raw.data.dtype.kind == "f" and raw.columns is None and 2 <= levels <= min(FEW_LEVELS, raw.data.size / _OF_EACH)
    )
    return few and _holds_integers(raw.data)


def _stated_levels(raw: Raw, config: DataConfig) -> int | None:
    """The number of levels that the user or the source states; None leaves it open, or denies that there are any."""
    if config.levels == "real":
        if raw.columns:
            raise ConfigError("data.levels", config.levels, "data.numbers, for the columns of a table")
        if raw.data.dtype.kind != "f":
            raise ConfigError("data.levels", config.levels, f"their number, for values of type {raw.data.dtype}")
        return None
    return raw.levels if config.levels is None else config.levels


def _spec(
    where: str, raw: Raw, layout: Layout, ends: tuple[float, float], levels: int | None, integral: bool
) -> DataSpec:
    """What the examples are; `integral` says whether they are read as whole numbers where no levels are stated."""
    data, (low, high) = raw.data, ends
    if levels is not None:
        require_numbers(raw.columns or {})
    shape, dtype = _shape(data, layout), cast(Type, data.dtype.name)
    if levels is None and not integral:
        return DataSpec(shape, layout, dtype, low, high, None, raw.columns)
    if levels is None:
        low, high = _alphabet(data, low, high)
        levels = int(high - low) + 1
    elif low < 0 or high > levels - 1 or not _holds_integers(data):
        need = f"whole numbers 0 to {levels - 1} for {levels} levels"
        raise DataError(where, f"values in [{low:g}, {high:g}]", need)
    else:
        low, high = 0.0, float(levels - 1)
    if not 2 <= levels <= MOST_LEVELS:
        raise DataError(where, f"{levels} levels", f"between 2 and {MOST_LEVELS}")
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
    """The smallest and the largest value of each channel, `(C,)`, of those that are not missing; NaN if all are."""
    parts = (spec.to_channels_first(block).reshape(len(block), spec.shape[0], -1) for block in blocks(data))
    ends = [(np.fmin.reduce(part, (0, 2)), np.fmax.reduce(part, (0, 2))) for part in parts]
    low, high = (np.array(each, np.float64) for each in zip(*ends, strict=True))
    return np.fmin.reduce(low, 0), np.fmax.reduce(high, 0)


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
