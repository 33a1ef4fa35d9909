"""Hide random entries of held-out rows, impute them, and score the draws beside those of other imputers.

    inkwash train breast-cancer
    python benchmarks/imputation.py runs/breast-cancer
    python benchmarks/imputation.py runs/shop --methods "SMC()" --peers IterativeImputer KNNImputer

Prints the scores of `inkwash.calibration` over hidden entries, with standard errors over rows, and seconds per row on
one thread. Numbers are measured in standard deviations of their column in the training rows, those of pictures in grey
levels. Ours is `Diffusion.impute`, with the methods of `--methods`. IterativeImputer is scikit-learn's, with draws from
its posterior. KNNImputer gives one number, which we repeat for all its draws. The mixture of normals is chosen as in
`benchmarks/tables.py`, is conditioned exactly, and needs whole rows. In a mixed table the others see and fill only the
numbers, by scikit-learn's ways around missing cells; ours also sees the categories, and fills them.
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
from inkwash.evaluation.calibration import Impute, Scores, hide, independent, score

Array = np.ndarray


def ours(run: iw.Run, method: iw.posterior.Method, steps: int) -> Impute:
    model = run.model()

    def draw(seen: Array, n: int) -> Array:
        rows = seen.reshape(-1, *model.data_shape)
        return model.impute(rows, n, seed=0, steps=steps, method=method).reshape(n, *seen.shape).astype(np.float64)

    return draw


def chained(train: Array) -> Impute:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    imputer = IterativeImputer(sample_posterior=True, random_state=0).fit(train)
    return lambda seen, n: np.stack([imputer.transform(seen) for _ in range(n)])


def nearest(train: Array) -> Impute:
    from sklearn.impute import KNNImputer

    imputer = KNNImputer().fit(train)
    return lambda seen, n: np.repeat(imputer.transform(seen)[None], n, 0)


def mixture(train: Array) -> Impute:
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


def words(found: Scores) -> Iterator[str]:
    return (f"{name} {mean.value:.3f} ±{mean.std_error or 0:.3f}" for name, mean in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of a table or of pictures")
    parser.add_argument("--rows", type=int, default=114)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=["MomentMatching()", "RePaint()"], choices=METHODS)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = iw.Run(options.run)
    dataset = run.dataset()
    data = dataset.data
    train, held_out = (data[part].reshape(len(part), -1).astype(np.float64) for part in run.split())
    truth = held_out[: options.rows]
    hidden, spread = hide(truth, 0), np.nanstd(train, 0)
    unit = np.ones(train.shape[1]) if data.ndim > 2 else np.where(spread > 0, spread, 1.0)
    codes = np.array(dataset.spec.sizes or (0,) * train.shape[1]) > 0
    fitters: dict[str, Callable[[], Impute]] = {
        **{name: (lambda m=METHODS[name]: ours(run, m, options.steps)) for name in options.methods},
        "independent": lambda: independent(train, 0),
        **{name: (lambda p=PEERS[name]: of_numbers(p, train, unit, ~codes)) for name in options.peers},
    }
    for name, fit in fitters.items():
        draw, began = fit(), time.perf_counter()
        draws = draw(np.where(hidden, np.nan, truth), options.draws)
        seconds = (time.perf_counter() - began) / len(truth)
        known = codes if np.isnan(draws).any() else np.zeros_like(codes)
        for kind, found in score(draws, truth, hidden & ~known & (spread > 0), unit, codes).items():
            print(f"{name:<18} {kind:<11} {', '.join(words(found))}; {seconds:.3f} s per row", flush=True)


def of_numbers(fitter: Callable[[Array], Impute], train: Array, unit: Array, number: Array) -> Impute:
    """An imputer of only the columns of numbers, in their own unit; the draws of the other columns are NaN."""
    draw = fitter((train / unit)[:, number])

    def impute(seen: Array, n: int) -> Array:
        draws = np.full((n, *seen.shape), np.nan)
        draws[..., number] = draw((seen / unit)[:, number], n) * unit[number]
        return draws

    return impute


PEERS = {"mixture": mixture, "IterativeImputer": chained, "KNNImputer": nearest}


if __name__ == "__main__":
    main()
