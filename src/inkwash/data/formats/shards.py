"""Shards of webdataset (https://github.com/webdataset/webdataset): tar files in which an example is all members that
are called alike up to the first dot of the name, such as `0001.png` and `0001.cls`.

The members are listed once. After that an example is read where it lies in its shard, in any order, and nothing is
unpacked to the disk. The examples are in the order of the shards, and of their keys within each.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.arrays import array_in
from inkwash.data.cells import is_finite
from inkwash.data.columns import listed
from inkwash.data.decode import Decoded, decode
from inkwash.data.formats.braces import expanded
from inkwash.data.formats.folders import holds, paths_in
from inkwash.data.formats.format import Format, in_one
from inkwash.data.images import SUFFIXES, few_bits_note, fewer_levels, folders_of, is_hidden
from inkwash.data.named import read_named
from inkwash.data.pictures import png_of, to_files
from inkwash.data.raw import DAMAGE, Raw, exists, readable
from inkwash.data.spec import DataSpec
from inkwash.data.stored import beside, stored

_ENDINGS = (".tar", ".tar.gz", ".tgz")
_BLOCK, _LONGEST_HEADER, _MOST = 512, 1 << 20, 1 << 28
_NEED = "a complete tar file"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Shards:
    """Where the members of shards lie.

    Args:
        where: what messages call them.
        paths: the shards.
        keys: what each example is called, with the folder of it, in the order of the examples.
        members: by the ending of their names, without the first dot: the example, the shard, the first byte and the
            number of bytes of each member, int64 `(n, 4)`, in the order of the examples.
    """

    where: str
    paths: tuple[Path, ...]
    keys: tuple[str, ...]
    members: dict[str, Array]

    def name(self, ending: str, i: int) -> str:
        """What messages call a member of example `i`."""
        shard = int(self.members[ending][i, 1])
        return f"{self.paths[shard]}/{self.keys[i]}.{ending}"

    def require_complete(self, ending: str) -> None:
        """Refuse an ending that some example does not have, or that a member of more than 256 MiB has.

        Raises:
            DataError: there is such an example.
        """
        members = self.members[ending]
        if len(members) < len(self.keys):
            i = int(np.setdiff1d(np.arange(len(self.keys)), members[:, 0])[0])
            raise DataError(f"{self.where}, example {self.keys[i]}", f"no .{ending}", f"one, as {self.keys[0]} has")
        if members[:, 3].max() > _MOST:
            i = int(members[:, 3].argmax())
            raise DataError(self.name(ending, i), f"{members[i, 3]} bytes in one member", f"at most {_MOST}")

    def content(self, ending: str, i: int) -> bytes:
        """The bytes of a member of example `i`."""
        _, shard, start, size = map(int, self.members[ending][i])
        with self.paths[shard].open("rb", buffering=0) as file:
            file.seek(start)
            found = file.read(size)
        if len(found) < size:
            raise EOFError(f"it ends after {len(found)} of {size} bytes")
        return found

    def each(self, ending: str, read: Callable[[bytes], Any]) -> list[Any]:
        """What `read` makes of the member of each example."""
        found = []
        for i in range(len(self.keys)):
            with readable(self.name(ending, i), "a complete member", (*DAMAGE, KeyError), what="unreadable"):
                found.append(read(self.content(ending, i)))
        return found


def is_pattern(text: str) -> bool:
    """Whether a text stands for several shards, as in `shards-{000..009}.tar`."""
    return "{" in text and text.lower().endswith(_ENDINGS)


def read(path: Path, config: DataConfig) -> Raw:
    """The examples of a shard, of those of a folder, or of those that a pattern names.

    Raises:
        DataError: a shard that is missing, damaged, compressed or holds something else than files; no arrays of the
            name that an option has; or arrays that differ.
    """
    shards = _listed(path)
    arrays = [ending for ending in shards.members if _is_picture(ending) or _is_array(ending)]
    if config.key is None and len(arrays) != 1:
        need = f"one of {listed(arrays)}" if arrays else f"members such as 0001{SUFFIXES[0]} or 0001.npy"
        raise DataError(f"{path}: data.key", f"members that end in {listed(shards.members)}", need)
    words = {name: (ending, field) for ending in shards.members for name, field in _words_in(shards, ending)}
    folder = {"folder": folders_of([PurePosixPath(each) for each in shards.keys])}
    options = replace(config, key=config.key or arrays[0], labels=None if config.labels == "folder" else config.labels)
    names = [*arrays, *words]
    raw = read_named(
        str(path),
        names,
        options,
        partial(_examples, shards),
        lambda name: _beside(shards, words, name, as_number=name == config.condition),
    )
    return replace(raw, labels={**folder, **raw.labels})


def _listed(path: Path) -> Shards:
    """What lies where in the shards that a path stands for."""
    paths, keys, members = _paths_of(path), list[str](), dict[str, list[Array]]()
    for shard, each in enumerate(paths):
        found = _members(each)
        order = {key: len(keys) + i for i, key in enumerate(sorted({key for key, _ in found}))}
        keys += order
        by_ending: dict[str, list[tuple[int, int, int, int]]] = {}
        for (key, ending), (start, size) in found.items():
            by_ending.setdefault(ending, []).append((order[key], shard, start, size))
        for ending, rows in by_ending.items():
            members.setdefault(ending, []).append(np.array(sorted(rows), np.int64))
    if not keys:
        raise DataError(str(path), "no member with an ending", "examples such as 0001.png and 0001.cls")
    return Shards(str(path), paths, tuple(keys), {ending: np.concatenate(rows) for ending, rows in members.items()})


def _paths_of(path: Path) -> tuple[Path, ...]:
    """The shards that a path stands for, all of which are there and are not compressed."""
    if exists(path) and path.is_dir():
        paths: Any = sorted(each for each in paths_in(path) if each.name.lower().endswith(_ENDINGS))
    else:
        paths = (path,) if exists(path) else map(Path, expanded(str(path)))
    found = []
    for each in paths:
        if not exists(each):
            raise DataError(str(each), "no such file", f"every shard of {path}")
        if not each.name.lower().endswith(".tar"):
            need = "a plain .tar file, whose members can be read in any order; gunzip makes it one"
            raise DataError(str(each), "a compressed tar file", need)
        found.append(each)
    return tuple(found)


class _Headers(io.FileIO):
    """A file of which no header can take much memory, whatever length it claims."""

    def read(self, size: int | None = -1) -> bytes:
        """At most 1 MiB."""
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""


def _members(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """For each key and ending of a shard, the first byte and the number of bytes of the member.

    Names are divided as webdataset does it; what is called `__…__` is about the shard, and has no example.
    """
    found: dict[tuple[str, str], tuple[int, int]] = {}
    with readable(str(path), _NEED, (*DAMAGE, tarfile.TarError)), _Headers(path) as file:
        for info in _walk(path, file):
            name = PurePosixPath(info.name)
            key, _, ending = name.name.partition(".")
            if not key or not ending or info.isdir() or is_hidden(name) or name.parts[0].startswith("__"):
                continue
            place = (str(name.parent / key), ending.lower())
            if place in found:
                raise DataError(str(path), f"two members called {info.name}", "a name of its own for each member")
            found[place] = info.offset_data, info.size
    return found


def _walk(path: Path, file: _Headers) -> Iterator[tarfile.TarInfo]:
    """The plain members of a shard; none of them is remembered, and the end is where its mark is."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would hold all of them
            _require_plain(path, info)
            yield info
        file.seek(archive.offset)
        if (block := file.read(_BLOCK)) != bytes(_BLOCK):  # tarfile takes a damaged header for the end
            got = "a damaged header" if block else "no end"
            raise tarfile.ReadError(f"{got} at byte {archive.offset}")


