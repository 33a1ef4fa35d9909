"""Compare learned grids with uniform ones, on the data of a run.

    python benchmarks/grids.py runs/digits --examples 256

Prints the bound of held-out data in nats, and the accuracy of a random forest that tells samples from held-out data
(0.5 is chance), at 5, 10 and 20 steps. One grid is learned from the bound of training examples, the other from 64
trajectories.
"""

import argparse
import time
from pathlib import Path

import inkwash as iw
from inkwash.evaluation.metrics import two_sample_test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--examples", type=int, default=256, help="examples to learn from, to evaluate, and samples")
    options = parser.parse_args()
    run = iw.Run(options.run)
    model, data = run.model(), run.dataset().data
    inside, held_out = (data[part[: options.examples]] for part in run.split())
    learned = {}
    for name, learn in {
        "bound": lambda: iw.model.bound_costs(model, inside),
        "trajectory": lambda: iw.model.trajectory_costs(model, seed=0),
    }.items():
        started = time.perf_counter()
        learned[name] = learn()
        print(f"{name}: {learned[name].evaluations} evaluations, {time.perf_counter() - started:.1f} s", flush=True)
    print("steps  grid        bound   ancestral  ddim")
    for steps in (5, 10, 20):
        grids = {"uniform": iw.uniform_grid(steps), **{name: costs.grid(steps) for name, costs in learned.items()}}
        for name, times in grids.items():
            bound = float(model.bound(held_out, times=times, seed=1).total.mean())
            told = [
                two_sample_test(model.sample(len(held_out), seed=2, sampler=s, times=times), held_out, shuffles=1)
                for s in (iw.Ancestral(), iw.DDIM())
            ]
            accuracies = "  ".join(f"{test.accuracy:9.3f}" for test in told)
            print(f"{steps:5d}  {name:<10}  {bound:6.2f}  {accuracies}", flush=True)


if __name__ == "__main__":
    main()
