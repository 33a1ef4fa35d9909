"""A run as a file that other programs read: what `inkwash export` does."""

from __future__ import annotations

import shlex
from pathlib import Path

from inkwash.bridges.exporting import TARGETS, export
from inkwash.commands.keywords import named_model
from inkwash.core.config import ExportName
from inkwash.core.display import Display
from inkwash.training.run import StrPath

_LOADING = "from diffusers import DiffusionPipeline"
_TRUST = "trust_remote_code=True"


def export_run(run: StrPath, to: ExportName, out: str | None, guidance: float | None, display: Display) -> None:
    """Write a run for another runtime; see `export`.

    Args:
        run: folder of a run or checkpoint.
        to: for what.
        out: where to write; None is the name of the run with an ending, in the working folder.
        guidance: the weight of its condition; None leaves it open.
        display: where to say what was written.

    Raises:
        ConfigError: as `export`.
    """
    ending = "-diffusers" if to == "diffusers" else TARGETS[to].suffix
    path = Path(out or f"{Path(run).name or Path.cwd().name}{ending}")
    with display.bar(f"exporting to {path}"):
        done = export(named_model(run), to, path, guidance=guidance)
    display.wrote(*done.files)
    display.found(difference=done.difference)
    if done.difference is None:
        display.say(f"folder    {path} (weights, code and a pipeline of diffusers)")
        display.say(
            f'next      python -c "{_LOADING}; print(DiffusionPipeline.from_pretrained({str(path)!r}, {_TRUST}))"'
        )
    else:
        display.say(
            f"model     {done.files[0]} (one file; it returns what the model does, up to {done.difference:.0e})"
        )
        display.say(f"sampler   {done.files[1]}")
        display.say(f"next      {_sampling(*done.files)}")


def _sampling(model: Path, sampler: Path) -> str:
    """A command that samples with the files."""
    there = "" if model.parent == Path() else f"cd {shlex.quote(str(model.parent))} && "
    line = f"from {sampler.stem} import *; print(sample(*load({model.name!r}), n=2, steps=10))"
    return f'{there}python -c "{line}"'
