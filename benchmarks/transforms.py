"""Measure the loss in log-density on tables whose density is known, by transform.

    python benchmarks/transforms.py

There are two tables of two dependent columns and 4,000 rows: lognormal, the exponential of a correlated normal; and
heavy-tailed, a Cauchy law in either column, coupled by a normal copula (some of it is below zero, so it has no
logarithm). For each transform we train in the same way, on all but a fifth of the rows. The script prints by how many
nats per row the log-density along the flow falls short of the true one: mean, standard error and median over 400 rows
held out.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import inkwash as iw
from inkwash.core.display import Display

CORRELATION = 0.7


def coupled(count: int) -> np.ndarray:
    """Correlated standard normal pairs."""
    return np.random.default_rng(0).multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]], count)


def log_copula(z: np.ndarray) -> np.ndarray:
    """Log-density of normal pairs over that of independent ones."""
    joint = stats.multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]])
    return joint.logpdf(z) - stats.norm.logpdf(z).sum(1)


def marginals(name: str) -> list:
    """The true laws of both columns."""
    if name == "lognormal":
        return [stats.lognorm(2.0, scale=np.exp(2)), stats.lognorm(1.0, scale=np.exp(-1))]
    return [stats.cauchy(5, 3), stats.cauchy(-1, 0.5)]


def rows(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and their true log-density."""
    z, laws = coupled(count), marginals(name)
    x = np.stack([law.ppf(stats.norm.cdf(column)) for law, column in zip(laws, z.T, strict=True)], 1)
    return x, log_copula(z) + sum(law.logpdf(column) for law, column in zip(laws, x.T, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, kinds in (("lognormal", ("standard", "log", "quantile")), ("heavy-tailed", ("standard", "quantile"))):
        x, truth = rows(name, 4000)
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                run = iw.train(
                    x,
                    Path(folder, "run"),
                    data=iw.DataConfig(transform=kind),
                    network=iw.NetworkConfig(width=64, depth=2),
                    train=iw.TrainConfig(steps=options.steps, ema=(0.1,), seed=0),
                    display=Display(False),
                    report=False,
                )
                places = run.split()[1][:400]
                found = run.model().log_prob(x[places], solver=iw.Adaptive(1e-3, 1e-3)).value.numpy()
            short = truth[places] - found
            error = short.std(ddof=1) / len(short) ** 0.5
            print(f"{name:<14}{kind:<10}{short.mean():8.3f} ± {error:.3f}, median {np.median(short):.3f}", flush=True)


if __name__ == "__main__":
    main()
