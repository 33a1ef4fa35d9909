"""Training runs that the page starts and stops: each is the command `inkwash train`, in a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from inkwash.core.errors import ConfigError

MOST = 2
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LINES = 200


class Training:
    """A training run in a process of its own.

    Args:
        words: of the command, after `inkwash`.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.process: Process | None = None
        self.exit_code: int | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the command."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "inkwash", *self.words, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
        self._reading = asyncio.create_task(self._read(self.process))

    async def _read(self, process: Process) -> None:
        while process.stdout and (line := await _line(process.stdout)):
            self.lines.append(line.decode(errors="replace").rstrip())
        self.exit_code = await process.wait()

    @property
    def runs(self) -> bool:
        """Whether the command is still at work."""
        return self.process is not None and self.exit_code is None

    def stop(self) -> None:
        """Have the command save and end, as Ctrl-C does."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)

    async def ended(self) -> int:
        """The exit code, once the command has ended."""
        if self._reading is not None:
            await self._reading
        return self.exit_code or 0


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; of one that is too long to keep, only a word that says so."""
    try:
        return await stream.readline()
    except ValueError:
        return "…\n".encode()


def new_folder(folder: Path, name: str) -> Path:
    """Where a run of a name goes.

    Raises:
        ConfigError: a name that is no plain word.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("name", repr(name), "at most 40 small letters, digits and hyphens")
    return folder / name
