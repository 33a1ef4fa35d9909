"""What a user has, which is a name, a path or an object of Python, to an array: the table of readers.

To add a format of files, write it in a file of its own in `data/formats`, and name its record here.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.arrays import is_idx, read_array_file, read_npz
from inkwash.data.builtin import BUILTIN
from inkwash.data.csv_files import dump_csv, is_text_table, read_csv, read_csv_rows
from inkwash.data.formats import arff, dicom, feather, fits, hdf5, matlab, netcdf, nifti, ome, shards, sound, zarr
from inkwash.data.formats.format import PICTURES, TABLES, Format, ends_in, in_one, plugged_in, stated
from inkwash.data.frames import dump_parquet, is_frame, is_parquet, read_frame, read_parquet, read_parquet_rows
from inkwash.data.hub import HUB, read_features, read_hub
from inkwash.data.images import is_picture_file, read_folder, read_paged, read_zip
from inkwash.data.objects import is_array, is_items, read_array, read_items, read_tensor
from inkwash.data.origin import keep
from inkwash.data.ragged import is_ragged, read_ragged, read_ts
from inkwash.data.raw import Raw, exists
from inkwash.data.spec import DataSpec


@dataclass(frozen=True)
class Reader:
    """How one kind of source that is no file is recognised, called and read.

    Args:
        words: what a source of this kind is called in messages.
        recognises: whether a source is of this kind.
        read: takes the source, and the options of the data, to an array.
        options: options that go with this kind of source, and not with every kind.
        name: what messages and runs call a source of this kind; None: by its own name.
    """

    words: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any, DataConfig], Raw]
    options: tuple[str, ...] = ()
    name: str | None = None


def _read_builtin(name: str, _config: DataConfig) -> Raw:
    """A built-in set, with a note if there is a file or folder of its name."""
    raw, path = BUILTIN[name](), Path(name)
    note = f"{name} is the built-in set; ./{name} is the {'folder' if path.is_dir() else 'file'} of that name"
    return replace(raw, notes=(*raw.notes, note)) if path.exists() else raw


def _is_a(package: str, kind: str) -> Callable[[Any], bool]:
    """Whether an object is of a class of a package, which need not be imported for that."""

    def recognises(source: Any) -> bool:
        found = getattr(sys.modules.get(package), kind, None)
        return found is not None and isinstance(source, found)

    return recognises


def _object(
    name: str,
    words: str,
    recognises: Callable[[Any], bool],
    read: Callable[[Any, str, DataConfig], Raw],
    options: tuple[str, ...] = (),
) -> Reader:
    return Reader(words, recognises, lambda source, config: read(source, name, config), options, name)


_TEXT = (*TABLES, "delimiter", "decimal", "encoding", "comment", "header")
NAMES = (
    Reader("the name of a built-in set", BUILTIN.__contains__, _read_builtin),
    Reader("hf:NAME", lambda name: name.startswith(HUB), read_hub, (*TABLES, *PICTURES)),
)
FILES = (
    zarr.FORMAT,
    sound.FORMAT,
    nifti.FORMAT,
    fits.FORMAT,
    dicom.FORMAT,
    ome.FORMAT,
    shards.FORMAT,
    Format("pictures", "a folder of pictures", Path.is_dir, read_folder, PICTURES),
    Format("pages", "a .tif or .png file of several pages", is_picture_file, read_paged, PICTURES),
    Format("zip", "a .zip file of pictures", ends_in(".zip"), read_zip, PICTURES),
    Format("npy", "an .npy file", ends_in(".npy"), read_array_file, ("lengths",)),
    Format("npz", "an .npz file", ends_in(".npz"), read_npz, ("key", "lengths")),
    Format("ts", "a .ts file of series", ends_in(".ts"), read_ts),
    hdf5.FORMAT,
    netcdf.FORMAT,
    matlab.FORMAT,
    Format("idx", "an IDX file", is_idx, read_array_file, ("lengths",)),
    Format(
        name="csv",
        words="a table in a .csv or .tsv file",
        recognises=is_text_table,
        read=read_csv,
        options=_TEXT,
        suffix=".csv",
        write=in_one(dump_csv),
        read_rows=read_csv_rows,
    ),
    Format(
        name="parquet",
        words="a table in a .parquet file",
        recognises=is_parquet,
        read=read_parquet,
        options=TABLES,
        suffix=".parquet",
        write=in_one(dump_parquet),
        read_rows=read_parquet_rows,
    ),
    feather.FORMAT,
    arff.FORMAT,
)
"""Every built-in format; the first that recognises a path reads it. Those of folders stand before the pictures."""
OBJECTS = (
    _object("<array>", "a NumPy array", is_array, read_array),
    _object("<series>", "a list of series of unequal length", is_ragged, read_ragged),
    _object("<tensor>", "a tensor", lambda source: isinstance(source, torch.Tensor), read_tensor),
    _object("<dataset>", "a Dataset of torch", _is_a("torch.utils.data", "Dataset"), read_items, PICTURES),
    _object("<items>", "a list or generator of arrays, pictures or paths", is_items, read_items, PICTURES),
    _object("<table>", "a DataFrame of pandas, polars or pyarrow", is_frame, read_frame, TABLES),
    _object("<hub>", "a Dataset of the Hub", _is_a("datasets", "Dataset"), read_features, (*TABLES, *PICTURES)),
)


def source_name(source: Any) -> str:
    """What a source is called in messages and in a run: its name, its path, or the kind of an object.

    A `Path` is a path whatever it is called: `Path("digits")` is `./digits`, while "digits" is the built-in set.

    Raises:
        DataError: no reader recognises the object.
    """
    if isinstance(source, str):
        return source
    if isinstance(source, os.PathLike):
        path: str = os.fspath(source)
        return f"./{path}" if _is_name(path) or _is_object_name(path) else path
    return _reader_of(source).name or ""


def read(source: Any, config: DataConfig) -> Raw:
    """Read a source, as far as that needs no decision.

    Args:
        source: see `inkwash.data.load_dataset`.
        config: which array, and which labels and condition.

    Raises:
        DataError: a missing, unreadable or damaged source, or an option that does not go with it.
    """
    if not isinstance(source, str | os.PathLike):
        return _read(source, config)
    text, key = divided(source_name(source))
    if key is not None and config.key not in (None, key):
        raise DataError("data.key", repr(config.key), f"{key!r}, as behind the colon, or no colon")
    return _read(_located(text), config if key is None else replace(config, key=key))


def _read(found: Any, config: DataConfig) -> Raw:
    reader = _reader_of(found)
    _require_fitting(config, reader)
    if not isinstance(reader, Format):
        return reader.read(found, config)
    raw = reader.read(found, config)
    if reader.write is None or raw.columns is not None:
        return raw
    origin, notes = keep(reader.name, raw.kept)
    return replace(raw, origin=origin, notes=(*raw.notes, *notes))


def divided(text: str) -> tuple[str, str | None]:
    """A path that exists, and what stands behind it after a colon, as in `data.h5:group/x`; otherwise the text itself,
    and None."""
    if _is_name(text) or _is_there(text):
        return text, None
    ends = (place for place, mark in enumerate(text) if mark == ":" and _is_there(text[:place]))
    end = next(ends, None)
    return (text, None) if end is None else (text[:end], text[end + 1 :])


def read_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a file, float64 `(N, D)`, as `inkwash.data.from_frame`.

    Raises:
        DataError: a file of another kind, or rows that do not fit the table.
    """
    if not exists(path):
        raise DataError(str(path), "no such file", "a file with the columns of the table")
    found = table_format(path)
    found.require_packages(str(path))
    return cast(Any, found.read_rows)(path, spec)


