"""What the file of the data had beside its values, kept in a run as plain data: so samples are written as it was."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array

_MOST = 1 << 16
"""The most characters of JSON that one thing may take, and a quarter of what all may take."""
_NUMPY = {"dtype", "shape", "base64"}
_KINDS = "biufcmMSUV"


@dataclass(frozen=True)
class Origin:
    """The format that data came in, and what its writer needs.

    Args:
        format: name of the format.
        kept: attributes, coordinates and the like, by name, as `to_plain` makes them.
    """

    format: str
    kept: dict[str, Any] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Check what is kept.

        Raises:
            ConfigError: it is too large, or something of it is no plain data.
        """
        for name, plain in self.kept.items():
            try:
                from_plain(plain)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{where}.kept.{name}", f"no plain data ({error})", "what inkwash wrote") from None
        if (size := _length(self.kept)) > 5 * _MOST:
            raise ConfigError(f"{where}.kept", f"{size} characters", f"at most {5 * _MOST}")

    def keys(self) -> Iterable[str]:
        """The names of what was kept: `dict(origin)` is all of it."""
        return self.kept.keys()

    def __getitem__(self, name: str) -> Any:
        """What was kept under a name, with arrays of NumPy as they were; None if there is nothing."""
        return from_plain(self.kept.get(name))


def keep(format_name: str, things: Mapping[str, Any]) -> tuple[Origin, tuple[str, ...]]:
    """An origin that keeps things, and a note about those that are too large or no plain data.

    Args:
        format_name: name of the format.
        things: by name: text, numbers, arrays of NumPy, and lists and dicts of these; None is not kept.
    """
    kept: dict[str, Any] = {}
    lost: list[str] = []
    for name, thing in things.items():
        plain = _kept(thing, name, lost)
        if plain is not None and _length({**kept, name: plain}) <= 4 * _MOST:
            kept[name] = plain
        elif plain is not None:
            lost.append(name)
    note = f"not kept for samples, too large or of an unknown type: {', '.join(lost)}"
    return Origin(format_name, kept), (note,) if lost else ()


def _kept(thing: Any, name: str, lost: list[str]) -> Any:
    """A thing as plain data, or None; of a dict, whatever can be kept. Names of what cannot be are added to `lost`."""
    if isinstance(thing, Mapping):
        parts = {str(key): _kept(each, f"{name}.{key}", lost) for key, each in thing.items()}
        return {"names": {key: each for key, each in parts.items() if each is not None}}
    try:
        plain = to_plain(thing)
    except (TypeError, ValueError):
        plain = None
    if thing is not None and (plain is None or _length(plain) > _MOST):
        lost.append(name)
        return None
    return plain


def to_plain(thing: Any) -> Any:
    """Text, numbers, arrays of NumPy, and lists and dicts of these, as plain data; arrays keep type and every bit.

    Raises:
        TypeError: anything else.
    """
    if thing is None or isinstance(thing, str | bool | int) or (type(thing) is float and math.isfinite(thing)):
        return str(thing) if isinstance(thing, np.str_) else thing
    if isinstance(thing, Mapping):
        return {"names": {str(name): to_plain(each) for name, each in thing.items()}}
    if isinstance(thing, list | tuple):
        return tuple(map(to_plain, thing))
    array = np.asarray(np.void(thing) if type(thing) is bytes else thing)
    if array.dtype.kind == "O" and all(isinstance(each, str) for each in array.flat):
        return {"texts": tuple(array.ravel().tolist()), "shape": array.shape}
    if array.dtype.kind not in _KINDS or array.dtype.names is not None:
        raise TypeError(f"a {type(thing).__name__}")
    content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": array.shape, "base64": content}


def from_plain(plain: Any) -> Any:
    """The inverse of `to_plain`; an array without axes is a scalar of NumPy, and a list is a tuple.

    Raises:
        TypeError, ValueError: it is not what `to_plain` makes.
    """
    if isinstance(plain, Mapping) and {*plain} == {"names"} and isinstance(plain["names"], Mapping):
        return {name: from_plain(each) for name, each in plain["names"].items()}
    if isinstance(plain, Mapping) and {*plain} == {"texts", "shape"}:
        return _shaped(np.array(plain["texts"] or (), object), plain["shape"])
    if isinstance(plain, Mapping) and {*plain} == _NUMPY:
        dtype = np.dtype(plain["dtype"])
        if dtype.kind not in _KINDS:
            raise TypeError(f"an array of {dtype}")
        return _shaped(np.frombuffer(base64.b64decode(plain["base64"]), dtype), plain["shape"])
    if isinstance(plain, list | tuple):
        return tuple(map(from_plain, plain))
    if plain is None or isinstance(plain, str | bool | int | float):
        return plain
    raise TypeError(f"a {type(plain).__name__}")


def _shaped(flat: Array, shape: Iterable[int]) -> Any:
    array = flat.reshape(tuple(shape))
    return array if array.ndim else array[()]


def _length(plain: Any) -> int:
    return len(json.dumps(plain))
