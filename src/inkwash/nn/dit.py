"""A transformer of patches, for series, images and volumes of any size and number of channels.

Places are cut into patches, one token each. Where a side is no whole number of patches, zeros are appended to it, and
what stands there in the answer is cropped.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.layers import ConditionEmbedding, Transformer, given_channels, zero


class DiT(nn.Module):
    """A diffusion transformer (Peebles & Xie 2023): patches, each a token by one linear map and by sines of its place;
    blocks behind a shift, scale and gate by the noise level (adaLN-zero); zero at the start.

    Args:
        channels: channels of an example.
        patch: places of a patch along each side, one number per side: `(p,)` for series `(C, L)`, `(p, p)` for images
            `(C, H, W)`, `(p, p, p)` for volumes `(C, D, H, W)`.
        width: features of a token.
        depth: number of blocks.
        dropout: probability of dropping a hidden feature of a block, in [0, 1).
        outputs: channels to give; by default those of an example.
        condition: makes the module that embeds each thing told, by its name; None: it is told nothing.
        given: channels of a `given` image, which enters beside the noisy data; 0: there is none.
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
        # From a change of sign between neighbouring patches down to half a turn over 1000 of them.
        rates = math.pi * torch.logspace(-3, 0, self.FREQUENCIES)
        self.register_buffer("rates", rates, persistent=False)
        self.enter = nn.Linear((channels + (given + 1 if given else 0)) * math.prod(patch), width)
        self.place = nn.Linear(2 * self.FREQUENCIES * len(patch), width, bias=False)
        self.transformer = Transformer(width, depth, dropout, condition)
        self.leave = zero(nn.Linear(width, (outputs or channels) * math.prod(patch)))

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy data `(B, channels, *size)` at levels `(B,)`, and a condition, to `(B, outputs, *size)`."""
        size = x_t.shape[2:]
        if self.given:
            x_t = torch.cat([x_t, given_channels(condition.pop("given", None), self.given, x_t)], dim=1)
        patches = cut(x_t, self.patch)
        grid = patches.shape[1:-1]
        tokens = self.enter(patches) + self.place(self._waves(grid))
        found = self.leave(self.transformer(tokens.flatten(1, -2), t, **condition))
        return join(found.unflatten(1, grid), self.patch, size)

    def _waves(self, grid: Sequence[int]) -> Tensor:
        """Sines and cosines of the places of patches, `(*grid, features)`."""
        sides = [torch.arange(n, dtype=self.rates.dtype, device=self.rates.device) for n in grid]
        angle = (torch.stack(torch.meshgrid(*sides, indexing="ij"), -1)[..., None] * self.rates).flatten(-2)
        return torch.cat([angle.sin(), angle.cos()], -1)


def cut(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Patches of data `(B, C, *size)`: `(B, *grid, C * places)`; zeros are appended to sides that are no whole number
    of patches."""
    missing = [-side % places for side, places in zip(x.shape[2:], patch, strict=True)]
    x = F.pad(x, [n for more in reversed(missing) for n in (0, more)])
    for axis, places in enumerate(patch, 2):
        x = x.unfold(axis, places, places)
    return x.movedim(1, 1 + len(patch)).flatten(1 + len(patch))


def join(patches: Tensor, patch: Sequence[int], size: Sequence[int]) -> Tensor:
    """Data `(B, C, *size)` of its patches `(B, *grid, C * places)`: what `cut` cut; what it appended is cropped."""
    inner = 2 + len(patch)
    x = patches.unflatten(-1, (-1, *patch)).movedim(inner - 1, 1)
    for axis in range(2, inner):
        x = x.movedim(inner, axis + 1).flatten(axis, axis + 1)
    return x[(..., *(slice(side) for side in size))]
