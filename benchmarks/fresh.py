"""What a forest can know of a drawn set: how fresh data and samples compare with the few held-out examples of a run.

    python benchmarks/fresh.py "vectors of 1 number" runs/kinds/vectors-of-1-number

A run of `kinds.py` holds out 120 waves or 400 cells. Of the law behind a drawn set there is as much data as one likes.
The first lines show how the two-sample accuracy varies when fresh data, and then samples, stand against the same
held-out examples; 0.5 is chance. The last line compares many samples with as much fresh data.
"""

import argparse

import numpy as np
from kinds import DRAWN

import inkwash as iw
from inkwash.data.rows import take
from inkwash.evaluation.metrics import two_sample_test


def accuracies(of: list[np.ndarray], held_out: np.ndarray) -> str:
    """The mean and the range of the accuracies of several sets."""
    found = [two_sample_test(each, held_out, shuffles=1).accuracy for each in of]
    return f"{np.mean(found):.3f}, from {min(found):.3f} to {max(found):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=DRAWN)
    parser.add_argument("run")
    parser.add_argument("--sets", type=int, default=8, help="how many sets of fresh data and of samples")
    parser.add_argument("--steps", type=int, default=250, help="of the sampler")
    options = parser.parse_args()
    make, run = DRAWN[options.name][0], iw.Run(options.run)
    held_out = take(run.dataset().data, run.split()[1])
    count, sets = len(held_out), options.sets
    drawn = run.model().sample(count * sets, seed=0, steps=options.steps).reshape(-1, *held_out.shape[1:])
    many = [make(count=count * sets, seed=seed).reshape(drawn.shape) for seed in (101, 202)]
    print(f"{count} fresh against held out    {accuracies(np.split(many[0], sets), held_out)}")
    print(f"{count} samples against held out  {accuracies(np.split(drawn, sets), held_out)}")
    print(f"{len(drawn)} samples against fresh   {accuracies([drawn], many[1])}")
    print(f"{len(drawn)} fresh against fresh     {accuracies([many[0]], many[1])}")


if __name__ == "__main__":
    main()
