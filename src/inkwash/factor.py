r"""Factors: functions r(x) that multiply a model's distribution, $\tilde p(x) \propto p(x)\,r(x)$.

A factor is stated in data units. Bound to a model it becomes `Evidence`, in model units: entries that are known,
measurements $y = A x + \mathrm{noise}$, and any other differentiable $\log r$. Where the map between the units is
affine a linear measurement remains one; elsewhere it is refused. A factor that changes what the denoiser believes, and
is no function of x, wraps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from inkwash.data.condition import guided
from inkwash.denoise import AnyDenoiser, Given
from inkwash.distributions import standard_normal
from inkwash.errors import ConfigError, DataError
from inkwash.shapes import in_turn, sum_event

if TYPE_CHECKING:
    from inkwash.model import Diffusion

Array = np.ndarray[Any, np.dtype[Any]]
Potential = Callable[[Tensor], Tensor]
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Linear:
    r"""$y = A x + \mathcal N(0, \mathrm{var})$ in model units.

    Args:
        apply: A, maps `(B, *shape)` to `(B, m)`, linear.
        shape: of one example.
        y: what was measured, `(m,)`, float64; or `(groups, m)`, of several examples in turn.
        var: variance of its noise, `(m,)`, float64; 0 where there is none.
    """

    apply: Potential
    shape: tuple[int, ...]
    y: Tensor
    var: Tensor

    def adjoint(self, w: Tensor) -> Tensor:
        r"""$A^\top w$ `(B, *shape)` of `w` `(B, m)`."""
        with torch.inference_mode(False), torch.enable_grad():
            x = w.new_zeros((len(w), *self.shape)).requires_grad_()
            return torch.autograd.grad(self.apply(x), x, w)[0]

    def residual(self, x: Tensor) -> Tensor:
        """y - A x, `(B, m)`."""
        return (self.y if self.y.ndim == 1 else in_turn(self.y, len(x))).to(x) - self.apply(x)

    @cached_property
    def gram(self) -> Tensor:
        r"""$A A^\top$, `(m, m)`, float64."""
        return self.apply(self.adjoint(torch.eye(len(self.var), dtype=torch.float64, device=self.y.device)))


@dataclass(frozen=True)
class Evidence:
    """What factors say of x, in model units.

    Args:
        known: which entries are known, boolean `(*shape)`.
        values: what they are, `(*shape)`, float64; elsewhere without meaning.
        measured: linear measurements.
        potentials: functions `(B, *shape) -> (B,)`, each a log r(x).
        differentiable: whether torch can differentiate all of them.
    """

    known: Tensor
    values: Tensor
    measured: tuple[Linear, ...] = ()
    potentials: tuple[Potential, ...] = ()
    differentiable: bool = True

    def __add__(self, other: Evidence) -> Evidence:
        both = self.known & other.known
        if not torch.equal(self.values[both], other.values[both]):
            raise ConfigError("observed.values", "two values for one entry", "factors that agree on what is known")
        return Evidence(
            self.known | other.known,
            torch.where(other.known, other.values, self.values),
            self.measured + other.measured,
            self.potentials + other.potentials,
            self.differentiable and other.differentiable,
        )

    @cached_property
    def linear(self) -> Linear | None:
        """Everything linear as one measurement, known entries as measured without noise; None if there is nothing."""
        parts, values = list(self.measured), self.values[self.known]
        if len(values):
            parts.append(Linear(lambda x: x[:, self.known], tuple(self.known.shape), values, 0 * values))
        if not parts:
            return None

        def apply(x: Tensor) -> Tensor:
            return torch.cat([part.apply(x) for part in parts], 1)

        y, var = (torch.cat([getattr(part, name) for part in parts]) for name in ("y", "var"))
        return Linear(apply, tuple(self.known.shape), y, var)

    @property
    def groups(self) -> int:
        """How many examples the evidence is of: row k of anything belongs to example k modulo so many."""
        return 1

    def known_of(self, x: Tensor) -> Tensor:
        """Which entries of `x` `(B, *shape)` are known, likewise."""
        return self.known.expand(x.shape)

    def with_known(self, x: Tensor) -> Tensor:
        """`x` `(B, *shape)` with the known entries put in."""
        return torch.where(self.known_of(x), self.values.to(x), x)

    def potential(self, x: Tensor) -> Tensor:
        """Sum of the potentials, `(B,)`."""
        return sum((potential(x) for potential in self.potentials), x.new_zeros(len(x)))

    def require_derivatives(self) -> None:
        """Check that the potentials have derivatives, for a method that looks at nothing else of them.

        Raises:
            ConfigError: one has none, and would count for nothing.
        """
        if not self.differentiable:
            raise ConfigError("classifier.log_prob", "a function without a derivative", "one in torch; or SMC")

    def soft(self, x: Tensor) -> Tensor:
        """log r(x) but for the known entries, `(B,)`, up to a constant.

        Raises:
            ConfigError: a measurement without noise, which has no density.
        """
        total = self.potential(x)
        for part in self.measured:
            if not bool((part.var > 0).all()):
                raise ConfigError("measurement.noise", 0, "a number > 0 here: without noise there is no density")
            total = total - 0.5 * sum_event(part.residual(x) ** 2 / part.var.to(x))
        return total


@dataclass(frozen=True)
class EachKnown(Evidence):
    """What is known of several examples side by side: `known` and `values` are `(groups, *shape)`."""

    @property
    def groups(self) -> int:
        return len(self.known)

    def known_of(self, x: Tensor) -> Tensor:
        return in_turn(self.known, len(x))

    def with_known(self, x: Tensor) -> Tensor:
        return torch.where(self.known_of(x), in_turn(self.values, len(x)).to(x), x)

    @cached_property
    def linear(self) -> Linear:
        """The known entries as measured without noise; what is not known as a measurement of nothing."""

        def apply(x: Tensor) -> Tensor:
            return (x * self.known_of(x)).flatten(1)

        nothing = torch.zeros_like(self.values)
        return Linear(apply, tuple(self.known.shape[1:]), self.with_known(nothing).flatten(1), nothing[0].flatten())


def gradient(potential: Potential, x: Tensor) -> Tensor:
    """The gradient at `x` `(B, *shape)` of a function `(B, *shape) -> (B,)` that takes each row by itself."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        value = potential(x).sum()
        return torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros_like(x)


