r"""Conventions of other code: what a network is given in the place of the time, and what its numbers mean as pixels."""

from collections.abc import Callable

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import Sight
from inkwash.process.noise.schedule import Schedule

_NEAR = 1e-6
_LEVELS = 256


def timestep(steps: int) -> Sight:
    r"""The index of a time among the T times of a table, counted from 0: $tT - 1$.

    At the times of the grid this is the integer that the network was trained with. Between them it is the number in
    between, and below the first time it is 0: a network is never given less than its first index.
    """

    def index(t: Tensor) -> Tensor:
        place = t * steps - 1
        nearest = place.round()
        return torch.where((place - nearest).abs() < _NEAR, nearest, place).clamp(min=0)

    return index


def noise_to_signal(schedule: Schedule) -> Callable[[Tensor], Tensor]:
    r"""$\sigma/\alpha$, which is $\sigma$ itself where the noise explodes."""
    return lambda t: torch.exp(-schedule.log_snr(t) / 2)


def quarter_log(schedule: Schedule) -> Sight:
    r"""$\tfrac14\ln(\sigma/\alpha)$, EDM's $c_\mathrm{noise}$ (Karras et al. 2022, table 1)."""
    return lambda t: -schedule.log_snr(t) / 8


def pixels(shape: tuple[int, ...], ends: tuple[float, float]) -> Transform:
    """The transform of pictures of 8 bits, `(N, H, W)` for one channel and `(N, H, W, C)` for more.

    Args:
        shape: of a picture in model units, `(C, H, W)`.
        ends: what 0 and 255 are in model units.

    Raises:
        ConfigError: another shape, or ends that do not rise.
    """
    low, high = ends
    if not low < high:
        raise ConfigError("range", ends, "two numbers (low, high), the first below the second")
    if len(shape) != 3:
        raise ConfigError("range", ends, f"None, as {shape} is not the shape (C, H, W) of pictures")
    spec = DataSpec(shape, "NHW" if shape[0] == 1 else "NHWC", "uint8", 0.0, _LEVELS - 1.0, _LEVELS)
    scale = (_LEVELS - 1) / (high - low)
    return Transform(spec, (-low * scale,) * shape[0], (scale,) * shape[0])
