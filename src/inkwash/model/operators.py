r"""Linear maps of images for common measurements: $A$ in $y = A x + \mathrm{noise}$.

Each function makes a map of images `(B, C, H, W)` in data units. A measurement also takes any other callable that is
linear or affine, or a matrix; see `inkwash.Measurement`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.errors import ConfigError, require_integer
from inkwash.posterior.evidence import Map
from inkwash.process.degradations import Blur


def crop(top: int, left: int, height: int, width: int) -> Map:
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


def downsample(factor: int) -> Map:
    """Means over blocks of `factor` by `factor` pixels, without the pixels beyond the last complete block.

    Raises:
        ConfigError: a factor below 2.
    """
    require_integer("downsample.factor", factor, 2)
    return lambda x: F.avg_pool2d(x, factor)


def blur(std: float) -> Map:
    """A Gaussian blur with a standard deviation in pixels and reflecting edges; see `inkwash.process.Blur`.

    Raises:
        ConfigError: a standard deviation that is not positive.
    """
    if not std > 0:
        raise ConfigError("blur.std", std, "a number > 0")
    return lambda x: Blur(std / max(x.shape[-2:])).degrade(x, 0.5)


def grey() -> Map:
    """The mean over channels, `(B, 1, H, W)`."""
    return lambda x: x.mean(1, keepdim=True)


def entries(mask: Tensor) -> Map:
    """The entries where `mask`, boolean `(*event)`, is true, `(B, m)`: for noisy pixels, where `Observed` is for exact
    ones.

    Raises:
        ConfigError: a mask that is not boolean.
    """
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise ConfigError("entries.mask", mask.dtype, "a boolean mask")
    return lambda x: x[:, mask.to(x.device)]
