r"""The scheme for few examples: the levels of each are found by halving cells, and no bits are lent.

The noise of a chain comes back at the end, but meanwhile it takes far more bits than a single example has. Here noisy
data is a function of the data and of what both ends know. Let x be one of the levels $0, …, S - 1$ and u a number of
the seed. Once the cell of $x + u$, of width $\Delta$, is known, its middle less u differs from x by noise that is
uniform, of variance $\Delta^2/12$, and independent of x: it is a dithered quantiser (Theis et al. 2022, "Lossy
compression with Gaussian diffusion"; Yang et al. 2025, "Progressive compression with universally quantized diffusion
models"). The network gets the middles as noisy data of this variance and answers with a law of each entry, under which
the half that $x + u$ lies in is a bit of known probability. Cells begin at many times the range and end at one level.

What this takes more than the bound has two causes. The noise is uniform, where the network has seen normal noise. And
the bits of one evaluation are coded as if they were independent; so in turns only a part of the entries is halved, and
the others see more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inkwash.codec.bits_back import probe
from inkwash.codec.chain import Chain, reproducible
from inkwash.codec.stack import Exchange, Reading, Stack, writing
from inkwash.core.errors import DataError
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, generator
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Estimate, Gaussian

_FINE = 256
"""Parts of a level in which offsets are counted."""
_WIDER = 5
"""How often the range is doubled for the first cells. Few entries have the middle of such a cell in their range: what
little is coded without a look at others is then almost nothing."""


def halvings(levels: int) -> int:
    """How often cells are halved until each holds one level."""
    return (levels - 1).bit_length() + _WIDER


@dataclass(frozen=True)
class Direct:
    """The scheme for few examples.

    Args:
        chain: whose network gives masses of levels; its times are not used.
        process: of the chain.
        lattice: the levels.
        seed: of the offsets and of the turns.
        turns: in how many turns the entries are halved.
        most: the most examples of a batch.
    """

    chain: Chain
    process: Gaussian
    lattice: Lattice
    seed: int
    turns: int
    most: int
    name: Literal["bits-back", "direct"] = "direct"

    @property
    def probe(self) -> bytes:
        return probe(self.chain)

    def encode(self, examples: Tensor) -> bytes:
        with reproducible():
            stack = Stack.of_bytes(b"")
            for batch in tracked(list(reversed(examples.split(self.most)))):
                with writing(stack) as exchange:
                    self.exchange(exchange, len(batch), batch)
            return stack.to_bytes()

    def decode(self, data: bytes, count: int) -> Tensor:
        with reproducible():
            stack = Stack.of_bytes(data)
            sizes = [min(self.most, count - start) for start in range(0, count, self.most)]
            parts = [self.exchange(Reading(stack), size, None) for size in tracked(sizes)]
            if stack.words:
                raise DataError("chunk", f"{stack.words} words that are left over", "an undamaged chunk")
            return torch.cat(parts)

    def exchange(self, exchange: Exchange, count: int, known: Tensor | None) -> Tensor:
        """Exchange `count` examples, int64 `(count, *shape)`."""
        random, shape, top = generator(self.seed, Purpose.COMPRESS, 1), self.chain.shape, halvings(self.lattice.levels)
        offset = torch.randint(_FINE << (top - 1), shape, generator=random)
        turn = torch.randperm(offset.numel(), generator=random).reshape(shape) % self.turns
        cell = torch.zeros((count, *shape), dtype=torch.int64)
        width = torch.full(shape, top)
        for now in reversed(range(top)):
            for i in range(self.turns):
                law = self._law(offset, cell, width, now + 1 - i / self.turns)
                share = self._upper(law, offset, cell, now)[:, turn == i]
                half = None if known is None else (_cell(known * _FINE + offset, now) & 1)[:, turn == i]
                symbols = None if half is None else half.flatten()
                bits = exchange(exchange.models.Bernoulli(perfect=False), symbols, share.flatten())
                cell[:, turn == i] = 2 * cell[:, turn == i] + bits.reshape(share.shape)
                width[turn == i] = now
        return cell - offset // _FINE

    def _upper(self, law: Tensor, offset: Tensor, cell: Tensor, now: int) -> Tensor:
        """The probability that each entry is in the upper half of its cell, whose halves are 2^now levels wide."""
        place = torch.arange(self.lattice.levels) * _FINE + offset[..., None]
        half = _cell(place, now)
        within = torch.where(half >> 1 == cell[..., None], law, 0.0)
        upper = torch.where(half & 1 == 1, within, 0.0).sum(-1)
        return (upper / within.sum(-1)).nan_to_num(0.5)

    def _law(self, offset: Tensor, cell: Tensor, width: Tensor, mean_width: float) -> Tensor:
        """The law of the levels of each entry given the cells of the others, `(B, *event, S)`.

        Args:
            offset: of each entry, `(*event)`.
            cell: the number of the cell of each entry, `(B, *event)`.
            width: the logarithm of its width to base 2, in levels, `(*event)`.
            mean_width: that by which the network knows the noise.
        """
        schedule, values = self.process.schedule, self.lattice.values()
        middle = (cell + 0.5) * 2.0**width - offset / _FINE
        noise = 2.0**mean_width * self.lattice.spacing / math.sqrt(12)
        t = schedule.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64))
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        x_t = alpha * (self.lattice.low + middle * self.lattice.spacing)
        estimate = self.chain.denoiser(x_t.to(self.chain.device), t)
        logits = level_logits(estimate)
        away = (x_t[..., None] - alpha * values) / sigma
        return (logits + 0.5 * away**2).softmax(-1)


def level_logits(estimate: Estimate) -> Tensor:
    """The log-masses of levels given noisy data, their own entry's too, float64."""
    if estimate.level_logits is None:
        raise TypeError("an estimate without levels")
    return estimate.level_logits.double().cpu()


def _cell(place: Tensor, width: int) -> Tensor:
    """The number of the cell, 2^width levels wide, that a place in parts of a level lies in."""
    return place.div(_FINE << width, rounding_mode="floor")
