"""Linear Gaussian models with a latent, whose density, posterior and exact encoder are known."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from oracles import F64, GaussianData, Vanishing, cubature, exact_denoiser, noise_from, tensor
from torch import Tensor
from torch.distributions import MultivariateNormal

import inkwash as iw
from inkwash.model import Autoencoder, LatentDiffusion, SharedNoise

VANISHING = Vanishing()


class LinearLatents:
    """x = W z + b + noise of variance `noise_var`, with z from `latents`; p(z | x) has a diagonal covariance, so that
    an encoder can be exact."""

    def __init__(self, latents: GaussianData, weight: Tensor, mean: Sequence[float], noise_var: float) -> None:
        self.latents, self.weight, self.mean, self.noise_var = latents, weight, tensor(mean), noise_var
        self.size = len(weight)

    @property
    def law(self) -> MultivariateNormal:
        """Of x."""
        cov = self.weight @ self.latents.cov @ self.weight.T + self.noise_var * torch.eye(self.size, dtype=F64)
        return MultivariateNormal(self.weight @ self.latents.mean + self.mean, cov)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `(B, latent)` and covariance of z given x, from the joint law of both."""
        cross = self.latents.cov @ self.weight.T
        gain = torch.linalg.solve(self.law.covariance_matrix, cross.T).T
        return self.latents.mean + (x - self.law.mean) @ gain.T, self.latents.cov - gain @ cross.T

    def autoencoder(self, shift: Any = 0.0, spread: float = 1.0, scale: Any = 1.0) -> Autoencoder:
        """The exact encoder, moved by `shift` and with its variance times `spread`, and the decoder. Both networks use
        z times `scale`."""
        scale = torch.as_tensor(scale, dtype=F64)

        def encode(x: Tensor) -> Tensor:
            mean, cov = self.posterior(x.double())
            log_var = (spread * cov.diagonal() * scale**2).log().expand_as(mean)
            return torch.cat([scale * (mean + shift), log_var], 1)

        def decode(z: Tensor) -> Tensor:
            return (z.double() / scale) @ self.weight.T + self.mean

        return Autoencoder(encode, decode, (self.latents.size,), SharedNoise(self.noise_var))

    def model(self, transform: Any = None, variance: str = "large", steps: int = 200, **wrong: Any) -> LatentDiffusion:
        """With the exact denoiser of the latents."""
        denoiser = exact_denoiser(self.latents, VANISHING, variance)
        latents = iw.Diffusion(denoiser, (self.latents.size,), steps=steps, dtype=F64)
        return LatentDiffusion(self.autoencoder(**wrong), latents, (self.size,), transform)


def with_diagonal_posterior() -> LinearLatents:
    """Correlated latents in the plane and three entries: W^T W / noise_var + cov^-1 is diagonal."""
    latents, noise_var = GaussianData([0.5, -1.2], [[1.4, 0.5], [0.5, 0.7]]), 0.3
    inner = noise_var * (torch.diag(tensor([3.0, 5.0])) - torch.linalg.inv(latents.cov))
    columns = tensor([[0.6, 0.0], [0.0, 1.0], [-0.8, 0.0]])  # orthonormal
    return LinearLatents(latents, columns @ torch.linalg.cholesky(inner).T, [0.4, -2.0, 1.0], noise_var)


def noise_of_both(size: int = 2) -> AbstractContextManager[None]:
    """The encoder and the diffusion model get noise such that the mean over `4 size` rows is that over all noise, for
    whatever is quadratic in both."""
    first, later = cubature(size)
    turns = [first]
    return noise_from(lambda shape: _padded(turns.pop() if turns else later, shape[0]))


def _padded(noise: Tensor, rows: int) -> Tensor:
    return noise[torch.arange(rows).clamp(max=len(noise) - 1)]
