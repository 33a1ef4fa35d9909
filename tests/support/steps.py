"""Training step by step, from the start, on a CPU."""

from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator
from faults import tiny

from inkwash.core.config import DenoiserConfig
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.training.examples import Examples
from inkwash.training.families.diffusion import Denoising
from inkwash.training.loop import training
from inkwash.training.resolve import resolve
from inkwash.training.state import start


def begun(data, custom=None, predicts=None, **options):
    """A state before training, the steps of its training on a data set, its options and its examples.

    Args:
        data: the data set.
        custom: an objective, instead of that of the options.
        predicts: what the network predicts.
        **options: those of training.
    """
    config = resolve(replace(tiny(data.name, **options), denoiser=DenoiserConfig(predicts)), data.spec)
    examples = Examples(data.data, np.arange(len(data.data)), fit_transform(data.spec, data.data))
    state = start(config, examples, torch.device("cpu"))
    if custom is not None:
        state = replace(state, stages=(replace(state.stage, lesson=Denoising(custom)),))
    return state, training(state, examples, config.train, Accelerator(cpu=True)), config, examples


def levels_examples(count=300):
    """Pairs of small whole numbers."""
    spec = DataSpec((2,), "ND", "uint8", 0.0, 4.0, 5)
    data = np.random.default_rng(2).binomial(4, 0.3, size=(count, 2)).astype(np.uint8)
    return Examples(data, np.arange(count), fit_transform(spec, data))


def copied(state):
    """Copies of all tensors of a state, by name."""
    return {f"{g}/{n}": t.clone() for g, tensors in state.tensors().items() for n, t in tensors.items()}


def same(a, b):
    """Whether two sets of named tensors are equal."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
