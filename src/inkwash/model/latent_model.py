r"""What a VAE and a latent diffusion model share: $p(x) = \int p(z)\,p(x \mid z)\,dz$, with an encoder $q(z \mid x)$
that finds the z that matter."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, DataError, require_integer
from inkwash.core.randomness import Purpose, Slots, generator, slots_of
from inkwash.core.shapes import as_batch
from inkwash.data.condition import ConditionSpec
from inkwash.data.transform import Transform
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.model import Model
from inkwash.model.units import Units
from inkwash.process.distributions import Lattice, Normal, standard_normal

Proposal = Literal["encoder", "prior"]
_OFF = 1e-3


@dataclass(frozen=True)
class ImportanceEstimate:
    r"""An estimate of log p(x) from K draws of z: $\log\frac1K\sum_k w_k$ with $w = p(z)\,p(x \mid z)/r(z)$ for z drawn
    from a proposal r (Burda et al. 2016, eq. 8).

    Args:
        log_weights: $\log w_k$, `(K, B)`, float64.
    """

    log_weights: Tensor

    @property
    def value(self) -> Tensor:
        """The estimate, nats per example, `(B,)`. On average it is too low, by about `std_error**2 / 2`."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    @property
    def std_error(self) -> Tensor:
        """Standard error of `value` to first order, `(B,)`: that of the mean weight, over the mean; NaN for one draw.

        Do not trust it where `effective_draws` is small: the draws that matter may be missing.
        """
        draws = len(self.log_weights)
        spread = ((self._relative() - 1) ** 2).sum(0) / (draws - 1)
        return (spread / draws).sqrt()

    @property
    def effective_draws(self) -> Tensor:
        r"""$(\sum_k w_k)^2/\sum_k w_k^2$, `(B,)`: K for equal weights, and 1 where one draw outweighs all others."""
        return len(self.log_weights) / (self._relative() ** 2).mean(0)

    def _relative(self) -> Tensor:
        """Weights over their mean, `(K, B)`."""
        return (self.log_weights - self.value).exp()


@dataclass(frozen=True)
class Codes:
    """Draws of the latents of some examples.

    Args:
        z: `(K, B, *latent)`, float64.
        log_proposal: the log-density that each was drawn with, `(K, B)`.
        log_likelihood: log p(x | z), model units, `(K, B)`.
        entropy: that of the encoder, `(B,)`.
    """

    z: Tensor
    log_proposal: Tensor
    log_likelihood: Tensor
    entropy: Tensor


