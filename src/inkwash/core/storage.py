"""All writing to disk goes through this module. Each operation calls one hook, so a test can log it or make it fail.

A file that bears its name is complete: it is written under a hidden name, synced, and only then renamed.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from inkwash.core.errors import CheckpointError, RunInUseError, StorageError

hook: Callable[[str, Path], None] = lambda operation, path: None  # noqa: E731
"""A function that is called before every operation, with its name and its path; tests replace it."""


@contextmanager
def _operation(name: str, path: Path) -> Iterator[None]:
    try:
        hook(name, path)
        yield
    except OSError as error:
        raise StorageError(str(path), error.strerror or str(error), f"a file system that can {name} it") from error


def write(path: Path, content: bytes) -> None:
    """Write a new file."""
    with _operation("write", path), path.open("wb") as file:
        file.write(content)


def sync(path: Path) -> None:
    """Force a file, or the list of a folder's entries, to the disk."""
    with _operation("sync", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder its name in one step; a file replaces an older one of that name."""
    with _operation("rename", target):
        source.replace(target)


def make_folder(path: Path) -> None:
    """Make a folder and any missing folders above it, and force them to the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    with _operation("make", path):
        path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it."""
    with _operation("remove", path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file."""
    with _operation("append", path), path.open("ab") as file:
        file.write(content)


def replace(path: Path, content: bytes) -> None:
    """Write a file so that its name holds either the old content or the new at any moment.

    Raises:
        StorageError: an operation failed; nothing of the new content is left.
    """
    hidden = path.with_name(f".{path.name}.new")
    with leaving_nothing(hidden):
        write(hidden, content)
        sync(hidden)
        rename(hidden, path)
    sync(path.parent)


def unused(path: Path) -> Path:
    """A path beside this one at which there is nothing: the same name with a number, from 2."""
    beside = (path.with_name(f"{path.name}-{k}") for k in itertools.count(2))
    return next(each for each in beside if not each.exists())


@contextmanager
def leaving_nothing(hidden: Path) -> Iterator[None]:
    """Remove a file or folder that is being written if an operation on it fails: a full disk shall not stay full."""
    try:
        yield
    except StorageError:
        with suppress(StorageError):
            remove(hidden)
        raise


def scratch(size: int) -> IO[bytes]:
    """A file of so many bytes in the folder for temporary files; it has no name, and ends with its last map."""
    with _operation("write", Path(tempfile.gettempdir())):
        file = tempfile.TemporaryFile(prefix="inkwash-")  # noqa: SIM115
        file.truncate(size)
    return file


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file. The lock is released when the process ends, however it ends.

    Raises:
        RunInUseError: another process holds it.
    """
    with _operation("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunInUseError(str(path.parent), "a run that another trainer holds", "a free one") from None
        yield
    finally:
        os.close(descriptor)


def dump_json(plain: Any) -> bytes:
    """Plain data as JSON. Null stands for a number that is not finite."""
    return (json.dumps(_finite(plain), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def dump_line(plain: Any) -> bytes:
    """Plain data as one line of JSON. Null stands for a number that is not finite."""
    return (json.dumps(_finite(plain), allow_nan=False) + "\n").encode()


def _finite(plain: Any) -> Any:
    """Plain data with None for NaN and infinity, which JSON cannot hold."""
    if isinstance(plain, Mapping):
        return {name: _finite(value) for name, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def parse_json(content: bytes, where: str, need: str = "the file as inkwash wrote it") -> Any:
    """Read strict JSON, which has no duplicate keys and no NaN or infinity.

    Args:
        content: of a file.
        where: the file, for errors.
        need: what should be there, for errors.

    Raises:
        CheckpointError: the content is anything else.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    def finite(text: str) -> float:
        value = float(text)
        return value if abs(value) < float("inf") else refuse(text)

    try:
        return json.loads(content, object_pairs_hook=unique, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, f"damaged JSON ({error})", need) from None