class Factor:
    """A function r(x), or a condition, that multiplies a model: `model * factor`; factors multiply one another."""

    @property
    def parts(self) -> tuple[Factor, ...]:
        """The factors of a product of factors; else the factor alone."""
        return (self,)

    def wrap(self, denoiser: AnyDenoiser, model: Diffusion) -> AnyDenoiser:
        """The model's denoiser under this factor, for one that changes the belief itself and is no function of x."""
        return denoiser

    def evidence(self, model: Diffusion) -> Evidence:
        """What the factor says of x in the model's units."""
        return nothing(model)

    def __mul__(self, other: Factor) -> Factor:
        return Factors((*self.parts, *other.parts)) if isinstance(other, Factor) else NotImplemented


class Factors(Factor):
    """A product of factors, none of them a product."""

    def __init__(self, parts: tuple[Factor, ...]) -> None:
        self._parts = parts

    @property
    def parts(self) -> tuple[Factor, ...]:
        return self._parts


def nothing(model: Diffusion) -> Evidence:
    """Evidence that says nothing."""
    known = torch.zeros(model.shape, dtype=torch.bool, device=model.device)
    return Evidence(known, torch.zeros(model.shape, dtype=torch.float64, device=model.device))


def gathered(model: Diffusion, factors: Sequence[Factor]) -> Evidence:
    """What all factors together say of x.

    Raises:
        ConfigError: more than one `Told`, or a factor that does not fit the model.
    """
    told = sum(isinstance(factor, Told) for factor in factors)
    if told > 1:
        raise ConfigError("told", f"{told} conditions", "one at most")
    return reduce(Evidence.__add__, (factor.evidence(model) for factor in factors), nothing(model))


