"""One network, many models: the reverse variance and the number of steps, decided after training.

    python benchmarks/decide_later.py --out runs/decide-later

Trains one network on the digits, with a learned variance, unless the folder already holds that run. It prints a line
for each number of steps and each variance: the bound of held-out data on the grid of so many steps, in bits per
dimension, and the accuracy of a random forest that tells ancestral samples of so many steps from held-out data. The
last line says which accuracy is exceeded by chance once in 20.
"""

import argparse
from pathlib import Path

import inkwash as iw
from inkwash.evaluation.metrics import two_sample_test

SHUFFLES = 19


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/decide-later"), help="the run's folder")
    parser.add_argument("--train-steps", type=int, help="optimizer steps, by default those of inkwash train")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 250, 1000], help="steps of bound and sampler")
    parser.add_argument("--examples", type=int, default=200, help="held-out examples, and samples")
    parser.add_argument("--terms", type=int, default=100, help="terms of the bound per example")
    options = parser.parse_args()
    run = iw.train(
        "digits",
        options.out,
        process=iw.ProcessConfig("cosine"),
        denoiser=iw.DenoiserConfig("eps", "learned"),
        train=iw.TrainConfig(options.train_steps),
        report=False,
    )
    model, data, (train, held_out) = run.model(), run.dataset().data, run.split()
    x = data[held_out[: options.examples]]
    variances = {name: name for name in ("small", "large", "learned")}
    variances["analytic"] = model.measured_variance(data[train[:256]])
    print("| steps | variance | bound, bits/dim | two-sample accuracy |")
    print("| --- | --- | --- | --- |")
    for steps in options.steps:
        for name, variance in variances.items():
            decided = model.with_options(variance=variance, steps=steps)
            bound = decided.bound(x, steps=steps, terms=min(options.terms, steps - 1), seed=1).mean()
            test = two_sample_test(samples := decided.sample(len(x), seed=2), x, shuffles=1)
            print(f"| {steps} | {name} | {bound.total:.3f} ± {bound.std_error:.3f} | {test.accuracy:.3f} |", flush=True)
    print(f"\nby chance up to {two_sample_test(samples, x, shuffles=SHUFFLES).null_high:.3f}")


if __name__ == "__main__":
    main()
