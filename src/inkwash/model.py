"""`Diffusion`: a process, a denoiser and a data transform, held together as what they are, a distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.config import chosen
from inkwash.data.condition import Condition, guided
from inkwash.data.frame import from_frame
from inkwash.data.transform import Transform
from inkwash.denoise import AnyDenoiser, given, parameters_of
from inkwash.distributions import Bins, Lattice
from inkwash.errors import ConfigError, DataError, require_integer, require_kind
from inkwash.flow import Dequantise, Divergence, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.gaussian import require_gaussian
from inkwash.likelihood import Bound, bound
from inkwash.noise import Grid, as_grid, grid_from, uniform_grid
from inkwash.ode import Solver
from inkwash.process import Process, Scheduled
from inkwash.randomness import Purpose, chosen_seed, generator, slot_parts, slot_places, slot_rows, slots
from inkwash.sample import Ancestral, Sampler
from inkwash.shapes import as_batch, as_time
from inkwash.walk import State, Walkable, end_of, walk

if TYPE_CHECKING:
    from inkwash.factor import Factor
    from inkwash.product import Product

Array = np.ndarray[Any, np.dtype[Any]]


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
        condition: Condition | None = None,
    ) -> None:
        self.denoiser = denoiser.eval() if isinstance(denoiser, nn.Module) else denoiser
        self.process = denoiser.process
        if transform is not None:
            require_same_values(self.process, transform)
        self.shape = tuple(shape)
        self.transform = transform
        self.steps = steps
        self.condition = condition or Condition()
        self.condition.check()
        parameter = next(parameters_of(denoiser), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = dtype or (torch.get_default_dtype() if parameter is None else parameter.dtype)

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
                two evaluations of the network in place of one. See `inkwash.denoise.NetworkDenoiser`.

        Returns:
            An array `(n, …)` in data units, dtype as the data came; without a transform a tensor `(n, *shape)`.

        Raises:
            ConfigError: a bad option, or `times` beside another way to choose them.
            DataError: what is `given` does not fit.
        """
        way: dict[str, Any] = {"sampler": sampler, "steps": steps, "times": times, "grid": grid}
        way |= {"label": label, "given": given, "guidance": guidance}
        walks = self.walks(n, first=first, seed=seed, **way)
        return self.to_data(torch.cat([end_of(each).x_s for each in walks]))

    def walks(self, n: int, *, first: int = 0, seed: int | None = None, **options: Any) -> list[Iterator[State]]:
        require_integer("n", n, 1)
        require_integer("first", first, 0)
        seed, (condition, sampler, times) = chosen_seed(seed), self._asked(n, **options)
        rows = slot_rows(self.shape, self.device)

        def walk_slot(slot: int, part: slice) -> Iterator[State]:
            random, asked = generator(seed, Purpose.SAMPLE, slot), slot_places(slot, rows, n, first)
            like = torch.zeros((), dtype=self.dtype, device=self.device)
            x_1 = self.process.prior((rows, *self.shape), like=like).draw(random)
            yield from walk(given(self.denoiser, condition, asked), sampler, x_1, times, random, part)

        return [walk_slot(slot, part) for slot, part in slot_parts(first, n, rows)]

    def _asked(
        self, n: int, label: Any = None, given: Any = None, guidance: float = 1.0, **way: Any
    ) -> tuple[Mapping[str, Any], Sampler, Tensor]:
        """What the denoiser is told of `n` examples, and the way to walk."""
        return guided(self.condition.told(n, label, given), guidance), *self.way(**way)

    @torch.no_grad()
    def way(
        self,
        sampler: Sampler | None = None,
        steps: int | None = None,
        times: Tensor | None = None,
        grid: Grid | None = None,
    ) -> tuple[Sampler, Tensor]:
        """The sampler and the times that are asked for, or else the model's own."""
        sampler = Ancestral() if sampler is None else sampler
        require_kind("sampler", sampler, Sampler)
        if grid is None:
            return sampler, as_grid(steps, times, self.steps)
        require_kind("grid", grid, Grid)
        if times is not None:
            raise ConfigError("times", times, "either times or a grid, not both")
        if not isinstance(self.process, Scheduled):
            raise ConfigError("grid", grid, f"no grid: a {type(self.process).__name__} process has no schedule")
        return sampler, grid.times(self.process.schedule, self.steps if steps is None else steps, self.steps)

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
        model_x, process = self.whole(x).to(self.dtype), self.process
        noisy = [
            process.diffuse(model_x[rows], t, process.noise(model_x[rows].shape, random, like=model_x))
            for rows, random in slots(model_x, chosen_seed(seed), Purpose.DIFFUSE)
        ]
        return torch.cat(noisy)[: len(model_x)]

    def sample_from(self, x_t: Tensor, t: float, *, seed: int | None = None, **options: Any) -> Any:
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
        x_t = self._shaped("x_t", x_t).to(self.dtype)
        starts = slots(x_t, chosen_seed(seed), Purpose.SAMPLE_FROM)
        return self.to_data(self.walk_down(x_t, t, starts, **options)[: len(x_t)])

    def walk_down(
        self, x_t: Tensor, t: float, starts: Iterable[tuple[Tensor, torch.Generator]], **options: Any
    ) -> Tensor:
        """Walks from rows of `x_t`, each with a generator."""
        condition, sampler, times = self._asked(len(x_t), **options)
        ends = (
            end_of(walk(given(self.denoiser, condition, rows), sampler, x_t[rows], grid_from(t, times), random))
            for rows, random in starts
        )
        return torch.cat([end.x_s for end in ends])

    def relatives(self, x: Any, t: float, n: int, *, seed: int | None = None, **options: Any) -> Any:
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

    def interpolate(self, a: Any, b: Any, n: int, **options: Any) -> Any:
        r"""Draw `n` examples on the way from `a` to `b`.

        Without `t`: between their codes, along a sphere; the ends come back to the solver's tolerance. Levels are
        encoded with the process's noise of the model's first time: their own codes are far shorter than the prior's.

        With `t`: between their noisy versions with the same noise, $x_t = (1-w)a_t + wb_t$, each walked down with the
        same noise (Ho et al. 2020, §4.3 and fig. 8).

        Args:
            a: one example in data units.
            b: another.
            n: how many, both ends among them; at least 2.
            **options: `t`, the time to mix at, above 0 and at most 1; `seed` of the noise, 0 by default; `label` and
                `given`, to encode both ends under and to draw from; with `t` all others of `sample_from`, and without
                it the `solver` of `encode`.

        Returns:
            `n` examples, as `sample`.

        Raises:
            DataError: `a` or `b` is not of the model's shape, or their codes are opposite.
            ConfigError: a bad `n`, `t` or `seed`, an option of the other kind, or a process that is not Gaussian.
        """
        from inkwash.interpolate import interpolate

        return interpolate(self, a, b, n, **options)

    def bound(
        self,
        x: Any,
        *,
        steps: float | None = None,
        times: Tensor | None = None,
        terms: int | None = None,
        seed: int = 0,
        **told: Any,
    ) -> Bound:
        """The variational bound on -log p(x), or on -log p(x | label, given), nats per example.

        For continuous data it bounds the density in data units: the transform's log-determinant is in `reconstruction`.

        Args:
            x: data units, `(B, …)`.
            steps: number of steps of a uniform grid; the model's own by default. `math.inf` is continuous time down to
                the first time of the model's own grid, where the decoder takes over.
            times: or the grid itself, decreasing from 1 to 0.
            terms: how many diffusion terms to evaluate per example; all by default. See `inkwash.likelihood.bound`.
            seed: of the noise.
            **told: `label` and `given` of the examples, as of `sample`; by default the model without condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `steps`, `times`, `terms`, `seed` or `label`; `times` beside `steps`.
        """
        model_x = self.to_model(x)
        continuous = steps == math.inf
        grid = as_grid(None if continuous and times is None else steps, times, self.steps)
        condition = self.condition.told(len(model_x), **told)
        result = bound(self.denoiser, model_x, grid, self.lattice, terms, seed, continuous, condition)
        log_det = 0.0 if self.transform is None else self.transform.log_det(model_x)
        return replace(
            result,
            reconstruction=result.reconstruction - log_det,
            k=chosen(result.k) + log_det,
            null=chosen(result.null) + log_det,
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
        **told: Any,
    ) -> LogProb:
        """The exact log p(x), or log p(x | label, given), along the probability-flow ODE, nats per example; compare it
        with `-bound(x).total`.

        For continuous data it is a log-density in data units. Data with levels has none: it is dequantised, and the
        result is a lower bound on log P(x). Whole numbers of a table have probabilities likewise, beside the density of
        its real numbers.

        Args:
            x: data units, `(B, …)`.
            divergence: "exact", "hutchinson" or "auto", which is exact for up to 64 entries; see
                `inkwash.flow.flow_log_prob`.
            probes: vectors of signs for "hutchinson", 8 by default.
            solver: `Adaptive()` by default.
            dequantise: for data with levels alone; `Dequantise()` by default.
            seed: of the noise and of the signs.
            **told: `label` and `given` of the examples, as of `sample`; by default the model without condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad option, or a tolerance that is not reached.
            NonFiniteError: the network is NaN or infinite on the way.
        """
        model_x, lattice = self.whole(x), self.lattice
        options: dict[str, Any] = {"divergence": divergence, "probes": probes, "solver": solver, "seed": seed}
        options["condition"] = self.condition.told(len(model_x), **told)
        if lattice is not None:
            grid, dequantise = uniform_grid(self.steps), dequantise or Dequantise()
            result = dequantised_log_prob(self.denoiser, model_x, grid, lattice, dequantise, **options)
        elif dequantise is not None:
            raise ConfigError("dequantise", "continuous data", "data with levels")
        else:
            result = flow_log_prob(self.denoiser, model_x, **options)
        log_det = 0.0 if self.transform is None else self.transform.log_det(model_x)
        return replace(result, value=result.value + log_det)

    def encode(self, x: Any, *, solver: Solver | None = None, **told: Any) -> Tensor:
        """The point of noise x_1 that the probability-flow ODE moves `x` to: one code for each `x`, no randomness.

        Args:
            x: data units, `(B, …)`.
            solver: `Adaptive()` by default.
            **told: `label` and `given` of the examples, as of `sample`: the code then says what these do not.

        Returns:
            `(B, *shape)`, float64, model units. Over continuous data it is distributed like `process.prior`; levels
            have shorter codes, since a denoiser that knows them tells them from small noise.
        """
        model_x = self.whole(x)
        condition = self.condition.told(len(model_x), **told)
        return transport(self.denoiser, model_x, 0.0, 1.0, solver=solver, condition=condition)

    def decode(self, z: Tensor, *, solver: Solver | None = None, **told: Any) -> Any:
        """The data that a code stands for: the inverse of `encode`.

        Args:
            z: x_1, model units, `(B, *shape)`.
            solver: `Adaptive()` by default.
            **told: `label` and `given`, as of `sample`; those of `encode` give the data back.

        Returns:
            As `sample`: an array in data units, or a tensor `(B, *shape)` where there is no transform.

        Raises:
            DataError: `z` is not of the model's shape.
        """
        z = self._shaped("z", z)
        condition = self.condition.told(len(z), **told)
        return self.to_data(transport(self.denoiser, z, 1.0, 0.0, solver=solver, condition=condition))

    @torch.no_grad()
    def score(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **told: Any) -> Tensor:
        """The gradient of log p(x_t) with respect to `x_t` `(B, *shape)`, in model units; with a `label` or what is
        `given`, y, that of log p(x_t) + w log p(y | x_t), where w is the guidance.

        Raises:
            DataError: `x_t` is not of the model's shape.
            ConfigError: a process of bits, which have no gradient; a bad `t`, `label` or `guidance`.
        """
        require_gaussian(self.process, "score")
        x_t = self._shaped("x_t", x_t)
        if not bool(((as_time(t) >= 0) & (as_time(t) <= 1)).all()):
            raise ConfigError("t", t, "times from 0 to 1")
        return self.denoiser(x_t, t, **guided(self.condition.told(len(x_t), **told), guidance)).score

    def impute(self, x: Any, n: int = 100, **options: Any) -> Any:
        """Draw what is missing of examples, given the rest: as `(self * Observed(mask, values)).sample` for each of
        them, but all of them side by side.

        Draw i of a seed is the same, bit for bit, whatever `n`.

        Args:
            x: data units, `(B, …)`, or a `pandas.DataFrame` of the table; NaN where an entry is missing. Whole numbers
                and levels come as real ones then.
            n: how many draws of each, at least 1.
            **options: all but `first` of `sample`, a condition for each example; `method`, by default
                `MomentMatching()` for real numbers and `SMC()` for others; or `RePaint()`, or these with other options.

        Returns:
            `(n, B, …)`, otherwise as `sample`; known entries are exactly what they were.

        Raises:
            DataError: `x` is not of the model's shape, or holds what its data cannot.
            ConfigError: a bad option, or a method that takes one example alone.
        """
        from inkwash.impute import impute

        return impute(self, x, n, **options)

    def to_model(self, x: Any, missing: bool = False) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device; NaN where an entry is missing, if it may."""
        x = self.rows(x)
        if self.transform is not None:
            x = self.transform.to_model(np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x), missing)
        tensor = self._shaped("x", x)
        lattice = self.process.lattice
        if lattice is not None and not lattice.holds(tensor.nan_to_num(lattice.low) if missing else tensor):
            raise DataError("x", "other values", f"one of {lattice.values().tolist()} in each entry")
        return tensor

    def rows(self, x: Any) -> Any:
        """What stands in the data for the rows of a `pandas.DataFrame`; anything else as it is."""
        return from_frame(chosen(self.transform).spec, x) if hasattr(x, "columns") else x

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units."""
        return x if self.transform is None else self.transform.to_data(x.cpu())

    @property
    def lattice(self) -> Lattice | Bins | None:
        return None if self.transform is None else self.transform.lattice

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example in data units, as it came."""
        return self.shape if self.transform is None else self.transform.spec.data_shape

    @property
    def unit(self) -> float:
        """The length in data units of one in model units; a mean over the channels."""
        return 1.0 if self.transform is None else sum(self.transform.scale) / len(self.transform.scale)

    def real(self, x: Tensor) -> Tensor:
        """Model units to data units as real numbers, still `(B, *shape)`; differentiable."""
        return x if self.transform is None else self.transform.real(x)

    def stretch(self, x: Tensor) -> Tensor:
        """A difference in model units as one in data units, of an affine transform."""
        return x if self.transform is None else self.transform.stretch(x)

    def __mul__(self, factor: Factor) -> Product:
        """The distribution in proportion to p(x) r(x); see `inkwash.product`."""
        from inkwash.product import Product

        return Product(self, ()) * factor

    __rmul__ = __mul__

    def whole(self, x: Any) -> Tensor:
        """`to_model` of examples of which nothing is missing."""
        if bool((model_x := self.to_model(x)).isnan().any()):
            raise DataError("x", "a missing value", "whole examples; bound and impute take others")
        return model_x

    def _shaped(self, where: str, x: Any) -> Tensor:
        """Examples in model units on the model's device."""
        tensor = torch.as_tensor(x, device=self.device)
        if tuple(tensor.shape[1:]) != self.shape or len(tensor) == 0:
            raise DataError(where, f"shape {tuple(tensor.shape)}", f"at least one example of shape {self.shape}")
        return tensor


def require_same_values(process: Process, transform: Transform) -> None:
    """Check that a transform takes data to the values of a process, if that has values of its own.

    Raises:
        ConfigError: it does not.
    """
    if process.lattice not in (None, transform.lattice):
        need = f"data on {process.lattice}, the values of a {type(process).__name__} process, or no transform"
        raise ConfigError("transform", transform.lattice or "continuous data", need)
