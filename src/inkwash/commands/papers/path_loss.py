r"""One training loss, estimated in three ways (study note 003; Su 2022, spaces.ac.cn/9119).

The note trains a network to undo one step of the chain $x_{k} = a_k x_{k-1} + b_k\epsilon_k$, that is, to predict the
noise $\epsilon_k$ of that step from $x_k$. Let $\bar a_k = a_1\cdots a_k$ and $\bar b_k^2 = 1 - \bar a_k^2$. If
$\hat\epsilon$ estimates all the noise in $x_k$, then $(b_k/\bar b_k)\,\hat\epsilon$ estimates $\epsilon_k$, and the
loss is $\lVert\epsilon_k - (b_k/\bar b_k)\,\hat\epsilon(x_k)\rVert^2$. Three estimators have its mean over all paths:

1. whole path: draw $\epsilon_1 … \epsilon_k$ and walk;
2. merged: draw $\bar\epsilon_{k-1}$, all the noise up to the step before, and $\epsilon_k$;
3. closed form: draw $\epsilon$, all the noise up to k. Given it, $\epsilon_k$ is normal with mean
   $(b_k/\bar b_k)\,\epsilon$ and variance $q^2 = a_k^2\bar b_{k-1}^2/\bar b_k^2$, so its mean square is known.

The note expects the variance to fall with the number of variables drawn. From 1 to 2 it does not: $(x_k, \epsilon_k)$
has the same distribution in both, so merging only saves work. From 2 to 3 it does, by an amount that is known for any
network (see `variance_gap`), and what is left is `inkwash.training.Regression` times $b_k^2/\bar b_k^2$ plus a
constant: the loss that is used.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from inkwash.commands.output import Output
from inkwash.commands.papers.report import Findings, report
from inkwash.core.options import Range, Seed
from inkwash.core.progress import tracked
from inkwash.core.randomness import generator
from inkwash.core.shapes import mean_event, over, per_row
from inkwash.data import pictures
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.denoise.denoiser import Denoiser
from inkwash.process.distributions import standard_normal
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise import steps
from inkwash.process.noise.tables import LinearSchedule


class PathLoss(ABC):
    """An estimator of the loss of the last step of a path, which is an increasing grid of times that starts at 0."""

    @abstractmethod
    def draws(self, path: Tensor) -> int:
        """How many normal variables it draws for each entry of an example."""

    @abstractmethod
    def loss(self, denoiser: Denoiser, x: Tensor, path: Tensor, generator: torch.Generator) -> Tensor:
        """Loss per example and entry, `(B,)`, for clean `x` `(B, *event)`, noised along `path`, `(k + 1,)`."""


@dataclass(frozen=True)
class FullPath(PathLoss):
    """It walks the path step by step."""

    def draws(self, path: Tensor) -> int:
        return len(path) - 1

    def loss(self, denoiser: Denoiser, x: Tensor, path: Tensor, generator: torch.Generator) -> Tensor:
        for s, t in pairwise(path[:-1]):
            x = denoiser.process.transition(x, s, t).draw(generator)
        return _last_step(denoiser, x, path, generator)


@dataclass(frozen=True)
class Merged(PathLoss):
    """It draws all the noise up to the last step but one at once, and then that of the last step."""

    def draws(self, path: Tensor) -> int:
        return 2

    def loss(self, denoiser: Denoiser, x: Tensor, path: Tensor, generator: torch.Generator) -> Tensor:
        return _last_step(denoiser, denoiser.process.marginal(x, path[-2]).draw(generator), path, generator)


@dataclass(frozen=True)
class ClosedForm(PathLoss):
    """It draws all the noise at once, and takes the mean over the rest in closed form."""

    def draws(self, path: Tensor) -> int:
        return 1

    def loss(self, denoiser: Denoiser, x: Tensor, path: Tensor, generator: torch.Generator) -> Tensor:
        share, rest_var = shares(denoiser.process, path)
        eps = standard_normal(x.shape, generator, like=x)
        schedule, t = denoiser.process.schedule, path[-1]
        x_t = over(schedule.alpha(t), x) * x + over(schedule.sigma(t), x) * eps
        return share**2 * mean_event((eps - denoiser(x_t, t).eps) ** 2) + rest_var


LOSSES: dict[str, PathLoss] = {"whole path": FullPath(), "merged": Merged(), "closed form": ClosedForm()}


def _last_step(denoiser: Denoiser, x_s: Tensor, path: Tensor, generator: torch.Generator) -> Tensor:
    """The squared error of the noise that is added in the last step."""
    share, _ = shares(denoiser.process, path)
    step = denoiser.process.transition(x_s, path[-2], path[-1])
    eps = standard_normal(x_s.shape, generator, like=x_s)
    x_t = step.mean + step.std * eps
    return mean_event((eps - share * denoiser(x_t, path[-1]).eps) ** 2)


def shares(process: Gaussian, path: Tensor) -> tuple[Tensor, Tensor]:
    r"""$b_k/\bar b_k$ and $q^2$ for a path's last step: how much of $\epsilon_k$ is in $\epsilon$, and the variance of
    the rest."""
    var = steps.transition_var(process.schedule, path[-2], path[-1]) / process.schedule.sigma(path[-1]) ** 2
    return var.sqrt(), 1 - var


def variance_gap(process: Gaussian, path: Tensor, loss: float, size: int) -> float:
    r"""By how much the variance of one draw falls from `Merged` to `ClosedForm`, whatever the network and the data:
    $(4 q^2 (L - q^2) + 2 q^4)/d$, for the mean loss L per entry of d entries.

    The loss is $\frac1d\lVert u + q\,\omega\rVert^2$, where u is fixed by $\epsilon$ and x, and $\omega$ is standard
    normal and independent of both. The gap is the mean of its variance over $\omega$.
    """
    rest_var = float(shares(process, path)[1])
    return (4 * rest_var * (loss - rest_var) + 2 * rest_var**2) / size


def linear_denoiser(x: Tensor, process: Gaussian) -> Denoiser:
    """The best denoiser for normal data with the mean and covariance of `x` `(N, *event)`; its network is fixed."""
    flat = x.reshape(len(x), -1).double()
    mean, (values, vectors) = flat.mean(0), torch.linalg.eigh(flat.T.cov(correction=0))

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (f(t)[:, None] for f in (process.schedule.alpha, process.schedule.sigma))
        parts = (x_t.reshape(len(x_t), -1) - alpha * mean) @ vectors
        eps = (sigma / (alpha**2 * values.clamp(min=0) + sigma**2) * parts) @ vectors.T
        return eps.reshape(x_t.shape)

    return Denoiser(network, process, predicts="eps")


def scaled(denoiser: Denoiser, gain: Tensor) -> Denoiser:
    """The denoiser with its noise estimate times a number per example, `(B,)`, the one parameter of the network."""

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return over(gain, x_t) * denoiser(x_t, t).eps

    return Denoiser(network, denoiser.process, predicts="eps")


@dataclass(frozen=True)
class Options:
    """Estimate one training loss in three ways (note 003), on digits: means, variances of loss and gradient, cost."""

    out: str = "papers/path-loss"
    """Folder to write to."""
    steps: Annotated[int, Range(21, 10000)] = 1000
    """Steps T of the linear schedule."""
    draws: Annotated[int, Range(100)] = 20000
    """Losses per estimator and time."""
    path_draws: Annotated[int, Range(100)] = 2000
    """Losses of the estimator that walks the whole path."""
    points: Annotated[int, Range(2)] = 6
    """Number of steps of the chain to look at, from 2 to T in equal ratios."""
    seed: Seed = 0
    """Seed of the noise."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        with output.display.bar("measuring"):
            findings = measure(self)
        report("path-loss", findings, output)


