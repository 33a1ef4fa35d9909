"""Autoregressions of order 2, whose every law is normal and known."""

import numpy as np
from scipy.linalg import toeplitz
from scipy.stats import norm


def covariance(places, first, second):
    """That of successive places of x_t = first x_{t-1} + second x_{t-2} + N(0, 1) (Yule–Walker)."""
    found = [(1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))]
    found.append(found[0] * first / (1 - second))
    while len(found) < places:
        found.append(first * found[-1] + second * found[-2])
    return toeplitz(found[:places])


def conditional(mean, cov, past):
    """Mean and covariance of the last entries of N(mean, cov), given the first ones `(P,)`."""
    seen = len(past)
    weights = np.linalg.solve(cov[:seen, :seen], cov[:seen, seen:])
    return mean[seen:] + (past - mean[:seen]) @ weights, cov[seen:, seen:] - cov[seen:, :seen] @ weights


def normal_crps(mean, std, truth):
    """CRPS of a normal law (Gneiting & Raftery 2007, eq. 5)."""
    z = (truth - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
