"""`Diffusion`: a process, a denoiser and a data transform, held together as what they are, a distribution."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.condition import Condition
from inkwash.config import chosen
from inkwash.data.transform import Transform
from inkwash.denoise import AnyDenoiser, given
from inkwash.errors import ConfigError, DataError, require_integer
from inkwash.flow import Dequantise, Divergence, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.gaussian import require_gaussian
from inkwash.likelihood import Bound, bound
from inkwash.noise import as_grid, uniform_grid
from inkwash.ode import Solver
from inkwash.process import Process
from inkwash.randomness import Purpose, chosen_seed, generator, slot_places, slot_rows
from inkwash.sample import Ancestral, Sampler

if TYPE_CHECKING:
    from inkwash.factor import Factor
    from inkwash.product import Product

Array = np.ndarray[Any, np.dtype[Any]]


class Diffusion:
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
        ConfigError: a transform to other values than those of a discrete process.
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
        parameter = next(iter(_parameters(denoiser)), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = dtype or (torch.get_default_dtype() if parameter is None else parameter.dtype)

    def sample(
        self,
        n: int,
        *,
        seed: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        times: Tensor | None = None,
        label: Any = None,
        guidance: float = 1.0,
    ) -> Any:
        """Draw `n` examples.

        Sample i of a seed is the same, bit for bit, whatever `n`, and whatever the labels of the others.

        Args:
            n: how many, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator.
            sampler: how to walk; `Ancestral()` by default.
            steps: number of steps of a uniform grid; the model's own by default.
            times: or the grid itself, decreasing from 1 to 0.
            label: the class to draw from, or one for each example; None draws from all, without label.
            guidance: w, the power of p(label | x_t) that is multiplied with p(x_t): 0 ignores the label, 1 draws from
                p(x | label), more insists on what tells the class from others. Neither 0 nor 1 takes two evaluations of
                the network in place of one. See `inkwash.denoise.NetworkDenoiser`.

        Returns:
            With a transform an array in data units, shape `(n, …)` and dtype as the data came; without one a tensor
            `(n, *shape)`.

        Raises:
            ConfigError: a bad `n`, `seed`, `steps`, `times`, `label` or `guidance`.
        """
        walk = self.trajectory(n, seed=seed, sampler=sampler, steps=steps, times=times, label=label, guidance=guidance)
        _, x = deque(walk, maxlen=1).pop()
        return self.to_data(x)

    @torch.no_grad()
    def trajectory(
        self,
        n: int,
        *,
        seed: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        times: Tensor | None = None,
        label: Any = None,
        guidance: float = 1.0,
    ) -> Iterator[tuple[float, Tensor]]:
        """Yield `(s, x_s)` after every step of the walk that `sample` takes; `x_s` is `(n, *shape)` in model units."""
        require_integer("n", n, 1)
        seed, grid = chosen_seed(seed), as_grid(steps, times, self.steps)
        rows, condition = slot_rows(self.shape, self.device), self.told(label, n, guidance)
        asked = [given(self.denoiser, condition, slot_places(slot, rows, n)) for slot in range(-(-n // rows))]
        walks = [self._walk(each, seed, slot, rows, sampler or Ancestral(), grid) for slot, each in enumerate(asked)]
        for states in zip(*walks, strict=True):
            yield float(states[0][0]), torch.cat([x for _, x in states])[:n]

    def _walk(
        self, denoiser: AnyDenoiser, seed: int, slot: int, rows: int, sampler: Sampler, grid: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        random = generator(seed, Purpose.SAMPLE, slot)
        like = torch.zeros((), dtype=self.dtype, device=self.device)
        x_1 = self.process.prior((rows, *self.shape), like=like).draw(random)
        return sampler.trajectory(denoiser, x_1, grid, random)

    def bound(
        self,
        x: Any,
        *,
        steps: float | None = None,
        times: Tensor | None = None,
        terms: int | None = None,
        seed: int = 0,
        label: Any = None,
    ) -> Bound:
        """The variational bound on -log p(x), or on -log p(x | label), nats per example.

        For continuous data it bounds the density in data units: the transform's log-determinant is in `reconstruction`.

        Args:
            x: data units, `(B, …)`.
            steps: number of steps of a uniform grid; the model's own by default. `math.inf` is continuous time down to
                the first time of the model's own grid, where the decoder takes over.
            times: or the grid itself, decreasing from 1 to 0.
            terms: how many diffusion terms to evaluate per example; all by default. See `inkwash.likelihood.bound`.
            seed: of the noise.
            label: the class of the examples, or one for each; None takes the model without labels.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad `steps`, `times`, `terms` or `label`.
        """
        model_x = self.to_model(x)
        lattice = None if self.transform is None else self.transform.lattice
        continuous = steps == math.inf
        grid = as_grid(None if continuous else steps, times, self.steps)
        condition = self.told(label, len(model_x))
        result = bound(self.denoiser, model_x, grid, lattice, terms, seed, continuous, condition)
        if self.transform is None or lattice is not None:
            return result
        log_det = self.transform.log_det().to(self.device)
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
        label: Any = None,
    ) -> LogProb:
        """The exact log p(x), or log p(x | label), along the probability-flow ODE, nats per example; compare it with
        `-bound(x).total`.

        For continuous data it is a log-density in data units. Data with levels has none: it is dequantised, and the
        result is a lower bound on log P(x).

        Args:
            x: data units, `(B, …)`.
            divergence: "exact", "hutchinson" or "auto", which is exact for up to 64 entries; see
                `inkwash.flow.flow_log_prob`.
            probes: vectors of signs for "hutchinson", 8 by default.
            solver: `Adaptive()` by default.
            dequantise: for data with levels alone; `Dequantise()` by default.
            seed: of the noise and of the signs.
            label: the class of the examples, or one for each; None takes the model without labels.

        Raises:
            DataError: `x` is not of the model's shape.
            ConfigError: a bad option, or a tolerance that is not reached.
            NonFiniteError: the network is NaN or infinite on the way.
        """
        model_x = self.to_model(x)
        lattice = None if self.transform is None else self.transform.lattice
        condition = self.told(label, len(model_x))
        if lattice is not None:
            options = dequantise or Dequantise()
            grid = uniform_grid(self.steps)
            return dequantised_log_prob(
                self.denoiser,
                model_x,
                grid,
                lattice,
                options,
                divergence=divergence,
                probes=probes,
                solver=solver,
                seed=seed,
                condition=condition,
            )
        if dequantise is not None:
            raise ConfigError("dequantise", "continuous data", "data with levels")
        result = flow_log_prob(
            self.denoiser,
            model_x,
            divergence=divergence,
            probes=probes,
            solver=solver,
            seed=seed,
            condition=condition,
        )
        if self.transform is None:
            return result
        return replace(result, value=result.value + self.transform.log_det().to(self.device))

    def encode(self, x: Any, *, solver: Solver | None = None, label: Any = None) -> Tensor:
        """The point of noise x_1 that the probability-flow ODE moves `x` to: one code for each `x`, no randomness.

        Args:
            x: data units, `(B, …)`.
            solver: `Adaptive()` by default.
            label: the class of the examples, or one for each: the code then says what the label does not.

        Returns:
            `(B, *shape)`, float64, model units; over data it is distributed like `process.prior`.
        """
        model_x = self.to_model(x)
        condition = self.told(label, len(model_x))
        return transport(self.denoiser, model_x, 0.0, 1.0, solver=solver, condition=condition)

    def decode(self, z: Tensor, *, solver: Solver | None = None, label: Any = None) -> Any:
        """The data that a code stands for: the inverse of `encode`.

        Args:
            z: x_1, model units, `(B, *shape)`.
            solver: `Adaptive()` by default.
            label: the class to decode to, or one for each code; that of `encode` gives the data back.

        Returns:
            As `sample`: an array in data units, or a tensor `(B, *shape)` where there is no transform.

        Raises:
            DataError: `z` is not of the model's shape.
        """
        self._require_shape("z", z)
        condition = self.told(label, len(z))
        x = transport(self.denoiser, z.to(self.device), 1.0, 0.0, solver=solver, condition=condition)
        return self.to_data(x)

    @torch.no_grad()
    def score(self, x_t: Tensor, t: float | Tensor, *, label: Any = None, guidance: float = 1.0) -> Tensor:
        """The gradient of log p(x_t) with respect to `x_t` `(B, *shape)`, in model units; with a label that of
        log p(x_t) + w log p(label | x_t), where w is the guidance.

        Raises:
            ConfigError: a process of bits, which have no gradient; a bad `label` or `guidance`.
        """
        require_gaussian(self.process, "score")
        return self.denoiser(x_t, t, **self.told(label, len(x_t), guidance)).score

    def told(self, label: Any, count: int, guidance: float = 1.0) -> Mapping[str, Any]:
        """What the denoiser is asked with, by name: nothing without a label, else class numbers `(count,)`.

        A `count` of 1 stands for any number of examples: `Given(model.denoiser, model.told(3, 1, 2.0))`.

        Raises:
            ConfigError: a bad `label` or `guidance`.
        """
        if not 0 <= guidance < math.inf:
            raise ConfigError("guidance", guidance, "a finite number >= 0")
        if label is None:
            if guidance != 1:
                raise ConfigError("guidance", guidance, "a label to guide to")
            return {}
        numbers = {"label": self.condition.numbers(label, count)}
        return numbers if guidance == 1 else {**numbers, "guidance": guidance}

    def to_model(self, x: Any) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device."""
        tensor = torch.as_tensor(x) if self.transform is None else self.transform.to_model(np.asarray(x))
        self._require_shape("x", tensor)
        lattice = self.process.lattice
        if lattice is not None and not lattice.holds(tensor):
            raise DataError("x", "other values", f"one of {lattice.values().tolist()} in each entry")
        return tensor.to(self.device)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units."""
        return x if self.transform is None else self.transform.to_data(x.cpu())

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example in data units, as it came."""
        return self.shape if self.transform is None else self.transform.spec.data_shape

    @property
    def unit(self) -> float:
        """The length in data units of one in model units; a mean over the channels."""
        return 1.0 if self.transform is None else sum(self.transform.scale) / len(self.transform.scale)

    def affine(self, x: Tensor) -> Tensor:
        """Model units to data units as real numbers, still `(B, *shape)`; differentiable."""
        return x if self.transform is None else self.transform.affine(x)

    def stretch(self, x: Tensor) -> Tensor:
        """A difference in model units as one in data units."""
        return x if self.transform is None else self.transform.stretch(x)

    def __mul__(self, factor: Factor) -> Product:
        """The distribution in proportion to p(x) r(x); see `inkwash.product`."""
        from inkwash.product import Product

        return Product(self, ()) * factor

    __rmul__ = __mul__

    def _require_shape(self, where: str, tensor: Tensor) -> None:
        if tuple(tensor.shape[1:]) != self.shape or len(tensor) == 0:
            raise DataError(where, f"shape {tuple(tensor.shape)}", f"at least one example of shape {self.shape}")


def _parameters(denoiser: AnyDenoiser) -> Iterator[nn.Parameter]:
    return denoiser.parameters() if isinstance(denoiser, nn.Module) else iter(())


def require_same_values(process: Process, transform: Transform) -> None:
    """Check that a transform takes data to the values of a process, if that has values of its own.

    Raises:
        ConfigError: it does not.
    """
    if process.lattice not in (None, transform.lattice):
        need = f"data on {process.lattice}, the values of a {type(process).__name__} process, or no transform"
        raise ConfigError("transform", transform.lattice or "continuous data", need)
