r"""Training objectives: which times are proposed, and what is compared there.

An objective sees clean data and noise, never a random generator of its own beyond the one it is handed, so a training
step is a pure function of its seed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.denoise import Denoiser
from inkwash.shapes import mean_event, over


@dataclass(frozen=True)
class Simple:
    r"""Unweighted noise prediction: $\lVert\epsilon - \hat\epsilon(x_t, t)\rVert^2$ per entry (DDPM eq. 14)."""

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        r"""`count` times, each uniform on (0, 1], jointly equally spaced: $t_i = 1 - ((u + i)/B \bmod 1)$, shuffled.

        One uniform u for the whole batch lowers the variance of the loss (Kingma et al. 2021, App. I.1).
        """
        start = torch.rand((), generator=generator, dtype=torch.float64)
        spaced = 1 - (start + torch.arange(count, dtype=torch.float64)) / count
        return spaced[torch.randperm(count, generator=generator)]

    def loss(self, denoiser: Denoiser, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Loss per example, `(B,)`, for clean `x` and noise `eps` `(B, *event)` at times `t` `(B,)`."""
        schedule = denoiser.process.schedule
        x_t = over(schedule.alpha(t), x) * x + over(schedule.sigma(t), x) * eps
        return mean_event((eps - denoiser(x_t, t).eps) ** 2)
