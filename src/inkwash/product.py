r"""Products: $\tilde p(x) \propto p(x)\,r_1(x)\,r_2(x)\cdots$, the distribution of a model given what is known, as a
distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import torch
from torch import Tensor

from inkwash.errors import ConfigError, require_kind
from inkwash.factor import Evidence, Factor, Observed, gathered
from inkwash.flow import LogProb
from inkwash.model import Diffusion
from inkwash.posterior import SMC, Method, default_method
from inkwash.posterior.smc import Walk
from inkwash.sample import Sampler
from inkwash.walk import State, Walkable, end_of


@dataclass(frozen=True)
class Population:
    """Draws by sequential Monte Carlo, and how far to trust them.

    Args:
        x: as of `Product.sample`.
        effective: share of particles that are effective after each step, 1 at best, `(slots, steps)`; each slot of
            draws has a population of its own.
    """

    x: Any
    effective: Tensor


class Product(Walkable):
    """A model multiplied by factors: `model * factor * factor`. The order makes no difference.

    Args:
        model: the model.
        factors: what multiplies it.

    Raises:
        ConfigError: a factor that does not fit the model, or two that contradict each other.
    """

    def __init__(self, model: Diffusion, factors: tuple[Factor, ...]) -> None:
        self.model = model
        self.factors = factors
        self.evidence: Evidence = gathered(model, factors)

    def __mul__(self, factor: Factor) -> Product:
        return Product(self.model, (*self.factors, *factor.parts)) if isinstance(factor, Factor) else NotImplemented

    __rmul__ = __mul__

    def sample(self, n: int, *, method: Method | None = None, **options: Any) -> Any:
        """Draw `n` examples. Known entries are exactly what they are known to be, in data units.

        Sample i of a seed is the same, bit for bit, whatever `n`.

        Args:
            n: how many, at least 1.
            method: one of `inkwash.posterior`. By default `MomentMatching()` for real numbers and `SMC()` for others.
            **options: `seed`, `first`, `sampler`, `steps`, `times` and `grid`, as of `Diffusion.sample`. A condition
                is a factor, `Told`.

        Returns:
            As `Diffusion.sample`.

        Raises:
            ConfigError: a bad option, or one that the method has no use for.
        """
        return self.to_data(torch.cat([end_of(each).x_s for each in self.walks(n, method=method, **options)]))

    def walks(
        self, n: int, *, method: Method | None = None, sampler: Sampler | None = None, **options: Any
    ) -> list[Iterator[State]]:
        guided, walk = self._composed(method, sampler, options)
        return [self._to_known(each) for each in guided.walks(n, sampler=walk, **options)]

    def _to_known(self, walk: Iterator[State]) -> Iterator[State]:
        for state in walk:
            yield state._replace(x_s=self.evidence.with_known(state.x_s)) if state.s == 0 else state

    def population(
        self, n: int, *, method: SMC | None = None, sampler: Sampler | None = None, **options: Any
    ) -> Population:
        """What `sample` draws with `method`, `SMC()` by default, and its effective sample size."""
        guided, walk = self._composed(method or SMC(), sampler, options)
        if not isinstance(walk, Walk):
            raise ConfigError("method", method, "an SMC")
        x = torch.cat([end_of(each).x_s for each in guided.walks(n, sampler=walk, **options)])
        return Population(self.to_data(self.evidence.with_known(x)), torch.tensor(walk.sizes, dtype=torch.float64))

    def unnormalised_log_prob(self, x: Any, **options: Any) -> LogProb:
        r"""$\log p(x) + \sum\log r(x)$, nats per example: the log-probability up to a constant that does not depend on
        x.

        It is minus infinity where x is not what is known. With `Observed` it is, up to that constant, the log-density
        of the other entries.

        Args:
            x: data units, `(B, …)`.
            **options: as of `Diffusion.log_prob`.

        Raises:
            ConfigError: a process of bits; a measurement without noise, or factors that are no functions of x.
        """
        if any(type(factor).wrap is not Factor.wrap for factor in self.factors):
            raise ConfigError("log_prob", "a factor that is no function of x", "the model's own, under that condition")
        result, model_x = self.model.log_prob(x, **options), self.model.to_model(x).double()
        matches = (model_x == self.evidence.values) | ~self.evidence.known
        gain = self.evidence.soft(model_x).masked_fill(~matches.flatten(1).all(1), -torch.inf)
        return replace(result, value=result.value + gain)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units, known entries as they were given."""
        data = self.model.to_data(x)
        for mask, values in self._observed:
            if isinstance(data, Tensor):
                data[:, torch.from_numpy(mask)] = torch.from_numpy(values[mask]).to(data)
            else:
                data[:, mask] = values[mask].astype(data.dtype)
        return data

    @cached_property
    def _observed(self) -> list[tuple[Any, Any]]:
        return [factor.in_data_units(self.model) for factor in self.factors if isinstance(factor, Observed)]

    def _composed(
        self, method: Method | None, sampler: Sampler | None, options: dict[str, Any]
    ) -> tuple[Diffusion, Sampler | None]:
        """The model with the denoiser of the product, and the sampler to walk with."""
        for name in ("label", "given", "guidance"):
            if name in options:
                raise ConfigError(name, options[name], "a factor in its place: model * Told(label, given, guidance)")
        if method is not None:
            require_kind("method", method, Method)
        model = self.model
        denoiser = reduce(lambda wrapped, factor: factor.wrap(wrapped, model), self.factors, model.denoiser)
        walk = sampler
        if self.evidence.linear is not None or self.evidence.potentials:
            method = method or default_method(model.process)
            denoiser, walk = method.compose(denoiser, self.evidence, sampler)
        elif method is not None:
            raise ConfigError("method", method, "none: these factors change the denoiser alone")
        return Diffusion(denoiser, model.shape, model.transform, model.steps, model.dtype), walk
