"""What a command shows while it works: lines, and a progress bar if standard output is a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from inkwash.core.text import visible


class TrainingBar(Protocol):
    """What shows the progress of training."""

    def update(self, step: int, loss: float, held_out: float | None, left: float) -> None:
        """Show that a step is done, its loss, the loss on held-out data if it was measured, and how long is left, s."""


class Display:
    """Prints to standard output.

    Args:
        shown: whether anything is printed; only one of several processes prints.
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
        """Print one line; what would steer a terminal is shown as an escape."""
        self.console.print(visible(text), markup=False)

    @contextmanager
    def progress(self, total: int, done: int) -> Iterator[TrainingBar]:
        """A bar of training steps with loss, held-out loss, elapsed and remaining time; without a terminal, lines."""
        if not self.console.is_terminal:
            yield _PrintedLines(self, total)
            return
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
        with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=self.console) as bar:
            yield _DrawnBar(bar, total, done)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[float], None]]:
        """A bar for any work, as a function that takes the share of it that is done; without a terminal, nothing."""
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(what, total=1.0)
            yield lambda done: bar.update(task, completed=done)


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


def _left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"
