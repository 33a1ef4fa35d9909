"""Hide half of held-out pictures, and score the draws of the hidden half by method.

    python benchmarks/inpainting.py runs/digits --images 16

Prints the coverage of the central 50 % and 90 % intervals of 64 draws, pixel by pixel; the continuous ranked
probability score (CRPS; less is better) in data units; by how much it exceeds that of the first method named, picture
by picture; and processor seconds per draw. Only pixels whose value varies among held-out pictures are counted. Each
figure comes with its standard error over pictures.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import inkwash as iw

METHODS = {
    "MomentMatching()": iw.MomentMatching(),
    "MomentMatching(1)": iw.MomentMatching(1),
    "MomentMatching(64)": iw.MomentMatching(64),
    "PiGDM()": iw.PiGDM(),
    "RePaint()": iw.RePaint(),
    "RePaint(1, 1)": iw.RePaint(1, 1),
    "StepProduct()": iw.posterior.StepProduct(),
    "DPS()": iw.DPS(),
    "SMC()": iw.SMC(),
}


def scores(draws: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Coverage at 50 % and 90 %, with ties counted half, and CRPS, for draws `(n, m)` and a truth `(m,)`."""
    covered = []
    for share in (0.5, 0.9):
        low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=0)
        inside = (truth > low) & (truth < high)
        edge = (truth == low) | (truth == high)
        covered.append(float(np.where(edge, 0.5, inside).mean()))
    ordered = np.sort(draws, axis=0)
    n = len(draws)
    apart = (2 * np.arange(1, n + 1) - n - 1) @ ordered * 2 / n**2  # the mean distance of two draws
    return covered[0], covered[1], float((np.abs(draws - truth).mean(0) - apart / 2).mean())


def score(run: iw.Run, method: iw.posterior.Method, images: int, draws: int, steps: int) -> tuple[np.ndarray, float]:
    """The scores of each picture, `(images, 3)`, and processor seconds per draw."""
    model, held_out = run.model(), run.dataset().data[run.split()[1]]
    mask = np.zeros(held_out.shape[1:], bool)
    mask[..., : mask.shape[-1] // 2] = True
    judged = ~mask & (held_out.std(0) > 0)
    found, started = [], time.process_time()
    for i, picture in enumerate(held_out[:images].astype(np.float64)):
        x = (model * iw.Observed(mask, picture)).sample(draws, seed=i, steps=steps, method=method)
        found.append(scores(x[:, judged].astype(np.float64), picture[judged]))
    return np.array(found), (time.process_time() - started) / (images * draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of pictures")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    print(f"{'method':<18} {'50 %':>13} {'90 %':>13} {'CRPS':>13} {'more':>13} {'s per draw':>11}")
    first = None
    for name in options.methods:
        run = iw.Run(options.run)
        found, seconds = score(run, METHODS[name], options.images, options.draws, options.steps)
        first = found[:, 2] if first is None else first
        each = np.column_stack([found, found[:, 2] - first])
        error = each.std(0, ddof=1) / options.images**0.5
        columns = [f"{m:6.3f} ±{e:.3f}" for m, e in zip(each.mean(0), error, strict=True)]
        print(f"{name:<18} " + " ".join(f"{c:>13}" for c in columns) + f" {seconds:11.3f}", flush=True)


if __name__ == "__main__":
    main()
