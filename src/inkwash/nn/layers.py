"""Pieces that networks share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def zero(module: nn.Module) -> nn.Module:
    """Set all parameters of a module to zero, so that the branch it ends starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


ConditionEmbedding = Callable[[int], nn.Module]
"""Makes a module that embeds a condition, `(**condition) -> (B, width)`, given the width."""


class LevelEmbedding(nn.Module):
    """Features of the noise level: sines and cosines at log-spaced frequencies, then two layers; with a condition, its
    own features are added.

    Args:
        width: number of output features.
        condition: makes the module that embeds a condition; None: the network takes none.
        frequencies: number of frequencies; the periods run from about 1 to 125 units of log-SNR.
    """

    rates: Tensor

    def __init__(self, width: int, condition: ConditionEmbedding | None = None, frequencies: int = 16) -> None:
        super().__init__()
        self.register_buffer("rates", torch.logspace(-1.3, 0.8, frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = None if condition is None else condition(width)

    def forward(self, level: Tensor, **condition: Tensor) -> Tensor:
        """Embed levels `(B,)`, and a condition if it is given, as `(B, width)`; levels beyond ±20 count as ±20."""
        level = level.clamp(-20, 20)[:, None]
        angle = level * self.rates
        features: Tensor = self.layers(torch.cat([angle.sin(), angle.cos(), level / 10], dim=1))
        if not condition:
            return features
        if self.condition is None:
            raise TypeError(f"{', '.join(condition)}: the network takes no condition")
        return features + self.condition(**condition)


class LabelEmbedding(nn.Module):
    """Features of a class, learned one by one. No label at all adds nothing: that is the null class of Ho & Salimans
    (2022).

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
