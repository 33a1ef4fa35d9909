"""Sound in `.wav` and `.flac` files: a recording is a series, whose values are the numbers that the file stores.

The numbers are not scaled: 16 bits are whole numbers from -32768 to 32767, and 8 bits of a `.wav` file are 0 to 255.
More bits have too many levels and are read as real numbers, float32 for 24 bits and float64 for 32, which hold all of
them. libsndfile, which reads the files, has whole numbers in the highest of 32 bits, from where they are shifted back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig, Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError
from inkwash.data.formats.folders import Files, damage_named, files_of, holds
from inkwash.data.formats.format import Format
from inkwash.data.ragged import padded
from inkwash.data.raw import Raw, require_room
from inkwash.data.spec import DataSpec
from inkwash.data.stored import stored

_SUFFIXES = {"FLAC": ".flac"}
_ENDLESS = (1 << 32) - 1
"""What stands for the size of a recording that was written as a stream."""


@dataclass(frozen=True)
class Depth:
    """How a file stores a value, and what the value is here.

    Args:
        words: what messages call it.
        read: the type that libsndfile reads it as.
        dtype: the type of values.
        shift: how many bits higher a whole number stands where libsndfile has it.
        middle: the value of silence.
    """

    words: str
    read: str
    dtype: str
    shift: int = 0
    middle: int = 0

    def decoded(self, numbers: Array) -> Array:
        """Values, of the numbers that libsndfile reads."""
        return ((numbers >> self.shift) + self.middle if self.shift else numbers).astype(self.dtype)

    def encoded(self, values: Array) -> Array:
        """Numbers for libsndfile to write; whole ones are rounded and stay within the bits."""
        if self.read.startswith("float"):
            return values.astype(self.read)
        highest = 1 << (np.dtype(self.read).itemsize * 8 - 1 - self.shift)
        numbers = np.clip(np.rint(values.astype(np.float64)) - self.middle, -highest, highest - 1).astype(np.int64)
        return (numbers << self.shift).astype(self.read)


_DEPTHS = {
    "PCM_U8": Depth("8 bits", "int32", "uint8", 24, 128),
    "PCM_S8": Depth("8 bits", "int32", "int8", 24),
    "PCM_16": Depth("16 bits", "int16", "int16"),
    "PCM_24": Depth("24 bits", "int32", "float32", 8),
    "PCM_32": Depth("32 bits", "int32", "float64"),
    "FLOAT": Depth("real numbers of 32 bits", "float32", "float32"),
    "DOUBLE": Depth("real numbers of 64 bits", "float64", "float64"),
}


@dataclass(frozen=True)
class Recording:
    """One file of sound.

    Args:
        path: where it is.
        places: how many values each channel has.
        channels: how many there are.
        rate: places a second.
        subtype: how libsndfile calls the type of its values.
        container: how libsndfile calls the kind of file.
    """

    path: Path
    places: int
    channels: int
    rate: int
    subtype: str
    container: str

    @property
    def depth(self) -> Depth:
        """How it stores values."""
        return _DEPTHS[self.subtype]

    @property
    def kept(self) -> dict[str, Any]:
        """What a run keeps of it."""
        return {"rate": self.rate, "subtype": self.subtype, "container": self.container}

    def describe(self) -> str:
        """What all recordings of a folder must share."""
        return f"{self.rate} Hz, {self.channels} channel(s), {self.depth.words}"

    def values(self, start: int = 0, places: int = -1) -> Array:
        """Values from a place on, `(L,)`, or `(L, C)` with several channels.

        Raises:
            DamagedError: the file ends early or does not decode.
        """
        import soundfile

        with damage_named(self.path, "file of sound"):
            numbers, _ = soundfile.read(self.path, places, start, dtype=self.depth.read)
            if len(numbers) != (self.places - start if places < 0 else places):
                raise ValueError(f"it ends after {start + len(numbers)} places")
            return self.depth.decoded(numbers)


def read_sound(path: Path, config: DataConfig) -> Raw:
    """A folder of recordings, each an example, or pieces of equal length of one recording or of several.

    Raises:
        DataError: a file that cannot be read, recordings of several rates, depths or numbers of channels, or one
            recording without `data.window`.
    """
    files = files_of(path, FORMAT.recognises)
    found, damaged = _recordings(files, config)
    first, layout = found[0], _layout(found[0])
    for each in found:
        if each.describe() != first.describe():
            raise DataError(str(each.path), each.describe(), f"{first.describe()}, like {first.path.name}")
    folders = dict(zip(files.paths, files.folders, strict=True))
    labels = np.array([folders[each.path] for each in found])
    raw = _pieces(path, found, labels, config.window) if config.window else _complete(path, found, labels, config)
    notes = (f"{len(found)} recording(s), {first.describe()}", *raw.notes, *damaged, *files.notes)
    return replace(raw, layout=layout, notes=notes, kept=first.kept)


def _read_one(path: Path, config: DataConfig) -> Raw:
    """Recordings as long as they are, of which there may be only one."""
    found = [_recording(each) for each in files_of(path, FORMAT.recognises).paths]
    raw = padded([each.values() for each in found], 0, _layout(found[0]), str(path), config)
    return replace(raw, kept=found[0].kept)


def _layout(recording: Recording) -> Layout:
    return "NL" if recording.channels == 1 else "NLC"


def _recordings(files: Files, config: DataConfig) -> tuple[list[Recording], tuple[str, ...]]:
    """The recordings, and a note on those that are damaged and left out."""
    found, damaged = [], list[DamagedError]()
    for path in files.paths:
        try:
            found.append(_recording(path))
        except DamagedError as error:
            if not config.skip_damaged:
                raise
            damaged.append(error)
    if not found:
        raise damaged[0]
    names = ", ".join(error.where for error in damaged[:50])
    return found, (f"{len(damaged)} damaged file(s) left out: {names}",) if damaged else ()


def _recording(path: Path) -> Recording:
    import soundfile

    with damage_named(path, "file of sound"):
        size, promised = path.stat().st_size, _promised(path)
        if size < promised:  # libsndfile reads what is there
            raise ValueError(f"{size} bytes of {promised}")
        about = soundfile.info(path)
    if about.subtype not in _DEPTHS:
        raise DataError(str(path), f"sound of type {about.subtype}", "whole or real numbers: PCM, FLOAT or DOUBLE")
    if not about.frames:
        raise DataError(str(path), "no place", "a recording of at least one")
    return Recording(path, about.frames, about.channels, about.samplerate, about.subtype, about.format)


def _promised(path: Path) -> int:
    """Where the values of a .wav file end, by its headers; 0 if these do not say it, or it is another file."""
    with path.open("rb") as file:
        is_wav = file.read(12)[:4] == b"RIFF"
        while is_wav and len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                return file.tell() + size if size < _ENDLESS else 0
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _complete(root: Path, found: Sequence[Recording], labels: Array, config: DataConfig) -> Raw:
    """Each recording as an example; where lengths differ, a shorter one is NaN beyond its end."""
    if len(found) == 1:
        need = "a folder of several, or --data.window N, which cuts it into pieces of N places"
        raise DataError(str(root), f"one recording of {found[0].places} places", need)
    size = np.dtype(found[0].depth.dtype).itemsize
    require_room(str(root), len(found) * max(each.places for each in found) * found[0].channels * size)
    arrays = [each.values() for each in found]
    return padded(arrays, 0, _layout(found[0]), str(root), config, {"folder": labels})


def _pieces(root: Path, found: Sequence[Recording], labels: Array, window: int) -> Raw:
    """All recordings cut into pieces from their beginning on, read when they are needed if they are large."""
    counts = np.array([each.places // window for each in found])
    total, rest = int(counts.sum()), sum(each.places for each in found) - int(counts.sum()) * window
    if not total:
        longest = max(each.places for each in found)
        raise DataError("data.window", window, f"at most {longest}, the places of the longest recording of {root}")
    origin = np.repeat(np.arange(len(found)), counts)
    start = window * (np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts))

    def read(first: int, end: int) -> Array:
        return np.stack([found[origin[i]].values(int(start[i]), window) for i in range(first, end)])

    channels = () if found[0].channels == 1 else (found[0].channels,)
    data = stored(str(root), (total, window, *channels), found[0].depth.dtype, read)
    note = f"cut into {total} pieces of {window} places; {rest} places at the ends are left out"
    return Raw(data, notes=(note,), labels={"folder": labels[origin]})


def write_sound(name: str, spec: DataSpec, data: Array) -> Iterator[tuple[str, bytes]]:
    """A file for each sample, with the rate, the depth and the kind of file of the data."""
    import soundfile

    about: Any = spec.origin
    depth = _DEPTHS[about["subtype"]]
    for i, values in enumerate(data):
        there = np.flatnonzero(~np.isnan(values.reshape(len(values), -1)).all(1))
        buffer, numbers = io.BytesIO(), depth.encoded(values[: there[-1] + 1 if len(there) else 0])
        soundfile.write(buffer, numbers, about["rate"], about["subtype"], format=about["container"])
        yield f"{name}/{i:06d}{_SUFFIXES.get(about['container'], '.wav')}", buffer.getvalue()


FORMAT = Format(
    name="sound",
    words="sound in .wav or .flac files",
    recognises=holds(".wav", ".flac"),
    read=read_sound,
    options=("window", "skip_damaged"),
    packages=("soundfile",),
    extra="audio",
    write=write_sound,
    read_one=_read_one,
    same=("rate", "subtype"),
)
