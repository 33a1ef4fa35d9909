"""A U-Net for series, images and volumes of any size and number of channels.

One implementation serves one, two and three axes: along an axis of length 1, the network equals the one without that
axis. Odd sizes need no padding or cropping: on the descent, a strided convolution rounds the size up; on the ascent,
the features are resized to exactly the size they had before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import NetworkConfig
from inkwash.core.errors import ConfigError
from inkwash.nn.layers import Backbone, ConditionEmbedding, LevelEmbedding, given_channels, matrices_of, zero
from inkwash.nn.modulation import convolved, modulated
from inkwash.nn.options import SMALL, NetworkOptions, Ports

_ATTENTION_PLACES = 64
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYOUTS = {3: torch.contiguous_format, 4: torch.channels_last, 5: torch.channels_last_3d}
"""The memory format in which convolutions are fastest, by the number of axes of their input."""
_Convolution = Callable[..., nn.Module]


class UNet(Backbone):
    """Residual blocks at several resolutions; the output starts at zero.

    At each resolution, the features of the descent are added to those of the ascent (Ronneberger et al. 2015, who
    concatenate them). The noise level sets a shift and a scale for each block (Dhariwal & Nichol 2021), and a block may
    attend to all places.

    Args:
        channels: the number of channels of an example.
        width: the number of features at the full resolution; a multiple of 8.
        multipliers: the number of features at each resolution, in units of `width`; each resolution after the first
            halves every side.
        blocks: the number of residual blocks at each resolution, on the descent and again on the ascent; the coarsest
            resolution has them once.
        attention: for each resolution, whether its blocks are followed by self-attention.
        dropout: the probability of dropping a feature, in [0, 1).
        outputs: the number of output channels; by default that of an example.
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.
        axes: the number of sides of an example: 1 for series `(C, L)`, 2 for images `(C, H, W)`, 3 for volumes
            `(C, D, H, W)`.
        given: the number of channels of a `given` image, which enters beside the noisy data; 0 if there is none.
        places: the sides of an example, if each place has features of its own. Without them, the network takes any
            size, and knows of a place only how near the border is.
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
        condition: Mapping[str, ConditionEmbedding] | None = None,
        axes: int = 2,
        given: int = 0,
        places: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        level, widths = 4 * width, [width * m for m in multipliers]
        self.embed = LevelEmbedding(level, condition)
        convolution = partial(_CONVOLUTIONS[axes - 1], kernel_size=3, padding=1)
        self.given = given
        self.enter = convolution(channels + (given + 1 if given else 0), width)
        self.stages = _Stage(widths, attention, blocks, level, dropout, convolution)
        self.leave = nn.Sequential(_norm(width), nn.SiLU(), zero(convolution(width, outputs or channels)))
        for parameter in self.parameters():
            if parameter.ndim in _LAYOUTS:
                parameter.data = parameter.data.contiguous(memory_format=_LAYOUTS[parameter.ndim])
        self.place = nn.Parameter(torch.randn(width, *places) / width**0.5) if places else None

    def matrices(self) -> list[nn.Parameter]:
        """The convolutions within the stages, and the maps of attention."""
        return matrices_of(self.stages)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map noisy data `(B, channels, *size)` at levels `(B,)`, with or without a condition, to
        `(B, outputs, *size)`."""
        if self.given:
            x_t = torch.cat([x_t, given_channels(condition.pop("given", None), self.given, x_t)], dim=1)
        level = F.silu(self.embed(t, **condition))
        # This follows the first convolution, because a picture of one channel has no channels_last layout to pass on.
        h = self.enter(x_t).contiguous(memory_format=_LAYOUTS[x_t.ndim])
        return self.leave(self.stages(h if self.place is None else h + self.place, level))


@dataclass(frozen=True)
class UNetOptions(NetworkOptions):
    """Options of a `UNet`.

    Args:
        width: features at the full resolution.
        depth: residual blocks at each resolution.
        multipliers: features at each resolution, in units of the width.
        attention: for each resolution, whether it has self-attention.
        dropout: probability of dropping a feature.

    Raises:
        ConfigError: a width that is no multiple of 8; more or fewer entries in `attention` than in `multipliers`.
    """

    of_places = True
    optimizer = "muon"
    width: int
    depth: int
    multipliers: tuple[int, ...]
    attention: tuple[bool, ...]
    dropout: float

    def __post_init__(self) -> None:
        if self.width % 8:
            raise ConfigError("network.width", self.width, "a multiple of 8")
        if len(self.attention) != len(self.multipliers):
            need = f"{len(self.multipliers)} entries, as network.multipliers has"
            raise ConfigError("network.attention", self.attention, need)

    @classmethod
    def decide(cls, config: NetworkConfig, size: tuple[int, ...], dropout: float) -> Self:
        multipliers = config.multipliers or _multipliers(size)
        attention = config.attention or _attention(size, len(multipliers))
        return cls(config.width or 32, config.depth or 1, multipliers, attention, dropout)

    def build(self, ports: Ports) -> UNet:
        return UNet(
            sum(ports.inputs),
            self.width,
            self.multipliers,
            self.depth,
            self.attention,
            self.dropout,
            sum(ports.outputs),
            ports.condition,
            len(ports.size),
            ports.given,
            ports.size if ports.by_place else (),
        )

    def describe(self, size: tuple[int, ...]) -> str:
        resolutions = f"multipliers {self.multipliers}, attention {self.attention}"
        return f"U-Net, width {self.width}, {resolutions}, {self.depth} block(s) each"

    def learning_rate(self, entries: int) -> float:
        return 3e-3


def _multipliers(size: tuple[int, ...]) -> tuple[int, ...]:
    """Halve until the longest side is down to four to seven places, at least once where it has four, and at most three
    times. A series is halved until its last resolution has attention, because it sees all of the series in no other
    way. Where there are many places, features double twice, because those of few places cost little."""
    halvings = min(max(int(math.log2(max(size) / 4)), int(max(size) >= 4)), 3)
    if len(size) == 1:
        halvings = max(halvings, math.ceil(math.log2(size[0] / _ATTENTION_PLACES)))
    most = 2 if math.prod(size) <= SMALL else 4
    return tuple(min(2**i, most) for i in range(halvings + 1))


def _attention(size: tuple[int, ...], resolutions: int) -> tuple[bool, ...]:
    """Attention between the places of each resolution but the first of several, where they are few."""
    places = [math.prod(math.ceil(side / 2**i) for side in size) for i in range(resolutions)]
    return tuple((i > 0 or resolutions == 1) and count <= _ATTENTION_PLACES for i, count in enumerate(places))


class _Stage(nn.Module):
    """One resolution, together with the coarser ones between its descent and its ascent."""

    def __init__(
        self,
        widths: Sequence[int],
        attention: Sequence[bool],
        blocks: int,
        level: int,
        dropout: float,
        convolution: _Convolution,
    ) -> None:
        super().__init__()
        width, *coarser = widths
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for side in [self.down, self.up] if coarser else [self.down]:
            side.extend(_Block(width, level, attention[0], dropout, convolution) for _ in range(blocks))
        self.coarser = _Stage(coarser, attention[1:], blocks, level, dropout, convolution) if coarser else None
        if coarser:
            self.halve = convolution(width, coarser[0], stride=2)
            self.widen = _PixelLinear(coarser[0], width)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        for block in self.down:
            h = block(h, level)
        if self.coarser is not None:
            coarse = self.widen(self.coarser(self.halve(h), level))
            h = h + F.interpolate(coarse, size=h.shape[2:])
        for block in self.up:
            h = block(h, level)
        return h


def _norm(channels: int) -> nn.GroupNorm:
    """Eight groups, or fewer of at least four channels: alone in its group, a channel would lose the bias before."""
    return nn.GroupNorm(min(channels // 4, 8), channels, eps=1e-6)


class _PixelLinear(nn.Linear):
    """A convolution of one place, computed as a matrix product, which trains several times faster on a CPU."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.movedim(1, -1)).movedim(-1, 1)


class _Block(nn.Module):
    """Two convolutions with a residual connection, after a shift and a scale that the noise level sets."""

    def __init__(self, width: int, level: int, attention: bool, dropout: float, convolution: _Convolution) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.modulate = nn.Linear(level, 2 * width)
        self.before = nn.Sequential(nn.SiLU(), convolution(width, width))
        self.after = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zero(convolution(width, width)))
        self.attention = _Attention(width) if attention else nn.Identity()

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level).chunk(2, dim=1)
        middle = self.before[1](modulated(self.norm, h, 1 + scale, shift))
        after = self.after(middle) if self.after[1].p else convolved(self.after[2], middle)
        return self.attention(after.add_(h))


class _Attention(nn.Module):
    """Multi-head self-attention over all places, with a residual connection; without a bias, for the reason that
    `inkwash.nn.layers` gives."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, channels // 64), 0, -1) if channels % n == 0)
        self.norm = _norm(channels)
        self.query_key_value = _PixelLinear(channels, 3 * channels, bias=False)
        self.leave = zero(_PixelLinear(channels, channels))

    def forward(self, h: Tensor) -> Tensor:
        split = self.query_key_value(self.norm(h)).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = split.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return h + self.leave(mixed.reshape(h.shape))
