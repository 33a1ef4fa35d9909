"""Bounds and flows in closed form."""

import math

import torch
from oracles import (
    entropy_of,
    survival,
    tensor,
)


def kept(process, s, t):
    """Probability of surviving from s to t, by the scales of signal and noise."""
    return survival(process.schedule, t) / survival(process.schedule, s)


def enumerated_bound(data, process, times):
    """Mean of the bound of the exact denoiser over data and noise, by part: differences of entropies of joint tables.

    A pair contributes sum_i H(x_s,i | x_t) - H(x_s | x_t, x), since the optimal reverse kernel has the true conditional
    law of each entry, and the reconstruction sum_i H(x_i | x_t).
    """
    survival = [kept(process, 0.0, t) for t in times]
    joint = [data.probabilities[:, None] * data.kernel(a, process.rate) for a in survival]
    prior_law = data.kernel(0.0, process.rate)[0]
    prior = float((joint[0] * (data.kernel(survival[0], process.rate) / prior_law).log()).sum())
    parts = []
    for k in range(len(times) - 1):
        step = data.kernel(survival[k] / survival[k + 1], process.rate)
        at_s = joint[k + 1].sum(0)
        given_both = (
            entropy_of(at_s[:, None] * step) - entropy_of(at_s) + entropy_of(joint[k + 1]) - entropy_of(joint[k])
        )
        parts.append(entries_entropy(data, at_s[:, None] * step) - given_both)
    return prior, tensor(parts[:-1]), parts[-1]


def entries_entropy(data, joint):
    """sum_i H(x_i | y) of a table of (x, y)."""
    y = entropy_of(joint.sum(0))
    values = [torch.stack([joint[data.states[:, i] == v].sum(0) for v in (0, 1)]) for i in range(data.size)]
    return sum(entropy_of(v) - y for v in values)


def expected_bound(data, schedule, variance, times):
    """Mean of the bound's parts over data and noise: per pair of times, and of the reconstruction.

    With SNR g, a = (g_s - g_t) mmse(g_t) and r = reverse variance / posterior variance, a pair contributes
    [(d + a) / r - d + d ln r] / 2; r = 1 for the small variance, (sigma_t / sigma_s)^2 for the large one.
    """
    d, t, s = data.size, times[:-2], times[1:-1]
    snr_t, snr_s = schedule.log_snr(t).exp(), schedule.log_snr(s).exp()
    r = (schedule.sigma(t) / schedule.sigma(s)) ** 2 if variance == "large" else torch.ones_like(t)
    pairs = ((d + (snr_s - snr_t) * data.mmse(snr_t)) / r - d + d * r.log()) / 2
    noise_var = float(schedule.sigma(times[-2]) ** 2)
    kept = float(snr_t[-1] / snr_s[-1]) if len(times) > 2 else 0.0
    var = noise_var * (1 - kept) if variance == "small" else noise_var
    error = float(data.mmse(schedule.log_snr(times[-2]).exp()))
    return pairs, d / 2 * math.log(2 * math.pi * var) + error / (2 * var)


def flow(data, schedule, x_1):
    """Where the probability-flow equation takes x_1: along each axis, y - mean shrinks like its spread."""
    w2 = (schedule.sigma(1.0) / schedule.alpha(1.0)) ** 2
    axes = data.eigenvectors
    shrink = (data.eigenvalues / (data.eigenvalues + w2)).sqrt()
    return data.mean + ((x_1 / schedule.alpha(1.0) - data.mean) @ axes * shrink) @ axes.T
