r"""What a VAE and a latent diffusion model share: $p(x) = \int p(z)\,p(x \mid z)\,dz$, with an encoder $q(z \mid x)$
that finds the z that matter."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Unpack

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, DataError, require_integer
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, Slots, generator, seed_of, slots_of
from inkwash.core.shapes import as_batch
from inkwash.data.condition import ConditionSpec
from inkwash.data.transform import Transform
from inkwash.model.autoencoder import Autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.importance import Codes
from inkwash.model.model import Model
from inkwash.model.options import ProductOptions
from inkwash.model.product import Factor, Population, Product, gathered, with_observed
from inkwash.model.units import Units
from inkwash.posterior.evidence import Evidence, Potential, nothing
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.process.distributions import Bins, Lattice, Normal, standard_normal
from inkwash.sample.walk import State, StepOptions, Walkable, end_of

_OFF = 1e-3
_LATENTS, _SCORES = 4, 64


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
        if transform is not None and not _alike(transform.lattice, autoencoder.lattice):
            need = f"a decoder of {transform.lattice or 'real numbers'}"
            raise ConfigError("autoencoder", autoencoder.lattice or "real numbers", need)
        self.autoencoder = autoencoder.eval()
        self.shape, self.transform, self.latents = tuple(shape), transform, latents
        self.condition = condition or ConditionSpec()
        like = autoencoder.like
        self.device, self.dtype = like.device, like.dtype
        self.units = Units(self.shape, transform, self.condition, None, self.device, self.dtype)

    def sample(self, n: int, *, first: int = 0, seed: int | None = None, mean: bool = False, **options: Any) -> Any:
        """Sample `n` examples: z from its distribution, then x from p(x | z).

        Sample i of a seed is the same, bit for bit, whatever `n` and `first` are.

        Args:
            n: how many, at least 1.
            first: number of the first one.
            seed: any integer >= 0; None takes one from torch's global generator.
            mean: whether to take the mean of p(x | z) in place of a draw. It looks smoother, and is no sample.
            **options: `sampler`, `steps`, `times`, `grid`, `label`, `given` and `guidance`, as of `Diffusion.sample`; a
                `VAE` refuses them.

        Returns:
            An array `(n, …)` in data units, in the dtype of the data; without a transform a tensor `(n, *shape)`.

        Raises:
            ConfigError: a bad option.
        """
        walks = self.walks(n, first=first, seed=seed, mean=mean, **options)
        return self.to_data(torch.cat([end_of(each).x_s for each in tracked(walks)]))

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
            law = self.autoencoder.decoding(z[slot.places.to(z.device)])
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
        return self.decode(self.latents.interpolate(ends[0], ends[1], n, **options))

    def codes(self, x: Tensor, seed: int, draws: int, proposal: Normal | None = None) -> Codes:
        """Draw latents of `x`, model units, `draws` times each; each slot of examples has noise of its own.

        Args:
            x: examples, `(B, *shape)`, float64.
            seed: of the draws.
            draws: how many.
            proposal: the law of one latent to draw from, `(1, *latent)`; the encoder's by default.

        Raises:
            ConfigError: `draws` below 1, or networks whose outputs do not fit `x`.
        """
        require_integer("draws", draws)
        slots = slots_of(x, seed, Purpose.ENCODE)
        return Codes.joined([self._slot_codes(x[rows], random, draws, proposal) for rows, random in slots], len(x))

    @torch.no_grad()
    def _slot_codes(self, x: Tensor, random: torch.Generator, draws: int, proposal: Normal | None) -> Codes:
        encoding = self.autoencoder.encoding(x)
        law = proposal or encoding
        noise = (standard_normal((len(x), *self.autoencoder.latent), random, like=x) for _ in range(draws))
        z = torch.stack([law.mean + law.std * each for each in noise])
        log_proposal = torch.stack([law.log_prob(each) for each in z])
        log_likelihood = torch.stack([self.autoencoder.log_likelihood(x, each) for each in z])
        return Codes(z, log_proposal, log_likelihood, encoding)

    def __mul__(self, factor: Factor) -> LatentProduct:
        return LatentProduct(self, factor.parts) if isinstance(factor, Factor) else NotImplemented

    __rmul__ = __mul__

    def ended(self, walks: list[Iterator[State]], n: int, first: int, seed: int, mean: bool) -> list[Iterator[State]]:
        """Walks of the latents of the samples `first` to `first + n - 1` of a seed, with ends that are decoded."""
        start, found = first, []
        for slot, walk in zip(self.latents.slots(n, first), walks, strict=True):
            found.append(self._ended(walk, start, seed, mean))
            start += slot.own.stop - slot.own.start
        return found

    def _ended(self, walk: Iterator[State], first: int, seed: int, mean: bool) -> Iterator[State]:
        for state in walk:
            yield state if state.s > 0 else self._end(state.x_s, first, seed, mean)

    def _end(self, z: Tensor, first: int, seed: int, mean: bool) -> State:
        middle = self.decoded(z, first=first)
        return State(0.0, middle if mean else self.decoded(z, first=first, seed=seed), middle)

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


def _alike(values: Lattice | Bins | None, others: Lattice | Bins | None) -> bool:
    """Whether the values of data are those of a decoder; bins differ in their spacing only."""
    return values == others if isinstance(values, Lattice) else type(values) is type(others)


@dataclass(frozen=True, eq=False)
class _Explains(Factor):
    r"""A function of the latent, $\log p(\text{known entries} \mid z)$, and about its largest curvature."""

    log_prob: Potential
    curvature: float

    def evidence(self, units: Units) -> Evidence:
        nothing_known = nothing(units.shape, units.device)
        return replace(nothing_known, potentials=(self.log_prob,), curvature=self.curvature)


class LatentProduct(Walkable):
    r"""A model with a latent, times known entries of x and a condition: $\tilde p(x) \propto p(x)\,r(x)$.

    With entries $x_K$ known, $\tilde p(z) \propto p(z)\,p(x_K \mid z)$, where the second factor is in closed form: the
    entries of p(x | z) are independent. Latents are samples of the product of their diffusion model with this factor,
    whose curvature is that of the Fisher information. Given them, the other entries follow p(x | z), which is exact,
    and the known ones are what they are.

    Args:
        model: the model.
        factors: what multiplies it: `Observed`, and at most one `Condition`.

    Raises:
        ConfigError: another factor, one that does not fit the model, or two that contradict each other.
    """

    def __init__(self, model: LatentModel, factors: tuple[Factor, ...]) -> None:
        self.model, self.factors = model, factors
        self.evidence = gathered(model.units, factors)
        if self.evidence.measured or self.evidence.potentials or self.evidence.region:
            got = "a range or a set" if self.evidence.region else "a measurement or a classifier"
            raise ConfigError("factor", got, "Observed, Where of equalities or a Condition: this model has a latent")
        conditions = tuple(factor for factor in factors if factor.is_condition)
        known = () if self.evidence.is_empty else (_Explains(self._log_known, self._curvature()),)
        self.latents = Product(model.latents, (*known, *conditions))

    def __mul__(self, factor: Factor) -> LatentProduct:
        return (
            LatentProduct(self.model, (*self.factors, *factor.parts)) if isinstance(factor, Factor) else NotImplemented
        )

    __rmul__ = __mul__

    def sample(
        self, n: int, *, method: Method | None = None, mean: bool = False, **options: Unpack[ProductOptions]
    ) -> Any:
        """Sample `n` examples. Known entries are exactly what they are known to be, in data units.

        Sample i of a seed is the same, bit for bit, whatever `n` is.

        Args:
            n: how many, at least 1.
            method: how to sample latents: one of `inkwash.posterior`. By default `SMC()`, which is exact in the limit
                of many particles and steps.
            mean: whether to take the mean of p(x | z) for unknown entries in place of a draw.
            **options: `seed`, `first`, `sampler`, `steps`, `times` and `grid`, as of `Diffusion.sample`.

        Returns:
            As of the model's `sample`.

        Raises:
            ConfigError: a bad option, or one that the method cannot use.
        """
        walks = self.walks(n, method=method, mean=mean, **options)
        return self.to_data(torch.cat([end_of(each).x_s for each in tracked(walks)]))

    def walks(
        self,
        n: int,
        *,
        method: Method | None = None,
        first: int = 0,
        seed: int | None = None,
        mean: bool = False,
        **steps: Unpack[StepOptions],
    ) -> list[Iterator[State]]:
        """The walks of the latents, as of `LatentDiffusion.walks`; known entries are set at the end."""
        seed = seed_of(seed)
        walks = self.latents.walks(n, method=self._method(method), first=first, seed=seed, **steps)
        return [map(self._with_known, walk) for walk in self.model.ended(walks, n, first, seed, mean)]

    def population(self, n: int, *, method: SMC | None = None, seed: int | None = None, **options: Any) -> Population:
        """What `sample` gives with `method`, `SMC()` by default, and the share of particles that are effective."""
        seed = seed_of(seed)
        found = self.latents.population(n, method=method, seed=seed, **options)
        x = self.evidence.with_known(self.model.decoded(found.x, first=options.get("first", 0), seed=seed))
        return Population(self.to_data(x), found.effective)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units, known entries as they were given."""
        return with_observed(self.model.to_data(x), self.factors, self.model.units)

    def _method(self, method: Method | None) -> Method | None:
        """The method for latents; None where no entry is known."""
        return SMC() if method is None and not self.evidence.is_empty else method

    def _with_known(self, state: State) -> State:
        return state._replace(x_s=self.evidence.with_known(state.x_s)) if state.s == 0 else state

    def _log_known(self, z: Tensor) -> Tensor:
        """log p(known entries | z), nats, `(B,)`."""
        law, known = self.model.autoencoder.decoding(z), self.evidence.known
        values = self.evidence.values.to(z).expand(len(z), *known.shape)
        return law.log_prob(values, known.expand_as(values))

    def _curvature(self) -> float:
        """The largest eigenvalue of the Fisher information about z that known entries hold, a mean over latents of
        standard normal data; estimated from the scores of draws of the decoder."""
        return sum(self._information(seed) for seed in range(_LATENTS)) / _LATENTS

    def _information(self, seed: int) -> float:
        random, known = generator(seed, Purpose.DECODE), self.evidence.known
        one = standard_normal((1, *self.model.autoencoder.latent), random, like=self.model.latents.units.like)
        with torch.inference_mode(False), torch.enable_grad():
            z = one.expand(_SCORES, *one.shape[1:]).clone().requires_grad_()
            law = self.model.autoencoder.decoding(z)
            x = law.draw(random).detach()
            (scores,) = torch.autograd.grad(law.log_prob(x, known.expand(x.shape)).sum(), z)
        return float(torch.linalg.matrix_norm(scores.flatten(1).double(), 2) ** 2 / _SCORES)
