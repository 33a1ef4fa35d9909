"""A network that restores degraded images, as the denoiser of a cold process."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inkwash.core.shapes import as_time, per_row
from inkwash.denoise.denoiser import Network
from inkwash.process.cold import Cold


@dataclass(frozen=True)
class Restored:
    """The estimate that a restorer returns.

    Args:
        x: the restored image, `(B, C, H, W)`, model units.
    """

    x: Tensor


class Restorer(nn.Module):
    """A network that restores images, with the process that degrades them; `inkwash.Diffusion` samples with it.

    Args:
        network: a callable `(x_t, t) -> x`; `t` comes with shape `(B,)`, in the dtype of `x_t`.
        process: the cold process.
    """

    def __init__(self, network: Network, process: Cold) -> None:
        super().__init__()
        self.network = network
        self.process = process

    def forward(self, x_t: Tensor, t: float | Tensor) -> Restored:
        """Restore images `x_t` `(B, C, H, W)` that are degraded to time `t`, `()` or `(B,)`."""
        return Restored(self.network(x_t, per_row(as_time(t), x_t).to(x_t)))