def table_format(source: str | Path) -> Format:
    """The format of tables that a path is called by.

    Raises:
        DataError: there is none.
    """
    path = Path(source)
    found = next((each for each in _tables() if each.recognises(path)), None)
    if found is None:
        raise DataError(str(path), f"a {path.suffix or 'nameless'} file", _words(_tables()))
    return found


def table_suffix(source: str | Path) -> str:
    """How the file of a table ends that is written as its source was: `.parquet`, `.tsv`, or `.csv`, which every table
    can be written as."""
    path = Path(source)
    if path.name.lower().endswith((".tsv", ".tsv.gz")):
        return ".tsv"
    return next((each.suffix for each in _tables() if each.write is not None and each.recognises(path)), ".csv")


def _tables() -> list[Format]:
    return [each for each in (*FILES, *plugged_in()) if each.read_rows is not None]


def format_named(name: str) -> Format:
    """A format by its name, with all that it needs.

    Raises:
        DataError: there is none of that name, or a package that it needs is missing.
    """
    found = next((each for each in FILES if each.name == name), None)
    found = found or next((each for each in plugged_in() if each.name == name), None)
    if found is None:
        raise DataError("samples", f"no format {name}", "the package that brought it, which the data was read with")
    found.require_packages("samples")
    return found


def _is_name(text: str) -> bool:
    return any(reader.recognises(text) for reader in NAMES)


