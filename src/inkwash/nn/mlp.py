"""Multilayer perceptrons for vectors: a residual one that takes the noise level, and a plain one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from inkwash.core.config import NetworkConfig
from inkwash.nn.layers import Backbone, ConditionEmbedding, LevelEmbedding, matrices_of, zero
from inkwash.nn.options import SMALL, NetworkOptions, Ports


class MLP(Backbone):
    """Residual blocks, in which the noise level sets a shift and a scale; the output starts at zero.

    Args:
        size: the number of entries of an example.
        width: the number of features of a block.
        depth: the number of blocks.
        dropout: the probability of dropping a feature, in [0, 1).
        outputs: the number of outputs; by default the number of entries.
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.
    """

    def __init__(
        self,
        size: int,
        width: int = 256,
        depth: int = 4,
        dropout: float = 0.0,
        outputs: int | None = None,
        condition: Mapping[str, ConditionEmbedding] | None = None,
    ) -> None:
        super().__init__()
        self.embed = LevelEmbedding(width, condition)
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), zero(nn.Linear(width, outputs or size)))

    def matrices(self) -> list[nn.Parameter]:
        """The maps within the blocks."""
        return matrices_of(self.blocks)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy vectors `(B, size)` at levels `(B,)`, with or without a condition, to `(B, outputs)`."""
        level = nn.functional.silu(self.embed(t, **condition))
        h = self.enter(x_t)
        for block in self.blocks:
            h = block(h, level)
        return self.leave(h)


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), zero(nn.Linear(width, width))
        )

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level).chunk(2, dim=1)
        return h + self.layers(torch.addcmul(shift, self.norm(h), 1 + scale))


@dataclass(frozen=True)
class MLPOptions(NetworkOptions):
    """Options of an `MLP`.

    Args:
        width: features of a block.
        depth: number of blocks.
        dropout: probability of dropping a feature.
    """

    of_places = False
    width: int
    depth: int
    dropout: float

    @classmethod
    def decide(cls, config: NetworkConfig, size: tuple[int, ...], dropout: float) -> Self:
        return cls(config.width or 128, config.depth or 4, dropout)

    def build(self, ports: Ports) -> MLP:
        inputs, outputs = sum(ports.inputs), sum(ports.outputs)
        return MLP(inputs, self.width, self.depth, self.dropout, outputs, ports.condition)

    def describe(self, size: tuple[int, ...]) -> str:
        return f"MLP, width {self.width}, depth {self.depth}"

    def learning_rate(self, entries: int) -> float:
        return 2e-3 if entries <= SMALL else 5e-4


class _Perceptron(nn.Sequential, Backbone):
    """Layers one after another."""


def perceptron(*widths: int) -> nn.Sequential:
    """A plain perceptron from `(B, widths[0])` to `(B, widths[-1])`, with SiLU between its linear layers."""
    layers = [layer for i in range(1, len(widths)) for layer in (nn.SiLU(), nn.Linear(widths[i - 1], widths[i]))]
    return _Perceptron(*layers[1:])
