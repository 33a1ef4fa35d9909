"""One example, or the past of some series, from a file of any format that inkwash reads, as a run has its data.

The axes, missing entries and pages of the file are read by the options of the run. In a table the columns are entries
of a row, or, for a model of series, its channels, and the rows are places.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, listed
from inkwash.data.decode import read_picture
from inkwash.data.formats.format import Format
from inkwash.data.images import is_picture_file
from inkwash.data.raw import Raw, exists
from inkwash.data.readers import divided, format_of
from inkwash.data.reading import Reading
from inkwash.data.spec import DataSpec

_OF_A_RUN = ("layout", "missing", "pages", "infinite", "encoding", "decimal", "day_first", "missing_values")
"""The options of a run that say how each of its files is read."""


def read_example(source: str | Path, spec: DataSpec, config: DataConfig | None = None) -> Array:
    """One example in data units, from a picture or from a file of any other format.

    In a picture the range of the data goes from black to white, as in the pictures that `inkwash sample` writes, unless
    these hold the values themselves. A picture is not resized, and one with another number of channels is refused.

    Args:
        source: path of the file, perhaps with a colon and the name of an array or of columns behind it.
        spec: what the data is.
        config: how a run reads its data.

    Raises:
        DataError: an unreadable file, or an example of another kind or shape.
    """
    if is_picture_file(Path(source)) and spec.kind != "volume":
        if not spec.is_image:
            raise DataError(str(source), "a picture", f"a file of one {spec.describe()}")
        return example_of(read_picture(Path(source)), spec, str(source))
    found = read_values(source, spec, config)
    if found.shape == (1, *spec.data_shape):
        found = found[0]
    if found.shape != spec.data_shape:
        raise DataError(str(source), f"shape {found.shape}", f"one example, shape {spec.data_shape}")
    return found


def read_values(source: str | Path, spec: DataSpec, config: DataConfig | None = None) -> Array:
    """What a file holds in data units: one example or several, as the file has them. Series may have any length.

    Args:
        source: as `read_example`.
        spec: what the data is.
        config: how a run reads its data.

    Raises:
        DataError: an unreadable file, a table with other columns, or values that were recorded otherwise than the data.
    """
    (text, key), config = divided(str(source)), config or DataConfig()
    path, known = Path(text), format_of(Path(text))
    if not exists(path):
        raise DataError(text, "no such file", "examples, such as an .npy file of numbers")
    if key is not None and (spec.columns or (known.read_rows is None and "key" not in known.options)):
        raise DataError(str(source), f"{key!r} behind the colon", f"only {text}, which is read as a whole")
    if known.read_rows is not None and spec.columns:
        return known.read_rows(path, spec)
    if known.read_rows is not None:
        return _known(_series(known.read(path, DataConfig()), text, key, spec), text, config)
    raw = (known.read_one or known.read)(path, _options(key, config, known, spec))
    _require_like(text, known, raw, spec)
    values = _known(np.array(raw.data), text, config)
    return values.astype(spec.dtype) if np.dtype(spec.dtype).kind == "f" and values.dtype.kind in "biu" else values


def _known(values: Array, where: str, config: DataConfig) -> Array:
    """Real numbers; infinite ones are missing if the run reads them so.

    Raises:
        DataError: values of another type, or infinite ones.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(where, f"values of type {values.dtype}", "real numbers")
    endless = np.isinf(values)
    if endless.any() and config.infinite != "missing":
        raise DataError(where, f"{endless.sum()} infinite numbers", "numbers, or NaN for what is not known")
    return np.where(endless, values.dtype.type(np.nan), values) if endless.any() else values


def _options(key: str | None, config: DataConfig, known: Format, spec: DataSpec) -> DataConfig:
    """How a file is read: as those of the run, and, without a name behind the colon and in a file of the same format,
    the array of the name that theirs had."""
    same_format = known.write is None if spec.origin is None else spec.origin.format == known.name
    own = (spec.origin["key"] if spec.origin is not None else None) or config.key
    alike = {name: getattr(config, name) for name in _OF_A_RUN}
    return replace(DataConfig(), key=key or (own if same_format else None), **alike)


def _require_like(where: str, known: Format, raw: Raw, spec: DataSpec) -> None:
    """Refuse what the file says otherwise than those of the data, such as the rate of sound."""
    if spec.origin is None or spec.origin.format != known.name:
        return
    for name in known.same:
        got, need = raw.kept.get(name), spec.origin[name]
        if need is not None and got != need:
            raise DataError(where, f"{name} {got}", f"{need}, as the data had")


def _series(raw: Raw, where: str, names: str | None, spec: DataSpec) -> Array:
    """Columns of a table as the channels of a series in the layout of the data; the rows are its places.

    Args:
        raw: the table.
        where: what messages call it.
        names: of the columns, with commas between; by default all that hold numbers.
        spec: what the data is.

    Raises:
        DataError: the data are no series, or there are not as many such columns as channels.
    """
    every = (raw.reading or Reading()).with_constants(raw.columns or {}, raw.data)
    numbers = [name for name, (column, _) in every.items() if _holds_numbers(column)]
    wanted = numbers if names is None else names.split(",")
    if spec.kind != "series" or len(wanted) != len(spec.varies) or not {*wanted} <= {*numbers}:
        need = f"{len(spec.varies)} of its columns of numbers, {listed(numbers) or 'none'}, for as many channels"
        need = f"{need}, such as {where}:{','.join(numbers[: len(spec.varies)]) or 'NAME'}"
        raise DataError(where, f"columns {listed(wanted)}", need if spec.kind == "series" else spec.describe())
    series = np.stack([every[name][0].numbers(every[name][1]) for name in wanted], -1).astype(spec.dtype)
    return {"NL": series[:, 0], "NLC": series, "NCL": series.T}[spec.layout]


def _holds_numbers(column: Column) -> bool:
    is_text = column.categories is not None and column.name_type in ("bool", "str")
    return not is_text and column.clock is None


def example_of(pixels: Array, spec: DataSpec, where: str) -> Array:
    """The example in data units that a picture shows, as `read_example` has it.

    Args:
        pixels: `(H, W)` or `(H, W, C)`.
        spec: what the data is.
        where: name of the picture, for messages.

    Raises:
        DataError: another number of pixels or channels.
    """
    channels = len(spec.varies)
    if pixels.shape != (spec.size if channels == 1 else (*spec.size, channels)):
        raise DataError(where, f"{pixels.dtype} of shape {pixels.shape}", f"those of {spec.describe()}")
    data = pixels if _holds_values(pixels, spec) else _stretched(pixels, spec)
    channels_first = data[None] if channels == 1 else np.moveaxis(data, -1, 0)
    return spec.from_all_channels(channels_first[None])[0]


def _holds_values(pixels: Array, spec: DataSpec) -> bool:
    """Whether the pixels of a file are values of the data: real or signed numbers and those of 32 bits are, and others
    if data is as in files."""
    return (
        pixels.dtype.kind in "fi" or pixels.dtype.itemsize > 2 or (spec.is_as_in_files and pixels.dtype == spec.dtype)
    )


def _stretched(pixels: Array, spec: DataSpec) -> Array:
    """Pixels from black to white as values over the range of the data."""
    white = 1 if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max
    data = spec.low + pixels / white * (spec.high - spec.low)
    return (np.rint(data) if spec.levels else data).astype(spec.dtype)