@dataclass(frozen=True, eq=False)
class Observed(Factor):
    r"""Entries that are known: $r(x) = \prod_{i \in \mathrm{mask}} \delta(x_i - \mathrm{values}_i)$.

    Args:
        mask: boolean, true where an entry is known; the shape of one example in data units, or what broadcasts to it.
        values: what is known, data units, likewise; where the mask is false it is not looked at.

    Raises:
        ConfigError: when it multiplies a model: a mask that is not boolean, or knows nothing, or another shape.
        DataError: values that the model's data cannot take.
    """

    mask: Any
    values: Any

    def evidence(self, model: Diffusion) -> Evidence:
        mask, values = self.in_data_units(model)
        x = model.to_model(np.where(mask, values, np.nan)[None], missing=True)[0].double().nan_to_num(0.0)
        if model.transform is not None:
            mask = model.transform.spec.to_channels_first(mask[None])[0]
        return Evidence(torch.tensor(mask, device=model.device), x)

    def in_data_units(self, model: Diffusion) -> tuple[Array, Array]:
        """Mask and values at the full shape of an example as it came; values without meaning where nothing is known."""
        shape = model.data_shape
        mask, values = _broadcast("observed.mask", self.mask, shape), _broadcast("observed.values", self.values, shape)
        if mask.dtype != np.bool_ or not mask.any():
            raise ConfigError("observed.mask", f"{mask.dtype}, {int(mask.sum())} entries", "booleans, one or more true")
        if not np.isfinite(values[mask]).all():
            raise DataError("observed.values", "NaN or infinity", "finite numbers where the mask is true")
        return mask, values


def _broadcast(where: str, given: Any, shape: tuple[int, ...]) -> Array:
    array = np.asarray(given)
    try:
        return np.array(np.broadcast_to(array, shape))
    except ValueError:
        raise ConfigError(where, f"shape {array.shape}", f"{shape}, or what broadcasts to it") from None


@dataclass(frozen=True, eq=False)
class Measurement(Factor):
    r"""A linear measurement with normal noise: $r(x) = \mathcal N(y;\ A x,\ \mathrm{noise}^2)$.

    Args:
        A: a matrix `(m, d)` for the d entries of an example in one row; or a callable that takes examples `(B,
            *shape)`, shaped as in model units (images channels first) but in data units, to anything of B rows, in
            torch. It must be linear, or affine; its adjoint is found by automatic differentiation. See
            `inkwash.operators`.
        y: what was measured, as many numbers as A gives for one example, in A's units.
        noise: standard deviation of the noise, in A's units, at least 0; a number, or one for each of y. With 0 draws
            fit y as nearly as the method's arithmetic does; entries that must come back exactly are for `Observed`.

    Raises:
        ConfigError: when it multiplies a model: an A that is not affine, noise below 0, sizes that do not fit, or a
            model whose own map to data units is not affine.
    """

    A: Any
    y: Any
    noise: Any

    def evidence(self, model: Diffusion) -> Evidence:
        if model.transform is not None and model.transform.curves:
            need = "standard or min-max, so that it stays linear; or a Classifier, which need not be"
            raise ConfigError("measurement: data.transform", model.transform.kind, need)
        zero = torch.zeros((1, *model.shape), dtype=torch.float64, device=model.device)
        unit = model.unit
        offset = self._apply(zero)

        def apply(x: Tensor) -> Tensor:
            return (self._apply(model.stretch(x)) - offset.to(x)) / unit

        self._require_affine(apply, zero)
        found = self._apply(model.real(zero))[0]
        y, noise = (torch.as_tensor(v, dtype=torch.float64, device=model.device) for v in (self.y, self.noise))
        if y.numel() != found.numel() or not bool(y.isfinite().all()):
            raise ConfigError("measurement.y", f"shape {tuple(y.shape)}", f"{found.numel()} finite numbers, as A gives")
        if noise.numel() not in (1, y.numel()) or not bool((noise >= 0).all()):
            raise ConfigError("measurement.noise", self.noise, "a standard deviation >= 0, or one for each of y")
        residual = (y.flatten() - found) / unit
        var = ((noise.flatten() / unit) ** 2).expand_as(residual)
        return replace(nothing(model), measured=(Linear(apply, model.shape, residual, var),))

    def _apply(self, x: Tensor) -> Tensor:
        """A x, `(B, m)`, for x in data units."""
        if callable(self.A):
            return self.A(x).flatten(1)
        matrix = torch.as_tensor(self.A).to(x)
        if matrix.ndim != 2 or matrix.shape[1] != x[0].numel():
            raise ConfigError("measurement.A", f"shape {tuple(matrix.shape)}", f"(m, {x[0].numel()})")
        return x.flatten(1) @ matrix.T

    def _require_affine(self, apply: Potential, zero: Tensor) -> None:
        a, b = (standard_normal(zero.shape, torch.Generator().manual_seed(k), like=zero) for k in range(2))
        found, expected = apply(a - 2 * b), apply(a) - 2 * apply(b)
        if not torch.allclose(found, expected, rtol=_ROUNDING, atol=_ROUNDING * float(expected.abs().max())):
            raise ConfigError("measurement.A", "a map that is not affine", "a linear one; or a Classifier")


