"""Small runs, and ways to stop, damage and poison them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inkwash.commands import cli
from inkwash.core import storage
from inkwash.core.config import Config, DataConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.data import pictures
from inkwash.training import reporter, summary
from inkwash.training.checkpoint import list_checkpoints
from inkwash.training.kept import sealed

torch.set_num_threads(1)  # a forked child must not wait for threads that only its parent has

STEPS, SAVE_EVERY = 12, 3
GROUPS = ("weights", "average", "averages", "proposal", "optimizer")


class Crash(BaseException):
    """Stands for the process being gone: nothing in the library may catch it."""


def points(path: Path, count: int = 40) -> Path:
    """Save `count` points of the plane as .npy."""
    np.save(path, np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32))
    return path


def tiny(source: object, **train: Any) -> Config:
    """The options of the smallest run worth training."""
    options = {"steps": STEPS, "batch_size": 8, "save_every": SAVE_EVERY, "monitor_every": 10**6, "log_every": 1}
    return Config(
        str(source),
        process=ProcessConfig("cosine", 10),
        network=NetworkConfig(width=8, depth=1, dropout=0.0),
        train=replace(TrainConfig(), **(options | train)),
    )


def tiny_bits(folder: Path) -> Config:
    """`tiny` for bits, which have a process of their own; they are written into a folder."""
    np.save(folder / "bits.npy", np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8))
    bits = {"data": DataConfig(levels=2), "process": ProcessConfig("cosine", 10, "bernoulli")}
    return replace(tiny(folder / "bits.npy"), **bits)


def train_words(source: object, out: object, *more: object) -> list[str]:
    """The command line that trains the run of `tiny`."""
    small = "--network.width 8 --network.depth 1 --network.dropout 0.0 --process.steps 10 --process.schedule cosine"
    words = ["train", source, "--out", out, *small.split()]
    words += ["--train.steps", STEPS, "--train.batch-size", 8, "--train.save-every", SAVE_EVERY]
    return [str(word) for word in (*words, "--train.monitor-every", 10**6, "--train.log-every", 1, *more)]


def without_pictures(monkeypatch: Any) -> None:
    """Train without pictures and with cheap samples and bounds: these take most of the time of a tiny run."""
    for name in ("save_samples", "save_curve"):
        monkeypatch.setattr(pictures, name, lambda *content: None)
    monkeypatch.setattr(reporter, "_PREVIEW_STEPS", 2)
    for name in ("_STEPS", "_TERMS", "_TRIAL"):
        monkeypatch.setattr(summary, name, 2)


def with_quick_evaluation(monkeypatch: Any) -> None:
    """Evaluate with fewer trees, shuffles, pixels and steps."""
    from sklearn import ensemble  # here, since most users of this module never import it

    from inkwash.evaluation import calibration, metrics, pictures as exhibits

    for name in ("RandomForestClassifier", "RandomForestRegressor"):
        monkeypatch.setattr(ensemble, name, _smaller(getattr(ensemble, name)))
    of_many = metrics.two_sample_test
    monkeypatch.setattr(metrics, "two_sample_test", lambda a, b, seed=0, shuffles=2: of_many(a, b, seed, 2))
    monkeypatch.setattr(exhibits, "_MAP_SIDE", 10)
    monkeypatch.setattr(calibration, "_IMPUTING_STEPS", 5)


def _smaller(forest: Callable[..., Any]) -> Callable[..., Any]:
    return lambda trees, **options: forest(30, **options)


def run_cli(words: Sequence[object]) -> int:
    """Run a command in this process; its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        try:
            cli.main([str(word) for word in words])
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def newest(run: Path) -> Path:
    """The newest checkpoint of a run, valid or not."""
    return list_checkpoints(run / "checkpoints")[0]


def digests(run: Path) -> dict[str, str]:
    """The checksum of each file of tensors in the newest checkpoint, and its step."""
    folder = newest(run)
    files = {name: hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() for name in GROUPS}
    return {"step": folder.name, **files}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextlib.contextmanager
def hooked(hook: Callable[[str, Path], None]) -> Iterator[None]:
    """Call `hook` before every file operation."""
    before, storage.hook = storage.hook, hook
    try:
        yield
    finally:
        storage.hook = before


def fail_at(k: int, error: BaseException) -> Callable[[str, Path], None]:
    """A hook that raises `error` at the operation of number `k`, counted from 0, and ever after."""
    count = iter(range(10**9))

    def hook(operation: str, path: Path) -> None:
        if next(count) >= k:
            raise error

    return hook


def resealed(text: str) -> str:
    """The text of a file that is kept in a run, with the checksum of what it says now, if it is plain enough to have
    one."""
    try:
        plain = json.loads(text)
        return json.dumps(sealed({name: value for name, value in plain.items() if name != "sha256"}))
    except (ValueError, AttributeError):
        return text


