"""Parts of the documentation that are taken from the package, so that they cannot go stale.

While the site is built, `<!-- public names -->` becomes a table row for each public name, with a link to its place, and
`<!-- modules: ROOM -->` becomes the modules of a room. What follows `<!-- help: X -->` is what `inkwash X --help`
prints. It stands in the page itself, so that it can be read without the site; `python docs/hooks.py` writes it there,
and a test compares.
"""

import contextlib
import inspect
import io
import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

COMMAND_LINE = Path(__file__).with_name("command-line.md")
_HELP = re.compile(r"(<!-- help: ?([a-z0-9 -]*?) ?-->)\n```text\n.*?\n?```", re.DOTALL)
_PLAIN = {"NO_COLOR": "1", "COLUMNS": "100"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the places of one page."""
    markdown = re.sub(r"<!-- modules: ([a-z.]+) -->", _modules, markdown)
    return _replace(markdown, "<!-- public names -->", _public_names)


def _replace(markdown: str, place: str, make: Callable[[], str]) -> str:
    return markdown.replace(place, make()) if place in markdown else markdown


def with_help(markdown: str) -> str:
    """A page with the help of each command that it names."""
    return _HELP.sub(lambda place: f"{place[1]}\n```text\n{_help(place[2].split())}\n```", markdown)


def _help(words: list[str]) -> str:
    """What a command says of itself, without frames, at a fixed width."""
    from inkwash.commands.cli import main

    before, said = dict(os.environ), io.TextIOWrapper(io.BytesIO(), "utf-8")
    os.environ.update(_PLAIN)
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.clear()
        os.environ.update(before)
    said.seek(0)
    return _without_frames(said.read())


def _without_frames(text: str) -> str:
    lines = []
    for line in text.splitlines():
        title = re.fullmatch(r"╭─ (.*?) ─*╮", line)
        inner = re.sub(r"^│ ?|\s*│$", "", line)
        if title:
            lines += ["", f"{title[1]}:"]
        elif not re.fullmatch(r"[╰─╯\s]*", inner) or not line:
            lines.append(inner.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _public_names() -> str:
    import inkwash

    values = {name: getattr(inkwash, name) for name in inkwash.__all__}
    return "\n".join(_row(name, value) for name, value in values.items() if not isinstance(value, ModuleType))


def _modules(place: re.Match[str]) -> str:
    """The sentence of a room, and its modules one after another."""
    room = import_module(place[1])
    names = [name for _, name, _ in walk_packages(getattr(room, "__path__", ()), f"{room.__name__}.")]
    parts = [inspect.cleandoc(room.__doc__ or "")] if names else [f"::: {room.__name__}"]
    parts += [
        f"## {name.removeprefix('inkwash.')}\n\n::: {name}\n    options:\n      heading_level: 3" for name in names
    ]
    return "\n\n".join(parts)


def _row(name: str, value: Any) -> str:
    summary = re.sub(r"\s+", " ", (value.__doc__ or "").strip().split("\n\n")[0]).replace("|", "\\|")
    return f"| [`{name}`][{value.__module__}.{name}] | {summary} |"


if __name__ == "__main__":
    COMMAND_LINE.write_text(with_help(COMMAND_LINE.read_text("utf-8")), "utf-8")
