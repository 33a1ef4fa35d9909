"""Cold Diffusion (Bansal et al. 2022): a process whose forward step is a deterministic degradation without noise.

Its laws are single points, so there is no likelihood.
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
    """A law of a deterministic process; none of them has a density."""

    def entry_log_prob(self, x: Tensor) -> Tensor:
        _no_likelihood()

    def entry_entropy(self) -> Tensor:
        _no_likelihood()

    def entry_kl(self, other: object) -> Tensor:
        _no_likelihood()


@dataclass(frozen=True)
class Point(_Determined):
    """The law with all its mass at one point, which every draw returns.

    Args:
        mean: the point, `(B, *event)`.
    """

    mean: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """The point."""
        return self.mean


@dataclass(frozen=True)
class Starts(_Determined):
    r"""The law of fully degraded images: each channel is constant with a normal level, plus a little noise.

    Blurring or pixelating to time 1 leaves only the mean of each channel. Bansal et al. (2022, §5) fit one Gaussian to
    these few numbers, and add a little noise to each pixel. Without it, all images with the same mean would be restored
    to the same image.

    Args:
        level: the mean of the channels' levels, `(C,)`.
        factor: a square root L of their covariance $L L^\top$, `(C, C)`.
        noise: the standard deviation of the noise, model units.
        shape: the shape of the images to draw, batch included.
        like: a tensor with the dtype and device of the images.
    """

    level: Tensor
    factor: Tensor
    noise: float
    shape: tuple[int, ...] = ()
    like: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """The mean image, repeated for each example."""
        return self._constant(self.level.expand(self.shape[0], -1))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Degraded images of `shape`."""
        z = torch.randn(self.shape[:2], generator=generator, dtype=torch.float64)
        images = self._constant(self.level + z @ self.factor.T)
        return images + self.noise * standard_normal(self.shape, generator, like=images)

    def _constant(self, levels: Tensor) -> Tensor:
        """Images of `shape` whose channels have constant levels `(B, C)`."""
        like = torch.zeros(()) if self.like is None else self.like
        return levels[:, :, None, None].expand(self.shape).to(like)


def fit_starts(degradation: Degradation, x: Tensor, noise: float = 0.002) -> Starts:
    """The law of what is left of images `x` `(B, C, H, W)` at time 1; see `Starts` for `noise`.

    A mask leaves nothing: every start is the zero image, and starts differ only by the noise.
    """
    levels = degradation.degrade(x.double(), 1.0).mean((-2, -1))
    values, vectors = torch.linalg.eigh((levels - levels.mean(0)).T @ (levels - levels.mean(0)) / len(levels))
    return Starts(levels.mean(0).cpu(), (vectors * values.clamp(min=0).sqrt()).cpu(), noise)


@dataclass(frozen=True)
class Cold(Process):
    """The process of a degradation. Except for the prior, all its laws are points, so `Ancestral` walks back exactly as
    algorithm 2 of Bansal et al. (2022) does, or as algorithm 1.

    Args:
        degradation: removes detail from images.
        starts: the law of fully degraded images, which `prior` returns; see `fit_starts`.
        improved: whether to use algorithm 2 (True) or algorithm 1 (False); see `inkwash.process.degradations`.
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
        """Zeros, as a degradation is deterministic."""
        return torch.zeros(tuple(shape)) if like is None else like.new_zeros(tuple(shape))

    def diffuse(self, x: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """$D(x, t)$, which does not depend on the noise."""
        return self.degradation.degrade(x, t)

    def transition(self, x_s: Tensor, s: float | Tensor, t: float | Tensor) -> Point:
        """The image at time s, degraded further to time t."""
        return Point(self.degradation.degrade(x_s, t, s))

    def posterior(self, x_t: Tensor, x: Tensor, s: float | Tensor, t: float | Tensor) -> Point:
        r"""$x_s = x_t - D(x, t) + D(x, s)$, or $D(x, s)$ for algorithm 1."""
        x_s = self.degradation.degrade(x, s)
        return Point(x_t - self.degradation.degrade(x, t) + x_s if self.improved else x_s)

    def reverse(self, x_t: Tensor, estimate: Any, s: float | Tensor, t: float | Tensor) -> Point:
        """The posterior at the restored image."""
        return self.posterior(x_t, estimate.x, s, t)

    def decoder(self, x_t: Tensor, estimate: Any, times: Tensor, lattice: Lattice | Bins | None) -> NoReturn:
        """Raise an error, since there is no likelihood; see the docstring of the module.

        Raises:
            ConfigError: always.
        """
        _no_likelihood()
