r"""Denoisers of Bernoulli diffusion.

The network estimates the clean bits one by one, $p(x_i = 1 \mid x_t)$. The optimal estimate is the true conditional
probability. The reverse kernel draws the entries of $x_s$ independently given $x_t$, which is exact only in the limit
of small steps.
"""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from inkwash.bernoulli import Bernoulli
from inkwash.denoise import Network, Sight, level_seen
from inkwash.errors import ConfigError
from inkwash.process import Process
from inkwash.shapes import as_time, per_row


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


class BitDenoiser(nn.Module):
    """A network that gives the log-odds of clean bits, with its process.

    Args:
        network: a callable `(x_t, t, **condition) -> logits` shaped like `x_t`; `t` comes with shape `(B,)`. A module
            with parameters is called in their dtype.
        process: the Bernoulli process.
        sees: what the network is given as `t`: the "time" itself, or its "log_snr".

    Raises:
        ConfigError: an unknown `sees`.
    """

    def __init__(self, network: Network, process: Bernoulli, sees: Sight = "time") -> None:
        super().__init__()
        if sees not in get_args(Sight):
            raise ConfigError("sees", repr(sees), "one of " + ", ".join(get_args(Sight)))
        self.network, self.process, self.sees = network, process, sees

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> BitEstimate:
        """The estimate at noisy bits `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        dtype = next((p.dtype for p in self.parameters()), x_t.dtype)
        level = per_row(level_seen(self.sees, self.process.schedule, t), x_t).to(device=x_t.device, dtype=dtype)
        logits: Tensor = self.network(x_t.to(dtype), level, **condition)
        return BitEstimate(logits.to(x_t.dtype), x_t, t, self.process)


def reverse_entropy_bounds(
    process: Process, x: Tensor, s: float | Tensor, t: float | Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Estimates, `(B,)` each, whose averages over data are a lower and an upper bound on $H_q(X_s \mid X_t)$, nats
    (Sohl-Dickstein et al. 2015, eq. 24):

    $$ H_q(X_t \mid X_s) + H_q(X_s \mid X_0) - H_q(X_t \mid X_0) \;\le\; H_q(X_s \mid X_t) \;\le\; H_q(X_t \mid X_s). $$

    The lower one, the mean entropy of the posterior, always holds. The upper one needs $H_q(X_s) \le H_q(X_t)$: noise
    must not take entropy away, as it does where the data are more spread out than the prior.

    Args:
        process: the forward process.
        x: data, `(B, *event)`.
        s: the earlier time, after 0.
        t: the later time.
        generator: of one draw of $x_s$ per example, on which the entropy of a transition of bits depends.
    """
    x = x.double()
    marginal = process.marginal(x, s)
    upper = process.transition(marginal.draw(generator), s, t).entropy()
    return upper + marginal.entropy() - process.marginal(x, t).entropy(), upper
