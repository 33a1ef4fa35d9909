"""A campaign of faults against what inkwash promises: a trial for each promise, to be tried by the thousand.

A trial draws its fault from a generator of its own, so that its number repeats it. Commands that are to be killed,
stopped or read from run in forked children, since these need not import torch again.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faults import count_operations, digests, fail_once, fork, hooked, points, run_cli, train_words, wait
from PIL import Image

import inkwash as iw
from inkwash import __main__ as entry
from inkwash.core.errors import InkwashError
from inkwash.core.options import from_json, to_json
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint
from inkwash.training.run import read_header

Outcome = str | None
"""What went wrong in a try; None if the promise held."""
Hook = Callable[[str, Path], None]
Trial = Callable[["Ground", random.Random], Outcome]


def ignore(operation: str, path: Path) -> None:
    """No fault."""


def sends(number: int, after: int, seconds: float) -> Hook:
    """A hook that sends this process a signal some moments after so many operations."""
    count = iter(range(10**9))

    def hook(operation: str, path: Path) -> None:
        if next(count) == after:
            threading.Timer(seconds, os.kill, (os.getpid(), number)).start()

    return hook


@dataclass(frozen=True)
class Ground:
    """What the tries damage: a small run, its data, and a folder to work in.

    Args:
        folder: to work in.
        data: the data of the run, an .npy file.
        run: a finished run.
        operations: how many file operations its training took.
    """

    folder: Path
    data: Path
    run: Path
    operations: int

    @classmethod
    def prepared(cls, folder: Path) -> Ground:
        """Data and a run in a folder."""
        data, run = points(folder / "points.npy", 64), folder / "run"
        operations = count_operations(lambda: command(train_words(data, run)))
        if not list_checkpoints(run / "checkpoints"):
            raise RuntimeError(f"no training in {run}")
        return cls(folder, data, run, operations)

    def empty(self, name: str) -> Path:
        """A path at which there is nothing."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def fresh(self) -> Path:
        """A copy of the run to damage."""
        return Path(shutil.copytree(self.run, self.empty("copy")))

    def child(self, words: Sequence[object], hook: Hook = ignore) -> int:
        """The number of a child that runs a command, as `inkwash` does, and writes what it says to the file `log`.

        Args:
            words: the command.
            hook: called in the child before every file operation.
        """
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, entry._end) for number in numbers]  # for the child to have them at once

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            with hooked(hook):
                sys.exit(run_cli(words))

        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # until what it says goes to its log
        try:
            return fork(run, self.folder / "log")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            for each, handler in zip(numbers, before, strict=True):
                signal.signal(each, handler)

    def log(self) -> str:
        """What the last child has said."""
        return (self.folder / "log").read_text()


def command(words: Sequence[object]) -> tuple[int, str]:
    """Run a command in this process: its exit code, and what it wrote to standard error."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        return run_cli(words), errors.getvalue()


def ended(code: int, errors: str, allowed: set[int]) -> Outcome:
    """Whether a command ended with a code that is allowed, and with one line if it failed."""
    lines = [line for line in errors.splitlines() if not line.startswith("warning:")]
    if code not in allowed or len(lines) != (code != 0):
        return f"exit {code}, {len(lines)} lines: {lines[-1:]}"
    return None


def raises_ours(action: Callable[[], object]) -> Outcome:
    """Whether an action succeeds, or raises an error of inkwash in one short line."""
    try:
        action()
    except InkwashError as error:
        return None if "\n" not in str(error) and len(str(error)) < 2000 else "a long message"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def raises_nothing(action: Callable[[], object]) -> Outcome:
    """Whether an action succeeds."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


def kill(ground: Ground, chance: random.Random) -> Outcome:
    """A run that is killed at any moment resumes to the same bits."""
    words = train_words(ground.data, ground.empty("killed"))
    after = chance.randrange(ground.operations)
    wait(ground.child(words, sends(signal.SIGKILL, after, chance.uniform(0, 0.01))))
    code, errors = command(words)
    same = code == 0 and digests(ground.folder / "killed") == digests(ground.run)
    return None if same else f"exit {code}, {errors[-100:]}, or other bits"


def damage(ground: Ground, chance: random.Random) -> Outcome:
    """A checkpoint that differs in a bit, or in its length, is not loaded."""
    newest = list_checkpoints(ground.fresh() / "checkpoints")[0]
    file = chance.choice(sorted(newest.iterdir()))
    content = bytearray(file.read_bytes() or b"x")
    place = chance.randrange(len(content))
    kinds = {
        "flip": lambda: content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :],
        "cut": lambda: content[:place],
        "add": lambda: content + bytes([chance.randrange(256)]),
        "swap": lambda: content[:place] + content[place + 1 :] + content[place : place + 1],
    }
    damaged = kinds[chance.choice(sorted(kinds))]()
    if damaged == file.read_bytes():
        return None
    file.write_bytes(damaged)
    try:
        read_checkpoint(newest, ("weights", "average", "optimizer"))
    except iw.CheckpointError:
        return None
    return f"{file.name} with a changed byte {place} loads"


def option(ground: Ground, chance: random.Random) -> Outcome:
    """A bad value of an option is refused in one line."""
    plain = to_json(iw.Config("digits"))
    section = chance.choice([name for name, value in plain.items() if isinstance(value, dict)])
    name = chance.choice(sorted(plain[section]))
    bad: list[Any] = [math.nan, math.inf, -math.inf, 1e308, -1, 10**30, "", "x" * 10**5, [], {}, [None], True, [[1]]]
    value = chance.choice(bad)
    plain[section][name] = value
    try:
        config = from_json(iw.Config, plain)
    except iw.ConfigError as error:
        return None if len(str(error)) < 2000 else "a long message"
    except Exception as error:
        return f"{section}.{name} = {value!r:.40}: {type(error).__name__}"
    kept = getattr(getattr(config, section), name)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{section}.{name} = {value} is taken"
    return None if kept == (tuple(value) if isinstance(value, list) else value) else f"{section}.{name} became {kept!r}"


