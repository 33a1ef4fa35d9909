"""What an experiment found, and how it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inkwash.core import storage
from inkwash.core.display import Display
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
    """

    numbers: dict[str, Any]
    words: tuple[str, ...]
    pictures: dict[str, Figure | Array]


def report(name: str, findings: Findings, out: Path, display: Display) -> None:
    """Write `NAME.json` and the pictures into the folder `out`, and say what was found and where it is."""
    storage.make_folder(out)
    storage.replace(out / f"{name}.json", storage.dump_json(findings.numbers))
    for title, picture in findings.pictures.items():
        if isinstance(picture, np.ndarray):
            pictures.save_pixels(out / f"{title}.png", picture)
        else:
            pictures.save_figure(out / f"{title}.png", picture)
    for line in findings.words:
        display.say(line)
    display.say(f"numbers   {out / name}.json")
    display.say("picture   " + ", ".join(str(out / f"{title}.png") for title in findings.pictures))
    display.say("next      inkwash papers   (lists the experiments)")
