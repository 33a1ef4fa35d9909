"""Checkpoints: a folder of one JSON header and safetensors files, which a manifest lists with their checksums.

A checkpoint is complete or absent. It is written under a hidden name (files, then the manifest, each synced), renamed,
and read back; only then is an older one removed, and two are always kept. Reading verifies every byte and runs no code.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors, save as dump_tensors
from torch import Tensor

from inkwash.core import storage
from inkwash.core.errors import CheckpointError
from inkwash.core.machine import free_memory

FORMAT = 1
KEEP = 2
_HEADER, _MANIFEST = "header.json", "manifest.json"
_MANIFEST_LIMIT = 1 << 20

Tensors = Mapping[str, Tensor]


def save_checkpoint(folder: Path, step: int, header: dict[str, Any], groups: Mapping[str, Tensors]) -> Path:
    """Write a checkpoint, verify it, and remove all but the newest two.

    Args:
        folder: the folder that holds the checkpoints of a run.
        step: the number of training steps done, which names the checkpoint.
        header: plain data that describes the checkpoint.
        groups: groups of tensors, by name.

    Raises:
        StorageError: a file operation failed; earlier checkpoints are untouched.
        CheckpointError: the files that were read back differ from those that were written; they have been removed.
    """
    target, hidden = folder / f"step-{step:09d}", folder / f".step-{step:09d}.new"
    files = {_HEADER: storage.dump_json(header)}
    files |= {
        f"{name}.safetensors": dump_tensors({k: v.contiguous() for k, v in group.items()})
        for name, group in groups.items()
    }
    storage.remove(hidden)
    with storage.leaving_nothing(hidden):
        storage.make_folder(hidden)
        for name, content in [*files.items(), (_MANIFEST, _manifest(files))]:
            storage.write(hidden / name, content)
            storage.sync(hidden / name)
        storage.sync(hidden)
        if target.exists():
            storage.remove(target)
        storage.rename(hidden, target)
    storage.sync(folder)
    try:
        _verified_files(target, files)
    except CheckpointError:
        storage.remove(target)
        raise
    for old in _superseded(folder, target):
        storage.remove(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _superseded(folder: Path, newest: Path) -> list[Path]:
    """The checkpoints to remove: older ones, and those of later steps, which were passed over because of damage."""
    kept = [path for path in list_checkpoints(folder) if path <= newest][:KEEP]
    return [path for path in list_checkpoints(folder) if path not in kept]


def clear_unfinished(folder: Path) -> None:
    """Remove what saves that were cut short have left behind."""
    for path in folder.glob(".step-*.new"):
        storage.remove(path)


def read_checkpoint(path: Path, groups: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """The header and some groups of tensors of one checkpoint, after verifying all of it.

    Raises:
        CheckpointError: anything is missing, was added, or differs in a single bit; or a number is not finite.
    """
    names = {name: f"{name}.safetensors" for name in groups}
    files = _verified_files(path, (_HEADER, *names.values()))
    header = storage.parse_json(files[_HEADER], str(path / _HEADER))
    try:
        tensors = {name: parse_tensors(files[file]) for name, file in names.items()}
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(str(path), f"unreadable tensors ({error})", "a checkpoint as inkwash wrote it") from None
    if odd := first_not_finite(tensors):
        raise CheckpointError(f"{path}: {odd}", "numbers that are not finite", "a checkpoint as inkwash wrote it")
    return header, tensors


def first_not_finite(groups: Mapping[str, Tensors]) -> str | None:
    """The name of the first tensor that has an entry which is not finite."""
    tensors = (named for group in groups.values() for named in group.items())
    return next((name for name, tensor in tensors if not bool(tensor.isfinite().all())), None)


def fingerprint(path: Path) -> str:
    """SHA-256 of a checkpoint's manifest, which stands for every byte of the checkpoint.

    Raises:
        CheckpointError: there is no manifest.
    """
    return _digest(_read(path / _MANIFEST, _MANIFEST_LIMIT))


def require_same_tensors(found: Tensors, expected: Tensors, where: str) -> None:
    """Check that tensors have exactly the expected names, shapes and dtypes.

    Raises:
        CheckpointError: some tensor is missing, unexpected, or of another shape or dtype.
    """
    odd = sorted(found.keys() ^ expected.keys())
    if odd:
        raise CheckpointError(
            f"{where}: {odd[0]}", "a tensor too many" if odd[0] in found else "nothing", "those of its config"
        )
    for name, tensor in expected.items():
        got, need = (_kind(found[name]), _kind(tensor))
        if got != need:
            raise CheckpointError(f"{where}: {name}", got, need)


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {tensor.dtype}"


def _manifest(files: Mapping[str, bytes]) -> bytes:
    entries = {name: {"bytes": len(content), "sha256": _digest(content)} for name, content in sorted(files.items())}
    return storage.dump_json({"format": FORMAT, "files": entries})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verified_files(path: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The contents of the wanted files, after checking every file of the checkpoint against the manifest."""
    manifest = _read(path / _MANIFEST, _MANIFEST_LIMIT)
    plain = storage.parse_json(manifest, str(path / _MANIFEST))
    if isinstance(plain, dict) and plain.get("format") != FORMAT and "files" in plain:
        raise CheckpointError(str(path), f"format {plain.get('format')!r}", f"format {FORMAT}")
    sizes = _listed_sizes(plain)
    names = [name for name in _names(path) if name != _MANIFEST]
    contents = {name: _read(path / name, sizes.get(name, 0)) for name in names}
    if manifest != _manifest(contents):
        raise CheckpointError(str(path), _damage(plain, contents), "the files as its manifest lists them")
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise CheckpointError(str(path / missing[0]), "nothing", "a file")
    return {name: contents[name] for name in wanted}


def _names(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.iterdir())
    except OSError as error:
        raise CheckpointError(str(path), error.strerror or str(error), "a readable folder") from None


def _listed_sizes(manifest: Any) -> dict[str, int]:
    """The sizes of the files that a manifest lists; the rest of the manifest is checked after the files are read."""
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    entries = listed.items() if isinstance(listed, dict) else ()
    sizes = {name: entry.get("bytes") for name, entry in entries if isinstance(entry, dict)}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def _damage(manifest: Any, contents: Mapping[str, bytes]) -> str:
    """Which file differs from the manifest, in words."""
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(listed, dict):
        return "a damaged manifest"
    for name, content in contents.items():
        if listed.get(name) != {"bytes": len(content), "sha256": _digest(content)}:
            return f"a damaged {name}"
    return "a damaged manifest or a missing file"


def _read(path: Path, limit: int) -> bytes:
    """The content of a file, after checking its kind and size."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(str(path), "no regular file", "the file as inkwash wrote it")
        if found.st_size > limit:
            raise CheckpointError(str(path), f"{found.st_size} bytes", f"at most {limit}")
        if found.st_size > (free := free_memory()):
            raise CheckpointError(
                str(path), decimal(found.st_size), f"at most the memory that is free, {decimal(free)}"
            )
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(str(path), error.strerror or str(error), "a readable file") from None
