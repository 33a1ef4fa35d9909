r"""Bernoulli diffusion of bits, the binomial diffusion of Sohl-Dickstein et al. (2015, App. B.1 and Table App.1).

A bit survives until time t with probability $a_t$. A bit that does not survive is drawn anew, and is then 1 with
probability $\pi$: $q(x_t \mid x) = \mathrm{Bern}(a_t x + (1 - a_t)\pi)$. From s to t a bit survives with probability
$a_{ts} = a_t/a_s$.

Everything is written in log-odds, in which Bayes' rule is a sum. A bit b is evidence of the bit that it was before or
that it becomes. If the odds of survival between the two are $e^\lambda = a/(1 - a)$, it adds to the log-odds of a 1

$$
w_1(\lambda) = \log\Big(1 + \frac{e^\lambda}{\pi}\Big) \text{ if } b = 1, \qquad
w_0(\lambda) = -\log\Big(1 + \frac{e^\lambda}{1 - \pi}\Big) \text{ if } b = 0.
$$

This weight is infinite where survival is certain, and zero where it is impossible. The odds of survival until time t
are the signal-to-noise ratio of the schedule, so $a_t = \alpha_t^2/(\alpha_t^2 + \sigma_t^2)$. This is $\alpha_t^2$ for
a variance-preserving schedule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import as_time, over
from inkwash.process.distributions import Bins, Bits, Lattice
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import AnyEstimate, Discrete


@dataclass(frozen=True)
class Bernoulli(Discrete):
    r"""The Bernoulli process of a schedule; data are zeros and ones in floating-point tensors `(B, *event)`.

    Args:
        schedule: gives the survival probability, which is the logistic function of its `log_snr`.
        rate: $\pi$, the probability of a 1 in pure noise; strictly between 0 and 1.

    Raises:
        ConfigError: the rate is outside (0, 1).
    """

    schedule: Schedule
    rate: float = 0.5
    lattice: ClassVar[Lattice] = Lattice(0.0, 1.0, 2)

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError("rate", self.rate, "a number between 0 and 1, both excluded")

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Bits:
        r"""$p(x_1) = \mathrm{Bern}(\pi)$."""
        zeros = torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))
        return Bits(zeros + self._prior_logit)

    def scale(self, t: float | Tensor) -> Tensor:
        r"""1, float64, since noise does not change the prior."""
        return torch.ones_like(as_time(t))

    def marginal(self, x: Tensor, t: float | Tensor) -> Bits:
        r"""$q(x_t \mid x) = \mathrm{Bern}(a_t x + (1 - a_t)\pi)$, whose log-odds are
        $\mathrm{logit}\,\pi + w_x(\lambda_t)$."""
        return Bits(self._prior_logit + self._evidence(x, self.schedule.log_snr(t)))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Uniform numbers in [0, 1), always float64, so that a rare flip is not rounded away."""
        uniform = torch.rand(tuple(shape), generator=generator, dtype=torch.float64)
        return uniform if like is None else uniform.to(like.device)

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw from `marginal(x, t)`: 1 where the noise is below the probability of a 1."""
        return (noise < self.marginal(x, t).mean).to(x.dtype)

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Bits:
        r"""$q(x_t \mid x_s) = \mathrm{Bern}(a_{ts} x_s + (1 - a_{ts})\pi)$."""
        return Bits(self._prior_logit + self._evidence(x_s, step_log_odds(self.schedule, s, t)))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Bits:
        r"""$q(x_s \mid x_t, x)$, whose log-odds are $\mathrm{logit}\,\pi + w_x(\lambda_s) + w_{x_t}(\lambda_{ts})$.

        At s = 0 the weight of x is infinite, and the posterior is certain.
        """
        return Bits(self.marginal(x, s).logits + self._evidence(x_t, step_log_odds(self.schedule, s, t)))

    def reverse(self, x_t: Tensor, estimate: BitEstimate, s: float | Tensor, t: float | Tensor) -> Bits:
        r"""$p(x_s \mid x_t) = \sum_x q(x_s \mid x_t, x)\,p(x \mid x_t)$, independently for each entry."""
        posteriors = (self.posterior(x_t, torch.full_like(x_t, bit), s, t) for bit in (0, 1))
        return _mixture(Bits(estimate.logits), *posteriors)

    def decoder(self, x_t: Tensor, estimate: BitEstimate, times: Tensor, lattice: Lattice | Bins | None) -> Bits:
        r"""$p(x \mid x_{\tau_1})$, which is the law of the estimate and also the reverse kernel to s = 0.

        Raises:
            ConfigError: the lattice is not that of 0 and 1.
        """
        if lattice not in (None, self.lattice):
            raise ConfigError("lattice", lattice, f"{self.lattice}, the values of a Bernoulli process")
        return Bits(estimate.logits)

    def estimate(self, odds: Tensor, x_t: Tensor, t: Tensor) -> BitEstimate:
        """The estimate of log-odds of a 1, shaped like `x_t`."""
        return BitEstimate(odds, x_t, t, self)

    @property
    def _prior_logit(self) -> float:
        return math.log(self.rate) - math.log1p(-self.rate)

    def _evidence(self, bit: Tensor, log_odds: Tensor) -> Tensor:
        r"""The weight $w_b(\lambda)$ of each entry b of `bit`; $\lambda$ is `log_odds`, float64, `()` or `(B,)`."""
        one = -logsigmoid(math.log(self.rate) - log_odds)  # log(1 + e^(log_odds)/rate), without overflow
        zero = logsigmoid(math.log1p(-self.rate) - log_odds)
        return torch.where(bit == 1, over(one, bit), over(zero, bit))


def step_log_odds(schedule: Schedule, s: float | Tensor, t: float | Tensor) -> Tensor:
    r"""$\lambda_{ts} = \log\frac{a_{ts}}{1 - a_{ts}}$, the log-odds of survival from s to t, float64.

    It is computed with $1 - a_{ts} = (1 - a_t)(1 - e^{\lambda_t - \lambda_s})$.
    """
    before, after = schedule.log_snr(as_time(s)), schedule.log_snr(as_time(t))
    return after - logsigmoid(before) - torch.log(-torch.expm1(after - before))


def _mixture(weight: Bits, zero: Bits, one: Bits) -> Bits:
    """The law of a bit that follows `zero` or `one`, depending on a bit of the law `weight`; all in logarithms."""
    unset, filled = (
        torch.logaddexp(weight.log_masses[0] + of_zero, weight.log_masses[1] + of_one)
        for of_zero, of_one in zip(zero.log_masses, one.log_masses, strict=True)
    )
    return Bits(filled - unset)


@short_repr
@dataclass(frozen=True)
class BitEstimate(AnyEstimate):
    r"""The estimate of clean bits, given noisy ones.

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
        r"""$p(x = 1 \mid x_t) = \mathbb E[x \mid x_t]$ for each entry, `(B, *event)`."""
        return self.logits.sigmoid()

    @property
    def law(self) -> Bits:
        return Bits(self.logits.double())

    def with_known(self, clean: Tensor, known: Tensor) -> BitEstimate:
        certain = torch.where(clean == 1, torch.inf, -torch.inf)
        return replace(self, logits=torch.where(known, certain, self.logits))
