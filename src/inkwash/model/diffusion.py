"""`Diffusion`: a process, a denoiser and a data transform, together a probability distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError, require_integer, require_kind
from inkwash.core.randomness import Purpose, Slot, Slots, generator, seed_of, slots_of
from inkwash.core.shapes import Array, as_batch, as_time, over
from inkwash.data.condition import ConditionKeywords, ConditionSpec, guided
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, parameters_of
from inkwash.denoise.wrap import under
from inkwash.likelihood.bound import Bound, bound
from inkwash.likelihood.flow import Dequantise, Divergence, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.likelihood.ode import Solver
from inkwash.model.interpolation import diffuse_alike, linear, spherical
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.model.units import Units, require_same_values
from inkwash.posterior.complete import complete
from inkwash.posterior.method import Method
from inkwash.posterior.methods import default_method
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.noise.grid import as_grid, grid_from, uniform_grid
from inkwash.sample.grids import Grid
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Plan, State, StepOptions, Stepwise, end_of, masked, planned


class Diffusion(Model):
    """A diffusion model as a probability distribution over data of one shape.

    Args:
        denoiser: network + process; a network that is a module is put in evaluation mode.
        shape: shape of one example in model units.
        transform: takes data units to model units and back. None: the two are the same, and data are
            continuous tensors.
        steps: steps of the model's own grid, used where neither `steps` nor `times` is given.
        dtype: of the noisy data while sampling; by default that of the network's parameters, or torch's default.
        condition: what the network takes beside noisy data and time; nothing by default.

    Raises:
        ConfigError: a transform to other values than those of a discrete process; classes with equal names.
    """

    def __init__(
        self,
        denoiser: AnyDenoiser,
        shape: tuple[int, ...],
        transform: Transform | None = None,
        steps: int = 1000,
        dtype: torch.dtype | None = None,
        condition: ConditionSpec | None = None,
    ) -> None:
        self.denoiser = denoiser.eval() if isinstance(denoiser, nn.Module) else denoiser
        self.process = denoiser.process
        if transform is not None:
            require_same_values(self.process, transform)
        self.shape = tuple(shape)
        self.transform = transform
        self.steps = steps
        self.condition = condition or ConditionSpec()
        self.condition.check()
        parameter = next(parameters_of(denoiser), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = dtype or (torch.get_default_dtype() if parameter is None else parameter.dtype)
        self.units = Units(self.shape, transform, self.condition, self.process.lattice, self.device, self.dtype)

    def with_denoiser(self, denoiser: AnyDenoiser) -> Diffusion:
        """The same model around another denoiser."""
        return Diffusion(denoiser, self.shape, self.transform, self.steps, self.dtype, self.condition)

    def sample(
        self,
        n: int,
        *,
        first: int = 0,
        seed: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        times: Tensor | None = None,
        grid: Grid | None = None,
        label: Any = None,
        given: Any = None,
        guidance: float = 1.0,
        present: Tensor | None = None,
    ) -> Any:
        """Sample `n` examples.

        Sample i of a seed is the same, bit for bit, whatever `n` and `first` are, and whatever the conditions of the
        others. Slots are sampled one after another, so only the result grows with `n`.

        Args:
            n: how many, at least 1.
            first: number of the first one; with `first=k` these are the samples k to k + n - 1 of the seed.
            seed: any integer >= 0; None takes one from torch's global generator.
            sampler: takes the steps; `Ancestral()` by default.
            steps: number of steps of the grid; the model's own by default.
            times: the grid itself, decreasing from 1 to 0, in place of `steps`.
            grid: how the steps are spread; `UniformGrid()` by default.
            label: the class to sample from, or one for each example; None samples from the model without a condition.
            given: numbers or an image, as the model was trained with, in their own units: one for all examples, or one
                for each along an additional first axis; None samples from the model without a condition.
            guidance: w, the power of p(y | x_t) that multiplies p(x_t), where y is label and given: 0 ignores them, 1
                samples from p(x | y), and more favours what distinguishes y from other conditions. Any other number
                takes two evaluations of the network in place of one. See `inkwash.denoise.denoiser.NetworkDenoiser`.
            present: for a model of rows that may have gaps, which entries the rows have, boolean `(n, *shape)`, model
                units; the others have no meaning. All by default.

        Returns:
            An array `(n, …)` in data units, in the dtype of the data; without a transform a tensor `(n, *shape)`.

        Raises:
            ConfigError: a bad option, or `times` beside `steps` or `grid`.
            DataError: `given` does not fit.
        """
        options: WalkOptions = {"sampler": sampler, "steps": steps, "times": times, "grid": grid}
        options |= {"label": label, "given": given, "guidance": guidance, "present": present}
        walks = self.walks(n, first=first, seed=seed, **options)
        return self.to_data(torch.cat([end_of(each).x_s for each in walks]))

    def walks(
        self, n: int, *, first: int = 0, seed: int | None = None, **options: Unpack[WalkOptions]
    ) -> list[Iterator[State]]:
        slots, fixed_seed = self.slots(n, first), seed_of(seed)
        (condition, plan), present = self._planned(n, **options), options.get("present")

        def walk_slot(slot: Slot) -> Iterator[State]:
            x_1, random = self.start(slot, fixed_seed)
            walker = Stepwise(under(self.denoiser, condition, slot.places), plan.sampler)
            states = walker.walk(x_1, plan.times, random, slot.own)
            yield from states if present is None else masked(states, present[slot.places[slot.own]])

        return [walk_slot(slot) for slot in slots]

    def slots(self, n: int, first: int = 0) -> list[Slot]:
        """The slots of the samples `first` to `first + n - 1` of a seed.

        Raises:
            ConfigError: `n` below 1, or `first` below 0.
        """
        require_integer("n", n, 1)
        require_integer("first", first, 0)
        return list(Slots(self.shape, self.device).of(n, first))

    def start(self, slot: Slot, seed: int) -> tuple[Tensor, torch.Generator]:
        """x_1 of every row of a slot, model units, and the generator of the noise of the walk from there."""
        random = generator(seed, Purpose.SAMPLE, slot.number)
        return self.process.prior((len(slot.places), *self.shape), like=self.units.like).draw(random), random

    def _planned(
        self,
        n: int,
        *,
        label: Any = None,
        given: Any = None,
        guidance: float = 1.0,
        present: Tensor | None = None,
        **steps: Unpack[StepOptions],
    ) -> tuple[Mapping[str, Any], Plan]:
        """The inputs of the denoiser for `n` examples, by name, and the steps of their walk."""
        condition = guided(self.condition.inputs(n, label, given), guidance)
        if present is not None:
            condition = {**condition, "present": present}
        return condition, planned(self.process, self.steps, **steps)

    def diffuse(self, x: Any, t: float, *, seed: int = 0) -> Tensor:
        r"""Sample $q(x_t \mid x)$ once for each example, `(B, *shape)` in model units.

        Args:
            x: data units, `(B, …)`.
            t: from 0 to 1.
            seed: of the noise, which for example i is the same however many there are.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `t` or `seed`.
        """
        if not 0 <= t <= 1:
            raise ConfigError("t", t, "a time from 0 to 1")
        x, noisy = self.units.complete(x).to(self.dtype), []
        for rows, random in slots_of(x, seed_of(seed), Purpose.DIFFUSE):
            noise = self.process.noise(x[rows].shape, random, like=x)
            noisy.append(self.process.diffuse(x[rows], t, noise))
        return torch.cat(noisy)[: len(x)]

    def sample_from(self, x_t: Tensor, t: float, *, seed: int | None = None, **options: Unpack[WalkOptions]) -> Any:
        r"""Sample $p(x \mid x_t)$ once for each row: walk from time `t` down.

        The noise of row i is the same, bit for bit, however many there are.

        Args:
            x_t: model units, `(B, *shape)`.
            t: their time, above 0 and at most 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            **options: `sampler`, `steps`, `times`, `grid`, `label`, `given` and `guidance`, as of `sample`; the walk
                takes the times below `t`.

        Returns:
            `B` examples, as `sample`.

        Raises:
            DataError: `x_t` is not of the model's shape.
            ConfigError: a bad `t`, `seed`, `steps` or `times`.
        """
        x_t = self.units.shaped("x_t", x_t).to(self.dtype)
        starts = slots_of(x_t, seed_of(seed), Purpose.SAMPLE_FROM)
        return self.to_data(self._walk_down(x_t, t, starts, **options)[: len(x_t)])

    def _walk_down(
        self, x_t: Tensor, t: float, starts: Iterable[tuple[Tensor, torch.Generator]], **options: Unpack[WalkOptions]
    ) -> Tensor:
        """The ends of walks from `x_t` at time `t`: each from some of its rows, with the noise of a generator."""
        condition, plan = self._planned(len(x_t), **options)
        times, ends = grid_from(t, plan.times), []
        for rows, random in starts:
            walker = Stepwise(under(self.denoiser, condition, rows), plan.sampler)
            ends.append(end_of(walker.walk(x_t[rows], times, random)).x_s)
        return torch.cat(ends)

    def relatives(self, x: Any, t: float, n: int, *, seed: int | None = None, **options: Unpack[WalkOptions]) -> Any:
        r"""Sample `n` examples that share a latent with `x`: one $x_t \sim q(x_t \mid x)$, and `n` walks from it.

        The later `t`, the less they share (Ho et al. 2020, fig. 7). Their $x_t$ is `diffuse(x[None], t, seed=seed)`.

        Args:
            x: one example in data units.
            t: the time of the latent, above 0 and at most 1.
            n: how many, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            **options: as of `sample_from`.

        Returns:
            `n` examples, as `sample`.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `n`, `t` or `seed`, or option.
        """
        require_integer("n", n, 1)
        seed = seed_of(seed)
        x_t = self.diffuse(as_batch(x), t, seed=seed)
        return self.sample_from(x_t.expand(n, *self.shape), t, seed=seed, **options)

    def interpolate(
        self,
        a: Any,
        b: Any,
        n: int,
        *,
        t: float | None = None,
        seed: int = 0,
        solver: Solver | None = None,
        **options: Unpack[WalkOptions],
    ) -> Any:
        r"""Make `n` examples that lead from `a` to `b`.

        Without `t` they lie between the codes of both, along a sphere; the ends come back to the solver's tolerance.
        Levels are encoded with the process's noise at the model's first time: their own codes are far shorter than
        those of the prior.

        With `t` they lie between noisy versions with the same noise, $x_t = (1-w)a_t + wb_t$, and each is walked down
        with the same noise (Ho et al. 2020, §4.3 and fig. 8).

        Args:
            a: one example in data units.
            b: another.
            n: how many, including both ends; at least 2.
            t: the time to mix at, above 0 and at most 1.
            seed: of the noise.
            solver: without `t`, that of `encode`.
            **options: `label` and `given`, the condition to encode both ends and to sample under; with `t` also the
                others of `sample_from`.

        Returns:
            `n` examples, as `sample`.

        Raises:
            DataError: `a` or `b` is not of the model's shape, or their codes are opposite.
            ConfigError: a bad `n`, `t` or `seed`, an option of the other kind, or a process that is not Gaussian.
        """
        require_integer("n", n, 2)
        process, seed = require_gaussian(self.process, "interpolate"), seed_of(seed)
        random = generator(seed, Purpose.INTERPOLATE)
        ends = torch.cat([self.units.complete(as_batch(x)) for x in (a, b)])
        weights = torch.linspace(0, 1, n, dtype=torch.float64)
        if t is None:
            first = float(uniform_grid(self.steps)[-2]) if isinstance(self.units.lattice, Lattice) else 0.0
            noisy = diffuse_alike(process, ends.double(), first, random)
            return self._between_codes(noisy, first, weights, solver, **options)
        if solver is not None:
            raise ConfigError("solver", solver, "no time t; from t there is a sampler")
        a_t, b_t = diffuse_alike(process, ends.to(self.dtype), t, random)
        starts = ((torch.tensor([i]), generator(seed, Purpose.INTERPOLATE, 0)) for i in range(n))
        return self.to_data(self._walk_down(linear(a_t, b_t, weights), t, starts, **options))

    def _between_codes(
        self,
        ends: Tensor,
        t: float,
        weights: Tensor,
        solver: Solver | None,
        label: Any = None,
        given: Any = None,
        **others: Any,
    ) -> Any:
        """Data between the codes of two `ends`, noisy data at time t, without `others`: the options of a walk."""
        for name, value in others.items():
            raise ConfigError(name, value, "a time t to walk from; between codes there is a solver")
        condition = self.condition.inputs(2, label, given)
        code_a, code_b = transport(self.denoiser, ends, t, 1.0, solver=solver, condition=condition)
        return self.decode(spherical(code_a, code_b, weights), solver=solver, label=label, given=given)

    def bound(
        self,
        x: Any,
        *,
        steps: float | None = None,
        times: Tensor | None = None,
        terms: int | None = None,
        seed: int = 0,
        **options: Unpack[ConditionKeywords],
    ) -> Bound:
        """The variational bound on -log p(x), or on -log p(x | label, given), nats per example.

        For continuous data it bounds the density in data units: the transform's log-determinant is in `reconstruction`.

        Args:
            x: data units, `(B, …)`.
            steps: number of steps of a uniform grid; the model's own by default. `math.inf` is continuous time down to
                the first time of the model's own grid, where the decoder takes over.
            times: the grid itself, decreasing from 1 to 0, in place of `steps`.
            terms: how many diffusion terms to evaluate per example; all by default. See
                `inkwash.likelihood.bound.bound`.
            seed: of the noise.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `steps`, `times`, `terms`, `seed` or `label`; `times` beside `steps`.
        """
        model_x, continuous = self.to_model(x), steps == math.inf
        grid = as_grid(None if continuous and times is None else steps, times, self.steps)
        condition = self.condition.inputs(len(model_x), **options)
        result = bound(self.denoiser, model_x, grid, self.units.lattice, terms, seed, continuous, condition)
        return result.with_log_det(self.units.log_det(model_x))

    def log_prob(
        self,
        x: Any,
        *,
        divergence: Divergence = "auto",
        probes: int | None = None,
        solver: Solver | None = None,
        dequantise: Dequantise | None = None,
        seed: int = 0,
        **options: Unpack[ConditionKeywords],
    ) -> LogProb:
        """The exact log p(x), or log p(x | label, given), along the probability-flow ODE, nats per example; compare it
        with `-bound(x).total`.

        For continuous data it is a log-density in data units. Data with levels has none: it is dequantised, and the
        result is a lower bound on log P(x). The whole numbers of a table have probabilities too, beside the density of
        its real numbers.

        Args:
            x: data units, `(B, …)`.
            divergence: "exact", "hutchinson" or "auto", which is exact for up to 64 entries; see
                `inkwash.likelihood.flow.flow_log_prob`.
            probes: vectors of signs for "hutchinson", 8 by default.
            solver: `Adaptive()` by default.
            dequantise: only for data with levels; `Dequantise()` by default.
            seed: of the noise and of the signs.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad option, or a tolerance that is not reached.
            NonFiniteError: the network is NaN or infinite along the flow.
        """
        model_x, lattice = self.units.complete(x), self.units.lattice
        condition = self.condition.inputs(len(model_x), **options)
        log_prob = partial(flow_log_prob, self.denoiser, model_x)
        if lattice is not None:
            spread = uniform_grid(self.steps), lattice, dequantise or Dequantise()
            log_prob = partial(dequantised_log_prob, self.denoiser, model_x, *spread)
        elif dequantise is not None:
            raise ConfigError("dequantise", "continuous data", "data with levels")
        result = log_prob(divergence=divergence, probes=probes, solver=solver, seed=seed, condition=condition)
        return replace(result, value=result.value + self.units.log_det(model_x))

    def encode(self, x: Any, *, solver: Solver | None = None, **options: Unpack[ConditionKeywords]) -> Tensor:
        """The point of noise x_1 that the probability-flow ODE moves `x` to: one code for each `x`, without randomness.

        Args:
            x: data units, `(B, …)`.
            solver: `Adaptive()` by default.
            **options: `label` and `given` of the examples, as of `sample`: the code then holds what these do not say.

        Returns:
            `(B, *shape)`, float64, model units. The codes of continuous data are distributed like `process.prior`;
            those of levels are shorter, since a denoiser that knows the levels distinguishes them from small noise.
        """
        model_x = self.units.complete(x)
        condition = self.condition.inputs(len(model_x), **options)
        return transport(self.denoiser, model_x, 0.0, 1.0, solver=solver, condition=condition)

    def decode(self, z: Tensor, *, solver: Solver | None = None, **options: Unpack[ConditionKeywords]) -> Any:
        """The data that a code stands for: the inverse of `encode`.

        Args:
            z: x_1, model units, `(B, *shape)`.
            solver: `Adaptive()` by default.
            **options: `label` and `given`, as of `sample`; those of `encode` give the data back.

        Returns:
            As `sample`: an array in data units, or a tensor `(B, *shape)` where there is no transform.

        Raises:
            DataError: `z` is not of the model's shape.
        """
        z = self.units.shaped("z", z)
        condition = self.condition.inputs(len(z), **options)
        return self.to_data(transport(self.denoiser, z, 1.0, 0.0, solver=solver, condition=condition))

    @torch.no_grad()
    def score(
        self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **options: Unpack[ConditionKeywords]
    ) -> Tensor:
        """The gradient of log p(x_t) with respect to `x_t` `(B, *shape)`, in model units; with a condition y, a `label`
        or what is `given`, that of log p(x_t) + w log p(y | x_t), where w is the guidance.

        Raises:
            DataError: `x_t` is not of the model's shape.
            ConfigError: a process of bits, which have no gradient; a bad `t`, `label` or `guidance`.
        """
        require_gaussian(self.process, "score")
        x_t = self.units.shaped("x_t", x_t)
        if not bool(((as_time(t) >= 0) & (as_time(t) <= 1)).all()):
            raise ConfigError("t", t, "times from 0 to 1")
        return self.denoiser(x_t, t, **guided(self.condition.inputs(len(x_t), **options), guidance)).score

    def impute(
        self,
        x: Any,
        n: int = 100,
        *,
        seed: int | None = None,
        method: Method | None = None,
        **options: Unpack[WalkOptions],
    ) -> Any:
        """Sample the missing entries of examples, given the others: as `(self * Observed(mask, values)).sample` for
        each of them, but all side by side.

        Sample i of a seed is the same, bit for bit, whatever `n` is.

        Args:
            x: data units, `(B, …)`, or a `pandas.DataFrame` of the table; NaN where an entry is missing. Whole numbers
                and levels are then written as real numbers.
            n: how many samples of each, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            method: by default `MomentMatching()` for real numbers and `SMC()` for others; or `RePaint()`, or these with
                other options.
            **options: `sampler`, `steps`, `times`, `grid`, `label`, `given` and `guidance`, as of `sample`; one
                condition for all examples, or one for each.

        Returns:
            `(n, B, …)`, otherwise as `sample`; known entries are exactly what they were.

        Raises:
            DataError: `x` is not of the model's shape, or holds what its data cannot.
            ConfigError: a bad option, or a method that takes only one example.
        """
        require_integer("n", n)
        method = method or default_method(self.process)
        require_kind("method", method, Method)
        x = self.units.from_frame(x)
        model_x = self.units.to_model(x, missing=True).double()
        condition, plan = self._planned(len(model_x), **options)
        samples = complete(
            self.denoiser, model_x, n, method, plan, dtype=self.dtype, seed=seed_of(seed), condition=condition
        )
        return self.units.with_known(x, self.to_data(samples.flatten(0, 1)), n)

    def noisy_to_data(self, x_t: Tensor, t: float) -> Array:
        """As of `Model`; noisy data has the scale of clean data."""
        scaled = x_t / over(self.process.scale(t), x_t) if isinstance(self.process, Gaussian) else x_t
        return self.units.to_unrounded(scaled)
