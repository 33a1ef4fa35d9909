"""Wrappers: denoisers that change the estimate of another denoiser, by a condition or by the range of the data."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import in_turn, over
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.process.gaussian import Estimate, require_gaussian


class Conditioned(nn.Module):
    """A denoiser under a fixed condition.

    Args:
        denoiser: the denoiser to wrap.
        condition: the keywords that the denoiser is called with. A tensor has a row for each example, or fewer rows,
            which are then repeated in turn. Usual names are `label`, class numbers `(B,)`; `given`, standardised data
            `(B, …)`; and `guidance`, a number.
    """

    def __init__(self, denoiser: AnyDenoiser, condition: Mapping[str, Any]) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = denoiser.process
        self.condition = condition

    def forward(self, x_t: Tensor, t: float | Tensor) -> Any:
        """The wrapped denoiser's estimate under the condition."""
        condition = {
            name: in_turn(value, len(x_t)) if isinstance(value, Tensor) else value
            for name, value in self.condition.items()
        }
        return self.denoiser(x_t, t, **condition)


def under(denoiser: AnyDenoiser, condition: Mapping[str, Any] | None, rows: Tensor | slice) -> AnyDenoiser:
    """The denoiser under the selected rows of a condition, or the denoiser itself if there is no condition."""
    if not condition:
        return denoiser
    kept = {name: value[rows] if isinstance(value, Tensor) else value for name, value in condition.items()}
    return Conditioned(denoiser, kept)


class Clipped(nn.Module):
    r"""A denoiser whose $\hat x$ is clipped to the range of bounded data; $\hat\epsilon$ is recomputed from it.

    Args:
        denoiser: the denoiser to wrap.
        low: the smallest value of clean data, model units.
        high: the largest value.

    Raises:
        ConfigError: the denoiser's process is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = require_gaussian(denoiser.process, "clip")
        self.low, self.high = low, high

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, clipped."""
        estimate = self.denoiser(x_t, t, **condition)
        return estimate.with_x(estimate.x.clamp(self.low, self.high))


class Thresholded(nn.Module):
    r"""A denoiser with dynamic thresholding (Saharia et al. 2022, §2.3); $\hat\epsilon$ is recomputed from $\hat x$.

    $\hat x$ is clipped to $[-s, s]$ and divided by s, which is the larger of 1 and a quantile of $|\hat x|$ over the
    entries of the example. The data must lie between -1 and 1.

    Args:
        denoiser: the denoiser to wrap.
        quantile: which quantile, the paper's p; with 1, the largest entry ends at the bound.

    Raises:
        ConfigError: the quantile is outside [0, 1], or the denoiser's process is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, quantile: float = 0.995) -> None:
        super().__init__()
        if not 0 <= quantile <= 1:
            raise ConfigError("threshold.quantile", quantile, "a number between 0 and 1")
        self.denoiser = denoiser
        self.process = require_gaussian(denoiser.process, "threshold")
        self.quantile = quantile

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, thresholded."""
        estimate = self.denoiser(x_t, t, **condition)
        bound = over(estimate.x.abs().flatten(1).quantile(self.quantile, dim=1).clamp(min=1), x_t)
        return estimate.with_x(estimate.x.clamp(-bound, bound) / bound)
