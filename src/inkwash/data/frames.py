"""Tables from and to data frames and Parquet, and new rows of a known table.

A frame is one of pandas, or of any other library that narwhals knows, such as polars and pyarrow; these go through
Arrow to pandas and back.
"""

from __future__ import annotations

import gzip
import io
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.as_read import Cells
from inkwash.data.cells import LARGEST_INTEGER
from inkwash.data.clock import TimeType
from inkwash.data.columns import Column, Type, number_name
from inkwash.data.dates import zone_named
from inkwash.data.frame_columns import as_times_of_day, mixed_cells, plain, times_of_day, unreadable_words
from inkwash.data.judge import Judge, Verdict
from inkwash.data.raw import Raw, readable, require_extra, require_room, short
from inkwash.data.reading import Reading
from inkwash.data.spec import DataSpec
from inkwash.data.table import as_labels, as_raw, encode, entry_columns, known_columns, named, require_rows


def read_frame(frame: Any, where: str, config: DataConfig) -> Raw:
    """A data frame of numbers, booleans, text, categoricals, dates and durations, `(N, D)`.

    Columns may have types of NumPy, or the types of pandas that allow missing cells. A column of Python objects becomes
    what pandas makes of it (`convert_dtypes`); `inkwash.data.frame_columns` lists the other types. A categorical keeps
    its order, the type of its categories, and those that do not occur.

    Args:
        frame: the table; its index is not used.
        where: its name, for messages.
        config: which columns to drop, and what the others hold, as in `read_csv`.

    Raises:
        DataError: a table that `read_csv` would refuse.
    """
    frame = as_pandas(frame, where)
    names = named([str(name) for name in frame.columns])
    entries = entry_columns(where, names, config)
    require_rows(where, len(frame))
    series = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    labels = {} if config.labels is None else {config.labels: _frame_labels(where, series[config.labels])}
    judge = Judge(where, config, lambda row: f"row {row}")
    verdicts = {name: _verdict(judge, name, series[name]) for name in entries}
    return as_raw(judge, verdicts, labels)


