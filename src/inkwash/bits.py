r"""Denoisers of Bernoulli diffusion, and what they are trained on.

The network estimates the clean bits one by one, $p(x_i = 1 \mid x_t)$. The optimal estimate is the true conditional
probability. The reverse kernel draws the entries of $x_s$ independently given $x_t$, which is exact only in the limit
of small steps.
"""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from inkwash.bernoulli import Bernoulli
from inkwash.denoise import AnyDenoiser, Network, Sight, level_seen
from inkwash.distributions import Bits, Lattice
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


def cross_entropy(denoiser: AnyDenoiser, x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    r"""$-\log p(x \mid x_t)$ for noise drawn at times `t` `(B,)`: nats per example, `(B,)`.

    Its minimum over all networks is the true conditional probability of each bit, at every t.
    """
    x_t = denoiser.process.marginal(x, t).draw(generator)
    return -Bits(denoiser(x_t, t).logits).log_prob(x)


def pair_loss(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, generator: torch.Generator, lattice: Lattice | None = None
) -> Tensor:
    r"""The bound on the grid `times`, estimated from one of its T terms per example: nats, `(B,)`, unbiased.

    The prior part, and T times the divergence at a random pair of neighbours; for the pair that ends at time 0 it is T
    times the reconstruction. Works for any process.

    Args:
        denoiser: gives the reverse kernel.
        x: clean data, `(B, *event)`.
        times: decreasing from 1 to 0, `(T + 1,)`.
        generator: of the pairs and of the noise.
        lattice: the values discrete data takes; None for those of the process, or for continuous data.
    """
    process, steps = denoiser.process, len(times) - 1
    x, lattice = x.double(), lattice or process.lattice
    pair = torch.randint(steps, (len(x),), generator=generator)
    t, s = times[pair], times[pair + 1]
    x_t = process.marginal(x, t).draw(generator)
    estimate, to_data = denoiser(x_t, t), s == 0
    s = torch.where(to_data, t / 2, s)  # unused there, but a divergence from certainty would make the gradient NaN
    divergence = process.posterior(x_t, x, s, t).kl(process.reverse(x_t, estimate, s, t))
    reconstruction = -process.decoder(x_t, estimate, times, lattice).log_prob(x)
    prior = process.marginal(x, 1.0).kl(process.prior(x.shape, like=x))
    return prior + steps * torch.where(to_data, reconstruction, divergence)
