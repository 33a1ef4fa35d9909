"""One long training under every fault at once, beside the same training left alone: what it loses, keeps and leaks.

    python benchmarks/long_run.py --minutes 120

A small training is paced over the minutes. Again and again it is killed (SIGKILL) or stopped (SIGTERM) at a random
moment and started again by the same command. Its disk, a small tmpfs of its own, is filled twice while it trains. The
wall clock that it sees (`time.time`) jumps by days, forward and back. Two readers load and inspect the run all the
while. Then these must hold:

- every life ends with the exit code that the docs state, and with at most one line on standard error;
- no reader meets an error, or a line of the metrics that is no JSON;
- within each life and each reader, memory stays within 2 % of its median after a warm-up, and the number of open files
  within one;
- the metrics have each step once, with the numbers of the training left alone, and the last weights, averages and
  optimizer equal its own bit for bit.

Memory is what the process has made itself: its resident pages (RSS) but for those of files, such as the libraries of
torch. The kernel takes those of files back when it likes, and reads them again when they are used.

A life is a forked child, which need not import torch again. It needs Linux, and `unshare`, to mount the tmpfs. What is
measured lies in `--out` while it runs: the table of what there is so far comes from `--report`. The exit code is 1 if
anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kills import logged, saved

import inkwash as iw
from inkwash.commands import cli
from inkwash.core import storage
from inkwash.training import fit, reporter  # noqa: F401 (for its children to have them)
from inkwash.training.checkpoint import list_checkpoints

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from faults import digests, fork, wait

RATE = 2
"""Steps in a second."""
WARM = 300
"""Steps of a life, or polls of a reader, after which its memory counts."""
NOTED = 10
"""Steps between two notes of memory."""
TOLERANCE = 0.02
OPTIONS = "--network.width 8 --network.depth 1 --train.batch-size 8 --process.steps 10 --train.log-every 1"
SAVED = 50
"""Steps between two checkpoints."""
OFTEN = f"--train.save-every {SAVED} --train.monitor-every 250"
NEEDS = {"kill": {-signal.SIGKILL}, "stop": {143}, "full disk": {6}, "none": {0}}
"""The exit codes with which a life may end, by what is done to it."""


@dataclass(frozen=True)
class Place:
    """The files of a long run.

    Args:
        out: the folder of them all, on a disk that is never full.
    """

    out: Path

    @property
    def disk(self) -> Path:
        """Where the small disk is mounted."""
        return self.out / "disk"

    @property
    def run(self) -> Path:
        """The run that is troubled."""
        return self.disk / "run"

    def plan(self) -> dict[str, float]:
        """The number of steps, and when the first and last of them are due."""
        return json.loads((self.out / "plan.json").read_text())

    def words(self, run: Path) -> list[str]:
        """The command that trains."""
        often = [*OPTIONS.split(), *OFTEN.split(), "--train.steps", str(int(self.plan()["steps"])), "--quiet"]
        return ["train", str(self.out / "points.npy"), "--out", str(run), *often]

    def note(self, name: str, what: dict[str, Any]) -> None:
        """Add a line to a file of what was measured."""
        with (self.out / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(what) + "\n")

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What was measured so far."""
        file = self.out / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def child(self, name: str, action: Callable[[], object]) -> int:
        """The number of a child that does something; what it prints goes to a file."""
        return fork(action, self.out / f"{name}.log")

    def log(self, name: str) -> list[str]:
        """The lines that a child has printed, without warnings."""
        lines = (self.out / f"{name}.log").read_text().splitlines()
        return [line for line in lines if not line.startswith("warning:")]


def note_memory(place: Place, role: str, step: int) -> None:
    """Note what this process holds."""
    own = psutil.Process()
    held = own.memory_info()
    sizes = {"rss": held.rss, "own": held.rss - held.shared}
    place.note("memory", {"role": role, "pid": own.pid, "step": step, **sizes, "files": own.num_fds()})


def train(place: Place) -> None:
    """The trainer: `inkwash train`, each of whose steps waits until it is due, under a clock that jumps."""
    plan, steps, true_time = place.plan(), count(saved(place.run) + 1), time.time

    def jumping() -> float:
        clock = place.out / "clock"
        return true_time() + (float(clock.read_text() or 0) if clock.exists() else 0.0)

    def hook(operation: str, path: Path) -> None:
        if operation != "append":
            return
        step = next(steps)
        if step % NOTED == 0:
            note_memory(place, "trainer", step)
        due = plan["began"] + step / plan["steps"] * plan["seconds"]
        time.sleep(max(0.0, due - time.monotonic()))

    time.time, storage.hook = jumping, hook
    cli.main(place.words(place.run))


