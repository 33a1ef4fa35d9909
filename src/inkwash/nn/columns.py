"""A transformer over columns, for vectors and tables; each column is a token, with its own maps into and out of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from inkwash.core.config import NetworkConfig
from inkwash.nn.layers import Backbone, ConditionEmbedding, Transformer, matrices_of
from inkwash.nn.options import NetworkOptions, Ports


class ColumnTransformer(Backbone):
    """A network of columns that attend to each other; its output starts at zero.

    A linear map of its own turns each column into a token (FT-Transformer, Gorishniy et al. 2021), the blocks are those
    of DiT, and another linear map of its own gives the output of the column.

    Args:
        inputs: the number of features of each column, side by side: `(1, 1, 3)` for two numbers and a one-hot group.
        width: the number of features of a token.
        depth: the number of blocks.
        dropout: the probability of dropping a hidden feature of a block, in [0, 1).
        outputs: the number of outputs of each column, side by side; by default its number of features. The entries may
            run through the columns several times: `(1, 1, 3, 1, 1, 0)` has the spreads in its last three.
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.

    Raises:
        ValueError: the number of entries of `outputs` is no multiple of the number of columns.
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

    def matrices(self) -> list[nn.Parameter]:
        """The maps within the blocks."""
        return matrices_of(self.transformer.blocks)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy features `(B, sum(inputs))` at levels `(B,)`, under a condition or none, to `(B, sum(outputs))`."""
        features = self.into.by_column(x_t, 1)
        tokens = torch.einsum("bcf,cfw->bcw", features, self.into.maps()) + self.name
        outputs = torch.einsum("bcw,cfw->bcf", self.transformer(tokens, t, **condition), self.out_of.maps())
        return self.out_of.gather(outputs) + self.bias


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
    """The column that each of the numbers side by side belongs to."""
    return [i % columns for i, size in enumerate(sizes) for _ in range(size)]


class _ByColumn(nn.Module):
    """A linear map for each column and the numbers that it owns; all maps form one matrix, `(numbers, width)`.

    Every column is padded with zeros to m, the most numbers that a column owns, so that all maps apply at once.
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
        return self.by_column(self.weight, 0)

    def by_column(self, packed: Tensor, dim: int) -> Tensor:
        """Split a dimension of numbers side by side into columns and the numbers of each: (columns, m)."""
        size = [*packed.shape[:dim], self.grid[0] * self.grid[1], *packed.shape[dim + 1 :]]
        return packed.new_zeros(size).index_copy(dim, self.place, packed).unflatten(dim, self.grid)

    def gather(self, padded: Tensor) -> Tensor:
        """Place the numbers of columns `(B, columns, m)` side by side: `(B, numbers)`."""
        return padded.flatten(1).index_select(1, self.place)
