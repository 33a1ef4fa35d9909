"""Train and evaluate every built-in set and every kind of data, with one command each, and print a table.

    python benchmarks/kinds.py
    python benchmarks/kinds.py --steps 20 --only digits shop   # a quick pass over some

The table is in Markdown. Its columns are parameters; seconds of training; the held-out bound and its standard error (in
bits per dimension for data with levels, in nats per example otherwise); the accuracy of a forest that tells samples
from held-out data, and the 95 % quantile of that accuracy by chance; the probability that a sample is closer to
training data than a held-out example is, with its standard error; the share of copies; and how many means and spreads
drifted. Runs are kept in `--out` and are not trained again. Sets that are neither built in nor real are drawn from a
fixed seed. `real_sets.py` says how to install the packages that real ones are taken from.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import run as command

import numpy as np
from real_sets import real_sets

import inkwash as iw
from inkwash.data.builtin import BUILTIN, shop
from inkwash.training.build import count_parameters

CALL = ("python", "-c", "from inkwash.commands.cli import main; main()")
COUNT, CELLS = 600, 2000
BITS = ["--process.kind", "bernoulli"]
LABELS = {"digits": "digit", "two-moons": "moon", "breast-cancer": "diagnosis"}


def waves(shape: tuple[int, ...], depth: int, dtype: str, count: int = COUNT, seed: int = 0) -> np.ndarray:
    """Waves of a random direction and phase over `(*places, channels)`, whole numbers from 0 to `depth`."""
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(side) / side for side in shape[:-1]], indexing="ij"), -1)
    pull = random.normal(0, 6, (count, len(shape) - 1))
    angle = np.einsum("...d,nd->n...", places, pull)[..., None] + random.uniform(0, 6.3, (count, *(1,) * len(shape)))
    level = 0.5 + 0.5 * np.sin(angle + np.arange(shape[-1]))
    return np.rint(depth * level).astype(dtype)


def cells(side: int, count: int = CELLS, seed: int = 0) -> np.ndarray:
    """Cells under a camera of 12 bits, uint16 `(count, side, side)`: one to three blobs of light on a dark ground. They
    are counted in photons, four numbers each, with the noise of reading them out."""
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
    centres = random.uniform(0, side, (count, 3, 1, 1, 2))
    width, there = random.uniform(0.08, 0.2, (count, 3, 1, 1)) * side, np.arange(3) < random.integers(1, 4, (count, 1))
    height = random.gamma(3, 80, (count, 3)) * there
    blobs = height[..., None, None] * np.exp(-(((places - centres) / width[..., None]) ** 2).sum(-1) / 2)
    photons = random.poisson(20 + blobs.sum(1))
    return np.clip(np.rint(100 + 4 * photons + random.normal(0, 5, photons.shape)), 0, 4095).astype(np.uint16)


def dark(side: int, count: int = CELLS, seed: int = 0) -> np.ndarray:
    """Cells of which the dark was subtracted: a third of the values are 0."""
    return np.maximum(cells(side, count, seed).astype(int) - 190, 0).astype("uint16")


def peaks(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """Whole numbers from 0 to 9 with noise of a tenth, float64 `(count,)`."""
    return waves((1, 1), 9, "float64", count, seed)[:, 0, 0] + 0.1 * noise(count, seed + 1)


DRAWN: dict[str, tuple[Callable[..., np.ndarray], list[str]]] = {
    "images 9x7, 1 channel": (partial(waves, (9, 7, 1), 255, "uint8"), ["--data.layout", "NHWC"]),
    "images 7x5, 3 channels": (partial(waves, (7, 5, 3), 255, "uint8"), ["--data.layout", "NHWC"]),
    "images 8x8, 16 bits": (partial(waves, (8, 8, 1), 65535, "uint16"), ["--data.layout", "NHWC"]),
    "cells 8x8, 12 bits": (partial(cells, 8), []),
    "cells 16x16, 12 bits": (partial(cells, 16), []),
    "cells 8x8, dark subtracted": (partial(dark, 8), []),
    "images 8x8, booleans": (partial(waves, (8, 8, 1), 1, "bool"), ["--data.layout", "NHWC"]),
    "booleans, Bernoulli": (partial(waves, (8, 8, 1), 1, "bool"), ["--data.layout", "NHWC", *BITS]),
    "series of 2 channels": (partial(waves, (24, 2), 9, "float32"), ["--data.layout", "NLC"]),
    "volumes 4x5x6": (partial(waves, (4, 5, 6, 1), 15, "uint8"), ["--data.layout", "NDHWC"]),
    "vectors of 1 number": (peaks, []),
}
"""Sets that are drawn: a function of their number and a seed, and options of `inkwash train`."""


def arrays(folder: Path) -> dict[str, list[str]]:
    """Write the sets that are not built in into a folder; the arguments of `inkwash train` for each, by name."""
    words = {}
    for name, (make, options) in DRAWN.items():
        path = folder / f"{slug(name)}.npy"
        np.save(path, make())
        words[name] = [str(path), *options]
    path = folder / "categories.csv"
    columns = np.array(["bread", "cheese", "fruit", "wine"])[shop().data[:, 0].astype(int)], noise() > 0.5
    path.write_text(
        "\n".join(["kind,more", *(f"{a},{b}" for a, b in zip(columns[0][:COUNT], columns[1], strict=True))])
    )
    return words | {"categories alone": [str(path)]}


def noise(count: int = COUNT, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count)


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def measured(words: list[str], out: Path, options: argparse.Namespace) -> str:
    """Train, evaluate, and return the results as cells of a table."""
    steps = [] if options.steps is None else ["--train.steps", str(options.steps)]
    quick = ["--examples", str(options.examples), "--bound-terms", str(options.bound_terms)]
    walk = ["--steps", str(options.sampler_steps)]
    for call in (["train", *words, "--out", str(out), *steps], ["evaluate", str(out), *quick, *walk]):
        done = command([*CALL, *call], capture_output=True, text=True)
        if done.returncode:
            return f"`{done.stderr.strip().splitlines()[-1]}`"
    found = json.loads((out / "evaluation" / "evaluation.json").read_text())
    run = iw.Run(out)
    bound, test, copies = found["bound"]["held_out"], found["two_sample"], found["memorisation"]
    drifted = [moved["beyond"] for moved in found["drift"]]
    cells = (
        f"{count_parameters(run.model().denoiser):,}",
        f"{run.header().seconds:.0f}",
        f"{bound['total']:.3f} ± {bound['std_error']:.3f} {bound['unit']}",
        f"{test['accuracy']:.3f} ({test['null_high']:.3f})",
        f"{copies['closer']:.3f} ± {copies['closer_std_error']:.3f}",
        f"{copies['copies']:.1%}",
        f"{sum(drifted)} of {len(drifted)}",
    )
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/kinds"))
    parser.add_argument("--only", nargs="*", help="names of sets")
    parser.add_argument("--steps", type=int, help="optimizer steps of each, by default those of inkwash train")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--bound-terms", type=int, default=100)
    parser.add_argument("--sampler-steps", type=int, default=250)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sets = {name: [name] for name in BUILTIN}
    sets |= {f"{name}, labelled": [name, "--data.labels", label] for name, label in LABELS.items()}
    sets |= arrays(options.out) | real_sets(options.out)
    print(
        "| data | parameters | training, s | bound, held out | two-sample accuracy (by chance) | closer | copies "
        "| drift |"
    )
    print(f"| {' | '.join(['---'] * 8)} |")
    for name in options.only or sets:
        print(f"| {name} | {measured(sets[name], options.out / slug(name), options)} |", flush=True)


if __name__ == "__main__":
    main()
