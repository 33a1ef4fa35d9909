"""What an experiment found, and how it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inkwash.commands.output import Output
from inkwash.commands.papers.tables import Table
from inkwash.core import storage
from inkwash.core.shapes import Array
from inkwash.data import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Findings:
    """What an experiment measured.

    Args:
        numbers: plain data, for JSON.
        words: the findings, one line each.
        pictures: file name without suffix to a figure, or to pixels `(H, W)`.
        tables: tables beside those of a paper, which come before the words.
    """

    numbers: dict[str, Any]
    words: tuple[str, ...]
    pictures: Mapping[str, Figure | Array]
    tables: tuple[Table, ...] = ()


def report(name: str, findings: Findings, output: Output) -> None:
    """Write `NAME.json`, the pictures and, if there are tables, `NAME.md`; say what was found and where it is."""
    numbers = output.write(f"{name}.json", storage.dump_json(findings.numbers))
    output.display.found(**findings.numbers)
    places = {title: output.place(f"{title}.png") for title in findings.pictures}
    for title, picture in findings.pictures.items():
        if isinstance(picture, np.ndarray):
            pictures.save_pixels(places[title], picture)
        else:
            pictures.save_figure(places[title], picture)
    for table in findings.tables:
        for line in (*table.lines(), ""):
            output.say(line)
    for line in findings.words:
        output.say(line)
    if findings.tables:
        text = "\n".join(table.markdown() for table in findings.tables)
        output.say(f"tables    {output.write(f'{name}.md', text.encode())}")
    output.say(f"numbers   {numbers}")
    output.say("picture   " + ", ".join(map(str, places.values())))
    output.say("next      inkwash papers   (lists the experiments)")
