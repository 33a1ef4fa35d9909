r"""Which times a training step looks at: $t \sim p(t)$ on (0, 1], and the weight $1/p(t)$ that keeps the loss unbiased.

A proposal may learn from the losses that its times led to; what it has learned is part of a checkpoint.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkwash.core.config import TimesName
from inkwash.core.shapes import as_time
from inkwash.process.noise.schedule import Schedule


@dataclass(frozen=True)
class Times:
    """Times for the examples of a batch.

    Args:
        t: `(B,)`, float64, in (0, 1].
        weight: 1/p(t), `(B,)`, float64: its mean over p is the length of the part of (0, 1] that is covered.
    """

    t: Tensor
    weight: Tensor


_FIRST, _LOWEST = 1e-3, -20.0


class Proposal(nn.Module, ABC):
    """Where training looks; a module, so that what it learns is kept with the run."""

    @abstractmethod
    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        """Times for `count` examples."""

    def learn(self, times: Times, losses: Tensor, schedule: Schedule) -> None:
        """Take note of the losses `(B,)`, finite and not yet weighted, that times led to."""


class Uniform(Proposal):
    """Independent uniform times (DDPM algorithm 1)."""

    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        t = 1 - torch.rand(count, generator=generator, dtype=torch.float64)
        return Times(t, torch.ones_like(t))


class LowDiscrepancy(Proposal):
    r"""Each time uniform, jointly equally spaced: $t_i = 1 - (u + i)/B$, shuffled (Kingma et al. 2021, App. I.1)."""

    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        t = 1 - comb(count, generator)
        return Times(t, torch.ones_like(t))


class LogNormal(Proposal):
    r"""$\ln(\sigma/\alpha) \sim \mathcal N(\mathrm{mean}, \mathrm{std}^2)$, cut off at time 1 (Karras et al. 2022).

    Weights are 1, because the density of times is part of EDM's objective and not a means to estimate another.

    Args:
        mean: mean of the logarithm of the noise-to-signal ratio.
        std: its standard deviation.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        low = torch.special.ndtr(((-0.5 * schedule.log_snr(as_time(_FIRST))) - self.mean) / self.std)
        high = torch.special.ndtr(((-0.5 * schedule.log_snr(as_time(1.0))) - self.mean) / self.std)
        normal = torch.special.ndtri(low + (high - low) * comb(count, generator))
        t = schedule.time(-2 * (self.mean + self.std * normal)).clamp(_FIRST, 1)
        return Times(t, torch.ones_like(t))


class LossHistory(Proposal):
    r"""$p(t) \propto \sqrt{\mathbb E L^2}$ by bins of time, from the last losses of each; uniform until every bin has
    its fill (Nichol & Dhariwal 2021, eq. 18).

    Args:
        bins: number of bins, all equally wide.
        keep: number of losses that are remembered per bin.
        floor: share of the proposals that stays uniform.
    """

    losses: Tensor
    counts: Tensor

    def __init__(self, bins: int = 100, keep: int = 10, floor: float = 0.001) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(bins, keep, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(bins, dtype=torch.int64))
        self.floor = floor

    def density(self) -> Tensor:
        """p(t) in each bin, `(bins,)`."""
        bins, keep = self.losses.shape
        if int(self.counts.min()) < keep:
            return torch.ones(bins, dtype=torch.float64)
        root = (self.losses**2).mean(1).sqrt()
        return (1 - self.floor) * bins * root / root.sum() + self.floor

    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        density = self.density()
        position, index = _inverse_cdf(density, comb(count, generator))
        return Times(position.clamp(1e-12, 1), 1 / density[index])

    def learn(self, times: Times, losses: Tensor, schedule: Schedule) -> None:
        bins, keep = self.losses.shape
        for index, loss in zip(_bin(times.t, bins).tolist(), losses.tolist(), strict=True):
            self.losses[index, self.counts[index] % keep] = loss
            self.counts[index] += 1


