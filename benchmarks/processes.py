"""What a second process gains in training: the time of a step on the same global batch, in one process and in two.

    python benchmarks/processes.py [--steps 30] [--width 32] [--batch 128]

It starts itself by torchrun, with one thread per process, once with each number of processes and in turns, and prints
the wall time and the processor time of a step. The gain is at most 2 in wall time, if two cores are free; on a busy
machine the processor time says what a process has to do.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time

import numpy as np

TURNS = 3


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    return parser.parse_args()


def worker(chosen: argparse.Namespace) -> None:
    """Train on noise of 28x28 levels, and print the median wall and processor time of a step."""
    from inkwash.core.config import Config, NetworkConfig, TrainConfig
    from inkwash.core.machine import accelerator
    from inkwash.training.group import Group
    from inkwash.training.loop import training
    from inkwash.training.prepare import prepare
    from inkwash.training.state import start

    train, network = TrainConfig(steps=chosen.steps, batch_size=chosen.batch), NetworkConfig(width=chosen.width)
    levels = np.random.default_rng(0).integers(0, 256, (512, 28, 28)).astype(np.uint8)
    prepared, group = prepare(Config("noise", network=network, train=train), levels), Group(accelerator())
    state = start(prepared.config, prepared.examples, group.accelerator.device)
    marks = []
    for _ in training(state, prepared.examples, prepared.config.train, group.accelerator):
        group.agreed_signal([])
        marks.append((time.perf_counter(), time.process_time()))
    steps = np.diff(np.array(marks[3:]), axis=0)
    if group.main:
        print("step", *np.median(steps, axis=0))


def measured(processes: int) -> tuple[float, ...]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *sys.argv]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORKER": "1"}
    done = subprocess.run([sys.executable, *launch], capture_output=True, text=True, env=environment, check=True)
    [numbers] = re.findall(r"^step (\S+) (\S+)$", done.stdout, re.M)
    return tuple(map(float, numbers))


def main() -> None:
    times = [[measured(count) for count in (1, 2)] for _ in range(TURNS)]
    for name, k in (("wall", 0), ("processor", 1)):
        one, two = (statistics.median(turn[count][k] for turn in times) for count in (0, 1))
        print(f"{name:<10} one process {one * 1e3:7.1f} ms, two {two * 1e3:7.1f} ms each: gain {one / two:.2f} of 2")


if __name__ == "__main__":
    chosen = options()
    worker(chosen) if "WORKER" in os.environ else main()
