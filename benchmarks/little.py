"""Measure what helps a network that learns few examples, without a look at the examples that a run holds out.

    python benchmarks/little.py --few 320 --every 500 digits -- --train.steps 1000 --network.dropout 0.1
    python benchmarks/little.py --final digits -- --train.steps 5000 --train.augment shift

A fifth of the part that `inkwash train` trains on is set aside in its place. With --final the examples are those that a
run holds out: use it once, for what was chosen. The words after -- are options of `inkwash train`. Every line has the
number of steps, the processor time of training in one thread, and for each horizon of --train.ema the bound on examples
set aside, on as many that were trained on, and the mean and standard error of their difference; in bits per dimension
for data with levels, in nats per example otherwise. The bound is that on the grid of the model, with the same draws for
all.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator

from inkwash.commands.cli import Train
from inkwash.commands.parse import parse
from inkwash.training.loop import training
from inkwash.training.prepare import Prepared, prepare
from inkwash.training.state import start


def prepared(words: list[str], options: argparse.Namespace) -> Prepared:
    """What training starts from, with examples to train on and to judge by."""
    found = prepare(parse(Train, "inkwash train", [options.data, *words]).config(options.data))
    places = found.examples.indices
    if not options.final:
        places = np.random.default_rng(1).permutation(places)
        cut = int(0.8 * len(places))
        found = replace(found, held_out=replace(found.held_out, indices=places[cut:]))
        places = places[:cut]
    return replace(found, examples=replace(found.examples, indices=places[: options.few]))


def bounds(found: Prepared, average: torch.nn.Module, options: argparse.Namespace) -> str:
    """The bound on examples that are set aside and on examples trained on, in words."""
    model, spec = found.model(average), found.transform.spec
    unit = math.log(2) * math.prod(spec.shape) if spec.levels else 1.0
    means, errors = [], []
    for part in (found.held_out, found.examples):
        rows = part.indices[: options.examples]
        total = model.bound(found.dataset.data[rows], terms=options.terms).total / unit
        means.append(float(total.mean()))
        errors.append(float(total.std()) / math.sqrt(len(rows)))
    gap = f"{means[0] - means[1]:.3f} ± {math.hypot(*errors):.3f}"
    return f"{means[0]:.4f} ± {errors[0]:.4f} | {means[1]:.4f} | {gap}"


def lines(words: list[str], options: argparse.Namespace) -> Iterator[str]:
    """Train, and say how good it is at each look."""
    found = prepared(words, options)
    config, spent = found.config.train, 0.0
    state = start(found.config, found.examples, torch.device("cpu"))
    began = time.process_time()
    for done in training(state, found.examples, config, Accelerator(cpu=True)):
        if done.step % options.every and done.step < config.steps:
            continue
        spent += time.process_time() - began
        for horizon, average in zip(state.averages.horizons, state.averages.modules, strict=True):
            yield f"| {done.step} | {spent:.0f} | {horizon:g} | {bounds(found, average.eval(), options)} |"
        began = time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--few", type=int, help="train on at most so many")
    parser.add_argument("--every", type=int, default=10**9, help="steps between looks")
    parser.add_argument("--examples", type=int, default=400, help="most examples that a bound is taken of")
    parser.add_argument("--terms", type=int, default=10, help="terms of the bound of each")
    parser.add_argument("--final", action="store_true")
    parser.add_argument("words", nargs="*", help="options of inkwash train, after --")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(" ".join([options.data, *options.words]))
    print("| steps | seconds | horizon | set aside | trained on | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for line in lines(options.words, options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