class LatentModel(Model, ABC):
    """A model with a latent.

    Args:
        autoencoder: its encoder and decoder.
        shape: shape of one example in model units.
        latents: the distribution of the latents.
        transform: takes data units to model units and back; None where they are the same.

    Raises:
        ConfigError: a decoder whose values are not those of the transform.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        shape: tuple[int, ...],
        latents: Diffusion,
        transform: Transform | None = None,
        condition: ConditionSpec | None = None,
    ) -> None:
        values = None if transform is None else transform.lattice
        if isinstance(values, Lattice) and values != autoencoder.lattice:
            raise ConfigError("autoencoder", autoencoder.lattice, f"a decoder of {values}")
        self.autoencoder = autoencoder.eval()
        self.shape, self.transform, self.latents = tuple(shape), transform, latents
        self.condition = condition or ConditionSpec()
        like = autoencoder.like
        self.device, self.dtype = like.device, like.dtype
        self.units = Units(self.shape, transform, self.condition, None, self.device, self.dtype)

    @torch.no_grad()
    def encode(self, x: Any, *, seed: int | None = None) -> Tensor:
        """The mean of q(z | x), or with a seed a draw of it, `(B, *latent)`, float64.

        Args:
            x: data units, `(B, …)`.
            seed: of the draws; None takes the mean.

        Raises:
            DataError: `x` is not of the model's shape, or an entry is missing.
        """
        x, codes = self._complete(x), []
        for rows, random in slots_of(x, seed or 0, Purpose.ENCODE):
            law = self.autoencoder.encoding(x[rows])
            codes.append(law.mean if seed is None else law.draw(random))
        return torch.cat(codes)[: len(x)]

    @torch.no_grad()
    def decode(self, z: Tensor, *, seed: int | None = None) -> Any:
        """The mean of p(x | z), or with a seed a draw of it, data units, as `sample`; levels are the nearest ones.

        Args:
            z: latents, `(B, *latent)`.
            seed: of the draws; None takes the mean.

        Raises:
            DataError: `z` has another shape.
        """
        return self.to_data(self.decoded(self.latents.units.shaped("z", z), seed=seed))

    @torch.no_grad()
    def decoded(self, z: Tensor, *, first: int = 0, seed: int | None = None) -> Tensor:
        """As `decode`, but in model units; z are those of the samples `first`, `first` + 1, … of the seed."""
        found = []
        for slot in Slots(self.shape, self.device).of(len(z), first):
            law = self.autoencoder.decoding(z[slot.places.to(z.device)].to(self.dtype))
            x = law.mean if seed is None else law.draw(generator(seed, Purpose.DECODE, slot.number))
            found.append(x[slot.own])
        return torch.cat(found)

    def interpolate(self, a: Any, b: Any, n: int, **options: Any) -> Any:
        """Decode `n` latents that lead from that of `a` to that of `b`, as `self.latents.interpolate` makes them.

        The ends are what the decoder makes of the latents of a and b, so they resemble a and b but are not equal to
        them.

        Args:
            a: one example in data units.
            b: another.
            n: how many, including both ends; at least 2.
            **options: of `Diffusion.interpolate`.
        """
        ends = torch.cat([self.encode(as_batch(x)) for x in (a, b)])
        return self.decode(self._between(ends[0], ends[1], n, **options))

    @abstractmethod
    def _between(self, a: Tensor, b: Tensor, n: int, **options: Any) -> Tensor:
        """`n` latents from latent a to latent b."""

    @abstractmethod
    def prior(self, n: int) -> Normal:
        """The law that proposes latents without an encoder, for `n` examples, float64."""

    def codes(self, x: Tensor, seed: int, draws: int, proposal: Proposal = "encoder") -> Codes:
        """Draw latents of `x`, model units, `draws` times each; each slot of examples has noise of its own.

        Raises:
            ConfigError: `draws` below 1, an unknown `proposal`, or networks whose outputs do not fit `x`.
        """
        require_integer("draws", draws)
        if proposal not in get_args(Proposal):
            raise ConfigError("proposal", repr(proposal), "one of " + ", ".join(get_args(Proposal)))
        parts = [
            self._slot_codes(x[rows], random, draws, proposal) for rows, random in slots_of(x, seed, Purpose.ENCODE)
        ]
        z, log_proposal, log_likelihood, entropy = zip(*parts, strict=True)
        every = [torch.cat(each, 1)[:, : len(x)] for each in (z, log_proposal, log_likelihood)]
        return Codes(every[0], every[1], every[2], torch.cat(entropy)[: len(x)])

    @torch.no_grad()
    def _slot_codes(
        self, x: Tensor, random: torch.Generator, draws: int, proposal: Proposal
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        encoding = self.autoencoder.encoding(x)
        law = encoding if proposal == "encoder" else self.prior(len(x))
        noise = (standard_normal((len(x), *self.autoencoder.latent), random, like=x) for _ in range(draws))
        z = torch.stack([law.mean + law.std * each for each in noise])
        log_proposal = torch.stack([law.log_prob(each) for each in z])
        log_likelihood = torch.stack([self.autoencoder.log_likelihood(x, each) for each in z])
        return z, log_proposal, log_likelihood, encoding.entropy()

    def _complete(self, x: Any) -> Tensor:
        """Complete examples in model units, float64, on the model's device.

        Raises:
            DataError: another shape, a missing entry, or entries that are not on the lattice.
        """
        model_x, lattice = self.units.complete(x).double(), self.autoencoder.lattice
        if isinstance(lattice, Lattice):
            off = float((lattice.low + lattice.index(model_x) * lattice.spacing - model_x).abs().max())
            if off > _OFF * lattice.spacing:
                raise DataError("x", f"a value {off:g} off the lattice", f"values of {lattice}")
        return model_x

    @property
    def _levels(self) -> int | None:
        return None if self.autoencoder.lattice is None else self.autoencoder.lattice.levels
