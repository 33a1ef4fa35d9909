"""Pieces that networks share."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def zero(module: nn.Module) -> nn.Module:
    """Set all parameters of a module to zero, so that the branch it ends starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


ConditionEmbedding = Callable[[int], nn.Module]
"""Makes, from a width, a module that embeds one part of a condition, `(value) -> (B, width)`."""


class LevelEmbedding(nn.Module):
    """Features of the noise level: sines and cosines at log-spaced frequencies, then two layers; with a condition, the
    features of each of its parts are added.

    Args:
        width: number of output features.
        condition: makes the module that embeds each part of a condition, by its name; None: there is no condition.
        frequencies: number of frequencies; the periods run from about 1 to 125 units of log-SNR.
    """

    rates: Tensor

    def __init__(
        self, width: int, condition: Mapping[str, ConditionEmbedding] | None = None, frequencies: int = 16
    ) -> None:
        super().__init__()
        self.register_buffer("rates", torch.logspace(-1.3, 0.8, frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.ModuleDict({name: embed(width) for name, embed in (condition or {}).items()})

    def forward(self, level: Tensor, **condition: Tensor) -> Tensor:
        """Embed levels `(B,)`, and a condition if it is given, as `(B, width)`; levels beyond ±20 count as ±20."""
        level = level.clamp(-20, 20)[:, None]
        angle = level * self.rates
        features: Tensor = self.layers(torch.cat([angle.sin(), angle.cos(), level / 10], dim=1))
        for name, value in condition.items():
            if name not in self.condition:
                raise TypeError(f"{name}: the network takes no condition of this name")
            features = features + self.condition[name](value)
        return features


class LabelEmbedding(nn.Module):
    """Features of a class, learned class by class. Without a label nothing is added: that is the null class of Ho &
    Salimans (2022).

    Args:
        classes: number of classes.
        width: number of output features.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width, padding_idx=0)

    def forward(self, label: Tensor) -> Tensor:
        """Embed class numbers `(B,)`, from 1 to `classes`, as `(B, width)`; 0, no label, as zeros."""
        return self.table(label)


class GivenEmbedding(nn.Module):
    """Features of given numbers, by two layers. Where nothing is given, nothing is added; a zero that is given adds
    something.

    Args:
        size: how many numbers.
        width: number of output features.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, given: Tensor) -> Tensor:
        """Embed standardised numbers `(B, size)` as `(B, width)`; a row of NaN, nothing given, as zeros."""
        there = given.isfinite().all(1, keepdim=True)
        return torch.where(there, self.layers(given.nan_to_num()), 0.0)


def given_channels(given: Tensor | None, channels: int, x_t: Tensor) -> Tensor:
    """A given image as channels beside `x_t`: resized to the nearest place, with a last channel that is 1 where an
    image is given.

    Args:
        given: standardised, `(B, channels, *smaller)`. Where nothing is given, in a row of NaN or everywhere if it is
            None, the channels are zeros.
        channels: of the given image.
        x_t: `(B, C, *size)`.

    Returns:
        `(B, channels + 1, *size)`.
    """
    if given is None:
        return x_t.new_zeros(len(x_t), channels + 1, *x_t.shape[2:])
    there = given[:, :1].isfinite().to(given)
    return F.interpolate(torch.cat([given.nan_to_num(), there], dim=1), size=x_t.shape[2:])


class Transformer(nn.Module):
    """Blocks of self-attention between tokens, each behind a shift, a scale and a gate by the noise level that start
    at zero: then every block is the identity (adaLN-zero, Peebles & Xie 2023, §3.2).

    Args:
        width: features of a token.
        depth: number of blocks.
        dropout: probability of dropping a hidden feature of a block, in [0, 1).
        condition: makes the module that embeds each part of a condition, by its name; None: there is no condition.
    """

    def __init__(
        self, width: int, depth: int, dropout: float, condition: Mapping[str, ConditionEmbedding] | None
    ) -> None:
        super().__init__()
        self.embed = LevelEmbedding(width, condition)
        self.blocks = nn.ModuleList(_TransformerBlock(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zero(nn.Linear(width, 2 * width))

    def forward(self, tokens: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """Map tokens `(B, N, width)` at levels `(B,)`, with a condition or without, to `(B, N, width)`, normalised."""
        level = F.silu(self.embed(t, **condition))[:, None]
        for block in self.blocks:
            tokens = block(tokens, level)
        scale, shift = self.modulate(level).chunk(2, dim=-1)
        return torch.addcmul(shift, self.norm(tokens), 1 + scale)


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zero(nn.Linear(width, 6 * width))
        self.attention = _SelfAttention(width)
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, level: Tensor) -> Tensor:
        attend, think = self.modulate(level).chunk(2, dim=-1)
        for layer, (scale, shift, gate) in zip(
            (self.attention, self.layers), (attend.chunk(3, -1), think.chunk(3, -1)), strict=True
        ):
            tokens = torch.addcmul(tokens, gate, layer(torch.addcmul(shift, self.norm(tokens), 1 + scale)))
        return tokens


class _SelfAttention(nn.Module):
    """Multi-head self-attention between tokens."""

    HEAD = 32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, width // self.HEAD), 0, -1) if width % n == 0)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        mixed = F.scaled_dot_product_attention(*split.unbind(2))
        return self.leave(mixed.transpose(1, 2).flatten(2))
