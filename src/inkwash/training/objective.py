r"""Training objectives: what is compared at a time, and with what weight.

An objective is an integral over times, $\int_0^1 w(t)\,\mathbb E\,\mathrm{error}(t)\,dt$. Which times a step looks at
is a separate choice, see `inkwash.training.times`: proposals change the variance of a loss, and objectives its meaning.
Losses are per example, `(B,)`, and per entry: nats per entry where the objective is a bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from inkwash.core.config import NormName, RegressionName
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import mean_event, over
from inkwash.denoise.cold import Restorer
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.likelihood.bound import step_kl
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Estimate, require_gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise.grid import uniform_grid
from inkwash.process.noise.learned import LearnedSchedule
from inkwash.process.noise.schedule import Schedule
from inkwash.process.process import Process
from inkwash.training.times import log_snr_rate


@dataclass(frozen=True)
class Restoration:
    r"""The training objective $\lVert R(D(x, t), t) - x\rVert$ per entry (Bansal et al. 2022, eq. 1).

    Args:
        norm: "l1", the paper's, or "l2", squared, whose best restorer is the conditional mean.
    """

    norm: NormName = "l1"

    def __post_init__(self) -> None:
        if self.norm not in get_args(NormName):
            raise ConfigError("restoration.norm", repr(self.norm), "one of " + ", ".join(get_args(NormName)))

    def loss(self, restorer: Restorer, x: Tensor, t: Tensor) -> Tensor:
        """Loss per example, `(B,)`, for clean `x` `(B, C, H, W)` degraded to times `t` `(B,)`."""
        error = restorer(restorer.process.marginal(x, t).mean, t).x - x
        return mean_event(error.abs() if self.norm == "l1" else error**2)


Compared = Literal["x", "eps", "v", "velocity", "score"]


class Objective(ABC):
    """What training minimises."""

    @abstractmethod
    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        """Loss per example, `(B,)`, for clean `x` `(B, *event)` noised with `noise` at times `t` `(B,)`.

        Entries that are not `present`, boolean `(B, *event)`, do not count; None: all are present.
        """


def _one(schedule: Schedule, t: Tensor) -> Tensor:
    return torch.ones_like(t)


def _truncated_snr(schedule: Schedule, t: Tensor) -> Tensor:
    return schedule.log_snr(t).exp().clamp(max=5)


def _edm(schedule: Schedule, t: Tensor) -> Tensor:
    return schedule.log_snr(t).exp() + 1


def _half_rate(schedule: Schedule, t: Tensor) -> Tensor:
    return 0.5 * log_snr_rate(schedule, t)


WEIGHTS: dict[str, Callable[[Schedule, Tensor], Tensor]] = {
    "one": _one,
    "min-snr": _truncated_snr,
    "edm": _edm,
    "half-rate": _half_rate,
}
"""Weights of a squared error by name: 1; min(SNR, 5); SNR + 1; half the rate of the log-SNR."""


@dataclass(frozen=True)
class Regression(Objective):
    r"""$w(t)\,\lVert a - \hat a\rVert^2$ per entry, where a is what is compared.

    | compare | weight | |
    | --- | --- | --- |
    | "eps" | "one" | simple (Ho et al. 2020, eq. 14) |
    | "score" | "one" | denoising score matching (Vincent 2011) |
    | "velocity" | "one" | conditional flow matching (Lipman et al. 2023, eq. 23), for the rectified schedule |
    | "x" | "min-snr" | Hang et al. 2023, with the limit 5 |
    | "x" | "edm" | Karras et al. 2022, table 1, for data of variance 1 |
    | "eps" | "half-rate" | the bound in continuous time, $\tfrac12\int \mathrm{mse}\,d\mathrm{SNR}$ (Kingma et al. 2021, eq. 17) |

    Args:
        compare: "x", "eps", "v", "velocity" or "score".
        weight: name of one of `WEIGHTS`.
        first: with "half-rate", whose integral diverges at time 0, earlier times do not count.

    Raises:
        ConfigError: an unknown name.
    """  # noqa: E501

    compare: Compared = "eps"
    weight: str = "one"
    first: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("compare", get_args(Compared)), ("weight", tuple(WEIGHTS))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"objective.{name}", repr(getattr(self, name)), "one of " + ", ".join(choices))

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        process = require_gaussian(denoiser.process, "objective")
        estimate = denoiser(process.diffuse(x, t, noise), t)
        return mean_event(_with_odds(self.errors(estimate, x, noise), estimate, x), present)

    def errors(self, estimate: Estimate, x: Tensor, noise: Tensor) -> Tensor:
        """The weighted squared error of each entry, `(B, *event)`."""
        truth = replace(estimate, x=x, eps=noise)
        error = (getattr(truth, self.compare) - getattr(estimate, self.compare)) ** 2
        weight = WEIGHTS[self.weight](estimate.process.schedule, estimate.t)
        if self.weight == "half-rate":
            weight = torch.where(estimate.t < self.first, 0.0, weight)
        return over(weight, error) * error


def _with_odds(errors: Tensor, estimate: Estimate, x: Tensor) -> Tensor:
    """The squared errors of entries, `(B, *event)`; where numbers recur, with the cross-entropy of which of them an
    entry is, nats: the error alone would not say whether a number is one of them or near it. A bound does without."""
    return errors if estimate.spiked is None else errors + estimate.spiked.surprise(x)


REGRESSIONS: dict[RegressionName, tuple[Compared, str]] = {
    "simple": ("eps", "one"),
    "x": ("x", "one"),
    "v": ("v", "one"),
    "velocity": ("velocity", "one"),
    "score": ("score", "one"),
    "min-snr": ("x", "min-snr"),
    "edm": ("x", "edm"),
    "continuous": ("eps", "half-rate"),
}
"""Regressions by the name that the command line knows them by: what each compares, and its weight."""


@dataclass(frozen=True)
class PairBound(Objective):
    r"""The variational bound on a grid, one pair of neighbouring times at a time: T times the term of the pair that
    holds t, nats per entry (Ho et al. 2020, eqs. 5 and 12). The first pair has the decoder's term; the prior's is added
    to all.

    Its integral over t is the bound. It serves any process, and any reverse variance.

    Args:
        steps: steps T of a uniform grid, at least 2.
        lattice: the values that discrete data takes; None for those of the process, or for a density.
    """

    steps: int = 1000
    lattice: Lattice | Bins | None = None

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        k = self.step_of(t)
        x_t = denoiser.process.diffuse(x, k / self.steps, noise)
        return self.term(denoiser, x, x_t, k, denoiser(x_t, k / self.steps), present)

    def step_of(self, t: Tensor) -> Tensor:
        """The step k in 1 … T of the pair that holds t."""
        return (t * self.steps).ceil().clamp(1, self.steps)

    def term(
        self,
        denoiser: AnyDenoiser,
        x: Tensor,
        x_t: Tensor,
        k: Tensor,
        estimate: Estimate,
        present: Tensor | None = None,
    ) -> Tensor:
        """The loss from the estimate at step k `(B,)`."""
        process, last = denoiser.process, (k == 1).to(x.device)
        s, t = ((k - 1).clamp(min=1) / self.steps, k.clamp(min=2) / self.steps)
        pair = step_kl(process, x, x_t, estimate, s, t, present)
        grid = uniform_grid(self.steps)
        # Only for rows of the first pair: far from time 0 an estimate may leave no mass, and its gradient would be NaN.
        decoder = process.decoder(x_t[last], estimate.rows(last), grid, self.lattice or process.lattice)
        log_prob = decoder.log_prob(x[last], None if present is None else present[last])
        term = pair.masked_scatter(last, -log_prob.to(pair))
        return (self.steps * term + _prior(process, x, present)) / x[0].numel()


def _prior(process: Process, x: Tensor, present: Tensor | None) -> Tensor:
    """The prior's part of the bound, `(B,)`, nats per example."""
    return process.marginal(x, 1.0).kl(process.prior(x.shape, like=x), present)


