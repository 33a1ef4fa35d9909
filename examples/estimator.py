"""A diffusion model in scikit-learn: a search chooses its number of steps, and the best model fills in a missing entry.

Run it with `python examples/estimator.py`. It takes a few minutes on a laptop.
"""

import numpy as np
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split

from inkwash.sklearn import DiffusionDensity


def main(steps: tuple[int, ...] = (100, 300, 900), width: int = 64) -> None:
    train, test = train_test_split(load_wine().data, random_state=0)
    grid = {"steps": list(steps)}
    search = GridSearchCV(DiffusionDensity(width=width, depth=2, density="bound"), grid, cv=3).fit(train)
    print(f"best number of steps: {search.best_params_['steps']}")
    print(f"held out: {search.score(test):.2f} nats or more; one normal {GaussianMixture().fit(train).score(test):.2f}")

    wine = test[:1].copy()
    wine[0, 0] = np.nan  # alcohol, per cent
    draws = [filled[0, 0] for filled in search.best_estimator_.impute(wine, n=100, random_state=0)]
    low, high = np.quantile(draws, [0.05, 0.95])
    print(f"alcohol is {test[0, 0]:.2f} %, and between {low:.2f} and {high:.2f} given the rest, by 90 of 100 draws")


if __name__ == "__main__":
    main()
