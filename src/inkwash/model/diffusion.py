"""`Diffusion`: a process, a denoiser and a data transform, held together as what they are, a distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError, require_integer, require_kind
from inkwash.core.randomness import Purpose, chosen_seed, generator, slot_parts, slot_places, slot_rows, slots
from inkwash.core.shapes import as_batch, as_time
from inkwash.data.condition import ConditionSpec, guided
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, parameters_of
from inkwash.denoise.wrap import under
from inkwash.likelihood.bound import Bound, bound
from inkwash.likelihood.flow import Dequantise, Divergence, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.likelihood.ode import Solver
from inkwash.model.interpolation import diffuse_alike, linear, spherical
from inkwash.model.units import Units, require_same_values
from inkwash.posterior.complete import complete
from inkwash.posterior.method import Method
from inkwash.posterior.methods import default_method
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import require_gaussian
from inkwash.process.noise.grid import as_grid, grid_from, uniform_grid
from inkwash.sample.grids import Grid
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import State, Walk, Walkable, end_of, plan as plan_walk, walk


class Conditions(TypedDict, total=False):
    """What a model may be asked for, as of `Diffusion.sample`."""

    label: Any
    given: Any


class Steps(TypedDict, total=False):
    """How to walk, as of `Diffusion.sample`."""

    sampler: Sampler | None
    steps: int | None
    times: Tensor | None
    grid: Grid | None


class Walking(Conditions, Steps, total=False):
    """How to walk, and under what condition, as of `Diffusion.sample`."""

    guidance: float
    present: Tensor | None


class Diffusion(Walkable):
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
        ConfigError: a transform to other values than those of a discrete process; classes that cannot be told apart.
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
        values = self.process.lattice
        self.units = Units(self.shape, transform, self.condition, values, self.device, self.dtype)

    def with_denoiser(self, denoiser: AnyDenoiser) -> Diffusion:
        """The same model around another denoiser of its process."""
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
        """Draw `n` examples.

        Sample i of a seed is the same, bit for bit, whatever `n` and `first`, and whatever the others are told.
        They are drawn slot by slot: memory grows with `n` by the result alone.

        Args:
            n: how many, at least 1.
            first: number of the first one; with `first=k` these are the samples k to k + n - 1 of the seed.
            seed: any integer >= 0; None takes one from torch's global generator.
            sampler: how to walk; `Ancestral()` by default.
            steps: number of steps of the grid; those of the model's own by default.
            times: or the grid itself, decreasing from 1 to 0.
            grid: how the steps are spread; `UniformGrid()` by default.
            label: the class to draw from, or one for each example; None draws from all, without label.
            given: numbers or an image, as the model was trained with, in their own units: those of all examples, or of
                each along a first axis more; None draws from all.
            guidance: w, the power of p(y | x_t) that is multiplied with p(x_t), where y is label and given: 0 ignores
                them, 1 draws from p(x | y), more insists on what tells y from other conditions. Neither 0 nor 1 takes
                two evaluations of the network in place of one. See `inkwash.denoise.denoiser.NetworkDenoiser`.
            present: for a model of rows that may have gaps, which entries the rows have, boolean `(n, *shape)`, model
                units; the others are without meaning. By default all.

        Returns:
            An array `(n, …)` in data units, dtype as the data came; without a transform a tensor `(n, *shape)`.

        Raises:
            ConfigError: a bad option, or `times` beside another way to choose them.
            DataError: what is `given` does not fit.
        """
        asked: Walking = {"sampler": sampler, "steps": steps, "times": times, "grid": grid}
        asked |= {"label": label, "given": given, "guidance": guidance, "present": present}
        walks = self.walks(n, first=first, seed=seed, **asked)
        return self.to_data(torch.cat([end_of(each).x_s for each in walks]))

    def walks(
        self, n: int, *, first: int = 0, seed: int | None = None, **options: Unpack[Walking]
    ) -> list[Iterator[State]]:
        require_integer("n", n, 1)
        require_integer("first", first, 0)
        seed, (condition, plan), present = chosen_seed(seed), self._planned(n, **options), options.get("present")
        rows = slot_rows(self.shape, self.device)

        def walk_slot(slot: int, part: slice) -> Iterator[State]:
            random, places = generator(seed, Purpose.SAMPLE, slot), slot_places(slot, rows, n, first)
            x_1 = self.process.prior((rows, *self.shape), like=self._like()).draw(random)
            denoiser = under(self.denoiser, condition, places)
            states = walk(denoiser, plan.sampler, x_1, plan.times, random, part)
            yield from states if present is None else _without_absent(states, present[places][part])

        return [walk_slot(slot, part) for slot, part in slot_parts(first, n, rows)]

    def _planned(
        self,
        n: int,
        *,
        label: Any = None,
        given: Any = None,
        guidance: float = 1.0,
        present: Tensor | None = None,
        **steps: Unpack[Steps],
    ) -> tuple[Mapping[str, Any], Walk]:
        """What the denoiser is asked with for `n` examples, and how to walk."""
        condition = guided(self.condition.inputs(n, label, given), guidance)
        if present is not None:
            condition = {**condition, "present": present}
        return condition, plan_walk(self.process, self.steps, **steps)

    def _like(self) -> Tensor:
        """A tensor of the dtype, and on the device, of noisy data."""
        return torch.zeros((), dtype=self.dtype, device=self.device)

    def diffuse(self, x: Any, t: float, *, seed: int = 0) -> Tensor:
        r"""One draw of $q(x_t \mid x)$ for each example, `(B, *shape)` in model units.

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
        model_x, process = self.units.complete(x).to(self.dtype), self.process
        noisy = [
            process.diffuse(model_x[rows], t, process.noise(model_x[rows].shape, random, like=model_x))
            for rows, random in slots(model_x, chosen_seed(seed), Purpose.DIFFUSE)
        ]
        return torch.cat(noisy)[: len(model_x)]

    def sample_from(self, x_t: Tensor, t: float, *, seed: int | None = None, **options: Unpack[Walking]) -> Any:
        r"""Draw from $p(x \mid x_t)$, once for each row: walk from time `t` down.

        The noise of row i is the same, bit for bit, however many there are.

        Args:
            x_t: model units, `(B, *shape)`.
            t: their time, above 0 and at most 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            **options: `sampler`, `steps`, `times`, `grid`, `label`, `given` and `guidance`, as of `sample`; of the
                times those below `t` are walked.

        Returns:
            `B` examples, as `sample`.

        Raises:
            DataError: `x_t` is not of the model's shape.
            ConfigError: a bad `t`, `seed`, `steps` or `times`.
        """
        x_t = self.units.shaped("x_t", x_t).to(self.dtype)
        starts = slots(x_t, chosen_seed(seed), Purpose.SAMPLE_FROM)
        return self.to_data(self._walk_down(x_t, t, starts, **options)[: len(x_t)])

    def _walk_down(
        self, x_t: Tensor, t: float, starts: Iterable[tuple[Tensor, torch.Generator]], **options: Unpack[Walking]
    ) -> Tensor:
        """Walks from rows of `x_t`, each with a generator."""
        condition, plan = self._planned(len(x_t), **options)
        times = grid_from(t, plan.times)
        ends = (
            end_of(walk(under(self.denoiser, condition, rows), plan.sampler, x_t[rows], times, random))
            for rows, random in starts
        )
        return torch.cat([end.x_s for end in ends])

    def relatives(self, x: Any, t: float, n: int, *, seed: int | None = None, **options: Unpack[Walking]) -> Any:
        r"""Draw `n` examples that share a latent with `x`: one $x_t \sim q(x_t \mid x)$, and `n` walks from it.

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
        seed = chosen_seed(seed)
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
        **options: Unpack[Walking],
    ) -> Any:
        r"""Draw `n` examples on the way from `a` to `b`.

        Without `t`: between their codes, along a sphere; the ends come back to the solver's tolerance. Levels are
        encoded with the process's noise of the model's first time: their own codes are far shorter than the prior's.

        With `t`: between their noisy versions with the same noise, $x_t = (1-w)a_t + wb_t$, each walked down with the
        same noise (Ho et al. 2020, §4.3 and fig. 8).

        Args:
            a: one example in data units.
            b: another.
            n: how many, both ends among them; at least 2.
            t: the time to mix at, above 0 and at most 1.
            seed: of the noise.
            solver: without `t`, that of `encode`.
            **options: `label` and `given`, to encode both ends under and to draw from; with `t` all others of
                `sample_from`.

        Returns:
            `n` examples, as `sample`.

        Raises:
            DataError: `a` or `b` is not of the model's shape, or their codes are opposite.
            ConfigError: a bad `n`, `t` or `seed`, an option of the other kind, or a process that is not Gaussian.
        """
        require_integer("n", n, 2)
        process, seed = require_gaussian(self.process, "interpolate"), chosen_seed(seed)
        random = generator(seed, Purpose.INTERPOLATE)
        ends = torch.cat([self.units.complete(as_batch(x)) for x in (a, b)])
        weights = torch.linspace(0, 1, n, dtype=torch.float64)
        if t is None:
            start = float(uniform_grid(self.steps)[-2]) if isinstance(self.units.lattice, Lattice) else 0.0
            noisy = diffuse_alike(process, ends.double(), start, random)
            return self._along_the_sphere(noisy, start, weights, solver, options)
        if solver is not None:
            raise ConfigError("solver", solver, "no time t; from t there is a sampler")
        a_t, b_t = diffuse_alike(process, ends.to(self.dtype), t, random)
        starts = ((torch.tensor([i]), generator(seed, Purpose.INTERPOLATE, 0)) for i in range(n))
        return self.to_data(self._walk_down(linear(a_t, b_t, weights), t, starts, **options))

    def _along_the_sphere(
        self, ends: Tensor, start: float, weights: Tensor, solver: Solver | None, options: Walking
    ) -> Any:
        """Data between the codes of two `ends` at time `start`."""
        conditions: Conditions = {}
        for name, value in options.items():
            if name not in Conditions.__annotations__:
                raise ConfigError(name, value, "a time t to walk from; between codes there is a solver")
            conditions |= {name: value}  # type: ignore[misc]
        asked = self.condition.inputs(2, **conditions)
        code_a, code_b = transport(self.denoiser, ends, start, 1.0, solver=solver, condition=asked)
        return self.decode(spherical(code_a, code_b, weights), solver=solver, **conditions)

    def bound(
        self,
        x: Any,
        *,
        steps: float | None = None,
        times: Tensor | None = None,
        terms: int | None = None,
        seed: int = 0,
        **condition: Unpack[Conditions],
    ) -> Bound:
        """The variational bound on -log p(x), or on -log p(x | label, given), nats per example.

        For continuous data it bounds the density in data units: the transform's log-determinant is in `reconstruction`.

        Args:
            x: data units, `(B, …)`.
            steps: number of steps of a uniform grid; the model's own by default. `math.inf` is continuous time down to
                the first time of the model's own grid, where the decoder takes over.
            times: or the grid itself, decreasing from 1 to 0.
            terms: how many diffusion terms to evaluate per example; all by default. See
                `inkwash.likelihood.bound.bound`.
            seed: of the noise.
            **condition: `label` and `given` of the examples, as of `sample`; by default the model without condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `steps`, `times`, `terms`, `seed` or `label`; `times` beside `steps`.
        """
        model_x = self.to_model(x)
        continuous = steps == math.inf
        grid = as_grid(None if continuous and times is None else steps, times, self.steps)
        asked = self.condition.inputs(len(model_x), **condition)
        result = bound(self.denoiser, model_x, grid, self.units.lattice, terms, seed, continuous, asked)
        log_det = self.units.log_det(model_x)
        return replace(
            result,
            reconstruction=result.reconstruction - log_det,
            k=None if result.k is None else result.k + log_det,
            null=None if result.null is None else result.null + log_det,
        )

    def log_prob(
        self,
        x: Any,
        *,
        divergence: Divergence = "auto",
        probes: int | None = None,
        solver: Solver | None = None,
        dequantise: Dequantise | None = None,
        seed: int = 0,
        **condition: Unpack[Conditions],
    ) -> LogProb:
        """The exact log p(x), or log p(x | label, given), along the probability-flow ODE, nats per example; compare it
        with `-bound(x).total`.

        For continuous data it is a log-density in data units. Data with levels has none: it is dequantised, and the
        result is a lower bound on log P(x). Whole numbers of a table have probabilities likewise, beside the density of
        its real numbers.

        Args:
            x: data units, `(B, …)`.
            divergence: "exact", "hutchinson" or "auto", which is exact for up to 64 entries; see
                `inkwash.likelihood.flow.flow_log_prob`.
            probes: vectors of signs for "hutchinson", 8 by default.
            solver: `Adaptive()` by default.
            dequantise: for data with levels alone; `Dequantise()` by default.
            seed: of the noise and of the signs.
            **condition: `label` and `given` of the examples, as of `sample`; by default the model without condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad option, or a tolerance that is not reached.
            NonFiniteError: the network is NaN or infinite on the way.
        """
        model_x, lattice = self.units.complete(x), self.units.lattice
        options: dict[str, Any] = {"divergence": divergence, "probes": probes, "solver": solver, "seed": seed}
        options["condition"] = self.condition.inputs(len(model_x), **condition)
        if lattice is not None:
            grid, dequantise = uniform_grid(self.steps), dequantise or Dequantise()
            result = dequantised_log_prob(self.denoiser, model_x, grid, lattice, dequantise, **options)
        elif dequantise is not None:
            raise ConfigError("dequantise", "continuous data", "data with levels")
        else:
            result = flow_log_prob(self.denoiser, model_x, **options)
        log_det = self.units.log_det(model_x)
        return replace(result, value=result.value + log_det)

    def encode(self, x: Any, *, solver: Solver | None = None, **condition: Unpack[Conditions]) -> Tensor:
        """The point of noise x_1 that the probability-flow ODE moves `x` to: one code for each `x`, no randomness.

        Args:
            x: data units, `(B, …)`.
            solver: `Adaptive()` by default.
            **condition: `label` and `given` of the examples, as of `sample`: the code then says what these do not.

        Returns:
            `(B, *shape)`, float64, model units. Over continuous data it is distributed like `process.prior`; levels
            have shorter codes, since a denoiser that knows them tells them from small noise.
        """
        model_x = self.units.complete(x)
        asked = self.condition.inputs(len(model_x), **condition)
        return transport(self.denoiser, model_x, 0.0, 1.0, solver=solver, condition=asked)

    def decode(self, z: Tensor, *, solver: Solver | None = None, **condition: Unpack[Conditions]) -> Any:
        """The data that a code stands for: the inverse of `encode`.

        Args:
            z: x_1, model units, `(B, *shape)`.
            solver: `Adaptive()` by default.
            **condition: `label` and `given`, as of `sample`; those of `encode` give the data back.

        Returns:
            As `sample`: an array in data units, or a tensor `(B, *shape)` where there is no transform.

        Raises:
            DataError: `z` is not of the model's shape.
        """
        z = self.units.shaped("z", z)
        asked = self.condition.inputs(len(z), **condition)
        return self.to_data(transport(self.denoiser, z, 1.0, 0.0, solver=solver, condition=asked))

    @torch.no_grad()
    def score(
        self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Unpack[Conditions]
    ) -> Tensor:
        """The gradient of log p(x_t) with respect to `x_t` `(B, *shape)`, in model units; with a `label` or what is
        `given`, y, that of log p(x_t) + w log p(y | x_t), where w is the guidance.

        Raises:
            DataError: `x_t` is not of the model's shape.
            ConfigError: a process of bits, which have no gradient; a bad `t`, `label` or `guidance`.
        """
        require_gaussian(self.process, "score")
        x_t = self.units.shaped("x_t", x_t)
        if not bool(((as_time(t) >= 0) & (as_time(t) <= 1)).all()):
            raise ConfigError("t", t, "times from 0 to 1")
        return self.denoiser(x_t, t, **guided(self.condition.inputs(len(x_t), **condition), guidance)).score

    def impute(
        self,
        x: Any,
        n: int = 100,
        *,
        seed: int | None = None,
        method: Method | None = None,
        **options: Unpack[Walking],
    ) -> Any:
        """Draw what is missing of examples, given the rest: as `(self * Observed(mask, values)).sample` for each of
        them, but all of them side by side.

        Draw i of a seed is the same, bit for bit, whatever `n`.

        Args:
            x: data units, `(B, …)`, or a `pandas.DataFrame` of the table; NaN where an entry is missing. Whole numbers
                and levels come as real ones then.
            n: how many draws of each, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            method: by default `MomentMatching()` for real numbers and `SMC()` for others; or `RePaint()`, or these with
                other options.
            **options: `sampler`, `steps`, `times`, `grid`, `label`, `given` and `guidance`, as of `sample`, a condition
                for each example.

        Returns:
            `(n, B, …)`, otherwise as `sample`; known entries are exactly what they were.

        Raises:
            DataError: `x` is not of the model's shape, or holds what its data cannot.
            ConfigError: a bad option, or a method that takes one example alone.
        """
        require_integer("n", n)
        method = method or default_method(self.process)
        require_kind("method", method, Method)
        x, sampler = self.units.from_frame(x), options.pop("sampler", None)
        model_x = self.units.to_model(x, missing=True).double()
        condition, plan = self._planned(len(model_x), **options)
        drawn = complete(
            self.denoiser,
            model_x,
            n,
            times=plan.times,
            seed=chosen_seed(seed),
            method=method,
            like=self._like(),
            sampler=sampler,
            condition=condition,
        )
        return _with_given(x, self.to_data(drawn.flatten(0, 1)), n)

    def to_model(self, x: Any, missing: bool = False) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device; NaN where an entry is missing, if it may."""
        return self.units.to_model(x, missing)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units."""
        return self.units.to_data(x)


def _without_absent(states: Iterator[State], present: Tensor) -> Iterator[State]:
    """A walk that ends in 0, model units, where an entry is not `present`."""
    for state in states:
        yield state._replace(x_s=state.x_s.where(present.to(state.x_s.device), 0)) if state.s == 0 else state


def _with_given(x: Any, drawn: Any, n: int) -> Any:
    """Draws, example by example within each of `n`, as `(n, B, …)`; what is given is put in as it is."""
    drawn = drawn.reshape(n, len(x), *drawn.shape[1:])
    if isinstance(drawn, Tensor):
        known = torch.as_tensor(x).to(drawn)
        return torch.where(known.isnan(), drawn, known)
    given = np.asarray(x, np.float64)
    return np.where(np.isnan(given), drawn, given).astype(drawn.dtype)
