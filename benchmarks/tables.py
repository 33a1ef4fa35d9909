"""Compare densities of small tables: ours, a mixture of normals, a neural spline flow and trees.

    pip install -c constraints.txt -e '.[bench]'
    inkwash train breast-cancer
    python benchmarks/tables.py runs/breast-cancer --levels 20 --copies 10

All models train on the same 80 % of the rows, standardised by their means and standard deviations, and are judged on
the other 20 % by three measures. The first is the mean log-density in nats per row of standardised data, with its
standard error over rows; ours is the bound, in continuous time if there are no categories, and then the log-density
along the flow as well. The second is the accuracy of a random forest that tells as many draws from these rows, with the
95 % quantile of that accuracy when origins are shuffled. The third is the sliced Wasserstein-1 distance between the
two. The training rows are judged in the same way, to show what draws can reach.

Rows with missing cells are left out, in training and in judging: the peers and the densities know none. Ours has been
trained on them as well.

Columns of whole numbers are rounded in all draws. Peers with a density learn them, and categories by their numbers,
with uniform noise as wide as one. They are also judged on that data, so their density is a lower bound on a
probability, as ours is (Theis et al. 2016, section 3.1). The mixture's components and covariances are chosen by
five-fold cross-validation. The flow (zuko's NSF) stops early on a tenth of the training rows, and keeps its best
weights. The trees (ForestDiffusion) have no density. Seconds are of the wall clock, on one thread.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import inkwash as iw
from inkwash.data.transform import fit_transform
from inkwash.evaluation.metrics import two_sample_test

Array = np.ndarray
TERMS, DIRECTIONS = 1000, 1000


@dataclass(frozen=True)
class Fitted:
    """A model of standardised rows.

    Args:
        log_probs: names of ways to a log-density, each `(B, D) -> (B,)`.
        sample: returns so many rows, `(n, D)`.
    """

    log_probs: dict[str, Callable[[Array], Array]]
    sample: Callable[[int], Array]


@dataclass(frozen=True)
class Table:
    """The rows of a run's data, standardised by the training rows.

    Args:
        standard: standardises rows.
        train: training rows, `(N, D)`.
        held_out: held-out rows, `(M, D)`.
        width: width of a whole number in each column, `(D,)`; 0 for real ones.
    """

    standard: iw.data.Transform
    train: Array
    held_out: Array
    width: Array

    @classmethod
    def of(cls, run: iw.Run) -> "Table":
        dataset, (inside, outside) = run.dataset(), run.split()
        standard = replace(fit_transform(dataset.spec, dataset.data, rows=inside), bounds={})  # draws as they are
        rows = (dataset.data[part] for part in (inside, outside))
        complete = [part[~np.isnan(part).any(1)] for part in rows]
        print(f"rows without gaps: {' and '.join(map(str, map(len, complete)))} of {len(inside)} and {len(outside)}")
        parts = (standard.to_model(part).double().numpy() for part in complete)
        width = np.where(dataset.spec.is_real, 0.0, 1 / np.array(standard.scale))
        return cls(standard, *parts, width)

    def rounded(self, x: Array) -> Array:
        """Rows with whole-number columns rounded."""
        data = self.standard.to_data(torch.from_numpy(np.asarray(x, np.float64)))
        return self.standard.to_model(data).double().numpy()

    def spread(self, x: Array) -> Array:
        """Rows with uniform noise added to whole numbers."""
        return x + self.width * (np.random.default_rng(0).random(x.shape) - 0.5)

    def judged_spread(self, fitted: Fitted) -> Fitted:
        """Turn a model of rows with noise into one of standardised rows."""
        ways = {name: (lambda x, way=way: way(self.spread(x))) for name, way in fitted.log_probs.items()}
        return Fitted(ways, fitted.sample)


def inkwash(run: iw.Run, table: Table) -> Fitted:
    model, standard = run.model(), table.standard
    volume = float(np.log(standard.scale).sum())  # from a density in data units to that of standardised rows

    def data_of(x: Array) -> Array:
        return standard.to_data(torch.from_numpy(x))

    continuous = isinstance(model.process, iw.Gaussian)

    def bound(x: Array) -> Array:
        steps = math.inf if continuous else None
        return volume - model.bound(data_of(x), steps=steps, terms=TERMS).total.numpy()

    def flow(x: Array) -> Array:
        return volume + model.log_prob(data_of(x), solver=iw.Adaptive(1e-3, 1e-3)).value.numpy()

    def sample(n: int) -> Array:
        return standard.to_model(model.sample(n, seed=0)).double().numpy()

    return Fitted({"bound": bound, "flow": flow} if continuous else {"bound": bound}, sample)


def best_mixture(train: Array) -> Any:
    """The mixture of normals that does best in cross-validation."""
    from sklearn.mixture import GaussianMixture
    from sklearn.model_selection import GridSearchCV

    grid = {"n_components": list(range(1, 9)), "covariance_type": ["full", "tied", "diag"], "reg_covar": [1e-6, 1e-3]}
    search = GridSearchCV(GaussianMixture(random_state=0, n_init=2, max_iter=300), grid, cv=5).fit(train)
    print("mixture:", search.best_params_)
    return search.best_estimator_


def mixture(train: Array) -> Fitted:
    best = best_mixture(train)
    return Fitted({"exact": best.score_samples}, lambda n: best.sample(n)[0])


def flow(train: Array, patience: int = 30, epochs: int = 1000) -> Fitted:
    import zuko

    torch.manual_seed(0)
    x = torch.from_numpy(np.random.default_rng(0).permutation(train)).float()
    checked, seen = x.split([len(x) // 10, len(x) - len(x) // 10])
    net = zuko.flows.NSF(x.shape[1], transforms=3, hidden_features=(64, 64))
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
    best, kept, since = math.inf, {}, 0
    while since < patience and epochs:
        for rows in torch.randperm(len(seen)).split(64):
            optimizer.zero_grad()
            (-net().log_prob(seen[rows]).mean()).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(-net().log_prob(checked).mean())
        epochs, since = epochs - 1, 0 if loss < best else since + 1
        if not since:
            best, kept = loss, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    net.requires_grad_(False)
    return Fitted(
        {"exact": lambda x: net().log_prob(torch.from_numpy(x).float()).double().numpy()},
        lambda n: net().sample((n,)).double().numpy(),
    )


def trees(train: Array, levels: int, copies: int) -> Fitted:
    from ForestDiffusion import ForestDiffusionModel

    model = ForestDiffusionModel(train, n_t=levels, duplicate_K=copies, n_jobs=1, seed=0, nthread=1)
    return Fitted({}, lambda n: model.generate(batch_size=n))


def sliced_wasserstein(a: Array, b: Array) -> float:
    """Mean over random directions of the Wasserstein-1 distance of the two projections; a and b have one length."""
    directions = np.random.default_rng(0).normal(size=(a.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(a @ directions, 0) - np.sort(b @ directions, 0)).mean())


def columns(draws: Array, held_out: Array) -> str:
    test = two_sample_test(draws, held_out)
    return f"{test.accuracy:9.2f} {test.null_high:9.2f} {sliced_wasserstein(draws, held_out):9.3f}"


def judge(name: str, fitted: Fitted, table: Table, seconds: float) -> None:
    held_out, began = table.held_out, time.perf_counter()
    draws = table.rounded(fitted.sample(len(held_out)))
    drawing = time.perf_counter() - began
    judged = f"{columns(draws, held_out)} {seconds:9.1f} {drawing:9.2f}"
    for way, log_prob in (fitted.log_probs or {"": None}).items():
        value = None if log_prob is None else log_prob(held_out)
        nats = "-" if value is None else f"{value.mean():.2f} ± {value.std(ddof=1) / len(value) ** 0.5:.2f}"
        print(f"{f'{name} {way}':<24} {nats:>17} {judged}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="runs on one table, with one split")
    parser.add_argument("--peers", nargs="*", default=["mixture", "flow", "trees"])
    parser.add_argument("--levels", type=int, default=50, help="noise levels of the trees")
    parser.add_argument("--copies", type=int, default=100, help="noisy copies of each row for the trees")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [iw.Run(path) for path in options.runs]
    table = Table.of(runs[0])
    titles = ("accuracy", "by chance", "distance", "train, s", "draw, s")
    print(f"{'nats per row':>42} " + " ".join(f"{title:>9}" for title in titles))
    rows = np.random.default_rng(0).permutation(table.train)[: len(table.held_out)]
    print(f"{'rows trained on':<24} {'-':>17} {columns(rows, table.held_out)}")
    for run in runs:
        judge(run.path.name, inkwash(run, table), table, run.header().seconds)
    noisy = table.spread(table.train)
    ways: dict[str, Callable[[], Fitted]] = {
        "mixture": lambda: table.judged_spread(mixture(noisy)),
        "flow": lambda: table.judged_spread(flow(noisy)),
        "trees": lambda: trees(table.train, options.levels, options.copies),
    }
    for name in options.peers:
        began = time.perf_counter()
        try:
            fitted = ways[name]()
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        judge(name, fitted, table, time.perf_counter() - began)


if __name__ == "__main__":
    main()
