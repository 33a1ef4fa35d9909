r"""Products of Bernoulli diffusion with factors of single bits: $\log r(x) = \sum_i h_i x_i$.

Log-odds are tilted by h, which is infinite where a bit is known. If bits are independent under the belief, this is the
product; if they are correlated, it leaves out what a bit says about the others beyond their noisy states.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.posterior.evidence import Evidence, gradient
from inkwash.posterior.method import Method
from inkwash.process.bernoulli import Bernoulli, BitEstimate
from inkwash.process.distributions import Bits
from inkwash.process.process import Process
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Stepwise, Walker

_PROBES = 16
_ROUNDING = 1e-4


def require_bernoulli(process: Process, where: str) -> Bernoulli:
    """The process, for what is made only for bits.

    Raises:
        ConfigError: another process; `where` names what needs it.
    """
    if not isinstance(process, Bernoulli):
        raise ConfigError(where, f"a {type(process).__name__} process", "a Bernoulli process, or --method smc")
    return process


def tilt(evidence: Evidence) -> Tensor:
    """h, `(*shape)`, float64: the slope of log r at bits of one half, which is exact where log r is a sum over bits of
    polynomials of degree two at most."""
    slope = gradient(evidence.soft, torch.full_like(evidence.values, 0.5)[None])[0]
    certain = torch.where(evidence.values == 1, torch.inf, -torch.inf)
    return torch.where(evidence.known, certain, slope)


def log_mass(estimate: BitEstimate, h: Tensor) -> Tensor:
    """Log of the mean of exp(h x) under the belief, where known bits count with their probability; `(B,)`, float64."""
    zero, one = Bits(estimate.logits.double()).log_masses
    either = torch.logaddexp(zero, one + h.nan_to_num(posinf=0.0, neginf=0.0))
    return sum_event(torch.where(h == torch.inf, one, torch.where(h == -torch.inf, zero, either)))


def beyond(evidence: Evidence, h: Tensor, x: Tensor) -> Tensor:
    """log r - h x at bits `x` `(B, *shape)` that agree with the known ones; `(B,)`, float64."""
    finite = h.masked_fill(evidence.known, 0)
    return evidence.soft(x.double()) - sum_event(finite * x)


class Tilted(nn.Module):
    """The denoiser of a product of bits.

    Args:
        denoiser: the denoiser of the model.
        h: added to the log-odds, `(*shape)`.
    """

    def __init__(self, denoiser: AnyDenoiser, h: Tensor) -> None:
        super().__init__()
        self.denoiser, self.process, self.h = denoiser, denoiser.process, h

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> BitEstimate:
        """The estimate under the product."""
        return self.of(self.denoiser(x_t, t, **condition))

    def of(self, estimate: BitEstimate) -> BitEstimate:
        """The estimate under the product, from that of the model."""
        return replace(estimate, logits=estimate.logits + self.h.to(estimate.logits))


@dataclass(frozen=True)
class Entrywise(Method):
    """For bits: the belief about each bit is multiplied by its factor. It is exact where bits are independent.

    Raises:
        ConfigError: on use, a process that is not Bernoulli, or a log r that is no sum over bits.
    """

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        require_bernoulli(denoiser.process, "method Entrywise")
        h = tilt(evidence)
        x = torch.randint(0, 2, (_PROBES, *h.shape), generator=torch.Generator().manual_seed(0))
        left = beyond(evidence, h, evidence.with_known(x.to(h)))
        if float(left.max() - left.min()) > _ROUNDING * (1 + float(left.abs().max())):
            raise ConfigError("method Entrywise", "a factor that ties bits together", "one of each bit; or SMC")
        return Stepwise(Tilted(denoiser, h), sampler)
