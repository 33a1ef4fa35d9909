"""FITS: pictures, spectra, cubes and tables of astronomy.

A file has several parts (HDUs); `file.fits:1` and `file.fits:SCI` name one. The first axis that NumPy has is the last
one of the header (FITS Standard 4.0, section 3.3.2). Values are what BSCALE, BZERO and BLANK make of the numbers:
unsigned ones by BZERO, and missing ones, NaN, by BLANK, without which whole numbers stay whole. In files of real
numbers NaN is missing (section 5.3).
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError, Decoded
from inkwash.data.formats.folders import damage_named, files_of, holds
from inkwash.data.formats.format import PICTURES, TABLES, Format, stated
from inkwash.data.formats.scaled import in_type
from inkwash.data.frames import read_frame
from inkwash.data.images import stack
from inkwash.data.raw import Raw, require_extra, require_room
from inkwash.data.rows import blocks
from inkwash.data.spec import DataSpec

_WORDS = "FITS file"
_UNKEPT = {
    *("SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS", "BSCALE", "BZERO", "BLANK"),
    *("CHECKSUM", "DATASUM", "DATAMIN", "DATAMAX", "COMMENT", "HISTORY", ""),
}
"""Cards about how numbers are stored, or about the values of one file."""
_LAYOUTS: dict[int, Layout] = {2: "NL", 3: "NHW", 4: "NDHW"}


@dataclass(frozen=True)
class Part:
    """An HDU of a file.

    Args:
        path: the file.
        place: its number.
        header: its cards.
        is_image: whether it holds an array, and no table.
        is_packed: whether its numbers are compressed.
        others: what the other HDUs with data are called.
    """

    path: Path
    place: int
    header: Any
    is_image: bool
    is_packed: bool
    others: tuple[str, ...]

    @property
    def cards(self) -> tuple[tuple[str, Any, str], ...]:
        """Keyword, value and comment of what it says about more than its own numbers."""
        cards = ((card.keyword, card.value, card.comment) for card in self.header.cards)
        plain = (card for card in cards if isinstance(card[1], str | int | float))
        return tuple(card for card in plain if card[0] not in _UNKEPT and not card[0].startswith("NAXIS"))

    @property
    def note(self) -> tuple[str, ...]:
        """Which HDU was read, if there are others."""
        used = f"HDU {self.place} of {self.path.name}; not used: {', '.join(self.others)}"
        return (used,) if self.others else ()


def read_fits(path: Path, config: DataConfig) -> Raw:
    """A folder of files, each an example, or one file: a table, or an array whose first axis counts examples
    (`data.pages` examples). `data.key` names the HDU; by default it is the first with data.

    Raises:
        DataError: a file that cannot be read, no data in the HDU, arrays of several shapes, or one array.
    """
    raw = _read(path, config)
    if len(raw.data) < 2 and not path.is_dir() and raw.columns is None:
        need = "a folder of files, or --data.pages examples, if its first axis counts examples"
        raise DataError(str(path), f"one array of shape {raw.data.shape[1:]}", need)
    return raw


def _read(path: Path, config: DataConfig) -> Raw:
    """As `read_fits`, also of one array."""
    files, parts = files_of(path, FORMAT.recognises), list[Part]()
    if path.is_dir():
        _require_none(config, TABLES, "a table in one file")
        blanks = any(_is_blank_somewhere(each, config.key) for each in files.paths)
        found = {str(each): partial(_decode, each, config, blanks, parts) for each in files.paths}
        raw, places = stack(str(path), found, config)
        raw = replace(raw, labels={"folder": files.folders[places]}, notes=(*raw.notes, *files.notes))
    elif not (part := _part(path, config.key)).is_image:
        _require_none(config, PICTURES, f"arrays; HDU {part.place} of {path} is a table")
        return _table(part, config)
    else:
        _require_none(config, TABLES, f"a table; HDU {part.place} of {path} is an array")
        raw = Raw(_decode(path, config, _has_blanks(part), parts).values)
    shared = set.intersection(*({*part.cards} for part in parts))
    cards = [card for card in parts[0].cards if card in shared]
    kept = {"cards": cards, "dtype": raw.data.dtype.newbyteorder("=").str}
    layout = None if config.layout != "auto" else _LAYOUTS.get(raw.data.ndim)
    masked = raw.data.ndim == 2 and _has_gaps(raw.data)
    return replace(raw, layout=layout, masked=masked, notes=(*raw.notes, *parts[0].note), kept=kept)


def _require_none(config: DataConfig, options: Iterable[str], need: str) -> None:
    for option, got in stated(config, options).items():
        raise DataError(f"data.{option}", got, need)


def _decode(path: Path, config: DataConfig, blanks: bool, parts: list[Part]) -> Decoded:
    """The array of a file as one example, or along its first axis; its HDU is added to those before.

    With `blanks`, a file has missing numbers, or may have some: its values are real.
    """
    part = _part(path, config.key)
    if not part.is_image:
        raise DataError(str(path), f"a table in HDU {part.place}", "an array in each file of a folder")
    values = _values(part, blanks)
    if values.ndim == 3 and config.pages is None and config.layout == "auto":
        got = f"a cube of shape {values.shape}"
        need = "--data.pages examples, if each plane is an example, or volume; --data.layout, if they are channels"
        raise DataError(str(path), got, need)
    if config.pages != "examples" or values.ndim < 2:
        values = values[None]
    if values.ndim > 2 and _has_gaps(values):
        need = "pictures without; fill or cut them out first, as only series and tables may miss entries"
        raise DataError(str(path), "undefined pixels, NaN or BLANK", need)
    parts.append(part)
    return Decoded(values, None, pages=len(values) > 1 or values.ndim > 3)


def _part(path: Path, key: str | None) -> Part:
    """The HDU of a number or name, or the first with data.

    Raises:
        DataError: an unreadable file, no such HDU, or one without data.
    """
    from astropy.io import fits

    with damage_named(path, _WORDS), fits.open(path) as file:
        named = {str(i): f"{i} {hdu.name}".strip() for i, hdu in enumerate(file) if _size(hdu.header)}
        place = next(iter(named), "0") if key is None else key
        try:
            found = file[int(place) if place.isdecimal() else place]
        except (KeyError, IndexError):
            need = f"one of {', '.join(named.values()) or 'several, and there is none with data'}"
            raise DataError(f"{path}: data.key", repr(key), need) from None
        place = str(file.index_of(found.name) if not place.isdecimal() else int(place))
        if place not in named:
            need = f"an HDU with data: {', '.join(named.values()) or 'there is none'}"
            raise DataError(f"{path}:{place}", "no data in the HDU", need)
        others = tuple(words for other, words in named.items() if other != place)
        is_packed = isinstance(found, fits.CompImageHDU) or path.suffix.lower() in (".gz", ".fz")
        return Part(path, int(place), found.header.copy(), found.is_image, is_packed, others)


def _size(header: Any) -> int:
    """How many entries an HDU has."""
    sides = [header[f"NAXIS{i + 1}"] for i in range(header["NAXIS"])]
    return math.prod(sides) if sides else 0


def _is_blank_somewhere(path: Path, key: str | None) -> bool:
    """As `_has_blanks`; a damaged file, which is refused later, has none."""
    try:
        return _has_blanks(_part(path, key))
    except DamagedError:
        return False


def _has_blanks(part: Part) -> bool:
    """Whether a whole number of an HDU is the one that stands for a missing one."""
    from astropy.io import fits

    if not part.is_image or "BLANK" not in part.header:
        return False
    with damage_named(part.path, _WORDS), fits.open(part.path, do_not_scale_image_data=True) as file:
        return bool((file[part.place].data == part.header["BLANK"]).any())


def _values(part: Part, blanks: bool) -> Array:
    """The values of an array, mapped into memory if they are the numbers of a file that is not compressed."""
    from astropy.io import fits

    if part.is_packed or {"BZERO", "BSCALE", "BLANK"} & {*part.header}:  # otherwise it is mapped
        packed = part.path.stat().st_size if part.is_packed else None
        require_room(str(part.path), _size(part.header) * abs(part.header["BITPIX"]) // 8, packed)
    # astropy leaves BLANK alone where it takes numbers for unsigned ones
    with damage_named(part.path, _WORDS), fits.open(part.path, uint=not blanks, ignore_blank=not blanks) as file:
        values = file[part.place].data
    is_integral = values.dtype.kind in "iu"
    return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64) if blanks and is_integral else values


def _has_gaps(values: Array) -> bool:
    return values.dtype.kind == "f" and any(np.isnan(block).any() for block in blocks(values))


def _table(part: Part, config: DataConfig) -> Raw:
    """A table, by way of pandas."""
    from astropy.table import Table

    path = part.path
    require_extra("pandas", "tabular", str(path))
    with damage_named(path, _WORDS):
        packed = path.stat().st_size if part.is_packed else None
        require_room(str(path), part.header["NAXIS1"] * part.header["NAXIS2"], packed)
        table = Table.read(path, hdu=part.place)
        wide = [name for name in table.colnames if table[name].ndim > 1]
        for name in wide:
            if name not in (config.drop or ()):
                need = f"one value in each row; --data.drop {name} leaves the column out"
                raise DataError(f"{path}: column {name!r}", f"arrays of shape {table[name].shape[1:]}", need)
        table.remove_columns(wide)
        table.convert_bytestring_to_unicode()
        frame = table.to_pandas()
    drop = tuple(name for name in config.drop or () if name not in wide)
    raw = read_frame(frame, str(path), replace(config, drop=drop or None))
    return replace(raw, notes=(*part.note, *raw.notes))


def write_fits(name: str, spec: DataSpec, data: Array) -> Iterator[tuple[str, bytes]]:
    """A file for each sample, with the cards that all files of the data share."""
    from astropy.io import fits

    about: Any = spec.origin
    for i, values in enumerate(in_type(data, np.dtype(about["dtype"] or data.dtype))):
        unit, buffer = fits.PrimaryHDU(np.ascontiguousarray(values)), io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # of long keywords, which become HIERARCH again
            unit.header.extend(about["cards"] or (), unique=True)
            unit.writeto(buffer)
        yield f"{name}/{i:06d}.fits", buffer.getvalue()


FORMAT = Format(
    name="fits",
    words="a table or arrays in .fits files",
    recognises=holds(*(f".{each}{packed}" for each in ("fits", "fit", "fts") for packed in ("", ".gz", ".fz"))),
    read=read_fits,
    options=("key", *PICTURES, *TABLES),
    packages=("astropy",),
    extra="astro",
    write=write_fits,
    read_one=_read,
)
