"""Files of examples, and what must come back beside the examples: names, other columns, other arrays.

| file | what comes back |
| --- | --- |
| `.npy` | the array with its type, its shape and its order in memory |
| `.npz` | the same, and the other arrays of the file, byte by byte |
| `.csv`, `.tsv` | the same columns in their order, and the same cells as they were spelled |
| `.parquet` | the same columns in their order, with their types and values |
| a folder of PNG files | their names, and their pixels as they are read |
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inkwash.codec.archive import Content
from inkwash.codec.container import WRITTEN, bundled, unbundled
from inkwash.codec.forms import Form, form_of
from inkwash.core.config import DataConfig
from inkwash.core.errors import CodecError, DataError
from inkwash.core.options import to_json
from inkwash.core.shapes import Array
from inkwash.data.arrays import key_of, read_npy, read_npz
from inkwash.data.cells import is_finite
from inkwash.data.csv_files import dump_text, is_text_table, read_csv_rows, read_text_columns, text_columns
from inkwash.data.decode import decode
from inkwash.data.frames import is_parquet, read_parquet_rows, to_frame
from inkwash.data.images import files_in, read_folder
from inkwash.data.pictures import png_of
from inkwash.data.raw import exists, require_extra
from inkwash.data.reading import Dialect
from inkwash.model.units import Units

Files = dict[str, bytes]
"""A file under the empty name, or the files of a folder by their names."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        words: what it is called in messages.
        recognises: whether a path is of this kind.
        read: takes the path, the units of the model and the options that its data was read with to what is compressed.
        write: takes the units, the examples and what lies beside them back to the content of the file.
    """

    words: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Units, DataConfig], tuple[Form, Array, Files]]
    write: Callable[[Units, Array, Files], Files]


def content_of(path: Path, units: Units, config: DataConfig) -> Content:
    """What a file or folder holds, to be compressed.

    Args:
        path: the file or folder.
        units: of the model.
        config: the options that the model's data was read with, of which `key` counts.

    Raises:
        DataError: a file of another kind, or one that would not come back.
    """
    if not exists(path):
        raise DataError(str(path), "no such file", f"{_words()}")
    name = next((name for name, kind in KINDS.items() if kind.recognises(path)), None)
    if name is None:
        raise DataError(str(path), f"a {path.suffix or 'nameless'} file", _words())
    form, held, beside = KINDS[name].read(path, units, config)
    file = {"kind": name, "name": path.resolve().name}
    return Content(form, held, _raw(path), {"file": file}, file, bundled(beside) if beside else b"")


def _words() -> str:
    *first, last = (kind.words for kind in KINDS.values())
    return f"{', '.join(first)} or {last}"


def _raw(path: Path) -> bytes:
    """The bytes of a file, or of the files of a folder with their names."""
    if not path.is_dir():
        return path.read_bytes()
    return bundled({str(name): each.read_bytes() for name, each in _pictures(path).items()})


def as_it_is(file: Mapping[str, str], body: memoryview, where: str) -> Files:
    """The files that were stored as they are."""
    return _within(unbundled(body, where), where) if file.get("kind") == "folder" else {"": bytes(body)}


def _within(found: Files, where: str) -> Files:
    """Files of a folder whose names are names, lead out of no folder, and are no folders of each other.

    Raises:
        CodecError: one of them is no such name.
    """
    paths = Counter(PurePosixPath(name) for name in found)
    folders = {folder for path in paths for folder in path.parents}
    for name in found:
        path = PurePosixPath(name)
        is_free = paths[path] == 1 and path not in folders
        if not is_name(name) or path.is_absolute() or ".." in path.parts or not is_free:
            raise CodecError(where, f"the name {name!r}", "one within a folder")
    return found


def is_name(name: str) -> bool:
    """Whether a file can have this name, perhaps in folders."""
    try:
        return PurePosixPath(name).name != "" and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def written(units: Units, file: Mapping[str, str], held: Array, beside: bytes, where: str) -> Files:
    """The content of the file that examples came from, or of the files of a folder.

    Raises:
        CodecError: what lies beside the examples does not fit.
    """
    kind = KINDS.get(file.get("kind", ""))
    if kind is None:
        raise CodecError(where, f"a file of kind {file.get('kind')!r}", f"one of {', '.join(KINDS)}")
    try:
        found = kind.write(units, held, unbundled(beside, where) if beside else {})
    except (LookupError, OSError, TypeError, ValueError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(where, f"names and columns that do not fit ({error})", WRITTEN) from None
    return _within(found, where) if file["kind"] == "folder" else found


# Arrays


def _read_npy(path: Path, units: Units, _config: DataConfig) -> tuple[Form, Array, Files]:
    data = read_npy(path)
    by_columns = data.flags.f_contiguous and not data.flags.c_contiguous
    return *form_of(units, np.array(data)), {"by columns": b""} if by_columns else {}


def _write_npy(_units: Units, held: Array, beside: Files) -> Files:
    return {"": _npy(np.asfortranarray(held) if "by columns" in beside else held)}


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _read_npz(path: Path, units: Units, config: DataConfig) -> tuple[Form, Array, Files]:
    """The array of the examples. Beside it lie the other members, and an empty one in its place."""
    key = key_of(path, config)
    data = np.array(read_npz(path, DataConfig(key=key)).data)
    with zipfile.ZipFile(path) as archive:
        members = {name: b"" if name == f"{key}.npy" else archive.read(name) for name in archive.namelist()}
        is_packed = any(info.compress_type for info in archive.infolist())
    by_columns = data.flags.f_contiguous and not data.flags.c_contiguous
    about = {"key": f"{key}.npy".encode(), "packed": b"1" * is_packed, "by columns": b"1" * by_columns}
    return *form_of(units, data), {"about": bundled(about), **{f"/{name}": each for name, each in members.items()}}


def _write_npz(_units: Units, held: Array, beside: Files) -> Files:
    about, buffer = unbundled(beside.pop("about"), "archive"), io.BytesIO()
    array = np.asfortranarray(held) if about["by columns"] else held
    method = zipfile.ZIP_DEFLATED if about["packed"] else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in beside.items():
            member = zipfile.ZipInfo(name[1:])
            member.compress_type = method
            archive.writestr(member, _npy(array) if name[1:].encode() == about["key"] else content)
    return {"": buffer.getvalue()}


# Tables


def _read_text(path: Path, units: Units, _config: DataConfig) -> tuple[Form, Array, Files]:
    """The rows of a table. Beside them lie the other columns, and cells that are spelled otherwise than their value."""
    held = read_csv_rows(path, units.spec)
    dialect, cells = read_text_columns(path, units.spec)
    known, content = text_columns(units.spec, held), _plain(path)
    decimals = {name: _decimals(cells[name]) for name in known if name in cells}
    texts = {name: _fixed(known[name], count) for name, count in decimals.items()}
    about = {
        "dialect": to_json(replace(dialect, encoding=_encoding(dialect, content))),
        "line_end": "\r\n" if b"\r" in content else "\n",
        "order": [*cells],
        "decimals": decimals,
        "spelled": {name: _differences(each, cells[name]) for name, each in texts.items()},
        "others": {name: each for name, each in cells.items() if name not in known},
    }
    packed = {"packed": b""} if path.suffix.lower() == ".gz" else {}
    return Form("rows", held.dtype.str, held.shape), held, {"about": json.dumps(about).encode(), **packed}


def _write_text(units: Units, held: Array, beside: Files) -> Files:
    about = json.loads(beside["about"])
    known, columns = text_columns(units.spec, held), dict[str, list[str]]()
    for name in about["order"]:
        if name in known:
            columns[name] = _fixed(known[name], about["decimals"][name])
            for row, cell in about["spelled"][name].items():
                columns[name][int(row)] = cell
        else:
            columns[name] = about["others"][name]
    content = dump_text(columns, Dialect(**about["dialect"]), about["line_end"])
    return {"": gzip.compress(content, mtime=0) if "packed" in beside else content}


def _plain(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()


def _encoding(dialect: Dialect, content: bytes) -> str:
    """The encoding that gives the file its mark again, or none if it has none."""
    has_mark = content.startswith(codecs.BOM_UTF8)
    return "utf-8" if dialect.encoding == "utf-8-sig" and not has_mark else dialect.encoding


def _decimals(cells: Sequence[str]) -> int:
    """How many decimals behind a point the numbers of a column are written with, if all have as many; otherwise 0."""
    counts = {len(cell.partition(".")[2]) for cell in cells if is_finite(cell)}
    return min(counts) if len(counts) == 1 else 0


def _fixed(texts: Array, decimals: int) -> list[str]:
    """Plain numbers of a column with so many decimals; 0 leaves them as they are."""
    return [f"{float(text):.{decimals}f}" if decimals and is_finite(text) else text for text in texts.tolist()]


def _differences(texts: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cells that differ from the texts, by row."""
    return {str(i): cell for i, (text, cell) in enumerate(zip(texts, cells, strict=True)) if text != cell}


