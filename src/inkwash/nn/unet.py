"""A U-Net for images of any height, width and number of channels.

Odd sizes need no padding or cropping: going down, a strided convolution rounds up; coming back, the picture is resized
to exactly what it was before.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.layers import LevelEmbedding, zero


class UNet(nn.Module):
    """Residual blocks at several resolutions with skip connections (Ho et al. 2020, App. B), each block shifted and
    scaled by the noise level (Dhariwal & Nichol 2021); attention where it is asked for; zero at the start.

    Args:
        channels: channels of an image.
        width: features at the full resolution; a multiple of 8.
        multipliers: features at each resolution, in units of `width`; each further one halves the picture.
        blocks: residual blocks per resolution.
        attention: for each resolution, whether its blocks are followed by self-attention.
        dropout: probability of dropping a feature, in [0, 1).
        outputs: channels to give; by default those of an image.
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
    ) -> None:
        super().__init__()
        level, sizes = 4 * width, [width * m for m in multipliers]
        self.embed = LevelEmbedding(level)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept = [width]
        for i, size in enumerate(sizes):
            for _ in range(blocks):
                self.down.append(_Block(kept[-1], size, level, attention[i], dropout))
                kept.append(size)
            if i + 1 < len(sizes):
                self.down.append(_Halve(size))
                kept.append(size)
        h = sizes[-1]
        self.middle = nn.ModuleList([_Block(h, h, level, True, dropout), _Block(h, h, level, False, dropout)])
        for i, size in reversed(list(enumerate(sizes))):
            for _ in range(blocks + 1):
                self.up.append(_Block(h + kept.pop(), size, level, attention[i], dropout))
                h = size
        self.leave = nn.Sequential(_norm(h), nn.SiLU(), zero(nn.Conv2d(h, outputs or channels, 3, padding=1)))
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Map noisy images `(B, channels, H, W)` at levels `(B,)` to `(B, outputs, H, W)`."""
        level = F.silu(self.embed(t))
        # After the first convolution, not before: a picture of one channel has no channels_last layout to pass on.
        kept = [self.enter(x_t).contiguous(memory_format=torch.channels_last)]
        for module in self.down:
            kept.append(module(kept[-1], level))
        h = kept[-1]
        for module in self.middle:
            h = module(h, level)
        for module in self.up:
            h = module(torch.cat([_resize(h, kept[-1]), kept.pop()], dim=1), level)
        return self.leave(h)


def _resize(h: Tensor, like: Tensor) -> Tensor:
    """Enlarge `h` to the height and width of `like`, where they differ."""
    return h if h.shape[-2:] == like.shape[-2:] else F.interpolate(h, size=like.shape[-2:])


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels, eps=1e-6)


class _Halve(nn.Module):
    """Halve height and width, rounding up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        return self.conv(h)


class _PixelLinear(nn.Linear):
    """A 1x1 convolution as the matrix product it is, several times faster to train on a CPU."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Two convolutions around a shift and scale by the level, and a residual connection."""

    def __init__(self, inputs: int, outputs: int, level: int, attention: bool, dropout: float) -> None:
        super().__init__()
        self.before = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.norm = _norm(outputs)
        self.modulate = nn.Linear(level, 2 * outputs)
        self.after = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zero(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.skip = nn.Identity() if inputs == outputs else _PixelLinear(inputs, outputs)
        self.attention = _Attention(outputs) if attention else nn.Identity()

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level)[:, :, None, None].chunk(2, dim=1)
        inner = self.norm(self.before(h))
        return self.attention(self.skip(h) + self.after(torch.addcmul(shift, inner, 1 + scale)))


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
