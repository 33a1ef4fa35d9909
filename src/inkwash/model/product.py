r"""`Product`, $\tilde p(x) \propto p(x)\,r_1(x)\,r_2(x)\cdots$: a model given what is known is a distribution too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, require_kind
from inkwash.core.progress import tracked
from inkwash.core.randomness import Slot, seed_of
from inkwash.core.shapes import Array
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.likelihood.flow import LogProb
from inkwash.model.diffusion import Diffusion
from inkwash.model.options import ProductOptions
from inkwash.model.units import Units
from inkwash.posterior.evidence import Evidence, nothing
from inkwash.posterior.method import Method
from inkwash.posterior.methods import default_method
from inkwash.posterior.smc import SMC, Particles
from inkwash.sample.walk import Plan, State, StepOptions, Stepwise, Walkable, Walker, end_of


class Factor:
    """A function r(x), or a condition, that multiplies a model: `model * factor`. Factors multiply one another too."""

    is_condition: ClassVar[bool] = False
    """Whether it is a condition of the model, of which a product has at most one."""

    @property
    def changes_belief(self) -> bool:
        """Whether it changes the belief of the denoiser, and is no function of x."""
        return type(self).wrap is not Factor.wrap

    @property
    def parts(self) -> tuple[Factor, ...]:
        """The factors of a product of factors; otherwise the factor itself."""
        return (self,)

    def wrap(self, denoiser: AnyDenoiser, units: Units) -> AnyDenoiser:
        """The model's denoiser under this factor; another denoiser only if the factor changes the belief."""
        return denoiser

    def evidence(self, units: Units) -> Evidence:
        """What the factor says about x, in the model's units."""
        return nothing(units.shape, units.device)

    def known(self, units: Units) -> tuple[Array, Array] | None:
        """Mask and values of the entries that the factor makes known, in data units; None if there are none."""
        return None

    def ends(self, units: Units) -> tuple[Array, Array] | None:
        """The smallest and the largest number that the factor allows for each entry, in data units; None if it allows
        any."""
        return None

    @overload
    def __mul__(self, other: Factor) -> Factor: ...

    @overload
    def __mul__(self, other: Diffusion) -> Product: ...

    def __mul__(self, other: Factor | Diffusion) -> Factor | Product:
        if isinstance(other, Diffusion):
            return Product(other, self.parts)
        return Factors((*self.parts, *other.parts)) if isinstance(other, Factor) else NotImplemented

    def __rmul__(self, model: Diffusion) -> Product:
        return Product(model, self.parts) if isinstance(model, Diffusion) else NotImplemented


class Factors(Factor):
    """A product of factors, none of them a product."""

    def __init__(self, parts: tuple[Factor, ...]) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return " * ".join(map(repr, self._parts))

    @property
    def parts(self) -> tuple[Factor, ...]:
        return self._parts


def gathered(units: Units, factors: Sequence[Factor]) -> Evidence:
    """What all factors together say about x.

    Raises:
        ConfigError: more than one `Condition`, or a factor that does not fit the model.
    """
    conditions = sum(factor.is_condition for factor in factors)
    if conditions > 1:
        raise ConfigError("condition", f"{conditions} conditions", "one at most")
    evidence = (factor.evidence(units) for factor in factors)
    return reduce(Evidence.__add__, evidence, nothing(units.shape, units.device))


def with_observed(data: Any, factors: Sequence[Factor], units: Units) -> Any:
    """Samples in data units, with the entries that factors make known as they were given, and without numbers that
    rounding took beyond an end."""
    for low, high in filter(None, (factor.ends(units) for factor in factors)):
        data = np.clip(data, low, high).astype(data.dtype)
    for mask, values in filter(None, (factor.known(units) for factor in factors)):
        if isinstance(data, Tensor):
            data[:, torch.from_numpy(mask)] = torch.from_numpy(values[mask]).to(data)
        else:
            data[:, mask] = values[mask].astype(data.dtype)
    return data


