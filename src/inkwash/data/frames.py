"""Tables from and to pandas and Parquet, and new rows of a known table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.column_kinds import category_column, number_column, refuse_dates, text_column
from inkwash.data.columns import LARGEST_INTEGER, Column, Type
from inkwash.data.raw import Raw, require_extra, require_room, short
from inkwash.data.spec import DataSpec
from inkwash.data.table import as_labels, as_raw, encode, entry_columns, holds_categories, known_columns, require_rows


def read_frame(frame: Any, where: str, config: DataConfig) -> Raw:
    """A `pandas.DataFrame` of numbers, booleans, text and categoricals, `(N, D)`.

    Columns may have types of NumPy, or the types of pandas that allow missing cells. A column of Python objects becomes
    what pandas makes of it (`convert_dtypes`). A categorical of integers is a column of integers that are categories.

    Args:
        frame: the table; its index is not used.
        where: its name, for messages.
        config: which columns to drop, and what the others hold, as in `read_csv`.

    Raises:
        DataError: a column of another type, integers beyond 2^53, or a table that `read_csv` would refuse.
    """
    names = [str(name) for name in frame.columns]
    entries = entry_columns(where, names, config)
    require_rows(where, len(frame))
    series = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    labels = {} if config.labels is None else {config.labels: _frame_labels(where, series[config.labels])}
    kinds = {name: holds_categories(name, config) for name in entries}
    found = {name: _column(f"{where}, column {name!r}", series[name], kind) for name, kind in kinds.items()}
    return as_raw(found, labels)


def _frame_labels(where: str, column: Any) -> Array:
    """Labels as integers, booleans or text; the text is empty where a label is missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        return column.to_numpy()
    known = column.dropna()
    if column.dtype.kind == "f" and (known % 1 == 0).all():
        known = known.astype("int64")
    return as_labels(where, column.name, known.astype(str).reindex_like(column).fillna("").tolist())


def _column(where: str, series: Any, categories: bool | None) -> tuple[Column, Array]:
    """What a column is, and what stands in the data for its cells.

    Args:
        where: table and column, for messages.
        series: the column.
        categories: whether the options make it categories or numbers; None: they leave it open.
    """
    from pandas.api import types

    series = series.convert_dtypes() if series.dtype.name == "object" else series
    if series.dtype.name == "category":
        if types.is_string_dtype(series.cat.categories.dtype) and categories is not False:
            numbers = np.where(series.cat.codes < 0, np.nan, series.cat.codes)
            return category_column(where, "category", [str(name) for name in series.cat.categories], numbers)
        series, categories = series.astype(object).convert_dtypes(), categories is not False
    dtype = series.dtype
    if dtype.kind in "mM" or "date" in dtype.name:
        refuse_dates(where)
    if dtype.name != "object" and types.is_string_dtype(dtype) and categories is not False:
        return _text_column(where, series, bool(categories))
    return _number_column(where, series, categories)


def _text_column(where: str, series: Any, wanted: bool) -> tuple[Column, Array]:
    places, names = series.factorize()
    texts = [str(name) for name in names]
    if "" in texts and (places < 0).any():
        raise DataError(where, "cells that are missing and others of empty text", "one of the two")
    return text_column(where, texts, np.where(places < 0, np.nan, places), wanted, typed=True)


def _number_column(where: str, series: Any, categories: bool | None) -> tuple[Column, Array]:
    dtype = series.dtype
    kind = getattr(dtype, "numpy_dtype", dtype).name
    if kind not in get_args(Type) or (kind == "bool" and categories is False):
        need = "numbers, booleans, text or categories" if categories is None else "numbers, as the options have it"
        raise DataError(where, f"values of type {dtype}", need)
    values = series.to_numpy(np.float64, na_value=np.nan)
    if kind == "bool":
        return category_column(where, "bool", ["False", "True"], values)
    if dtype.kind in "iu" and series.notna().any() and max(-int(series.min()), int(series.max())) > LARGEST_INTEGER:
        raise DataError(where, "whole numbers beyond 2^53", "smaller ones")
    return number_column(where, cast(Type, kind), values, categories)