@dataclass(frozen=True)
class Moments:
    """One estimator: mean, variance and time of one draw of the loss, and of its gradient in a gain of the network."""

    mean: float
    std_error: float
    variance: float
    gradient_mean: float
    gradient_variance: float
    microseconds: float


@dataclass(frozen=True)
class Row:
    """All estimators at one step of the chain.

    Args:
        step: the step k.
        moments: name to moments.
        draws: name to the number of normal variables that an entry takes.
        predicted_gap: `variance_gap`.
    """

    step: int
    moments: dict[str, Moments]
    draws: dict[str, int]
    predicted_gap: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        moments = {name: asdict(each) for name, each in self.moments.items()}
        return {"step": self.step, "draws": self.draws, **moments, "predicted_gap": self.predicted_gap}


def measure(options: Options) -> Findings:
    """Means with standard errors, variances and cost of the three estimators at several steps of the chain."""
    dataset = load_dataset("digits")
    x = fit_transform(dataset.spec, dataset.data).to_model(dataset.data).double()
    denoiser = linear_denoiser(x, Gaussian(LinearSchedule(options.steps)))
    ends = torch.linspace(math.log(2), math.log(options.steps), options.points).exp().round().long()
    rows = [_row(denoiser, x, k, options) for k in tracked(sorted(set(ends.tolist())))]
    numbers = {"entries": x[0].numel(), "rows": [row.to_json() for row in rows]}
    return Findings(numbers, tuple(_words(rows)), {"path-loss": _plot(rows)})


