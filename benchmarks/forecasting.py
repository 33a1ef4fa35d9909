r"""Forecast an autoregression whose law is known, and compare each method's draws with the exact conditional law.

    python benchmarks/forecasting.py                    # the exact denoiser
    python benchmarks/forecasting.py --run runs/ar2     # a run of `inkwash train ar2`

The series are those of the built-in set `ar2`. Prints, by method, the continuous ranked probability score (CRPS) of
the draws of the last places given the others, as a ratio to that of the exact law of the same series; the mean square
of the error of the draws' mean, and the mean variance of the draws, both as ratios to the exact variance (0 and 1 are
right); the share of places within the central 90 %; and processor seconds for all of them.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import toeplitz
from scipy.stats import norm

import inkwash as iw
from inkwash.data.builtin import ar2
from inkwash.evaluation.calibration import coverage, crps
from inkwash.posterior.method import Method

METHODS: dict[str, Method] = {
    "MomentMatching()": iw.MomentMatching(),
    "MomentMatching(4, floor=0)": iw.MomentMatching(4, 0.0),
    "MomentMatching(16, floor=0)": iw.MomentMatching(16, 0.0),
    "MomentMatching(64, floor=0)": iw.MomentMatching(64, 0.0),
    "MomentMatching(64, floor=0.05)": iw.MomentMatching(64, 0.05),
    "RePaint()": iw.RePaint(),
    "RePaint(1, 1)": iw.RePaint(1, 1),
    "SMC()": iw.SMC(),
}
RADIUS, ANGLE, LEVEL = 0.95, 2 * np.pi / 10, 5.0


def covariance(places: int) -> np.ndarray:
    """That of the places of `ar2`: the recursion of Yule and Walker from the variance."""
    first, second = 2 * RADIUS * np.cos(ANGLE), -(RADIUS**2)
    found = [(1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))]
    found.append(found[0] * first / (1 - second))
    while len(found) < places:
        found.append(first * found[-1] + second * found[-2])
    return toeplitz(found[:places])


def conditional(past: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(N, horizon)` and standard deviation `(horizon,)` of the last places given the past `(N, P)`."""
    cov, seen = covariance(past.shape[1] + horizon), past.shape[1]
    weights = np.linalg.solve(cov[:seen, :seen], cov[:seen, seen:])
    left = cov[seen:, seen:] - cov[seen:, :seen] @ weights
    return LEVEL + (past - LEVEL) @ weights, np.sqrt(np.diag(left))


def normal_crps(mean: np.ndarray, std: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """CRPS of a normal law (Gneiting & Raftery 2007, eq. 5)."""
    z = (truth - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


class Exact:
    """The noise to expect in series of `ar2` that are divided by their standard deviation."""

    def __init__(self, process: iw.Gaussian, places: int) -> None:
        cov = torch.from_numpy(covariance(places))
        self.mean, self.process = LEVEL / float(cov[0, 0]) ** 0.5, process
        self.values, self.axes = torch.linalg.eigh(cov / cov[0, 0])

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        schedule = self.process.schedule
        alpha, sigma = (scale.double()[:, None] for scale in (schedule.alpha(t), schedule.sigma(t)))
        seen = (x_t[:, 0].double() - self.mean * alpha) @ self.axes
        return ((sigma * seen / (alpha**2 * self.values + sigma**2)) @ self.axes.T)[:, None].to(x_t)


def exact_model(places: int) -> iw.Diffusion:
    """The model whose denoiser is exact; its units are standard deviations."""
    process = iw.Gaussian(iw.CosineSchedule())
    return iw.Diffusion(iw.Denoiser(Exact(process, places), process, predicts="eps", sees="time"), (1, places))


def draws_by(model: Any, series: np.ndarray, horizon: int, unit: float, n: int, **options: Any) -> np.ndarray:
    """Draws `(n, N, horizon)` of the last places of series `(N, L)`."""
    hidden = np.array(series / unit)
    hidden[:, -horizon:] = np.nan
    shaped = hidden.reshape(-1, *model.units.data_shape).astype(np.float32)
    found = np.asarray(model.impute(shaped, n, seed=0, **options), np.float64)
    return found.reshape(n, *series.shape)[..., -horizon:] * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--places", type=int, default=40)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--series", type=int, default=16)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    horizon, count = options.horizon, options.series
    if options.run is None:
        series, unit = ar2().data[:count, : options.places].astype(np.float64), covariance(1)[0, 0] ** 0.5
        model = exact_model(options.places)
    else:
        run = iw.Run(options.run)
        series, unit, model = run.dataset().data[run.split()[1][:count]].astype(np.float64), 1.0, run.model()
    truth, (mean, std) = series[:, -horizon:], conditional(series[:, :-horizon], horizon)
    best = normal_crps(mean, std, truth).mean()
    print(f"{'method':<32} {'CRPS':>6} {'error':>6} {'spread':>7} {'90 %':>6} {'s':>7}")
    print(f"{'exact law':<32} {1:6.3f} {0:6.3f} {1:7.3f} {coverage_of(mean, std, truth):6.3f}")
    for name in options.methods:
        started = time.process_time()
        draws = draws_by(model, series, horizon, unit, options.draws, steps=options.steps, method=METHODS[name])
        spent, flat = time.process_time() - started, partial(np.reshape, shape=(len(draws), -1))
        score = crps(flat(draws), truth.ravel()).mean() / best
        error = (((draws.mean(0) - mean) / std) ** 2).mean() - (draws.var(0, ddof=1) / std**2).mean() / len(draws)
        spread, held = (draws.var(0, ddof=1) / std**2).mean(), coverage(flat(draws), truth.ravel(), 0.9).mean()
        print(f"{name:<32} {score:6.3f} {error:6.3f} {spread:7.3f} {held:6.3f} {spent:7.1f}", flush=True)


def coverage_of(mean: np.ndarray, std: np.ndarray, truth: np.ndarray) -> float:
    """The share of places within the central 90 % of a normal law."""
    return float((np.abs(truth - mean) < norm.ppf(0.95) * std).mean())


if __name__ == "__main__":
    main()
