"""The examples of one part of the split, in model units when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionSpec
from inkwash.data.rows import blocks, take
from inkwash.data.transform import Transform


@dataclass(frozen=True)
class Examples:
    """The examples of one part of the split; they are read and converted to model units when they are needed.

    Args:
        data: all examples of the data set, in data units.
        indices: which of them belong to this part.
        transform: converts data units to model units.
        condition: what the network takes beside noisy data and time.
        labels: the class number of each example of the data set, if the network takes a label.
        given: what is given of each example of the data set, in its own units, if the network takes that.
    """

    data: Array
    indices: Array
    transform: Transform
    condition: ConditionSpec = field(default_factory=ConditionSpec)
    labels: Array | None = None
    given: Array | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: Array) -> Tensor:
        """The examples at `positions` of this part, in model units; a missing entry is NaN."""
        return self.transform.to_model(take(self.data, self.indices[positions]))

    def conditions(self, positions: Array) -> dict[str, Tensor]:
        """The conditions of the examples at `positions`, by name, as the network takes them."""
        rows, conditions = self.indices[positions], {}
        if self.labels is not None:
            conditions["label"] = torch.from_numpy(self.labels[rows])
        if self.given is not None and self.condition.given is not None:
            conditions["given"] = self.condition.given.to_model(take(self.given, rows))
        return conditions

    def blocks(self) -> Iterator[Tensor]:
        """All examples in model units, block by block, in the order of the data; a missing entry is NaN."""
        for block in blocks(self.data, np.sort(self.indices)):
            yield self.transform.to_model(block)


def with_present(x: Tensor, condition: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Examples with 0 in place of NaN, and their condition, to which `present` is added if entries are missing."""
    missing = x.isnan()
    return (x.nan_to_num(0.0), {**condition, "present": ~missing}) if bool(missing.any()) else (x, condition)
