"""Keywords that several methods of a model take."""

from __future__ import annotations

from torch import Tensor

from inkwash.data.condition import ConditionKeywords
from inkwash.sample.walk import StepOptions


class WalkOptions(ConditionKeywords, StepOptions, total=False):
    """Keywords that say which steps to take, and under which condition, as of `Diffusion.sample`."""

    guidance: float
    present: Tensor | None


class ProductOptions(StepOptions, total=False):
    """Keywords that say which samples of a product to take, and by which steps, as of `Product.sample`."""

    first: int
    seed: int | None
