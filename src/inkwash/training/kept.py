"""What is learned or measured after training is kept in the run, with its checksum, for one checkpoint."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from inkwash.core import storage
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.options import from_json, to_json


class Kept(Protocol):
    """What a file keeps: a frozen dataclass, with the fingerprint of the checkpoint that it was made for."""

    @property
    def fingerprint(self) -> str: ...

    def check(self) -> None:
        """Raise a `ConfigError` if the parts do not go together."""


K = TypeVar("K", bound=Kept)


def kept(file: Path, kind: type[K], mark: str, make: Callable[[], K]) -> tuple[K, bool]:
    """What a file keeps for a checkpoint, and whether it was made just now because nothing was kept for it.

    Args:
        file: the file, which need not exist.
        kind: the kind of what is kept.
        mark: the fingerprint of the checkpoint: more training makes what is kept stale.
        make: makes it.

    Raises:
        CheckpointError: the file is damaged.
    """
    if file.exists() and (found := _read(file, kind)).fingerprint == mark:
        return found, False
    made = make()
    storage.make_folder(file.parent)
    storage.replace(file, storage.dump_json(sealed(to_json(made))))
    return made, True


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Plain data with its SHA-256."""
    return {**content, "sha256": hashlib.sha256(storage.dump_line(content)).hexdigest()}


def _read(file: Path, kind: type[K]) -> K:
    try:
        plain = storage.parse_json(file.read_bytes(), str(file))
        content = {name: value for name, value in dict(plain).items() if name != "sha256"}
        if plain != sealed(content):
            raise ConfigError("sha256", plain.get("sha256"), "that of the content")
        found = from_json(kind, content)
        found.check()
    except (ConfigError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(str(file), f"another content ({error})", "the file as inkwash wrote it") from None
    return found