def _read_parquet(path: Path, units: Units, _config: DataConfig) -> tuple[Form, Array, Files]:
    """The rows of a table. Beside them lie the columns that the model does not know, and the types of all."""
    parquet = require_extra("pyarrow.parquet", "tabular", str(path))
    held, table = read_parquet_rows(path, units.spec), parquet.read_table(path)
    known = [*to_frame(units.spec, held[:0])]
    others = table.drop_columns([name for name in table.column_names if name in known])
    beside = {"order": _as_parquet(table.slice(0, 0)), "others": _as_parquet(others)}
    try:
        back = parquet.read_table(io.BytesIO(_write_parquet(units, held, dict(beside))[""]))
    except (LookupError, TypeError, ValueError):
        back = None
    if back is None or not back.equals(table):
        raise DataError(str(path), "types or cells that would come back otherwise", "those of the model's table")
    return Form("rows", held.dtype.str, held.shape), held, beside


def _write_parquet(units: Units, held: Array, beside: Files) -> Files:
    pyarrow, parquet = (require_extra(name, "tabular", ".parquet") for name in ("pyarrow", "pyarrow.parquet"))
    schema, others = (parquet.read_table(io.BytesIO(beside[name])) for name in ("order", "others"))
    known = pyarrow.Table.from_pandas(to_frame(units.spec, held), preserve_index=False)
    columns = [(others if name in others.column_names else known).column(name) for name in schema.column_names]
    table = pyarrow.table(
        [column.cast(field.type) for column, field in zip(columns, schema.schema, strict=True)], schema=schema.schema
    )
    return {"": _as_parquet(table)}