def fail_once(k: int, error: BaseException) -> Callable[[str, Path], None]:
    """A hook that raises `error` at the operation of number `k`, counted from 0, and at no other."""
    count = iter(range(10**9))

    def hook(operation: str, path: Path) -> None:
        if next(count) == k:
            raise error

    return hook


def count_operations(action: Callable[[], object]) -> int:
    """How many file operations an action takes."""
    seen: list[str] = []
    with hooked(lambda operation, path: seen.append(operation)):
        action()
    return len(seen)


def at_step(step: int, action: Callable[[], object]) -> Callable[[str, Path], None]:
    """A hook that acts once, when the metrics of a step (logged every step) are about to be written."""
    count = iter(range(1, 10**9))

    def hook(operation: str, path: Path) -> None:
        if operation == "append" and next(count) == step:
            action()

    return hook


def fork(action: Callable[[], object], log: Path | None = None) -> int:
    """Run an action in a child process, its output going to `log`; the child's process id.

    The child ends with the code of the `SystemExit` that the action raises, with 0, or with 99 after another error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        action()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(child: int, seconds: float = 60.0) -> int:
    """The exit code of a child; of one killed by a signal, minus its number."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"child still there after {seconds} s")


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"still not so after {seconds} s")
        time.sleep(0.002)


def flip_bit(path: Path, bit: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def rewrite(checkpoint: Path, files: dict[str, bytes]) -> None:
    """Replace files of a checkpoint and list them in a manifest that fits, as a forger would."""
    for name, content in files.items():
        (checkpoint / name).write_bytes(content)
    contents = {p.name: p.read_bytes() for p in checkpoint.iterdir() if p.name != "manifest.json"}
    (checkpoint / "manifest.json").write_bytes(manifest_of(contents))


def manifest_of(contents: dict[str, bytes]) -> bytes:
    """A manifest that fits, whatever the files hold."""
    files = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in sorted(contents.items())}
    return (json.dumps({"format": 1, "files": files}, indent=2) + "\n").encode()


@dataclass
class Node:
    """A file or folder of a simulated disk: what the system shows, and what would survive a power cut."""

    is_folder: bool
    content: bytes = b""
    synced: bytes | None = None
    entries: dict[str, Node] = field(default_factory=dict)
    synced_entries: dict[str, Node] = field(default_factory=dict)


@dataclass
class Disk:
    """Replays file operations, knowing what is synced: a file keeps its content, and a folder its entries, only then.

    Args:
        root: the real folder that the operations are done in; taken to be on the disk already.
    """

    root: Path
    top: Node = field(default_factory=lambda: Node(True))
    pending: tuple[str, Path, set[str]] | None = None

    def hook(self, operation: str, path: Path) -> None:
        """To be called before each operation: replays the one before, which is done by now."""
        self.settle()
        parent = path.parent
        names = {p.name for p in parent.iterdir()} if parent.is_dir() else set()
        self.pending = (operation, path, names)

    def settle(self) -> None:
        """Replay the operation that was pending."""
        if self.pending is None:
            return
        operation, path, names = self.pending
        self.pending = None
        if operation == "make":
            self._make(path)
        elif operation in ("write", "append"):
            self._write(path)
        elif operation == "sync":
            self._sync(self._node(path))
        elif operation == "rename":
            folder = self._node(path.parent).entries
            (source,) = names - {p.name for p in path.parent.iterdir()}
            folder[path.name] = folder.pop(source)
        elif operation == "remove" and path.parent.is_dir():
            self._node(path.parent).entries.pop(path.name, None)

    def survivors(self, folder: Path, *, entries_synced: bool) -> None:
        """Write into `folder` what a power cut leaves: file contents as synced, folder entries as synced or all."""
        self._copy(self.top, folder, entries_synced)

    def _copy(self, node: Node, target: Path, entries_synced: bool) -> None:
        if not node.is_folder:
            target.write_bytes(node.synced or b"")
            return
        target.mkdir(exist_ok=True)
        for name, child in (node.synced_entries if entries_synced else node.entries).items():
            self._copy(child, target / name, entries_synced)

    def _node(self, path: Path) -> Node:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node.entries[part]
        return node

    def _make(self, path: Path) -> None:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node.entries.setdefault(part, Node(True))

    def _write(self, path: Path) -> None:
        node = self._node(path.parent).entries.setdefault(path.name, Node(False))
        node.content = path.read_bytes()

    def _sync(self, node: Node) -> None:
        if node.is_folder:
            node.synced_entries = dict(node.entries)
        else:
            node.synced = node.content
