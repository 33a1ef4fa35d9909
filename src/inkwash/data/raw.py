"""What a reader returns: an array, and what its source knows about it. Nothing is checked or decided yet.

Here is also what readers share: how to shorten errors, to import a package that may be missing, and to find room or
refuse too much.
"""

import lzma
import math
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from gzip import GzipFile
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.filesize import decimal

from inkwash.core import storage
from inkwash.core.brief import short_repr
from inkwash.core.config import Layout
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.core.machine import free_memory
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, listed
from inkwash.data.doubts import Doubt
from inkwash.data.origin import Origin
from inkwash.data.reading import Dialect, Reading

_MOST_BYTES, _MOST_TIMES, _LARGE, _PIECE = 1 << 34, 1000, 1 << 26, 1 << 20


@short_repr
@dataclass(frozen=True)
class Raw:
    """An array as it was read.

    Args:
        data: the examples along the first axis; it may be memory-mapped.
        layout: its axes, if the source knows them.
        levels: how many values an entry can take, if the source knows it.
        notes: what was decided or converted, one sentence each.
        labels: what lies beside the examples, by name: labels and conditions, one entry for each example.
        columns: what each column of a table is, by its name.
        lengths: how many places each series has, int64 `(N,)`, where not all have as many; those beyond are NaN.
        kept: what the format of the file needs to write samples, by name: text, numbers, arrays, lists and dicts.
        origin: the format and what is kept, as a run has it.
        reading: how a table was read.
        doubts: what was decided about a table and could be otherwise.
        masked: whether the source says which entries are missing; they are NaN.
    """

    data: Array
    layout: Layout | None = None
    levels: int | None = None
    notes: tuple[str, ...] = ()
    labels: Mapping[str, Array] = field(default_factory=dict)
    columns: dict[str, Column] | None = None
    reading: Reading | None = None
    doubts: tuple[Doubt, ...] = ()
    masked: bool = False
    lengths: Array | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None

    def with_dialect(self, dialect: Dialect, doubts: Sequence[Doubt]) -> "Raw":
        """A table with what is known about its file, and the doubts about that before those about columns."""
        reading = replace(self.reading or Reading(), dialect=dialect)
        return replace(self, reading=reading, doubts=(*doubts, *self.doubts))

    def labels_named(self, name: str, where: str) -> Array:
        """The labels of a name.

        Raises:
            DataError: there are no such labels.
        """
        if name not in self.labels:
            need = f"{', '.join(self.labels) or 'nothing'}, as {where} has"
            raise DataError("data.labels", repr(name), need)
        return self.labels[name]

    def without_condition(self, name: str, where: str) -> tuple["Raw", Array]:
        """The examples without the condition of a name, and that condition.

        The condition is an array beside the examples, or one or more columns of a table, with commas between their
        names; these columns are then no entries of the examples. Numbers that are categories are numbers there.

        Raises:
            DataError: there is no such condition, no column beside it, or it is a column of text.
        """
        if name in self.labels:
            return self, self.labels[name]
        columns = self.columns or {}
        names = [name] if name in columns else name.split(",")
        self._require_numbers(name, names, where)
        kept = {each: column for each, column in columns.items() if each not in names}
        if not kept:
            raise DataError("data.condition", repr(name), "a column beside it, to learn the distribution of")
        of_name = dict(zip(columns, self.data.T, strict=True))
        values = np.stack([columns[each].numbers(of_name[each]) for each in names], -1)
        data, reading = np.stack([of_name[each] for each in kept], -1), self.reading or Reading()
        rest = replace(self, data=data, columns=kept, reading=reading.without(names, columns))
        return rest, values[:, 0] if len(names) == 1 else values

    def _require_numbers(self, name: str, names: list[str], where: str) -> None:
        """Refuse columns for a condition that are not there or hold text."""
        columns = self.columns or {}
        if not set(names) <= set(columns):
            need = f"{', '.join([*self.labels, *columns]) or 'nothing'}, as {where} has"
            raise DataError("data.condition", repr(name), need)
        for each in names:
            if columns[each].categories is not None and columns[each].name_type in ("bool", "str"):
                got = f"column {each!r}, of categories, {listed(columns[each].categories or ())}"
                raise DataError("data.condition", got, "columns of numbers; data.labels takes one of categories")


