"""What all commands share: how they speak, how a signal stops them, and how they end.

`--quiet` prints nothing but errors. `--json` prints one document to standard output in place of words: the command with
its options, what it found, the files that it wrote, and the error if there was one. `--debug` shows tracebacks too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from inkwash.commands.parse import SHARED_OPTIONS, spoken
from inkwash.core import storage
from inkwash.core.display import Document, Voice, speaking
from inkwash.core.errors import DoubtsError, InkwashError, RunDiffersError, RunInterrupted
from inkwash.core.options import to_json
from inkwash.core.processes import Place
from inkwash.core.text import shortened, typed, visible
from inkwash.core.version import __version__

_FIRST_SPEAKS = 5.0
"""Seconds for which the first of several processes is left to report what went wrong in all of them. When it ends, its
launcher ends the others."""
_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(BaseException):
    """A signal stopped a command; no part of it may take this for an error that it knows."""

    def __init__(self, number: int) -> None:
        super().__init__(_SIGNALS[signal.Signals(number)])
        self.exit_code = 128 + number


class Frame:
    """Runs one command, says what went wrong in one line, and exits with its code.

    Args:
        words: the command line.

    Attributes:
        words: those that are left for the command.
        kind: the command's class, once it is known.
        name: what the user typed to choose the command.
        command: the command, once its words are understood.
    """

    def __init__(self, words: Sequence[str]) -> None:
        shared = {f"--{name}" for name in SHARED_OPTIONS}
        self.words = [word for word in words if word not in shared]
        self.debug, self.document = "--debug" in words, Document() if "--json" in words else None
        self.kind: type | None = None
        self.name = " ".join(self.words[:1])
        self.command: Any = None
        self.voice = Voice("--quiet" in words, self.document)
        self.around = ExitStack()

    def __enter__(self) -> Frame:
        self.around.enter_context(speaking(self.voice))
        self.around.enter_context(_stopped_by_signals())
        warnings.showwarning = self._show_warning
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.around.close()
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        if isinstance(error, Exception | KeyboardInterrupt | Stopped):
            self._fail(error)
        if error is None:
            self._print(None)

    def _fail(self, error: BaseException) -> None:
        if self.debug:
            traceback.print_exception(error)
        if Place.of(os.environ).rank > 0:
            if isinstance(error, RunInterrupted | Stopped):  # which all of them raise
                sys.exit(error.exit_code)
            time.sleep(_FIRST_SPEAKS)
        line, code = _ending(error, self.kind)
        if isinstance(error, DoubtsError) and hasattr(self.command, "command_line"):
            line = f"error: {error.reasons}: {replace(self.command, data=error.settled).command_line()}"
        if isinstance(error, RunDiffersError):
            line += f": {self._elsewhere()}"
        print(visible(line), file=sys.stderr)
        self._print({"line": line, "exit_code": code})
        sys.exit(code)

    def _elsewhere(self) -> str:
        """The same command line, ready to copy, for a folder of its own."""
        out = Path(getattr(self.command, "out", None) or f"runs/{Path(self.command.source).stem}")
        words = [word for k, word in enumerate(self.words) if word != "--out" and self.words[k - 1] != "--out"]
        words = [word for word in words if not word.startswith("--out=")]
        return typed(*words, "--out", storage.unused(out))

    def _print(self, error: dict[str, Any] | None) -> None:
        """Print the document, if there is one; the first of several processes does."""
        if self.document is None or Place.of(os.environ).rank > 0:
            return
        options = None if self.command is None else to_json(self.command)
        head = {"inkwash": __version__, "command": self.name, "options": options}
        sys.stdout.write(storage.dump_line({**head, **vars(self.document), "error": error}).decode())

    def _show_warning(self, message: Warning | str, category: type[Warning], *details: Any, **more: Any) -> None:
        if category is UserWarning:
            print(visible(f"warning: {message}"), file=sys.stderr)
            if self.document is not None:
                self.document.warnings.append(str(message))


def _ending(error: BaseException, kind: type | None) -> tuple[str, int]:
    """The one line that says how a command ended, and its exit code."""
    if isinstance(error, KeyboardInterrupt):
        line, code = "interrupted", 130
    elif isinstance(error, Stopped | RunInterrupted):
        line, code = str(error), error.exit_code
    elif isinstance(error, InkwashError):
        line, code = f"error: {spoken(error, kind)}", error.exit_code
    elif isinstance(error, OSError):
        line, code = f"error: {error.filename or 'files'}: got {error}, need a working file system", 6
    elif isinstance(error, MemoryError) or "tried to allocate" in str(error).lower():  # by torch, a RuntimeError
        line, code = f"error: memory: got too little ({shortened(error)}), need fewer or smaller examples at a time", 9
    else:
        what = f"{type(error).__name__}: {shortened(error)}"
        line, code = f"internal error: {what}; please report it, with what --debug shows of the same command", 70
    return " ".join(line.split()), code


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the work by an exception, which leaves no file half-written; a second one leaves at once.
    Training has a way of its own, which saves."""
    caught: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if caught:
            os._exit(128 + number)
        caught.append(number)
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, stop)) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
