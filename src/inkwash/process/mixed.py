"""Rows of numbers and categories as one process: numbers get normal noise, categories are replaced by other categories.

Given the noisy row, the reverse step draws all entries independently, as in each of the two parts; the estimate holds
the dependence between them. The parts share the time, so the bound of a row is the sum of their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError
from inkwash.process.categorical import Categorical, CategoryEstimate
from inkwash.process.distributions import Bins, Comparable, Lattice
from inkwash.process.gaussian import Estimate, Gaussian
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import AnyEstimate, Scheduled
from inkwash.process.region import Region
from inkwash.process.variance import ReverseVariance


@dataclass(frozen=True)
class Mixed(Scheduled):
    """The process of rows `(B, D)` of numbers and category numbers. Its schedule is that of the numbers.

    Args:
        numbers: the process of the numbers.
        categories: the process of the categories.
        is_category: for each of the D entries, whether it is a category.

    Raises:
        ConfigError: the number of categories is not that of `categories`, or there are no numbers.
    """

    numbers: Gaussian
    categories: Categorical
    is_category: tuple[bool, ...]
    schedule: Schedule = field(init=False, repr=False)
    has_variance: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", self.numbers.schedule)
        if sum(self.is_category) != len(self.categories.sizes) or all(self.is_category):
            got = f"{sum(self.is_category)} of {len(self.is_category)} entries"
            need = f"{len(self.categories.sizes)} categories, and one or more numbers"
            raise ConfigError("mixed.is_category", got, need)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """The positions of the numbers, and those of the categories."""
        mask = torch.tensor(self.is_category)
        return (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of rows `(B, D)`, and the categories."""
        numbers, categories = self.places
        return x[:, numbers], x[:, categories]

    def joined(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """The rows `(B, D)` of these parts: the inverse of `parts`."""
        order = torch.cat(self.places).argsort()
        return torch.cat([numbers, categories], 1)[:, order]

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Joint:
        """p(x_1) of both."""
        numbers, categories = self._shapes(shape)
        return self._both(self.numbers.prior(numbers, like), self.categories.prior(categories, like))

    def marginal(self, x: Tensor, t: float | Tensor) -> Joint:
        """q(x_t | x) of both."""
        numbers, categories = self.parts(x)
        return self._both(self.numbers.marginal(numbers, t), self.categories.marginal(categories, t))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Standard normal numbers for the numbers, and uniform ones for the categories, always float64."""
        numbers, categories = self._shapes(shape)
        normal = self.numbers.noise(numbers, generator, like)
        return self.joined(normal.double(), self.categories.noise(categories, generator, like))

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw from `marginal(x, t)`, made of `noise`."""
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
        (numbers_t, categories_t), (numbers, categories) = self.parts(x_t), self.parts(x)
        return self._both(
            self.numbers.posterior(numbers_t, numbers, s, t),
            self.categories.posterior(categories_t, categories, s, t),
        )

    def reverse(self, x_t: Tensor, estimate: MixedEstimate, s: float | Tensor, t: float | Tensor) -> Joint:
        """p(x_s | x_t) of both."""
        numbers_t, categories_t = self.parts(x_t)
        return self._both(
            self.numbers.reverse(numbers_t, estimate.numbers, s, t),
            self.categories.reverse(categories_t, estimate.categories, s, t),
        )

    def decoder(self, x_t: Tensor, estimate: MixedEstimate, times: Tensor, lattice: Lattice | Bins | None) -> Joint:
        """p(x | x_t) of both; the bins of all entries show which numbers are integers."""
        numbers_t, categories_t = self.parts(x_t)
        bins = Bins(lattice.spacing[self.places[0]]) if isinstance(lattice, Bins) else None
        return self._both(
            self.numbers.decoder(numbers_t, estimate.numbers, times, bins),
            self.categories.decoder(categories_t, estimate.categories, times),
        )

    def _shapes(self, shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The shapes of the numbers and of the categories in rows of `shape`."""
        numbers, categories = self.places
        return (shape[0], len(numbers)), (shape[0], len(categories))

    def _both(self, numbers: Any, categories: Any) -> Joint:
        return Joint(numbers, categories, self)


@short_repr
@dataclass(frozen=True)
class Joint(Comparable):
    """The law of a row whose numbers are independent of its categories.

    Args:
        numbers: the law of the numbers.
        categories: the law of the categories.
        process: the process, which knows which entries are categories.
    """

    numbers: Any
    categories: Any
    process: Mixed

    @property
    def mean(self) -> Tensor:
        """The means of the numbers, and the means of the category numbers, `(B, D)`."""
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


@short_repr
@dataclass(frozen=True)
class MixedEstimate(AnyEstimate):
    """The estimate of a clean row of numbers and categories, given the noisy one.

    Args:
        numbers: the estimate of the numbers.
        categories: the estimate of the categories.
        process: the process of the rows.
    """

    numbers: Estimate
    categories: CategoryEstimate
    process: Mixed

    @property
    def x_t(self) -> Tensor:
        """The noisy rows, `(B, D)`."""
        return self.process.joined(self.numbers.x_t, self.categories.x_t)

    @property
    def x(self) -> Tensor:
        """The estimates of the numbers, and the likeliest categories, `(B, D)`."""
        return self.process.joined(self.numbers.x, self.categories.x)

    @property
    def law(self) -> Joint:
        return Joint(self.numbers.law, self.categories.law, self.process)

    def with_variance(self, variance: ReverseVariance) -> MixedEstimate:
        """The estimate with another variance of the reverse step of the numbers."""
        return replace(self, numbers=self.numbers.with_variance(variance))

    def with_known(self, clean: Tensor, known: Tensor) -> MixedEstimate:
        numbers, categories = self.process.parts(clean)
        numbers_known, categories_known = self.process.parts(known)
        return replace(
            self,
            numbers=self.numbers.with_known(numbers, numbers_known),
            categories=self.categories.with_known(categories, categories_known),
        )

    def within(self, region: Region) -> tuple[MixedEstimate, Tensor]:
        """The estimate given that x lies in a region, and the log of the probability that it does, `(B,)`."""
        at_numbers, at_categories = self.process.places
        numbers, log_mass = self.numbers.within(region.of(at_numbers))
        categories, log_share = self.categories.within(region.of(at_categories))
        return replace(self, numbers=numbers, categories=categories), log_mass + log_share
