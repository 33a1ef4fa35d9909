"""Building blocks that the networks share."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def zero(module: nn.Module) -> nn.Module:
    """Set all parameters of a module to zero, so that the branch that ends with it starts at zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Backbone(nn.Module):
    """A network proper, apart from what surrounds it. Training may run it in half precision, or compile it."""

    def matrices(self) -> list[nn.Parameter]:
        """The weights from hidden features to hidden features, which Muon can train; none unless a network says so."""
        return []


def matrices_of(blocks: nn.Module) -> list[nn.Parameter]:
    """The weights of blocks, without those of the layers named `modulate`, which the noise level goes through."""
    named = blocks.named_parameters()
    return [weight for name, weight in named if weight.ndim > 1 and "modulate" not in name.split(".")]


ConditionEmbedding = Callable[[int], nn.Module]
"""A function that makes the embedding of one condition from its width: a module `(value) -> (B, width)`."""


class LevelEmbedding(nn.Module):
    """Features of the noise level: sines and cosines at log-spaced frequencies, followed by two layers. The features of
    each condition are added to them.

    Args:
        width: the number of output features.
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.
        frequencies: the number of frequencies; the periods run from about 1 to 125 units of log-SNR.
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
        """Embed levels `(B,)` and the conditions that are passed as `(B, width)`; levels beyond ±20 count as ±20."""
        level = level.clamp(-20, 20)[:, None]
        angle = level * self.rates
        features: Tensor = self.layers(torch.cat([angle.sin(), angle.cos(), level / 10], dim=1))
        for name, value in condition.items():
            if name not in self.condition:
                raise TypeError(f"{name}: the network takes no condition of this name")
            features = features + self.condition[name](value)
        return features


class LabelEmbedding(nn.Module):
    """Features of a class, learned for each class. Without a label the features are zero: this is the null class of Ho
    & Salimans (2022).

    Args:
        classes: the number of classes.
        width: the number of output features.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width, padding_idx=0)

    def forward(self, label: Tensor) -> Tensor:
        """Embed class numbers `(B,)`, from 1 to `classes`, as `(B, width)`; 0 means no label and gives zeros."""
        return self.table(label)


class GivenEmbedding(nn.Module):
    """Features of given numbers, from two layers. Where nothing is given they are zero, which differs from the features
    of a given zero.

    Args:
        size: the number of given numbers.
        width: the number of output features.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, given: Tensor) -> Tensor:
        """Embed standardised numbers `(B, size)` as `(B, width)`; a row of NaN, where nothing is given, as zeros."""
        there = given.isfinite().all(1, keepdim=True)
        return torch.where(there, self.layers(given.nan_to_num()), 0.0)


def given_channels(given: Tensor | None, channels: int, x_t: Tensor) -> Tensor:
    """A given image as channels beside `x_t`: its own, resized to the nearest place, and one that is 1 if it is given.

    Args:
        given: the image, standardised, `(B, channels, *smaller)`. A row of NaN means that nothing is given for that
            example, and None that nothing is given for any; its channels are then all zero.
        channels: the number of channels of the given image.
        x_t: the noisy data, `(B, C, *size)`.

    Returns:
        The channels, `(B, channels + 1, *size)`.
    """
    if given is None:
        return x_t.new_zeros(len(x_t), channels + 1, *x_t.shape[2:])
    there = given[:, :1].isfinite().to(given)
    return F.interpolate(torch.cat([given.nan_to_num(), there], dim=1), size=x_t.shape[2:])


class Transformer(nn.Module):
    """Blocks of self-attention between tokens. The noise level sets a shift, a scale and a gate for each block; these
    start at zero, where every block is the identity (adaLN-zero, Peebles & Xie 2023, §3.2).

    Args:
        width: the number of features of a token.
        depth: the number of blocks.
        dropout: the probability of dropping a hidden feature of a block, in [0, 1).
        condition: for each name of a condition, a function that makes its embedding; None if there is no condition.
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
        """Map tokens `(B, N, width)` at levels `(B,)`, with or without a condition, to `(B, N, width)`, normalised."""
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
        attention, layers = self.modulate(level).chunk(2, dim=-1)
        for layer, (scale, shift, gate) in zip(
            (self.attention, self.layers), (attention.chunk(3, -1), layers.chunk(3, -1)), strict=True
        ):
            tokens = torch.addcmul(tokens, gate, layer(torch.addcmul(shift, self.norm(tokens), 1 + scale)))
        return tokens


class _SelfAttention(nn.Module):
    """Multi-head self-attention between tokens.

    Nothing has a bias before it: attention does not depend on that of the keys, whose gradient would be rounding, of
    which AdamW would make steps.
    """

    HEAD = 32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, width // self.HEAD), 0, -1) if width % n == 0)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.leave = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        mixed = F.scaled_dot_product_attention(*split.unbind(2))
        return self.leave(mixed.transpose(1, 2).flatten(2))
