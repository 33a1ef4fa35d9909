"""Data whose denoiser, score and density are known exactly, noise that a test prescribes, and public names by kind."""

import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from inspect import isabstract
from types import ModuleType
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import inkwash as iw
from inkwash.core.shapes import over

F64 = torch.float64
Grid = Tensor
Module = TypeVar("Module", bound=nn.Module)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=F64)


class GaussianData:
    """N(mean, cov) in d dimensions: every quantity of diffusion is known in closed form."""

    def __init__(self, mean: Sequence[float], cov: Sequence[Sequence[float]]) -> None:
        self.mean, self.cov = tensor(mean), tensor(cov)
        self.eigenvalues, self.eigenvectors = torch.linalg.eigh(self.cov)
        self.size = len(self.mean)

    def marginal(self, alpha: float | Tensor, sigma: float | Tensor) -> MultivariateNormal:
        """Law of alpha x + sigma eps; alpha and sigma are scalars, or `(B, 1)` for a law per row."""
        alpha, sigma = torch.as_tensor(alpha, dtype=F64), torch.as_tensor(sigma, dtype=F64)
        var = alpha[..., None] ** 2 * self.cov + sigma[..., None] ** 2 * torch.eye(self.size, dtype=F64)
        return MultivariateNormal(alpha * self.mean, var)

    def denoise(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t], by shrinking each principal component; alpha and sigma are `(B, 1)` or scalars."""
        components = (x_t - alpha * self.mean) @ self.eigenvectors
        gain = alpha * self.eigenvalues / (alpha**2 * self.eigenvalues + sigma**2)
        return self.mean + (gain * components) @ self.eigenvectors.T

    def mmse(self, snr: float | Tensor) -> Tensor:
        """E|x - E[x | x_t]|^2 at the signal-to-noise ratio `snr`, of any shape."""
        snr = torch.as_tensor(snr, dtype=F64)[..., None]
        return (self.eigenvalues / (1 + snr * self.eigenvalues)).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.marginal(1.0, 0.0).log_prob(x)

    def entropy(self) -> float:
        return float(self.marginal(1.0, 0.0).entropy())

    def whiten_inverse(self, z: Tensor) -> Tensor:
        """Standard normal `z` `(B, d)` to data."""
        return self.mean + (z * self.eigenvalues.sqrt()) @ self.eigenvectors.T


class MixtureData:
    """A mixture of Gaussians."""

    def __init__(self, weights: Sequence[float], parts: Sequence[GaussianData]) -> None:
        self.log_weights, self.parts, self.size = tensor(weights).log(), parts, parts[0].size

    def _log_joint(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.stack([p.marginal(alpha, sigma).log_prob(x_t) for p in self.parts], -1) + self.log_weights

    def denoise(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x | x_t]: each part's, weighted by the part's posterior probability."""
        weights = self._log_joint(x_t, alpha, sigma).softmax(-1)
        means = torch.stack([p.denoise(x_t, alpha, sigma) for p in self.parts], -1)
        return (weights[:, None, :] * means).sum(-1)

    def marginal_log_prob(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return self._log_joint(x_t, alpha, sigma).logsumexp(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.marginal_log_prob(x, tensor(1.0), tensor(0.0))


Data = GaussianData | MixtureData


class BitData:
    """Any joint distribution of n bits: every quantity of diffusion is a sum over the 2^n states.

    `probabilities` come in the order of `states`, whose first bit changes slowest.
    """

    def __init__(self, probabilities: Sequence[float]) -> None:
        self.probabilities = tensor(probabilities) / sum(probabilities)
        self.size = (len(probabilities) - 1).bit_length()
        self.states = torch.cartesian_prod(*[tensor([0.0, 1.0])] * self.size).reshape(-1, self.size)

    def kernel(self, kept: float | Tensor, rate: float) -> Tensor:
        """The matrix q(column state | row state) where each bit survives with probability `kept`, or is drawn anew."""
        one = kept * torch.eye(2, dtype=F64) + (1 - kept) * tensor([1 - rate, rate])
        return functools.reduce(torch.kron, [one] * self.size)

    def denoise(self, x_t: Tensor, kept: Tensor, rate: float) -> Tensor:
        """Log-odds of each clean bit given noisy ones `(B, n)`; `kept` is `(B,)`."""
        kept, noise = kept[:, None, None], rate * x_t + (1 - rate) * (1 - x_t)
        agrees = (x_t[:, None] == self.states).to(F64)
        weights = self.probabilities * (kept * agrees + (1 - kept) * noise[:, None]).prod(-1)
        return (weights @ self.states).log() - (weights @ (1 - self.states)).log()

    def draw(self, n: int, seed: int = 0) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return self.states[torch.multinomial(self.probabilities, n, replacement=True, generator=random)]


class Heartbeat:
    """20 bits, every fifth of them 1, at one of five phases (Sohl-Dickstein et al. 2015, 3.1.2), under alpha^2 = 1 - t.

    Of a noisy state only the number of bits set in each of the five classes of places matters: n_c of four. Given phase
    0, n_0 is binomial with the probability `high` that a 1 is seen as 1, the others with that for a 0, `low`; and the
    posterior of phase c is proportional to [high (1 - low) / (low (1 - high))]^(n_c).
    """

    beats = torch.eye(5, dtype=F64).repeat(1, 4)
    counts = torch.cartesian_prod(*[torch.arange(5)] * 5)
    multiplicity = tensor([1.0, 4, 6, 4, 1])[counts].prod(1)

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def seen(self, kept: float | Tensor) -> tuple[Any, Any]:
        """Probability that a 0 and that a 1 is seen as 1."""
        return (1 - kept) * self.rate, kept + (1 - kept) * self.rate

    def phases(self, counts: Tensor, kept: float | Tensor) -> Tensor:
        """Log-probability of each phase, given counts `(N, 5)`."""
        low, high = (torch.as_tensor(p, dtype=F64) for p in self.seen(kept))
        return (counts * (high.logit() - low.logit())).log_softmax(1)

    def network(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The optimal log-odds of each bit: those of the phase that would set it."""
        log_p = self.phases(x_t.reshape(-1, 4, 5).sum(1), 1 - t[:, None])
        others = [torch.cat([log_p[:, :c], log_p[:, c + 1 :]], 1).logsumexp(1) for c in range(5)]
        return (log_p - torch.stack(others, 1)).repeat(1, 4)

    def representatives(self) -> Tensor:
        """One state of 20 bits for each set of counts."""
        return (torch.arange(4)[:, None] < self.counts[:, None, :]).to(F64).reshape(-1, 20)

    def probabilities(self, kept: float) -> Tensor:
        """Of each set of counts, given phase 0."""
        low, high = self.seen(kept)
        p = tensor([high, low, low, low, low])
        return self.multiplicity * (p**self.counts * (1 - p) ** (4 - self.counts)).prod(1)

    def reconstruction(self, steps: int) -> float:
        """Sum over bits of H(x_i | x_t) at the first step, nats."""
        kept = 1 - 1 / steps
        p = self.phases(self.counts, kept).exp()
        return 4 * float(self.probabilities(kept) @ _binary_entropy(p).sum(1))

    def diffusion(self, steps: int) -> list[float]:
        """For each pair of neighbours, noisiest first: sum over bits of H(x_s,i | x_t), less H(x_s | x_t, x)."""
        return [self._pair(1 - k / steps, 1 - (k - 1) / steps) for k in range(steps, 1, -1)]

    def _pair(self, kept_t: float, kept_s: float) -> float:
        (low_s, high_s), (low, high) = self.seen(kept_s), self.seen(kept_t / kept_s)
        (low_t, high_t), phase = self.seen(kept_t), self.phases(self.counts, kept_t).exp()

        def believed(seen: int) -> Tensor:
            """P(x_s,i = 1 | x_t) for the bits of each class that show 0, or 1: by Bayes given x_i, then over x_i."""
            of_one = high_s * high / high_t, high_s * (1 - high) / (1 - high_t)
            of_zero = low_s * high / low_t, low_s * (1 - high) / (1 - low_t)
            return phase * of_one[1 - seen] + (1 - phase) * of_zero[1 - seen]

        entries = self.counts * _binary_entropy(believed(1)) + (4 - self.counts) * _binary_entropy(believed(0))
        ones = 0.2 * high_s + 0.8 * low_s
        step = 20 * (ones * _binary_entropy(high) + (1 - ones) * _binary_entropy(low))
        return (
            float(self.probabilities(kept_t) @ entries.sum(1) - step)
            - self.conditional(kept_s)
            + self.conditional(kept_t)
        )

    def conditional(self, kept: float) -> float:
        """H(x_t | x), nats."""
        low, high = self.seen(kept)
        return float(4 * _binary_entropy(high) + 16 * _binary_entropy(low))


def _binary_entropy(p: float | Tensor) -> Tensor:
    p = torch.as_tensor(p, dtype=F64)
    return torch.special.entr(p) + torch.special.entr(1 - p)


def entropy_of(joint: Tensor) -> float:
    """Entropy of a table of probabilities, nats."""
    return float(torch.special.entr(joint).sum())


def survival(schedule: iw.process.Schedule, t: float | Tensor) -> Tensor:
    """The survival probability whose odds are the signal-to-noise ratio."""
    signal = schedule.alpha(t) ** 2
    return signal / (signal + schedule.sigma(t) ** 2)


def exact_bit_denoiser(data: BitData, schedule: iw.process.Schedule, rate: float) -> iw.denoise.OddsDenoiser:
    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return data.denoise(x_t, survival(schedule, t), rate)

    return iw.denoise.OddsDenoiser(network, iw.Bernoulli(schedule, rate))


@contextmanager
def prescribed_bits(rows: Tensor) -> Iterator[None]:
    """Whatever draws bits gets `rows`; rows beyond its own get the last."""

    def prescribed(self: iw.process.Bits, generator: torch.Generator) -> Tensor:
        return rows[torch.arange(len(self.logits)).clamp(max=len(rows) - 1)]

    with mock.patch.object(iw.process.Bits, "draw", prescribed):
        yield


PLANE = GaussianData([1.5, -0.7], [[2.0, 0.9], [0.9, 0.6]])
LINE = GaussianData([0.8], [[0.3]])
POINT = GaussianData([0.6, -1.1], [[1e-300, 0.0], [0.0, 1e-300]])
TWO_PEAKS = MixtureData([0.3, 0.7], [GaussianData([-1.2], [[0.05]]), GaussianData([0.9], [[0.2]])])
FOUR_BITS = BitData([3, 1, 0, 2, 5, 0.1, 0.2, 1, 0.4, 2, 7, 0, 1, 1, 0.3, 4])
PLANE_PEAKS = MixtureData([0.4, 0.6], [GaussianData([-1.0, 0.5], [[0.1, 0.03], [0.03, 0.2]]), PLANE])


def exact_network(data: Data, schedule: iw.process.Schedule) -> Callable[[Tensor, Tensor], Tensor]:
    """The network that predicts x exactly, a plain callable."""

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return data.denoise(x_t, over(schedule.alpha(t), x_t), over(schedule.sigma(t), x_t))

    return network


def exact_denoiser(data: Data, schedule: iw.process.Schedule, variance: str = "small") -> iw.Denoiser:
    return iw.Denoiser(exact_network(data, schedule), iw.Gaussian(schedule), predicts="x", variance=variance)


@contextmanager
def noise_from(draw: Callable[[Sequence[int]], Tensor]) -> Iterator[None]:
    """Whatever draws standard normal noise of a shape gets `draw(shape)`, float64, in its own dtype."""

    def prescribed(shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        return draw(shape).reshape(tuple(shape)).to(torch.get_default_dtype() if like is None else like.dtype)

    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("inkwash") and hasattr(module, "standard_normal"):
                stack.enter_context(mock.patch.object(module, "standard_normal", prescribed))
        yield


def prescribed_noise(noise: Tensor) -> AbstractContextManager[None]:
    """Whatever draws standard normal noise gets `noise`, row by row, rows beyond its own the last; or one number."""
    if noise.ndim == 0:
        return noise_from(lambda shape: noise.expand(tuple(shape)))
    return noise_from(lambda shape: noise[torch.arange(shape[0]).clamp(max=len(noise) - 1)])


def moments(
    sampler: iw.sample.Sampler, denoiser: iw.Denoiser, times: Grid, mean: Tensor, cov: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Time, mean and covariance after each step of a walk that is affine in its start and its noise.

    One batch holds a walk from 0 without noise, those from the unit vectors, and those from 0 with one unit vector for
    one of the draws. Its noise is that of the draws in turn, each of which may have a width of its own.
    """
    size, widths = len(mean), []

    def none(shape: Sequence[int]) -> Tensor:
        widths.append(shape[1])
        return torch.zeros(tuple(shape), dtype=F64)

    with noise_from(none):
        list(sampler.trajectory(denoiser, mean[None], times, torch.Generator()))
    rows = 1 + size + sum(widths)
    starts, units = torch.zeros(rows, size, dtype=F64), torch.eye(rows, dtype=F64)[1 + size :]
    starts[1 : 1 + size] = torch.eye(size, dtype=F64)
    in_turn = iter(units.split(widths))
    with noise_from(lambda shape: next(in_turn).T):
        for s, x in sampler.trajectory(denoiser, starts, times, torch.Generator()):
            moved = (x[1:] - x[0]).T
            a, n = moved[:, :size], moved[:, size:]
            yield s, a @ mean + x[0], a @ cov @ a.T + n @ n.T


def last_moments(*walk: Any) -> tuple[Tensor, Tensor]:
    """Mean and covariance at the end of the walk."""
    *_, (_, mean, cov) = moments(*walk)
    return mean, cov


def cubature(size: int) -> tuple[Tensor, Tensor]:
    """Points `(x, eps)`, each `(4 size, size)`, of equal weight, that integrate every polynomial of degree at most 3
    in 2 `size` independent standard normal variables exactly."""
    points = (2 * size) ** 0.5 * torch.eye(2 * size, dtype=F64)
    points = torch.cat([points, -points])
    return points[:, :size], points[:, size:]


def condition(joint: Tensor, known: slice, wanted: slice) -> tuple[Tensor, Tensor]:
    """Of a zero-mean normal vector with covariance `joint`: the matrix that maps the known part to the conditional mean
    of the wanted part, and the conditional covariance."""
    gain = torch.linalg.solve(joint[known, known], joint[known, wanted]).T
    return gain, joint[wanted, wanted] - gain @ joint[known, wanted]


def joint_covariance(data: GaussianData, schedule: iw.process.Schedule, s: float, t: float) -> Tensor:
    """Covariance of (x_s, x, x_t) from the definition, with the scales of the schedule alone: x_s = a_s x + noise,
    x_t = (a_t / a_s) x_s + fresh noise, such that the noise in x_t has the scale sigma_t."""
    a_s, a_t = schedule.alpha(s), schedule.alpha(t)
    eye, cov = torch.eye(data.size, dtype=F64), data.cov
    var_s, var_t = (a**2 * cov + schedule.sigma(u) ** 2 * eye for a, u in ((a_s, s), (a_t, t)))
    rows = [[var_s, a_s * cov, a_t / a_s * var_s], [a_s * cov, cov, a_t * cov], [a_t / a_s * var_s, a_t * cov, var_t]]
    return torch.cat([torch.cat(row, 1) for row in rows])


def public(kind: type) -> list[type]:
    """Every class of a kind that a room hands on and that can be made, by name."""
    rooms = [room for name in iw.__all__ if isinstance(room := getattr(iw, name), ModuleType)]
    things = {name: getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())}
    classes = [thing for _, thing in sorted(things.items()) if isinstance(thing, type)]
    return [c for c in classes if issubclass(c, kind) and not isabstract(c)]


def trained(module: Module, seed: int = 0, spread: float = 0.5) -> Module:
    """A module with its parameters moved at random, and frozen: a stand-in for a trained one."""
    random = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        moved = parameter.requires_grad
        parameter.requires_grad_(False)
        parameter += moved * spread * torch.randn(parameter.shape, generator=random, dtype=F64)
    return module


def public_schedules() -> list[iw.process.Schedule]:
    """One schedule of every public kind; those with parameters as if trained."""
    arguments = {
        iw.TabulatedSchedule: (tuple(0.01 + 0.3 * (k / 30) ** 2 for k in range(40)),),
        iw.process.ZeroTerminalSchedule: (iw.LinearSchedule(),),
        iw.LearnedSchedule: (1000, 13.3, -5.0, False, 8),
    }
    made = [kind(*arguments.get(kind, ())) for kind in public(iw.process.Schedule)]
    return [trained(s) if isinstance(s, nn.Module) else s for s in made]


def with_signal(schedules: list[iw.process.Schedule]) -> list[iw.process.Schedule]:
    """Those that keep some signal at time 1, so that noise can be predicted there."""
    return [s for s in schedules if s.alpha(1.0) > 0]


def name_of(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


UNEVEN = tensor([1.0, 0.93, 0.7, 0.69, 0.31, 0.2, 0.05, 0.013, 0.0])


def log_snr_grid(schedule: iw.process.Schedule, steps: int, first: float = 1e-7) -> Grid:
    """1 to `first` in equal steps of log-SNR, then 0."""
    levels = torch.linspace(float(schedule.log_snr(1.0)), float(schedule.log_snr(first)), steps, dtype=F64)
    times = schedule.time(levels)
    times[0] = 1.0
    return torch.cat([times, times.new_zeros(1)])


def gauss_hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for the mean over a standard normal variable."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    return tensor(x), tensor(w / w.sum())


class LevelsData:
    """Entries that take the values of a lattice with a given joint probability: `joint` has one axis per entry."""

    def __init__(self, joint: Tensor, lattice: iw.process.Lattice) -> None:
        self.lattice, self.size = lattice, joint.ndim
        self.index = torch.cartesian_prod(*[torch.arange(n) for n in joint.shape]).reshape(-1, joint.ndim)
        self.points = lattice.values()[self.index]
        self.log_probs = joint.flatten().log()

    def entropy(self) -> float:
        return float(torch.distributions.Categorical(logits=self.log_probs).entropy())

    def _log_likelihood(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Of each entry of `x_t` `(B, d)` given each point, `(B, points, d)`."""
        law = torch.distributions.Normal(torch.as_tensor(alpha) * self.points, torch.as_tensor(sigma))
        return law.log_prob(x_t[:, None])

    def posterior(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Probability of each point, `(B, points)`; alpha and sigma are scalars or `(B, 1, 1)`."""
        return (self._log_likelihood(x_t, alpha, sigma).sum(-1) + self.log_probs).softmax(-1)

    def denoise(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return self.posterior(x_t, alpha, sigma) @ self.points

    def log_odds(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Of each entry's levels given the other entries' noisy values alone, `(B, d, levels)`."""
        given = self._log_likelihood(x_t, alpha, sigma)
        others = given.sum(-1, keepdim=True) - given + self.log_probs[:, None]
        at_level = [others.masked_fill(self.index != v, -torch.inf).logsumexp(1) for v in range(self.lattice.levels)]
        return torch.stack(at_level, -1)

    def denoiser(self, schedule: iw.process.Schedule, variance: str = "small") -> iw.Denoiser:
        """The exact one, whose network answers with log-odds."""

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            return self.log_odds(x_t, *(scale(t)[:, None, None] for scale in (schedule.alpha, schedule.sigma)))

        return iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Levels(self.lattice), variance)


TERNARY = iw.process.Lattice(-1.0, 1.0, 3)
ONE_ENTRY = LevelsData(tensor([0.2, 0.5, 0.3]), TERNARY)
APART = LevelsData(torch.outer(tensor([0.2, 0.5, 0.3]), tensor([0.6, 0.3, 0.1])), TERNARY)
TOGETHER = LevelsData(tensor([[0.3, 0.02, 0.03], [0.05, 0.25, 0.02], [0.01, 0.02, 0.3]]), TERNARY)


@dataclass(frozen=True)
class Exploding(iw.process.Schedule):
    """alpha is 1 and sigma grows geometrically: the setting of Karras et al. 2022."""

    low: float = 0.002
    high: float = 80.0

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.ones_like(torch.as_tensor(t, dtype=F64))

    def sigma(self, t: float | Tensor) -> Tensor:
        return self.low * (self.high / self.low) ** torch.as_tensor(t, dtype=F64)

    def log_snr(self, t: float | Tensor) -> Tensor:
        return -2 * self.sigma(t).log()

    def time(self, log_snr: float | Tensor) -> Tensor:
        log_sigma = -0.5 * torch.as_tensor(log_snr, dtype=F64)
        return (log_sigma - math.log(self.low)) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Straight(iw.process.Schedule):
    """Variance-preserving, its log-SNR a line in time."""

    first: float = 25.0
    last: float = -20.0

    def log_snr(self, t: float | Tensor) -> Tensor:
        return self.first + (self.last - self.first) * torch.as_tensor(t, dtype=F64)

    def alpha(self, t: float | Tensor) -> Tensor:
        return self.log_snr(t).sigmoid().sqrt()

    def sigma(self, t: float | Tensor) -> Tensor:
        return (-self.log_snr(t)).sigmoid().sqrt()

    def time(self, log_snr: float | Tensor) -> Tensor:
        return (torch.as_tensor(log_snr, dtype=F64) - self.first) / (self.last - self.first)


class Vanishing(iw.process.Schedule):
    """A quarter of a circle: variance-preserving, no signal at all at time 1, no noise at time 0."""

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * (1 - torch.as_tensor(t, dtype=F64)))

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * torch.as_tensor(t, dtype=F64))

    def log_snr(self, t: float | Tensor) -> Tensor:
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def time(self, log_snr: float | Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(torch.exp(-0.5 * torch.as_tensor(log_snr, dtype=F64)))


def shop_log_prob(data: Any) -> Any:
    """Log-probability, nats `(N, 4)`, of each cell of the built-in set `shop` given its kind, 0 where it is missing:
    the sum over a row is that of all that is seen, as the kind always is. A density for `price`, else a mass."""
    kind = data[:, 0].astype(int)
    price = scipy.stats.norm.logpdf(data[:, 1], np.array([3, 9, 4, 14])[kind], np.array([0.5, 1.5, 0.8, 3])[kind])
    quantity = scipy.stats.poisson.logpmf(data[:, 2], np.array([30, 12, 60, 20])[kind])
    member = scipy.stats.bernoulli.logpmf(data[:, 3], np.array([0.3, 0.6, 0.5, 0.8])[kind])
    terms = np.stack([np.log([0.4, 0.2, 0.3, 0.1])[kind], price, quantity, member], axis=1)
    return np.where(np.isnan(data), 0, terms)
