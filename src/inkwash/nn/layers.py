"""Pieces that networks share."""

import torch
from torch import Tensor, nn


def zero(module: nn.Module) -> nn.Module:
    """Set all parameters of a module to zero, so that the branch it ends starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class LevelEmbedding(nn.Module):
    """Features of the noise level: sines and cosines at log-spaced frequencies, then two layers.

    Args:
        width: number of output features.
        frequencies: number of frequencies; the periods run from about 1 to 125 units of log-SNR.
    """

    rates: Tensor

    def __init__(self, width: int, frequencies: int = 16) -> None:
        super().__init__()
        self.register_buffer("rates", torch.logspace(-1.3, 0.8, frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, level: Tensor) -> Tensor:
        """Embed levels `(B,)` as `(B, width)`; levels beyond ±20 count as ±20."""
        level = level.clamp(-20, 20)[:, None]
        angle = level * self.rates
        return self.layers(torch.cat([angle.sin(), angle.cos(), level / 10], dim=1))
