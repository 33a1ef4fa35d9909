"""Measure the peak memory of training on an .npy file that is larger than memory.

The file is sparse: it takes little room on the disk and reads as zeros, except for one example in a thousand.

    python benchmarks/memory.py --gigabytes 8
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write(path: Path, gigabytes: float) -> int:
    """Write float32 images 32x32, `(N, 32, 32)`, most of them zeros, and return how many."""
    count = int(gigabytes * 2**30) // (4 * 32 * 32)
    data = np.lib.format.open_memmap(path, "w+", np.float32, (count, 32, 32))
    data[::1000] = np.random.default_rng(0).normal(size=(len(data[::1000]), 32, 32))
    data.flush()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        count = write(path, options.gigabytes)
        words = [sys.executable, "-m", "inkwash.commands.cli", "train", path, "--out", Path(folder) / "run"]
        small = "--network.width 8 --network.depth 1 --process.steps 10 --process.schedule cosine"
        words += small.split()
        words += ["--train.steps", options.steps]
        began = time.monotonic()
        subprocess.run(list(map(str, words)), check=True)
        seconds = time.monotonic() - began
        size, on_disk = path.stat().st_size, path.stat().st_blocks * 512
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"{count} examples, {size / 2**30:.2f} GiB ({on_disk / 2**30:.2f} GiB on the disk), {options.steps} steps")
    print(f"peak resident memory {peak / 2**30:.2f} GiB; {seconds:.0f} s")


if __name__ == "__main__":
    main()
