"""Measure the peak memory of training on a file that is larger than memory.

An .npy file is sparse: it takes little room on the disk and reads as zeros, except for one example in a thousand. A
file of HDF5 or a store of Zarr holds the same in compressed chunks of 256 examples.

    python benchmarks/memory.py --gigabytes 8
    python benchmarks/memory.py --gigabytes 4 --format h5
    python benchmarks/memory.py --gigabytes 4 --format zarr
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE, CHUNK = 32, 256


def write(path: Path, count: int) -> None:
    """Write `count` float32 images 32x32, `(N, 32, 32)`, most of them zeros, as the name says."""
    shape = (count, SIDE, SIDE)
    if path.suffix == ".npy":
        return fill(np.lib.format.open_memmap(path, "w+", np.float32, shape))
    if path.suffix == ".zarr":
        import zarr

        return fill(zarr.create_array(path, shape=shape, chunks=(CHUNK, SIDE, SIDE), dtype="f4", fill_value=1.0))
    import h5py

    with h5py.File(path, "w") as file:
        fill(file.create_dataset("x", shape, "f4", chunks=(CHUNK, SIDE, SIDE), compression="lzf"))


def fill(array: Any) -> None:
    """Write every chunk of an array on disk, but of .npy only the examples that are not zeros."""
    random, step = np.random.default_rng(0), 4 * CHUNK
    for first in range(0, array.shape[0], step):
        block = np.zeros((min(step, array.shape[0] - first), SIDE, SIDE), np.float32)
        block[0] = random.normal(size=(SIDE, SIDE))
        end = first + 1 if isinstance(array, np.memmap) else first + len(block)
        array[first:end] = block[: end - first]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--format", choices=["npy", "h5", "zarr"], default="npy")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, count = Path(folder) / f"large.{options.format}", int(options.gigabytes * 2**30) // (4 * SIDE * SIDE)
        write(path, count)
        words = [sys.executable, "-m", "inkwash.commands.cli", "train", path, "--out", Path(folder) / "run"]
        small = "--network.width 8 --network.depth 1 --process.steps 10 --process.schedule cosine"
        words += small.split()
        words += ["--train.steps", options.steps]
        began = time.monotonic()
        subprocess.run(list(map(str, words)), check=True)
        seconds = time.monotonic() - began
        on_disk = sum(each.stat().st_blocks * 512 for each in [path, *path.rglob("*")])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    gigabytes = 4 * SIDE * SIDE * count / 2**30
    print(f"{count} examples, {gigabytes:.2f} GiB ({on_disk / 2**30:.2f} GiB on the disk), {options.steps} steps")
    print(f"peak resident memory {peak / 2**30:.2f} GiB; {seconds:.0f} s")


if __name__ == "__main__":
    main()
