"""What reading decided on its own about a table, and could have decided otherwise.

A file of text says little about its columns. Whatever a reader decides and a user may see otherwise is one `Doubt`.
All doubts of a table are found in one reading, and shown as one table. An option settles each of them, either way.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError

Choice = tuple[str, ...]
"""An option of `DataConfig`, and the values that it takes."""
_LISTS = ("drop", "categories", "numbers", "missing_values")
"""Options that take several values."""
_HEADER = ("column", "what was seen", "what was done", "says otherwise")


@dataclass(frozen=True)
class Doubt:
    """One decision.

    Args:
        column: name of the column; empty for the whole file.
        seen: what made the reader decide.
        done: what it did.
        otherwise: the option that decides otherwise; empty if none does.
        settled: the option that decides the same, so that there is no doubt.
    """

    column: str
    seen: str
    done: str
    otherwise: Choice
    settled: Choice


def option_words(choices: Mapping[str, Sequence[str]]) -> str:
    """Options as they are typed, ready to copy."""
    each = ([f"--data.{name.replace('_', '-')}", *map(shlex.quote, words)] for name, words in choices.items())
    return " ".join(word for words in each for word in words)


def doubt_lines(doubts: Sequence[Doubt]) -> list[str]:
    """The doubts as a table, a line for each."""
    rows = [_HEADER, *((d.column or "(file)", d.seen, d.done, option_words(_merged([d.otherwise]))) for d in doubts)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows] if doubts else []


def require_none(where: str, doubts: Sequence[Doubt], config: DataConfig) -> None:
    """Refuse a table with doubts.

    Raises:
        DataError: there are some; the message lists all of them, and what settles them.
    """
    if not doubts:
        return
    each = "; ".join(f"{doubt.column or '(file)'}: {doubt.seen}, {doubt.done}" for doubt in doubts)
    need = f"options that settle them ({each}): {_settled_by(where, doubts, config)}"
    raise DataError(where, f"{len(doubts)} doubt{'s' * (len(doubts) > 1)}", need)


def _settled_by(where: str, doubts: Sequence[Doubt], config: DataConfig) -> str:
    """What settles all doubts beside the options that there are: a command, or options from Python for an object."""
    every = {item.name: getattr(config, item.name) for item in fields(config)}
    own = {name: value for name, value in every.items() if value != getattr(DataConfig(), name)}
    stated = [(name, *_words(value)) for name, value in own.items()]
    settled = _merged([*stated, *(doubt.settled for doubt in doubts)])
    if Path(where).exists():
        return f"inkwash train {shlex.quote(where)} {option_words(settled)}"
    return f"DataConfig({', '.join(f'{name}={_python(name, words, own)}' for name, words in settled.items())})"


def _words(value: Any) -> Iterable[str]:
    """The value of an option as words of a command; a flag has none."""
    return () if value is True else map(str, value if isinstance(value, tuple) else (value,))


def _python(name: str, words: Sequence[str], own: Mapping[str, Any]) -> str:
    """The value of an option, as one writes it in Python."""
    return repr(tuple(words) if name in _LISTS else own.get(name, *words))


def _merged(choices: Iterable[Choice]) -> dict[str, list[str]]:
    """The values of each option, each of them once."""
    found: dict[str, list[str]] = {}
    for name, *words in filter(None, choices):
        found[name] = list(dict.fromkeys([*found.get(name, ()), *words]))
    return found
