"""Sample into a folder: what `inkwash sample` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from inkwash.bridges.pipelines import is_pipeline
from inkwash.commands.keywords import condition_keywords, model_of, walk_options
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output, image_name
from inkwash.core.errors import ConfigError
from inkwash.core.machine import accelerator
from inkwash.core.text import typed
from inkwash.data import pictures
from inkwash.data.readers import format_named, table_suffix
from inkwash.data.spec import DataSpec
from inkwash.model.factors import Condition
from inkwash.model.shares import draw_in_shares
from inkwash.model.watch import Film
from inkwash.model.where import Where
from inkwash.training.remote import is_remote
from inkwash.training.run import StrPath, read_header


def sample_to_folder(
    run: StrPath,
    n: int,
    options: SamplingOptions,
    output: Output,
    *,
    where: str | None = None,
    film: str | None = None,
    frames: int = 40,
) -> None:
    """Write `n` samples of a run: `samples.npy`, or a file of the format that the data came in; for a table,
    `samples.csv`, or a file of the format of the table; one picture of all samples; and a PNG for each sample that is
    no vector.

    Processes started together, by `accelerate launch` or `torchrun`, share the work; the first of them writes.

    Args:
        run: folder of a run, of a checkpoint, or of a pipeline of diffusers.
        n: how many, at least 1.
        options: seed, condition, device and walk.
        output: where to write.
        where: conditions on the columns of a table; see `inkwash.Where`.
        film: name, within the folder, of a film of the first samples; see `Film`. None: there is none.
        frames: of the film, at most.

    Raises:
        ConfigError: a bad option, conditions that no sample can meet, or a folder with more images of earlier samples.
    """
    place = accelerator()
    output = output if place.is_main_process else output.silent()
    keywords, model = walk_options(options), model_of(run, options, output.display)
    spec = model.units.spec
    if spec.origin is not None:
        format_named(spec.origin.format)  # a package that is missing is named before anything is drawn
    if place.num_processes > 1:
        output.say(f"processes {place.num_processes}, each of which draws its share of the slots")
    output.refuse_leftovers("[0-9]" * 6 + ".png", map(image_name, range(n if spec.size else 0)))
    recorded = None if film is None else Film(model, output.folder / _film_name(film), frames)
    if where is not None:
        condition = Condition(**condition_keywords(options), guidance=options.guidance)
        model, keywords = cast(Any, model) * Where(where) * condition, {}
    data = draw_in_shares(model, n, output.display, recorded, seed=options.seed, **keywords)
    if place.is_main_process:
        _write(output, run, spec, data)
        if recorded is not None:
            output.film(recorded)
        if not is_remote(run):
            data_too = ("--data", "DATA") if is_pipeline(run) else ()
            output.say(f"next      {typed('evaluate', run, *data_too)}")


def _film_name(name: str) -> str:
    if Path(name).name != name or Path(name).stem == "samples" or Path(name).stem.isdecimal():
        raise ConfigError("film", name, "a name without a folder, such as film.gif, that no file of samples has")
    return name


def _write(output: Output, run: StrPath, spec: DataSpec, data: Any) -> None:
    if spec.columns:
        output.table(f"samples{table_suffix(read_header(run)[0].config.source)}", spec, data)
    else:
        output.examples("samples", spec, data)
    if spec.lengths is not None:
        output.say("lengths   drawn as in the data; a series is NaN beyond its end")
    output.picture("samples.png", pictures.sheet(spec, data))
    if spec.size:
        output.images(spec, data)