@short_repr
@dataclass(frozen=True)
class Population:
    """Samples by sequential Monte Carlo, and how far to trust them.

    Args:
        x: the samples, as of `Product.sample`.
        effective: share of particles that are effective after each step, 1 at best, `(slots, steps)`; each slot has a
            population of its own.
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
        self.evidence: Evidence = gathered(model.units, factors)

    def __repr__(self) -> str:
        return f"<Product of {self.model!r} and {', '.join(type(factor).__name__ for factor in self.factors)}>"

    def __mul__(self, factor: Factor) -> Product:
        return Product(self.model, (*self.factors, *factor.parts)) if isinstance(factor, Factor) else NotImplemented

    __rmul__ = __mul__

    def sample(self, n: int, *, method: Method | None = None, **options: Unpack[ProductOptions]) -> Any:
        """Sample `n` examples. Known entries are exactly what they are known to be, in data units.

        Sample i of a seed is the same, bit for bit, whatever `n` is.

        Args:
            n: how many, at least 1.
            method: one of `inkwash.posterior`. By default `MomentMatching()` for real numbers, and `SMC()` for others
                and for ranges.
            **options: `seed`, `first`, `sampler`, `steps`, `times` and `grid`, as of `Diffusion.sample`. A condition
                is a factor, `Condition`.

        Returns:
            As `Diffusion.sample`.

        Raises:
            ConfigError: a bad option, or one that the method cannot use.
        """
        ends = torch.cat([end_of(each).x_s for each in tracked(self.walks(n, method=method, **options))])
        return self.model.units.cut(self.to_data(ends))

    def walks(
        self,
        n: int,
        *,
        method: Method | None = None,
        first: int = 0,
        seed: int | None = None,
        **steps: Unpack[StepOptions],
    ) -> list[Iterator[State]]:
        (walker, plan), fixed_seed = self._composed(method, **steps), seed_of(seed)

        def walk_slot(slot: Slot) -> Iterator[State]:
            x_1, random = self._conditioned.start(slot, fixed_seed)
            for state in walker.walk(x_1, plan.times, random, slot.own):
                yield state._replace(x_s=self.evidence.settle(state.x_s)) if state.s == 0 else state

        return [walk_slot(slot) for slot in self._conditioned.slots(n, first)]

    def population(
        self,
        n: int,
        *,
        method: SMC | None = None,
        first: int = 0,
        seed: int | None = None,
        **steps: Unpack[StepOptions],
    ) -> Population:
        """What `sample` gives with `method`, `SMC()` by default, and the share of particles that are effective."""
        (walker, plan), seed = self._composed(method or SMC(), **steps), seed_of(seed)
        if not isinstance(walker, Particles):
            raise ConfigError("method", method, "an SMC")
        ends, effective = [], []
        for slot in self._conditioned.slots(n, first):
            x_1, random = self._conditioned.start(slot, seed)
            shares = []
            for weighed in walker.weighed_walk(x_1, plan.times, random, slot.own):
                shares.append(weighed.effective)
            ends.append(weighed.state.x_s)
            effective.append(shares)
        x = self.to_data(self.evidence.settle(torch.cat(ends)))
        return Population(x, torch.tensor(effective, dtype=torch.float64))

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
        if any(factor.changes_belief for factor in self.factors):
            raise ConfigError("log_prob", "a factor that is no function of x", "the model's own, under that condition")
        result, model_x = self.model.log_prob(x, **options), self.model.to_model(x).double()
        matches = ((model_x == self.evidence.values) | ~self.evidence.known).flatten(1).all(1)
        if self.evidence.region is not None:
            matches &= self.evidence.region.holds(model_x)
        gain = self.evidence.soft(model_x).masked_fill(~matches, -torch.inf)
        return replace(result, value=result.value + gain)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units, known entries as they were given."""
        return with_observed(self.model.to_data(x), self.factors, self.model.units)

    @cached_property
    def _conditioned(self) -> Diffusion:
        """The model under the factors that change its belief."""
        denoiser = self.model.denoiser
        for factor in self.factors:
            denoiser = factor.wrap(denoiser, self.model.units)
        return self.model.with_denoiser(denoiser)

    def _composed(self, method: Method | None, **steps: Unpack[StepOptions]) -> tuple[Walker, Plan]:
        """What walks to samples of the product, and its steps."""
        _require_no_condition(steps)
        if method is not None:
            require_kind("method", method, Method)
        model = self._conditioned
        plan = model.plan(**steps)
        if not self.evidence.is_empty:
            method = method or default_method(model.process, self.evidence.region)
            if self.evidence.region is not None and not method.takes_regions:
                raise ConfigError("method", method, "SMC, which takes ranges of numbers and sets of categories")
            return method.compose(model.denoiser, self.evidence, plan.sampler), plan
        if method is not None:
            raise ConfigError("method", method, "none: these factors only change the denoiser")
        return Stepwise(model.denoiser, plan.sampler), plan


def _require_no_condition(options: Mapping[str, Any]) -> None:
    for name in ("label", "given", "guidance"):
        if name in options:
            raise ConfigError(name, options[name], "a factor in its place: model * Condition(label, given, guidance)")
