"""What an answer is, and one-dimensional data whose density and denoiser are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inkwash.core.shapes import over
from inkwash.data import pictures
from inkwash.denoise.denoiser import Denoiser
from inkwash.process.gaussian import Gaussian

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (pictures.ACCENT, pictures.INK, pictures.WASH)


@dataclass(frozen=True)
class Answer:
    """What was measured for one question.

    Args:
        numbers: by name.
        figure: the picture.
    """

    numbers: dict[str, float]
    figure: Figure


Question = Callable[[torch.Generator], Answer]


def lines(x: Any, curves: Mapping[str, Any], **axis: Any) -> Figure:
    """A small figure of a few curves over `x`; `axis` as of matplotlib's `Axes.set`."""
    figure, axes = pictures.new_figure(4.6, 2.9)
    for (name, y), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(x, y, label=name.replace("_", " "), color=colour, marker="o" if len(x) < 20 else None, ms=4)
    axes.set(**axis)
    axes.legend(frameon=False)
    return figure


@dataclass(frozen=True)
class Peaks:
    r"""A mixture of normals, $\sum_i w_i\,\mathcal N(m_i, v_i)$: two peaks of unequal weight and width.

    Args:
        weights: w, summing to 1.
        means: m.
        variances: v.
    """

    weights: tuple[float, ...] = (0.3, 0.7)
    means: tuple[float, ...] = (-1.2, 0.9)
    variances: tuple[float, ...] = (0.05, 0.2)

    @property
    def mean(self) -> float:
        """Mean of the mixture."""
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def variance(self) -> float:
        """Variance of the mixture."""
        parts = zip(self.weights, self.means, self.variances, strict=True)
        return sum(w * (m**2 + v) for w, m, v in parts) - self.mean**2

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Random examples `(count, 1)`, float64."""
        part = torch.multinomial(_column(self.weights), count, replacement=True, generator=random)
        z = torch.randn(count, generator=random, dtype=torch.float64)
        return (_column(self.means)[part] + _column(self.variances)[part].sqrt() * z)[:, None]

    def log_prob(self, x_t: Tensor, alpha: Tensor | float = 1.0, sigma: Tensor | float = 0.0) -> Tensor:
        r"""Log-density of $\alpha x + \sigma\epsilon$ at `x_t` `(B, 1)`: `(B,)`."""
        return self._joint(x_t, alpha, sigma).logsumexp(-1)

    def denoise(self, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
        r"""$\mathbb E[x \mid x_t]$, `(B, 1)`."""
        means, variances = _column(self.means), _column(self.variances)
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        each = means + gain * (x_t - alpha * means)
        return (self._joint(x_t, alpha, sigma).softmax(-1) * each).sum(-1, keepdim=True)

    def denoiser(self, process: Gaussian, variance: str = "large") -> Denoiser:
        """The exact denoiser under a process."""

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            return self.denoise(x_t, over(process.schedule.alpha(t), x_t), over(process.schedule.sigma(t), x_t))

        return Denoiser(network, process, predicts="x", variance=variance)

    def _joint(self, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
        """Log of weight times density for each part, `(B, parts)`."""
        var = alpha**2 * _column(self.variances) + sigma**2
        distance = (x_t - alpha * _column(self.means)) ** 2 / var
        return _column(self.weights).log() - 0.5 * (distance + torch.log(2 * math.pi * var))


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


PEAKS = Peaks()
