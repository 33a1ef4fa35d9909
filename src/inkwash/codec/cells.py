"""`Cells`: what the integers that a codec sees stand for, as numbers of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.process.distributions import Lattice


@short_repr
@dataclass(frozen=True)
class Cells:
    """What integers stand for: the cells in which numbers count as equal.

    Integer k of an entry stands for the numbers between those of k - 1/2 and k + 1/2; the first cell has no lower end,
    and the last no upper one.

    Args:
        low: for each entry the smallest integer, int64 `(*event)`; 0 for categories.
        high: for each entry the largest.
        to_model: the numbers in model units that integers and halves `(B, *event)`, float64, stand for; increasing in
            each entry.
    """

    low: Tensor
    high: Tensor
    to_model: Callable[[Tensor], Tensor]

    @classmethod
    def of_lattice(cls, lattice: Lattice, shape: tuple[int, ...]) -> Cells:
        """The cells around the levels of a lattice."""
        low = torch.zeros(shape, dtype=torch.int64)
        return cls(low, low + lattice.levels - 1, lambda index: lattice.low + index * lattice.spacing)

    def entries(self, index: Tensor) -> Cells:
        """The cells of some entries of rows `(B, D)`, by their places."""

        def to_model(part: Tensor) -> Tensor:
            rows = torch.zeros(len(part), len(self.low), dtype=torch.float64)
            rows[:, index] = part
            return self.to_model(rows)[:, index]

        return Cells(self.low[index], self.high[index], to_model)

    def below(self, index: Tensor) -> Tensor:
        """The lower ends of the cells of integers `(B, *event)`."""
        return torch.where(index == self.low, -torch.inf, self.to_model(index.double() - 0.5))

    def above(self, index: Tensor) -> Tensor:
        """The upper ends of the cells of integers."""
        return torch.where(index == self.high, torch.inf, self.to_model(index.double() + 0.5))
