"""Parts of the documentation that are taken from the package while it is built, so that they cannot go stale.

`<!-- help: X -->` becomes what `inkwash X --help` prints; `<!-- public names -->` becomes a table row for each public
name, with a link to its place; `<!-- modules: ROOM -->` becomes the modules of a room.
"""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

_RUN = "import sys; from inkwash.commands.cli import main; main(sys.argv[1:])"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the places of one page."""
    markdown = re.sub(r"<!-- help: ?([a-z -]*?) -->", _help, markdown)
    markdown = re.sub(r"<!-- modules: ([a-z.]+) -->", _modules, markdown)
    return _replace(markdown, "<!-- public names -->", _public_names)


def _replace(markdown: str, place: str, make: Callable[[], str]) -> str:
    return markdown.replace(place, make()) if place in markdown else markdown


def _help(place: re.Match[str]) -> str:
    """What a command says of itself, without frames, at a fixed width."""
    words = [*place[1].split(), "--help"]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    said = subprocess.run(
        [sys.executable, "-c", _RUN, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        check=True,
    ).stdout
    return f"```text\n{_without_frames(said)}\n```"


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