def exists(path: Path) -> bool:
    """Whether there is a file or folder. A name that no file can have is none, and neither is a pipe or a device, which
    may never end."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:
        return False


def short(error: BaseException) -> str:
    """The error of another library in a few words."""
    return str(error).split("\n")[0][:120] or type(error).__name__


def require_extra(module: str, extra: str, where: str) -> Any:
    """A module of a package that only some sources or commands need.

    Args:
        module: its name.
        extra: the extra of inkwash that has the package.
        where: what needs it, for messages: a file, or a command.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingPackageError(where, f"no package {module}", f"pip install 'inkwash[{extra}]'") from None


CUT = (EOFError, OSError, zlib.error)
"""What is raised for files that end early, cannot be read or do not decompress."""
DAMAGE = (
    *CUT,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""What numpy, zipfile and the decompressors raise for damaged files. numpy's reader of headers is Python's own, which
adds errors of syntax, of memory for nests too deep, and of tokens."""


@contextmanager
def readable(
    where: str, need: str, errors: tuple[type[Exception], ...] = DAMAGE, what: str = "an unreadable file"
) -> Iterator[None]:
    """Turn what a library raises for a damaged file into a `DataError`; what we refuse ourselves stays as it is.

    Args:
        where: the file.
        need: what it should be, such as "a complete .npz file".
        errors: what the library raises for damage.
        what: what it is in place of that.
    """
    try:
        yield
    except DataError:
        raise
    except errors as error:
        raise DataError(where, f"{what} ({short(error)})", need) from None


def require_distinct(where: str, names: Sequence[str]) -> None:
    """Refuse an archive with two members of one name, of which a reader would see only one.

    Raises:
        DataError: it has such members.
    """
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(where, f"two members called {twice}", "a name of its own for each member")


def require_room(where: str, size: int, packed: int | None = None, held: int = 0) -> None:
    """Refuse data that would be read into memory and take more than 16 GiB or than is free.

    Args:
        where: its name, for messages.
        size: its bytes, or those that it claims.
        packed: how many bytes hold them, if they are compressed. Those of real data are not a thousand times fewer:
            more than 64 MiB that are so come of a damaged file, or of one made to fill the memory.
        held: how many of them are in memory already.

    Raises:
        DataError: it would.
    """
    gib, most = 1 << 30, min(_MOST_BYTES, held + free_memory())
    if size > most:
        need = f"at most {most / gib:.3g} GiB, or an .npy file, which is read as needed"
        raise DataError(where, f"{size / gib:.1f} GiB to hold in memory", need)
    if packed is not None and size > max(_LARGE, _MOST_TIMES * packed):
        got = f"{decimal(size)} packed into {decimal(packed)}"
        raise DataError(where, got, f"at most {_MOST_TIMES} times the packed size, or an .npy file")


def filled(file: IO[bytes] | GzipFile, size: int) -> Array:
    """So many bytes of an open file, uint8 `(size,)`. They are read in pieces: memory is taken as they come, and not as
    they are claimed.

    Raises:
        EOFError: the file ends before.
    """
    content, place = np.empty(size, np.uint8), 0
    while place < size:
        piece = file.read(min(_PIECE, size - place))
        if not piece:
            raise EOFError(f"it ends after {place} of {size} bytes")
        content[place : place + len(piece)] = np.frombuffer(piece, np.uint8)
        place += len(piece)
    return content


def room_for(where: str, shape: tuple[int, ...], dtype: Any) -> tuple[Array, tuple[str, ...]]:
    """An array to fill, and a note about it: in memory up to 16 GiB and to half of what is free, and above that in a
    temporary file.

    Raises:
        DataError: the disk has no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= min(_MOST_BYTES, free_memory() // 2):
        return np.empty(shape, dtype), ()
    folder, gib = tempfile.gettempdir(), 1 << 30
    if (free := shutil.disk_usage(folder).free) < size:
        need = f"{size / gib:.1f} GiB for what is decoded, or an .npy file, which is read as needed"
        raise DataError(where, f"{free / gib:.1f} GiB free in {folder}", need)
    note = f"{size / gib:.1f} GiB decoded into a temporary file in {folder}"
    with storage.scratch(size) as file:
        return np.memmap(file, dtype, "r+", shape=shape), (note,)
