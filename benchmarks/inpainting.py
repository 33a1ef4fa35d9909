"""Half of a held-out picture is hidden: how good are the draws of the other half, by method?

    python benchmarks/inpainting.py runs/digits --images 16

Coverage of the central 50 % and 90 % intervals of 64 draws, pixel by pixel; continuous ranked probability score (CRPS,
the lower the better) in data units; processor seconds per draw. Only pixels whose value varies among held-out pictures
are counted. With the standard error over pictures.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import inkwash as iw

METHODS = {
    "moment matching, whole": iw.MomentMatching(),
    "moment matching, 1": iw.MomentMatching(1),
    "moment matching, 4": iw.MomentMatching(4),
    "PiGDM": iw.PiGDM(),
    "DPS": iw.DPS(),
    "step product": iw.StepProduct(),
    "replacement": iw.RePaint(1, 1),
    "RePaint": iw.RePaint(10, 10),
    "SMC": iw.SMC(4),
}


def scores(draws: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Coverage at 50 % and 90 %, with ties counted half, and CRPS; of draws `(n, m)` and a truth `(m,)`."""
    covered = []
    for share in (0.5, 0.9):
        low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=0)
        inside = (truth > low) & (truth < high)
        edge = (truth == low) | (truth == high)
        covered.append(float(np.where(edge, 0.5, inside).mean()))
    ordered = np.sort(draws, axis=0)
    n = len(draws)
    apart = (2 * np.arange(1, n + 1) - n - 1) @ ordered * 2 / n**2  # mean distance of two draws
    return covered[0], covered[1], float((np.abs(draws - truth).mean(0) - apart / 2).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    options = parser.parse_args()
    run = iw.Run(Path(options.run))
    model, dataset = run.model(), run.dataset()
    held_out = dataset.data[run.split()[1]]
    mask = np.zeros(held_out.shape[1:], bool)
    mask[..., : mask.shape[-1] // 2] = True
    judged = ~mask & (held_out.std(0) > 0)
    print(f"{'method':<24} {'50 %':>12} {'90 %':>12} {'CRPS':>12} {'s per draw':>11}")
    for name in options.methods:
        found, started = [], time.process_time()
        for i, picture in enumerate(held_out[: options.images].astype(np.float64)):
            product = model * iw.Observed(mask, picture)
            draws = product.sample(options.draws, seed=i, steps=options.steps, method=METHODS[name])
            found.append(scores(draws[:, judged].astype(np.float64), picture[judged]))
        seconds = (time.process_time() - started) / (options.images * options.draws)
        mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / options.images**0.5
        columns = [f"{m:6.3f} ±{e:.3f}" for m, e in zip(mean, error, strict=True)]
        print(f"{name:<24} {columns[0]:>12} {columns[1]:>12} {columns[2]:>12} {seconds:11.3f}", flush=True)


if __name__ == "__main__":
    main()