def last_lines(path: Path, most: int = 1 << 16) -> list[bytes]:
    """The whole lines among the last bytes of a file; as it grows they are no more, and take no more memory."""
    with path.open("rb") as file:
        began = max(0, file.seek(0, os.SEEK_END) - most)
        file.seek(began)
        return file.read(most).split(b"\n")[1 if began else 0 : -1]


def read(place: Place, role: str) -> None:
    """A reader, which polls until the end."""

    def load() -> None:
        iw.load(place.run).sample(1, seed=0, steps=2)
        for line in last_lines(place.run / "metrics.jsonl"):
            json.loads(line)

    def inspect() -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
            try:
                cli.main(["inspect", str(place.run)])
            except SystemExit as end:
                if end.code:
                    raise RuntimeError(errors.getvalue()) from end

    poll = {"load": load, "inspect": inspect}[role]
    while not list_checkpoints(place.run / "checkpoints"):
        time.sleep(0.1)
    for number in count(1):
        try:
            poll()
        except Exception as error:
            place.note("readers", {"role": role, "poll": number, "error": f"{type(error).__name__}: {error}"[:500]})
        if number % NOTED == 0:
            note_memory(place, role, number)
            place.note("polls", {"role": role, "poll": number})
        if (place.out / "done").exists():
            break
        time.sleep(0.5)


@contextlib.contextmanager
def small_disk(place: Place) -> Iterator[None]:
    """A disk of 16 MB; it is gone with this process and those that it started."""
    place.disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place.disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place.disk)], check=False)


