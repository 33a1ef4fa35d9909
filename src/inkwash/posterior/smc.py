r"""Twisted sequential Monte Carlo (Wu et al. 2023): samples of a product, exact in the limit of many particles.

A population of particles walks back together. Its target at time t is $p(x_t)\,\psi_t(x_t)$, with a twist $\psi_t$ that
approximates $\mathbb E[r(x) \mid x_t]$ from the denoiser's estimate. A particle moves by the reverse kernel of the
guided estimate and gets the weight

$$
w_s = \frac{p(x_s \mid x_t)}{\tilde p(x_s \mid x_t)}\,\frac{\psi_s(x_s)}{\psi_t(x_t)} .
$$

Any positive twist is right in the limit; a good one wastes fewer particles. For real numbers it is PiGDM's, and the
last weight is that at the first time of the grid, where the estimate is nearly x. For bits it is the product
of the means of each bit's factor under the belief, and the last weight is r(x) itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError, require_integer
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.spikes import Spiked
from inkwash.denoise.wrap import prediction_of
from inkwash.posterior.entrywise import Tilted, beyond, log_mass, tilt
from inkwash.posterior.evidence import Evidence
from inkwash.posterior.guidance import Guided, PiGDM, log_twist
from inkwash.posterior.method import Method, require_ancestral
from inkwash.process.bernoulli import Bernoulli
from inkwash.process.gaussian import Gaussian
from inkwash.process.process import Process, Scheduled
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import State, Walker


@dataclass(frozen=True)
class SMC(Method):
    """Twisted sequential Monte Carlo; exact in the limit of many particles and steps. See `inkwash.posterior.smc`.

    The samples of one slot (`inkwash.core.randomness.Slots`) come from one population and are dependent: the fewer
    particles are effective, the more alike they are. `Product.population` reports that number.

    Args:
        particles: how many there are for each sample of a slot.
        threshold: the population is resampled where its effective size falls below this share.

    Raises:
        ConfigError: `particles` below 1, or a threshold outside (0, 1].
    """

    side_by_side: ClassVar[bool] = True
    selects: ClassVar[bool] = True
    takes_regions: ClassVar[bool] = True
    particles: int = 4
    threshold: float = 0.5

    def __post_init__(self) -> None:
        require_integer("method.particles", self.particles)
        if not 0 < self.threshold <= 1:
            raise ConfigError("method.threshold", self.threshold, "a number above 0 and up to 1")

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Particles:
        require_ancestral(self, sampler)
        return Particles(denoiser.process, _twist_of(denoiser, evidence), self, evidence.groups)


@dataclass(frozen=True)
class View:
    """The belief at $(x_t, t)$.

    Args:
        plain: the estimate of the model.
        guided: the estimate under the product.
        log_twist: `(P,)`, float64.
    """

    plain: Any
    guided: Any
    log_twist: Tensor

    def rows(self, index: Tensor) -> View:
        """The belief of some of the particles."""
        return View(self.plain.rows(index), self.guided.rows(index), self.log_twist[index])


class Twist(ABC):
    """Guides the particles of a process, and weighs them."""

    @abstractmethod
    def look(self, x_t: Tensor, t: Tensor) -> View:
        """The belief at `x_t` `(P, *shape)`."""

    @abstractmethod
    def end(self, view: View, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x `(P, *shape)` from the first time t of the grid, and the gain in log-weight `(P,)`."""


