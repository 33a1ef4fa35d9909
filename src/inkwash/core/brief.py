"""How objects show themselves on one line, and in notebooks."""

import dataclasses
import html
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

C = TypeVar("C")
_MOST = 8


def short_repr(kind: type[C]) -> type[C]:
    """Give a dataclass a `repr` of one line: fields that differ from their defaults, arrays by type and shape."""

    def shown(self: Any) -> str:
        named = (
            f"{item.name}={brief(getattr(self, item.name))}" for item in dataclasses.fields(self) if _tells(self, item)
        )
        return f"{type(self).__name__}({', '.join(named)})"

    kind.__repr__ = shown  # type: ignore[method-assign]
    return kind


def _tells(owner: Any, item: Any) -> bool:
    value = getattr(owner, item.name)
    default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    return item.repr and (type(value) is not type(default) or hasattr(value, "shape") or value != default)


def brief(value: Any) -> str:
    """A value in a few words: arrays by type and shape, modules and functions by name, long lists by length."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if hasattr(value, "named_modules") or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, tuple | list):
        short = len(value) <= _MOST
        items = ", ".join(map(brief, value)) + "," * (len(value) == 1)
        return f"({items})" if short else f"({len(value)} entries)"
    if isinstance(value, Mapping):
        short = len(value) <= _MOST
        named = (f"{name!r}: {brief(each)}" for name, each in value.items())
        return f"{{{', '.join(named)}}}" if short else f"{{{len(value)} entries}}"
    text = repr(value)
    return type(value).__name__ if " object at 0x" in text else text


def page(
    title: str, lines: Iterable[str] = (), pictures: Iterable[bytes] = (), table: Iterable[Iterable[str]] = ()
) -> str:
    """A few lines of HTML; every text is escaped.

    Args:
        title: what it is.
        lines: what is said about it.
        pictures: PNG files, one below another.
        table: rows of cells, the first of which holds the names.
    """
    parts = [f"<b>{html.escape(title)}</b>", *(f"<div>{html.escape(line)}</div>" for line in lines)]
    rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table]
    parts += [f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"] if rows else []
    parts += [f'<div><img src="data:image/png;base64,{b64encode(each).decode()}"></div>' for each in pictures]
    return "".join(parts)
