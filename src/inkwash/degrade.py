r"""Deterministic degradations instead of noise: Cold Diffusion (Bansal et al. 2022).

A degradation $D$ takes an image $x$ to $x_t = D(x, t)$, with $D(x, 0) = x$ and, at time 1, next to nothing left. A
restorer guesses $\hat x = R(x_t, t)$. Two ways back from t to s:

- algorithm 1, naive: $x_s = D(\hat x, s)$;
- algorithm 2, improved: $x_s = x_t - D(\hat x, t) + D(\hat x, s)$, which forgives whatever error of $\hat x$ the
  degradation treats alike at both times.

Nothing here is random but the start: $q(x_t \mid x)$ is a point. So there is no likelihood and no bound, and asking for
one is an error. Images have shape `(B, C, H, W)`, of any height and width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, nn

from inkwash.denoise import Network
from inkwash.distributions import Bins, Comparable, Lattice, standard_normal
from inkwash.errors import ConfigError
from inkwash.process import Process
from inkwash.shapes import as_time, mean_event, per_row

_ROUNDING = 1e-9


class Degradation(ABC):
    """A deterministic loss of detail, linear in the image."""

    @abstractmethod
    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        """What is left at time t, `()` or `(B,)`, of images `x` `(B, C, H, W)` that are degraded to time s already."""


@dataclass(frozen=True)
class Blur(Degradation):
    r"""Heat flow with reflecting edges: cosine mode k of n pixels decays by $e^{-(\pi k/n)^2\varsigma^2/2}$, as under a
    Gaussian kernel of standard deviation $\varsigma(t) = w\,\max(H, W)\,t/(1-t)$ pixels.

    Continuous in t. At time 1 each channel is its mean. Kept by it at all times: the mean of each channel.

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
    r"""Each square block becomes its mean; blocks are cut off at the lower and right edges.

    Stepwise in t: of the $n = \lceil\log_2\max(H, W)\rceil$ doublings of a block's side, $\lceil t n\rceil$ are done at
    time t. At time 1 the whole image is one block, a single pixel's worth: the mean of each channel.
    """

    def degrade(self, x: Tensor, t: float | Tensor, s: float | Tensor = 0.0) -> Tensor:
        # Blocks nest, so what was done up to time s makes no difference.
        doublings = (max(x.shape[-2:]) - 1).bit_length()
        side = 2 ** torch.ceil(per_row(as_time(t), x) * doublings - _ROUNDING)
        return _along_both(x, [_blocks(size, side) for size in x.shape[-2:]])


@dataclass(frozen=True)
class Mask(Degradation):
    r"""A disc that covers the image from its centre outwards: entries are multiplied by
    $m = \mathrm{clip}\big((r + w - t(1 + w))/w,\ 0,\ 1\big)$, with r the distance from the centre, 1 at the corners.

    Continuous in t, and m never grows. At time 1 the image is zero.

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


DEGRADATIONS: dict[str, type[Degradation]] = {"blur": Blur, "pixelate": Pixelate, "mask": Mask}
"""The degradations by name."""


def _odds(t: float | Tensor) -> Tensor:
    t = as_time(t)
    return t / (1 - t)


def _along_both(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix per example, `(B, H, H)` and `(B, W, W)`, to the columns and to the rows of `(B, C, H, W)`."""
    down, across = (m.to(device=x.device, dtype=x.dtype) for m in matrices)
    return down[:, None] @ x @ across[:, None].mT


def _heat(size: int, variance: Tensor) -> Tensor:
    """Heat flow along one axis for variances `(B,)` of the kernel: `(B, size, size)`, the identity exactly at 0."""
    k = torch.arange(size, dtype=torch.float64)
    modes = torch.cos(torch.pi * k[:, None] * (2 * k + 1) / (2 * size)) * math.sqrt(2 / size)
    modes[0] /= math.sqrt(2)
    rate = 0.5 * (torch.pi * k / size) ** 2
    # The first mode never decays, not even after an infinite time.
    change = torch.where(rate > 0, torch.expm1(-variance.cpu()[:, None] * rate), 0)
    return torch.eye(size, dtype=torch.float64) + (modes.T * change[:, None, :]) @ modes


def _blocks(size: int, side: Tensor) -> Tensor:
    """The mean over blocks of a side `(B,)` along one axis: `(B, size, size)`."""
    block = torch.arange(size) // side.cpu()[:, None]
    same = (block[:, :, None] == block[:, None, :]).double()
    return same / same.sum(-1, keepdim=True)


def _distance(height: int, width: int) -> Tensor:
    """Distance of each pixel from the centre, 1 at the corners: `(H, W)`."""
    down, across = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in (height, width))
    distance = torch.hypot(down[:, None], across[None, :])
    return distance / distance.max().clamp(min=1)


def _no_likelihood() -> NoReturn:
    need = "a process with noise, such as Gaussian; here q(x_t | x) is a point, and there is no bound"
    raise ConfigError("likelihood", "a deterministic degradation", need)


class _Determined(Comparable):
    """What the laws of a deterministic process have in common: no density."""

    def entry_log_prob(self, x: Tensor) -> Tensor:
        _no_likelihood()

    def entry_entropy(self) -> Tensor:
        _no_likelihood()

    def entry_kl(self, other: object) -> Tensor:
        _no_likelihood()


@dataclass(frozen=True)
class Point(_Determined):
    """All mass at one point: drawing gives it back, and it has no density.

    Args:
        mean: the point, `(B, *event)`.
    """

    mean: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """The point."""
        return self.mean


