"""What examples share, into a folder: what `inkwash relatives` and `inkwash interpolate` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inkwash.bridges.pipelines import is_pipeline
from inkwash.commands.keywords import condition_keywords, model_of, walk_options
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output
from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data.examples import read_example
from inkwash.data.raw import exists
from inkwash.data.readers import divided
from inkwash.model.model import Model
from inkwash.training.run import Run, StrPath, read_header


def example(run: StrPath, model: Model, name: str) -> Array:
    """The example that a word of the command line names: a file, or the number of a held-out example of the run.

    Raises:
        DataError: no such file or number, or not an example of the model.
        CheckpointError: a number, and a checkpoint in place of a run.
    """
    if not name.isdecimal():
        require_there(name)
        return read_example(name, model.units.spec, data_options(run))
    if is_pipeline(run):
        raise DataError(name, "the number of a held-out example, and a pipeline", "a picture or a file of one")
    held_out = Run(Path(run)).split()[1]
    if len(name) > len(str(len(held_out))) or int(name) >= len(held_out):
        raise DataError(name, "no such example", f"one of the {len(held_out)} held out, 0 to {len(held_out) - 1}")
    return np.asarray(Run(Path(run)).dataset().data[held_out[int(name)]])


def data_options(run: StrPath) -> DataConfig | None:
    """How a run reads its data, with the name of the array that stands behind the colon of its source; None for a
    pipeline."""
    if is_pipeline(run):
        return None
    config = read_header(run)[0].config
    return replace(config.data, key=config.data.key or divided(config.source)[1])


def require_there(name: str) -> None:
    """Refuse a word that names no file.

    Raises:
        DataError: there is no such file.
    """
    if not exists(Path(divided(name)[0])):
        need = "a picture or a file such as example.npy, or the number of a held-out example, such as 0"
        raise DataError(name, "no such file", need)


def relatives_to_folder(
    run: StrPath, name: str, at: Sequence[float], n: int, options: SamplingOptions, output: Output
) -> None:
    """Write `n` relatives of an example for each time: `relatives.npy` `(len(at), n, …)` and `relatives.png`.

    A row of the picture shows the example, the latent that its relatives share, and the relatives.

    Args:
        run: folder of a run.
        name: of the example; see `example`.
        at: times of the latents.
        n: how many relatives at each time, at least 1.
        options: seed, condition, device and walk.
        output: where to write.
    """
    keywords, model = walk_options(options), model_of(run, options, output.display)
    x = example(run, model, name)[None]
    with output.display.bar(f"drawing {n} relatives at each time"):
        samples = [model.relatives(x[0], t, n, seed=options.seed, **keywords) for t in tracked(at)]
    latents = [model.noisy_to_data(model.diffuse(x, t, seed=options.seed), t) for t in at]
    output.array("relatives.npy", np.stack(samples))
    rows = [np.concatenate([x, *parts]) for parts in zip(latents, samples, strict=True)]
    output.rows("relatives.png", model.units.spec, rows)
    other = "OTHER" if is_pipeline(run) else int(name == "0")
    output.say(f"next      {typed('interpolate', run, name, other)}")


def interpolate_to_folder(
    run: StrPath, a: str, b: str, n: int, options: SamplingOptions, output: Output, *, t: float | None = None
) -> None:
    """Write `n` examples between `a` and `b`: `interpolation.npy` and `interpolation.png`.

    Args:
        run: folder of a run.
        a: an example; see `example`.
        b: another.
        n: how many, both ends among them.
        options: seed, condition and device, and, with `t`, guidance and walk.
        output: where to write.
        t: mix noisy versions of this time; None mixes codes.
    """
    keywords = condition_keywords(options) if t is None else walk_options(options)
    model = model_of(run, options, output.display)
    ends = example(run, model, a), example(run, model, b)
    with output.display.bar("interpolating"):
        data = np.asarray(model.interpolate(*ends, n, t=t, seed=options.seed, **keywords))
    output.examples("interpolation", model.units.spec, data)
    output.rows("interpolation.png", model.units.spec, [data])
    output.say(f"next      {typed('relatives', run, a)}")
