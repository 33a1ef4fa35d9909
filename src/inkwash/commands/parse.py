"""From the words of the command line to a command. What is wrong with them becomes one line.

tyro reads the words and prints the help. It reports a mistake in a box of many lines, so it is left with one kind of
mistake only, words that do not fit the command, and we describe these ourselves. A number or a choice that cannot be
read stays text, which `inkwash.core.options.check` refuses like any other bad value, by the name of its option.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from inkwash.core.errors import ConfigError, DataError, InkwashError
from inkwash.core.options import check

C = TypeVar("C")

SHARED_OPTIONS = {
    "quiet": "print nothing but errors",
    "json": "print one document for machines in place of words",
    "debug": "show tracebacks as well",
}
"""The options that every command takes, wherever they stand; `inkwash.commands.frame` obeys them."""
NO_PREFIX: Any = tyro.conf.OmitArgPrefixes
"""Marks a config within a command: neither its options nor those of the configs in it have a prefix."""


def parse(kind: type[C], prog: str, words: Sequence[str], default: Any = None) -> C:
    """The command of a kind that the words describe, checked; `--help` prints the help, and exits.

    Args:
        kind: a dataclass; its fields are the options and words of the command.
        prog: what the user typed before the words.
        words: the others.
        default: the command whose options hold where the words have none; by default that of the class.

    Raises:
        ConfigError: an unknown option, a missing word or one too many, or a bad value.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            command = tyro.cli(
                kind, prog=prog, description=description_of(kind), args=words, default=default, registry=_READERS
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise _misfit(kind, prog, words) from None
    _check(command)
    return command


def require_choice(where: str, got: str, choices: Collection[str]) -> None:
    """Refuse a word that is none of the choices, and name the nearest one."""
    if got not in choices:
        raise ConfigError(where, repr(got), f"one of {', '.join(choices)}{_nearest(got, choices)}")


def option_names(kind: type) -> list[str]:
    """The options of a command, by dotted name."""
    return [name for name, positional, _ in _arguments(kind) if positional is None]


def _flags(kind: type) -> dict[str, str]:
    """The options of a command that take no value, by dotted name, and what each of them says."""
    names = [name for name, _, hint in _arguments(kind) if hint is bool]
    refusals = {".".join([*name.split(".")[:-1], f"no_{name.split('.')[-1]}"]): "no" for name in names}
    return dict.fromkeys(names, "yes") | refusals


def _arguments(kind: Any, prefix: str = "", flat: bool = False) -> Iterator[tuple[str, str | None, Any]]:
    """The arguments of a command, or of a config within it: dotted name, the word in the help for a positional, and
    type. What is flat has no prefix."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        bare, *marks = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        if dataclasses.is_dataclass(bare):
            flat_too = flat or NO_PREFIX in marks
            yield from _arguments(bare, prefix if flat_too else f"{prefix}{name}.", flat_too)
        else:
            shown = next((mark.metavar for mark in marks if hasattr(mark, "metavar")), None)
            shown = f"[{shown}]" if getattr(kind, name, name) is None else shown
            yield prefix + name, shown if tyro.conf.Positional in marks else None, bare


def spoken(error: InkwashError, kind: type | None) -> str:
    """The message of an error in the words of the command line: where it names options of the command, it has their
    flags, which the user can type.

    Args:
        error: what went wrong.
        kind: the command; None if it is not known.
    """
    text, where = str(error), getattr(error, "where", "")
    if kind is None or not isinstance(error, ConfigError | DataError):
        return text
    names = option_names(kind)
    first, _, rest = where.partition(" ")
    if text.startswith(where) and (isinstance(error, ConfigError) or "." in first):
        flag = _flag_of(first, names)
        text = (f"{flag} {rest}".rstrip() if flag else where) + text.removeprefix(where)
    dotted = sorted((name for name in names if "." in name), key=len, reverse=True)
    if not dotted:
        return text
    return re.sub(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, dotted))})(?![\w-])", lambda found: _flag(found[0]), text)


def _flag_of(where: str, names: Collection[str]) -> str | None:
    """The flag of the option that an error names, whole or by its last part."""
    last = where.rpartition(".")[2]
    return next((_flag(name) for name in (where, last, f"sampling.{last}") if name in names), None)


def _flag(name: str) -> str:
    return "-n" if name == "n" else f"--{name.replace('_', '-')}"


def description_of(kind: type) -> str:
    """What a command does, and the options that it shares with all others."""
    shared = ", ".join(f"--{name} ({text})" for name, text in SHARED_OPTIONS.items())
    return f"{inspect.cleandoc(kind.__doc__ or '')}\n\nEvery command takes {shared}."


def _misfit(kind: type, prog: str, words: Sequence[str]) -> ConfigError:
    """What to say of words that tyro cannot use."""
    known, flags = option_names(kind), _flags(kind)
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag, is_joined, value = word.partition("=")
        name, value = flag[2:].replace("-", "_"), value if is_joined else following
        if flag.startswith("--") and name in flags and (is_joined or value.lower() in _TRUTH):
            return ConfigError(flag, repr(value), f"no value: {flag} alone says {flags[name]}")
        if flag.startswith("--") and name not in ("", "help", *known, *flags):
            need = f"one of those that {prog} --help shows{_nearest(name, known, '--')}"
            return ConfigError(flag, "an unknown option", need)
    positionals = " ".join(shown for _, shown, _ in _arguments(kind) if shown)
    got = repr(" ".join(words)) if words else "nothing"
    need = f"{positionals + ' and' if positionals else 'only'} options, each with its value"
    return ConfigError(prog, got, f"{need} ({prog} --help shows them)")


def _nearest(word: str, known: Collection[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{close[0].replace('_', '-')}?" if close else ""


def _check(command: Any, flat: bool = False) -> None:
    """Check the fields of a command; those of configs whose options have no prefix come first, by their bare names."""
    for name, hint in typing.get_type_hints(type(command), include_extras=True).items():
        part, flat_too = getattr(command, name), flat or NO_PREFIX in typing.get_args(hint)
        if flat_too and dataclasses.is_dataclass(part):
            _check(part, flat_too)
    check(command)


_READERS = ConstructorRegistry()
_TRUTH = {"true": True, "false": False}
_READ: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: lambda word: _TRUTH.get(word.lower(), word)}


@_READERS.primitive_rule
def _number_or_choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """How tyro reads a number, a truth value or a choice: as one if it is one, and otherwise as the text it is."""
    choices = (True, False) if info.type is bool else typing.get_args(info.type)
    if info.type not in _READ and typing.get_origin(info.type) is not Literal:
        return None
    read = _READ.get(info.type, str)

    def read_or_keep(words: list[str]) -> Any:
        try:
            return read(words[0])
        except ValueError:
            return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(map(str, choices)) + "}" if choices else info.type.__name__.upper(),
        instance_from_str=read_or_keep,
        is_instance=lambda value: value in choices if choices else isinstance(value, info.type),
        str_from_instance=lambda value: [str(value)],
    )