def _frame_labels(where: str, column: Any) -> Array:
    """Labels as integers, booleans or text; the text is empty where a label is missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        return column.to_numpy()
    known = column.dropna()
    if column.dtype.kind == "f" and all(value.is_integer() for value in known.tolist()):
        known = known.astype("int64")
    return as_labels(where, column.name, known.astype(str).reindex_like(column).fillna("").tolist())


def _verdict(judge: Judge, name: str, series: Any) -> Verdict:
    series = plain(series)
    if series.isna().all():
        return judge.verdict(name, Cells(np.full(len(series), np.nan), "float64", typed=True))
    if (spans := times_of_day(series)) is not None:
        return judge.of_times(name, spans, "timedelta64[us]", written="time")
    if (moments := _moments(series)) is not None:
        values, zone = moments
        return judge.of_times(name, values, cast(TimeType, values.dtype.name), zone)
    cells = _cells(f"{judge.where}, column {name!r}", series)
    return judge.unreadable(name, unreadable_words(series)) if cells is None else judge.verdict(name, cells)


def _cells(where: str, series: Any) -> Cells | None:
    """A column as it was read; None if its type is none of a table."""
    from pandas.api import types

    if series.dtype.name == "category":
        return _categorical_cells(series)
    if series.dtype.name == "object":
        return mixed_cells(series)
    if types.is_string_dtype(series.dtype):
        return _text_cells(where, series)
    return _number_cells(series)


def _categorical_cells(series: Any) -> Cells:
    """A categorical; categories that are neither numbers nor booleans become text."""
    levels, numbers = series.cat.categories, np.where(series.cat.codes < 0, np.nan, series.cat.codes)
    kind = getattr(levels.dtype, "numpy_dtype", levels.dtype).name
    is_number = kind in get_args(Type) and kind != "bool"
    texts = tuple(number_name(level, kind) if is_number else str(level) for level in levels)
    level_type: Any = kind if kind in get_args(Type) else "str"
    column = Column("category", texts, ordered=bool(series.cat.ordered), level_type=level_type)
    return Cells(numbers, "category", texts, typed=True, column=column)


def _moments(series: Any) -> tuple[Array, str | None] | None:
    """Dates or durations as an array of NumPy, and their zone, in which case they are in UTC; None for other cells."""
    from pandas import DatetimeTZDtype
    from pandas.api.types import infer_dtype

    dtype = series.dtype
    if dtype.name == "object" and infer_dtype(series, skipna=True) == "date":
        return np.array(series.where(series.notna(), None).tolist(), "datetime64[D]"), None
    if dtype.kind not in "mM":
        return None
    if hasattr(dtype, "pyarrow_dtype"):
        values = series.array.__arrow_array__().to_numpy()
        return values.astype("datetime64[D]") if dtype.name.startswith("date") else values, getattr(
            dtype.pyarrow_dtype, "tz", None
        )
    if isinstance(dtype, DatetimeTZDtype):
        return series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), str(dtype.tz)
    return (series.to_numpy(), None) if isinstance(dtype, np.dtype) else None


def _text_cells(where: str, series: Any) -> Cells:
    places, names = series.factorize()
    texts = tuple(str(name) for name in names)
    if "" in texts and (places < 0).any():
        raise DataError(where, "cells that are missing and others of empty text", "one of the two")
    return Cells(np.where(places < 0, np.nan, places), "str", texts, typed=True)


def _number_cells(series: Any) -> Cells | None:
    dtype = series.dtype
    kind = getattr(dtype, "numpy_dtype", dtype).name
    if kind not in get_args(Type):
        return None
    values = series.to_numpy(np.float64, na_value=np.nan)
    if kind == "bool":
        return Cells(values, "bool", ("False", "True"), typed=True, column=Column("bool", ("False", "True")))
    is_large = dtype.kind in "iu" and series.notna().any()
    fits = not is_large or max(-int(series.min()), int(series.max())) <= LARGEST_INTEGER
    return Cells(values, cast(Type, kind), typed=True, fits=fits)


def is_parquet(path: Path) -> bool:
    """Whether a file has a name like those of Parquet files: `.parquet`, perhaps with the name of a compression."""
    return re.search(r"\.(parquet|pq)(\.(gz|gzip|snappy|zstd|brotli|lz4))?$", path.name.lower()) is not None


def read_parquet(path: Path, config: DataConfig) -> Raw:
    """A `.parquet` file of numbers, booleans, text and dictionaries, as `read_frame`; its index is not used.

    Raises:
        DataError: the file cannot be read, takes more than 16 GiB, or holds a table that `read_frame` refuses.
    """
    return read_frame(_parquet_frame(path), str(path), config)


def is_frame(x: Any) -> bool:
    """Whether an object is a data frame, of pandas or of another library."""
    return hasattr(type(x), "columns")


def as_pandas(frame: Any, where: str = "table") -> Any:
    """A data frame as a `pandas.DataFrame`; one of pandas as it is.

    Raises:
        DataError: narwhals or pyarrow is not installed, or narwhals does not know the frame.
    """
    if hasattr(frame, "iloc"):
        return frame
    narwhals, _ = (require_extra(name, "tabular", where) for name in ("narwhals", "pyarrow"))
    try:
        found = narwhals.from_native(frame)
    except TypeError as error:
        raise DataError(where, f"a {type(frame).__name__} ({short(error)})", "a frame that narwhals knows") from None
    return arrow_frame((found.collect() if hasattr(found, "collect") else found).to_arrow())


def _as_native(frame: Any, like: Any) -> Any:
    """A `pandas.DataFrame` with the columns of `like` that it has, in their types and of their library."""
    if hasattr(like, "iloc"):
        import pandas

        names = named([str(name) for name in like.columns])
        kept = [i for i, name in enumerate(names) if name in frame]
        columns = [_of_dtype(frame[names[i]], like.iloc[:, i].dtype) for i in kept]
        return pandas.concat(columns, axis=1).set_axis(like.columns[kept], axis=1) if columns else frame
    narwhals, pyarrow = (require_extra(name, "tabular", "table") for name in ("narwhals", "pyarrow"))
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    if isinstance(like, pyarrow.Table):
        return _of_schema(table, pyarrow.schema([field for field in like.schema if field.name in frame]))
    native = narwhals.from_native(like)
    back, kinds = narwhals.from_arrow(table, backend=native.implementation), native.collect_schema()
    return back.select(*(narwhals.col(name).cast(kind) for name, kind in kinds.items() if name in frame)).to_native()


def _of_schema(table: Any, schema: Any) -> Any:
    """A `pyarrow.Table` in the types of a schema. Arrow casts no dictionary to another kind of dictionary."""
    import pyarrow

    columns = []
    for field in schema:
        column, kind = table[field.name].combine_chunks(), field.type
        if pyarrow.types.is_dictionary(kind):
            indices, values = column.indices.cast(kind.index_type), column.dictionary.cast(kind.value_type)
            columns.append(pyarrow.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered))
        else:
            columns.append(column.cast(kind))
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _of_dtype(series: Any, dtype: Any) -> Any:
    """A column of pandas in a type; the categories of a categorical may be anything, such as intervals."""
    import pandas

    if isinstance(dtype, pandas.CategoricalDtype) and series.dtype.name == "category":
        return pandas.Series(
            pandas.Categorical.from_codes(series.cat.codes, dtype=dtype), series.index, name=series.name
        )
    return series.astype(dtype)


def arrow_readable(path: Path, need: str) -> AbstractContextManager[None]:
    """Turn what pyarrow raises for a damaged file into a `DataError`; see `readable`."""
    from pyarrow import ArrowException

    damage = (ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError)
    return readable(str(path), need, damage)


def _parquet_frame(path: Path) -> Any:
    _, parquet = (require_extra(name, "tabular", str(path)) for name in ("pyarrow", "pyarrow.parquet"))
    with arrow_readable(path, "a complete .parquet file"), parquet.ParquetFile(_unpacked(path)) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        cells = len(file.schema_arrow) * sum(group.num_rows for group in groups)
        require_room(str(path), max(8 * cells, sum(group.total_byte_size for group in groups)))
        return arrow_frame(file.read())


def _unpacked(path: Path) -> Any:
    """A file of Parquet, whose own compression is within it; one that gzip packed is unpacked."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    if not is_packed:
        return path
    content, packed = io.BytesIO(), path.stat().st_size
    with gzip.open(path) as file:
        while piece := file.read(1 << 20):
            content.write(piece)
            require_room(str(path), content.tell(), packed)
    content.seek(0)
    return content