@dataclass(frozen=True)
class Starts(_Determined):
    r"""The law of fully degraded images: constant channels whose levels are normal, and a trace of noise.

    After blurring or pixelating to time 1 all that is left of an image is the mean of each channel. Bansal et al.
    (2022, §5) fit one Gaussian to these few numbers, and add a little noise to each pixel: without it, images of the
    same mean would all be restored to the same image.

    Args:
        level: mean of the channels' levels, `(C,)`.
        factor: a square root L of their covariance $L L^\top$, `(C, C)`.
        noise: standard deviation of the noise, model units.
        shape: of the images to draw, batch included.
        like: they come in its dtype and on its device.
    """

    level: Tensor
    factor: Tensor
    noise: float
    shape: tuple[int, ...] = ()
    like: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The mean image, once per example."""
        return self._spread(self.level.expand(self.shape[0], -1))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Degraded images of `shape`."""
        z = torch.randn(self.shape[:2], generator=generator, dtype=torch.float64)
        images = self._spread(self.level + z @ self.factor.T)
        return images + self.noise * standard_normal(self.shape, generator, like=images)

    def _spread(self, levels: Tensor) -> Tensor:
        like = torch.zeros(()) if self.like is None else self.like
        return levels[:, :, None, None].expand(self.shape).to(like)


def fit_starts(degradation: Degradation, x: Tensor, noise: float = 0.002) -> Starts:
    """The law of what is left of images `x` `(B, C, H, W)` at time 1; `noise` as of `Starts`.

    For a mask nothing is left: every start is the zero image, and the noise alone tells them apart.
    """
    levels = degradation.degrade(x.double(), 1.0).mean((-2, -1))
    values, vectors = torch.linalg.eigh((levels - levels.mean(0)).T @ (levels - levels.mean(0)) / len(levels))
    return Starts(levels.mean(0).cpu(), (vectors * values.clamp(min=0).sqrt()).cpu(), noise)


@dataclass(frozen=True)
class Cold(Process):
    """The process of a degradation. All its laws are points but the prior, so `Ancestral` walks back as algorithm 2 of
    Bansal et al. (2022) does, or as algorithm 1.

    Args:
        degradation: takes images to images with less in them.
        starts: the law of fully degraded images, which `prior` draws from; see `fit_starts`.
        improved: algorithm 2; if not, algorithm 1.
    """

    degradation: Degradation
    starts: Starts
    improved: bool = True

    def prior(self, shape: Sequence[int], like: Tensor | None = None) -> Starts:
        """The law of fully degraded images."""
        return Starts(self.starts.level, self.starts.factor, self.starts.noise, tuple(shape), like)

    def marginal(self, x: Tensor, t: float | Tensor) -> Point:
        """$x_t = D(x, t)$."""
        return Point(self.degradation.degrade(x, t))

    def noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Nothing: a degradation is deterministic."""
        return torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """$D(x, t)$, whatever the noise."""
        return self.degradation.degrade(x, t)

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Point:
        """The image at time s, degraded further."""
        return Point(self.degradation.degrade(x_s, t, s))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Point:
        r"""$x_s = x_t - D(x, t) + D(x, s)$, or $D(x, s)$ for algorithm 1."""
        x_s = self.degradation.degrade(x, s)
        return Point(x_t - self.degradation.degrade(x, t) + x_s if self.improved else x_s)

    def reverse(self, x_t: Tensor, estimate: Any, s: float | Tensor, t: float | Tensor) -> Point:
        """The posterior at the restored image."""
        return self.posterior(x_t, estimate.x, s, t)

    def decoder(self, x_t: Tensor, estimate: Any, times: Tensor, lattice: Lattice | Bins | None) -> NoReturn:
        """There is none: see the module's docstring.

        Raises:
            ConfigError: always.
        """
        _no_likelihood()


@dataclass(frozen=True)
class Restored:
    """What a restorer answers.

    Args:
        x: the restored image, `(B, C, H, W)`, model units.
    """

    x: Tensor


class Restorer(nn.Module):
    """A network that restores images, with the process that degraded them; `inkwash.Diffusion` samples with it.

    Args:
        network: a callable `(x_t, t) -> x`; `t` comes with shape `(B,)`, in the dtype of `x_t`.
        process: the cold process.
    """

    def __init__(self, network: Network, process: Cold) -> None:
        super().__init__()
        self.network = network
        self.process = process

    def forward(self, x_t: Tensor, t: float | Tensor) -> Restored:
        """Restore `x_t` `(B, C, H, W)`, degraded to time `t`, `()` or `(B,)`."""
        return Restored(self.network(x_t, per_row(as_time(t), x_t).to(x_t)))


@dataclass(frozen=True)
class Restoration:
    r"""The training objective $\lVert R(D(x, t), t) - x\rVert$ per entry (Bansal et al. 2022, eq. 1).

    Args:
        norm: "l1", the paper's, or "l2", squared, whose best restorer is the conditional mean.
    """

    norm: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise ConfigError("restoration.norm", repr(self.norm), "one of l1, l2")

    def loss(self, restorer: Restorer, x: Tensor, t: Tensor) -> Tensor:
        """Loss per example, `(B,)`, for clean `x` `(B, C, H, W)` degraded to times `t` `(B,)`."""
        error = restorer(restorer.process.marginal(x, t).mean, t).x - x
        return mean_event(error.abs() if self.norm == "l1" else error**2)