@dataclass(frozen=True, eq=False)
class Classifier(Factor):
    r"""Any differentiable $\log r(x)$: the log-probability that a classifier gives to a label, for one.

    Args:
        log_prob: takes examples `(B, *shape)`, shaped as in model units (images channels first) but in data units, as
            real numbers, to log r `(B,)`, in torch, each row by itself. A constant in it makes no difference.

    Raises:
        ConfigError: when it multiplies a model: another shape than `(B,)`; on use, a function without a derivative, by
            methods other than `SMC`.
    """

    log_prob: Potential

    def evidence(self, model: Diffusion) -> Evidence:
        with torch.inference_mode(False), torch.enable_grad():
            zero = torch.zeros((2, *model.shape), dtype=model.dtype, device=model.device, requires_grad=True)
            found = self.log_prob(model.real(zero))
        if tuple(found.shape) != (2,):
            raise ConfigError("classifier.log_prob", f"shape {tuple(found.shape)} of 2 examples", "(2,), one for each")
        potential = (lambda x: self.log_prob(model.real(x)),)
        return replace(nothing(model), potentials=potential, differentiable=found.requires_grad)


@dataclass(frozen=True, eq=False)
class Told(Factor):
    r"""A condition y of a model that was trained with one: $r(x) = p(y \mid x)^w$, as the network knows it.

    Alone it is the model's own `label`, `given` and `guidance`, draw for draw; with other factors it says which of the
    model's distributions these multiply.

    Args:
        label: one class, as of `Diffusion.sample`; None, with guidance 1 and nothing given, changes nothing.
        given: the numbers or the image of one example, as of `Diffusion.sample`.
        guidance: w.

    Raises:
        ConfigError: when it multiplies a model: one without such a condition, a guidance below 0.
        DataError: then too: what is given does not fit.
    """

    label: Any = None
    given: Any = None
    guidance: float = 1.0

    def wrap(self, denoiser: AnyDenoiser, model: Diffusion) -> AnyDenoiser:
        return Given(denoiser, self._asked(model))

    def evidence(self, model: Diffusion) -> Evidence:
        self._asked(model)
        return nothing(model)

    def _asked(self, model: Diffusion) -> Mapping[str, Any]:
        return guided(model.condition.told(1, self.label, self.given), self.guidance)
