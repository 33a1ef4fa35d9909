"""Inject faults into inkwash by the thousand, and print what it survived: a campaign against `docs/reliability.md`.

    python benchmarks/faults.py                  # about ten minutes
    python benchmarks/faults.py --scale 0.1      # a tenth of the tries
    python benchmarks/faults.py --only damage options

The table is in Markdown: the promise, how often it was tried, how often it held, and the seconds that this took. What
did not hold is listed below it, with the number that repeats it. The exit code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from kills import digests
from PIL import Image

import inkwash as iw
from inkwash.commands import cli
from inkwash.core import storage
from inkwash.core.errors import InkwashError
from inkwash.core.options import from_json, to_json
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint

Outcome = str | None
"""What went wrong in a try; None if the promise held."""
Trial = Callable[["Ground", random.Random], Outcome]


@dataclass(frozen=True)
class Ground:
    """What the tries damage: a small run, its data, and a folder to work in.

    Args:
        folder: to work in.
        data: the data of the run, an .npy file.
        run: a finished run.
    """

    folder: Path
    data: Path
    run: Path

    @classmethod
    def prepared(cls, folder: Path) -> Ground:
        """Data and a run in a folder."""
        ground = cls(folder, folder / "points.npy", folder / "run")
        np.save(ground.data, np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
        assert ground.command("train", ground.data, "--out", ground.run)[0] == 0  # noqa: S101
        return ground

    def command(self, name: str, *words: object) -> tuple[int, str]:
        """Run a command in this process: its exit code, and what it wrote to standard error."""
        small = [*SMALL, "--train.steps", "12", "--train.save-every", "3"] if name == "train" else []
        errors = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            try:
                cli.main([name, *map(str, words), *small])
            except SystemExit as end:
                return int(end.code or 0), errors.getvalue()
        return 0, errors.getvalue()

    def fresh(self, name: str = "copy") -> Path:
        """A copy of the run to damage."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.copytree(self.run, self.folder / name))


SMALL = ["--network.width", "8", "--network.depth", "1", "--train.batch-size", "8", "--process.steps", "10"]


def process_of(*words: object) -> subprocess.Popen[bytes]:
    """A command in its own process."""
    code = "from inkwash.commands.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=-3, stderr=subprocess.PIPE)


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


def kill(ground: Ground, chance: random.Random) -> Outcome:
    """A run that is killed at any moment resumes to the same bits."""
    run = ground.folder / "killed"
    shutil.rmtree(run, ignore_errors=True)
    words = ["train", ground.data, "--out", run, *SMALL, "--train.steps", 12, "--train.save-every", 3]
    victim = process_of(*words)
    time.sleep(chance.uniform(1.5, 6))
    victim.kill()
    victim.communicate()
    code, errors = ground.command("train", ground.data, "--out", run)
    same = code == 0 and digests(run) == digests(ground.run)
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
    folder = ground.folder / "odd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for i in range(1 if suffix != ".png" else 2):
        (folder / f"{i}{suffix}").write_bytes(content)
    return raises_ours(lambda: iw.load_dataset(folder if suffix == ".png" else folder / f"0{suffix}"))


def full_disk(ground: Ground, chance: random.Random) -> Outcome:
    """A command whose disk is full at any operation ends with 6, and leaves nothing hidden."""
    run, out, count = ground.fresh(), ground.folder / "drawn", iter(range(10**9))
    shutil.rmtree(out, ignore_errors=True)
    at, before = chance.randrange(1, 12), storage.hook

    def hook(operation: str, path: Path) -> None:
        if next(count) == at and operation != "remove":
            raise OSError(28, "No space left on device")

    storage.hook = hook
    try:
        code, errors = ground.command("sample", run, "-n", 4, "--steps", 2, "--out", out)
    finally:
        storage.hook = before
    left = [path.name for path in ground.folder.rglob("*.new")]
    return f"left {left}" if left else ended(code, errors, {0, 6})


def two_seeds(ground: Ground, chance: random.Random) -> Outcome:
    """Sample i of a seed is the same however many are drawn."""
    model, seed = iw.load(ground.run), chance.randrange(10**6)
    many, few = chance.randrange(2, 40), chance.randrange(1, 40)
    first, second = (model.sample(n, seed=seed, steps=3) for n in (many, few))
    both = min(many, few)
    return None if np.array_equal(first[:both], second[:both]) else f"seed {seed}: {many} and {few} differ"


