"""Rows of numbers and categories as one process: normal noise for the numbers, another category for the categories.

Given the noisy row, the reverse step draws all entries independently, as that of either part does; what they tell of
one another is in the estimate. The parts share the time, so the bound of the whole is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.process.categorical import Categorical, CategoryEstimate
from inkwash.process.distributions import Bins, Comparable, Lattice
from inkwash.process.gaussian import Estimate, Gaussian
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import AnyEstimate, Scheduled


@dataclass(frozen=True)
class Mixed(Scheduled):
    """The process of rows `(B, D)` of numbers and category numbers.

    Args:
        numbers: the process of the numbers.
        categories: that of the categories.
        is_category: which entries are categories, D of them.

    Raises:
        ConfigError: other categories than the process of categories has, or no numbers.
    """

    numbers: Gaussian
    categories: Categorical
    is_category: tuple[bool, ...]
    schedule: Schedule = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", self.numbers.schedule)
        if sum(self.is_category) != len(self.categories.sizes) or all(self.is_category):
            got = f"{sum(self.is_category)} of {len(self.is_category)} entries"
            raise ConfigError(
                "mixed.is_category", got, f"{len(self.categories.sizes)} categories, and one or more numbers"
            )

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Where the numbers are, and where the categories."""
        mask = torch.tensor(self.is_category)
        return (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of rows `(B, D)`, and their categories."""
        numbers, categories = self.places
        return x[:, numbers], x[:, categories]

    def joined(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """The inverse of `parts`."""
        order = torch.cat(self.places).argsort()
        return torch.cat([numbers, categories], 1)[:, order]

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Joint:
        """p(x_1) of both."""
        shapes = ((shape[0], len(place)) for place in self.places)
        return self._both(
            *(part.prior(s, like) for part, s in zip((self.numbers, self.categories), shapes, strict=True))
        )

    def marginal(self, x: Tensor, t: float | Tensor) -> Joint:
        """q(x_t | x) of both."""
        numbers, categories = self.parts(x)
        return self._both(self.numbers.marginal(numbers, t), self.categories.marginal(categories, t))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Standard normal numbers, and uniform ones for the categories, float64 whatever the data."""
        numbers, categories = ((shape[0], len(place)) for place in self.places)
        normal = self.numbers.noise(numbers, generator, like)
        return self.joined(normal.double(), self.categories.noise(categories, generator, like))

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw of `marginal(x, t)`, made from `noise`."""
        (numbers, categories), (normal, uniform) = self.parts(x), self.parts(noise)
        return self.joined(
            self.numbers.diffuse(numbers, t, normal.to(x)), self.categories.diffuse(categories, t, uniform)
        )

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Joint:
        """q(x_t | x_s) of both."""
        numbers, categories = self.parts(x_s)
        return self._both(self.numbers.transition(numbers, s, t), self.categories.transition(categories, s, t))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Joint:
        """q(x_s | x_t, x) of both."""
        (number_t, category_t), (number, category) = self.parts(x_t), self.parts(x)
        return self._both(
            self.numbers.posterior(number_t, number, s, t), self.categories.posterior(category_t, category, s, t)
        )

    def reverse(self, x_t: Tensor, estimate: MixedEstimate, s: float | Tensor, t: float | Tensor) -> Joint:
        """p(x_s | x_t) of both."""
        numbers, categories = self.parts(x_t)
        return self._both(
            self.numbers.reverse(numbers, estimate.numbers, s, t),
            self.categories.reverse(categories, estimate.categories, s, t),
        )

    def decoder(self, x_t: Tensor, estimate: MixedEstimate, times: Tensor, lattice: Lattice | Bins | None) -> Joint:
        """p(x | x_t) of both; the lattice, of all entries, says which numbers are whole."""
        numbers, categories = self.parts(x_t)
        bins = Bins(lattice.spacing[self.places[0]]) if isinstance(lattice, Bins) else None
        return self._both(
            self.numbers.decoder(numbers, estimate.numbers, times, bins),
            self.categories.decoder(categories, estimate.categories, times),
        )

    def _both(self, numbers: Any, categories: Any) -> Joint:
        return Joint(numbers, categories, self)


@dataclass(frozen=True)
class Joint(Comparable):
    """Independent numbers and categories.

    Args:
        numbers: the law of the numbers.
        categories: that of the categories.
        process: knows which entries are which.
    """

    numbers: Any
    categories: Any
    process: Mixed

    @property
    def mean(self) -> Tensor:
        """Means of the numbers, and of the numbers of the categories."""
        return self.process.joined(self.numbers.mean, self.categories.mean)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One draw per example, `(B, D)`."""
        return self.process.joined(self.numbers.draw(generator), self.categories.draw(generator))

    def last_draw(self, generator: torch.Generator) -> Tensor:
        return self.process.joined(self.numbers.last_draw(generator), self.categories.last_draw(generator))

    def entry_log_prob(self, x: Tensor) -> Tensor:
        numbers, categories = self.process.parts(x)
        return self.process.joined(self.numbers.entry_log_prob(numbers), self.categories.entry_log_prob(categories))

    def entry_entropy(self) -> Tensor:
        return self.process.joined(self.numbers.entry_entropy(), self.categories.entry_entropy())

    def entry_kl(self, other: Joint) -> Tensor:
        return self.process.joined(self.numbers.entry_kl(other.numbers), self.categories.entry_kl(other.categories))


@dataclass(frozen=True)
class MixedEstimate(AnyEstimate):
    """What is believed of clean numbers and categories.

    Args:
        numbers: of the numbers.
        categories: of the categories.
        process: the process of both.
    """

    numbers: Estimate
    categories: CategoryEstimate
    process: Mixed

    @property
    def x_t(self) -> Tensor:
        """The noisy row, `(B, D)`."""
        return self.process.joined(self.numbers.x_t, self.categories.x_t)

    @property
    def x(self) -> Tensor:
        """Estimates of the numbers, and the likeliest categories, `(B, D)`."""
        return self.process.joined(self.numbers.x, self.categories.x)

    @property
    def law(self) -> Joint:
        return Joint(self.numbers.law, self.categories.law, self.process)

    def with_known(self, clean: Tensor, known: Tensor) -> MixedEstimate:
        (number, category), (of_numbers, of_categories) = self.process.parts(clean), self.process.parts(known)
        numbers, categories = (
            self.numbers.with_known(number, of_numbers),
            self.categories.with_known(category, of_categories),
        )
        return replace(self, numbers=numbers, categories=categories)
