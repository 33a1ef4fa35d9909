r"""Denoisers of Bernoulli diffusion.

The network estimates the clean bits one by one, $p(x_i = 1 \mid x_t)$. The optimal estimate is the true conditional
probability. The reverse kernel draws the entries of $x_s$ independently given $x_t$, which is exact only in the limit
of small steps.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from inkwash.bernoulli import Bernoulli
from inkwash.denoise import NetworkDenoiser
from inkwash.shapes import as_time


@dataclass(frozen=True)
class BitEstimate:
    r"""What is believed of the clean bits, given noisy ones.

    Args:
        logits: log-odds of a 1, `(B, *event)`.
        x_t: the noisy bits, `(B, *event)`.
        t: their time, `()` or `(B,)`, float64.
        process: the process that made the noise.
    """

    logits: Tensor
    x_t: Tensor
    t: Tensor
    process: Bernoulli

    @property
    def x(self) -> Tensor:
        r"""$p(x = 1 \mid x_t)$ for each entry, which is $\mathbb E[x \mid x_t]$."""
        return self.logits.sigmoid()


class BitDenoiser(NetworkDenoiser):
    """A network that gives the log-odds of clean bits, with its process.

    Args:
        network: a callable `(x_t, t, **condition) -> logits` shaped like `x_t`; `t` comes with shape `(B,)`. A module
            with parameters is called in their dtype.
        process: the Bernoulli process.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", always zero.

    Raises:
        ConfigError: an unknown `sees`.
    """

    process: Bernoulli

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> BitEstimate:
        """The estimate at noisy bits `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        return BitEstimate(self.ask(x_t, t, guidance, condition)[0], x_t, t, self.process)
