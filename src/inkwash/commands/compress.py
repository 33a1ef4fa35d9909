"""Files and folders compressed and back: what `inkwash compress`, `decompress` and `inspect` of such a file do."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.filesize import decimal
from torch import Tensor

from inkwash.codec.archive import Content, Header, Reader, header_in, pack, require_agreement
from inkwash.codec.container import MAGIC, Opened, opened
from inkwash.codec.files import KINDS, Files, as_it_is, content_of, is_name, written
from inkwash.codec.forms import Form, as_it_was
from inkwash.codec.scheme import coding, mode_of
from inkwash.codec.stage import progressive
from inkwash.codec.stored import Stored, body_of, examples_of, header_of, stored
from inkwash.core import storage
from inkwash.core.config import BUILTIN_NAMES, CodecConfig
from inkwash.core.display import Display
from inkwash.core.errors import CodecError, ConfigError
from inkwash.core.machine import free_memory
from inkwash.core.shapes import event_size
from inkwash.core.text import typed
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import dump_parquet, from_frame, is_frame, is_parquet
from inkwash.data.objects import as_array
from inkwash.data.raw import exists
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.model.watch import Film
from inkwash.training.learned_grid import learned_grid
from inkwash.training.run import StrPath, load, read_header

SUFFIX = ".ink"
_ENDINGS = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".png")
"""Of the names of files, where a reader expects what they say."""


def is_compressed(path: Path) -> bool:
    """Whether a file begins as compressed files do, or has their name, be it there or not."""
    if not path.is_file():
        return path.suffix == SUFFIX and not exists(path)
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix == SUFFIX


def compress_to_file(run: StrPath, source: str, out: Path | None, config: CodecConfig, display: Display) -> None:
    """Write a compressed file.

    Args:
        run: folder of a run or checkpoint.
        source: a file, a folder of pictures or a built-in set.
        out: where to write; by default the source's name with `.ink`, in the working folder.
        config: how to compress.
        display: where to report.

    Raises:
        ConfigError: a bad option, a model that compresses nothing, or a file that is there already.
        DataError: data that the model does not know, or that would not come back exactly.
    """
    target = out or Path(Path(source).resolve().name + SUFFIX if source not in BUILTIN_NAMES else source + SUFFIX)
    _require_free(target)
    model = require_diffusion(load(run), "compress")
    content = _content(run, model, source)
    count = len(content.held)
    display.say(f"data      {source}: {count} examples, {decimal(len(content.raw))}")
    config = replace(config, mode=config.mode or mode_of(model))
    require_agreement(config)
    config, times = _learned(run, model, config, display)
    steps = config.steps or (model.steps if config.mode == "bits-back" else "some tens of")
    steps = steps if times is None else len(times) - 1
    display.say(f"cost      {steps} evaluations of the network for each example; {-(-count // config.chunk)} chunk(s)")
    with display.bar("compressing"):
        file = pack(model, content, config, times, Path(run).resolve().name)
    made = opened(file, str(target))
    for line in _lines(made):
        display.say(line)
    storage.make_folder(target.parent)
    storage.replace(target, file)
    display.wrote(target)
    bits = 8 * len(file) / (count * event_size(model.shape))
    display.found(file=str(target), bytes=len(file), raw_bytes=len(content.raw), examples=count, bits_per_dim=bits)
    display.found(**_loss_in(made))
    share = len(file) / max(len(content.raw), 1)
    display.say(f"file      {target}: {decimal(len(file))}, {share:.1%} of the data, {bits:.3f} bits per dimension")
    display.say(f"next      {typed('decompress', run, target, '-o', _free(_original(source)))}")


def _learned(
    run: StrPath, model: Diffusion, config: CodecConfig, display: Display
) -> tuple[CodecConfig, Tensor | None]:
    """The options with the grid of the least bound in place of a number of steps, if they ask for it."""
    if config.grid != "learned":
        return config, None
    if config.steps is None:
        raise ConfigError("steps", "nothing", "a number of steps, for which the grid is learned, such as --steps 10")
    own = coding(model)
    times = learned_grid(run, own, "bound", config.steps, display, "" if own is model else "matched")
    return replace(config, steps=None), times


def _original(source: str) -> Path:
    return Path(f"{source}.npy" if source in BUILTIN_NAMES else Path(source).resolve().name)


def _content(run: StrPath, model: Diffusion, source: str) -> Content:
    """What is compressed; a built-in set is an array or a table."""
    config = read_header(run)[0].config.data
    if source not in BUILTIN_NAMES:
        return content_of(Path(source), model.units, config)
    held = load_dataset(source, config).data
    form = Form("rows" if model.units.spec.columns else "array", held.dtype.str, held.shape)
    return Content(form, held, body_of(form, held, held), header_of(form))


def _lines(file: Opened) -> Iterator[str]:
    """What a compressed file says of itself, without the model."""
    raw = stored(file)
    if raw is not None:
        yield f"stored    {_words(raw)}, as it is, which is shorter than what the model made of it"
        return
    header = header_in(file)
    config, form = header.config, header.form
    yield f"examples  {header.count} ({form.kind} {form.dtype} {form.shape})" + _of_file(header.file)
    if resolutions := [f"1/{each}" for each in dict.fromkeys(header.marks.per_unit) if each > 1]:
        yield f"exact to  {', '.join(resolutions)}, the resolution of the real numbers"
    yield f"model     {header.model}"
    yield f"made by   {header.machine}"
    own = "the steps of the model" if config.mode == "bits-back" else "its own steps"
    steps = own if config.steps is None else f"{config.steps} steps"
    if header.times is not None:
        steps = f"{len(header.times) - 1} steps of a {config.grid or 'given'} grid"
    yield f"mode      {config.mode}, {steps}, seed {config.seed}; {header.chunks} chunk(s) of {config.chunk}"
    if header.loss is not None:
        yield f"lossy     up to time {config.lossy:g}: {header.loss}"
    bits = 8 * sum(header.lengths[: header.chunks]) / max(math.prod(form.shape), 1)
    yield f"bytes     {sum(header.lengths)} for {header.raw}; {bits:.3f} bits per dimension, without the header"


def _loss_in(file: Opened) -> dict[str, float]:
    """How far the examples of a file with loss are from the data, as plain data; decibels only if they are finite."""
    loss = None if stored(file) else header_in(file).loss
    if loss is None:
        return {}
    return {"rmse": loss.rmse, **({"psnr": loss.psnr(loss.rmse)} if loss.rmse else {})}


def _require_free(target: Path) -> None:
    if exists(target):
        raise ConfigError("out", f"{target}, which is there", f"a new name, such as --out {_free(target)}")


def _require_ending(target: Path, file: dict[str, str] | None) -> None:
    """Refuse a name that ends as files of another kind do than the one that is to be written."""
    kind = KINDS.get((file or {}).get("kind", ""))
    if file is None or kind is None or target.suffix.lower() not in _ENDINGS:
        return
    own = "" if file["kind"] == "folder" else Path(file["name"]).suffix
    if target.suffix.lower() != own.lower():
        need = f"a name that ends in {own}" if own else f"the name of a folder, such as --out {target.with_suffix('')}"
        raise ConfigError("out", f"{target}, for {kind.words}", need)


def _free(path: Path) -> Path:
    """A name beside this one that nothing has, with the same ending; or this one, if nothing has it."""
    ending = "".join(path.suffixes)
    names = (path, *(path.with_name(f"{path.name.removesuffix(ending)}-{k}{ending}") for k in range(2, 1000)))
    return next((each for each in names if not exists(each)), path)


def decompress_to_file(run: StrPath, path: Path, out: Path | None, display: Display, film: Path | None = None) -> None:
    """Write what a compressed file holds: the file or the folder that it was made of.

    Args:
        run: folder of the run or checkpoint.
        path: the compressed file.
        out: where to write; by default under the name that the data had, in the working folder.
        display: where to report.
        film: where to write a film of the first examples, as they become sharp; None: there is none.

    Raises:
        CodecError: a damaged file, or one of another model, machine or version.
        ConfigError: a file or folder that is there already, a name that ends as files of another kind do, or a file
            that cannot be read bit by bit.
    """
    file = open_file(path)
    raw = stored(file)
    header = None if raw else header_in(file)
    target = out or Path(_name(raw, header, path))
    _require_free(target)
    _require_ending(target, (raw or header_in(file)).file)
    model = require_diffusion(load(run), "decompress")
    recorded = None if film is None else _filmed(model, path, film, display)
    with display.bar("decompressing"):
        files = _files(model, file, raw, header, target)
    if recorded is not None:
        storage.make_folder(recorded.path.parent)
        recorded.save()
        display.wrote(recorded.path)
        display.say(f"film      {recorded.path}: {len(recorded.shots)} frames")
    _write(target, files)
    display.wrote(target)
    size = sum(map(len, files.values()))
    display.found(file=str(target), bytes=size, files=len(files))
    what = "file      " if "" in files else "folder    "
    lost = "" if header is None or header.loss is None else f", with loss: {header.loss}"
    display.say(f"{what}{target}: {decimal(size)}, checked{lost}")
    display.say(f"next      {typed('inspect', path)}")


def _filmed(model: Diffusion, path: Path, target: Path, display: Display) -> Film:
    """A film of the first examples of a file, one frame after each halving of their cells."""
    _require_free(target)
    film = Film(model, target)
    with display.bar("filming"):
        for bits, state in progressive(model, path.read_bytes()):
            film.add(state, f"{bits:.3g} bits/dim, time {state.s:.2f}")
    return film


def open_file(path: Path) -> Opened:
    """A compressed file whose header is whole.

    Raises:
        CodecError: no compressed file, or more than the memory holds.
    """
    if not path.is_file():
        raise CodecError(str(path), "no such file", "a file that inkwash compress wrote")
    if path.stat().st_size > (free := free_memory()):
        raise CodecError(str(path), decimal(path.stat().st_size), f"at most the memory that is free, {decimal(free)}")
    return opened(path.read_bytes(), str(path))


def _name(raw: Stored | None, header: Header | None, path: Path) -> str:
    """The name that the data had; it leads out of no folder."""
    file = raw.file if raw else header.file if header else None
    form = raw.form if raw else header.form if header else None
    name = (file or {}).get("name") or path.stem + (".csv" if form and form.kind == "rows" else ".npy")
    if Path(name).name != name or not is_name(name):
        raise CodecError(str(path), f"the name {name!r}", "one without a folder")
    return name


def _files(model: Diffusion, file: Opened, raw: Stored | None, header: Header | None, target: Path) -> Files:
    """What to write."""
    if raw is not None and raw.file is not None:
        return as_it_is(raw.file, raw.body, file.where)
    if raw is not None:
        return _from_python(model, examples_of(raw, model.units, None, file.where), target)
    reader = Reader.of(model, file)
    form, held = reader.examples()
    if reader.header.file is None:
        return _from_python(model, as_it_was(form, model.units, held), target)
    return written(model.units, reader.header.file, held, reader.beside(), file.where)


def _from_python(model: Diffusion, x: Any, target: Path) -> Files:
    """Examples that came from Python: a table as .csv or .parquet, and anything else as .npy.

    Raises:
        ConfigError: a target that ends otherwise, or series of unequal length, which no such file holds.
    """
    if is_frame(x):
        held = from_frame(model.units.spec, x)
        return {"": (dump_parquet if is_parquet(target) else dump_csv)(model.units.spec, held)}
    if isinstance(x, list):
        raise ConfigError("file", "series of unequal length", "inkwash.decompress, as no .npy file holds them")
    buffer = io.BytesIO()
    np.save(buffer, as_array(x), allow_pickle=False)
    return {"": buffer.getvalue()}


def _write(target: Path, files: Files) -> None:
    """Write a file, or a folder of files, so that it is complete once it bears its name."""
    storage.make_folder(target.parent)
    if "" in files:
        return storage.replace(target, files[""])
    hidden = target.with_name(f".{target.name}.new")
    if hidden.exists():  # of a command that was killed
        storage.remove(hidden)
    try:
        for name, content in files.items():
            storage.make_folder((hidden / name).parent)
            storage.write(hidden / name, content)
            storage.sync(hidden / name)
        storage.rename(hidden, target)
    except BaseException:  # a signal, too
        storage.remove(hidden)
        raise
    storage.sync(target.parent)


def inspect_file(path: Path, display: Display) -> None:
    """Print what a compressed file is; no model is needed."""
    file = open_file(path)
    raw = stored(file)
    display.found(file=str(path), header=file.header, bytes=path.stat().st_size)
    display.say(f"file      {path}: {decimal(path.stat().st_size)}")
    for line in _lines(file):
        display.say(line)
    run = f"runs/{header_in(file).model.name or 'RUN'}" if raw is None else "RUN"
    display.say(f"next      {typed('decompress', run, path)}")


def _words(raw: Stored) -> str:
    return _of_file(raw.file).strip() if raw.form is None else f"{raw.form.kind} {raw.form.dtype} {raw.form.shape}"


def _of_file(file: dict[str, str] | None) -> str:
    return "" if file is None else f" {file.get('kind')} {file.get('name')}"
