r"""The scheme for few examples: the levels of each are found by halving cells, and no bits are lent.

The noise of a chain comes back at the end, but meanwhile it takes far more bits than a single example has. Here noisy
data is a function of the data and of what both ends know. Let x be one of the levels $0, …, S - 1$ and u a number of
the seed. Once the cell of $x + u$, of width $\Delta$, is known, its middle less u differs from x by noise that is
uniform, of variance $\Delta^2/12$, and independent of x: it is a dithered quantiser (Theis et al. 2022, "Lossy
compression with Gaussian diffusion"; Yang et al. 2025, "Progressive compression with universally quantized diffusion
models"). The network gets the middles as noisy data of this variance and answers with a law of each entry, under which
the half that $x + u$ lies in is a bit of known probability. Cells begin at many times the range and end at one level.

What this takes more than the bound has two causes. The bits of one evaluation are coded as if they were independent; so
in turns only a part of the entries is halved, far from each other, and the others see more. And the noise is uniform,
where the network has seen normal noise. Cells wider than the range say much of a few entries, whose levels they cut,
and nothing of the others, but their middles say a little of all. While cells are wide, the network therefore gets what
is worth as much as the cells (as in expectation propagation, Minka 2001): for each entry the noisy number after which
the law that the network gave it last would have the mean that it has within the cell.

Cells need not be halved until they hold one level. If the last are as wide as the noise of a time t, the reader knows
what it would know from $x_t$, for about as many bits as the bound has spent by t (Ho et al. 2020, §4.3), and is given
the mean of the levels within its cells: this is how examples are compressed with loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inkwash.codec.bits_back import probe
from inkwash.codec.chain import Chain, reproducible
from inkwash.codec.stack import Exchange, Reading, Stack, writing
from inkwash.core.errors import DataError
from inkwash.core.machine import return_freed_memory
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, generator
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Estimate, Gaussian

FINE = 256
"""Parts of a level in which offsets and the widths of cells are counted."""
_LEAST_VAR = 1e-3
"""The least variance that a law counts as having, in squares of a level."""
_TINY = 1e-300
"""A mass that levels have within a cell where the network excludes all of them."""
_WIDER = 5
"""How often the range is doubled for the first cells. Few entries have the middle of such a cell in their range: what
little is coded without a look at others is then almost nothing."""
_FARTHEST = 6.0
"""How far what is worth as much as a cell may be from the mean of a law, in standard deviations of the noise."""
_SURENESS = 0.7
"""The share of the log-odds that counts for halves at least twice as wide as the range. Trained networks are too sure
of them; the number was chosen on training examples of two runs."""


def halvings(levels: int, finest: int = FINE) -> int:
    """How often cells are halved until they are `finest` parts of a level wide; by default each holds one level."""
    return ((_widest(levels) - 1) // finest).bit_length()


def finest_at(process: Gaussian, lattice: Lattice, t: float) -> int:
    r"""The width of cells whose noise, of variance $\Delta^2/12$, is that of time t; at least one level."""
    noise = math.exp(-0.5 * float(process.schedule.log_snr(t))) / lattice.spacing
    return max(FINE, round(min(FINE * math.sqrt(12) * noise, _widest(lattice.levels))))


def _widest(levels: int) -> int:
    """At least so wide are the first cells."""
    return FINE << (levels - 1).bit_length() + _WIDER


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
        finest: how wide the last cells are, in parts of a level. `FINE` is one level, and nothing is lost.
        sureness: the share of the log-odds that counts while cells are wide; 1 for a network that knows the data.
    """

    chain: Chain
    process: Gaussian
    lattice: Lattice
    seed: int
    turns: int
    most: int
    finest: int = FINE
    sureness: float = _SURENESS
    name: Literal["bits-back", "direct"] = "direct"

    @property
    def probe(self) -> bytes:
        return probe(self.chain, self.turns, self.most, self.finest, self.sureness)

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

    def given(self, examples: Tensor) -> Tensor:
        with reproducible():
            offset, _ = self._drawn()
            return torch.cat([self.received(offset, self._of(offset, part, 0)) for part in examples.split(self.most)])

    def exchange(self, exchange: Exchange, count: int, known: Tensor | None) -> Tensor:
        """Exchange `count` examples, int64 `(count, *shape)`, and return what the reader makes of them."""
        *_, (_, offset, cell) = self.walk(exchange, count, known)
        return self.received(offset, cell)

    def walk(self, exchange: Exchange, count: int, known: Tensor | None) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Exchange `count` examples by halving.

        Returns:
            Before the first halving and after each: how many are left, the offset of each entry, `(*shape)`, and the
            number of its cell, `(count, *shape)`.
        """
        offset, turn = self._drawn()
        top = halvings(self.lattice.levels, self.finest)
        cell = torch.zeros((count, *self.chain.shape), dtype=torch.int64)
        width, law = torch.full(self.chain.shape, top), None
        yield top, offset, cell
        for now in reversed(range(top)):
            for i in range(self.turns):
                own = turn == i
                law = self._law(offset, cell, width, now + 1 - i / self.turns, law if self._spans(now, 0.5) else None)
                share = self._upper(law[:, own], offset[own], cell[:, own], now)
                half = None if known is None else (self._of(offset, known, now) & 1)[:, own]
                symbols = None if half is None else half.flatten()
                bits = exchange(exchange.models.Bernoulli(perfect=False), symbols, share.flatten())
                cell[:, own] = 2 * cell[:, own] + bits.reshape(share.shape)
                width[own] = now
            return_freed_memory()
            yield now, offset, cell

    def _spans(self, width: int, ranges: float) -> bool:
        """Whether cells that are halved `width` times more span the range so many times."""
        return self.finest << width >= ranges * (FINE << (self.lattice.levels - 1).bit_length())

    def estimate(self, offset: Tensor, cell: Tensor, width: int) -> Tensor:
        """The mean of the levels within the cell of each entry, counted from the lowest, float64 `(B, *event)`.

        Args:
            offset: of each entry, `(*event)`.
            cell: the number of the cell of each entry, `(B, *event)`.
            width: how often it is still halved.
        """
        law = self._law(offset, cell, torch.full_like(offset, width), width)
        return self._within(law, offset, cell, width) @ torch.arange(self.lattice.levels, dtype=torch.float64)

    def seen(
        self, offset: Tensor, cell: Tensor, width: Tensor, mean_width: float, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The time that the network is told, and the noisy data that it is shown; see `_law`."""
        schedule, last = self.process.schedule, self.finest / FINE
        noise = 2.0**mean_width * last / math.sqrt(12)
        if before is None:
            shown = (cell + 0.5) * 2.0**width * last - offset / FINE
        else:
            shown = self._worth(before, self._within(before, offset, cell, width), noise)
        t = schedule.time(torch.tensor(-2 * math.log(noise * self.lattice.spacing), dtype=torch.float64))
        return t, schedule.alpha(t) * (self.lattice.low + shown * self.lattice.spacing)

    def _worth(self, law: Tensor, within: Tensor, noise: float) -> Tensor:
        r"""What is worth as much as the cells, in levels: with noise, it would move the mean of a law as they do.

        A normal law of mean $\mu$ and variance s has the mean $\mu + (y - \mu)\,s/(s + \sigma^2)$ given y.
        """
        level = torch.arange(self.lattice.levels, dtype=torch.float64)
        mean, moment = (law @ torch.stack([level, level**2], 1)).unbind(-1)
        var = (moment - mean**2).clamp(min=_LEAST_VAR)
        moved = (within @ level - mean) * (1 + noise**2 / var)
        return mean + moved.clamp(-_FARTHEST * noise, _FARTHEST * noise)

    def _within(self, law: Tensor, offset: Tensor, cell: Tensor, width: int | Tensor) -> Tensor:
        """A law of the levels given the cell of each entry, `(B, *event, S)`."""
        width = width[..., None] if isinstance(width, Tensor) else width
        fits = self._of(offset[..., None], torch.arange(self.lattice.levels), width) == cell[..., None]
        within = torch.where(fits, law + _TINY, 0.0)
        return (within / within.sum(-1, keepdim=True)).nan_to_num(0.0)

    def _drawn(self) -> tuple[Tensor, Tensor]:
        """The offset of each entry, in parts of a level, and its turn."""
        random, shape = generator(self.seed, Purpose.COMPRESS, 1), self.chain.shape
        widest = self.finest << halvings(self.lattice.levels, self.finest)
        offset = torch.randint(widest // 2, shape, generator=random)
        return offset, (far_apart(shape, random) * self.turns).long()

    def received(self, offset: Tensor, cell: Tensor) -> Tensor:
        """What a reader makes of the last cells: their level, or the nearest to the mean of their levels."""
        return cell - offset // FINE if self.finest == FINE else self.estimate(offset, cell, 0).round().long()

    def _of(self, offset: Tensor, level: Tensor, width: int | Tensor) -> Tensor:
        """The number of the cell that a level lies in with an offset."""
        return _cell(level * FINE + offset, width, self.finest)

    def _upper(self, law: Tensor, offset: Tensor, cell: Tensor, now: int) -> Tensor:
        """The probability that each entry is in the upper half of its cell; the halves are halved `now` times more."""
        half = self._of(offset[..., None], torch.arange(self.lattice.levels), now)
        within = torch.where(half >> 1 == cell[..., None], law, 0.0)
        upper = torch.where(half & 1 == 1, within, 0.0).sum(-1)
        share = (upper / within.sum(-1)).nan_to_num(0.5)
        return (self.sureness * share.logit()).sigmoid() if self._spans(now, 2.0) else share

    def _law(
        self, offset: Tensor, cell: Tensor, width: Tensor, mean_width: float, before: Tensor | None = None
    ) -> Tensor:
        """The law of the levels of each entry given the cells of the others, `(B, *event, S)`.

        Args:
            offset: of each entry, `(*event)`.
            cell: the number of the cell of each entry, `(B, *event)`.
            width: the logarithm of its width to base 2, in widths of the last cells, `(*event)`.
            mean_width: that by which the network knows the noise.
            before: the law that it gave last, if it shall get what is worth as much as the cells and not their middles.
        """
        schedule, values = self.process.schedule, self.lattice.values()
        t, x_t = self.seen(offset, cell, width, mean_width, before)
        estimate = self.chain.denoiser(x_t.to(self.chain.device), t)
        logits = level_logits(estimate)
        away = (x_t[..., None] - schedule.alpha(t) * values) / schedule.sigma(t)
        return (logits + 0.5 * away**2).softmax(-1)


def level_logits(estimate: Estimate) -> Tensor:
    """The log-masses of levels given noisy data, their own entry's too, float64."""
    if estimate.level_logits is None:
        raise TypeError("an estimate without levels")
    return estimate.level_logits.double().cpu()


def _cell(place: Tensor, width: int | Tensor, finest: int = FINE) -> Tensor:
    """The number of the cell that a place, in parts of a level, lies in; cells are `finest` parts doubled `width` times
    wide."""
    return place.div(finest * 2**width, rounding_mode="floor")


def far_apart(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Numbers in [0, 1), such that entries whose numbers are close lie far apart: float64 `shape`.

    Rows and columns are numbered by the bits of their places, the last first, as on a chessboard that is made of
    chessboards; what lies along other dimensions, such as the colours of a pixel, begins at other quarters. The
    entries of a vector have no neighbours, and come in random order.
    """
    if len(shape) < 2:
        return torch.randperm(shape[0], generator=random).double() / shape[0]
    row, column = torch.arange(shape[-2])[:, None], torch.arange(shape[-1])
    found = torch.zeros(shape[-2:], dtype=torch.float64)
    for k in range(max(shape[-2:]).bit_length()):
        found += (2 * ((row >> k ^ column >> k) & 1) + (row >> k & 1)) / 4.0 ** (k + 1)
    others = torch.arange(math.prod(shape[:-2])).reshape(*shape[:-2], 1, 1)
    return (found + (4 * others).div(others.numel(), rounding_mode="floor") / 4) % 1
