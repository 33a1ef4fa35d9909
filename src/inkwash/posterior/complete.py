"""Missing entries drawn given the others: for each example the product of the model with what is known of it.

Examples that lack an entry are taken some at a time, side by side, each with entries of its own that are known, and so
many draws of each at a time: what is drawn for an example does not depend on how often it is drawn.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.randomness import Purpose, generator, slot_rows
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.posterior.evidence import EachKnown
from inkwash.posterior.method import Method
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import end_of, walk

_FEW, _DRAWS = 8, 64
"""Draws of an example at a time: of many examples, and of few or where those of one are chosen among each other."""


def complete(
    denoiser: AnyDenoiser,
    x: Tensor,
    n: int,
    *,
    times: Tensor,
    seed: int,
    method: Method,
    like: Tensor,
    sampler: Sampler | None = None,
    condition: Mapping[str, Any] | None = None,
) -> Tensor:
    """Draw what is NaN in examples `n` times, given the rest.

    Args:
        denoiser: of the model.
        x: `(B, *shape)`, model units, float64.
        n: how many draws of each.
        times: of the walk, decreasing from 1 to 0.
        seed: any integer >= 0.
        method: one that takes several examples side by side.
        like: a tensor of the dtype, and on the device, of noisy data.
        sampler: how to walk; the method's own by default.
        condition: what the denoiser is asked with, a row for each example.

    Returns:
        `(n, B, *shape)`, model units.

    Raises:
        ConfigError: a method that takes one example at a time.
    """
    if not method.side_by_side:
        raise ConfigError("method", method, "MomentMatching, RePaint or SMC, which take several examples side by side")
    shape = tuple(x.shape[1:])
    rows = slot_rows(shape, like.device)
    drawn = x.to(like.dtype).repeat(n, *[1] * x.ndim)
    incomplete = x.isnan().flatten(1).any(1).nonzero()[:, 0]
    several = min(rows, max(rows // max(len(incomplete), 1), _FEW), _DRAWS)
    draws = _DRAWS if method.chooses_among_draws else several
    for group, places in enumerate(incomplete.split(max(rows // draws, 1)) if len(incomplete) else ()):
        part = x[places]
        evidence = EachKnown(~part.isnan(), part.nan_to_num(0.0))
        guided, walker = method.compose(under(denoiser, condition, places), evidence, sampler)
        ends = []
        for first in range(0, n, draws):
            random = generator(seed, Purpose.IMPUTE, group, first)
            x_1 = guided.process.prior((draws * len(part), *shape), like=like).draw(random)
            x_0 = evidence.with_known(end_of(walk(guided, walker, x_1, times, random)).x_s)
            ends.append(x_0.unflatten(0, (draws, len(part))))
        drawn[:, places] = torch.cat(ends)[:n]
    return drawn
