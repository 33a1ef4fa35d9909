r"""Deterministic degradations instead of noise: Cold Diffusion (Bansal et al. 2022).

A degradation $D$ turns an image $x$ into $x_t = D(x, t)$, with $D(x, 0) = x$; at time 1 it leaves next to nothing. A
restorer estimates $\hat x = R(x_t, t)$. There are two algorithms to step back from t to s:

- algorithm 1, the naive one: $x_s = D(\hat x, s)$;
- algorithm 2, the improved one: $x_s = x_t - D(\hat x, t) + D(\hat x, s)$, in which an error of $\hat x$ cancels as far
  as the degradation treats it alike at both times.

Only the start is random: $q(x_t \mid x)$ is a point. There is thus no likelihood and no bound, and computing one raises
an error. Images have shape `(B, C, H, W)`, of any height and width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.config import DegradationName
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import as_time, per_row

_ROUNDING = 1e-9


class Degradation(ABC):
    """A deterministic loss of detail, linear in the image."""

    @abstractmethod
    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        """What is left at time t, `()` or `(B,)`, of images `x` `(B, C, H, W)` that are already degraded to time s."""


@dataclass(frozen=True)
class Blur(Degradation):
    r"""Heat flow with reflecting edges: cosine mode k of n pixels decays by $e^{-(\pi k/n)^2\varsigma^2/2}$, as under a
    Gaussian kernel of standard deviation $\varsigma(t) = w\,\max(H, W)\,t/(1-t)$ pixels.

    The blur is continuous in t and keeps the mean of each channel. At time 1 each channel is constant at its mean.

    Args:
        width: w, the standard deviation at t = 1/2 as a share of the longer side.
    """

    width: float = 0.125

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise ConfigError("blur.width", self.width, "a number > 0")

    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        variance = (max(x.shape[-2:]) * self.width) ** 2 * (_odds(t) ** 2 - _odds(s) ** 2)
        return _along_both(x, [_heat(size, per_row(variance, x)) for size in x.shape[-2:]])


@dataclass(frozen=True)
class Pixelate(Degradation):
    r"""Each square block is replaced by its mean; blocks are cut off at the lower and right edges.

    The side of a block grows in steps: it doubles $n = \lceil\log_2\max(H, W)\rceil$ times until time 1, and
    $\lceil t n\rceil$ times until time t. At time 1 a single block covers the image, so each channel is constant at its
    mean.
    """

    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        # Blocks nest, so it makes no difference that the image was already pixelated to time s.
        doublings = (max(x.shape[-2:]) - 1).bit_length()
        side = 2 ** torch.ceil(per_row(as_time(t), x) * doublings - _ROUNDING)
        return _along_both(x, [_blocks(size, side) for size in x.shape[-2:]])


@dataclass(frozen=True)
class Mask(Degradation):
    r"""A disc that grows from the centre and hides the image: entries are multiplied by
    $m = \mathrm{clip}\big((r + w - t(1 + w))/w,\ 0,\ 1\big)$, with r the distance from the centre, 1 at the corners.

    The mask is continuous in t, and m never grows. At time 1 the image is zero.

    Args:
        softness: w, the width of the disc's rim in units of r.
    """

    softness: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.softness < math.inf:
            raise ConfigError("mask.softness", self.softness, "a number > 0")

    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        left, before = self._left(x, t), self._left(x, s)
        share = torch.where(before > 0, left / before, 0)
        return x * share[:, None].to(device=x.device, dtype=x.dtype)

    def _left(self, x: Tensor, t: float | Tensor) -> Tensor:
        """The factor m, `(B, H, W)`."""
        reach = (1 + self.softness) * per_row(as_time(t), x)
        return ((_distance(*x.shape[-2:]) + self.softness - reach[:, None, None]) / self.softness).clamp(0, 1)


DEGRADATIONS: dict[DegradationName, type[Degradation]] = {"blur": Blur, "pixelate": Pixelate, "mask": Mask}
"""The degradations by name."""


def _odds(t: float | Tensor) -> Tensor:
    """$t/(1 - t)$, float64."""
    t = as_time(t)
    return t / (1 - t)


def _along_both(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply the columns and the rows of images `(B, C, H, W)` by matrices `(B, H, H)` and `(B, W, W)`."""
    down, across = (m.to(device=x.device, dtype=x.dtype) for m in matrices)
    return down[:, None] @ x @ across[:, None].mT


def _heat(size: int, variance: Tensor) -> Tensor:
    """Heat flow along one axis as matrices `(B, size, size)`, for kernels of variance `(B,)`; exactly the identity at
    0."""
    k = torch.arange(size, dtype=torch.float64)
    modes = torch.cos(torch.pi * k[:, None] * (2 * k + 1) / (2 * size)) * math.sqrt(2 / size)
    modes[0] /= math.sqrt(2)
    rate = 0.5 * (torch.pi * k / size) ** 2
    # The constant mode never decays, even after an infinite time.
    change = torch.where(rate > 0, torch.expm1(-variance.cpu()[:, None] * rate), 0)
    return torch.eye(size, dtype=torch.float64) + (modes.T * change[:, None, :]) @ modes


def _blocks(size: int, side: Tensor) -> Tensor:
    """The mean over blocks of side `(B,)` along one axis, as matrices `(B, size, size)`."""
    block = torch.arange(size) // side.cpu()[:, None]
    same = (block[:, :, None] == block[:, None, :]).double()
    return same / same.sum(-1, keepdim=True)


def _distance(height: int, width: int) -> Tensor:
    """The distance of each pixel from the centre, 1 at the corners: `(H, W)`."""
    down, across = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in (height, width))
    distance = torch.hypot(down[:, None], across[None, :])
    return distance / distance.max().clamp(min=1)
