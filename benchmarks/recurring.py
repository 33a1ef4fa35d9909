"""How well a forest tells samples of a table with many zeros from data, with and without probabilities for them.

    python benchmarks/recurring.py

The table has 4,000 days: rain, which falls on few and more often in the warm half of a year, and a temperature. Runs
are made in a temporary folder, with the default options but for the number of steps.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import inkwash as iw
from inkwash.core.config import EvaluateConfig


def days(count: int = 4000, seed: int = 0) -> pd.DataFrame:
    """Rain, mm, zero on nine days of ten, and degrees."""
    random = np.random.default_rng(seed)
    season = np.sin(random.uniform(0, 2 * np.pi, count))
    wet = random.random(count) < 0.11 + 0.08 * season
    rain = np.where(wet, random.lognormal(1, 1, count), 0.0)
    return pd.DataFrame({"rain": rain, "heat": 12 + 8 * season - 3 * wet + random.normal(0, 2, count)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    table = days()
    print(f"{(table['rain'] == 0).mean():.3f} of the data are zero")
    with TemporaryDirectory() as folder:
        table.to_csv(Path(folder) / "days.csv", index=False)
        for masses in (None, ("none",)):
            data, training = iw.DataConfig(masses=masses), iw.TrainConfig(steps=options.steps)
            run = iw.train(f"{folder}/days.csv", Path(folder) / str(masses), data=data, train=training, report=False)
            test = iw.evaluate(run.path, EvaluateConfig(bound_terms=5))["two_sample"]
            drawn = run.model().sample(4000, steps=100, seed=0)
            zero = np.mean(drawn[:, 0] == 0)
            found = f"accuracy {test['accuracy']:.3f} ({test['null_high']:.3f} by chance)"
            print(f"data.masses {masses}: {found}, {zero:.3f} of samples are zero")


if __name__ == "__main__":
    main()
