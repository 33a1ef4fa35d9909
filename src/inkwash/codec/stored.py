"""Examples as they are in memory, or a file as it was, for where that is shorter than anything a model can do.

The header has one entry, such as `{"array":["<f4",100,3]}`, so that the file has at most 64 bytes more than the
examples. That holds for arrays, tensors and files; a list of series has 8 bytes more for each series, and a frame the
names and types of its columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from inkwash.codec.container import CHECKSUM, WRITTEN, Opened
from inkwash.codec.forms import Form, as_it_was
from inkwash.core.errors import CodecError, ConfigError
from inkwash.core.shapes import Array
from inkwash.model.units import Units

_KINDS = ("array", "tensor", "series", "rows")


@dataclass(frozen=True)
class Stored:
    """What a file holds as it is.

    Args:
        form: what the examples are; None for a file.
        file: what the file was; None for examples of Python.
        body: the bytes.
    """

    form: Form | None
    file: dict[str, str] | None
    body: memoryview


def header_of(form: Form) -> dict[str, Any]:
    """The header of examples as they are."""
    header: dict[str, Any] = {form.kind: [form.dtype, *form.shape]}
    return header if form.columns is None else {**header, "columns": form.columns}


def body_of(form: Form, held: Array, x: Any) -> bytes:
    """The bytes of examples as they are."""
    if form.kind == "tensor":
        return x.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    if form.kind == "series":
        lengths = np.array([each.size for each in x], "<i8")
        return b"".join([lengths.tobytes(), *(each.tobytes() for each in x)])
    return held.tobytes()


def stored(file: Opened) -> Stored | None:
    """What a file holds as it is, or None if a model is needed for it.

    Raises:
        CodecError: another header than `header_of` makes, or another length.
    """
    if "form" in file.header:
        return None
    body = file.parts([max(len(file.body) - CHECKSUM, 0)])[0]
    kinds = [kind for kind in (*_KINDS, "file") if kind in file.header]
    if len(kinds) != 1 or not {*file.header} <= {kinds[0], "columns"}:
        raise CodecError(file.where, "a header of another kind", WRITTEN)
    found, columns = file.header[kinds[0]], file.header.get("columns")
    if kinds[0] == "file":
        return Stored(None, _names(found, file.where), body())
    if not isinstance(found, list) or not found:
        raise CodecError(file.where, "a header without a type", WRITTEN)
    plain = {"kind": kinds[0], "dtype": found[0], "shape": found[1:], "columns": columns}
    return Stored(replace(file, header=plain).parsed(Form), None, body())


def _names(found: Any, where: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CodecError(where, "a header without names", WRITTEN)
    return found


def examples_of(raw: Stored, units: Units, only: slice | Sequence[int] | None, where: str) -> Any:
    """The examples that a file holds as they are, or some of them.

    Raises:
        CodecError: other bytes than the header says.
        ConfigError: a file that holds another file.
    """
    form = raw.form
    if form is None:
        raise ConfigError("data", f"{where}, which holds a file as it was", "inkwash decompress, which writes files")
    if not form.fits(units) or form.shape[0] > len(raw.body):
        raise CodecError(where, f"a {form.kind}, {form.dtype} {form.shape}", f"examples of shape {units.data_shape}")
    rows = rows_of(form.shape[0], only)
    try:
        if form.kind == "series":
            every = _series(form, units, raw.body)
            return [every[i] for i in rows]
        if form.kind == "tensor":
            flat = torch.frombuffer(bytearray(raw.body), dtype=form.torch_type)
            return flat.reshape(form.shape)[torch.from_numpy(rows)]
        held = np.frombuffer(raw.body, form.dtype).reshape(form.shape)[rows]
        return as_it_was(form.of(len(rows)), units, held)
    except (TypeError, ValueError, LookupError) as error:
        raise CodecError(where, f"bytes that are no such examples ({error})", WRITTEN) from None


def _series(form: Form, units: Units, body: memoryview) -> list[Array]:
    count, axis = form.shape[0], units.spec.layout.index("L") - 1
    sizes, flat = np.frombuffer(body[: 8 * count], "<i8"), np.frombuffer(body[8 * count :], form.dtype)
    shape, places = form.shape[1:], math.prod(form.shape[1:]) // form.shape[1:][axis]
    if (sizes < 0).any() or sizes.sum() != len(flat):
        raise ValueError("lengths of other series")
    pieces = np.split(flat, np.cumsum(sizes)[:-1])
    return [piece.reshape([len(piece) // places if i == axis else n for i, n in enumerate(shape)]) for piece in pieces]


def rows_of(count: int, only: slice | Sequence[int] | None) -> Array:
    """The numbers of some of `count` examples.

    Raises:
        ConfigError: one that is not there.
    """
    try:
        return np.arange(count)[slice(None) if only is None else only if isinstance(only, slice) else [*only]]
    except (IndexError, TypeError) as error:
        raise ConfigError("only", only, f"a slice, or numbers of {count} examples ({error})") from None
