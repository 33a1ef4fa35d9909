"""How many places series have, where not all have as many: drawn as in the data, or given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.model.units import Units, beyond_end
from inkwash.sample.walk import State


def drawn_lengths(counts: Sequence[int], random: Sequence[torch.Generator]) -> Array:
    """A number of places for each generator, drawn from `counts`, how many series have 1, 2, … places."""
    share = np.cumsum(counts) / np.sum(counts)
    points = [float(torch.rand((), generator=each, dtype=torch.float64)) for each in random]
    return 1 + np.searchsorted(share, points, side="right")


def places_of(units: Units, n: int, lengths: Any) -> Tensor:
    """Which places `n` series have, boolean `(n, C, L)`.

    Args:
        units: those of a model of series of unequal length.
        n: how many series.
        lengths: how many places they have, from 1 to L: a number, or one for each.

    Raises:
        ConfigError: a model of other data, or bad lengths.
    """
    if units.lengths is None:
        raise ConfigError("lengths", lengths, "none: the examples of this model all have one shape")
    found, most = np.asarray(lengths), units.shape[-1]
    if found.shape not in ((), (n,)) or found.dtype.kind not in "iu" or not ((found >= 1) & (found <= most)).all():
        raise ConfigError("lengths", lengths, f"a whole number from 1 to {most}, or {n} of them")
    there = torch.arange(most) < torch.as_tensor(found).reshape(-1, 1, 1)
    return there.expand(n, *units.shape)


def ended(walk: Iterable[State], present: Tensor) -> Iterator[State]:
    """A walk of series that ends in NaN beyond the last place that is `present`, boolean `(B, C, L)`."""
    beyond = beyond_end(torch.zeros(present.shape).masked_fill(~present, math.nan))
    for state in walk:
        yield (
            state._replace(x_s=state.x_s.masked_fill(beyond.to(state.x_s.device), math.nan)) if state.s == 0 else state
        )
