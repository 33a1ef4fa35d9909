"""Kill `inkwash train digits` at random times, resume it with the same command, and compare with a run left alone.

    python benchmarks/kills.py --kills 20

Prints, for each group of tensors in the last checkpoint (weights, moving average, optimizer), whether its SHA-256
equals that of the undisturbed run, and the most steps that any kill lost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUPS = ("weights", "average", "averages", "optimizer")


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        began = time.monotonic()
        train(options, whole).wait()
        print(
            f"undisturbed: {options.steps} steps in {time.monotonic() - began:.0f} s, a save every {options.save_every}"
        )
        lost = [kill_once(options, killed, random.Random(f"{options.seed} {i}"), i) for i in range(options.kills)]
        if train(options, killed).wait():
            sys.exit("the last resume failed")
        a, b = digests(whole), digests(killed)
        print(f"kills: {options.kills}; most steps lost: {max(lost)} (save_every {options.save_every})")
        for name in GROUPS:
            print(f"{name:<10} {'equal' if a[name] == b[name] else 'DIFFERENT'}  {a[name][:16]}  {b[name][:16]}")
        equal = sum(a[name] == b[name] for name in GROUPS)
        print(f"{equal} of {len(GROUPS)} digests equal")
        sys.exit(equal < len(GROUPS) or max(lost) > options.save_every)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--save-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def train(options: argparse.Namespace, run: Path) -> subprocess.Popen[bytes]:
    """Start or resume the run in its own process."""
    code = f"import torch; torch.set_num_threads({options.threads}); from inkwash.commands.cli import main; main()"
    words = ["train", "digits", "--out", run, "--network.width", 8, "--network.depth", 1, "--train.batch-size", 16]
    words += ["--train.steps", options.steps, "--train.save-every", options.save_every, "--train.log-every", 1]
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.DEVNULL)


def kill_once(options: argparse.Namespace, run: Path, chance: random.Random, index: int) -> int:
    """Kill the run at a random moment after it resumes from its checkpoint, and return how many steps that lost."""
    start = logged(run)
    goal = min(start + chance.randrange(0, 2 * options.steps // options.kills), options.steps - 1)
    process = train(options, run)
    while logged(run) <= goal and process.poll() is None:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.05))
    process.kill()
    code = process.wait()
    lost = logged(run) - saved(run)
    print(f"kill {index + 1}: exit {code} at step {logged(run)}, last checkpoint at {saved(run)}, {lost} steps lost")
    return lost


def logged(run: Path) -> int:
    """The last step in the metrics."""
    try:
        lines = (run / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def saved(run: Path) -> int:
    """The step of the newest valid checkpoint, 0 where there is none yet."""
    from inkwash.core.errors import CheckpointError
    from inkwash.training.run import read_header

    try:
        return read_header(run)[0].step
    except CheckpointError:
        return 0


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of the tensors of the newest checkpoint."""
    newest = max((run / "checkpoints").glob("step-*"))
    return {name: hashlib.sha256((newest / f"{name}.safetensors").read_bytes()).hexdigest() for name in GROUPS}


if __name__ == "__main__":
    main()
