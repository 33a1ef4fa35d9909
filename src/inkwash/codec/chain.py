r"""The laws along a grid of times, and bits back along them (Ho et al. 2020, §4.3; Kingma et al. 2021, §5).

A chain of noisy data $x_0, x_1, …$ at the times $0 = \tau_0 < \tau_1 < … < \tau_T = 1$ is sampled by popping bits off
a stack, and each member is pushed once the next is there ("Bit-Swap", Kingma et al. 2019). For each pair of times,

- pop $x_t$ under $q(x_t \mid x_s)$, which gives $-\log q$ bits back,
- push $x_s$ under $p(x_s \mid x_t)$, which takes $-\log p$ bits;

at last, push $x_1$ under the prior. What all pushes take, less what all pops give, is on average the bound on the same
grid, since the product of the $q(x_t \mid x_s)$ is also that of the posteriors. Popping examples does the opposite in
the opposite order. As the forward process is a Markov chain, a member is needed only until the next is there: the stack
lends the bits of two members at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from inkwash.codec.cells import Cells
from inkwash.codec.laws import Data, Noise
from inkwash.codec.stack import Reading, Stack, writing
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.categorical import Categorical
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise import steps
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import Process

_FINENESS = 0.5
"""Width of the bins of noisy data, as a part of the smaller standard deviation of the two steps that meet at a time."""


@dataclass(frozen=True)
class Chain:
    """The laws along a grid of times, and how what follows them is coded.

    Args:
        denoiser: implies the reverse kernel.
        times: decreasing from 1 to 0.
        lattice: of the decoder; see `inkwash.likelihood.bound.bound`.
        cells: what the integers stand for.
        shape: of an example, model units.
        device: where the network lives.
    """

    denoiser: AnyDenoiser
    times: Tensor
    lattice: Lattice | Bins | None
    cells: Cells
    shape: tuple[int, ...]
    device: torch.device

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.denoiser.process

    def push(self, stack: Stack, examples: Tensor) -> None:
        """Push examples, int64 `(B, *shape)`."""
        x_s = self.to_model(examples)
        for i in reversed(range(len(self.times) - 1)):
            x_t = self.noise[i].forward(Reading(stack), self.forward(x_s, i), None)
            with writing(stack) as exchange:
                law = self.reverse(x_t, i)
                if i == len(self.noise) - 1:
                    self.data.exchange(exchange, law, examples)
                else:
                    self.noise[i + 1].reverse(exchange, law, x_s)
            x_s = x_t
        with writing(stack) as exchange:
            self.noise[0].reverse(exchange, self.prior(len(examples)), x_s)

    def pop(self, stack: Stack, count: int) -> Tensor:
        """The `count` examples that were pushed last, int64 `(count, *shape)`."""
        x_t = self.noise[0].reverse(Reading(stack), self.prior(count), None)
        for i in range(len(self.noise) - 1):
            x_s = self.noise[i + 1].reverse(Reading(stack), self.reverse(x_t, i), None)
            self._return(stack, x_s, x_t, i)
            x_t = x_s
        last = len(self.noise) - 1
        examples = self.data.exchange(Reading(stack), self.reverse(x_t, last), None)
        self._return(stack, self.to_model(examples), x_t, last)
        return examples

    def _return(self, stack: Stack, x_s: Tensor, x_t: Tensor, i: int) -> None:
        """Push the bits that gave `x_t`."""
        with writing(stack) as exchange:
            self.noise[i].forward(exchange, self.forward(x_s, i), x_t)

    def prior(self, count: int) -> Any:
        """p(x_1) of `count` examples."""
        return self.process.prior((count, *self.shape), like=torch.zeros((), dtype=torch.float64))

    def forward(self, x_s: Tensor, i: int) -> Any:
        """q(x_t | x_s) for the step that ends at time i of the grid."""
        t, s = self.times[i], self.times[i + 1]
        return self.process.marginal(x_s, t) if s == 0 else self.process.transition(x_s, s, t)

    def reverse(self, x_t: Tensor, i: int) -> Any:
        """p(x_s | x_t) for the step from time i of the grid."""
        t, s, x_t = self.times[i], self.times[i + 1], x_t.to(self.device)
        estimate = self.denoiser(x_t, t)
        if s == 0:
            return self.process.decoder(x_t, estimate, self.times, self.lattice)
        return self.process.reverse(x_t, estimate, s, t)

    @cached_property
    def noise(self) -> list[Noise]:
        """How noisy data is coded at each time above 0."""
        categories, numbers = _categories(self.process), _numbers(self.process)
        mask = 0 if categories is None else int(categories.noise_kind == "absorbing")
        sizes = () if categories is None else tuple(size + mask for size in categories.sizes)
        count = len(self.times) - 1
        widths = [1.0] * count if numbers is None else _widths(numbers.schedule, self.times)
        return [Noise(width, sizes) for width in widths]

    @cached_property
    def data(self) -> Data:
        """How clean data is coded."""
        categories = _categories(self.process)
        return Data(self.cells, () if categories is None else categories.sizes)

    def to_model(self, examples: Tensor) -> Tensor:
        """Integers as model units, float64 `(B, *shape)`."""
        real, process = examples.double(), self.process
        if isinstance(process, Mixed):
            return process.joined(process.parts(self.cells.to_model(real))[0], process.parts(real)[1])
        return self.cells.to_model(real) if isinstance(process, Gaussian) else real


def _categories(process: Process) -> Categorical | None:
    part = process.categories if isinstance(process, Mixed) else process
    return part if isinstance(part, Categorical) else None


def _numbers(process: Process) -> Gaussian | None:
    part = process.numbers if isinstance(process, Mixed) else process
    return part if isinstance(part, Gaussian) else None


def _widths(schedule: Schedule, times: Tensor) -> list[float]:
    """The widths of the bins at each time above 0."""
    found = []
    for i, (t, s) in enumerate(pairwise(times)):
        var = schedule.sigma(t) ** 2 if s == 0 else steps.transition_var(schedule, s, t)
        if i:
            var = torch.minimum(var, steps.posterior_var(schedule, t, times[i - 1]))
        found.append(_FINENESS * math.sqrt(float(var)))
    return found


@contextmanager
def reproducible() -> Iterator[None]:
    """Within it, a network gives the same bits in every process on a machine: it takes one thread, and no gradients."""
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
        elif is_dataclass(value) and not isinstance(value, Process):
            yield from tensors_of(value)
