"""The runs of a folder, as far as their small files tell: nothing heavy is imported, so that the page answers at once.

A run is known by the name of its folder. A name is looked up among those that are there, and never made into a path.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from inkwash.core.config import Config

_MARKS = ("checkpoints", "config.json")
_MOST_LINES = 2000


@dataclass(frozen=True)
class Shelf:
    """Where runs lie.

    Args:
        folder: holds a folder for each run.
        also: runs that lie elsewhere.
    """

    folder: Path
    also: tuple[Path, ...] = ()

    def runs(self) -> dict[str, Path]:
        """The folder of each run by its name."""
        here = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        found = [path for path in (*here, *self.also) if any((path / mark).exists() for mark in _MARKS)]
        return {path.name: path for path in found if path.name.isprintable()}


def facts(path: Path) -> dict[str, Any]:
    """What a list of runs shows of one: its data, its kind, and how far it is."""
    config, last = _json(path / "config.json"), metrics(path, 1)
    train = config.get("train")
    return {
        "source": _only(str, config.get("source")),
        "model": _only(str, config.get("model")),
        "step": _only(int, last[-1].get("step")) if last else 0,
        "steps": _only(int, train.get("steps")) if isinstance(train, dict) else None,
    }


def metrics(path: Path, most: int = _MOST_LINES) -> list[dict[str, Any]]:
    """The newest lines of the file of metrics; lines that were cut short are left out."""
    file = path / "metrics.jsonl"
    try:
        lines = file.read_bytes().split(b"\n")[:-1]
    except OSError:  # there is none yet, or the run is gone
        return []
    found = []
    for line in lines[-most:]:
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(plain, dict):
            found.append(plain)
    return found


def newest_samples(path: Path) -> Path | None:
    """The last picture of samples that was made while the run trained."""
    return max((path / "samples").glob("step-*.png"), default=None)


def resuming_words(path: Path) -> list[str] | None:
    """The words of the command that resumes a run, from its options; None for a run without any."""
    plain = _json(path / "config.json")
    if not plain.get("source"):
        return None
    return ["train", str(plain.pop("source")), "--out", str(path), *_words(plain, Config())]


def _words(plain: dict[str, Any], usual: Any, where: str = "") -> list[str]:
    """Options as words, as far as they differ from what they are by default."""
    words: list[str] = []
    for item in fields(usual):
        value, default = plain.get(item.name), getattr(usual, item.name)
        if is_dataclass(default) and isinstance(value, dict):
            words += _words(value, default, f"{where}{item.name}.")
        elif value is not None and value != (list(default) if isinstance(default, tuple) else default):
            words += _option(f"{where}{item.name}".replace("_", "-"), value, isinstance(default, bool))
    return words


def _option(name: str, value: Any, is_flag: bool) -> list[str]:
    """An option as words; a flag takes no value, while one that may be left open does."""
    if is_flag:
        before, _, last = name.rpartition(".")
        return [f"--{name}" if value else f"--{before}.no-{last}"]
    return [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]


def _only(kind: type, value: Any) -> Any:
    """A value of a file that anyone may have written, if it is of the kind that belongs there."""
    return value if isinstance(value, kind) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}
