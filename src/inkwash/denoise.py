r"""A denoiser turns a network into an estimate of the clean data, whatever the network predicts.

Conversions are hub and spoke: every prediction gives $(\hat x, \hat\epsilon)$, which satisfy
$x_t = \alpha\hat x + \sigma\hat\epsilon$; all else follows from the two. Choosing what the network predicts changes the
weighting of the loss, not the class of models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from inkwash.errors import ConfigError
from inkwash.gaussian import Gaussian, require_gaussian
from inkwash.process import Process
from inkwash.shapes import as_time, over, per_row

Prediction = Literal["x", "eps", "score", "v"]
Variance = Literal["small", "large"]
Sight = Literal["time", "log_snr"]
Network = Callable[..., Tensor]


@dataclass(frozen=True)
class Estimate:
    r"""Everything a network's output at $(x_t, t)$ implies.

    Args:
        x: $\hat x$, the estimate of the clean data, `(B, *event)`, model units.
        eps: $\hat\epsilon$, the estimate of the noise, `(B, *event)`.
        x_t: the noisy data, `(B, *event)`.
        t: its time, `()` or `(B,)`, float64.
        process: the process that made the noise.
        variance: which reverse variance goes with it, "small" or "large".
    """

    x: Tensor
    eps: Tensor
    x_t: Tensor
    t: Tensor
    process: Gaussian
    variance: Variance

    @property
    def score(self) -> Tensor:
        r"""$\nabla\log p(x_t) = -\hat\epsilon/\sigma$ (Tweedie: $\alpha\hat x = x_t + \sigma^2\hat s$)."""
        return -self.eps / over(self.process.schedule.sigma(self.t), self.eps)

    @property
    def v(self) -> Tensor:
        r"""$\hat v = \alpha\hat\epsilon - \sigma\hat x$ (Salimans & Ho 2022, App. D)."""
        alpha, sigma = self.process.schedule.alpha(self.t), self.process.schedule.sigma(self.t)
        return over(alpha, self.eps) * self.eps - over(sigma, self.x) * self.x

    def mean(self, s: float | Tensor) -> Tensor:
        r"""Mean of the reverse step to time s: the posterior mean at $\hat x$ (DDPM eq. 7)."""
        return self.process.posterior(self.x_t, self.x, s, self.t).mean


def _from_x(x: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return x, (x_t - alpha * x) / sigma


def _from_eps(eps: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return (x_t - sigma * eps) / alpha, eps


def _from_score(score: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return _from_eps(-sigma * score, x_t, alpha, sigma)


def _from_v(v: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    power = alpha**2 + sigma**2  # 1 for a variance-preserving schedule
    return (alpha * x_t - sigma * v) / power, (sigma * x_t + alpha * v) / power


_TO_HUB: dict[Prediction, Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "x": _from_x,
    "eps": _from_eps,
    "score": _from_score,
    "v": _from_v,
}


class AnyDenoiser(Protocol):
    """A denoiser, or whatever wraps one: it knows its process and answers with an estimate of the process's kind."""

    @property
    def process(self) -> Process: ...

    def __call__(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any: ...


class Denoiser(nn.Module):
    """Network + process + what the network predicts.

    Args:
        network: a callable `(x_t, t, **condition) -> tensor` shaped like `x_t`; `t` comes with shape `(B,)`. A module
            with parameters is called in their dtype.
        process: the Gaussian process.
        predicts: what the network's output means: "x", "eps", "score" or "v".
        variance: variance of the reverse step, "small" or "large" (DDPM §3.2).
        sees: what the network is given as `t`: the "time" itself, or its "log_snr".

    Raises:
        ConfigError: an unknown `predicts`, `variance` or `sees`.
    """

    def __init__(
        self,
        network: Network,
        process: Gaussian,
        predicts: Prediction = "eps",
        variance: Variance = "small",
        sees: Sight = "time",
    ) -> None:
        super().__init__()
        _require_one_of("predicts", predicts, get_args(Prediction))
        _require_one_of("variance", variance, get_args(Variance))
        _require_one_of("sees", sees, get_args(Sight))
        self.network = network
        self.process = process
        self.predicts, self.variance, self.sees = predicts, variance, sees

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        output = self._call_network(x_t, t, condition)
        alpha, sigma = over(self.process.schedule.alpha(t), x_t), over(self.process.schedule.sigma(t), x_t)
        x, eps = _TO_HUB[self.predicts](output, x_t, alpha, sigma)
        return Estimate(x, eps, x_t, t, self.process, self.variance)

    def _call_network(self, x_t: Tensor, t: Tensor, condition: dict[str, Any]) -> Tensor:
        seen = t if self.sees == "time" else self.process.schedule.log_snr(t)
        dtype = self._network_dtype(x_t)
        level = per_row(seen, x_t).to(device=x_t.device, dtype=dtype)
        output: Tensor = self.network(x_t.to(dtype), level, **condition)
        return output.to(x_t.dtype)

    def _network_dtype(self, x_t: Tensor) -> torch.dtype:
        return next((p.dtype for p in self.parameters()), x_t.dtype)


class Clipped(nn.Module):
    r"""A denoiser whose $\hat x$ is clipped to the range of bounded data; $\hat\epsilon$ is recomputed from it.

    Args:
        denoiser: the denoiser to wrap.
        low: smallest value of clean data, model units.
        high: largest value.

    Raises:
        ConfigError: a denoiser of a process that is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = require_gaussian(denoiser.process, "clip")
        self.low, self.high = low, high

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, clipped."""
        estimate = self.denoiser(x_t, t, **condition)
        schedule = self.process.schedule
        alpha, sigma = over(schedule.alpha(estimate.t), x_t), over(schedule.sigma(estimate.t), x_t)
        x, eps = _from_x(estimate.x.clamp(self.low, self.high), x_t, alpha, sigma)
        return Estimate(x, eps, x_t, estimate.t, self.process, estimate.variance)


def _require_one_of(where: str, got: str, choices: tuple[str, ...]) -> None:
    if got not in choices:
        raise ConfigError(where, repr(got), "one of " + ", ".join(choices))
