"""Tables in files of Arrow: Feather, which is Arrow's file format, and streams, as `datasets` keeps them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from inkwash.core.config import DataConfig
from inkwash.core.shapes import Array
from inkwash.data.formats.format import TABLES, Format, ends_in, in_one
from inkwash.data.frames import arrow_frame, arrow_readable, encode_frame, read_frame, to_frame
from inkwash.data.raw import Raw, require_room
from inkwash.data.spec import DataSpec
from inkwash.data.table import known_columns


def read(path: Path, config: DataConfig) -> Raw:
    """A table in a file of Arrow, as `read_frame`.

    Raises:
        DataError: the file cannot be read, takes more than 16 GiB, or holds a table that `read_frame` refuses.
    """
    return read_frame(_frame(path), str(path), config)


def read_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a file of Arrow, as `from_frame`."""
    known_columns(str(path), spec)
    return encode_frame(spec, str(path), _frame(path))


def _frame(path: Path) -> Any:
    with arrow_readable(path, "a complete file of Arrow"):
        return arrow_frame(_table(path))


def _table(path: Path) -> Any:
    """The table of a file, mapped into memory or unpacked batch by batch."""
    from pyarrow import Table, ipc, memory_map

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    reader = (ipc.open_file if is_file else ipc.open_stream)(memory_map(str(path)))
    batches, size = [], 0
    for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
        size += max(8 * batch.num_columns * batch.num_rows, batch.nbytes)
        require_room(str(path), size)
        batches.append(batch)
    return Table.from_batches(batches, reader.schema)


def dump(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as Feather, with the types of `to_frame`."""
    from pyarrow import Table, feather

    content = io.BytesIO()
    feather.write_feather(Table.from_pandas(to_frame(spec, data), preserve_index=False), content)
    return content.getvalue()


FORMAT = Format(
    name="feather",
    words="a table in a .feather or .arrow file",
    recognises=ends_in(".feather", ".ftr", ".arrow", ".ipc"),
    read=read,
    options=TABLES,
    packages=("pandas", "pyarrow"),
    extra="tabular",
    suffix=".feather",
    write=in_one(dump),
    read_rows=read_rows,
)
