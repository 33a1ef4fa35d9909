"""What a run or data set is: what `inkwash inspect` does."""

from __future__ import annotations

import json
from collections.abc import Iterator

from inkwash.commands.keywords import pipeline_model
from inkwash.core.config import Config
from inkwash.core.display import Display
from inkwash.core.machine import accelerator
from inkwash.core.options import to_json
from inkwash.core.text import typed
from inkwash.data.columns import listed
from inkwash.data.spec import DataSpec
from inkwash.model.diffusion import require_diffusion
from inkwash.training.checkpoint import list_checkpoints
from inkwash.training.prepare import prepare
from inkwash.training.remote import is_remote
from inkwash.training.reporter import announce
from inkwash.training.run import Run, StrPath, read_header
from inkwash.training.state import start


def inspect_run(run: StrPath, display: Display) -> None:
    """Print what a run, or one of its checkpoints, is."""
    header, path = read_header(run)
    config = header.config
    display.found(checkpoint=str(path), **to_json(header))
    display.say(f"checkpoint {path} (verified)")
    display.say(f"step       {header.step} of {config.train.steps}; {header.skipped} skipped; {header.seconds:.0f} s")
    display.say(f"data       {config.source}: {header.examples} examples, sha256 {header.fingerprint[:12]}…")
    display.say(f"           {header.transform.describe()}")
    spec, reading = header.transform.spec, header.transform.spec.reading
    if constants := [*_constants(spec)]:
        display.say(f"constant   {listed(constants)}")
    if reading is not None and reading.left_out:
        display.say(f"left out   {listed(reading.left_out)}")
    if header.condition.classes:
        display.say(f"labels     {config.data.labels}: {header.condition.describe()}")
    if header.condition.given:
        name = config.data.condition or f"shrink {config.data.shrink}"
        display.say(f"condition  {name}: {header.condition.given.describe()}")
    display.say("versions   " + ", ".join(f"{name} {version}" for name, version in header.versions.items()))
    display.say("config")
    display.say(json.dumps(to_json(config), indent=2, ensure_ascii=False))
    if not is_remote(run) and len(list_checkpoints(Run(run).checkpoints)) and header.step < (config.train.steps or 0):
        display.say(f"next       {typed('train', config.source, '--out', run)}   (with the options above) resumes")
    else:
        display.say(f"next       {typed('sample', run, '-n', 64)}")


def inspect_pipeline(name: str, display: Display) -> None:
    """Print what a pipeline of diffusers, in a local folder, is as a model."""
    model = require_diffusion(pipeline_model(name), "inspect")
    spec, labels = model.units.spec, model.condition.describe()
    found = {"data": spec.describe(), "labels": labels or "none", "network": repr(model.denoiser)}
    found |= {"steps": str(model.steps), "walking": repr(model.walking)}
    display.found(pipeline=name, **found)
    display.say(f"pipeline   {name} (weights that fit)")
    for what, words in found.items():
        display.say(f"{what:<10} {words}")
    display.say(f"next       {typed('sample', name, '-n', 64, '--steps', 50)}")


def _constants(spec: DataSpec) -> Iterator[str]:
    """What is the same in every example: columns of a table by name, channels and entries of arrays by number."""
    yield from spec.reading.constants if spec.reading else ()
    what = "channel" if spec.size else "column"
    yield from (f"{what} {i} ({value:g})" for i, value in enumerate(spec.constants or ()) if value is not None)


def inspect_data(config: Config, display: Display, command: str) -> None:
    """Print what `train` would make of data, and what it would choose; nothing is trained or written.

    Args:
        config: the options.
        display: where to print.
        command: the command line that trains so, which is named at the end.

    Raises:
        ConfigError: a bad option.
        DataError: bad data.
    """
    prepared = prepare(config)
    display.found(config=to_json(prepared.config), notes=list(prepared.dataset.notes))
    announce(prepared, start(prepared.config, prepared.examples, accelerator().device), display)
    display.say(f"next      {command}")
