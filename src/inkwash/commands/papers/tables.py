"""A table beside the paper's: its rows, the claims that it bears out or not, and pictures of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.spec import DataSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "–"
"""What a cell without a number shows."""
Named = tuple[str, float | None]
"""A name, and its number if there is one."""
_EVEN = 0.01


@dataclass(frozen=True)
class Table:
    """A table of text.

    Args:
        title: what it shows.
        head: the names of the columns.
        rows: a text for each column; columns of which every text but the first is a number are set to the right.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> Iterator[str]:
        """The table for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        yield self.title
        for row in (self.head, tuple("-" * width for width in widths), *self.rows):
            yield "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()

    def markdown(self) -> str:
        """The table for a page, under its title."""
        rows = (self.head, ("---",) * len(self.head), *self.rows)
        return f"{self.title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


@dataclass(frozen=True)
class Claim:
    """What a paper says, and what was found here.

    Args:
        text: the claim, in our words.
        found: the numbers that speak for it or against it.
        holds: whether they bear it out; None if they are too close, or a cell that it needs diverged.
    """

    text: str
    found: str
    holds: bool | None

    def line(self) -> str:
        """The claim as one line."""
        verdict = {True: "agrees", False: "differs", None: "open"}[self.holds]
        return f"{verdict:<8}  {self.text}: {self.found}"


def claim_less(text: str, lower: Named, higher: Named, unit: str) -> Claim:
    """The claim that one number is less than another; it is open if they differ by less than 1 %, or one is missing."""
    found = ", ".join(f"{name} {number(value)}" for name, value in (lower, higher))
    return Claim(text, f"{unit} {found}", _is_less(lower[1], higher[1]))


def _is_less(a: float | None, b: float | None) -> bool | None:
    if a is None or b is None or abs(a - b) < _EVEN * max(a, b):
        return None
    return a < b


def number(value: float | None, digits: int = 2) -> str:
    """A number of a table; a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def portraits(spec: DataSpec, rows: Mapping[str, Array]) -> Figure:
    """Samples of several models as one picture: a row for each, with its name.

    Args:
        spec: what an example is.
        rows: the name of a row to examples in data units, the same number in each row.
    """
    data = np.concatenate(list(rows.values()))
    sheet = pictures.grid(pictures.to_pixels(spec, data), columns=len(data) // len(rows), scale=4)
    height, width = (side / 100 for side in sheet.shape[:2])
    figure, axis = pictures.new_figure(width + 0.1 * max(map(len, rows)), height + 0.2)
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_yticks([(i + 0.5) * len(sheet) / len(rows) for i in range(len(rows))], list(rows))
    axis.set_xticks([])
    axis.set_anchor("E")  # names stand in the room on the left
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure
