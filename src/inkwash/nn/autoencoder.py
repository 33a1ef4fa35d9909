"""Encoders and decoders: networks between data of any size and a smaller latent.

For series, images and volumes the latent has places too, `factor` times fewer along each side. The features of the
finest resolution stand for patches of data, of `patch` places a side, because convolutions at every place would take
most of the time (Shi et al. 2016). Any size will do: on the descent, a strided convolution rounds the size up; on the
ascent, the features are resized to exactly the size that the descent had there, and what the last patches have too
many is cut. For vectors both networks are perceptrons, and the latent is a vector.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.errors import ConfigError
from inkwash.nn.layers import Backbone, zero
from inkwash.nn.levels import LevelHead
from inkwash.nn.mlp import perceptron

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Convolution = Callable[..., nn.Module]
Size = tuple[int, ...]


class Encoder(Backbone):
    """Residual blocks at several resolutions, from the finest to the coarsest.

    Args:
        channels: the number of channels of an example.
        outputs: the number of output channels.
        halvings: how often every side is halved, rounded up, after the patches.
        width: the number of features at the finest resolution, a multiple of 8; the others have twice as many.
        depth: the number of residual blocks at each resolution.
        axes: the number of sides of an example: 1 for series, 2 for images, 3 for volumes.
        patch: the side of the patches.
    """

    def __init__(
        self, channels: int, outputs: int, halvings: int, width: int, depth: int, axes: int = 2, patch: int = 1
    ) -> None:
        super().__init__()
        convolution = _convolution(axes)
        widths = [width, *[2 * width] * halvings]
        self.enter = convolution(channels, width, kernel_size=2 * patch + 1, stride=patch, padding=patch)
        stages = [_blocks(width, depth, convolution)]
        for above, below in pairwise(widths):
            stages.append(nn.Sequential(convolution(above, below, stride=2), _blocks(below, depth, convolution)))
        self.stages = nn.Sequential(*stages)
        self.leave = nn.Sequential(_norm(widths[-1]), nn.SiLU(), convolution(widths[-1], outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map data `(B, channels, *size)` to `(B, outputs, *small)`."""
        return self.leave(self.stages(self.enter(x)))


class Decoder(Backbone):
    """The mirror of an `Encoder`; its output starts at zero.

    Args:
        channels: the number of channels of the latent.
        outputs: the number of output channels.
        sizes: the sides of the features at each resolution, from the coarsest to the finest.
        width: the number of features at the finest resolution, a multiple of 8; the others have twice as many.
        depth: the number of residual blocks at each resolution.
        size: the sides of the data.
        patch: the side of the patches of data that the finest features stand for.
    """

    def __init__(
        self, channels: int, outputs: int, sizes: tuple[Size, ...], width: int, depth: int, size: Size, patch: int = 1
    ) -> None:
        super().__init__()
        convolution = _convolution(len(size))
        widths = [*[2 * width] * (len(sizes) - 1), width]
        self.sizes, self.size, self.patch = sizes, size, patch
        self.enter = convolution(channels, widths[0])
        self.stages = nn.ModuleList(_blocks(each, depth, convolution) for each in widths)
        self.widen = nn.ModuleList(convolution(a, b) for a, b in pairwise(widths))
        self.leave = nn.Sequential(_norm(width), nn.SiLU(), zero(convolution(width, outputs * patch ** len(size))))

    def forward(self, z: Tensor) -> Tensor:
        """Map latents `(B, channels, *small)` to `(B, outputs, *size)`."""
        h = self.stages[0](self.enter(z))
        for widen, stage, size in zip(self.widen, self.stages[1:], self.sizes[1:], strict=True):
            h = stage(widen(F.interpolate(h, size=size)))
        return _laid_out(self.leave(h), self.patch, self.size)


class LevelDecoder(nn.Module):
    """A decoder of the log-odds of levels.

    Args:
        network: maps latents to `(B, C * features, *size)`; those of a channel lie side by side.
        head: turns them into log-odds.
    """

    def __init__(self, network: nn.Module, head: LevelHead) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, z: Tensor) -> Tensor:
        """Map latents `(B, channels, *small)` to `(B, C, *size, levels)`."""
        return self.head(self.network(z))


@dataclass(frozen=True)
class AutoencoderOptions:
    """Options of an encoder and its decoder, all decided.

    Args:
        channels: channels of the latent; for vectors, its number of entries.
        factor: how many times fewer places the latent has along each side; a power of two. 1 for vectors.
        width: features at the finest resolution, a multiple of 8; for vectors, of a hidden layer.
        depth: residual blocks at each resolution; for vectors, hidden layers, and 0 makes both networks linear.
        patch: the side of the patches of data that the finest features stand for, a power of two up to the factor.

    Raises:
        ConfigError: a factor or patch that is no power of two, or a patch that is larger than the factor.
    """

    channels: int = 4
    factor: int = 2
    width: int = 32
    depth: int = 1
    patch: int = 1

    def __post_init__(self) -> None:
        for name, value in (("factor", self.factor), ("patch", self.patch)):
            if value < 1 or value & (value - 1):
                raise ConfigError(f"autoencoder.{name}", value, "a power of two")
        if self.patch > self.factor:
            raise ConfigError("autoencoder.patch", self.patch, f"at most autoencoder.factor, {self.factor}")

    def latent(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the latent of an example of `shape`, channels first.

        Raises:
            ConfigError: an option that does not go with the shape.
        """
        return (self.channels, *self._sizes(shape)[-1])

    def build(self, shape: tuple[int, ...], outputs: int) -> tuple[nn.Module, nn.Module]:
        """An encoder `(B, *shape) -> (B, 2 * channels, *small)` and a decoder `(B, channels, *small) ->
        (B, outputs, *size)`, with new weights."""
        sizes, (channels, *size) = self._sizes(shape), shape
        if not size:
            hidden = [self.width] * self.depth
            leave = (channels, *hidden, 2 * self.channels), (self.channels, *hidden, outputs)
            return perceptron(*leave[0]), perceptron(*leave[1])
        sizes = sizes[self.patch.bit_length() - 1 :]
        own = (self.width, self.depth)
        encoder = Encoder(channels, 2 * self.channels, len(sizes) - 1, *own, len(size), self.patch)
        return encoder, Decoder(self.channels, outputs, sizes[::-1], *own, tuple(size), self.patch)

    def describe(self, shape: tuple[int, ...]) -> str:
        """The networks for examples of `shape`, in a few words."""
        latent = "x".join(map(str, self.latent(shape)))
        return f"latent {latent} ({math.prod(shape)} entries in {math.prod(self.latent(shape))}), width {self.width}"

    def _sizes(self, shape: tuple[int, ...]) -> tuple[Size, ...]:
        """The sides at each resolution, from the finest to the coarsest."""
        size = shape[1:]
        if not size and self.factor != 1:
            raise ConfigError("autoencoder.factor", self.factor, "1 for vectors, which have no sides")
        if size and self.width % 8:
            raise ConfigError("autoencoder.width", self.width, "a multiple of 8")
        if size and self.factor > max(size):
            raise ConfigError("autoencoder.factor", self.factor, f"at most {max(size)}, the longest side")
        sizes = [size]
        for _ in range(self.factor.bit_length() - 1):
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        return tuple(sizes)


def _convolution(axes: int) -> _Convolution:
    return partial(_CONVOLUTIONS[axes - 1], kernel_size=3, padding=1)


def _laid_out(h: Tensor, patch: int, size: Size) -> Tensor:
    """Features `(B, outputs * patch^axes, *small)`, one for each place of a patch, laid out as `(B, outputs, *size)`
    (Shi et al. 2016, eq. 4)."""
    axes, small = len(size), h.shape[2:]
    h = h.unflatten(1, (-1, *[patch] * axes))
    h = h.permute(0, 1, *(place for axis in range(axes) for place in (2 + axes + axis, 2 + axis)))
    h = h.reshape(*h.shape[:2], *(patch * side for side in small))
    for axis, side in enumerate(size, 2):
        h = h.narrow(axis, 0, side)
    return h


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels, eps=1e-6)


def _blocks(width: int, depth: int, convolution: _Convolution) -> nn.Sequential:
    return nn.Sequential(*(_Block(width, convolution) for _ in range(depth)))


class _Block(nn.Module):
    """Two convolutions with a residual connection; it starts as the identity."""

    def __init__(self, width: int, convolution: _Convolution) -> None:
        super().__init__()
        before = _norm(width), nn.SiLU(), convolution(width, width)
        after = _norm(width), nn.SiLU(), zero(convolution(width, width))
        self.layers = nn.Sequential(*before, *after)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.layers(h)
