"""Compare what a run takes with the cost line that stood before it, in every family of models, idle or busy.

    python benchmarks/cost.py
    python benchmarks/cost.py --busy 4 --minutes 0.5   # beside four processes that do nothing but count

Each run is as long as its first cost line says that --minutes take. The table has the forecast, what followed, and the
ratio of the two; what was left by the line of progress half-way, and what followed that; and the share of the closing
summary in the time of training.
"""

import argparse
import multiprocessing
import re
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import inkwash as iw
from inkwash.core.config import TrainConfig
from inkwash.core.display import Display

RUNS = {
    "digits": ("digits", "diffusion"),
    "two-moons": ("two-moons", "diffusion"),
    "digits, vae": ("digits", "vae"),
    "dead-leaves, latent": ("dead-leaves", "latent"),
}


class Timed(Display):
    """Notes when lines are printed, and prints nothing."""

    def __init__(self) -> None:
        super().__init__(shown=False)
        self.lines: list[tuple[float, str]] = []

    def say(self, text: str) -> None:
        self.lines.append((time.perf_counter(), text))

    def found(self, pattern: str) -> tuple[float, float]:
        """When a line was printed, and the seconds that it says."""
        for at, line in self.lines:
            if match := re.search(pattern, line):
                hours, minutes, seconds = map(int, match[1].split(":"))
                return at, timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        raise SystemExit(f"no line with {pattern}: {self.lines}")


def spin() -> None:
    for _ in count():
        pass


@contextmanager
def busy(processes: int):
    """A machine on which so many other processes run."""
    others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    yield
    for other in others:
        other.kill()


def train(source: str, model: str, steps: int, folder: Path) -> tuple[Timed, float, float]:
    """The lines of a run, when it ended, and its seconds of training."""
    display, every = Timed(), max(steps // 2, 1)
    run = iw.train(source, folder, model=model, train=TrainConfig(steps=steps, monitor_every=every), display=display)
    return display, time.perf_counter(), run.header().seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=0, help="processes beside it")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    print("| data | steps | forecast, s | took, s | ratio | left half-way, s | took, s | ratio | summary |")
    print(f"| {' | '.join(['---'] * 9)} |")
    with busy(options.busy), tempfile.TemporaryDirectory() as folder:
        for name in options.only or RUNS:
            source, model = RUNS[name]
            display, *_ = train(source, model, 20, Path(folder) / f"{name}-short")
            short = display.found(r"about (?:.* a step, )?(\d+:\d+:\d+) in all")
            steps = max(int(20 * 60 * options.minutes / max(short[1], 1)), 40)
            display, ended, training = train(source, model, steps, Path(folder) / name)
            at, forecast = display.found(r"about (?:.* a step, )?(\d+:\d+:\d+) in all")
            half, left = display.found(r"step \d+/.* (\d+:\d+:\d+) left")
            begun, _ = display.found(r"summary .*about (\d+:\d+:\d+)")
            whole, rest = ended - at, ended - half
            cells = [f"{a:.0f} | {b:.0f} | {a / b:.2f}" for a, b in ((forecast, whole), (left, rest))]
            print(f"| {name} | {steps} | {' | '.join(cells)} | {(ended - begun) / training:.1%} |", flush=True)


if __name__ == "__main__":
    main()
