"""`Diffusion`: a process, a denoiser and a data transform, together a probability distribution."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.randomness import Purpose, generator, seed_of
from inkwash.core.shapes import Array, as_batch, as_time, over
from inkwash.data.condition import ConditionKeywords, ConditionSpec, guided
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, parameters_of
from inkwash.denoise.measure import measured_variance
from inkwash.denoise.spikes import Spiked
from inkwash.denoise.wrap import clipped, prediction_of, with_variance
from inkwash.likelihood.bound import Bound, bound
from inkwash.likelihood.flow import Dequantise, Divergence, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.likelihood.ode import Solver
from inkwash.model.interpolation import diffuse_alike, linear, spherical
from inkwash.model.model import OF_DATA, Model
from inkwash.model.options import WalkOptions
from inkwash.model.units import Units, require_same_values
from inkwash.model.walking import WalkingModel
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.noise.grid import as_grid, uniform_grid
from inkwash.process.variance import Analytic, ReverseVariance
from inkwash.sample.walk import StepOptions, Walking


class Diffusion(WalkingModel):
    """A diffusion model as a probability distribution over data of one shape.

    Args:
        denoiser: network + process; a network that is a module is put in evaluation mode.
        shape: shape of one example in model units.
        transform: takes data units to model units and back. None: the two are the same, and data are
            continuous tensors.
        steps: steps of the model's own grid: that of the bound and, unless `walking` decides otherwise, of walks.
        dtype: of the noisy data while sampling; by default that of the network's parameters, or torch's default.
        condition: what the network takes beside noisy data and time; nothing by default.
        walking: how to walk where no option says so; see `with_options`.

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
        walking: Walking | None = None,
    ) -> None:
        self.denoiser = denoiser.eval() if isinstance(denoiser, nn.Module) else denoiser
        self.process = denoiser.process
        if transform is not None:
            require_same_values(self.process, transform)
        self.shape = tuple(shape)
        self.transform = transform
        self.steps = steps
        self.walking = walking or Walking()
        self.condition = condition or ConditionSpec()
        self.condition.check()
        parameter = next(parameters_of(denoiser), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = dtype or (torch.get_default_dtype() if parameter is None else parameter.dtype)
        self.units = Units(self.shape, transform, self.condition, self.process.lattice, self.device, self.dtype)

    def with_denoiser(self, denoiser: AnyDenoiser) -> Diffusion:
        """The same model around another denoiser."""
        return Diffusion(denoiser, self.shape, self.transform, self.steps, self.dtype, self.condition, self.walking)

    def with_options(
        self,
        *,
        variance: str | ReverseVariance | None = None,
        clip: bool | tuple[float, float] | None = None,
        **steps: Unpack[StepOptions],
    ) -> Diffusion:
        """The same network as a model with other options of its own, which were open until now.

        Whatever walks or bounds take from the model is then as decided here, unless an argument of theirs says
        otherwise. None leaves an option as it is.

        Args:
            variance: of the reverse step: "small", "large", or an `Analytic`, such as `measured_variance` gives; and
                "learned" or "free" for a network that was trained so.
            clip: whether estimates of clean data are clipped to its range; or to which range, model units.
            **steps: `sampler`, `steps`, `times` and `grid` of walks, as of `sample`. `steps` does not change the grid
                of the bound.

        Raises:
            ConfigError: a bad option, or two that exclude each other; a variance for a process of bits or categories,
                or one that the network was not trained for; clipping of data without a known range.
        """
        denoiser, walking = self.denoiser, self.walking.but(**steps)
        walking.plan(self.process, self.steps)  # refuses what does not go together
        if clip is not None:
            denoiser = clipped(denoiser, clip, self.units.lattice)
        if variance is not None:
            denoiser = with_variance(denoiser, variance)
        return Diffusion(denoiser, self.shape, self.transform, self.steps, self.dtype, self.condition, walking)

    def measured_variance(self, x: Any, *, seed: int = 0, **options: Unpack[ConditionKeywords]) -> Analytic:
        """The best reverse variance that depends only on time, measured on data: for `with_options(variance=…)`.

        It is that of the model's estimates as they are clipped now. It costs 32 evaluations of the network per example;
        some hundred examples will do, and they may be those trained on.

        Args:
            x: data units, `(B, …)`.
            seed: of the noise.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a process that is not Gaussian, or a bad `label` or `seed`.
        """
        model_x = self.to_model(x).to(self.dtype)
        condition = self.condition.inputs(len(model_x), **options)
        return measured_variance(self.denoiser, model_x, self.steps, condition, seed_of(seed))

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
        return self.units.cut(self.to_data(self._walk_down(linear(a_t, b_t, weights), t, starts, **options)))

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
        entries: bool = False,
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
            entries: whether to keep what each entry adds, such as each pixel, as `Bound.per_entry`.
            **options: `label` and `given` of the examples, as of `sample`; by default there is no condition.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `steps`, `times`, `terms`, `seed` or `label`; `times` beside `steps`.
        """
        model_x, continuous = self.to_model(x), steps == math.inf
        grid = as_grid(None if continuous and times is None else steps, times, self.steps)
        condition = self.condition.inputs(len(model_x), **options)
        result = bound(self.denoiser, model_x, grid, self.units.lattice, terms, seed, continuous, condition, entries)
        return result.with_log_det(self.units.entry_log_det(model_x))

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
        its real numbers, and so have numbers that recur: what is returned for such tables is a lower bound too.

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
        if lattice is not None or isinstance(prediction_of(self.denoiser), Spiked):
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
        return self.units.cut(self.to_data(transport(self.denoiser, z, 1.0, 0.0, solver=solver, condition=condition)))

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

    def noisy_to_data(self, x_t: Tensor, t: float) -> Array:
        """As of `Model`; noisy data has the scale of clean data."""
        scaled = x_t / over(self.process.scale(t), x_t) if isinstance(self.process, Gaussian) else x_t
        return self.units.to_unrounded(scaled)


def require_diffusion(model: Model, where: str) -> Diffusion:
    """The model itself, for what only a diffusion model of the data can do.

    Raises:
        ConfigError: another kind of model.
    """
    if not isinstance(model, Diffusion):
        raise ConfigError(where, f"a {type(model).__name__}", OF_DATA)
    return model
