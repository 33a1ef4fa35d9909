"""The half of a diffusion model that walks: samples, what shares a latent with an example, and missing entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Unpack

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_integer, require_kind
from inkwash.core.machine import require_memory
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, Slot, Slots, generator, seed_of, slots_of
from inkwash.core.shapes import as_batch, event_size
from inkwash.data.condition import ConditionSpec, guided
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.model.forecast import axis_of_time, last_places, with_future
from inkwash.model.lengths import drawn_lengths, ended, places_of
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.model.units import Units
from inkwash.posterior.complete import complete
from inkwash.posterior.method import Method
from inkwash.posterior.methods import default_method
from inkwash.process.noise.grid import grid_from
from inkwash.process.process import Process
from inkwash.sample.grids import Grid
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Plan, State, StepOptions, Stepwise, Walking, end_of, masked

SAMPLE_BYTES = 12
"""Bytes that sampling needs for each entry: the end of the walk, all ends together, and the data made of them."""


class WalkingModel(Model):
    """What of `inkwash.Diffusion` walks from noise to data."""

    denoiser: AnyDenoiser
    process: Process
    shape: tuple[int, ...]
    steps: int
    condition: ConditionSpec
    device: torch.device
    dtype: torch.dtype
    units: Units
    walking: Walking

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
        lengths: Any = None,
    ) -> Any:
        """Sample `n` examples.

        Sample i of a seed is the same, bit for bit, whatever `n` and `first` are, and whatever the conditions of the
        others. Slots are sampled one after another, so only the result grows with `n`.

        Args:
            n: how many, at least 1.
            first: number of the first one; with `first=k` these are the samples k to k + n - 1 of the seed.
            seed: any integer >= 0; None takes one from torch's global generator.
            sampler: takes the steps; like the next three, it is by default as `inkwash.Diffusion.with_options` decided,
                or else `Ancestral()`.
            steps: number of steps of the walk, or else that of the model's own grid.
            times: the grid itself, decreasing from 1 to 0, in place of `steps` and `grid`.
            grid: how the steps are spread, or else `UniformGrid()`.
            label: the class to sample from, or one for each example; None samples from the model without a condition.
            given: numbers or an image, as the model was trained with, in their own units: one for all examples, or one
                for each along an additional first axis; None samples from the model without a condition.
            guidance: w, the power of p(y | x_t) that multiplies p(x_t), where y is label and given: 0 ignores them, 1
                samples from p(x | y), and more favours what distinguishes y from other conditions. Any other number
                takes two evaluations of the network in place of one. See `inkwash.denoise.denoiser.NetworkDenoiser`.
            present: for a model of rows that may have gaps, which entries the rows have, boolean `(n, *shape)`, model
                units; the others have no meaning. All by default.
            lengths: for a model of series of unequal length, how many places they have: a number, or one for each. By
                default they are drawn from those of the data.

        Returns:
            An array `(n, …)` in data units, in the dtype of the data; without a transform a tensor `(n, *shape)`; for
            series of unequal length a list of arrays.

        Raises:
            ConfigError: a bad option, or `times` beside `steps` or `grid`.
            DataError: `given` does not fit.
        """
        options: WalkOptions = {"sampler": sampler, "steps": steps, "times": times, "grid": grid}
        options |= {"label": label, "given": given, "guidance": guidance, "present": present}
        if lengths is not None:
            options["present"] = places_of(self.units, n, lengths)
        walks = self.walks(n, first=first, seed=seed, **options)
        return self.units.cut(self.to_data(torch.cat([end_of(each).x_s for each in tracked(walks)])))

    def walks(
        self, n: int, *, first: int = 0, seed: int | None = None, **options: Unpack[WalkOptions]
    ) -> list[Iterator[State]]:
        slots, fixed_seed = self.slots(n, first), seed_of(seed)
        if self.units.lengths is not None and options.get("present") is None:
            drawn = [generator(fixed_seed, Purpose.LENGTH, first + i) for i in range(n)]
            options["present"] = places_of(self.units, n, drawn_lengths(self.units.lengths, drawn))
        (condition, plan), present = self._planned(n, **options), options.get("present")

        def walk_slot(slot: Slot) -> Iterator[State]:
            x_1, random = self.start(slot, fixed_seed)
            walker = Stepwise(under(self.denoiser, condition, slot.places), plan.sampler)
            states: Iterable[State] = walker.walk(x_1, plan.times, random, slot.own)
            if present is not None:
                there = present[slot.places[slot.own]]
                states = masked(states, there) if self.units.lengths is None else ended(masked(states, there), there)
            yield from states

        return [walk_slot(slot) for slot in slots]

    def slots(self, n: int, first: int = 0) -> list[Slot]:
        """The slots of the samples `first` to `first + n - 1` of a seed.

        Raises:
            ConfigError: `n` below 1 or beyond what memory holds, or `first` below 0.
        """
        require_integer("n", n, 1)
        require_integer("first", first, 0)
        require_memory("n", n, SAMPLE_BYTES * event_size(self.shape))
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
        return condition, self.plan(**steps)

    def plan(self, **steps: Unpack[StepOptions]) -> Plan:
        """The steps of a walk: those passed, as of `sample`, and otherwise the model's own.

        Raises:
            ConfigError: a bad option, or two that exclude each other.
        """
        return self.walking.but(**steps).plan(self.process, self.steps)

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
        return self.units.cut(self.to_data(self._walk_down(x_t, t, starts, **options)[: len(x_t)]))

    def _walk_down(
        self, x_t: Tensor, t: float, starts: Iterable[tuple[Tensor, torch.Generator]], **options: Unpack[WalkOptions]
    ) -> Tensor:
        """The ends of walks from `x_t` at time `t`: each from some of its rows, with the noise of a generator."""
        condition, plan = self._planned(len(x_t), **options)
        times, ends = grid_from(t, plan.times), []
        for rows, random in tracked(list(starts)):
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
                and levels are then written as real numbers. Of series of unequal length, also a list: the places
                beyond the end of each are missing.
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

    def forecast(
        self,
        x: Any,
        horizon: int,
        n: int = 100,
        *,
        seed: int | None = None,
        method: Method | None = None,
        **options: Unpack[WalkOptions],
    ) -> Any:
        r"""Sample the next places of series, given their past: $p(x_{L-h+1}, \dots, x_L \mid x_1, \dots, x_{L-h})$ for
        a model of series of L places and a horizon h.

        This is `impute` with the last h places missing. The model knows series of L places only. Of a longer past it
        sees the last L - h places; of a shorter one, fill up the beginning with NaN, and the model samples that too. A
        model of series of unequal length takes a shorter past as it is: a series of P + h places.

        Args:
            x: the past of each series, data units and in the layout of the data: `(B, P)` for `NL`, `(B, P, C)` for
                `NLC`, `(B, C, P)` for `NCL` and without a transform, with P at least L - h; NaN where a place is
                missing. For a model of series of unequal length, P is at least 1, and this may be a list of series,
                or an array in which NaN fills up those that end early.
            horizon: h, how many places, from 1 to L - 1.
            n: how many samples of each, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator. Sample i of a seed is the same, bit
                for bit, whatever `n` is.
            method: as of `impute`.
            **options: as of `impute`.

        Returns:
            `(n, B, …)` with h places, data units, in the layout and the dtype of the data.

        Raises:
            ConfigError: a model of other data than series, a bad `horizon`, `n` or option.
            DataError: a past of another shape or with too few places, or with values that the data cannot take.
        """
        full, ends = with_future(self.units, x, horizon)
        if self.units.lengths is not None:
            options["present"] = places_of(self.units, len(full), ends)
        draws, axis = self.impute(full, n, seed=seed, method=method, **options), axis_of_time(self.units)
        return last_places(draws, ends, horizon, axis)

    def to_model(self, x: Any, missing: bool = False) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device; NaN where an entry is missing."""
        return self.units.to_model(x, missing)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units."""
        return self.units.to_data(x)
