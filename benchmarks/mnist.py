"""Measure bits per dimension of MNIST after a short training on a CPU.

    python benchmarks/mnist.py mnist.npz

Trains with the defaults of `inkwash train` on the training images of an .npz file with the arrays x_train and x_test,
then evaluates the bound in continuous time on all test images as they are: 28x28, 256 levels. The run is kept, so a
second call only evaluates.
"""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import inkwash as iw
from inkwash.training.build import count_parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="an .npz file with x_train and x_test")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"), help="the run's folder")
    parser.add_argument("--steps", type=int, help="optimizer steps, by default those of inkwash train")
    parser.add_argument("--terms", type=int, default=1, help="terms of the bound per test image")
    options = parser.parse_args()
    data = iw.DataConfig(key="x_train", held_out=0.01)
    run = iw.train(options.data, options.out, data=data, train=iw.TrainConfig(steps=options.steps))
    model = run.model()
    started = time.perf_counter()
    bound = model.bound(np.load(options.data)["x_test"], steps=math.inf, terms=options.terms, seed=0)
    result = {
        "bound": asdict(bound.mean()),
        "parameters": count_parameters(model.denoiser),
        "steps": run.header().step,
        "seconds_of_training": round(run.header().seconds),
        "seconds_of_evaluation": round(time.perf_counter() - started),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
