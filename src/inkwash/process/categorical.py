r"""Diffusion of categories with uniform or absorbing noise: the discrete diffusion of Austin et al. (2021, D3PM, §3.1).

An entry survives until time t with probability $a_t$. An entry that does not survive is drawn anew from the rates
$\pi$: $q(x_t \mid x) = a_t\,[x_t = x] + (1 - a_t)\,\pi(x_t)$. From s to t an entry survives with probability
$a_{ts} = a_t/a_s$. Uniform noise has $\pi = 1/K$ for each of K categories (Hoogeboom et al. 2021); for K = 2 it is the
Bernoulli process of rate 1/2. Absorbing noise has $\pi = 1$ for an additional state, the mask, which clean data never
takes.

A denoiser of categories gives weights w for x. They leave out what the entry's own noisy state shows, which Bayes' rule
adds exactly: $p(x = k \mid x_t) \propto w_k\,q(x_t \mid x = k)$. The reverse step
$\sum_k q(x_s \mid x_t, x = k)\,p(x = k \mid x_t)$ (eq. 4) is then the posterior of $x_s$ whose prior is the marginal of
w, $p(x_s = j \mid x_t) \propto q(x_t \mid x_s = j)\,\big(a_s w_j + (1 - a_s)\,\pi_j\big)$. It has K terms, not K².
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from inkwash.core.brief import short_repr
from inkwash.core.config import CategoryNoise
from inkwash.core.errors import ConfigError, require_one_of
from inkwash.core.shapes import as_time, over, sum_event
from inkwash.process.bernoulli import step_log_odds
from inkwash.process.distributions import Lattice, Masses
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import AnyEstimate, Discrete
from inkwash.process.region import Region


@dataclass(frozen=True)
class Categorical(Discrete):
    r"""The process of categories; data are their numbers 0, 1, … in floating-point tensors `(B, D)`.

    Args:
        schedule: gives the survival probability, which is the logistic function of its `log_snr`. Absorbing noise needs
            a schedule that leaves no signal at time 1, such as `SohlDicksteinSchedule`, with $a_t = 1 - t$.
        sizes: the number of categories K of each of the D entries, each at least 1.
        noise_kind: "uniform" or "absorbing".

    Raises:
        ConfigError: the noise is unknown, there are no sizes, or absorbing noise leaves signal at time 1.
    """

    schedule: Schedule
    sizes: tuple[int, ...]
    noise_kind: CategoryNoise = "uniform"

    def __post_init__(self) -> None:
        require_one_of("categories.noise", self.noise_kind, get_args(CategoryNoise))
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError("categories.sizes", self.sizes, "one number >= 1 for each entry")
        if self.noise_kind == "absorbing" and bool(self.schedule.alpha(1.0) != 0):
            need = "one that leaves no signal at time 1, where every entry is masked"
            raise ConfigError("categories.schedule", type(self.schedule).__name__, need)

    @cached_property
    def states(self) -> Lattice:
        """The numbers of the S states of an entry: as many as the longest entry has, with the mask, and at least 2."""
        count = max(2, max(self.sizes) + (self.noise_kind == "absorbing"))
        return Lattice(0.0, float(count - 1), count)

    @cached_property
    def possible(self) -> Tensor:
        """Which states clean data may take, boolean `(D, S)`."""
        return torch.arange(self.states.levels) < torch.tensor(self.sizes)[:, None]

    @cached_property
    def log_rates(self) -> Tensor:
        r"""$\log\pi$, float64, `(D, S)`; minus infinity for a state that noise never draws."""
        absorbing = self.noise_kind == "absorbing"
        count = torch.tensor(self.sizes)[:, None]
        state = torch.arange(self.states.levels)
        drawn = state == count if absorbing else state < count
        return torch.where(drawn, -torch.log(torch.ones(()) if absorbing else count.double()), -torch.inf).double()

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Masses:
        r"""$p(x_1) = \pi$."""
        zeros = torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))
        return self._masses(zeros[..., None] + self.log_rates.to(zeros))

    def marginal(self, x: Tensor, t: float | Tensor) -> Masses:
        r"""$q(x_t \mid x) = a_t\,[x_t = x] + (1 - a_t)\,\pi(x_t)$."""
        return self._masses(self._noised(self._certain(x), self.schedule.log_snr(t)))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Uniform numbers in [0, 1), always float64."""
        uniform = torch.rand(tuple(shape), generator=generator, dtype=torch.float64)
        return uniform if like is None else uniform.to(like.device)

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """A draw from `marginal(x, t)`: the first state at which the cumulative probability exceeds the noise."""
        reached = self.marginal(x.double(), t).logits.softmax(-1).cumsum(-1)
        return (noise[..., None] >= reached[..., :-1] / reached[..., -1:]).sum(-1).to(x.dtype)

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Masses:
        r"""$q(x_t \mid x_s) = a_{ts}\,[x_t = x_s] + (1 - a_{ts})\,\pi(x_t)$."""
        return self._masses(self._noised(self._certain(x_s), step_log_odds(self.schedule, s, t)))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Masses:
        r"""$q(x_s \mid x_t, x) \propto q(x_t \mid x_s)\,q(x_s \mid x)$ (eq. 3)."""
        return self._masses(self.marginal(x, s).logits + self.evidence(x_t, step_log_odds(self.schedule, s, t)))

    def reverse(self, x_t: Tensor, estimate: CategoryEstimate, s: float | Tensor, t: float | Tensor) -> Masses:
        r"""$p(x_s \mid x_t) = \sum_x q(x_s \mid x_t, x)\,p(x \mid x_t)$, independently for each entry."""
        prior = self._noised(estimate.log_weights.log_softmax(-1), self.schedule.log_snr(s))
        return self._masses(prior + self.evidence(x_t, step_log_odds(self.schedule, s, t)))

    def decoder(self, x_t: Tensor, estimate: CategoryEstimate, times: Tensor, lattice: object = None) -> Masses:
        r"""$p(x \mid x_{\tau_1})$, which is the law of the estimate and also the reverse kernel to s = 0."""
        return self._masses(estimate.logits)

    def estimate(self, odds: Tensor, x_t: Tensor, t: Tensor) -> CategoryEstimate:
        """The estimate of log-weights `(B, sum(sizes))`: those of the categories of the first entry, then of the
        second, and so on."""
        log_weights = odds.new_full((len(odds), *self.possible.shape), -torch.inf)
        log_weights[:, self.possible] = odds
        return CategoryEstimate(log_weights, x_t, t, self)

    def evidence(self, x_t: Tensor, log_odds: Tensor) -> Tensor:
        r"""$\log q(x_t \mid j)$ for every earlier state j, `(B, D, S)`.

        Args:
            x_t: noisy categories, `(B, D)`.
            log_odds: the log-odds of survival from the earlier time until t, float64, `()` or `(B,)`.
        """
        drawn = self.log_rates.to(x_t).expand(*x_t.shape, -1).gather(-1, x_t.long()[..., None])
        kept, lost = (over(logsigmoid(sign * log_odds), drawn) for sign in (1, -1))
        return log_add(kept + self._certain(x_t), (lost + drawn).expand(*x_t.shape, self.states.levels))

    def _certain(self, x: Tensor) -> Tensor:
        """The log-masses of known entries, `(B, D, S)`: zero for the state of the entry, else minus infinity."""
        return torch.where(one_hot(x.long(), self.states.levels) == 1, 0.0, -torch.inf).to(x)

    def _noised(self, log_masses: Tensor, log_odds: Tensor) -> Tensor:
        """The log-masses `(B, D, S)` after noise: each entry survives with `log_odds` or is drawn anew."""
        kept, lost = (over(logsigmoid(sign * as_time(log_odds)), log_masses) for sign in (1, -1))
        return log_add(kept + log_masses, (lost + self.log_rates.to(log_masses)).expand_as(log_masses))

    def _masses(self, logits: Tensor) -> Masses:
        return Masses(logits, self.states)


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b)), whose gradients are not NaN even where both are minus infinity."""
    nothing = (a == -torch.inf) & (b == -torch.inf)
    return torch.logaddexp(a.masked_fill(nothing, 0.0), b.masked_fill(nothing, 0.0)).masked_fill(nothing, -torch.inf)


@short_repr
@dataclass(frozen=True)
class CategoryEstimate(AnyEstimate):
    r"""The estimate of clean categories, given noisy ones.

    Args:
        log_weights: $\log w_k$ up to a constant for each state, `(B, D, S)`; minus infinity for a state that the entry
            cannot have.
        x_t: the noisy categories, `(B, D)`.
        t: their time, `()` or `(B,)`, float64.
        process: the process that made the noise.
    """

    log_weights: Tensor
    x_t: Tensor
    t: Tensor
    process: Categorical

    @property
    def logits(self) -> Tensor:
        r"""$\log p(x = k \mid x_t)$ up to a constant, `(B, D, S)`."""
        return self.log_weights + self.process.evidence(self.x_t, self.process.schedule.log_snr(self.t))

    @property
    def x(self) -> Tensor:
        """The likeliest category of each entry, `(B, D)`; the mean of category numbers would mean nothing."""
        return self.logits.argmax(-1).to(self.x_t)

    @property
    def law(self) -> Masses:
        return Masses(self.logits.double(), self.process.states)

    def with_known(self, clean: Tensor, known: Tensor) -> CategoryEstimate:
        index = clean.long().clamp(max=self.log_weights.shape[-1] - 1)
        certain = one_hot(index, self.log_weights.shape[-1]) == 1
        weights = torch.where(certain, 0.0, -torch.inf).to(self.log_weights)
        return replace(self, log_weights=torch.where(known[..., None], weights, self.log_weights))

    def within(self, region: Region) -> tuple[CategoryEstimate, Tensor]:
        """The estimate given that x lies in a region, and the log of the probability that it does, `(B,)`."""
        count = region.states.shape[-1]
        log_masses = self.law.logits.log_softmax(-1)[..., :count].masked_fill(~region.states, -torch.inf)
        weights = self.log_weights.clone()
        weights[..., :count] = weights[..., :count].masked_fill(~region.states, -torch.inf)
        return replace(self, log_weights=weights), sum_event(log_masses.logsumexp(-1))