def _require_plain(path: Path, info: tarfile.TarInfo) -> None:
    name = PurePosixPath(info.name)
    flaws = {
        "a name outside of the archive": name.is_absolute() or ".." in name.parts or "\\" in info.name,
        "a link": info.issym() or info.islnk(),
        "a file with holes": info.issparse(),
        "a device or a pipe": not (info.isreg() or info.isdir()) and not (info.issym() or info.islnk()),
    }
    for flaw, there in flaws.items():
        if there:
            raise DataError(f"{path}/{info.name}", flaw, "plain files in a tar file")


def _is_picture(ending: str) -> bool:
    return f".{ending}".endswith(SUFFIXES)


def _is_array(ending: str) -> bool:
    return f".{ending}".endswith(".npy")


def _examples(shards: Shards, ending: str) -> Raw:
    """The arrays of one ending, each of which is decoded when it is needed."""
    shards.require_complete(ending)
    read = partial(_decoded, shards, ending)
    first = read(0)
    need = (first.describe(), first.bits)

    def rows(begin: int, end: int) -> Array:
        found = []
        for i in range(begin, end):
            each = read(i)
            if (each.describe(), each.bits) != need:
                raise DataError(shards.name(ending, i), each.describe(), f"{need[0]} like {shards.keys[0]}.{ending}")
            found.append(fewer_levels(each.values.copy(), {each.bits})[0])
        return np.concatenate(found)

    example, levels = fewer_levels(first.values.copy(), {first.bits})
    data = stored(shards.where, (len(shards.keys), *example.shape[1:]), example.dtype.newbyteorder("="), rows)
    done = tuple(f"picture {shards.keys[0]} {words}, as are others that need it" for words in first.done)
    notes = (f"{len(shards.keys)} examples in {len(shards.paths)} shard(s)", *done, *few_bits_note({first.bits}))
    return Raw(data, first.layout, levels, notes, kept={"ending": ending})


