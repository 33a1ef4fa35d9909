"""Compute the bound of one trained network under several schedules, on grids of several numbers of steps.

    python benchmarks/schedules.py runs/digits

Takes a run whose network predicts levels. Such a network sees the log-SNR and data scaled to keep its variance, so it
serves any schedule. Each figure is bits/dim of the same held-out examples with the same noise, with all terms
evaluated.
"""

import argparse
import json
from pathlib import Path

import inkwash as iw
from inkwash.process import SCHEDULES

FIXED = ("linear", "cosine", "log-linear", "rectified", "sohl-dickstein", "karras")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run that predicts levels")
    parser.add_argument("--examples", type=int, default=16, help="held-out examples")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000], help="numbers of steps")
    options = parser.parse_args()
    run = iw.Run(options.run)
    first = run.header().config.process.log_snr_first
    trained, held_out = run.model(), run.dataset().data[run.split()[1][: options.examples]]
    for name in FIXED:
        for steps in options.steps:
            schedule = iw.LogLinearSchedule(steps, first) if name == "log-linear" else SCHEDULES[name](steps)
            process = iw.Gaussian(schedule)
            denoiser = iw.Denoiser(trained.denoiser.network, process, trained.denoiser.predicts, "small", "log_snr")
            model = iw.Diffusion(denoiser, trained.shape, trained.transform, steps)
            parts = model.bound(held_out).bits_per_dim
            print(json.dumps({"schedule": name, "steps": steps, "bits_per_dim": round(float(parts.mean()), 3)}))


if __name__ == "__main__":
    main()