def _is_plain_parquet(path: Path) -> bool:
    return is_parquet(path) and path.suffix.lower() not in (".gz", ".gzip")


def _as_parquet(table: Any) -> bytes:
    parquet, buffer = require_extra("pyarrow.parquet", "tabular", ".parquet"), io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


# Folders


def _pictures(folder: Path) -> dict[PurePosixPath, Path]:
    """The pictures of a folder in their order.

    Raises:
        DataError: a file that is no PNG.
    """
    files = files_in(folder)
    for name in files:
        if name.suffix.lower() != ".png":
            raise DataError(f"{folder / name}", "a file that is no PNG picture", "a folder of PNG files only")
    return dict(sorted(files.items()))


def _read_pictures(path: Path, units: Units, _config: DataConfig) -> tuple[Form, Array, Files]:
    names, data = [*_pictures(path)], read_folder(path, DataConfig()).data
    beside = {"names": json.dumps([str(name) for name in names]).encode()}
    form, held = form_of(units, data)
    for name, content in _write_pictures(units, held, beside).items():
        if _pixels(name, content) != _pixels(name, (path / name).read_bytes()):
            raise DataError(f"{path / name}", "pixels that would come back otherwise", "PNG files of the model's kind")
    return form, held, beside


def _pixels(name: str, content: bytes) -> tuple[Any, ...]:
    """What a picture is read as."""
    values = decode(name, lambda: content).values
    return values.shape, values.dtype, values.tobytes()


def _write_pictures(units: Units, held: Array, beside: Files) -> Files:
    names, levels = json.loads(beside["names"]), units.spec.levels
    spread = 255 // (levels - 1) if levels in (4, 16) and held.dtype == np.uint8 else 1
    x = units.spec.to_channels_first(held) * held.dtype.type(spread)
    pixels = x[:, 0] if x.shape[1] == 1 else np.moveaxis(x, 1, -1)
    return {name: png_of(np.ascontiguousarray(each)) for name, each in zip(names, pixels, strict=True)}


KINDS = {
    "npy": Kind("an .npy file", lambda path: path.suffix.lower() == ".npy", _read_npy, _write_npy),
    "npz": Kind("an .npz file", lambda path: path.suffix.lower() == ".npz", _read_npz, _write_npz),
    "text": Kind("a table in a .csv or .tsv file", is_text_table, _read_text, _write_text),
    "parquet": Kind("a table in a .parquet file", _is_plain_parquet, _read_parquet, _write_parquet),
    "folder": Kind("a folder of PNG files", Path.is_dir, _read_pictures, _write_pictures),
}
"""Every kind of file, by the name that a compressed file has for it."""
