"""Rows of numbers and categories as one process: normal noise for the numbers, another category for the categories.

Given the noisy row, the reverse step draws all entries independently, as that of either part does; what they tell of
one another is in the estimate. The parts share the time, so the bound of the whole is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inkwash.categorical import Categorical
from inkwash.distributions import Bins, Comparable, Lattice
from inkwash.errors import ConfigError
from inkwash.gaussian import Gaussian
from inkwash.noise import Schedule
from inkwash.process import Scheduled

if TYPE_CHECKING:
    from inkwash.codes import MixedEstimate


@dataclass(frozen=True)
class Mixed(Scheduled):
    """The process of rows `(B, D)` of numbers and category numbers.

    Args:
        numbers: the process of the numbers.
        codes: that of the categories.
        is_code: which entries are categories, D of them.

    Raises:
        ConfigError: other categories than the process of categories has, or no numbers.
    """

    numbers: Gaussian
    codes: Categorical
    is_code: tuple[bool, ...]
    schedule: Schedule = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", self.numbers.schedule)
        if sum(self.is_code) != len(self.codes.sizes) or all(self.is_code):
            got = f"{sum(self.is_code)} of {len(self.is_code)} entries"
            raise ConfigError("mixed.is_code", got, f"{len(self.codes.sizes)} categories, and one or more numbers")

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Where the numbers are, and where the categories."""
        mask = torch.tensor(self.is_code)
        return (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of rows `(B, D)`, and their categories."""
        numbers, codes = self.places
        return x[:, numbers], x[:, codes]

    def joined(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """The inverse of `parts`."""
        order = torch.cat(self.places).argsort()
        return torch.cat([numbers, codes], 1)[:, order]

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Joint:
        """p(x_1) of both."""
        shapes = ((shape[0], len(place)) for place in self.places)
        return self._both(*(part.prior(s, like) for part, s in zip((self.numbers, self.codes), shapes, strict=True)))

    def marginal(self, x: Tensor, t: float | Tensor) -> Joint:
        """q(x_t | x) of both."""
        numbers, codes = self.parts(x)
        return self._both(self.numbers.marginal(numbers, t), self.codes.marginal(codes, t))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Standard normal numbers, and uniform ones for the categories, float64 whatever the data."""
        numbers, codes = ((shape[0], len(place)) for place in self.places)
        normal = self.numbers.noise(numbers, generator, like)
        return self.joined(normal.double(), self.codes.noise(codes, generator, like))

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw of `marginal(x, t)`, made from `noise`."""
        (numbers, codes), (normal, uniform) = self.parts(x), self.parts(noise)
        return self.joined(self.numbers.diffuse(numbers, t, normal.to(x)), self.codes.diffuse(codes, t, uniform))

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Joint:
        """q(x_t | x_s) of both."""
        numbers, codes = self.parts(x_s)
        return self._both(self.numbers.transition(numbers, s, t), self.codes.transition(codes, s, t))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Joint:
        """q(x_s | x_t, x) of both."""
        (number_t, code_t), (number, code) = self.parts(x_t), self.parts(x)
        return self._both(self.numbers.posterior(number_t, number, s, t), self.codes.posterior(code_t, code, s, t))

    def reverse(self, x_t: Tensor, estimate: MixedEstimate, s: float | Tensor, t: float | Tensor) -> Joint:
        """p(x_s | x_t) of both."""
        numbers, codes = self.parts(x_t)
        return self._both(
            self.numbers.reverse(numbers, estimate.numbers, s, t), self.codes.reverse(codes, estimate.codes, s, t)
        )

    def decoder(self, x_t: Tensor, estimate: MixedEstimate, times: Tensor, lattice: Lattice | Bins | None) -> Joint:
        """p(x | x_t) of both; the lattice, of all entries, says which numbers are whole."""
        numbers, codes = self.parts(x_t)
        bins = Bins(lattice.spacing[self.places[0]]) if isinstance(lattice, Bins) else None
        return self._both(
            self.numbers.decoder(numbers, estimate.numbers, times, bins),
            self.codes.decoder(codes, estimate.codes, times),
        )

    def _both(self, numbers: Any, codes: Any) -> Joint:
        return Joint(numbers, codes, self)


@dataclass(frozen=True)
class Joint(Comparable):
    """Independent numbers and categories.

    Args:
        numbers: the law of the numbers.
        codes: that of the categories.
        process: knows which entries are which.
    """

    numbers: Any
    codes: Any
    process: Mixed

    @property
    def mean(self) -> Tensor:
        """Means of the numbers, and of the numbers of the categories."""
        return self.process.joined(self.numbers.mean, self.codes.mean)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, D)`."""
        return self.process.joined(self.numbers.draw(generator), self.codes.draw(generator))

    def final(self, generator: torch.Generator) -> Tensor:
        return self.process.joined(self.numbers.final(generator), self.codes.final(generator))

    def entry_log_prob(self, x: Tensor) -> Tensor:
        numbers, codes = self.process.parts(x)
        return self.process.joined(self.numbers.entry_log_prob(numbers), self.codes.entry_log_prob(codes))

    def entry_entropy(self) -> Tensor:
        return self.process.joined(self.numbers.entry_entropy(), self.codes.entry_entropy())

    def entry_kl(self, other: Joint) -> Tensor:
        return self.process.joined(self.numbers.entry_kl(other.numbers), self.codes.entry_kl(other.codes))