@dataclass(frozen=True)
class MeanRegression(Objective):
    r"""$\lVert\tilde\mu - \mu\rVert^2$ per entry, where $\mu$ is the mean of the step back to the time before in a
    grid, and $\tilde\mu$ that of $q(x_s \mid x_t, x)$ (Ho et al. 2020, Table 2): the bound on
    the grid without its weights.

    Args:
        steps: steps T of a uniform grid, at least 2.
    """

    steps: int = 1000

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        process, k = require_gaussian(denoiser.process, "objective"), PairBound(self.steps).step_of(t)
        s, t = (k - 1) / self.steps, k / self.steps
        x_t = process.diffuse(x, t, noise)
        estimate = denoiser(x_t, t)
        errors = (process.posterior(x_t, x, s, t).mean - estimate.mean(s)) ** 2
        return mean_event(_with_odds(errors, estimate, x), present)


@dataclass(frozen=True)
class MixedLoss(Objective):
    r"""For rows of numbers and categories: a regression for the numbers and the bound, in nats, for the categories; all
    entries count the same.

    The bound is that of a grid of T steps which passes through t: T times the divergence of the step from t to
    $t - 1/T$, or of the one from the first time to 0.

    Args:
        regression: the regression of the numbers.
        steps: T.

    Raises:
        ConfigError: by `loss`, if the process is not mixed.
    """

    regression: Regression = Regression()
    steps: int = 1000

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        process = denoiser.process
        if not isinstance(process, Mixed):
            raise ConfigError("objective", f"a {type(process).__name__} process", "rows of numbers and categories")
        x_t = process.diffuse(x, t, noise)
        estimate = denoiser(x_t, t)
        (numbers, categories), (normal, _) = process.parts(x), process.parts(noise)
        errors = self.regression.errors(estimate.numbers, numbers, normal.to(x))
        errors = _with_odds(errors, estimate.numbers, numbers)
        s, category_t = (t - 1 / self.steps).clamp(min=0), process.parts(x_t)[1]
        reverse = process.categories.reverse(category_t, estimate.categories, s, t)
        divergence = process.categories.posterior(category_t, categories, s, t).entry_kl(reverse)
        return mean_event(process.joined(errors, self.steps * divergence), present)


