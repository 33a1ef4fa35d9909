"""Folders of files of one format, each of which holds examples: which files count, and what a damaged one is called."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from inkwash.core.errors import InkwashError
from inkwash.core.shapes import Array
from inkwash.data.decode import DamagedError
from inkwash.data.images import HIDDEN, SUFFIXES, counted, folders_of, is_hidden
from inkwash.data.raw import short

_LOOKED_AT = 10_000


def holds(*suffixes: str, beside: tuple[str, ...] = SUFFIXES) -> Callable[[Path], bool]:
    """Recognises a file by how its name ends, and a folder with such a file.

    Args:
        suffixes: the ends of names.
        beside: other ends, with one of which the folder is of another format.
    """

    def recognises(path: Path) -> bool:
        if not path.is_dir():
            return path.name.lower().endswith(suffixes)
        names = [each.name.lower() for each in paths_in(path)]
        names = [name for name in names if name.endswith((*suffixes, *beside))]
        return bool(names) and all(name.endswith(suffixes) for name in names)

    return recognises


def paths_in(folder: Path) -> list[Path]:
    """What says of what a folder is: the first 10,000 files in and below it that are not hidden."""
    return list(islice(_shown(folder), _LOOKED_AT))


def _shown(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = (name for name in folders if not name.startswith(HIDDEN))
        yield from (Path(root, name) for name in names if not name.startswith(HIDDEN))


@dataclass(frozen=True)
class Files:
    """The files of one format that a path stands for.

    Args:
        root: the path: one file, or a folder.
        paths: the files, in the order of their paths below the folder.
        notes: which others are not read.
    """

    root: Path
    paths: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def folders(self) -> Array:
        """The folder of each file, `(len(paths),)`, below the one that all have in common."""
        return folders_of([self._name(path) for path in self.paths])

    def _name(self, path: Path) -> PurePosixPath:
        return PurePosixPath(path.relative_to(self.root).as_posix() if path != self.root else path.name)


def files_of(root: Path, is_one: Callable[[Path], bool]) -> Files:
    """The files at a path.

    Args:
        root: a file, or a folder that is looked through with those in it.
        is_one: whether a file is of the format.

    Raises:
        DataError: the folder has none.
    """
    if not root.is_dir():
        return Files(root, (root,), ())
    every = {PurePosixPath(path.relative_to(root).as_posix()): path for path in root.rglob("*") if path.is_file()}
    shown = sorted(name for name in every if not is_hidden(name))
    paths = tuple(every[name] for name in shown if is_one(every[name]))
    others = counted([name for name in shown if every[name] not in {*paths}])
    return Files(root, paths, (f"not read: {others}",) if others else ())


@contextmanager
def damage_named(where: Path, words: str) -> Iterator[None]:
    """Turn whatever the library of a format raises for a damaged file into a `DamagedError`, and keep its warnings to
    itself.

    Args:
        where: the file.
        words: what it should be, such as "NIfTI file".
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InkwashError, MemoryError):
        raise
    except Exception as error:  # what damaged bytes make these libraries raise has no common base
        need = f"a complete {words}; --data.skip-damaged leaves it out of a folder"
        raise DamagedError(str(where), f"no readable {words} ({short(error)})", need) from None
