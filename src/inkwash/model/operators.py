r"""Linear maps of images that measurements are often made by: $A$ in $y = A x + \mathrm{noise}$.

Each function makes a map of images `(B, C, H, W)` in data units. Any other callable that is linear, or affine, serves
as well, and so does a matrix; see `inkwash.Measurement`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.errors import ConfigError, require_integer
from inkwash.process.degradations import Blur

Operator = Callable[[Tensor], Tensor]


def crop(top: int, left: int, height: int, width: int) -> Operator:
    """A rectangle of the image, `(B, C, height, width)`.

    Raises:
        ConfigError: numbers that describe no rectangle.
    """
    for name, value, least in (("top", top, 0), ("left", left, 0), ("height", height, 1), ("width", width, 1)):
        require_integer(f"crop.{name}", value, least)

    def apply(x: Tensor) -> Tensor:
        if top + height > x.shape[-2] or left + width > x.shape[-1]:
            raise ConfigError("crop", (top, left, height, width), f"a rectangle within {tuple(x.shape[-2:])}")
        return x[..., top : top + height, left : left + width]

    return apply


def downsample(factor: int) -> Operator:
    """Means over blocks of `factor` by `factor` pixels; pixels beyond the last whole block are left out.

    Raises:
        ConfigError: a factor below 2.
    """
    require_integer("downsample.factor", factor, 2)
    return lambda x: F.avg_pool2d(x, factor)


def blur(std: float) -> Operator:
    """A Gaussian blur of so many pixels with reflecting edges; see `inkwash.process.Blur`.

    Raises:
        ConfigError: a standard deviation that is not positive.
    """
    if not std > 0:
        raise ConfigError("blur.std", std, "a number > 0")
    return lambda x: Blur(std / max(x.shape[-2:])).degrade(x, 0.5)


def grey() -> Operator:
    """The mean over channels, `(B, 1, H, W)`."""
    return lambda x: x.mean(1, keepdim=True)


def entries(mask: Tensor) -> Operator:
    """The entries where `mask`, boolean `(*event)`, is true, `(B, m)`: noisy pixels, where `Observed` knows them.

    Raises:
        ConfigError: a mask that is not boolean.
    """
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise ConfigError("entries.mask", mask.dtype, "a boolean mask")
    return lambda x: x[:, mask.to(x.device)]
