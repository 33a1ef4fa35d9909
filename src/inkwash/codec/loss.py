"""`Loss`: how far the examples that a file with loss gives are from those that it was made of."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.model.units import Units

_Size = Annotated[float, Range(0)]


@dataclass(frozen=True)
class Loss:
    """Root mean square errors in data units, over entries that are not missing.

    Args:
        span: from the lowest level to the highest.
        rmse: over all examples.
        least: of the example that comes nearest to what it was.
        most: of the example that is farthest.
    """

    span: _Size
    rmse: _Size
    least: _Size
    most: _Size

    @classmethod
    def of(cls, units: Units, data: Array, given: Array) -> "Loss":
        """That of examples with levels, data units, when others are given back."""
        gone = np.isnan(data)
        square = np.where(gone, 0.0, given.astype(np.float64) - data.astype(np.float64)) ** 2
        sums, counts = (each.reshape(len(data), -1).sum(1) for each in (square, ~gone))
        each = np.sqrt(sums / np.maximum(counts, 1))
        levels = units.spec if units.transform is not None else units.values
        span = float(levels.high - levels.low) if levels is not None else 0.0
        return cls(span, math.sqrt(sums.sum() / max(counts.sum(), 1)), float(each.min()), float(each.max()))

    def psnr(self, rmse: float) -> float:
        r"""The peak signal-to-noise ratio $20 \log_{10}(\mathrm{span} / \mathrm{RMSE})$, in decibels; infinite without
        an error."""
        return 20 * math.log10(self.span / rmse) if rmse else math.inf

    def __str__(self) -> str:
        if not self.rmse:
            return "nothing was lost"
        mean, best, worst = (self.psnr(rmse) for rmse in (self.rmse, self.least, self.most))
        return f"PSNR {mean:.1f} dB, by example {worst:.1f} to {best:.1f}; RMSE {self.rmse:.3g} of {self.span:g}"