def arrow_frame(table: Any) -> Any:
    """A `pyarrow.Table` as a `pandas.DataFrame` that keeps types and missing cells; decimals become real numbers, or
    integers if they have no digits behind the point."""
    import pandas
    import pyarrow

    fields = [field.with_type(_plain_type(field.type)) for field in table.schema]
    table = table.cast(pyarrow.schema(fields, table.schema.metadata))  # which says which column is the index
    kinds = {kind: pandas.ArrowDtype(kind) for kind in table.schema.types if not pyarrow.types.is_dictionary(kind)}
    return table.to_pandas(types_mapper=kinds.get)


def _plain_type(kind: Any) -> Any:
    """The type of Arrow that pandas computes with, for one that says the same in another way."""
    from pyarrow import float64, int64, string, types

    if types.is_decimal(kind):
        return int64() if kind.scale <= 0 else float64()
    return string() if types.is_string_view(kind) or types.is_large_string(kind) else kind


def read_parquet_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a `.parquet` file, as `from_frame`."""
    known_columns(str(path), spec)
    return encode_frame(spec, str(path), _parquet_frame(path))


def dump_parquet(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as Parquet, with the types of `to_frame`.

    Raises:
        DataError: pyarrow is not installed.
    """
    require_extra("pyarrow", "tabular", ".parquet")
    buffer = io.BytesIO()
    to_frame(spec, data).to_parquet(buffer, index=False)
    return buffer.getvalue()


