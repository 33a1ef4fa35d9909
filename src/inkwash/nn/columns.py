"""A transformer of columns, for vectors and tables: a token for each column, and maps of its own into and out of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from inkwash.core.config import NetworkConfig
from inkwash.nn.layers import ConditionEmbedding, Transformer
from inkwash.nn.options import NetworkOptions, Ports


class ColumnTransformer(nn.Module):
    """Columns that attend to each other: each becomes a token by a linear map of its own (FT-Transformer, Gorishniy et
    al. 2021), the blocks are DiT's, and a linear map of its own gives its answer; zero at the start.

    Args:
        inputs: features of each column, which stand side by side: `(1, 1, 3)` for two numbers and a one-hot group.
        width: features of a token.
        depth: number of blocks.
        dropout: probability of dropping a hidden feature of a block, in [0, 1).
        outputs: numbers each column gives, side by side; by default as many as it has features. Twice as many entries
            as there are columns go round them twice: `(1, 1, 3, 1, 1, 0)`, the last three for spreads.
        condition: makes the module that embeds each part of a condition, by its name; None: there is no condition.

    Raises:
        ValueError: the number of `outputs` is no multiple of the number of columns.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.0,
        outputs: tuple[int, ...] | None = None,
        condition: Mapping[str, ConditionEmbedding] | None = None,
    ) -> None:
        super().__init__()
        outputs, columns = outputs or inputs, len(inputs)
        if len(outputs) % columns:
            raise ValueError(f"outputs: got {len(outputs)} entries, need {columns} for the columns, or a multiple")
        self.into = _ByColumn(_owners(inputs, columns), columns, width)
        self.out_of = _ByColumn(_owners(outputs, columns), columns, width)
        self.name = nn.Parameter(torch.zeros(columns, width))
        self.bias = nn.Parameter(torch.zeros(len(self.out_of.weight)))
        for parameter in (self.into.weight, self.name):
            nn.init.normal_(parameter, std=width**-0.5)
        self.transformer = Transformer(width, depth, dropout, condition)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy features `(B, sum(inputs))` at levels `(B,)`, with a condition or without, to
        `(B, sum(outputs))`."""
        features = self.into.spread(x_t, 1)
        tokens = torch.einsum("bcf,cfw->bcw", features, self.into.maps()) + self.name
        found = torch.einsum("bcw,cfw->bcf", self.transformer(tokens, t, **condition), self.out_of.maps())
        return self.out_of.gather(found) + self.bias


@dataclass(frozen=True)
class ColumnTransformerOptions(NetworkOptions):
    """Options of a `ColumnTransformer`.

    Args:
        width: features of a token.
        depth: number of blocks.
        dropout: probability of dropping a hidden feature of a block.
    """

    of_places = False
    width: int
    depth: int
    dropout: float

    @classmethod
    def decide(cls, config: NetworkConfig, size: tuple[int, ...], dropout: float) -> Self:
        return cls(config.width or 32, config.depth or 3, dropout)

    def build(self, ports: Ports) -> ColumnTransformer:
        return ColumnTransformer(ports.inputs, self.width, self.depth, self.dropout, ports.outputs, ports.condition)

    def describe(self, size: tuple[int, ...]) -> str:
        return f"transformer of columns, width {self.width}, depth {self.depth}"

    def learning_rate(self, entries: int) -> float:
        return 1e-3


def _owners(sizes: Sequence[int], columns: int) -> list[int]:
    """The column that each of the numbers belongs to."""
    return [i % columns for i, size in enumerate(sizes) for _ in range(size)]


class _ByColumn(nn.Module):
    """A linear map for each column, of as many numbers as it owns: one matrix of all numbers, `(numbers, width)`.

    So that all are multiplied at once, columns are padded by zeros to the most numbers that any of them owns, m.
    """

    place: Tensor

    def __init__(self, owners: Sequence[int], columns: int, width: int) -> None:
        super().__init__()
        self.grid = (columns, max(Counter(owners).values()))
        following = {column: iter(range(column * self.grid[1], (column + 1) * self.grid[1])) for column in set(owners)}
        self.register_buffer("place", torch.tensor([next(following[owner]) for owner in owners]), persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(owners), width))

    def maps(self) -> Tensor:
        """The maps of all columns, `(columns, m, width)`."""
        return self.spread(self.weight, 0)

    def spread(self, packed: Tensor, dim: int) -> Tensor:
        """Numbers side by side along a dimension, to columns and the numbers of each: (columns, m) in its place."""
        size = [*packed.shape[:dim], self.grid[0] * self.grid[1], *packed.shape[dim + 1 :]]
        return packed.new_zeros(size).index_copy(dim, self.place, packed).unflatten(dim, self.grid)

    def gather(self, padded: Tensor) -> Tensor:
        """Numbers of columns `(B, columns, m)`, side by side: `(B, numbers)`."""
        return padded.flatten(1).index_select(1, self.place)
