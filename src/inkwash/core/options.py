"""Options as frozen dataclasses: what a field may hold is its annotation, checked in Python and in JSON alike."""

import builtins
import dataclasses
import json
import math
import types
import typing
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

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


Count = Annotated[int, Range(1, 10**9)]
Positive = Annotated[float, Range(0, open_low=True)]
Seed = Annotated[int, Range(0, 2**128 - 1)]
Share = Annotated[float, Range(0, 1, open_high=True)]
Fraction = Annotated[float, Range(0, 1, open_low=True, open_high=True)]

C = TypeVar("C")


def check(config: Any, where: str = "") -> None:
    """Check every field of a dataclass of options, and of those within it, against its annotation.

    Raises:
        ConfigError: the first field at fault, by its dotted name.
    """
    _options(type(config), config, where)


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass of options as plain data."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: type[C], plain: Any, where: str = "") -> C:
    """A dataclass of options from plain data, checked.

    No other key may be there. Every key must be, but for an option that is None by default: what was written before the
    option existed was written without it. So an option that changes what a run without it does has another default.

    Raises:
        ConfigError: a missing, unknown or bad entry, by its dotted name.
    """
    return _options(kind, _read(plain), where)


def narrowed(kind: type[C], config: Any, where: str = "") -> C:
    """The dataclass of options of one kind, from the fields of the same names of a config.

    Raises:
        ConfigError: a field that the kind does not leave open and the config does.
    """
    return _options(kind, _Names((name, getattr(config, name)) for name in _names(kind)), where)


def first_difference(a: Any, b: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """The first field, by its dotted name, in which two dataclasses of the same fields differ, and its two values.

    Plain fields come before those that are dataclasses themselves.
    """
    for item in sorted(dataclasses.fields(a), key=lambda item: dataclasses.is_dataclass(getattr(a, item.name))):
        left, right = getattr(a, item.name), getattr(b, item.name)
        dotted = _dotted(where, item.name)
        if dataclasses.is_dataclass(left):
            if found := first_difference(left, right, dotted):
                return found
        elif left != right:
            return dotted, left, right
    return None


def words_of(options: Any, usual: Any, where: str = "") -> list[str]:
    """The options in which a dataclass differs from another of the same fields, as words of a command line."""
    words, hints = list[str](), typing.get_type_hints(type(options))
    for item in dataclasses.fields(options):
        value, other, dotted = getattr(options, item.name), getattr(usual, item.name), _dotted(where, item.name)
        if dataclasses.is_dataclass(value):
            words += words_of(value, other, dotted)
        elif value != other:
            is_flag, values = hints[item.name] is bool, value if isinstance(value, tuple) else (value,)
            *sections, last = dotted.replace("_", "-").split(".")
            name = ".".join([*sections, f"no-{last}" if is_flag and not value else last])
            words += [f"--{name}", *(() if is_flag else map(str, values))]
    return words


def describe(hint: Any) -> str:
    """What values an annotation allows, in words."""
    match typing.get_origin(hint), typing.get_args(hint):
        case typing.Annotated, (kind, *limits):
            return " ".join([describe(kind), *(str(limit) for limit in limits if isinstance(limit, Range))])
        case ((typing.Union | types.UnionType), kinds):
            return " or ".join(describe(kind) for kind in kinds if kind is not type(None))
        case typing.Literal, names:
            return "one of " + ", ".join(names)
        case builtins.tuple, (item, *_):
            return f"a list, each {describe(item)}"
        case builtins.dict, _:
            return "a set of names"
    return _WORDS.get(hint, f"the options of {hint.__name__}")


_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


class _MisfitError(Exception):
    """A value that an annotation does not allow."""


class _Names(dict[str, Any]):
    """Named values from plain data, which may stand for a dataclass; no dict that comes in Python does."""


def _read(plain: Any) -> Any:
    """Plain data with `_Names` for dicts and tuples for lists."""
    if isinstance(plain, dict):
        return _Names((name, _read(value)) for name, value in plain.items())
    return tuple(map(_read, plain)) if isinstance(plain, list) else plain


def _options(kind: type[C], value: Any, where: str) -> C:
    """A dataclass of options, checked, from itself or from names."""
    names, hints = _names(kind), typing.get_type_hints(kind, include_extras=True)
    values = _Names((name, getattr(value, name)) for name in names) if type(value) is kind else value
    if not isinstance(values, _Names):
        raise ConfigError(where or kind.__name__, repr(value), describe(kind))
    values = _Names({item.name: None for item in dataclasses.fields(kind) if item.default is None} | values)
    for odd in sorted({*values} ^ {*names}):
        got = "an unknown option" if odd in values else "nothing"
        raise ConfigError(_dotted(where, odd), got, "exactly " + ", ".join(names))
    for name in names:
        try:
            values[name] = _value(hints[name], values[name], _dotted(where, name))
        except _MisfitError:
            raise ConfigError(_dotted(where, name), repr(values[name]), describe(hints[name])) from None
    return value if type(value) is kind else kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value of a field, in which names become the dataclasses that they stand for."""
    fits: bool = type(value) is hint
    read: Any = value
    match typing.get_origin(hint), typing.get_args(hint):
        case typing.Annotated, (kind, *limits):
            read = value if dataclasses.is_dataclass(value) else _value(kind, value, where)
            fits = all(read in limit for limit in limits if isinstance(limit, Range))
        case ((typing.Union | types.UnionType), kinds):
            return _first_fit(kinds, value, where)
        case typing.Literal, names:
            fits = isinstance(value, str) and value in names
        case builtins.tuple, (item, *_):
            fits = isinstance(value, tuple) and value != ()
            read = tuple(_value(item, each, where) for each in value) if fits else value
        case builtins.dict, (_, item):
            fits = isinstance(value, dict) and all(isinstance(name, str) for name in value)
            read = {name: _value(item, each, f"{where}.{name}") for name, each in value.items()} if fits else value
        case _ if dataclasses.is_dataclass(hint):
            return _options(typing.cast(type, hint), value, where)
        case _ if hint is Any:  # plain data, which the dataclass that holds it checks
            fits = True
        case _ if hint is float:
            fits = type(value) is int or (type(value) is float and math.isfinite(value))
    if not fits:
        raise _MisfitError
    return read


def _first_fit(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first kind that allows it; None is tried first. Of several dataclasses, names stand for the one
    whose fields with a single possible name have that name."""
    several: list[Any] = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if len(several) > 1 and isinstance(value, _Names):
        return _options(next((kind for kind in several if _is_named(kind, value)), several[0]), value, where)
    for kind in sorted(kinds, key=lambda kind: kind is not type(None)):
        with suppress(_MisfitError):
            return _value(kind, value, where)
    raise _MisfitError


def _is_named(kind: Any, names: _Names) -> bool:
    """Whether the fields of a dataclass that can have a single name have it among `names`."""
    options = {name: typing.get_args(hint) for name, hint in typing.get_type_hints(kind).items()}
    return all(names.get(name) == only[0] for name, only in options.items() if len(only) == 1)


def _names(kind: Any) -> list[str]:
    return [item.name for item in dataclasses.fields(kind)]


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