@dataclass(frozen=True)
class ContinuousBound(Objective):
    r"""The bound in continuous time with a `LearnedSchedule`, nats per entry. The end points of the schedule are
    trained on the bound, and its shape on the variance of the estimate (Kingma et al. 2021, App. I.2).

    The diffusion part at one time is $L = \tfrac12\lvert d\lambda/dt\rvert\,\mathrm{mse}(\epsilon)$, and 0 before
    t = 1/T; prior and decoder, at t = 1/T, are added to all. Its integral over t is the bound, which depends on the end
    points of the schedule only. But $\mathbb E L^2$ depends on all of the schedule, and is least where $dt/d\lambda$ is
    proportional to the root mean square of what a unit of log-SNR adds. The gradient in the parameters of the shape is
    therefore that of $L^2$, for batches whose times are all weighted with 1. In all other parameters it is that of the
    bound, which is also the value.

    The decoder takes a second evaluation of the network. The small reverse variance makes it depend on the log-SNR at
    t = 2/T as well; the gradient of the shape leaves this out.

    Args:
        lattice: the values that discrete data takes; None for a density.

    Raises:
        ConfigError: by `loss`, if the schedule is another one.
    """

    lattice: Lattice | Bins | None = None

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        process = require_gaussian(denoiser.process, "objective")
        schedule = process.schedule
        if not isinstance(schedule, LearnedSchedule):
            raise ConfigError("objective", f"a {type(schedule).__name__}", "a LearnedSchedule")
        regression = Regression(*REGRESSIONS["continuous"], first=1 / schedule.steps)
        errors = regression.errors(denoiser(process.diffuse(x, t, noise), t), x, noise)
        diffusion = mean_event(errors, present)
        grid = uniform_grid(schedule.steps)
        x_t = process.diffuse(x, grid[-2], noise)
        decoder = process.decoder(x_t, denoiser(x_t, grid[-2]), grid, self.lattice)
        bound = diffusion + (_prior(process, x, present) - decoder.log_prob(x, present)) / x[0].numel()
        return _redirected(bound, diffusion**2, schedule.shape())


def _redirected(loss: Tensor, other: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """`loss` `(B,)`, with a mean whose gradient is that of the mean of `other` in some parameters, and its own in the
    rest."""
    trained = [p for p in parameters if p.requires_grad]
    if not (trained and torch.is_grad_enabled()):
        return loss
    changes = torch.autograd.grad((other - loss).mean(), trained, retain_graph=True)
    nothing = [((p - p.detach()) * change).sum() for p, change in zip(trained, changes, strict=True)]
    return loss + torch.stack(nothing).sum().to(loss)


@dataclass(frozen=True)
class Hybrid(Objective):
    r"""$L_\mathrm{simple} + \lambda L_\mathrm{bound}$, where the bound trains the reverse variance only: its mean is
    held fixed (Nichol & Dhariwal 2021, eq. 16).

    Args:
        bound: the objective of the bound.
        share: $\lambda$.
    """

    bound: PairBound = PairBound()
    share: float = 0.001

    def loss(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, present: Tensor | None = None) -> Tensor:
        k = self.bound.step_of(t)
        x_t = denoiser.process.diffuse(x, k / self.bound.steps, noise)
        estimate = denoiser(x_t, k / self.bound.steps)
        logits, mixture, spiked = estimate.level_logits, estimate.mixture, estimate.spiked
        held = replace(
            estimate,
            x=estimate.x.detach(),
            eps=estimate.eps.detach(),
            level_logits=None if logits is None else logits.detach(),
            mixture=None if mixture is None else mixture.detached(),
            spiked=None if spiked is None else spiked.detached(),
        )
        simple = mean_event(_with_odds((noise - estimate.eps) ** 2, estimate, x), present)
        return simple + self.share * self.bound.term(denoiser, x, x_t, k, held, present)