def read_parquet(path: Path, config: DataConfig) -> Raw:
    """A `.parquet` file of numbers, booleans, text and dictionaries, as `read_frame`; its index is not used.

    Raises:
        DataError: the file cannot be read, takes more than 16 GiB, or holds a table that `read_frame` refuses.
    """
    return read_frame(_parquet_frame(path), str(path), config)


def _parquet_frame(path: Path) -> Any:
    pyarrow, parquet = (require_extra(name, "tabular", str(path)) for name in ("pyarrow", "pyarrow.parquet"))
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            cells = len(file.schema_arrow) * sum(group.num_rows for group in groups)
            require_room(str(path), max(8 * cells, sum(group.total_byte_size for group in groups)))
            return arrow_frame(file.read())
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"an unreadable file ({short(error)})", "a complete .parquet file") from None


def arrow_frame(table: Any) -> Any:
    """A `pyarrow.Table` as a `pandas.DataFrame` that keeps types and missing cells."""
    import pandas
    import pyarrow

    kinds = {kind: pandas.ArrowDtype(kind) for kind in table.schema.types if not pyarrow.types.is_dictionary(kind)}
    return table.to_pandas(types_mapper=kinds.get)


def read_parquet_rows(path: Path, spec: DataSpec) -> Array:
    """New rows of a known table from a `.parquet` file, as `from_frame`."""
    return _encode_frame(known_columns(str(path), spec), str(path), _parquet_frame(path))


def dump_parquet(spec: DataSpec, data: Array) -> bytes:
    """Examples `(N, D)` of a table as Parquet, with the types of `to_frame`.

    Raises:
        DataError: pyarrow is not installed.
    """
    require_extra("pyarrow", "tabular", ".parquet")
    buffer = io.BytesIO()
    to_frame(spec, data).to_parquet(buffer, index=False)
    return buffer.getvalue()


def to_frame(spec: DataSpec, data: Array) -> Any:
    """Examples `(N, D)` of a table as a `pandas.DataFrame`, with the names and types of its columns.

    Integers and booleans that may be missing have the types of pandas for that, `Int64` and `boolean`; real numbers
    have NaN.

    Raises:
        DataError: the spec describes no table.
    """
    import pandas

    columns = known_columns("to_frame", spec)
    return pandas.DataFrame({name: _series(column, data[:, i]) for i, (name, column) in enumerate(columns.items())})


def from_frame(spec: DataSpec, table: Any) -> Array:
    """New rows of a known table, as the data that they stand for: float64 `(N, D)`, the inverse of `to_frame`.

    Args:
        spec: what the table is.
        table: a `pandas.DataFrame` with its columns, in any order, or a sequence of rows of D cells in their order.

    Raises:
        DataError: other columns, an unknown category or no finite number; the message has its row, counted from 0.
    """
    columns = known_columns("from_frame", spec)
    if hasattr(table, "columns"):
        return _encode_frame(columns, "table", table)
    return encode(columns, "table", list(columns), table)


def _encode_frame(columns: dict[str, Column], where: str, frame: Any) -> Array:
    cells = frame.astype(object).where(frame.notna(), None)
    return encode(columns, where, [str(name) for name in frame.columns], cells.itertuples(index=False, name=None))


def _series(column: Column, values: Array) -> Any:
    """Cells of a column in its type, or in the type of pandas that allows missing cells."""
    import pandas

    missing = np.isnan(values)
    if column.dtype == "category":
        return pandas.Categorical.from_codes(np.where(missing, -1, values).astype(int), list(column.categories or ()))
    cells = column.decode(values)
    if column.dtype == "str":
        return pandas.Series([None if gone else cell for gone, cell in zip(missing, cells.tolist(), strict=True)])
    if not column.missing:
        return cells
    nullable = column.dtype.replace("uint", "UInt").replace("int", "Int").replace("bool", "boolean")
    return pandas.Series(cells).astype(nullable).mask(missing)
