"""Examples to a compressed file under a model, and back, exactly or with loss.

A file is refused if its model, or the last bits of the numbers of its machine, are others; examples are compared with
their checksum after decoding. Where the examples themselves are shorter, the file holds them as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.chunks import OF_FILE, Chunks
from inkwash.codec.container import CHECKSUM, WRITTEN, Opened, checksum, opened, packed, sealed, unpacked
from inkwash.codec.forms import Form, as_it_was, form_of
from inkwash.codec.identity import Identity, Machine, identity_of, this_machine
from inkwash.codec.loss import Loss
from inkwash.codec.marks import MISSING, Marks, find_marks, last_integers, same
from inkwash.codec.scheme import Scheme, bytes_of_batch, mode_of, require_mode, scheme_of
from inkwash.codec.stored import body_of, examples_of, header_of, rows_of, stored
from inkwash.core.config import CodecConfig, CodecModeName
from inkwash.core.errors import CodecError, ConfigError, DataError
from inkwash.core.machine import require_memory
from inkwash.core.options import Range, check, to_json
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array, event_size
from inkwash.data.raw import require_extra
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.model.model import Model
from inkwash.model.units import Units
from inkwash.process.noise.grid import as_grid

# Annotations are objects in this module and others of this room, not text: to parse a header, nothing must be compiled.

_HELD = 32
"""Bytes that an entry takes while it is coded: as it came, as an integer, and copies of both."""
_Integer = Annotated[int, Range(-(1 << 53), 1 << 53)]


@dataclass(frozen=True)
class Ends:
    """The smallest and largest integer of each channel or entry."""

    low: tuple[_Integer, ...]
    high: tuple[_Integer, ...]

    @classmethod
    def of(cls, units: Units, integers: Tensor) -> "Ends":
        """Those of integers `(N, *shape)`; all levels and categories that there are count."""
        flat = integers.transpose(0, 1).flatten(1)
        low, high = flat.amin(1).tolist(), flat.amax(1).tolist()
        for i, last in enumerate(last_integers(units, len(low))):
            low[i], high[i] = (low[i], high[i]) if last is None else (0, last)
        return cls(tuple(low), tuple(high))


@dataclass(frozen=True)
class Header:
    """What a compressed file says of itself.

    Args:
        form: what the examples are in Python.
        file: the file that they came from; None if they came from Python.
        model: which model it needs.
        machine: where it was made.
        config: how it was made.
        times: the grid of the steps, if it is not the uniform one.
        marks: the resolution of real numbers.
        ends: of the integers.
        loss: how far what it gives is from what it was made of; None if that is the same.
        raw: bytes of what was compressed.
        lengths: bytes of each chunk, and of what lies beside the examples, if anything does.
        beside: bytes of what lies beside the examples, unpacked; 0 if nothing does.
    """

    form: Form
    file: dict[str, str] | None
    model: Identity
    machine: Machine
    config: CodecConfig
    times: tuple[Annotated[float, Range(0, 1)], ...] | None
    marks: Marks
    ends: Ends
    loss: Loss | None
    raw: Annotated[int, Range(0)]
    lengths: tuple[Annotated[int, Range(0)], ...]
    beside: Annotated[int, Range(0, 1 << 40)]

    @property
    def count(self) -> int:
        """How many examples there are."""
        return self.form.shape[0]

    def fits(self, entries: int) -> bool:
        """Whether there are numbers for so many channels or entries."""
        return {len(self.marks.per_unit), len(self.ends.low), len(self.ends.high)} == {entries}

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.count // self.config.chunk)

    def size(self, chunk: int) -> int:
        """How many examples a chunk has."""
        return min(self.config.chunk, self.count - chunk * self.config.chunk)


@dataclass(frozen=True)
class Content:
    """What is compressed.

    Args:
        form: what the examples are in Python.
        held: the examples in data units.
        raw: the bytes of the examples, or of their file, as they are.
        raw_header: the header of a file that holds these bytes.
        file: the file that the examples came from; None if they came from Python.
        beside: what lies beside the examples, and comes back with them.
    """

    form: Form
    held: Array
    raw: bytes
    raw_header: dict[str, Any]
    file: dict[str, str] | None = None
    beside: bytes = b""


def compress(
    model: Model,
    x: Any,
    *,
    mode: CodecModeName | None = None,
    steps: int | None = None,
    times: Tensor | None = None,
    seed: int = 0,
    chunk: int = 1024,
    lossy: float | None = None,
) -> bytes:
    """Examples as bytes, about as many as the variational bound says; `decompress` gives them back exactly, or, if some
    may be lost, estimates of them for far fewer bytes.

    Real numbers must be multiples of a resolution, such as 0.01, which is found from them. There are at most 64 bytes
    more than the examples have.

    Args:
        model: a `Diffusion`, whose data the examples are like.
        x: at least one example in data units: an array, a tensor, a `pandas.DataFrame` for a table, or a list of arrays
            for series of unequal length.
        mode: "direct" for levels that the network predicts, which is then the default; "bits-back" for all data and
            many examples.
        steps: how often the network is evaluated: more of them give fewer bytes and take more time. By default those
            of the model for "bits-back", and some tens for "direct".
        times: of "bits-back", the grid itself, decreasing from 1 to 0, in place of `steps`; the file holds it. Such as
            `inkwash.model.bound_costs` gives take far fewer bytes than as many uniform steps.
        seed: of the first bits, and of the noise.
        chunk: how many examples are compressed together.
        lossy: a time t, with which the file holds of each example what noisy data at t says, and `decompress` gives the
            network's estimate of it, moved to levels: the same one each time. It needs mode "direct". Where the
            examples themselves are shorter, or cells as narrow as the noise hold one level, nothing is lost.

    Raises:
        ConfigError: a bad option, another kind of model, or too little memory.
        DataError: examples that the model does not know, or that would not come back exactly.
    """
    found = require_diffusion(model, "compress")
    form, held = form_of(found.units, x)
    content = Content(form, held, body_of(form, held, x), header_of(form))
    return pack(found, content, CodecConfig(mode, steps, seed=seed, chunk=chunk, lossy=lossy), times)


def decompress(model: Model, data: bytes, *, only: slice | Sequence[int] | None = None) -> Any:
    """The examples that `compress` made bytes of, or some of them; estimates of them if it lost some.

    Args:
        model: the same model.
        data: the bytes.
        only: which examples; only the chunks that hold them are decoded. By default all are.

    Raises:
        CodecError: damaged bytes, another model, or a machine or version whose numbers differ in their last bits.
        ConfigError: an `only` beyond the examples; or bytes that hold a file as it was.
    """
    found, file = require_diffusion(model, "decompress"), opened(data, "data")
    if (raw := stored(file)) is not None:
        return examples_of(raw, found.units, only, file.where)
    form, held = Reader.of(found, file).examples(only)
    return as_it_was(form, found.units, held)


def pack(model: Diffusion, content: Content, config: CodecConfig, times: Tensor | None = None, name: str = "") -> bytes:
    """A compressed file.

    Args:
        model: the model.
        content: what to compress.
        config: how.
        times: the grid, if it is learned or given.
        name: what the user calls the model.
    """
    check(config)
    config = replace(config, mode=config.mode or mode_of(model))
    grid = _grid_of(config, times)
    units, held = model.units, content.held
    _require_array(config, content.form)
    require_memory("compress", len(held), _HELD * event_size(held.shape[1:]))
    require_memory("compress", 1, bytes_of_batch(model))
    model.to_model(held, missing=True)  # refuses what the model does not know
    marks = find_marks(units, held)
    integers, odd = marks.integers(units, held)
    ends = Ends.of(units, integers)
    scheme = _scheme(model, config, grid, marks, ends)
    rows = [slice(start, start + config.chunk) for start in range(0, len(held), config.chunk)]
    given = torch.cat([scheme.given(integers[each]) for each in rows])
    odd = odd if config.lossy is None else odd * (odd == MISSING)
    back = marks.data(units, given, odd, held.dtype)
    if config.lossy is None:
        _require_exact(held, back)
    chunks = Chunks(scheme, model.shape, min(ends.low), max(ends.high))
    parts = [_sum(back[each]) + chunks.pack(integers[each], given[each], odd[each]) for each in tracked(rows)]
    parts += [packed(content.beside)] if content.beside else []
    header = Header(
        form=content.form,
        file=content.file,
        model=identity_of(model, name),
        machine=this_machine(scheme),
        config=config,
        times=grid,
        marks=marks,
        ends=ends,
        loss=None if config.lossy is None else Loss.of(units, held, back),
        raw=len(content.raw),
        lengths=tuple(map(len, parts)),
        beside=len(content.beside),
    )
    return min(sealed(to_json(header), parts), sealed(content.raw_header, [content.raw]), key=len)


def _grid_of(config: CodecConfig, times: Tensor | None) -> tuple[float, ...] | None:
    """The grid that a file holds; None for a uniform one.

    Raises:
        ConfigError: bad times, or such as do not go with the options.
    """
    require_agreement(config)
    if times is None and config.grid == "learned":
        raise ConfigError("times", None, "those of the learned grid")
    if times is None:
        return None
    if config.grid == "uniform":
        raise ConfigError("times", times.tolist(), "none beside a uniform grid")
    return tuple(as_grid(config.steps, times, 0).tolist())


def require_agreement(config: CodecConfig) -> None:
    """Raise a `ConfigError` if the mode, which is known, has no use for another option."""
    require_mode(config.mode or "direct", config.lossy)
    if config.grid is not None and config.mode != "bits-back":
        raise ConfigError("grid", config.grid, "mode bits-back; the direct mode has times of its own")


def _require_array(config: CodecConfig, form: Form) -> None:
    """Raise a `ConfigError` if cells of a table could be lost: a file spells them one by one."""
    if config.lossy is not None and form.kind == "rows":
        raise ConfigError("lossy", config.lossy, "pictures or another array; the cells of a table come back exactly")


def _require_exact(held: Array, back: Array) -> None:
    """Raise a `DataError` unless examples come back from their integers as they are."""
    if same(held, back):
        return
    i = next(i for i in range(len(held)) if not same(held[i], back[i]))
    places = [place for place in np.ndindex(held.shape[1:]) if not same(held[i][place], back[i][place])]
    got = f"{held[i][places[0]]:g}, which would come back as {back[i][places[0]]:g}"
    raise DataError(f"x[{', '.join(map(str, (i, *places[0])))}]", got, "the values that the model knows")


def _sum(held: Array) -> bytes:
    """A checksum of examples in data units, which is compared after decoding."""
    return checksum(held.tobytes())


def _scheme(model: Diffusion, config: CodecConfig, grid: tuple[float, ...] | None, marks: Marks, ends: Ends) -> Scheme:
    """The scheme of a file.

    Raises:
        ConfigError: options or times that do not go together, or not with the model.
        MissingPackageError: the package that codes is not installed.
    """
    require_extra("constriction", "compress", "compress")
    cells = marks.cells(model.units, ends.low, ends.high)
    mode = config.mode or mode_of(model)
    times = None if grid is None else torch.tensor(grid, dtype=torch.float64)
    return scheme_of(model, mode, steps=config.steps, times=times, seed=config.seed, cells=cells, lossy=config.lossy)


@dataclass(frozen=True)
class Reader:
    """A compressed file that this model and this machine can read.

    Args:
        header: what it says of itself.
        units: of the model.
        chunks: how its chunks come back.
        parts: for each part a function that checks and returns it.
        where: what the file is called in messages.
    """

    header: Header
    units: Units
    chunks: Chunks
    parts: Sequence[Callable[[], memoryview]]
    where: str

    @classmethod
    def of(cls, model: Diffusion, file: Opened) -> "Reader":
        """The reader of a file.

        Raises:
            CodecError: a header that does not fit the file or the model; or another model or machine.
        """
        header = header_in(file)
        header.model.require(model, file.where)
        _require_free(file.where, 1, bytes_of_batch(model))
        if not header.form.fits(model.units) or not header.fits(model.shape[0]):
            raise CodecError(file.where, "a header that does not fit the model", WRITTEN)
        try:
            scheme = _scheme(model, header.config, header.times, header.marks, header.ends)
            header.machine.require(scheme, file.where)
        except ConfigError as error:
            raise CodecError(file.where, f"options that do not fit the model ({error})", WRITTEN) from None
        chunks = Chunks(scheme, model.shape, min(header.ends.low), max(header.ends.high))
        return cls(header, model.units, chunks, file.parts(header.lengths), file.where)

    def examples(self, only: slice | Sequence[int] | None = None) -> tuple[Form, Array]:
        """What the examples are in Python, and the array that holds them in data units.

        Raises:
            CodecError: a damaged chunk, or too little memory.
            ConfigError: an `only` beyond the examples.
        """
        self._require_memory(0)
        rows, form, size = rows_of(self.header.count, only), self.header.form, self.header.config.chunk
        needed: list[int] = np.unique(rows // size).tolist()
        self._require_memory(len(needed) * min(size, self.header.count))
        held = [self._chunk(i) for i in tracked(needed)]
        if not held:
            return form.of(0), np.empty((0, *form.shape[1:]), form.held_as)
        places = np.searchsorted(needed, rows // size) * size + rows % size
        return form.of(len(rows)), np.concatenate(held)[places].astype(form.held_as)  # which joining makes native

    def beside(self) -> bytes:
        """What lies beside the examples; empty if nothing does."""
        if not self.header.beside:
            return b""
        self._require_memory(0)
        return unpacked(self.parts[-1](), self.header.beside, f"{self.where}, what lies beside the examples")

    def _chunk(self, i: int) -> Array:
        where, count = f"{self.where}, chunk {i}", self.header.size(i)
        part = self.parts[i]()
        integers, odd = self.chunks.unpack(part[CHECKSUM:], count, where)
        held = self.header.marks.data(self.units, integers, odd, self.header.form.held_as)
        if _sum(held) != part[:CHECKSUM]:
            raise CodecError(where, "other examples than were compressed", OF_FILE)
        return held

    def _require_memory(self, count: int) -> None:
        """Raise a `CodecError` unless there is memory for so many examples, all numbers, and what lies beside."""
        _require_free(self.where, count, _HELD * event_size(self.header.form.shape[1:]))
        _require_free(self.where, self.header.beside + 8 * self.header.count, 1)


def _require_free(where: str, count: int, size: int) -> None:
    """Raise a `CodecError` unless there is memory for so many things of so many bytes."""
    try:
        require_memory(where, count, size)
    except ConfigError as error:
        raise CodecError(where, f"too little memory ({error})", "a part of it") from None


def header_in(file: Opened) -> Header:
    """The header of a file that needs a model.

    Raises:
        CodecError: it does not fit the file.
    """
    header = file.parsed(Header)
    if len(header.lengths) != header.chunks + bool(header.beside):
        raise CodecError(file.where, f"{len(header.lengths)} parts", f"{header.chunks} chunks, as its header says")
    return header
