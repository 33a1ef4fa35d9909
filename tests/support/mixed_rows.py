"""Rows of a category of known law and a number that is normal given it, and their exact model."""

import torch
from oracles import F64, tensor

import inkwash as iw

PROBABILITY = tensor([0.5, 0.2, 0.3])
MEANS, STD = tensor([-1.0, 0.4, 1.5]), 0.6


def process_of(noise="absorbing"):
    schedule = iw.SohlDicksteinSchedule() if noise == "absorbing" else iw.CosineSchedule()
    return iw.Mixed(iw.Gaussian(iw.LinearSchedule()), iw.Categorical(schedule, (3,), noise), (True, False))


def exact_mixed(process):
    """The network that knows the law: rows of a category, and a number that is normal given it."""

    def network(x_t, t, present=None):
        numbers, categories = process.parts(x_t)
        alpha, sigma = (getattr(process.numbers.schedule, name)(t)[:, None].to(x_t) for name in ("alpha", "sigma"))
        var = alpha**2 * STD**2 + sigma**2
        seen = torch.log(PROBABILITY) - 0.5 * (numbers - alpha * MEANS) ** 2 / var
        log_mass = (
            PROBABILITY.log()
            + process.categories.evidence(categories, process.categories.schedule.log_snr(t))[:, 0, :3]
        )
        if present is not None:
            seen = torch.where(present[:, 1:], seen, PROBABILITY.log())
            log_mass = torch.where(present[:, :1], log_mass, PROBABILITY.log())
        share = (log_mass + seen - PROBABILITY.log()).softmax(-1)
        x = (share * (MEANS + alpha * STD**2 / var * (numbers - alpha * MEANS))).sum(1, keepdim=True)
        return torch.cat([(numbers - alpha * x) / sigma, seen], 1)

    return network


def model_of(noise="absorbing", steps=400):
    process = process_of(noise)
    denoiser = iw.denoise.MixedDenoiser(exact_mixed(process), process, variance="large")
    return iw.Diffusion(denoiser, shape=(2,), steps=steps, dtype=F64)


def rows(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    category = torch.multinomial(PROBABILITY, count, True, generator=random)
    return torch.stack([category.to(F64), MEANS[category] + STD * torch.randn(count, dtype=F64, generator=random)], 1)