def to_frame(spec: DataSpec, data: Array, like: Any = None) -> Any:
    """Examples `(N, D)` of a table as a data frame, with the names and types of its columns.

    Integers and booleans that may be missing have the types of pandas for that, `Int64` and `boolean`; real numbers
    have NaN. Dates without a time are `date32` of Arrow; dates of a zone have that zone.

    Args:
        spec: what the table is.
        data: the examples.
        like: a frame whose library and types of columns to return; a `pandas.DataFrame` by default.

    Raises:
        DataError: the spec describes no table.
    """
    import pandas

    every = (spec.reading or Reading()).with_constants(known_columns("to_frame", spec), data)
    frame = pandas.DataFrame({name: _series(column, values) for name, (column, values) in every.items()})
    return frame if like is None else _as_native(frame, like)


def from_frame(spec: DataSpec, table: Any) -> Array:
    """New rows of a known table, as the data that they stand for: float64 `(N, D)`, the inverse of `to_frame`.

    Args:
        spec: what the table is.
        table: a data frame with its columns, in any order, or a sequence of rows of D cells in their order.

    Raises:
        DataError: other columns, an unknown category or no finite number; the message has its row, counted from 0.
    """
    columns = known_columns("from_frame", spec)
    if is_frame(table):
        return encode_frame(spec, "table", table)
    return encode(spec, "table", list(columns), table)


def encode_frame(spec: DataSpec, where: str, frame: Any) -> Array:
    """New rows of a known table from a data frame, as `from_frame`; `where` is its name in messages."""
    frame = as_pandas(frame, where)
    columns = [plain(frame.iloc[:, i]) for i in range(frame.shape[1])]
    cells = [series.astype(object).where(series.notna(), None).tolist() for series in columns]
    names = named([str(name) for name in frame.columns])
    return encode(spec, where, names, zip(*cells, strict=True))


def _series(column: Column, values: Array) -> Any:
    """Cells of a column in its type, or in the type of pandas that allows missing cells."""
    import pandas

    missing = np.isnan(values)
    if column.clock is not None:
        return _times(column, values)
    if column.dtype == "category":
        codes = np.where(missing, -1, values).astype(int)
        return pandas.Categorical.from_codes(codes, column.levels.tolist(), ordered=column.ordered)
    cells = column.decode(values)
    if column.dtype == "str":
        return pandas.Series([None if gone else cell for gone, cell in zip(missing, cells.tolist(), strict=True)])
    if not column.missing and not missing.any():
        return cells
    if column.dtype.startswith("float"):
        return pandas.Series(np.where(missing, np.nan, cells).astype(column.dtype))
    nullable = column.dtype.replace("uint", "UInt").replace("int", "Int").replace("bool", "boolean")
    return pandas.Series(cells).astype(nullable).mask(missing)


def _times(column: Column, values: Array) -> Any:
    """Dates or durations in their type; pandas has none for months and minutes, which become seconds."""
    import pandas

    cells, zone = column.decode(values), None if column.clock is None else column.clock.zone
    written = column.clock and column.clock.written
    if written == "time":
        return pandas.Series(as_times_of_day(cells), dtype=object)
    if written == "digits":
        return pandas.Series(column.texts(values)).replace("", pandas.NA).astype("Int64" if column.missing else "int64")
    if column.dtype == "datetime64[D]":
        pyarrow = require_extra("pyarrow", "tabular", "a column of dates")
        return pandas.Series(pyarrow.array(cells), dtype=pandas.ArrowDtype(pyarrow.date32()))
    series = pandas.Series(
        cells.astype("datetime64[s]") if column.dtype in ("datetime64[M]", "datetime64[m]") else cells
    )
    return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone_named(zone))
