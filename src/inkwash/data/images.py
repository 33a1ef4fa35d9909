"""Pictures from a folder, a zip file, a list or one file of several pages; none is resized or cropped.

A zip file is read in place. Members that are encrypted, that are archives themselves, or whose name leads out of the
archive are refused.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError, Decoded, Opener, decode
from inkwash.data.raw import Raw, readable, require_distinct, require_room, room_for

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
HIDDEN = (".", "__MACOSX")
"""What the names of files and folders begin with that are not looked at."""
_MOST_PACKED = 1 << 28
_MOST_NAMED = 50


def read_folder(folder: Path, config: DataConfig) -> Raw:
    """All pictures in and below a folder, in the order of their paths.

    Raises:
        DataError: there are no pictures, or they cannot be read or differ in size, mode or depth.
    """
    files = files_in(folder)
    return _collected(folder, {name: partial(_content, path) for name, path in files.items()}, config)


def files_in(folder: Path) -> dict[PurePosixPath, Path]:
    """All files in and below a folder, and all that have the name of a picture, by their paths within it."""
    paths = {PurePosixPath(path.relative_to(folder).as_posix()): path for path in folder.rglob("*")}
    return {name: path for name, path in paths.items() if _is_picture(name) or path.is_file()}


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # to read a pipe or a device may never end
        raise OSError("it is no regular file")
    require_room(str(path), path.stat().st_size)
    return path.read_bytes()


def read_zip(path: Path, config: DataConfig) -> Raw:
    """All pictures of a zip file, as `read_folder` reads them.

    Raises:
        DataError: it is no zip file, it has a member that is refused, or `read_folder` would refuse its pictures.
    """
    damage = (zipfile.BadZipFile, OSError, ValueError)
    with readable(str(path), "a complete zip file of pictures", damage), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        require_distinct(str(path), [info.filename for info in members])
        for info in members:
            _require_plain(path, info)
        found: dict[PurePosixPath, Opener] = {}
        found |= {PurePosixPath(info.filename): partial(archive.read, info) for info in members}
        return _collected(path, found, config)


def read_paged(path: Path, config: DataConfig) -> Raw:
    """A picture file of several pages.

    Raises:
        DataError: it cannot be read, or has one page.
    """
    return stack(str(path), {str(path): partial(decode, str(path), partial(_content, path), config.pages)}, config)[0]


def is_picture_file(path: Path) -> bool:
    """Whether a file has the name of a picture."""
    return path.suffix.lower() in SUFFIXES


def _require_plain(path: Path, info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename)
    flaws = {
        "an encrypted file": info.flag_bits & 1,
        "an archive in an archive": name.suffix.lower() == ".zip",
        "a name outside of the archive": name.is_absolute() or ".." in name.parts or "\\" in info.filename,
        f"{info.file_size} bytes in one picture": info.file_size > _MOST_PACKED and _is_picture(name),
    }
    for flaw, there in flaws.items():
        if there:
            raise DataError(f"{path}/{info.filename}", flaw, "a plain zip file of pictures")


def is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(HIDDEN) for part in name.parts)


def _is_picture(name: PurePosixPath) -> bool:
    return name.suffix.lower() in SUFFIXES and not is_hidden(name)


def _collected(root: Path, found: dict[PurePosixPath, Opener], config: DataConfig) -> Raw:
    """The pictures among files, all of one size, mode and depth; the labels "folder" name the folder of each.

    Notes count what was done to them, and the files that are not read.
    """
    names = sorted(name for name in found if _is_picture(name))
    others = counted([name for name in sorted(found) if not _is_picture(name) and not is_hidden(name)])
    if not names:
        got = f"no picture, but {others}" if others else "no picture"
        raise DataError(str(root), got, f"one with {', '.join(SUFFIXES)} files in it")
    decoders = {str(root / name): partial(decode, str(root / name), found[name], config.pages) for name in names}
    raw, files = stack(str(root), decoders, config)
    folders = folders_of(names)[files]
    notes = raw.notes
    if (folders != folders[0]).any():
        notes = (*notes, f"pictures of {len(np.unique(folders))} folders, taken together")
    if others:
        notes = (*notes, f"not read: {others}")
    return replace(raw, notes=notes, labels={"folder": folders})


def counted(names: list[PurePosixPath]) -> str:
    """How many files have each of the five most frequent endings, and how many have others."""
    counts = Counter(name.suffix.lower() or "without an ending" for name in names)
    first = dict(counts.most_common(5))
    first |= {"of other endings": counts.total() - sum(first.values())} if len(counts) > 5 else {}
    return ", ".join(f"{count} {ending}" for ending, count in first.items())


def stack(
    root: str, found: Mapping[str, Callable[[], Decoded]], config: DataConfig, most: int | None = None
) -> tuple[Raw, Array]:
    """At least one picture, all of one size, mode and depth, as one array, with notes on what was done to them; and for
    each example the number of the picture that it comes from.

    Pictures of several pages are decoded twice, the first time to count their examples, unless `most` is known.

    Args:
        root: name of the source, for messages.
        found: what decodes each picture, by its name.
        config: what pages are, and whether damaged pictures are left out.
        most: the most examples that they hold.

    Raises:
        DataError: a picture that cannot be read, pictures that differ, or more than there is room for.
    """
    read = _Readable(found, config.skip_damaged)
    if most is None:
        most = sum(len(picture.values) for *_, picture in read) if config.pages else len(found)
    pile = _Pile(root, most)
    for i, name, picture in read:
        pile.add(i, name, picture)
    if not pile.files:
        raise read.damaged[0]
    if config.pages and not pile.pages:
        raise DataError("data.pages", config.pages, f"pictures of several pages; those of {root} have one")
    return pile.raw(read.notes()), np.array(pile.files)


class _Readable:
    """Pictures, by number and name, without those that are damaged if these are left out.

    Args:
        found: what decodes each picture, by its name.
        skip: whether damaged pictures are left out.
    """

    def __init__(self, found: Mapping[str, Callable[[], Decoded]], skip: bool) -> None:
        self.found, self.skip = found, skip
        self.damaged: list[DamagedError] = []

    def __iter__(self) -> Iterator[tuple[int, str, Decoded]]:
        self.damaged = []
        for i, (name, decoder) in enumerate(self.found.items()):
            try:
                yield i, name, decoder()
            except DamagedError as error:
                if not self.skip:
                    error.args = (f"{error}; --data.skip-damaged leaves it out",)
                    raise
                self.damaged.append(error)

    def notes(self) -> tuple[str, ...]:
        """How many were left out, and which."""
        if not self.damaged:
            return ()
        names = ", ".join(error.where for error in self.damaged[:_MOST_NAMED])
        more = f" and {len(self.damaged) - _MOST_NAMED} more" if len(self.damaged) > _MOST_NAMED else ""
        return (f"{len(self.damaged)} damaged picture(s) left out: {names}{more}",)


class _Pile:
    """Pictures of one size, mode and depth, and what was done to them.

    Args:
        root: name of the source, for messages.
        count: the most examples that they hold.
    """

    def __init__(self, root: str, count: int) -> None:
        self.root, self.count, self.pages = root, count, False
        self.files: list[int] = []
        self.notes: tuple[str, ...] = ()
        self.bits: set[int | None] = set()
        self.done: Counter[str] = Counter()

    def add(self, i: int, name: str, picture: Decoded) -> None:
        """Put the examples of picture `i` on top.

        Raises:
            DataError: they are unlike the first, or there is no room.
        """
        size, dtype = len(self.files), picture.values.dtype.newbyteorder("=")
        if not size:
            self.first_name, self.first = Path(name).name, picture
            self.data, self.notes = room_for(self.root, (self.count, *picture.values.shape[1:]), dtype)
        got, need = ((*each.values.shape[1:], each.values.dtype.name, each.layout) for each in (picture, self.first))
        if got != need:
            raise DataError(name, picture.describe(), f"{self.first.describe()} like {self.first_name}")
        self.data[size : size + len(picture.values)] = picture.values
        self.files += [i] * len(picture.values)
        self.bits.add(picture.bits)
        self.done.update(picture.done)
        self.pages |= picture.pages

    def raw(self, others: tuple[str, ...]) -> Raw:
        """All of them, with notes, and the `others` last."""
        data, levels = fewer_levels(self.data[: len(self.files)], self.bits)
        changes = [f"{count} {self.first.noun} {words}" for words, count in self.done.items()]
        notes = (*self.notes, *changes, *few_bits_note(self.bits), *others)
        return Raw(data, self.first.layout, levels, notes)


def fewer_levels(data: Array, bits: set[int | None]) -> tuple[Array, int | None]:
    """Pictures of fewer than 8 bits each at their own levels, if all have as many."""
    (same,) = bits if len(bits) == 1 else (None,)
    if same is None:
        return data, None
    np.floor_divide(data, 255 // ((1 << same) - 1), out=data)
    return (data.view(np.bool_), None) if same == 1 else (data, 1 << same)


def few_bits_note(bits: set[int | None]) -> tuple[str, ...]:
    """What is said of pictures of fewer than 8 bits."""
    few = sorted(each for each in bits if each is not None)
    if not few:
        return ()
    words = " and ".join(map(str, few))
    if len(bits) > 1:
        return (f"pictures of {words} bit(s) among others: their levels lie on 0 to 255",)
    return (f"pictures of {words} bit(s), read as {1 << few[0]} levels",)


def folders_of(names: Iterable[PurePosixPath]) -> Array:
    """The folder of each picture below the folder that all have in common; it is empty where there is none."""
    parents = [name.parent for name in names]
    top = os.path.commonpath(parents)
    return np.array([str(parent.relative_to(top)).removeprefix(".") for parent in parents])
