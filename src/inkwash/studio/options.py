"""The options of training that the page offers, with the words that describe them on the command line."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from dataclasses import fields
from itertools import pairwise
from typing import Any

from inkwash.core import config
from inkwash.core.errors import ConfigError
from inkwash.core.options import describe

OFFERED = (
    "model",
    "train.steps",
    "train.batch_size",
    "train.learning_rate",
    "train.seed",
    "train.precision",
    "network.kind",
    "network.width",
    "network.depth",
    "network.dropout",
    "process.kind",
    "process.schedule",
    "process.steps",
    "denoiser.predicts",
    "data.levels",
    "data.labels",
    "data.held_out",
    "data.transform",
)
"""The options of the form. Those that name files, addresses or devices are not among them."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")


def offered() -> list[dict[str, Any]]:
    """The options with their names on the command line, what they may be, and their descriptions."""
    return [_option(name) for name in OFFERED]


def as_words(options: dict[str, str]) -> list[str]:
    """Options, by their names on the command line, as words of a command.

    Raises:
        ConfigError: an option that is not offered, or a value that is no word or number.
    """
    known = {_flag(name) for name in OFFERED}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(name, "an option that this page does not offer", ", ".join(sorted(known)))
        if not _PLAIN.fullmatch(value):
            raise ConfigError(name, repr(value), "one word or number")
    return [f"--{name}={value}" for name, value in options.items()]


def _option(name: str) -> dict[str, Any]:
    *_, kind, field = _path(name)
    hint = typing.get_type_hints(kind, include_extras=True)[field]
    about = _described(kind)[field]
    return {"name": _flag(name), "values": values_of(hint), "need": describe(hint), "about": about}


def _path(name: str) -> tuple[Any, str]:
    """The dataclass that holds an option, and the name of its field."""
    *parents, field = name.split(".")
    kind: Any = config.Config
    for parent in parents:
        kind = typing.get_type_hints(kind)[parent]
    return kind, field


def _flag(name: str) -> str:
    return name.replace("_", "-")


def values_of(hint: Any) -> list[str]:
    """The names that an option may take, if it takes names."""
    found = [value for part in (hint, *typing.get_args(hint)) for value in _names(part)]
    return list(dict.fromkeys(found))


def _names(hint: Any) -> list[str]:
    if typing.get_origin(hint) is typing.Literal:
        return [value for value in typing.get_args(hint) if isinstance(value, str)]
    return []


def _described(kind: Any) -> dict[str, str]:
    """The text below each field of a dataclass."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    found, names = {}, {each.name for each in fields(kind)}
    statements = getattr(body, "body", [])
    for before, after in pairwise(statements):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and before.target.id in names:
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[before.target.id] = " ".join(text.value.split())
    return found
