"""Numbers of which one recurs: zero with a known probability, and otherwise normal; and the network that knows it."""

import math

import torch
from oracles import F64, tensor

import inkwash as iw
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.prediction import X
from inkwash.denoise.spikes import Spiked

SHARE, MEAN, STD = 0.7, 0.9, 0.8


def rows(count, seed=0):
    """Entries (zero or normal), `(count, 1)`."""
    random = torch.Generator().manual_seed(seed)
    other = MEAN + STD * torch.randn(count, 1, dtype=F64, generator=random)
    return torch.where(torch.rand(count, 1, generator=random) < SHARE, 0.0, other)


def true_log_prob(x):
    """Log-probability of a zero, and log-density of another number, `(count,)`."""
    density = math.log(1 - SHARE) + torch.distributions.Normal(MEAN, STD).log_prob(x)
    return torch.where(x == 0, math.log(SHARE), density)[:, 0]


def prediction():
    """The prediction whose frequencies and normal law are the true ones."""
    found = Spiked(X(), (1,)).double()
    found.log_prior.copy_(tensor([[math.log(SHARE), math.log(1 - SHARE)]]))
    found.centre.copy_(tensor([MEAN]))
    found.width.copy_(tensor([STD]))
    return found


def network_of(schedule, odds=0.0):
    """The exact network, whose log-odds of zero are off by `odds`."""

    def network(x_t, t):
        alpha, sigma = (getattr(schedule, name)(t)[:, None].to(x_t) for name in ("alpha", "sigma"))
        other = MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x_t - alpha * MEAN)
        return torch.cat([other, torch.full_like(x_t, odds), torch.zeros_like(x_t)], 1)

    return network


def model_of(odds=0.0, steps=400):
    process = iw.Gaussian(iw.LogLinearSchedule(steps, 9.2))
    denoiser = iw.Denoiser(network_of(process.schedule, odds), process, prediction(), "large")
    return iw.Diffusion(denoiser, shape=(1,), steps=steps, dtype=F64)


WET, DRY, SPREAD = 1.0, -1.0, 0.5


def pairs(count, seed=0):
    """Rain, zero or normal, and a number that is normal around another mean if it rains, `(count, 2)`."""
    rain, random = rows(count, seed), torch.Generator().manual_seed(seed + 1)
    noise = SPREAD * torch.randn(count, 1, dtype=F64, generator=random)
    return torch.cat([rain, torch.where(rain == 0, DRY, WET) + noise], 1)


def pairs_network(schedule):
    """The exact network of `pairs`."""

    def network(x_t, t):
        alpha, sigma = (getattr(schedule, name)(t)[:, None].to(x_t) for name in ("alpha", "sigma"))
        rain, other = x_t[:, :1], x_t[:, 1:]
        x = MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (rain - alpha * MEAN)
        var = alpha**2 * SPREAD**2 + sigma**2
        dry, wet = (-0.5 * (other - alpha * mean) ** 2 / var for mean in (DRY, WET))
        seen = math.log(SHARE) - 0.5 * rain**2 / sigma**2 - sigma.log() + dry
        wide = alpha**2 * STD**2 + sigma**2
        unseen = math.log(1 - SHARE) - 0.5 * ((rain - alpha * MEAN) ** 2 / wide + wide.log()) + wet
        share = torch.sigmoid(seen - unseen)
        each = (mean + alpha * SPREAD**2 / var * (other - alpha * mean) for mean in (DRY, WET))
        return torch.cat([x, torch.lerp(*reversed([*each]), share), dry, wet], 1)

    return network


def pairs_model(columns, shift=(0.0, 0.0), scale=(1.0, 1.0), steps=400):
    """The exact model of `pairs` as a table of these columns."""
    process = iw.Gaussian(iw.LogLinearSchedule(steps, 9.2))
    found = Spiked(X(), (1, 0)).double()
    found.log_prior[0] = tensor([math.log(SHARE), math.log(1 - SHARE)])
    found.centre[0], found.width[0] = MEAN, STD
    found.values[0] = -shift[0] / scale[0]
    spec = DataSpec((2,), "ND", "float64", -9.0, 99.0, None, columns)
    denoiser = iw.Denoiser(pairs_network(process.schedule), process, found, "large")
    return iw.Diffusion(denoiser, (2,), Transform(spec, shift, scale), steps, F64)
