"""Entries of held-out rows are hidden at random: how good are the draws of them, beside other imputers?

    inkwash train breast-cancer
    python benchmarks/imputation.py runs/breast-cancer
    python benchmarks/imputation.py runs/digits --rows 20 --draws 40

Continuous ranked probability score (CRPS, the fair one of an ensemble; the lower the better), coverage of the central
50 % and 90 % intervals, and root mean square error of the mean of the draws; over hidden entries, with standard errors
over rows; seconds per row, on one thread. Entries of tables are counted in standard deviations of their column in the
rows trained on, those of pictures in grey levels. Ours multiplies the model with what is seen, row by row.
IterativeImputer is scikit-learn's with draws from its posterior. KNNImputer gives one number, whose score is its
absolute error. The mixture of normals, chosen as in `benchmarks/tables.py`, is conditioned exactly. All are fitted to
rows without a gap.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from inpainting import METHODS
from tables import best_mixture

import inkwash as iw

Array = np.ndarray
Draw = Callable[[Array, int], Array]
"""Rows with NaN for what is hidden `(N, D)`, and a number n, to `(n, N, D)`."""


def ours(run: iw.Run, method: iw.Method, steps: int) -> Draw:
    model = run.model()

    def draw(seen: Array, n: int) -> Array:
        rows = seen.reshape(-1, *model.data_shape)
        products = (model * iw.Observed(~np.isnan(row), row) for row in rows)
        found = [p.sample(n, seed=i, steps=steps, method=method) for i, p in enumerate(products)]
        return np.stack(found, 1).reshape(n, *seen.shape).astype(np.float64)

    return draw


def chained(train: Array) -> Draw:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    imputer = IterativeImputer(sample_posterior=True, random_state=0).fit(train)
    return lambda seen, n: np.stack([imputer.transform(seen) for _ in range(n)])


def nearest(train: Array) -> Draw:
    from sklearn.impute import KNNImputer

    imputer = KNNImputer().fit(train)
    return lambda seen, n: imputer.transform(seen)[None]


def mixture(train: Array) -> Draw:
    best, random = best_mixture(train), np.random.default_rng(0)
    count, size = best.means_.shape
    full = {"tied": lambda c: np.tile(c, (count, 1, 1)), "diag": lambda c: np.stack([np.diag(v) for v in c])}
    covs = full.get(best.covariance_type, lambda c: c)(best.covariances_)

    def given(row: Array, n: int) -> Array:
        known = ~np.isnan(row)
        away = row[known] - best.means_[:, known]
        pulls = [np.linalg.solve(c[known][:, known], c[known]) for c in covs]
        log_dets = [np.linalg.slogdet(c[known][:, known])[1] for c in covs]
        inverse = [np.linalg.solve(c[known][:, known], d) for c, d in zip(covs, away, strict=True)]
        log_weights = np.log(best.weights_) - 0.5 * (np.array(log_dets) + (away * np.array(inverse)).sum(1))
        weights = np.exp(log_weights - log_weights.max())
        draws = []
        for k in random.choice(count, n, p=weights / weights.sum()):
            rest = covs[k] - covs[k][:, known] @ pulls[k]
            spread = random.multivariate_normal(np.zeros(size), rest, check_valid="ignore")
            draws.append(best.means_[k] + away[k] @ pulls[k] + spread)
        return np.where(known, row, draws)

    return lambda seen, n: np.stack([given(row, n) for row in seen], 1)


def scores(draws: Array, truth: Array) -> Array:
    """CRPS, coverage at 50 % and 90 % with ties counted half, and squared error of the mean, `(4, m)`; of draws
    `(n, m)` and a truth `(m,)`."""
    n, error = len(draws), (draws.mean(0) - truth) ** 2
    off = np.abs(draws - truth).mean(0)
    if n == 1:
        return np.stack([off, off * np.nan, off * np.nan, error])
    apart = (2 * np.arange(1, n + 1) - n - 1) @ np.sort(draws, 0) / (n * (n - 1))  # half the mean distance of two draws
    return np.stack([off - apart, covered(draws, truth, 0.5), covered(draws, truth, 0.9), error])


def covered(draws: Array, truth: Array, share: float) -> Array:
    ends = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=0, method="weibull")
    edge = (truth == ends).any(0)
    return np.where(edge, 0.5, (truth > ends[0]) & (truth < ends[1]))


def row_means(draws: Array, truth: Array, hidden: Array) -> Array:
    """The scores of each row, mean over its hidden entries, `(N, 4)`."""
    places = zip(range(len(truth)), hidden, strict=True)
    return np.array([scores(draws[:, i, rows], truth[i, rows]).mean(1) for i, rows in places])


def words(each: Array) -> Iterator[str]:
    means, errors = each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5
    means[3], errors[3] = means[3] ** 0.5, errors[3] / (2 * means[3] ** 0.5)
    return (f"{m:6.3f} ±{e:.3f}" for m, e in zip(means, errors, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of a table or of pictures")
    parser.add_argument("--hidden", type=float, default=0.3, help="share of the entries")
    parser.add_argument("--rows", type=int, default=114)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=["RePaint(1, 1)"], choices=METHODS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = iw.Run(options.run)
    data = run.dataset().data
    train, held_out = (data[part].reshape(len(part), -1).astype(np.float64) for part in run.split())
    truth = held_out[: options.rows]
    random = np.random.default_rng(0)
    hidden = random.random(truth.shape) < options.hidden
    judged = hidden & (train.std(0) > 0)
    seen = np.where(hidden, np.nan, truth)
    unit = np.ones(train.shape[1]) if data.ndim > 2 else train.std(0)
    fitters: dict[str, Callable[[], Draw]] = {
        **{name: (lambda m=METHODS[name]: ours(run, m, options.steps)) for name in options.methods},
        "mixture": lambda: scaled(mixture, train, unit),
        "IterativeImputer": lambda: scaled(chained, train, unit),
        "KNNImputer": lambda: scaled(nearest, train, unit),
    }
    print(f"{'':<18} {'CRPS':>13} {'50 %':>13} {'90 %':>13} {'RMSE':>13} {'s per row':>10}")
    for name, fit in fitters.items():
        draw, began = fit(), time.perf_counter()
        draws = draw(seen, options.draws)
        seconds = (time.perf_counter() - began) / len(truth)
        found = row_means(draws / unit, truth / unit, judged)
        print(f"{name:<18} " + " ".join(f"{w:>13}" for w in words(found)) + f" {seconds:10.3f}", flush=True)


def scaled(fitter: Callable[[Array], Draw], train: Array, unit: Array) -> Draw:
    """An imputer of rows in their own unit."""
    draw = fitter(train / unit)
    return lambda seen, n: draw(seen / unit, n) * unit


if __name__ == "__main__":
    main()
