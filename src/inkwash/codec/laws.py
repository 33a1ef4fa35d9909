r"""The laws of diffusion as models of an entropy coder: of noisy data on a fixed grid, and of clean data in its cells.

Noisy real numbers are multiples of a width $\delta$, the same for both laws of a time; the mass of a multiple is that
of the bin around it. Clean numbers are coded by bisection of their range of integers: each half has the mass that the
law puts between the ends of its cells, so any law with a distribution function will do, and a mass is never rounded to
nothing.

Symbols have multiples of 2^-24 for probabilities, none of them 0. A symbol that a law all but excludes is therefore
still popped now and then; windows around the mean keep the noise from being far off then.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inkwash.codec.cells import Cells
from inkwash.codec.stack import Exchange
from inkwash.process.distributions import (
    BinnedNormal,
    Bits,
    DiscretizedNormal,
    Masses,
    Normal,
    NormalMixture,
    log_ndtr_difference,
)
from inkwash.process.mixed import Joint
from inkwash.process.spike_slab import SpikeSlab

_DIGITS = 64
"""Means of noisy data are rounded to this part of a bin, so that the last bits of a network seldom matter."""
_NARROWEST = 1 / 64
"""The smallest standard deviation, in bins."""
_NEAR, _FAR = 6.5, 16.0
"""How far a window reaches from the mean, in standard deviations: that of noise, and that of the model."""
_LEAST_REACH, _MOST_REACH = 64, 2**14
_FARTHEST = 2**30
"""Multiples of the width reach so far."""


@dataclass(frozen=True)
class Noise:
    """How noisy data of one time is coded.

    Args:
        width: of the bins of real numbers, model units.
        sizes: the number of states of each entry, for categories.
    """

    width: float
    sizes: tuple[int, ...] = ()

    def forward(self, exchange: Exchange, law: object, known: Tensor | None) -> Tensor:
        """Exchange noisy data `(B, *event)` under the law of the noise, which is popped first of all; so it always lies
        within a window."""
        return self._exchange(exchange, law, known, escapes=False)

    def reverse(self, exchange: Exchange, law: object, known: Tensor | None) -> Tensor:
        """Exchange noisy data under the law of the model, from which it may be any distance."""
        return self._exchange(exchange, law, known, escapes=True)

    def _exchange(self, exchange: Exchange, law: object, known: Tensor | None, escapes: bool) -> Tensor:
        if isinstance(law, Joint):
            numbers, categories = (None, None) if known is None else law.process.parts(known)
            found = self._exchange(exchange, law.numbers, numbers, escapes)
            return law.process.joined(found, self._exchange(exchange, law.categories, categories, escapes))
        if isinstance(law, Normal):
            return exchange_normal(exchange, law, known, self.width, escapes)
        return exchange_states(exchange, law, known, self.sizes, certain=not escapes).double()


def exchange_states(
    exchange: Exchange, law: object, known: Tensor | None, sizes: tuple[int, ...], certain: bool = False
) -> Tensor:
    """Exchange bits, levels or categories, int64 `(B, *event)`.

    Args:
        exchange: with a stack.
        law: `Bits` or `Masses`.
        known: the numbers of the states, if they are written.
        sizes: the number of states of each entry, for categories; empty where all entries have all.
        certain: whether a state of probability 1 needs no symbol.
    """
    if isinstance(law, Bits):
        share, symbols = law.logits.double().sigmoid().cpu(), None if known is None else known.flatten()
        return exchange(exchange.models.Bernoulli(perfect=False), symbols, share.flatten()).reshape(share.shape)
    if not isinstance(law, Masses):
        raise TypeError(f"no law of states: {type(law).__name__}")
    masses = law.logits.double().softmax(-1).cpu()
    found, open_ = masses.argmax(-1), masses.amax(-1) < (1.0 if certain else 2.0)
    for size in sorted({*sizes} - {1}) if sizes else [masses.shape[-1]]:
        turn = open_ & torch.tensor([each == size for each in sizes]) if sizes else open_
        symbols = None if known is None else known[turn]
        found[turn] = exchange(exchange.models.Categorical(perfect=False), symbols, masses[turn][:, :size])
    return found


def exchange_normal(exchange: Exchange, law: Normal, known: Tensor | None, width: float, escapes: bool) -> Tensor:
    """Exchange real numbers `(B, *event)` that are multiples of a width.

    Args:
        exchange: with a stack.
        law: their law.
        known: the numbers, if they are written.
        width: of the bins.
        escapes: whether they may be outside the window around the mean; its last symbol then says so, and the multiple
            follows by itself.
    """
    mean = ((law.mean.double().cpu() / width * _DIGITS).round() / _DIGITS).nan_to_num(0.0)
    mean = mean.clamp(-_FARTHEST, _FARTHEST)
    std = (law.var.double().cpu().sqrt() / width).nan_to_num(1.0).clamp(_NARROWEST, _MOST_REACH).expand(mean.shape)
    centre = mean.round().long()
    deviations, least = (_FAR, _LEAST_REACH) if escapes else (_NEAR, 1)
    reach = int((deviations * std.max()).ceil().clamp(least, _MOST_REACH))
    index = None if known is None else (known.double().cpu() / width).round().long()
    away = None if index is None else (index - centre).flatten()
    if away is not None and escapes:
        away = torch.where(away.abs() < reach, away, reach)
    family = exchange.models.QuantizedGaussian(-reach, reach)
    symbols = exchange(family, away, (mean - centre).flatten(), std.flatten()).reshape(mean.shape)
    found = centre + symbols
    if escapes and bool((far := symbols == reach).any()):
        found[far] = _exchange_far(exchange, None if index is None else index[far], int(far.sum()))
    return found * width


def _exchange_far(exchange: Exchange, index: Tensor | None, count: int) -> Tensor:
    """Exchange multiples of the width by themselves, in two halves of 16 bits."""
    family, size = exchange.models.Uniform(), torch.full((count,), 2**16, dtype=torch.int32)
    shifted = None if index is None else index + 2**31
    high, low = (
        exchange(family, None if shifted is None else part(shifted), size)
        for part in (lambda each: each >> 16, lambda each: each & 0xFFFF)
    )
    return (high << 16) + low - 2**31


@dataclass(frozen=True)
class Data:
    """How clean data is coded.

    Args:
        cells: what the integers of numbers stand for; they are not needed for bits, categories, and levels with masses.
        sizes: the number of states of each entry, for categories.
    """

    cells: Cells
    sizes: tuple[int, ...] = ()

    def exchange(self, exchange: Exchange, law: object, known: Tensor | None) -> Tensor:
        """Exchange clean data, int64 `(B, *event)`, under the law of the decoder."""
        if isinstance(law, Joint):
            numbers, categories = (None, None) if known is None else law.process.parts(known)
            cells = self.cells.entries(law.process.places[0])
            found = exchange_cells(exchange, law.numbers, numbers, cells)
            return law.process.joined(found, exchange_states(exchange, law.categories, categories, self.sizes))
        if isinstance(law, Bits | Masses):
            return exchange_states(exchange, law, known, self.sizes)
        return exchange_cells(exchange, law, known, self.cells)


def exchange_cells(exchange: Exchange, law: object, known: Tensor | None, cells: Cells) -> Tensor:
    """Exchange the numbers of cells, int64 `(B, *event)`, by bisection.

    Args:
        exchange: with a stack.
        law: of the numbers in model units.
        known: the integers, if they are written.
        cells: what they stand for.
    """
    low, high = (end.expand(_batch(law)) for end in (cells.low, cells.high))
    while bool((open_ := high > low).any()):
        middle = (low + high).div(2, rounding_mode="floor")
        split = cells.above(middle)
        below, above = log_mass(law, cells.below(low), split), log_mass(law, split, cells.above(high))
        share = (above - below).sigmoid().nan_to_num(0.5)[open_]
        bits = None if known is None else (known > middle)[open_].long()
        upper = torch.zeros_like(open_)
        upper[open_] = exchange(exchange.models.Bernoulli(perfect=False), bits, share) == 1
        low, high = torch.where(upper, middle + 1, low), torch.where(upper | ~open_, high, middle)
    return low


def log_mass(law: object, low: Tensor, high: Tensor) -> Tensor:
    """The logarithm of the mass that a law of real numbers puts between `low` and `high`, `(B, *event)`."""
    if isinstance(law, NormalMixture):
        means, std = law.means.cpu(), law.var.sqrt().cpu()
        ends = ((end[..., None] - means) / std for end in (low, high))
        return (law.logits.log_softmax(-1).cpu() + log_ndtr_difference(*ends)).logsumexp(-1)
    if isinstance(law, SpikeSlab):
        log_share, values = law.logits.log_softmax(-1).cpu(), law.values.cpu()
        in_cell = (values >= low[..., None]) & (values < high[..., None])
        slab = log_share[..., -1] + log_mass(law.slab, low, high)
        return torch.cat([log_share[..., :-1].masked_fill(~in_cell, -torch.inf), slab[..., None]], -1).logsumexp(-1)
    if isinstance(law, Normal | DiscretizedNormal | BinnedNormal):
        mean, std = law.mean.cpu(), law.std.cpu()
        return log_ndtr_difference((low - mean) / std, (high - mean) / std)
    raise TypeError(f"no law of numbers: {type(law).__name__}")


def _batch(law: Any) -> torch.Size:
    """The shape of the numbers of a law."""
    if isinstance(law, SpikeSlab):
        return law.slab.mean.shape
    return law.means.shape[:-1] if isinstance(law, NormalMixture) else law.mean.shape