def fill(place: Place) -> None:
    """Fill the disk to its last byte."""
    with (place.disk / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 8, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def live(place: Place, fault: str, seconds: float, chance: random.Random) -> dict[str, Any]:
    """One life of the trainer, what is done to it after some seconds, and how it ended. Half of the lives see the clock
    jump."""
    began, trainer = time.monotonic(), place.child("trainer", lambda: train(place))
    jump = chance.choice([0.0, chance.uniform(-400, 400) * 86400])
    is_over = ended_within(trainer, seconds / 2)
    (place.out / "clock").write_text(str(jump))
    if is_over or ended_within(trainer, seconds / 2) or fault == "none":
        fault = "none"
    elif fault == "full disk":
        fill(place)
    else:
        os.kill(trainer, {"kill": signal.SIGKILL, "stop": signal.SIGTERM}[fault])
    code = wait(trainer, 3600)
    (place.disk / "ballast").unlink(missing_ok=True)
    life = {"fault": fault, "code": code, "step": saved(place.run), "jump": jump, "lines": place.log("trainer")[-3:]}
    return life | {"lost": logged(place.run) - saved(place.run), "seconds": round(time.monotonic() - began, 1)}


def ended_within(child: int, seconds: float) -> bool:
    """Wait for some seconds, or for the end of a child, which is still to be waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.2)
    return False


def trouble(place: Place, seconds: float, chance: random.Random) -> None:
    """Let the run live again and again, until it is done."""
    end, full = time.monotonic() + seconds, [seconds / 3, seconds * 2 / 3]
    readers = {role: place.child(role, lambda role=role: read(place, role)) for role in ("load", "inspect")}
    while True:
        left = end - time.monotonic()
        is_full = bool(full) and seconds - left > full[0]
        fault, span = chance.choice(["kill", "stop"]), chance.uniform(20, 20 + seconds / 8)
        fault, span = ("none", 0.0) if left < span else ("full disk" if is_full else fault, span)
        life = live(place, fault, span, chance)
        place.note("lives", life)
        full = full[1:] if is_full else full
        if life["code"] == 0 or sum(map(odd, place.notes("lives"))) > 3:
            break
    (place.out / "done").touch()
    for role, child in readers.items():
        place.note("ends", {"role": role, "code": wait(child, 600), "lines": place.log(role)[-3:]})


def odd(life: dict[str, Any]) -> bool:
    """Whether a life ended otherwise than the docs state."""
    return life["code"] not in NEEDS[life["fault"]] or len(life["lines"]) > (life["fault"] != "none")


def steadiness(notes: list[dict[str, Any]]) -> Iterator[tuple[str, int, float, float, int]]:
    """For each process after its warm-up: its role, its number of steps or polls, how far its memory fell below its
    median and rose above it, and how many more files it had open at one moment than at another."""
    for (role, _), group in groupby(
        sorted(notes, key=lambda n: (n["role"], n["pid"])), lambda n: (n["role"], n["pid"])
    ):
        own = list(group)
        warm = [n for n in own if n["step"] >= own[0]["step"] + WARM]
        if len(warm) < 2:
            continue
        sizes, files = [n["own"] for n in warm], [n["files"] for n in warm]
        middle = statistics.median(sizes)
        fall, rise = 1 - min(sizes) / middle, max(sizes) / middle - 1
        yield role, warm[-1]["step"] - warm[0]["step"], fall, rise, max(files) - min(files)


def metrics(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run, strictly read, without the time that passed."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def compare(place: Place) -> None:
    """Note whether the run equals the one left alone; its disk is about to go."""
    alone, troubled = place.out / "alone", place.run
    steps = int(place.plan()["steps"])
    found = metrics(troubled)
    equal = {"steps": [line["step"] for line in found] == list(range(1, steps + 1))}
    equal |= {"metrics": found == metrics(alone), "digests": digests(alone) == digests(troubled)}
    equal |= {"left": [str(path) for path in troubled.rglob("*.new")] == []}
    place.note("equal", {"step": saved(troubled), **equal})


def rows(place: Place) -> Iterator[tuple[str, str, bool]]:
    """What was to hold, what was found, and whether it held."""
    lives = place.notes("lives")
    for fault in NEEDS:
        own = [life for life in lives if life["fault"] == fault]
        others = [life for life in own if odd(life)]
        name = "lives to the last step" if fault == "none" else f"lives ended by a {fault}"
        yield name, f"{len(own)}, {len(others)} ended otherwise {others[:2] or ''}".strip(), not others
    jumps = sum(life["jump"] != 0 for life in lives)
    yield "lives that saw the clock jump", f"{jumps} of {len(lives)}", True
    lost = {fault: max((x["lost"] for x in lives if x["fault"] == fault), default=0) for fault in NEEDS}
    yield (
        "most steps lost",
        ", ".join(f"{n} by a {fault}" for fault, n in lost.items()),
        lost["stop"] == 0 and max(lost.values()) <= SAVED,
    )
    polls = {n["role"]: n["poll"] for n in place.notes("polls")}
    errors = place.notes("readers")
    words = ", ".join(f"{number} × {role}" for role, number in polls.items())
    yield "polls by readers", f"{words}; {len(errors)} errors {errors[:2] or ''}".strip(), not errors
    for end in place.notes("ends"):
        text = f"code {end['code']} {end['lines'] or ''}".strip()
        yield f"end of the reader {end['role']}", text, end["code"] == 0 and not end["lines"]
    for role in ("trainer", "load", "inspect"):
        own = [each for each in steadiness(place.notes("memory")) if each[0] == role]
        if own:
            steps, fall, rise, files = (sum(x[1] for x in own), *(max(x[k] for x in own) for k in (2, 3, 4)))
            held = max(fall, rise) <= TOLERANCE and files <= 1
            text = f"memory -{fall:.1%} to +{rise:.1%} of its median in {len(own)} processes, {steps} steps or polls"
            yield f"{role} after a warm-up", f"{text}; files ± {files}", held
    for equal in place.notes("equal"):
        steps = equal.pop("step")
        yield f"after {steps} steps, as the run left alone", str(equal), all(equal.values())


def report(place: Place) -> bool:
    """Print the table; whether all of it held."""
    found = list(rows(place))
    print("| what | found | held |\n| --- | --- | --- |")
    print("\n".join(f"| {what} | {text} | {'yes' if held else 'NO'} |" for what, text, held in found))
    return all(held for *_, held in found) and bool(place.notes("equal"))


def conduct(place: Place, minutes: float, seed: int) -> None:
    """The long run, from data to comparison."""
    place.out.mkdir(parents=True)
    np.save(place.out / "points.npy", np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    seconds = minutes * 60.0
    plan = {"steps": int(seconds * RATE), "seconds": seconds, "began": time.monotonic()}
    (place.out / "plan.json").write_text(json.dumps(plan))
    alone = place.child("alone", lambda: cli.main(place.words(place.out / "alone")))
    with small_disk(place):
        trouble(place, seconds, random.Random(seed))
        if wait(alone, 3600) == 0:
            compare(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("long_run"), help="a new folder")
    parser.add_argument("--report", action="store_true", help="print the table of what --out has so far")
    parser.add_argument("--mounts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    place = Place(options.out.absolute())
    if not options.report and not options.mounts:  # only in a space of its own may it mount a disk
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv, "--mounts"])
    if not options.report:
        conduct(place, options.minutes, options.seed)
    sys.exit(not report(place))


if __name__ == "__main__":
    main()
