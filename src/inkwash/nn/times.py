"""A network that sees the time in the place of the noise level."""

from torch import Tensor, nn


class TimeNet(nn.Module):
    """Spreads times in [0, 1] over the levels that networks embed.

    `LevelEmbedding` tells levels between -20 and 20 apart, with periods down to one unit. Times as they are would all
    look alike to it.

    Args:
        network: maps noisy data and levels `(B,)`, with or without a condition, to its output.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """The network's output for noisy data at times `(B,)`; time 0 is level -20, and time 1 is level 20."""
        output: Tensor = self.network(x_t, 40 * t - 20, **condition)
        return output