class LogSnrDensity(Proposal):
    r"""A piecewise-constant density over log-SNR that learns $p(\lambda) \propto \sqrt{\mathbb E[g^2 \mid \lambda]}$,
    where $g = L\,|dt/d\lambda|$ is what the loss adds per unit of log-SNR: the density of least variance.

    Times before `first` are never proposed, because there the decoder of a bound takes over. Log-SNRs below -20 are
    never proposed either, because no signal is left to see there.

    Args:
        bins: number of bins, all equally wide in log-SNR.
        first: earliest time proposed.
        memory: share of its past that a bin keeps at each look.
        floor: share of the proposals that stays uniform in log-SNR.
    """

    square: Tensor

    def __init__(self, bins: int = 32, first: float = 0.001, memory: float = 0.98, floor: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("square", torch.ones(bins, dtype=torch.float64))
        self.first, self.memory, self.floor = first, memory, floor

    def density(self) -> Tensor:
        """Relative density over log-SNR in each bin, with mean 1; `(bins,)`."""
        root = self.square.sqrt()
        return (1 - self.floor) * root / root.mean() + self.floor

    def draw(self, count: int, schedule: Schedule, generator: torch.Generator) -> Times:
        density = self.density()
        low, high = self._ends(schedule)
        position, index = _inverse_cdf(density, comb(count, generator))
        t = schedule.time(low + (high - low) * position).clamp(self.first, 1)
        return Times(t, (high - low) / (density[index] * log_snr_rate(schedule, t).detach()))

    def learn(self, times: Times, losses: Tensor, schedule: Schedule) -> None:
        low, high = self._ends(schedule)
        index = _bin((schedule.log_snr(times.t) - low) / (high - low), len(self.square))
        gained = (losses.double() * times.weight * self.density()[index]) ** 2
        new = self.square.scatter_reduce(0, index, gained, "mean", include_self=False)  # others keep what they have
        self.square += (1 - self.memory) * (new - self.square)

    def _ends(self, schedule: Schedule) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return schedule.log_snr(as_time(1.0)).clamp(min=_LOWEST), schedule.log_snr(as_time(self.first))


PROPOSALS: dict[TimesName, type[Proposal]] = {
    "uniform": Uniform,
    "low-discrepancy": LowDiscrepancy,
    "log-normal": LogNormal,
    "loss-history": LossHistory,
    "log-snr-density": LogSnrDensity,
}
"""Proposals by the name that the command line knows them by."""


def log_snr_rate(schedule: Schedule, t: Tensor) -> Tensor:
    r"""$|d\lambda/dt|$ of the log-SNR, `(B,)`; differentiable in the parameters of a schedule that has some."""
    with torch.enable_grad():
        times = t.detach().requires_grad_()
        trained = isinstance(schedule, nn.Module)
        (rate,) = torch.autograd.grad(schedule.log_snr(times).sum(), times, create_graph=trained)
    return rate.abs()


def comb(count: int, generator: torch.Generator) -> Tensor:
    """`count` equally spaced numbers in [0, 1) with one common random shift, in random order."""
    start = torch.rand((), generator=generator, dtype=torch.float64)
    spaced = (start + torch.arange(count, dtype=torch.float64)) / count
    return spaced[torch.randperm(count, generator=generator)]


def _bin(position: Tensor, bins: int) -> Tensor:
    return (position * bins).floor().long().clamp(0, bins - 1)


def _inverse_cdf(density: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in [0, 1] that uniform numbers stand for under a density over equal bins, and their bins."""
    edges = torch.cat([density.new_zeros(1), density.cumsum(0) / density.sum()])
    index = (torch.searchsorted(edges, uniform, right=True) - 1).clamp(0, len(density) - 1)
    within = (uniform - edges[index]) / (edges[index + 1] - edges[index])
    return (index + within) / len(density), index
