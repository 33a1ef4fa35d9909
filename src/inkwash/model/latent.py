r"""Latent diffusion: an autoencoder whose prior is a diffusion model of the latents.

$$-\log p(x) \le \mathbb E_{q(z \mid x)}\big[-\log p(x \mid z) + B(z)\big] - H[q(z \mid x)],$$

where $B(z) \ge -\log p(z)$ is the bound of the diffusion model, so that there is one bound on data (Vahdat et al. 2021,
eq. 2; Wehenkel & Louppe 2021). It holds for any latents, encoder and number of draws. The diffusion model knows the
latents only, and one trained after the autoencoder can only lower the bound, by a better $p(z)$.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.randomness import seed_of
from inkwash.core.shapes import Array, event_size, over
from inkwash.data.condition import ConditionKeywords
from inkwash.data.transform import Transform
from inkwash.likelihood.bound import Bound, bound
from inkwash.likelihood.flow import Divergence, flow_log_prob
from inkwash.likelihood.ode import Solver
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.importance import ImportanceEstimate
from inkwash.model.latent_model import LatentModel
from inkwash.model.options import WalkOptions
from inkwash.process.gaussian import require_gaussian
from inkwash.process.noise.grid import as_grid
from inkwash.sample.walk import State


class LatentDiffusion(LatentModel):
    """A latent diffusion model as a probability distribution over data of one shape.

    Args:
        autoencoder: its encoder and decoder.
        latents: the diffusion model of the latents, over their shape and without a transform; its condition is that of
            the model.
        shape: shape of one example in model units.
        transform: takes data units to model units and back. None: the two are the same.

    Raises:
        ConfigError: a decoder whose values are not those of the transform; latents of another shape, with a transform,
            or with a process that is not Gaussian.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        latents: Diffusion,
        shape: tuple[int, ...],
        transform: Transform | None = None,
    ) -> None:
        require_gaussian(latents.process, "latents")
        if latents.shape != autoencoder.latent or latents.transform is not None:
            raise ConfigError("latents", f"shape {latents.shape}", f"{autoencoder.latent}, without a transform")
        super().__init__(autoencoder, shape, latents, transform, latents.condition)
        self.steps = latents.steps

    def with_options(self, *args: Any, **options: Any) -> LatentDiffusion:
        """The same model with other options of the walk of its latents; see `Diffusion.with_options`."""
        return LatentDiffusion(self.autoencoder, self.latents.with_options(**options), self.shape, self.transform)

    def walks(
        self, n: int, *, first: int = 0, seed: int | None = None, mean: bool = False, **options: Unpack[WalkOptions]
    ) -> list[Iterator[State]]:
        """The walks of the latents. Their last states hold examples, model units, and all before them latents, which
        `noisy_to_data` shows."""
        seed = seed_of(seed)
        return self.ended(self.latents.walks(n, first=first, seed=seed, **options), n, first, seed, mean)

    def noisy_to_data(self, x_t: Tensor, t: float) -> Array:
        """The mean of p(x | z) for noisy latents at time `t`, scaled as clean ones."""
        process = require_gaussian(self.latents.process, "latents")
        return self.units.to_unrounded(self.decoded(x_t / over(process.scale(t), x_t)))

    @torch.no_grad()
    def bound(
        self,
        x: Any,
        *,
        steps: float | None = None,
        times: Tensor | None = None,
        terms: int | None = None,
        seed: int = 0,
        draws: int = 1,
        **options: Unpack[ConditionKeywords],
    ) -> Bound:
        """The variational bound on -log p(x), or on -log p(x | label, given), nats per example, float64.

        `reconstruction` is E[-log p(x | z)], `prior` and `diffusion` bound the negative log-density of the latents, and
        `entropy` is minus that of q(z | x). The last stretch of `diffusion` is the decoder of the latents, at their
        first time.

        Args:
            x: data units, `(B, …)`.
            steps: of the latents' grid, as of `Diffusion.bound`; `math.inf` is continuous time.
            times: the grid itself, in place of `steps`.
            terms: how many diffusion terms to evaluate per example and draw; all by default.
            seed: of the draws of z and of the noise.
            draws: how many draws of z to average over, per example.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: `x` is not of the model's shape, an entry is missing, or entries are not on the lattice.
            ConfigError: a bad option, or networks whose outputs do not fit `x`.
        """
        model_x, continuous = self._complete(x), steps == math.inf
        codes = self.codes(model_x, seed, draws)
        grid = as_grid(None if continuous and times is None else steps, times, self.steps)
        condition = self._repeated(len(model_x), draws, **options)
        found = bound(self.latents.denoiser, codes.rows, grid, None, terms, seed, continuous, condition)
        prior, reconstruction, each = map(codes.mean, (found.prior, found.reconstruction, found.per_time))
        per_time = torch.cat([each, reconstruction[:, None]], 1)
        entropy = codes.encoding.entropy()
        surprise = codes.log_proposal.mean(0) + entropy  # 0 on average
        return Bound(
            prior=prior,
            diffusion=per_time.sum(1),
            reconstruction=surprise - codes.log_likelihood.mean(0),
            entropy=-entropy,
            per_time=per_time,
            time_edges=torch.cat([found.time_edges, torch.zeros(1, dtype=torch.float64)]),
            dims=event_size(self.shape),
            levels=self._levels,
            lower=torch.full_like(prior, torch.nan),
            prior_log_prob=torch.full_like(prior, torch.nan),
        ).with_log_det(self.units.log_det(model_x))

    @torch.no_grad()
    def log_prob(
        self,
        x: Any,
        *,
        seed: int = 0,
        draws: int = 10,
        divergence: Divergence = "auto",
        probes: int | None = None,
        solver: Solver | None = None,
        **options: Unpack[ConditionKeywords],
    ) -> ImportanceEstimate:
        """Estimate log p(x), or log p(x | label, given), by importance sampling from the encoder.

        The density of the latents is that of their probability-flow ODE. It is exact for latents of up to 64 entries;
        for larger ones it is estimated, and the weights have noise of their own. Samples of another sampler than an ODE
        solver have a slightly different distribution, which `bound` bounds.

        Args:
            x: data units, `(B, …)`.
            seed: of the draws of z, which are those of `bound`, and of the signs of the divergence.
            draws: how many draws of z per example; each takes a walk along the flow.
            divergence: of `Diffusion.log_prob`.
            probes: of `Diffusion.log_prob`.
            solver: of `Diffusion.log_prob`.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: as `bound`.
            ConfigError: a bad option, or a tolerance that is not reached.
        """
        model_x = self._complete(x)
        codes = self.codes(model_x, seed, draws)
        condition = self._repeated(len(model_x), draws, **options)
        density = partial(flow_log_prob, divergence=divergence, probes=probes, solver=solver, seed=seed)
        found = density(self.latents.denoiser, codes.rows, condition=condition).value
        log_weights = codes.log_likelihood + found.reshape(-1, draws).T - codes.log_proposal
        return ImportanceEstimate(log_weights + self.units.log_det(model_x))

    def _repeated(self, count: int, draws: int, **options: Unpack[ConditionKeywords]) -> dict[str, Tensor]:
        """What the denoiser of the latents takes as a condition, for each of the draws of each of `count` examples."""
        inputs = self.condition.inputs(count, **options)
        return {name: value.repeat_interleave(draws, 0) for name, value in inputs.items()}
