"""What a command shows while it works: lines, and a progress bar if standard output is a terminal.

How it speaks is decided once, for all displays: `speaking(Voice(...))` makes them silent, or has them fill a document
for machines in place of printing.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from inkwash.core.progress import heard, reached
from inkwash.core.text import visible

_PATIENCE = 5.0
"""Seconds after which work without a terminal first says how far it is; every further line waits twice as long."""


@dataclass
class Document:
    """What a command found, for machines.

    Args:
        result: what the command found, by name, as plain data.
        files: the files that were written, in order.
        lines: what the command would have printed.
        warnings: what it warned of.
    """

    result: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Voice:
    """How all displays of a command speak.

    Args:
        quiet: whether nothing is printed.
        document: what is filled in place of printing; progress goes to standard error then, if that is a terminal.
    """

    quiet: bool = False
    document: Document | None = None


_VOICE: ContextVar[Voice | None] = ContextVar("voice", default=None)


@contextmanager
def speaking(voice: Voice) -> Iterator[None]:
    """Within this context, every new display has this voice."""
    token = _VOICE.set(voice)
    try:
        yield
    finally:
        _VOICE.reset(token)


class TrainingBar(Protocol):
    """What shows the progress of training."""

    def update(self, step: int, loss: float, held_out: float | None, left: float) -> None:
        """Show that a step is done, its loss, the loss on held-out data if it was measured, and how long is left, s."""


class Display:
    """Prints to standard output, or fills the document of the voice in which the command speaks.

    Args:
        shown: whether anything is printed; only one of several processes prints.
    """

    def __init__(self, shown: bool = True) -> None:
        voice = _VOICE.get() or Voice()
        self.shown, self.document = shown, voice.document
        stream = sys.stdout if voice.document is None else sys.stderr
        self.console = Console(file=stream, quiet=voice.quiet or not shown, highlight=False, soft_wrap=True)

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print one line; what would steer a terminal is shown as an escape."""
        if self.document is None:
            self.console.print(visible(text), markup=False)
        elif self.shown:
            self.document.lines.append(text)

    def found(self, **facts: Any) -> None:
        """Add plain data to the result in the document, if there is one."""
        if self.document is not None and self.shown:
            self.document.result |= facts

    def wrote(self, *paths: Path) -> None:
        """Add files to the document, if there is one."""
        if self.document is not None:
            self.document.files += [str(path) for path in paths if str(path) not in self.document.files]

    @contextmanager
    def progress(self, total: int, done: int) -> Iterator[TrainingBar]:
        """A bar of training steps with loss, held-out loss, elapsed and remaining time; without a terminal, lines."""
        if not self._draws:
            yield _PrintedLines(self, total)
            return
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
        with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=self.console) as bar:
            yield _DrawnBar(bar, total, done)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[float], None]]:
        """A bar with the remaining time for any work, as a function that takes the share of it that is done.

        It also hears `tracked` loops. Without a terminal there are lines, after 5, 10, 20, … seconds.
        """
        if self.console.quiet:
            yield reached  # a bar around this one may hear it
            return
        if not self._draws:
            lines = _PrintedShare(self, what)
            with heard(lines.update):
                yield lines.update
            return
        with Progress(console=self.console, transient=True) as bar:
            task, most = bar.add_task(what, total=1.0), 0.0

            def update(done: float) -> None:
                nonlocal most
                most = max(most, done)
                bar.update(task, completed=most)

            with heard(update):
                yield update

    @property
    def _draws(self) -> bool:
        """Whether there is a terminal to draw bars on."""
        return self.console.is_terminal and not self.console.quiet


class _DrawnBar:
    """A bar in a terminal; it shows a moving average of the losses that are finite."""

    def __init__(self, bar: Progress, total: int, done: int) -> None:
        self.bar, self.held_out, self.smooth = bar, "", math.nan
        self.task = bar.add_task("training", total=total, completed=done, words="", left="")

    def update(self, step: int, loss: float, held_out: float | None, left: float) -> None:
        if math.isfinite(loss):
            self.smooth = loss if math.isnan(self.smooth) else 0.98 * self.smooth + 0.02 * loss
        self.held_out = self.held_out if held_out is None else f"  held out {held_out:.4f}"
        self.bar.update(self.task, completed=step, words=f"loss {self.smooth:.4f}{self.held_out}", left=_left(left))


class _PrintedLines:
    """A line for each step after which the held-out loss was measured."""

    def __init__(self, display: Display, total: int) -> None:
        self.display, self.total = display, total

    def update(self, step: int, loss: float, held_out: float | None, left: float) -> None:
        if held_out is not None:
            self.display.say(f"step {step}/{self.total}  loss {loss:.4f}  held out {held_out:.4f}  {_left(left)}")


class _PrintedShare:
    """A line now and then for work that takes long."""

    def __init__(self, display: Display, what: str) -> None:
        self.display, self.what, self.began, self.due = display, what, time.monotonic(), _PATIENCE

    def update(self, done: float) -> None:
        passed = time.monotonic() - self.began
        if passed >= self.due and 0 < done < 1:
            self.due = 2 * passed
            self.display.say(f"{self.what}: {done:.0%}, {_left(passed / done - passed)}")


def _left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"
