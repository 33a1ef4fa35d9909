r"""Bits back along the chain of diffusion: a file as long as the variational bound (Kingma et al. 2021, §5; Ho et al. 2020,
§4.3).

A chain of noisy data $x_0, x_1, …$ at the times $0 = \tau_0 < \tau_1 < … < \tau_T = 1$ is sampled by popping bits off
the stack, and each member is pushed once the next is there (Kingma et al. 2019, "Bit-Swap"): for each pair of times,

- pop $x_t$ under $q(x_t \mid x_s)$, which gives $-\log q$ bits back,
- push $x_s$ under $p(x_s \mid x_t)$, which takes $-\log p$ bits;

at last $x_1$ is pushed under the prior. What all pushes take, less what all pops give, is on average the bound on the
same grid of times, since the product of the $q(x_t \mid x_s)$ is that of the posteriors. The decoder does the opposite
in the opposite order. As the forward process is a Markov chain, a member is needed only until the next is there, so
that a stack lends the bits of two members at most.

Examples go in batches, for the network's sake. The members of a batch are on loan together, and the first bits come
from a seed, at a cost: so the first batch is a single example, and a batch takes as many as the bits of those before it
can lend. A batch writes its number of examples, so that the decoder knows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.cells import Cells
from inkwash.codec.laws import Data, Noise
from inkwash.codec.stack import WORD_BYTES, Reading, Stack, first_words, models, writing
from inkwash.core.errors import DataError
from inkwash.core.progress import reached
from inkwash.core.randomness import Purpose, Slots, generator
from inkwash.core.shapes import event_size
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.categorical import Categorical
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise import steps
from inkwash.process.process import Process

_FINENESS = 0.25
"""Width of the bins of noisy data, as a part of the smaller standard deviation of the two steps that meet at a time."""


@dataclass(frozen=True)
class BitsBack:
    """The scheme for many examples.

    Args:
        denoiser: implies the reverse kernel.
        times: decreasing from 1 to 0.
        shape: of an example, model units.
        lattice: of the decoder; see `inkwash.likelihood.bound.bound`.
        cells: what the integers stand for.
        seed: of the first bits.
        device: where the network lives.
        most: the most examples of a batch.
    """

    name: ClassVar = "bits-back"
    denoiser: AnyDenoiser
    times: Tensor
    shape: tuple[int, ...]
    lattice: Lattice | Bins | None
    cells: Cells
    seed: int
    device: torch.device
    most: int

    @property
    def probe(self) -> bytes:
        with reproducible():
            x = self.chain.process.prior((min(self.most, 4), *self.shape), like=torch.zeros((), dtype=torch.float64))
            x_t = x.draw(generator(0, Purpose.COMPRESS))
            digest = blake2b(digest_size=8)
            for i in range(0, len(self.times) - 1, max(1, (len(self.times) - 1) // 2)):
                for tensor in tensors_of(self.chain.reverse(x_t, i)):
                    digest.update(tensor.contiguous().cpu().numpy().tobytes())
            return digest.digest()

    @property
    def chain(self) -> Chain:
        """The laws along the times."""
        return Chain(self.denoiser, self.times, self.lattice, self.cells, self.device)

    def encode(self, examples: Tensor) -> bytes:
        with reproducible():
            chain, stack = self.chain, Stack(self._first_words())
            need, start = 0.0, 0
            while start < len(examples):
                spare = stack.words - stack.lowest
                count = min(max(1, int(spare / need)) if need else 1, self.most, len(examples) - start)
                before, stack.lowest, lowest = stack.words, stack.words, stack.lowest
                chain.push(stack, examples[start : start + count])
                need, stack.lowest = max(need, (before - stack.lowest) / count), min(lowest, stack.lowest)
                stack.push(np.array([count - 1], np.int32), models().Uniform(self.most))
                start += count
                reached(start / len(examples))
            return stack.to_bytes()

    def decode(self, data: bytes, count: int) -> Tensor:
        if len(data) % WORD_BYTES or not any(data[-WORD_BYTES:]):
            raise DataError("chunk", f"{len(data)} bytes", "those of a bits-back chunk")
        with reproducible():
            chain, stack = self.chain, Stack(np.frombuffer(data, "<u4").astype(np.uint32))
            parts, left = list[Tensor](), count
            while left:
                batch = int(stack.pop(models().Uniform(self.most), 1)[0]) + 1
                if batch > left:
                    raise DataError("chunk", f"a batch of {batch} where {left} examples are left", "another model or file")
                parts.insert(0, chain.pop(stack, batch, self.shape))
                left -= batch
                reached(1 - left / count)
            if not stack.holds_end_of(self._first_words()):
                raise DataError("chunk", "bits that are left over", "those of the seed, as when it was encoded")
            return torch.cat(parts)

    def _first_words(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """More words than a single example needs: one for each entry of two members of its chain."""
        return first_words(self.seed, 2 * event_size(self.shape) + 64)


@dataclass(frozen=True)
class Chain:
    """The laws along a grid of times, and how what follows them is coded."""

    denoiser: AnyDenoiser
    times: Tensor
    lattice: Lattice | Bins | None
    cells: Cells
    device: torch.device

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.denoiser.process

    def push(self, stack: Stack, examples: Tensor) -> None:
        """Push examples, int64 `(B, *event)`."""
        x, data = self.to_model(examples), self.data
        x_s = x
        for i in reversed(range(len(self.times) - 1)):
            x_t = self.noise(i).forward(Reading(stack), self.forward(x_s, i), None)
            with writing(stack) as exchange:
                law = self.reverse(x_t, i)
                if i == len(self.times) - 2:
                    data.exchange(exchange, law, examples)
                else:
                    self.noise(i + 1).reverse(exchange, law, x_s)
            x_s = x_t
        with writing(stack) as exchange:
            self.noise(0).reverse(exchange, self.prior(x_s.shape), x_s)

    def pop(self, stack: Stack, count: int, shape: tuple[int, ...]) -> Tensor:
        """The examples, in the opposite order of `push`."""
        x_t = self.noise(0).reverse(Reading(stack), self.prior((count, *shape)), None)
        for i in range(len(self.times) - 1):
            law = self.reverse(x_t, i)
            if i == len(self.times) - 2:
                examples = self.data.exchange(Reading(stack), law, None)
                x_s = self.to_model(examples)
            else:
                x_s = self.noise(i + 1).reverse(Reading(stack), law, None)
            with writing(stack) as exchange:
                self.noise(i).forward(exchange, self.forward(x_s, i), x_t)
            x_t = x_s
        return examples

    def prior(self, shape: tuple[int, ...]) -> Any:
        """p(x_1)."""
        return self.process.prior(shape, like=torch.zeros((), dtype=torch.float64))

    def forward(self, x_s: Tensor, i: int) -> Any:
        """q(x_t | x_s) for the step that ends at time i of the grid."""
        t, s = self.times[i], self.times[i + 1]
        return self.process.marginal(x_s, t) if s == 0 else self.process.transition(x_s, s, t)

    def reverse(self, x_t: Tensor, i: int) -> Any:
        """p(x_s | x_t) for the step from time i of the grid."""
        t, s = self.times[i], self.times[i + 1]
        x_t = x_t.to(self.device)
        estimate = self.denoiser(x_t, t)
        if s == 0:
            return self.process.decoder(x_t, estimate, self.times, self.lattice)
        return self.process.reverse(x_t, estimate, s, t)

    def noise(self, i: int) -> Noise:
        """How noisy data at time i of the grid is coded."""
        process, t = self.process, self.times[i]
        gaussian = process.numbers if isinstance(process, Mixed) else process
        sizes = _sizes(process)
        if not isinstance(gaussian, Gaussian):
            return Noise(1.0, sizes)
        schedule, s = gaussian.schedule, self.times[i + 1]
        var = schedule.sigma(t) ** 2 if s == 0 else steps.transition_var(schedule, s, t)
        if i:
            var = torch.minimum(var, steps.posterior_var(schedule, t, self.times[i - 1]))
        return Noise(_FINENESS * math.sqrt(float(var)), sizes)

    @property
    def data(self) -> Data:
        """How clean data is coded."""
        return Data(self.cells, _sizes(self.process))

    def to_model(self, examples: Tensor) -> Tensor:
        """Integers as model units, float64 `(B, *event)`."""
        real = examples.double()
        process = self.process
        if isinstance(process, Mixed):
            return process.joined(process.parts(self.cells.to_model(real))[0], process.parts(real)[1])
        return self.cells.to_model(real) if isinstance(process, Gaussian) else real


def _sizes(process: Process) -> tuple[int, ...]:
    categories = process.categories if isinstance(process, Mixed) else process
    return categories.sizes if isinstance(categories, Categorical) else ()


@contextmanager
def reproducible() -> Iterator[None]:
    """Networks give the same bits in one process as in another: no gradients, and one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def tensors_of(law: Any) -> Iterator[Tensor]:
    """All tensors of a law."""
    for each in fields(law):
        value = getattr(law, each.name)
        if isinstance(value, Tensor):
            yield value
        elif is_dataclass(value) and not isinstance(value, type | Process):
            yield from tensors_of(value)