def _decoded(shards: Shards, ending: str, i: int) -> Decoded:
    """Example `i`: a picture or an array."""
    name = shards.name(ending, i)
    if _is_picture(ending):
        return decode(name, partial(shards.content, ending, i))
    return Decoded(_array(name, shards.content(ending, i))[None], None)


def _array(name: str, content: bytes) -> Array:
    with readable(name, "a complete .npy file of numbers"):
        found = array_in(io.BytesIO(content), len(content))
    if found.dtype.kind not in "biuf":
        raise DataError(name, f"values of type {found.dtype}", "real numbers")
    return found


def _words_in(shards: Shards, ending: str) -> list[tuple[str, str | None]]:
    """The names of labels and conditions that members of an ending hold, and the fields of JSON that they stand in;
    those of an example say what there is."""
    if _is_picture(ending) or _is_array(ending):
        return []
    if not f".{ending}".endswith((".json", ".jsn")):
        return [(ending, None)]
    with readable(shards.name(ending, 0), "a member of JSON", what="unreadable"):
        first = json.loads(shards.content(ending, 0))
    return [(f"{ending}.{field}", field) for field in first] if isinstance(first, dict) else [(ending, None)]


def _beside(shards: Shards, words: dict[str, tuple[str, str | None]], name: str, as_number: bool) -> Array:
    """Labels or a condition: arrays, fields of JSON, or text, which may be whole numbers, as in `.cls`; of a condition,
    which `as_number` says it is, real numbers, too."""
    ending, field = words.get(name, (name, None))
    shards.require_complete(ending)
    size = int(shards.members[ending][:, 3].sum())

    def values() -> Any:
        if _is_array(ending):
            return np.stack(shards.each(ending, partial(_array, f"{shards.where}: .{ending}")))
        if f".{ending}".endswith((".json", ".jsn")):
            return shards.each(ending, partial(_field, field))
        texts = shards.each(ending, lambda content: content.decode().strip())
        if all(map(_INTEGER.fullmatch, texts)):
            return [int(text) for text in texts]
        return [float(text) for text in texts] if as_number and all(map(is_finite, texts)) else texts

    return beside(f"{shards.where}: .{name}", size, values)


def _field(field: str | None, content: bytes) -> Any:
    """The number or text in a member of JSON."""
    found = json.loads(content)
    value = found if field is None else found[field]
    if not isinstance(value, str | int | float):
        raise ValueError(f"{field or 'it'} is no number and no text")
    return value


def dump(spec: DataSpec, data: Array) -> bytes:
    """Samples as a shard: PNG pictures if these hold the values as they are, and .npy files otherwise."""
    content, as_pictures = io.BytesIO(), spec.is_image and spec.is_as_in_files and spec.shape[0] <= 4
    before = str(dict(spec.origin or {}).get("ending", "")).rpartition(".")[0]  # `left` of `left.png`
    ending = f"{before}.{'png' if as_pictures else 'npy'}".strip(".")
    with tarfile.open(fileobj=content, mode="w") as archive:
        for i, each in enumerate(to_files(spec, data) if as_pictures else data):
            member = png_of(each) if as_pictures else _npy_of(each)
            info = tarfile.TarInfo(f"{i:06d}.{ending}")
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


def _npy_of(example: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, example, allow_pickle=False)
    return buffer.getvalue()


FORMAT = Format(
    name="webdataset",
    words="shards of webdataset in .tar files",
    recognises=holds(*_ENDINGS),
    read=read,
    options=("key",),
    suffix=".tar",
    write=in_one(dump),
)
