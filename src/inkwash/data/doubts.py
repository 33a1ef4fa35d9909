"""What reading decided on its own about a table, and could have decided otherwise.

A file of text says little about its columns. Whatever a reader decides and a user may see otherwise is one `Doubt`.
All doubts of a table are found in one reading, and shown as one table. An option settles each of them, either way.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from inkwash.core.config import DataConfig
from inkwash.core.errors import DoubtsError

Choice = tuple[str, ...]
"""An option of `DataConfig`, and the values that it takes."""
_LISTS = ("drop", "categories", "numbers", "dates", "missing_values")
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
        DoubtsError: there are some; the message lists all of them, and what settles them.
    """
    if not doubts:
        return
    each = "; ".join(f"{doubt.column or '(file)'}: {doubt.seen}, {doubt.done}" for doubt in doubts)
    got, need = f"{len(doubts)} doubt{'s' * (len(doubts) > 1)}", f"options that settle them ({each})"
    settled = _settled(doubts, config)
    raise DoubtsError(where, got, need, settled, _python(settled))


def _settled(doubts: Sequence[Doubt], config: DataConfig) -> DataConfig:
    """The options that settle all doubts, beside those that there are."""
    stated = [(name, *(getattr(config, name) or ())) for name in _LISTS]
    found = _merged([*stated, *(doubt.settled for doubt in doubts)])
    settled: dict[str, Any] = {
        name: tuple(words) if name in _LISTS else words[0] for name, words in found.items() if words
    }
    return replace(config, **settled)


def _python(config: DataConfig) -> str:
    """Options as one writes them in Python, all of them: the usual short form would leave out the end of a list."""
    own = {item.name: getattr(config, item.name) for item in fields(config)}
    usual = vars(DataConfig())
    return f"DataConfig({', '.join(f'{name}={value!r}' for name, value in own.items() if value != usual[name])})"


def _merged(choices: Iterable[Choice]) -> dict[str, list[str]]:
    """The values of each option, each of them once."""
    found: dict[str, list[str]] = {}
    for name, *words in filter(None, choices):
        found[name] = list(dict.fromkeys([*found.get(name, ()), *words]))
    return found
