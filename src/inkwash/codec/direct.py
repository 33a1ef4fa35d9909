r"""A file for a single example: levels are found by halving cells, and no bits are lent.

The noise of a chain that comes back at the end is worth many times a single example. Here the noisy data is instead a
function of the data and of what both ends know. Let $x$ be one of the levels $0, …, S - 1$ and u a number from the seed.
The cell of $x + u$, of width $\Delta$, is known: its middle, less u, differs from x by noise that is uniform, of
variance $\Delta^2/12$, and independent of x (a dithered quantiser; Theis et al. 2022, Yang et al. 2025, "Progressive
compression with universally quantized diffusion models"). The network gets it as noisy data at the time of this
variance, and answers with a law of each entry; the half of the cell that x + u is in is then a bit of known
probability. Cells begin at twice the range and end at one level.

What it takes beyond the bound has two causes: noise is uniform where the network has seen normal noise, and a few steps
code all entries as if they were independent. In each of the `groups` of a step only a part of the entries is halved,
so that the others see more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.chain import reproducible
from inkwash.codec.stack import WORD_BYTES, Exchange, Reading, Stack, writing
from inkwash.core.randomness import Purpose, generator
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Gaussian

_FINE = 256
"""Parts of a level in which offsets are counted."""


@dataclass(frozen=True)
class Direct:
    """The scheme for few examples.

    Args:
        denoiser: one that gives masses of levels.
        shape: of an example, model units.
        lattice: the levels.
        seed: of the offsets and the order.
        groups: in how many parts the entries are halved at each width.
        most: the most examples of a batch.
    """

    name: ClassVar = "direct"
    denoiser: AnyDenoiser
    process: Gaussian
    shape: tuple[int, ...]
    lattice: Lattice
    seed: int
    groups: int
    device: torch.device
    most: int
    wider: int = 0

    @property
    def halvings(self) -> int:
        """How often cells are halved, from twice the range to one level."""
        return (2 * self.lattice.levels - 1).bit_length() + self.wider

    def encode(self, examples: Tensor) -> bytes:
        with reproducible():
            stack = Stack(np.zeros(0, np.uint32))
            for batch in reversed(examples.split(self.most)):
                with writing(stack) as exchange:
                    self._exchange(exchange, len(batch), batch)
            return stack.to_bytes()

    def decode(self, data: bytes, count: int) -> Tensor:
        with reproducible():
            stack = Stack(np.frombuffer(data, "<u4").astype(np.uint32))
            sizes = [min(self.most, count - i) for i in range(0, count, self.most)]
            return torch.cat([self._exchange(Reading(stack), size, None) for size in sizes])

    def _exchange(self, exchange: Exchange, count: int, known: Tensor | None) -> Tensor:
        random = generator(self.seed, Purpose.COMPRESS, 1)
        shape, top = (count, *self.shape), self.halvings
        offset = torch.randint(_FINE << top, self.shape, generator=random).expand(shape)
        group = torch.randperm(offset[0].numel(), generator=random).reshape(self.shape) % self.groups
        place = torch.arange(self.lattice.levels) * _FINE + offset[..., None]  # of each level, (B, *event, S)
        own = None if known is None else known * _FINE + offset
        width = torch.full(shape, top + 1)  # cells have the width 2^width levels
        cell = torch.zeros(shape, dtype=torch.int64)
        for now in range(top, -1, -1):
            for part in range(self.groups):
                turn = (group == part).expand(shape)
                law = self._law(offset, cell, width, now + 1 - part / self.groups)
                inner = place.div(_FINE << now, rounding_mode="floor")
                law = law.masked_fill(inner >> 1 != cell[..., None], 0.0)
                upper = law.masked_fill(inner & 1 == 0, 0.0).sum(-1)
                share = (upper / law.sum(-1)).nan_to_num(0.5)[turn]
                bits = None if own is None else (own.div(_FINE << now, rounding_mode="floor") & 1)[turn]
                bit = exchange(exchange.models.Bernoulli(perfect=False), bits, share)
                cell[turn] = 2 * cell[turn] + bit
                width[turn] = now
        return cell - offset.div(_FINE, rounding_mode="floor")

    def _law(self, offset: Tensor, cell: Tensor, width: Tensor, mean_width: float) -> Tensor:
        """The law of the levels of each entry, `(B, *event, S)`, before its own cell is taken into account."""
        size = 2.0**width
        middle = (cell + 0.5) * size - offset / _FINE
        x = self.lattice.low + middle * self.lattice.spacing
        noise = 2.0**mean_width * self.lattice.spacing / 12**0.5
        t = self.process.schedule.time(torch.tensor(-2 * np.log(noise), dtype=torch.float64))
        alpha, sigma = self.process.schedule.alpha(t), self.process.schedule.sigma(t)
        x_t = (alpha * x).to(self.device)
        logits = self.denoiser(x_t, t).level_logits.double().cpu()
        away = (x_t.cpu()[..., None] - alpha * self.lattice.values()) / sigma
        return (logits + 0.5 * away**2).softmax(-1)
