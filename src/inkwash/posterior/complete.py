"""Missing entries are sampled given the others: for each example, the product of the model with its known entries.

Groups of examples that lack an entry walk side by side, each example with known entries of its own, and a fixed number
of samples of each at a time. The samples of an example therefore do not depend on how many of them are wanted.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, Slots, generator
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.posterior.evidence import EachKnown
from inkwash.posterior.method import Method
from inkwash.sample.walk import Plan, end_of

_FEW, _MANY = 8, 64
"""Samples of one example at a time: the least where there are many examples, and the most. It is always the most where
a method selects the samples of one example from a population."""


def complete(
    denoiser: AnyDenoiser,
    x: Tensor,
    n: int,
    method: Method,
    plan: Plan,
    *,
    dtype: torch.dtype,
    seed: int,
    condition: Mapping[str, Any],
) -> Tensor:
    """Sample what is NaN in examples `n` times, given the rest.

    Args:
        denoiser: the denoiser of the model.
        x: the examples, `(B, *shape)`, model units, float64.
        n: how many samples of each.
        method: takes several examples side by side.
        plan: the steps of the walk.
        dtype: that of noisy data.
        seed: any integer >= 0.
        condition: inputs of the denoiser by name, with a row for each example.

    Returns:
        `(n, B, *shape)`, model units.

    Raises:
        ConfigError: a method that takes one example at a time.
    """
    if not method.side_by_side:
        raise ConfigError("method", method, "MomentMatching, RePaint or SMC, which take several examples side by side")
    rows = Slots(tuple(x.shape[1:]), x.device).rows
    incomplete = x.isnan().flatten(1).any(1).nonzero()[:, 0]
    at_once = _MANY if method.selects else min(rows, max(rows // max(len(incomplete), 1), _FEW), _MANY)
    completed = x.to(dtype).repeat(n, *[1] * x.ndim)
    groups = incomplete.split(max(rows // at_once, 1)) if len(incomplete) else ()
    for group, places in tracked(list(enumerate(groups))):
        part, samples = x[places], []
        evidence = EachKnown(~part.isnan(), part.nan_to_num(0.0))
        walker = method.compose(under(denoiser, condition, places), evidence, plan.sampler)
        for first in tracked(range(0, n, at_once)):
            random = generator(seed, Purpose.IMPUTE, group, first)
            x_1 = denoiser.process.prior((at_once * len(part), *part.shape[1:]), like=completed).draw(random)
            end = end_of(walker.walk(x_1, plan.times, random)).x_s
            samples.append(evidence.with_known(end).unflatten(0, (at_once, len(part))))
        completed[:, places] = torch.cat(samples)[:n]
    return completed
