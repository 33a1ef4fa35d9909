"""Options as frozen dataclasses: what a field may hold, checked against its annotation, and JSON both ways."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from inkwash.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """The numbers an option may take.

    Args:
        low: smallest allowed value.
        high: largest allowed value.
        open_low: exclude `low` itself.
        open_high: exclude `high` itself.
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'>' if self.open_low else '>='} {self.low:g}"
        return low if math.isinf(self.high) else f"{low} and {'<' if self.open_high else '<='} {self.high:g}"


Count = Annotated[int, Range(1)]
Positive = Annotated[float, Range(0, open_low=True)]
Seed = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1, open_high=True)]


C = TypeVar("C")


def check(config: Any, where: str = "") -> None:
    """Check every field of a config dataclass, and of those within it, against its annotation.

    Raises:
        ConfigError: the first field at fault, by its dotted name.
    """
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        dotted = f"{where}.{name}" if where else name
        value = getattr(config, name)
        if dataclasses.is_dataclass(hint):
            if type(value) is not hint:
                raise ConfigError(dotted, _show(value), f"a {getattr(hint, '__name__', hint)}")
            check(value, dotted)
        elif not _fits(value, hint):
            raise ConfigError(dotted, _show(value), describe(hint))
        elif _item(hint) and value is not None:
            for key, item in value.items():
                check(item, f"{dotted}.{key}")


def to_json(config: Any) -> dict[str, Any]:
    """A config dataclass as plain data."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: type[C], plain: Any, where: str = "") -> C:
    """A config dataclass from plain data, checked; every key must be there and no other.

    Raises:
        ConfigError: a missing, unknown or bad entry.
    """
    if not isinstance(plain, dict):
        raise ConfigError(where or kind.__name__, _show(plain), "a set of named options")
    hints = typing.get_type_hints(kind, include_extras=True)
    if set(plain) != set(hints):
        odd = sorted(set(plain) ^ set(hints))[0]
        got = "an unknown option" if odd in plain else "nothing"
        raise ConfigError(f"{where}.{odd}" if where else odd, got, "exactly " + ", ".join(hints))
    config = kind(
        **{name: _parsed(hint, plain[name], f"{where}.{name}" if where else name) for name, hint in hints.items()}
    )
    check(config, where)
    return config


def _parsed(hint: Any, plain: Any, where: str) -> Any:
    """A field's value from plain data, not yet checked but for configs within it."""
    kind = _dataclass_in(hint)
    if kind is not None and plain is not None:
        return from_json(kind, plain, where)
    item = _item(hint)
    if item is not None and isinstance(plain, dict):
        return {key: from_json(item, value, f"{where}.{key}") for key, value in plain.items()}
    return tuple(plain) if isinstance(plain, list) else plain


def _item(hint: Any) -> Any:
    """The dataclass of the values of a dict, where an annotation allows such a dict."""
    for option in (hint, *typing.get_args(hint)):
        if typing.get_origin(option) is dict and dataclasses.is_dataclass(typing.get_args(option)[1]):
            return typing.get_args(option)[1]
    return None


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that an annotation stands for, alone or beside None."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return next((kind for kind in options if isinstance(kind, type) and dataclasses.is_dataclass(kind)), None)


def first_difference(a: Any, b: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """The first field, by its dotted name, in which two configs of one kind differ, and its two values."""
    for item in dataclasses.fields(a):
        left, right = getattr(a, item.name), getattr(b, item.name)
        dotted = f"{where}.{item.name}" if where else item.name
        if dataclasses.is_dataclass(left):
            found = first_difference(left, right, dotted)
            if found:
                return found
        elif left != right:
            return dotted, left, right
    return None


def chosen(value: C | None) -> C:
    """The value of an option that `inkwash.training.defaults.resolve` has filled in."""
    if value is None:
        raise TypeError("an option of an unresolved config")
    return value


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        kind, *limits = typing.get_args(hint)
        return _fits(value, kind) and all(value in limit for limit in limits if isinstance(limit, Range))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in typing.get_args(hint)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return isinstance(value, tuple) and len(value) > 0 and all(_fits(v, item) for v in value)
    if origin is dict:
        key, item = typing.get_args(hint)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, item) for k, v in value.items())
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint or (hint is type(None) and value is None)


def describe(hint: Any) -> str:
    """What values a field's annotation allows, in words."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        kind, limit = typing.get_args(hint)[:2]
        return f"{describe(kind)} {limit}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in typing.get_args(hint) if option is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(typing.get_args(hint))
    if origin is dict:
        return "a set of names"
    if origin is tuple:
        return f"a list, each {describe(typing.get_args(hint)[0])}"
    return {int: "an integer", float: "a number", bool: "true or false", str: "text"}.get(hint, str(hint))


def _show(value: Any) -> str:
    return str(value) if isinstance(value, (int, float)) else repr(value)