class RealTwist(Twist):
    """The twist of a Gaussian process."""

    def __init__(self, denoiser: AnyDenoiser, evidence: Evidence) -> None:
        self.guided = Guided(denoiser, evidence, PiGDM())

    def look(self, x_t: Tensor, t: Tensor) -> View:
        plain, guided, local = self.guided.look(x_t, t)
        return View(plain, guided, log_twist(local.spread, self.guided.evidence, local.x).double())

    def end(self, view: View, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return view.guided.x, torch.zeros_like(view.log_twist)


class BitTwist(Twist):
    """The twist of a Bernoulli process."""

    def __init__(self, denoiser: AnyDenoiser, evidence: Evidence) -> None:
        self.evidence, self.tilted = evidence, Tilted(denoiser, tilt(evidence))

    def look(self, x_t: Tensor, t: Tensor) -> View:
        plain = self.tilted.denoiser(x_t, t)
        return View(plain, self.tilted.of(plain), log_mass(plain, self.tilted.h))

    def end(self, view: View, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A sample of the tilted belief. Its probability over the model's is exp(h x) over the twist; the rest of r is
        the gain."""
        zero = torch.zeros_like(t)
        x = self.tilted.process.reverse(view.guided.x_t, view.guided, zero, t).draw(generator)
        return x, beyond(self.evidence, self.tilted.h, x)


class KnownTwist(Twist):
    """The twist of known entries and of a region, for any process: known entries move by the posterior of their values,
    others by the belief given the region, and the twist is the probability of both under the belief, where numbers have
    the variance of PiGDM."""

    def __init__(self, denoiser: AnyDenoiser, evidence: Evidence) -> None:
        if evidence.measured or evidence.potentials:
            raise ConfigError(
                "method SMC", "other factors than known entries", "only Observed and Where, for this process"
            )
        if not isinstance(denoiser.process, Scheduled):
            raise ConfigError("method SMC", f"a {type(denoiser.process).__name__} process", "a process with noise")
        self.denoiser, self.evidence = denoiser, evidence

    def look(self, x_t: Tensor, t: Tensor) -> View:
        plain, clean = self.denoiser(x_t, t), self.evidence.with_known(x_t)
        known = self.evidence.known_of(x_t)
        twist, guided = plain.law.log_prob(clean.double(), known).double(), plain
        if self.evidence.region is not None:
            guided, log_mass = plain.within(self.evidence.region)
            twist = twist + log_mass
        return View(plain, guided.with_known(clean, known), twist)

    def end(self, view: View, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A sample of the guided belief, whose probability over the model's is one over the twist."""
        process, x_t = self.denoiser.process, view.guided.x_t
        return process.reverse(x_t, view.guided, torch.zeros_like(t), t).last_draw(generator), 0 * view.log_twist


TWISTS: dict[type[Process], Callable[[AnyDenoiser, Evidence], Twist]] = {Gaussian: RealTwist, Bernoulli: BitTwist}
"""The twist for the factors of one example, by process; any other process has `KnownTwist`."""


def _twist_of(denoiser: AnyDenoiser, evidence: Evidence) -> Twist:
    """The twist for evidence about one example, or about several. Where numbers recur, PiGDM's normal law would give
    those outside of a region some mass."""
    others = bool(evidence.measured or evidence.potentials)
    if isinstance(prediction_of(denoiser), Spiked) and (evidence.region is not None or not others):
        return KnownTwist(denoiser, evidence)
    kind = TWISTS.get(type(denoiser.process), KnownTwist) if evidence.groups == 1 else KnownTwist
    return kind(denoiser, evidence)


class Weighed(NamedTuple):
    """A state of a walk of particles, and how far to trust it.

    Attributes:
        state: rows drawn from the particles by weight.
        effective: the share of particles that are effective, a mean over examples; 1 at best.
    """

    state: State
    effective: float


@dataclass(frozen=True)
class Particles(Walker):
    """Populations that walk together, one for each example.

    Args:
        process: the process of the model.
        twist: moves particles, and weighs them.
        options: how many particles there are, and when a population is renewed.
        groups: how many examples there are; row k belongs to example k modulo this number.
    """

    process: Process
    twist: Twist
    options: SMC
    groups: int = 1

    def walk(
        self, x_t: Tensor, times: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> Iterator[State]:
        for state, _ in self.weighed_walk(x_t, times, generator, rows):
            yield state

    @torch.no_grad()
    def weighed_walk(
        self, x_t: Tensor, times: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> Iterator[Weighed]:
        """As `walk`, with the share of particles that are effective after each step. The walk starts at time 1."""
        view = self.twist.look(self._population(x_t, generator), times[0])
        log_weight = view.log_twist
        for t, s in pairwise(times):
            log_weight, kept = self._renewed(log_weight, generator)
            view = view if kept is None else view.rows(kept)
            x, gain, view = self._moved(view, t, s, generator)
            log_weight = log_weight + gain
            effective = float(effective_share(log_weight, self.groups).mean())
            x_s = x[self._drawn(log_weight, len(x_t), generator)]
            yield Weighed(State(float(s), x_s[rows], None), effective)

    def _population(self, x_1: Tensor, generator: torch.Generator) -> Tensor:
        """The particles at time 1: the rows of `x_1`, and more from the prior."""
        more = ((self.options.particles - 1) * len(x_1), *x_1.shape[1:])
        return torch.cat([x_1, self.process.prior(more, like=x_1).draw(generator)])

    def _moved(self, view: View, t: Tensor, s: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, View]:
        """Particles after the step from t to s, their gain in log-weight, and what is believed there."""
        if s == 0:
            return *self.twist.end(view, t, generator), view
        kernel, model = (self.process.reverse(e.x_t, e, s, t) for e in (view.guided, view.plain))
        x = kernel.draw(generator)
        seen = self.twist.look(x, s)
        return x, (model.log_prob(x) - kernel.log_prob(x)).double() + seen.log_twist - view.log_twist, seen

    def _renewed(self, log_weight: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Log-weights after worn populations were resampled, and the particles that remain; None if none was worn."""
        worn = effective_share(log_weight, self.groups) < self.options.threshold
        if not bool(worn.any()):
            return log_weight, None
        every, drawn = torch.arange(len(log_weight)), self._drawn(log_weight, len(log_weight), generator)
        renewed = worn.repeat(len(log_weight) // self.groups)
        return log_weight.masked_fill(renewed, 0.0), torch.where(renewed, drawn, every.to(drawn))

    def _drawn(self, log_weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Places of `count` rows sampled by weight, each among those of its example."""
        each = [_drawn(column, count // self.groups, generator) for column in log_weight.reshape(-1, self.groups).T]
        return (torch.stack(each, 1) * self.groups + torch.arange(self.groups, device=log_weight.device)).flatten()


def effective_share(log_weight: Tensor, groups: int = 1) -> Tensor:
    r"""$(\sum w)^2/(P\sum w^2)$ for log-weights `(P * groups,)` (Kong et al. 1994), `(groups,)`: 1 if all weights are
    equal, 1/P if one particle has all the weight.

    Raises:
        NonFiniteError: no particle of an example has any weight.
    """
    each = log_weight.reshape(-1, groups)
    if not bool(each.max(0).values.isfinite().all()):
        raise NonFiniteError("smc", "weights that are all zero, or NaN", "factors that the model allows")
    return 1 / (len(each) * each.softmax(0).square().sum(0))


def _drawn(log_weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices by systematic resampling, in random order."""
    edges = log_weight.softmax(0).cumsum(0).cpu()
    places = (torch.arange(count) + torch.rand((), generator=generator, dtype=torch.float64)) / count
    index = torch.searchsorted(edges, places * edges[-1]).clamp(max=len(edges) - 1)
    return index[torch.randperm(count, generator=generator)].to(log_weight.device)
