"""What a command shows while it works: lines, and a progress bar where there is a terminal to draw it on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar(Protocol):
    """Progress that can be told of."""

    def update(self, step: int, loss: float, held_out: float | None) -> None: ...


class Display:
    """Prints to standard output.

    Args:
        shown: print at all; only one of several processes does.
    """

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(file=sys.stdout, quiet=not shown, highlight=False, soft_wrap=True)

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    @contextmanager
    def progress(self, total: int, done: int) -> Iterator[Bar]:
        """A bar of training steps with loss, held-out loss, elapsed and remaining time; without a terminal, lines."""
        if not self.console.is_terminal:
            yield _Lines(self, total)
            return
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
        with Progress(
            *columns, TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), console=self.console
        ) as bar:
            yield _Drawn(bar, total, done)

    @contextmanager
    def walk(self, what: str) -> Iterator[Callable[[float], None]]:
        """A bar to be told the share done; nothing without a terminal."""
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(what, total=1.0)
            yield lambda done: bar.update(task, completed=done)


class _Drawn:
    def __init__(self, bar: Progress, total: int, done: int) -> None:
        self.bar, self.held_out, self.smooth = bar, "", float("nan")
        self.task = bar.add_task("training", total=total, completed=done, words="")

    def update(self, step: int, loss: float, held_out: float | None) -> None:
        if loss - loss == 0:
            self.smooth = loss if self.smooth != self.smooth else 0.98 * self.smooth + 0.02 * loss
        self.held_out = self.held_out if held_out is None else f"  held out {held_out:.4f}"
        self.bar.update(self.task, completed=step, words=f"loss {self.smooth:.4f}{self.held_out}")


class _Lines:
    def __init__(self, display: Display, total: int) -> None:
        self.display, self.total = display, total

    def update(self, step: int, loss: float, held_out: float | None) -> None:
        if held_out is not None:
            self.display.say(f"step {step}/{self.total}  loss {loss:.4f}  held out {held_out:.4f}")
