"""A transformer over patches, for series, images and volumes of any size and number of channels.

The data is cut into patches, and each patch is one token. If a side is no multiple of the patch, zeros are appended to
it, and the output is cropped there.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import NetworkConfig
from inkwash.nn.layers import Backbone, ConditionEmbedding, Transformer, given_channels, matrices_of, zero
from inkwash.nn.options import NetworkOptions, Ports

_MOST_PATCHES = 64


class DiT(Backbone):
    """A diffusion transformer (Peebles & Xie 2023); its output starts at zero.

    The token of a patch is a linear map of its values plus a linear map of sines and cosines of its position. The noise
    level sets a shift, a scale and a gate for each block (adaLN-zero).

    Args:
        channels: the number of channels of an example.
        patch: the size of a patch along each side: `(p,)` for series `(C, L)`, `(p, p)` for images `(C, H, W)`,
            `(p, p, p)` for volumes `(C, D, H, W)`.
        width: the number of features of a token.
        depth: the number of blocks.
        dropout: the probability of dropping a hidden feature of a block, in [0, 1).
        outputs: the number of output channels; by default that of an example.
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.
        given: the number of channels of a `given` image, which enters beside the noisy data; 0 if there is none.
    """

    FREQUENCIES = 12
    rates: Tensor

    def __init__(
        self,
        channels: int,
        patch: tuple[int, ...],
        width: int = 128,
        depth: int = 4,
        dropout: float = 0.0,
        outputs: int | None = None,
        condition: Mapping[str, ConditionEmbedding] | None = None,
        given: int = 0,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.given = given
        # From a change of sign between neighbouring patches down to half a period over 1000 patches.
        rates = math.pi * torch.logspace(-3, 0, self.FREQUENCIES)
        self.register_buffer("rates", rates, persistent=False)
        self.enter = nn.Linear((channels + (given + 1 if given else 0)) * math.prod(patch), width)
        self.place = nn.Linear(2 * self.FREQUENCIES * len(patch), width, bias=False)
        self.transformer = Transformer(width, depth, dropout, condition)
        self.leave = zero(nn.Linear(width, (outputs or channels) * math.prod(patch)))

    def matrices(self) -> list[nn.Parameter]:
        """The maps within the blocks."""
        return matrices_of(self.transformer.blocks)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy data `(B, channels, *size)` at levels `(B,)`, with or without a condition, to
        `(B, outputs, *size)`."""
        size = x_t.shape[2:]
        if self.given:
            x_t = torch.cat([x_t, given_channels(condition.pop("given", None), self.given, x_t)], dim=1)
        patches = cut(x_t, self.patch)
        grid = patches.shape[1:-1]
        tokens = self.enter(patches) + self.place(self._waves(grid))
        outputs = self.leave(self.transformer(tokens.flatten(1, -2), t, **condition))
        return join(outputs.unflatten(1, grid), self.patch, size)

    def _waves(self, grid: Sequence[int]) -> Tensor:
        """Sines and cosines of the positions of patches, `(*grid, features)`."""
        sides = [torch.arange(n, dtype=self.rates.dtype, device=self.rates.device) for n in grid]
        angle = (torch.stack(torch.meshgrid(*sides, indexing="ij"), -1)[..., None] * self.rates).flatten(-2)
        return torch.cat([angle.sin(), angle.cos()], -1)


@dataclass(frozen=True)
class DiTOptions(NetworkOptions):
    """Options of a `DiT`.

    Args:
        width: features of a token.
        depth: number of blocks.
        dropout: probability of dropping a hidden feature of a block.
        patch: places of a patch along each side; a shorter side is one patch.
    """

    of_places = True
    width: int
    depth: int
    dropout: float
    patch: int

    @classmethod
    def decide(cls, config: NetworkConfig, size: tuple[int, ...], dropout: float) -> Self:
        return cls(config.width or 128, config.depth or 4, dropout, config.patch or _patch_side(size))

    def build(self, ports: Ports) -> DiT:
        patch, outputs = self.sides(ports.size), sum(ports.outputs)
        return DiT(
            sum(ports.inputs), patch, self.width, self.depth, self.dropout, outputs, ports.condition, ports.given
        )

    def describe(self, size: tuple[int, ...]) -> str:
        patch = self.sides(size)
        grid = [math.ceil(side / places) for side, places in zip(size, patch, strict=True)]
        covered = tuple(count * places for count, places in zip(grid, patch, strict=True))
        padded = "" if covered == size else f", padded to {_by(covered)}"
        return f"DiT, {_by(grid)} patches of {_by(patch)}{padded}, width {self.width}, depth {self.depth}"

    def learning_rate(self, entries: int) -> float:
        return 1e-3

    def sides(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Sides of a patch of examples with these sides."""
        return tuple(min(self.patch, side) for side in size)


def _patch_side(size: tuple[int, ...]) -> int:
    """The smallest side of a patch, at least 2, that leaves few enough patches to attend to each other."""
    few = (n for n in itertools.count(2) if math.prod(math.ceil(side / n) for side in size) <= _MOST_PATCHES)
    return next(few)


def _by(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))


def cut(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut data `(B, C, *size)` into patches `(B, *grid, C * places)`; zeros are appended to a side that is no multiple
    of the patch."""
    missing = [-side % places for side, places in zip(x.shape[2:], patch, strict=True)]
    x = F.pad(x, [n for more in reversed(missing) for n in (0, more)])
    for axis, places in enumerate(patch, 2):
        x = x.unfold(axis, places, places)
    return x.movedim(1, 1 + len(patch)).flatten(1 + len(patch))


def join(patches: Tensor, patch: Sequence[int], size: Sequence[int]) -> Tensor:
    """Join patches `(B, *grid, C * places)` into data `(B, C, *size)`: the inverse of `cut`, which crops what it
    appended."""
    inner = 2 + len(patch)
    x = patches.unflatten(-1, (-1, *patch)).movedim(inner - 1, 1)
    for axis in range(2, inner):
        x = x.movedim(inner, axis + 1).flatten(axis, axis + 1)
    return x[(..., *(slice(side) for side in size))]
