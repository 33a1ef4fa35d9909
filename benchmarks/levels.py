"""Measure what predicting 256 levels per pixel adds to a training step, compared with predicting the noise.

    python benchmarks/levels.py
    python benchmarks/levels.py --batch 64 --release    # freed memory goes back to the system, as it does by default

Both steps use the same U-Net: loss, backward pass and AdamW update on images of 28x28x1, in one process, in turns.
Figures are medians over the turns of processor time, which other jobs on the machine disturb little.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import inkwash as iw
from inkwash.core.machine import keep_freed_memory
from inkwash.training.build import build_denoiser, build_lattice, build_objective
from inkwash.training.resolve import resolve

SHAPE = (1, 28, 28)


def training_step(predicts: str, batch: int) -> Callable[[], float]:
    """A function that takes one step and returns how many seconds of processor time it took."""
    spec = iw.data.DataSpec(SHAPE, "NCHW", "uint8", 0.0, 255.0, 256)
    config = resolve(iw.Config("mnist", denoiser=iw.DenoiserConfig(predicts=predicts)), spec)
    denoiser, objective = build_denoiser(config, spec), build_objective(config, build_lattice(config, spec))
    optimizer = torch.optim.AdamW(denoiser.parameters(), fused=True)
    x = torch.randint(256, (batch, *SHAPE)) / 127.5 - 1
    t, noise = torch.linspace(0.01, 0.99, batch, dtype=torch.float64), torch.randn(batch, *SHAPE)

    def step() -> float:
        started = time.process_time()
        objective.loss(denoiser, x, t, noise).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - started

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32, help="images; above 41 an array of all levels passes 32 MiB")
    parser.add_argument("--release", action="store_true", help="let freed memory go back to the system")
    options = parser.parse_args()
    if not options.release:
        keep_freed_memory()
    steps = {predicts: training_step(predicts, options.batch) for predicts in ("levels", "eps")}
    times = [[step() for step in steps.values()] for _ in range(options.turns + 2)][2:]
    for name, column in zip(steps, zip(*times, strict=True), strict=True):
        print(f"{name:<8} {1000 * statistics.median(column):7.1f} ms")
    print(f"ratio    {statistics.median(a / b for a, b in times):.2f}")


if __name__ == "__main__":
    main()
