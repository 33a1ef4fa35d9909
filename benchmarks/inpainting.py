"""Hide the right half of pictures, and score the draws of the hidden half by method.

    python benchmarks/inpainting.py runs/digits --images 16
    python benchmarks/inpainting.py clusters --images 16

The first takes held-out pictures of a run. The second takes pictures of a law whose denoiser and whose hidden halves
are known in closed form, so that nothing but the method can be wrong; the row `exact` has draws of that law itself,
and shows what the scores are where nothing is wrong. In this law each pixel of a digit has the frequencies of its
levels in one of 60 clusters of digits, independently of the other pixels.

Prints, for 64 draws: how often the central 50 % and 90 % intervals hold the true pixel; the same of 90 % among the
pixels that are open, where no level makes up more than half of the draws and the truth; how often the 90 % interval of
the sum of all hidden pixels holds the true sum; the continuous ranked probability score (CRPS; less is better) in data
units; by how much it exceeds that of the first method named, picture by picture; and processor seconds per draw.
Coverage is that of `inkwash.evaluation.calibration`, which is exactly the nominal share for draws of the right law,
however few they are and however many of them are equal. Only pixels whose value varies among all pictures are counted.
Each figure comes with its standard error over pictures.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

import inkwash as iw
from inkwash.evaluation.calibration import coverage, crps

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

Draw = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]
"""From a picture, a mask of what is seen, a seed and a number n to draws `(n, *shape)`."""

DIGITS = iw.data.DataSpec((1, 8, 8), "NHW", "uint8", 0, 16, 17)


class Clusters:
    """Digits `(8, 8)` of independent pixels within a cluster: its weight, and the frequencies of each pixel's levels.

    Args:
        count: number of clusters.
        smoothing: what is added to each count, so that no level is impossible.
    """

    def __init__(self, count: int = 60, smoothing: float = 0.02) -> None:
        digits = load_digits().data.astype(int)
        which = KMeans(count, n_init=1, random_state=0).fit_predict(digits)
        counts = np.stack([np.eye(17)[digits[which == k]].sum(0) for k in range(count)]) + smoothing
        self.levels = counts / counts.sum(-1, keepdims=True)  # (clusters, pixels, levels)
        self.weights = np.bincount(which) / len(digits)

    def sample(self, weights: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
        """`(n, 8, 8)`, with other weights of the clusters."""
        edges = self.levels[random.choice(len(weights), n, p=weights)].cumsum(-1)[..., :-1]
        return (edges < random.random((n, 64, 1))).sum(-1).reshape(n, 8, 8)

    def exact(self, picture: np.ndarray, seen: np.ndarray, seed: int, n: int) -> np.ndarray:
        """Draws given the pixels that are seen, which decide only how likely each cluster is."""
        places = np.flatnonzero(seen)
        evidence = np.log(self.levels[:, places, picture.ravel()[places].astype(int)]).sum(1) + np.log(self.weights)
        weights = np.exp(evidence - evidence.max())
        return self.sample(weights / weights.sum(), n, np.random.default_rng(seed))

    def model(self) -> iw.Diffusion:
        """The model with the exact denoiser, which predicts the levels of each pixel from the others."""
        transform = iw.data.Transform(DIGITS, shift=(8.0,), scale=(8.0,))
        schedule, values = iw.CosineSchedule(), transform.lattice.values()
        levels, weights = torch.from_numpy(self.levels), torch.from_numpy(self.weights)

        def network(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            alpha, sigma = schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None]
            log_seen = -0.5 * ((x_t.double().flatten(1)[..., None] - alpha * values) / sigma) ** 2
            largest = log_seen.amax(-1, keepdim=True)
            seen = torch.einsum("biv,kiv->bki", (log_seen - largest).exp(), levels).log() + largest.mT
            others = seen.sum(-1, keepdim=True) - seen + weights.log()[:, None]
            return torch.einsum("bki,kiv->biv", others.softmax(1), levels).log().reshape(*x_t.shape, 17).to(x_t)

        denoiser = iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Levels(transform.lattice))
        return iw.Diffusion(denoiser, (1, 8, 8), transform)


def drawn_by(model: iw.Diffusion, method: iw.posterior.Method, steps: int) -> Draw:
    def draw(picture: np.ndarray, seen: np.ndarray, seed: int, n: int) -> np.ndarray:
        return (model * iw.Observed(seen, picture)).sample(n, seed=seed, steps=steps, method=method)

    return draw


def scores(draws: np.ndarray, truth: np.ndarray) -> list[float]:
    """Coverage at 50 % and 90 %, the latter of open pixels and of the sum too, and CRPS; draws `(n, m)`, truth `(m,)`.

    A pixel is open or not by what the draws and the truth are together, whichever of them is the truth. The choice
    therefore leaves the expected coverage of right draws as it is.
    """
    every = np.concatenate([draws, truth[None]])
    commonest = (every[:, None] == every).sum(1).max(0)
    half, most, total = coverage(draws, truth, 0.5), coverage(draws, truth, 0.9), draws.sum(1, keepdims=True)
    of_open = most[2 * commonest <= len(every)]
    of_sum = coverage(total, truth.sum(keepdims=True), 0.9)
    means = [half.mean(), most.mean(), of_open.mean() if len(of_open) else np.nan]
    return [*means, of_sum.item(), crps(draws, truth).mean()]


def score(draw: Draw, pictures: np.ndarray, images: int, draws: int) -> tuple[np.ndarray, float]:
    """The scores of each picture, `(images, 5)`, and processor seconds per draw."""
    seen = np.zeros(pictures.shape[1:], bool)
    seen[..., : seen.shape[-1] // 2] = True
    judged = ~seen & (pictures.std(0) > 0)
    found, started = [], time.process_time()
    for i, picture in enumerate(pictures[:images].astype(np.float64)):
        x = draw(picture, seen, i, draws)
        found.append(scores(x[:, judged].astype(np.float64), picture[judged]))
    return np.array(found), (time.process_time() - started) / (images * draws)


def subject(name: str) -> tuple[iw.Diffusion, np.ndarray, dict[str, Draw]]:
    """A model, pictures of the law it should have, and the draws that are exact, if they are known."""
    if name == "clusters":
        law = Clusters()
        return law.model(), law.sample(law.weights, 400, np.random.default_rng(0)), {"exact": law.exact}
    run = iw.Run(Path(name))
    return run.model(), run.dataset().data[run.split()[1]], {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the folder of a run of pictures, or 'clusters'")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    model, pictures, known = subject(options.run)
    draw = known | {name: drawn_by(model, METHODS[name], options.steps) for name in options.methods}
    heads = ("50 %", "90 %", "90 % open", "90 % sum", "CRPS", "more")
    print(f"{'method':<18} " + " ".join(f"{head:>13}" for head in heads) + f" {'s per draw':>11}")
    first = None
    for name, one in draw.items():
        found, seconds = score(one, pictures, options.images, options.draws)
        first = found[:, -1] if first is None else first
        each = np.column_stack([found, found[:, -1] - first])
        mean, error = np.nanmean(each, 0), np.nanstd(each, 0, ddof=1) / options.images**0.5
        columns = [f"{m:6.3f} ±{e:.3f}" for m, e in zip(mean, error, strict=True)]
        print(f"{name:<18} " + " ".join(f"{c:>13}" for c in columns) + f" {seconds:11.3f}", flush=True)


if __name__ == "__main__":
    main()
