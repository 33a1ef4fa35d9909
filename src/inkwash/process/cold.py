"""Cold diffusion (Bansal et al. 2022): a process whose forward step is a deterministic degradation, without noise.

Its laws are points, so there is no likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.process.degradations import Degradation
from inkwash.process.distributions import Bins, Comparable, Lattice, standard_normal
from inkwash.process.process import Process


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
