"""Laws whose flow is known, and two schedules of other kinds than the public ones."""

from dataclasses import dataclass

import pytest
import torch
from oracles import (
    F64,
    PLANE,
    GaussianData,
    exact_denoiser,
    name_of,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.core.shapes import as_time


@dataclass(frozen=True)
class Exploding(iw.process.Schedule):
    """alpha = 1, sigma = 80 t."""

    def alpha(self, t):
        return torch.ones_like(as_time(t))

    def sigma(self, t):
        return 80 * as_time(t)

    def log_snr(self, t):
        return -2 * torch.log(80 * as_time(t))

    def time(self, log_snr):
        return (torch.exp(-as_time(log_snr) / 2) / 80).clamp(0, 1)


@dataclass(frozen=True)
class Straight(iw.process.Schedule):
    """alpha = 1 - t, sigma = t: at time 1 there is no signal."""

    def alpha(self, t):
        return 1 - as_time(t)

    def sigma(self, t):
        return as_time(t)

    def log_snr(self, t):
        return 2 * (torch.log1p(-as_time(t)) - torch.log(as_time(t)))

    def time(self, log_snr):
        return torch.sigmoid(-as_time(log_snr) / 2)


class Blobs:
    """A mixture of round Gaussians: all in closed form, and far from linear."""

    def __init__(self, weights, means, variances):
        self.weights, self.means, self.variances = tensor(weights), tensor(means), tensor(variances)
        self.size = self.means.shape[1]

    def _log_joint(self, x_t, alpha, sigma):
        std = (alpha**2 * self.variances + sigma**2).sqrt()[..., None]
        parts = torch.distributions.Normal(alpha[..., None] * self.means, std)
        return parts.log_prob(x_t[:, None]).sum(-1) + self.weights.log()

    def denoise(self, x_t, alpha, sigma):
        gain = (alpha * self.variances / (alpha**2 * self.variances + sigma**2))[..., None]
        of_parts = self.means + gain * (x_t[:, None] - alpha[..., None] * self.means)
        return (self._log_joint(x_t, alpha, sigma).softmax(-1)[..., None] * of_parts).sum(1)

    def marginal_log_prob(self, x_t, alpha, sigma):
        return self._log_joint(x_t, alpha, sigma).logsumexp(-1)

    def log_prob(self, x):
        return self.marginal_log_prob(x, tensor(1.0), tensor(0.0))


def drawn(count, size, seed):
    return torch.randn(count, size, dtype=F64, generator=torch.Generator().manual_seed(seed))


LINEAR = iw.LinearSchedule()
SCHEDULES = [*public_schedules(), Exploding(), Straight()]
BLOBS = Blobs([0.35, 0.65], [[-1.0, 0.9], [0.8, -0.2]], [0.08, 0.4])
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
three = pytest.mark.parametrize("schedule", [LINEAR, Exploding(), Straight()], ids=name_of)
kinds = pytest.mark.parametrize("data", [PLANE, BLOBS], ids=["plane", "blobs"])
TIGHT = iw.Adaptive(1e-10, 1e-10)
NOISE = drawn(16, 2, 1)


def points(data, noise=NOISE):
    """Draws of the data, from standard normal `noise`."""
    if isinstance(data, GaussianData):
        return data.whiten_inverse(noise)
    sizes = [round(float(w) * len(noise)) for w in data.weights]
    parts = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return data.means[parts] + data.variances[parts].sqrt()[:, None] * noise


@dataclass(frozen=True)
class Law:
    """The true law of x_t at time t."""

    data: GaussianData | Blobs
    schedule: iw.process.Schedule
    t: float = 1.0

    def log_prob(self, x_t):
        alpha, sigma = self.schedule.alpha(self.t), self.schedule.sigma(self.t)
        if isinstance(self.data, GaussianData):
            return self.data.marginal(alpha, sigma).log_prob(x_t)
        return self.data.marginal_log_prob(x_t, alpha, sigma)


def log_prob(data, schedule, x, t=0.0, **options):
    return iw.likelihood.flow_log_prob(exact_denoiser(data, schedule), x, t, terminal=Law(data, schedule), **options)
