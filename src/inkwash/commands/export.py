"""A run as a file that other programs read: what `inkwash export` does."""

from __future__ import annotations

from pathlib import Path

from inkwash.bridges.exporting import TARGETS, export
from inkwash.core.config import ExportName
from inkwash.core.display import Display
from inkwash.training.run import StrPath, load


def export_run(run: StrPath, to: ExportName, out: str | None, guidance: float | None, display: Display) -> None:
    """Write a run for another runtime; see `export`.

    Args:
        run: folder of a run or checkpoint.
        to: for what.
        out: where to write; None is the name of the run, in the working folder.
        guidance: the weight of its condition; None is 1.
        display: where to say what was written.

    Raises:
        ConfigError: as `export`.
    """
    path = Path(out or f"{Path(run).name}{TARGETS[to].suffix}")
    with display.bar(f"exporting to {path}"):
        done = export(load(run), to, path, guidance=1.0 if guidance is None else guidance)
    display.wrote(*done.files)
    display.found(difference=done.difference)
    display.say(f"model     {done.files[0]} (one file; it returns what the model does, up to {done.difference:.0e})")
    display.say(f"sampler   {done.files[1]}")
    display.say(f"next      python -c \"{_sampling(*done.files)}\"")


def _sampling(model: Path, sampler: Path) -> str:
    """A line of Python that samples with the files, from the folder in which they lie."""
    return f"from {sampler.stem} import *; print(sample(*load('{model.name}'), n=2, steps=10))"
