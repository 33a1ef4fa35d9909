"""Serve the page on loopback until the command is stopped: what `inkwash studio` does."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from inkwash.core.config import BUILTIN_NAMES
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError
from inkwash.studio.app import Studio
from inkwash.studio.punctual import Punctual
from inkwash.studio.runs import Shelf, facts

LOOPBACK = "127.0.0.1"
_QUIET = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
_LIMITS = {"timeout_keep_alive": 5, "timeout_graceful_shutdown": 5, "limit_concurrency": 500}
"""The last one counts connections, also those that have asked nothing yet; the guard limits requests."""


def serve(run: str | None, folder: str, sources: Sequence[str], port: int, display: Display, browse: bool) -> None:
    """Serve the page until a signal comes.

    Args:
        run: the run that the page opens with.
        folder: where runs lie and new ones go.
        sources: data that the page offers to train on, beside the built-in sets.
        port: to listen on; 0 is any that is free.
        display: where the address is printed.
        browse: whether to open the page in the browser.

    Raises:
        ConfigError: the port is taken, or two sources have one name.
        DataError: there is no such run or source.
    """
    shelf = Shelf(Path(folder), () if run is None else (_of_run(run),))
    studio = Studio(shelf, _named(sources), None if run is None else shelf.also[0].name)
    token = secrets.token_urlsafe(24)
    with _listening(port) as listener:
        port = listener.getsockname()[1]
        hosts = (f"{LOOPBACK}:{port}", f"localhost:{port}")
        address = f"http://{hosts[0]}/#{token}"
        display.say(f"studio    {address}")
        display.say("          Ctrl-C ends it; trainings that it started save and end, too")
        display.found(address=address)
        if browse:
            webbrowser.open(address)
        settings: dict[str, Any] = {**_QUIET, **_LIMITS, "http": Punctual, "ws": "none"}
        config = uvicorn.Config(studio.app(hosts, token), **settings)
        uvicorn.Server(config).run(sockets=[listener])


def _of_run(run: str) -> Path:
    path = Path(run)
    path = path if path.name not in ("", "..") else path.resolve()
    if not facts(path)["source"]:
        raise DataError(run, "no run", f"the folder of one, as inkwash train makes it: inkwash train DATA --out {run}")
    return path


def _named(sources: Sequence[str]) -> dict[str, str]:
    """The sources by the last part of their paths."""
    found: dict[str, str] = {}
    for source in sources:
        name = Path(source).name
        if not Path(source).exists():
            raise DataError(source, "no such file or folder", "data that exists")
        if name in BUILTIN_NAMES:
            raise ConfigError("data", source, f"another name: {name} is a built-in set")
        if name in found:
            raise ConfigError("data", source, f"a name of its own: {found[name]} is called {name}, too")
        found[name] = str(Path(source).resolve())
    return found


def _listening(port: int) -> socket.socket:
    """A socket on loopback."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError("port", port, f"one that is free, such as --port 0 ({error.strerror})") from None
    return listener
