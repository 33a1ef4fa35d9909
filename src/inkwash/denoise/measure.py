"""What is measured of a trained denoiser."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inkwash.core.randomness import Purpose, generator
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.process.gaussian import require_gaussian
from inkwash.process.variance import Analytic

_AT_ONCE = 256


@torch.no_grad()
def measured_variance(
    denoiser: AnyDenoiser, x: Tensor, steps: int, condition: Mapping[str, Any] | None = None, seed: int = 0
) -> Analytic:
    r"""The best reverse variance that depends only on time, from the mean squared error of $\hat x$ on data (Bao et al.
    2022, theorem 1).

    Args:
        denoiser: the denoiser, as it is sampled from.
        x: the data, `(B, *event)`, model units; NaN where an entry is missing.
        steps: of the model's own grid, whose first time is the last one at which errors are measured.
        condition: the inputs of the denoiser by name.
        seed: of the noise.

    Raises:
        ConfigError: a process that is not Gaussian.
    """
    process, random = require_gaussian(denoiser.process, "variance"), generator(seed, Purpose.VARIANCE)
    table, present = Analytic.of_normal_data(process.schedule, steps), ~x.isnan()
    inputs = dict(condition or {}) if bool(present.all()) else {**(condition or {}), "present": present}
    total = torch.zeros_like(table.log_snr)
    for rows in torch.arange(len(x)).split(_AT_ONCE):
        part, there = x[rows].nan_to_num(0.0), present[rows]
        for i, t in enumerate(process.schedule.time(table.log_snr)):
            x_t = process.diffuse(part, t, process.noise(part.shape, random, like=part))
            error = (under(denoiser, inputs, rows)(x_t, t).x - part).double() ** 2
            total[i] += error[there].sum().cpu()
    return Analytic(table.log_snr, (total / present.sum().cpu()).clamp(min=1e-30))
