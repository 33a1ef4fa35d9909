"""What a command shows while it works: lines, and progress bars if it runs in a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress(Protocol):
    """What shows how far training has come."""

    def update(self, step: int, loss: float, held_out: float | None) -> None:
        """Show the step and its loss, and the held-out loss if it was computed."""


class Display:
    """Prints to standard output.

    Args:
        shown: whether to print; of several processes only one does.
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
    def progress(self, total: int, done: int) -> Iterator[TrainingProgress]:
        """Training of `total` steps, of which some are `done`: a bar with loss, held-out loss, elapsed and remaining
        time, or, without a terminal, a line for each held-out loss."""
        if not self.console.is_terminal:
            yield _TrainingLines(self, total)
            return
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
        with Progress(
            *columns, TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), console=self.console
        ) as bar:
            yield _TrainingBar(bar, total, done)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[float], None]]:
        """A bar, and the function that sets the share of it that is done; without a terminal it shows nothing."""
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(what, total=1.0)
            yield lambda done: bar.update(task, completed=done)


class _TrainingBar:
    """A bar; the loss that it shows is a moving average."""

    def __init__(self, bar: Progress, total: int, done: int) -> None:
        self.bar, self.held_out, self.smooth = bar, "", float("nan")
        self.task = bar.add_task("training", total=total, completed=done, words="")

    def update(self, step: int, loss: float, held_out: float | None) -> None:
        if math.isfinite(loss):
            self.smooth = loss if math.isnan(self.smooth) else 0.98 * self.smooth + 0.02 * loss
        self.held_out = self.held_out if held_out is None else f"  held out {held_out:.4f}"
        self.bar.update(self.task, completed=step, words=f"loss {self.smooth:.4f}{self.held_out}")


class _TrainingLines:
    """A line for each held-out loss."""

    def __init__(self, display: Display, total: int) -> None:
        self.display, self.total = display, total

    def update(self, step: int, loss: float, held_out: float | None) -> None:
        if held_out is not None:
            self.display.say(f"step {step}/{self.total}  loss {loss:.4f}  held out {held_out:.4f}")
