r"""Variances of the reverse step $p(x_s \mid x_t)$, whose mean is the posterior mean at $\hat x$.

For a pair (s, t), the posterior has the variance $\tilde\beta = \sigma_{ts}^2\sigma_s^2/\sigma_t^2$, and the transition
has $\beta = \sigma_{ts}^2$. In the posterior mean, x has the coefficient $c = \alpha_s\sigma_{ts}^2/\sigma_t^2$. If the
mean squared error of the estimate is e, the reverse step should therefore have the variance $\tilde\beta + c^2 e$.

The last step, to the data, belongs to the decoder. Its pair is $(0, \tau_1)$, where $\tilde\beta = 0$ and c = 1. If a
variance is built on $\tilde\beta$, its decoder uses the $\tilde\beta$ of $(\tau_1, \tau_2)$ instead (Nichol & Dhariwal
2021).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from inkwash.core.config import PlainVarianceName
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import as_time, over
from inkwash.process.distributions import Lattice, NormalMixture
from inkwash.process.noise import steps
from inkwash.process.noise.schedule import Schedule

_KNOTS, _NOISIEST = 32, -20.0


class HasLaw(Protocol):
    """An estimate that may have a spread, and a law of each entry given $x_t$; see `Estimate`."""

    @property
    def spread(self) -> Tensor | None: ...
    @property
    def level_logits(self) -> Tensor | None: ...
    @property
    def mixture(self) -> NormalMixture | None: ...


class ReverseVariance(ABC):
    """The variance of a reverse step, of shape `()`, `(B,)` or `(B, *event)`.

    `spread` is what the network outputs for the variance, `(B, *event)`; None if the variance needs no such output.
    """

    needs_spread = False
    """Whether the network has to output one more number for each entry."""

    def spread_of(self, estimate: HasLaw) -> Tensor | None:
        """The spread of an estimate for this variance."""
        return estimate.spread

    @abstractmethod
    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        """The variance of p(x_s | x_t)."""

    @abstractmethod
    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        """The variance of the step to the data from the first time after 0 of the decreasing grid `times`."""


class Small(ReverseVariance):
    r"""The variance $\tilde\beta$ of the posterior, which is optimal if the data is a single point (Ho et al. 2020,
    §3.2)."""

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        return steps.posterior_var(schedule, s, t)

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return _first_posterior_var(schedule, times)


class Large(ReverseVariance):
    r"""The variance $\beta$ of the transition, which is optimal for standard normal data (Ho et al. 2020, §3.2)."""

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        return steps.transition_var(schedule, s, t)

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return steps.transition_var(schedule, 0.0, times[-2])


class Learned(ReverseVariance):
    r"""$\exp(f\log\beta + (1 - f)\log\tilde\beta)$, $f = (\mathrm{spread} + 1)/2$ (Nichol & Dhariwal 2021, eq. 15)."""

    needs_spread = True

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        return _between(steps.posterior_var(schedule, s, t), steps.transition_var(schedule, s, t), spread)

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return _between(_first_posterior_var(schedule, times), steps.transition_var(schedule, 0.0, times[-2]), spread)


class Free(ReverseVariance):
    r"""$\tilde\beta\exp(\mathrm{spread})$, which is free to be any diagonal variance (Sohl-Dickstein et al. 2015, Table
    App. 1)."""

    needs_spread = True

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        return _scaled(steps.posterior_var(schedule, s, t), spread)

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return _scaled(_first_posterior_var(schedule, times), spread)


class Analytic(nn.Module, ReverseVariance):
    r"""$\tilde\beta + c^2 e(t)$, the best variance that depends only on time (Bao et al. 2022, theorem 1).

    e is the mean squared error of $\hat x$ per entry. It is measured on data at some log-SNRs; between them, log e is
    interpolated linearly in log-SNR. `inkwash train` measures e at every save, with the averaged weights and with the
    model's clipping. No objective trains it.

    Args:
        log_snr: the log-SNRs at which e was measured, increasing, `(K,)`.
        error: the mean squared error at each of them, positive, `(K,)`.

    Raises:
        ConfigError: the shapes differ, the log-SNRs do not increase, or an error is not positive.
    """

    log_snr: Tensor
    log_error: Tensor

    @classmethod
    def of_normal_data(cls, schedule: Schedule, steps: int) -> Analytic:
        r"""The table of standard normal data, whose error is $1/(1 + \mathrm{SNR})$, at the log-SNRs where errors are
        measured: evenly from time 1 to the first time of a grid of `steps` steps."""
        first, last = (float(schedule.log_snr(t)) for t in (1.0, 1 / steps))
        log_snr = torch.linspace(max(first, _NOISIEST), last, _KNOTS, dtype=torch.float64)
        return cls(log_snr, 1 / (1 + log_snr.exp()))

    def __init__(self, log_snr: Tensor, error: Tensor) -> None:
        super().__init__()
        if log_snr.ndim != 1 or len(log_snr) < 2 or log_snr.shape != error.shape:
            raise ConfigError("analytic.error", f"shape {tuple(error.shape)}", "two or more, one for each log_snr")
        if not bool((log_snr.diff() > 0).all() and (error > 0).all()):
            raise ConfigError("analytic", "a table out of order", "increasing log_snr and positive errors")
        self.register_buffer("log_snr", log_snr.double())
        self.register_buffer("log_error", error.double().log())

    def error(self, log_snr: Tensor) -> Tensor:
        """The mean squared error of the estimate per entry at any log-SNR. It is constant below the first log-SNR of
        the table, and continues along the last segment above the last."""
        index = torch.searchsorted(self.log_snr, log_snr.contiguous()).clamp(1, len(self.log_snr) - 1)
        left, right = self.log_snr[index - 1], self.log_snr[index]
        share = ((log_snr - left) / (right - left)).clamp(min=0)
        return torch.lerp(self.log_error[index - 1], self.log_error[index], share).exp()

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        error = self.error(schedule.log_snr(as_time(t)).to(self.log_snr.device)).to("cpu")
        return steps.posterior_var(schedule, s, t) + steps.pull(schedule, s, t) ** 2 * error

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return self.of_step(schedule, 0.0, times[-2], spread)


@dataclass(frozen=True)
class Matched(ReverseVariance):
    r"""$\tilde\beta + c^2\operatorname{Var}(x \mid x_t)$ for each entry, under the law that the network predicts of it.

    It is the variance of $\int q(x_s \mid x_t, x)\,p(x \mid x_t)\,dx$, and so the best diagonal one if the law is
    right (Bao et al. 2022, "Estimating the optimal covariance with imperfect mean in diffusion probabilistic models").
    Nothing is learned or measured for it.

    Args:
        lattice: the levels, if the network predicts their masses; None for mixtures.
    """

    lattice: Lattice | None = None

    def spread_of(self, estimate: HasLaw) -> Tensor:
        if estimate.level_logits is not None and self.lattice is not None:
            return _var(estimate.level_logits, self.lattice.values())
        if estimate.mixture is not None:
            return estimate.mixture.entry_var
        raise ConfigError("variance", "matched", "small or large; or a network that predicts levels or mixtures")

    def of_step(self, schedule: Schedule, s: float | Tensor, t: float | Tensor, spread: Tensor | None) -> Tensor:
        error = _required(spread).double()
        small, weight = steps.posterior_var(schedule, s, t), steps.pull(schedule, s, t) ** 2
        return over(small, error) + over(weight, error) * error

    def of_decoder(self, schedule: Schedule, times: Tensor, spread: Tensor | None) -> Tensor:
        return self.of_step(schedule, 0.0, times[-2], spread)


SIMPLE: dict[PlainVarianceName, ReverseVariance] = {
    "small": Small(),
    "large": Large(),
    "learned": Learned(),
    "free": Free(),
}
"""Reverse variances that need nothing but their name."""


def _first_posterior_var(schedule: Schedule, times: Tensor) -> Tensor:
    r"""$\tilde\beta$ of $(\tau_1, \tau_2)$, the first pair of the grid without time 0."""
    if len(times) < 3:
        raise ConfigError("steps", 1, "at least 2 steps with this reverse variance, or variance='large'")
    return steps.posterior_var(schedule, times[-2], times[-3])


def _var(logits: Tensor, values: Tensor) -> Tensor:
    """The variance of values `(L,)` under masses of these log-odds `(B, *event, L)`, float64."""
    moments = logits.double().softmax(-1) @ torch.stack([values, values**2], 1).to(logits.device)
    return (moments[..., 1] - moments[..., 0] ** 2).clamp(min=0)


def _between(small: Tensor, large: Tensor, spread: Tensor | None) -> Tensor:
    """The variance between two others that has the share `(spread + 1) / 2`, in the logarithm."""
    share = (_required(spread).double() + 1) / 2
    return torch.exp(share * over(large.log(), share) + (1 - share) * over(small.log(), share))


def _scaled(small: Tensor, spread: Tensor | None) -> Tensor:
    """The variance `small`, times the exponential of the spread."""
    log_factor = _required(spread).double()
    return over(small, log_factor) * log_factor.exp()


def _required(spread: Tensor | None) -> Tensor:
    if spread is None:
        raise ConfigError("variance", "an estimate without a spread", "a network that gives one")
    return spread
