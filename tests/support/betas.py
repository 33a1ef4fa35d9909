"""Schedules of a table beside their betas and alpha-bars in 50 digits."""

from functools import cache
from itertools import pairwise

import mpmath

import inkwash as iw

mpmath.mp.dps = 50
mpf = mpmath.mpf


def linear_betas(steps):
    scale = mpf(1000) / steps
    first, last = mpf(1e-4), mpf(0.02)
    return [scale * (first + (last - first) * k / (steps - 1)) for k in range(steps)]


def cosine_betas(steps):
    offset = mpf(0.008)
    f = [mpmath.cos((mpf(k) / steps + offset) / (1 + offset) * mpmath.pi / 2) ** 2 for k in range(steps + 1)]
    return [min(1 - after / before, mpf(0.999)) for before, after in pairwise(f)]


def tabulated_betas(steps):
    return [mpf(0.001 + 0.4 * (k / steps) ** 3) for k in range(steps)]


BETAS = {"linear": linear_betas, "cosine": cosine_betas, "tabulated": tabulated_betas}


@cache
def case(kind, steps):
    """A schedule of a table and its exact betas and alpha-bars, as mpmath numbers."""
    betas = BETAS[kind](steps)
    schedule = {
        "linear": lambda: iw.LinearSchedule(steps),
        "cosine": lambda: iw.CosineSchedule(steps),
        "tabulated": lambda: iw.TabulatedSchedule(tuple(float(b) for b in betas)),
    }[kind]()
    bars = [mpf(1)]
    for beta in betas:
        bars.append(bars[-1] * (1 - beta))
    return schedule, betas, bars