def _row(denoiser: Denoiser, x: Tensor, k: int, options: Options) -> Row:
    path = torch.arange(k + 1, dtype=torch.float64) / options.steps
    moments: dict[str, Moments] = {}
    for i, (name, loss) in tracked(list(enumerate(LOSSES.items()))):
        count = options.path_draws if name == "whole path" else options.draws
        random = generator(options.seed, k, i)
        examples = x[torch.randint(len(x), (count,), generator=random)]
        moments[name] = _moments(loss, denoiser, examples, path, random)
    gap = variance_gap(denoiser.process, path, moments["closed form"].mean, x[0].numel())
    return Row(k, moments, {name: loss.draws(path) for name, loss in LOSSES.items()}, gap)


def _moments(loss: PathLoss, denoiser: Denoiser, x: Tensor, path: Tensor, random: torch.Generator) -> Moments:
    gain = torch.ones(len(x), dtype=x.dtype, requires_grad=True)
    start = time.perf_counter()
    losses = loss.loss(scaled(denoiser, per_row(gain, x)), x, path, random)
    seconds = time.perf_counter() - start
    (gradients,) = torch.autograd.grad(losses.sum(), gain)
    losses = losses.detach()
    return Moments(
        mean=float(losses.mean()),
        std_error=float(losses.std() / len(x) ** 0.5),
        variance=float(losses.var()),
        gradient_mean=float(gradients.mean()),
        gradient_variance=float(gradients.var()),
        microseconds=1e6 * seconds / len(x),
    )


def _words(rows: Sequence[Row]) -> Sequence[str]:
    lines = [f"{'step':>6}  {'mean loss, per entry (± standard error)':<46}{'variance of one draw':>36}  draws"]
    for row in rows:
        means = "  ".join(f"{each.mean:.4f} ±{each.std_error:.4f}" for each in row.moments.values())
        spread = "  ".join(f"{each.variance:.2e}" for each in row.moments.values())
        lines.append(f"{row.step:>6}  {means:<46}  {spread:>34}  {' '.join(map(str, row.draws.values()))}")
    last = rows[-1]
    merged, closed = last.moments["merged"], last.moments["closed form"]
    ratio = merged.variance / closed.variance, merged.gradient_variance / closed.gradient_variance
    return [
        "columns: " + ", ".join(LOSSES),
        *lines,
        "The means agree. Merging the path leaves the variance as it is and saves time; the closed form lowers it,",
        f"at step {last.step} by a factor {ratio[0]:.3g} (of the gradient: {ratio[1]:.3g}).",
    ]


def _plot(rows: Sequence[Row]) -> Any:
    figure, axes = pictures.new_figure(9, 3, columns=3)
    for name, colour in zip(LOSSES, (pictures.WASH, pictures.INK, pictures.ACCENT), strict=True):
        width = 4 if name == "whole path" else 1.2
        for axis, key in zip(axes, ("variance", "gradient_variance", "microseconds"), strict=True):
            values = [getattr(row.moments[name], key) for row in rows]
            axis.loglog([row.step for row in rows], values, label=name, color=colour, marker="o", ms=4, lw=width)
    titles = ("variance of one loss", "variance of one gradient", "microseconds per loss")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="step k of the chain")
    axes[0].legend(frameon=False)
    return figure