def _is_object_name(text: str) -> bool:
    return text in {reader.name for reader in OBJECTS}


def _located(text: str) -> str | Path:
    """What a text stands for: a name, or a path that exists."""
    if _is_name(text):
        return text
    if _is_object_name(text):
        raise DataError("data", f"{text}, which was given from Python", "the same data again, from Python")
    if not _is_there(text):
        raise DataError("data", f"{text!r}, which is no file or folder", _existing(text))
    return Path(text)


def _is_there(text: str) -> bool:
    """Whether a text is the path of a file or folder, or stands for several shards."""
    return exists(Path(text)) or shards.is_pattern(text)


def _existing(text: str) -> str:
    """What a text should have been, with the nearest name."""
    close = difflib.get_close_matches(text, BUILTIN, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"a file or folder that exists, or one of {', '.join(BUILTIN)}{hint}"


def _reader_of(found: Any) -> Reader | Format:
    """The reader of a name, a path that exists, or an object.

    Raises:
        DataError: there is none.
    """
    if isinstance(found, Path):
        return format_of(found)
    readers = NAMES if isinstance(found, str) else OBJECTS
    reader = next((each for each in readers if each.recognises(found)), None)
    if reader is None:
        raise DataError("data", f"a {type(found).__name__}", f"a name or path, {_words(OBJECTS)}")
    return reader


def format_of(path: Path) -> Format:
    """The format of a file or folder, with all that it needs. A folder that only looks like one of pictures may be of a
    plug-in.

    Raises:
        DataError: there is none, or a package that it needs is missing.
    """
    if shards.is_pattern(str(path)) and not exists(path):  # it may be longer than the name of a file
        return shards.FORMAT
    found = next((each for each in FILES if each.recognises(path)), None)
    if found is None or found.name == "pictures":
        found = next((each for each in plugged_in() if each.recognises(path)), found)
    if found is None:
        raise DataError(str(path), f"a {path.suffix or 'nameless'} file", _words((*FILES, *plugged_in())))
    found.require_packages(str(path))
    return found


def _require_fitting(config: DataConfig, reader: Reader | Format) -> None:
    """Refuse options that go only with sources of other kinds."""
    readers = (*FILES, *OBJECTS, *NAMES)
    options = dict.fromkeys(option for each in readers for option in each.options if option not in reader.options)
    for option, got in stated(config, options).items():
        raise DataError(f"data.{option}", got, _words(each for each in readers if option in each.options))


def _words(readers: Iterable[Reader | Format]) -> str:
    *first, last = (reader.words for reader in readers)
    return f"{', '.join(first)} or {last}" if first else last
