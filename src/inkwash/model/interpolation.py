r"""What lies between two examples, a and b.

Their codes are connected along a sphere (`spherical`): codes of d entries have a norm close to $\sqrt d$ times the
standard deviation of the prior, and a straight line would pass through points that no data has for a code. Noisy
versions with the same noise are connected by a straight line (`linear`), which keeps the noise and mixes the signal (Ho
et al. 2020, §4.3 and fig. 8).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from inkwash.core.errors import DataError
from inkwash.process.process import Process

_OPPOSITE = 1e-6


def spherical(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    r"""Points from a to b that turn at a steady rate (Shoemake 1985; White 2016).

    The direction turns from that of a to that of b in the plane of both, and the norm changes linearly. For equal norms
    this is $\frac{\sin((1-w)\theta)a + \sin(w\theta)b}{\sin\theta}$. It does not depend on the variance of the prior.

    Args:
        a: `(*event)`, float64.
        b: `(*event)`, float64.
        weights: $w$, 0 at a and 1 at b, `(n,)`.

    Returns:
        `(n, *event)`.

    Raises:
        DataError: opposite directions, which define no plane; single numbers of unlike sign always have them.
    """
    weights = weights.to(a)
    start, goal = (normalize(end.flatten(), dim=0) for end in (a, b))
    cosine = start @ goal
    across = goal - cosine * start
    angle = torch.atan2(across.norm(), cosine)
    if angle > torch.pi - _OPPOSITE:
        raise DataError("b", "a code opposite to that of a", "one that is not opposite, or a time t to mix at")
    turn = (weights * angle)[:, None]
    direction = turn.cos() * start + turn.sin() * normalize(across, dim=0)
    return (torch.lerp(a.norm(), b.norm(), weights)[:, None] * direction).reshape(-1, *a.shape)


def linear(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """$(1 - w)a + wb$, `(n, *event)`, for `weights` w `(n,)`."""
    return torch.lerp(a, b, weights.to(a).reshape(-1, *(1,) * a.ndim))


def diffuse_alike(process: Process, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
    """$x_t$ for every example of `x` `(B, *event)`, all with the same noise; at time 0 it is `x` itself."""
    return process.diffuse(x, t, process.noise((1, *x.shape[1:]), generator, like=x).expand_as(x))
