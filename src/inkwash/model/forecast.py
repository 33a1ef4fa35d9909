"""The future of a series as missing entries: a forecast samples the last places of an example, given the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from inkwash.core.errors import ConfigError, DataError, require_integer
from inkwash.core.shapes import Array
from inkwash.data.objects import as_array
from inkwash.data.spec import DataSpec
from inkwash.model.units import Units


def axis_of_time(units: Units) -> int:
    """Which axis of data units, the first of which counts the examples, is time.

    Raises:
        ConfigError: the examples are no series.
    """
    if len(units.shape) != 2:
        need = "a model of series, as inkwash train with --data.layout NL, NLC or NCL makes"
        raise ConfigError("forecast", f"a model of examples of shape {units.shape}", need)
    return 2 if units.transform is None else units.transform.spec.layout.index("L")


def by_channel(spec: DataSpec, series: Array) -> Array:
    """Series of any length, in the layout of the data, as `(N, C, P)`, float64."""
    channels_first = {"NL": lambda x: x[:, None], "NLC": lambda x: np.moveaxis(x, -1, 1), "NCL": lambda x: x}
    return np.asarray(channels_first[spec.layout](series), np.float64)


def with_future(units: Units, past: Any, horizon: int) -> tuple[Array, Array]:
    """Series of the model's length, float64: the last places of each past, then `horizon` places that are NaN, and how
    many places that makes, `(B,)`; the rest is NaN too.

    Args:
        units: those of the model, whose series have L places.
        past: data units, `(B, …)`; NaN or masked where a place is missing. It has at least L - horizon places; only for
            a model of series of unequal length it may have fewer, or be a list, or end in NaN where a series ends.
        horizon: from 1 to L - 1.

    Raises:
        ConfigError: the examples of the model are no series, or a bad horizon.
        DataError: a past of another shape, or with too few places.
    """
    axis, length = axis_of_time(units), units.shape[1]
    require_integer("horizon", horizon)
    if horizon >= length:
        raise ConfigError("horizon", horizon, f"1 to {length - 1}, for a model of series of {length} places")
    seen: Any = past
    if units.lengths is None:
        seen = as_array(past)
        _require_past(seen, axis, units.data_shape, length - horizon)
    else:
        seen = [_ended(as_array(each), axis - 1) for each in past]
        for each in seen:
            _require_past(each[None], axis, units.data_shape, 1)
    full = np.full((len(seen), *units.data_shape), np.nan)
    ends = [_fill(row, each, axis - 1, length - horizon) + horizon for row, each in zip(full, seen, strict=True)]
    return full, np.array(ends)


def last_places(draws: Any, ends: Array, horizon: int, axis: int) -> Any:
    """The `horizon` places before the end of each series.

    Args:
        draws: an array or tensor `(n, B, …)`.
        ends: how many places the series have, `(B,)`.
        horizon: how many of them.
        axis: which axis of one draw of all series is time.
    """
    ahead = [draws[:, i][(slice(None),) * axis + (slice(end - horizon, end),)] for i, end in enumerate(ends)]
    return torch.stack(ahead, 1) if isinstance(draws, torch.Tensor) else np.stack(ahead, 1)


def _ended(series: Array, axis: int) -> Array:
    """A series without the places at its end that are NaN in every channel; its first place stays."""
    if not 0 <= axis < series.ndim or series.dtype.kind != "f" or not series.shape[axis]:
        return series
    known: Array = np.asarray(~np.isnan(series).all(tuple(i for i in range(series.ndim) if i != axis)))
    return np.take(series, range(max(len(known) - int(known[::-1].argmax()), 1) if known.any() else 1), axis)


def _fill(row: Array, past: Array, axis: int, most: int) -> int:
    """Write the last places of a past, at most so many, into the first places of a row, and return how many."""
    count = min(past.shape[axis], most)
    np.moveaxis(row, axis, 0)[:count] = np.moveaxis(past, axis, 0)[past.shape[axis] - count :]
    return count


def _require_past(seen: Array, axis: int, shape: tuple[int, ...], least: int) -> None:
    """Refuse a past that is not shaped as series of `shape` are, but along time, or has too few places."""
    fits = seen.ndim == len(shape) + 1 and np.array_equal(
        np.delete(seen.shape[1:], axis - 1), np.delete(shape, axis - 1)
    )
    if not fits or len(seen) == 0 or seen.shape[axis] < least:
        sides = [f"at least {least}" if i == axis - 1 else str(side) for i, side in enumerate(shape)]
        got, need = f"shape {seen.shape}", f"(N, {', '.join(sides)}); a place may be NaN where it is not known"
        raise DataError("past", got, need)
    if seen.dtype.kind not in "biuf" or np.isinf(seen).any():
        got = "infinity" if seen.dtype.kind == "f" else f"values of type {seen.dtype}"
        raise DataError("past", got, "numbers, or NaN for a place that is not known")
