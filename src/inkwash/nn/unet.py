"""A U-Net for images of any height, width and number of channels.

Odd sizes need no padding or cropping: going down, a strided convolution rounds up; coming back, the picture is resized
to exactly what it was before.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.layers import ConditionEmbedding, LevelEmbedding, zero


class UNet(nn.Module):
    """Residual blocks at several resolutions, each joined on the way back by what was left there on the way down
    (Ronneberger et al. 2015, with sums for concatenations). A block is shifted and scaled by the noise level (Dhariwal
    & Nichol 2021) and may attend to all pixels; zero at the start.

    Args:
        channels: channels of an image.
        width: features at the full resolution; a multiple of 8.
        multipliers: features at each resolution, in units of `width`; each further one halves the picture.
        blocks: residual blocks at each resolution on either way; at the last one there is a single way.
        attention: for each resolution, whether its blocks are followed by self-attention.
        dropout: probability of dropping a feature, in [0, 1).
        outputs: channels to give; by default those of an image.
        condition: makes the module that embeds a condition; None: there is none.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 2,
        attention: tuple[bool, ...] = (False, True),
        dropout: float = 0.0,
        outputs: int | None = None,
        condition: ConditionEmbedding | None = None,
    ) -> None:
        super().__init__()
        level, widths = 4 * width, [width * m for m in multipliers]
        self.embed = LevelEmbedding(level, condition)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.stages = _Stage(widths, attention, blocks, level, dropout)
        self.leave = nn.Sequential(_norm(width), nn.SiLU(), zero(nn.Conv2d(width, outputs or channels, 3, padding=1)))
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy images `(B, channels, H, W)` at levels `(B,)`, and a condition, to `(B, outputs, H, W)`."""
        level = F.silu(self.embed(t, **condition))
        # After the first convolution, not before: a picture of one channel has no channels_last layout to pass on.
        h = self.enter(x_t).contiguous(memory_format=torch.channels_last)
        return self.leave(self.stages(h, level))


class _Stage(nn.Module):
    """One resolution and, inside it, the coarser ones."""

    def __init__(
        self, widths: Sequence[int], attention: Sequence[bool], blocks: int, level: int, dropout: float
    ) -> None:
        super().__init__()
        width, *coarser = widths
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for way in [self.down, self.up] if coarser else [self.down]:
            way.extend(_Block(width, level, attention[0], dropout) for _ in range(blocks))
        self.coarser = _Stage(coarser, attention[1:], blocks, level, dropout) if coarser else None
        if coarser:
            self.halve = nn.Conv2d(width, coarser[0], 3, stride=2, padding=1)
            self.widen = _PixelLinear(coarser[0], width)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        for block in self.down:
            h = block(h, level)
        if self.coarser is not None:
            found = self.widen(self.coarser(self.halve(h), level))
            h = h + F.interpolate(found, size=h.shape[-2:])
        for block in self.up:
            h = block(h, level)
        return h


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels, eps=1e-6)


class _PixelLinear(nn.Linear):
    """A 1x1 convolution as the matrix product it is, several times faster to train on a CPU."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Two convolutions behind a shift and scale by the level, and a residual connection."""

    def __init__(self, width: int, level: int, attention: bool, dropout: float) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.modulate = nn.Linear(level, 2 * width)
        self.before = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.after = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zero(nn.Conv2d(width, width, 3, padding=1)))
        self.attention = _Attention(width) if attention else nn.Identity()

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level)[:, :, None, None].chunk(2, dim=1)
        return self.attention(h + self.after(self.before(torch.addcmul(shift, self.norm(h), 1 + scale))))


class _Attention(nn.Module):
    """Multi-head self-attention over the pixels, with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, channels // 64), 0, -1) if channels % n == 0)
        self.norm = _norm(channels)
        self.query_key_value = _PixelLinear(channels, 3 * channels)
        self.leave = zero(_PixelLinear(channels, channels))

    def forward(self, h: Tensor) -> Tensor:
        batch, channels, height, width = h.shape
        split = self.query_key_value(self.norm(h)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        query, key, value = split.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return h + self.leave(mixed.reshape(batch, channels, height, width))