def stop(ground: Ground, chance: random.Random) -> Outcome:
    """A command that a signal stops at any moment says so in one line, and leaves nothing half-written."""
    number, out = chance.choice([signal.SIGINT, signal.SIGTERM]), ground.folder / "stopped"
    shutil.rmtree(out, ignore_errors=True)
    name = chance.choice(["sample", "train"])
    words: list[object] = ["sample", ground.run, "-n", 2000, "--out", out]
    if name == "train":
        words = ["train", ground.data, "--out", out, *SMALL, "--train.steps", 4000]
    process = process_of(*words)
    time.sleep(chance.uniform(0.3, 5))
    os.kill(process.pid, number)
    errors = process.communicate(timeout=60)[1].decode()
    left = [path.name for path in out.rglob("*.new")] if out.exists() else []
    return f"left {left}" if left else ended(process.returncode, errors, {0, 128 + number})


def reading(ground: Ground, chance: random.Random) -> Outcome:
    """A reader meets a whole checkpoint at any moment of a training."""
    run = ground.folder / "read"
    shutil.rmtree(run, ignore_errors=True)
    trainer = process_of("train", ground.data, "--out", run, *SMALL, "--train.steps", 60, "--train.save-every", 1)
    while not list_checkpoints(run / "checkpoints") and trainer.poll() is None:
        time.sleep(0.01)
    while trainer.poll() is None:
        try:
            iw.load(run)
        except Exception as error:
            trainer.kill()
            return f"{type(error).__name__}: {error}"[:200]
    trainer.communicate()
    return None


TRIALS: dict[str, tuple[Trial, int]] = {
    "kill": (kill, 12),
    "damage": (damage, 3000),
    "options": (option, 5000),
    "files": (odd_file, 1500),
    "disk": (full_disk, 100),
    "seeds": (two_seeds, 60),
    "signals": (stop, 20),
    "readers": (reading, 2),
}
"""Each promise by a short name, and how often it is tried."""


@dataclass
class Tally:
    """What came of the tries of one promise."""

    tries: int = 0
    seconds: float = 0.0
    failed: list[tuple[int, str]] = field(default_factory=list)


def attempt(name: str, ground: Ground, tries: range, seed: int) -> Tally:
    """Try a promise with the chance of each number."""
    trial, tally, began = TRIALS[name][0], Tally(), time.monotonic()
    for number in tries:
        outcome = trial(ground, random.Random(hashlib.sha256(f"{seed} {name} {number}".encode()).digest()))
        tally.tries += 1
        if outcome is not None:
            tally.failed.append((number, outcome))
    tally.seconds = time.monotonic() - began
    return tally


def rows(tallies: dict[str, Tally]) -> Iterator[str]:
    """The table, and below it what failed."""
    yield "| promise | tries | held | seconds |"
    yield "| --- | --- | --- | --- |"
    for name, tally in tallies.items():
        promise = (TRIALS[name][0].__doc__ or "").splitlines()[0].rstrip(".")
        yield f"| {promise} | {tally.tries} | {tally.tries - len(tally.failed)} | {tally.seconds:.0f} |"
    for name, tally in tallies.items():
        for number, outcome in tally.failed[:10]:
            yield f"{name} {number}: {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the tries")
    parser.add_argument("--only", nargs="+", choices=sorted(TRIALS), default=sorted(TRIALS), help="some promises")
    parser.add_argument("--number", type=int, help="one try again, by its number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ground, tallies = Ground.prepared(Path(folder)), {}
        for name in options.only:
            count = max(1, round(options.scale * TRIALS[name][1]))
            tries = range(count) if options.number is None else range(options.number, options.number + 1)
            tallies[name] = attempt(name, ground, tries, options.seed)
            print(f"{name}: {tallies[name].tries} tries, {len(tallies[name].failed)} failed", file=sys.stderr)
    print("\n".join(rows(tallies)))
    sys.exit(any(tally.failed for tally in tallies.values()))


if __name__ == "__main__":
    main()