def odd_file(ground: Ground, chance: random.Random) -> Outcome:
    """A damaged file of data is read, or refused in one line, and nothing is trained."""
    suffix = chance.choice([".npy", ".npz", ".csv", ".png", ".gz"])
    buffer, values = io.BytesIO(), np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    if suffix == ".npz":
        np.savez_compressed(buffer, x=values)
    elif suffix == ".csv":
        buffer.write(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(30)))
    elif suffix == ".png":
        Image.fromarray(values[0]).save(buffer, "PNG")
    else:
        np.save(buffer, values)
    content = bytearray(buffer.getvalue())
    for _ in range(chance.randrange(1, 4)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    content = content[: chance.randrange(1, len(content) + 1)] if chance.random() < 0.3 else content
    folder = ground.empty("odd")
    folder.mkdir()
    for i in range(1 if suffix != ".png" else 2):
        (folder / f"{i}{suffix}").write_bytes(content)
    return raises_ours(lambda: iw.load_dataset(folder if suffix == ".png" else folder / f"0{suffix}"))


def full_disk(ground: Ground, chance: random.Random) -> Outcome:
    """A command whose disk is full at any operation ends with 6, and leaves nothing hidden."""
    words = ["sample", ground.fresh(), "-n", 4, "--steps", 2, "--out", ground.empty("drawn")]
    full, at = OSError(28, "No space left on device"), chance.randrange(1, 12)
    with hooked(fail_once(at, full)):
        code, errors = command(words)
    left = [path.name for path in ground.folder.rglob("*.new")]
    return f"left {left}" if left else ended(code, errors, {0, 6})


def two_counts(ground: Ground, chance: random.Random) -> Outcome:
    """Sample i of a seed is the same however many are drawn."""
    model, seed = iw.load(ground.run), chance.randrange(10**6)
    many, few = chance.randrange(2, 40), chance.randrange(1, 40)
    first, second = (model.sample(n, seed=seed, steps=3) for n in (many, few))
    both = min(many, few)
    return None if np.array_equal(first[:both], second[:both]) else f"seed {seed}: {many} and {few} differ"


def stop(ground: Ground, chance: random.Random) -> Outcome:
    """Training that a signal stops at any moment has saved its last step, and says so in one line."""
    number, run = chance.choice([signal.SIGINT, signal.SIGTERM]), ground.empty("stopped")
    endless = ["--train.steps", 10**6, "--train.save-every", 10**6, "--quiet"]
    sent = sends(number, chance.randrange(60), chance.uniform(0, 0.01))
    code = wait(ground.child(train_words(ground.data, run, *endless), sent))
    step = re.search(r"^stopped at step (\d+) of ", ground.log(), re.M)
    if step and read_header(run)[0].step != int(step[1]):
        return f"{step[0]}, and has not saved it"
    return ended(code, ground.log(), {128 + number})


def stop_drawing(ground: Ground, chance: random.Random) -> Outcome:
    """A command that a signal stops at any moment says so in one line, and leaves nothing half-written."""
    number, out = chance.choice([signal.SIGINT, signal.SIGTERM]), ground.empty("drawn")
    child = ground.child(["sample", ground.run, "-n", 10**6, "--out", out, "--quiet"])
    time.sleep(chance.uniform(0, 1))
    os.kill(child, number)
    code = wait(child)
    left = [path.name for path in out.rglob("*.new")] if out.exists() else []
    return f"left {left}" if left else ended(code, ground.log(), {0, 128 + number})


def reading(ground: Ground, chance: random.Random) -> Outcome:
    """A reader meets a whole checkpoint at any moment of a training."""
    run, outcome, status = ground.empty("read"), None, (0, 0)
    trainer = ground.child(train_words(ground.data, run, "--train.steps", 60, "--train.save-every", 1, "--quiet"))
    seen = False
    while not status[0]:
        seen = seen or bool(list_checkpoints(run / "checkpoints"))
        outcome = outcome or (raises_nothing(lambda: iw.load(run)) if seen else None)
        status = os.waitpid(trainer, os.WNOHANG)
    return outcome or ended(os.waitstatus_to_exitcode(status[1]), ground.log(), {0})


TRIALS: dict[str, tuple[Trial, int]] = {
    "kill": (kill, 40),
    "damage": (damage, 3000),
    "options": (option, 5000),
    "files": (odd_file, 1500),
    "disk": (full_disk, 100),
    "counts": (two_counts, 60),
    "signals": (stop, 40),
    "signals-drawing": (stop_drawing, 20),
    "readers": (reading, 5),
}
"""Each promise by a short name, and how often the whole campaign tries it."""


@dataclass
class Tally:
    """What came of the tries of one promise."""

    tries: int = 0
    seconds: float = 0.0
    failed: list[tuple[int, str]] = field(default_factory=list)


def attempt(name: str, ground: Ground, tries: range, seed: int = 0) -> Tally:
    """Try a promise with the chance of each number."""
    trial, tally, began = TRIALS[name][0], Tally(), time.monotonic()
    for number in tries:
        outcome = trial(ground, random.Random(hashlib.sha256(f"{seed} {name} {number}".encode()).digest()))
        tally.tries += 1
        if outcome is not None:
            tally.failed.append((number, outcome))
    tally.seconds = time.monotonic() - began
    return tally
