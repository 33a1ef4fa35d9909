"""What an exact network answers under each name of a prediction."""

import torch
from oracles import (
    F64,
    PLANE,
    condition,
    joint_covariance,
    tensor,
)

import inkwash as iw
from inkwash.denoise.prediction import NAMED, F

GRID = tensor([1.0, 0.8, 0.75, 0.3, 0.02, 0.0])
DATA_STD = 0.4
PREDICTIONS = {name: kind for name, kind in NAMED.items() if name != "F"}
PREDICTIONS |= {"F": F(DATA_STD), "mean": iw.denoise.Mean(times=GRID)}


def rows(seed, n=6, size=2, scale=1.5):
    return scale * torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def parts_of(data, x_t, alpha, sigma):
    """Gaussian parts, and the probability of each given x_t."""
    if data is PLANE:
        return [PLANE], torch.ones(len(x_t), 1, dtype=F64)
    return data.parts, data._log_joint(x_t, alpha, sigma).softmax(-1)


def mean_of_the_past(data, schedule, x_t, s, t):
    """E[x_s | x_t], by conditioning the joint normal law of each part."""
    parts, weights = parts_of(data, x_t, schedule.alpha(t), schedule.sigma(t))
    total = torch.zeros_like(x_t)
    for k, part in enumerate(parts):
        gain, _ = condition(joint_covariance(part, schedule, s, t), slice(4, 6), slice(0, 2))
        here = schedule.alpha(s) * part.mean + (x_t - schedule.alpha(t) * part.mean) @ gain.T
        total += weights[:, k, None] * here
    return total


def gradient_of_the_log_density(data, x_t, alpha, sigma):
    x_t = x_t.clone().requires_grad_()
    law = data.marginal(alpha, sigma).log_prob if data is PLANE else lambda x: data.marginal_log_prob(x, alpha, sigma)
    return torch.autograd.grad(law(x_t).sum(), x_t)[0]


def edm_factors(noise_std, data_std):
    """Karras et al. 2022, table 1: c_skip, c_out and c_in at the noise `noise_std` of y = x + noise."""
    both = noise_std**2 + data_std**2
    return data_std**2 / both, noise_std * data_std / both**0.5, 1 / both**0.5


def exact_answers(data, schedule, x_t, s, t):
    """What an exact network says under each name, each found in a way of its own."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x = data.denoise(x_t, alpha, sigma)
    score = gradient_of_the_log_density(data, x_t, alpha, sigma)
    skip, out, _ = edm_factors(sigma / alpha, DATA_STD)
    answers = {"x": x, "score": score, "eps": -sigma * score, "v": -alpha * sigma * score - sigma * x}
    answers["velocity"] = -sigma * score - x
    answers["F"] = (x - skip * x_t / alpha) / out
    answers["mean"] = mean_of_the_past(data, schedule, x_t, s, t)
    return answers
