r"""Factors: functions r(x) that multiply a model's distribution, $\tilde p(x) \propto p(x)\,r(x)$.

A factor is stated in data units. Multiplied with a model it becomes `Evidence` in model units: known entries,
measurements $y = A x + \mathrm{noise}$, and any other differentiable $\log r$. A linear measurement remains linear
where the map between the units is affine; elsewhere it is refused. A factor that changes the belief of the denoiser,
and is no function of x, wraps the denoiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.condition import guided
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import Conditioned
from inkwash.model.product import Factor
from inkwash.model.units import Units
from inkwash.posterior.evidence import Evidence, Linear, Potential, nothing
from inkwash.process.distributions import standard_normal

_ROUNDING = 1e-4


@short_repr
@dataclass(frozen=True, eq=False)
class Observed(Factor):
    r"""Known entries: $r(x) = \prod_{i \in \mathrm{mask}} \delta(x_i - \mathrm{values}_i)$.

    Args:
        mask: boolean, true where an entry is known; of the shape of one example in data units, or one that broadcasts
            to it.
        values: their values in data units, of such a shape too; they have no meaning where the mask is false.

    Raises:
        ConfigError: when it multiplies a model, a mask that is not boolean or nowhere true, or another shape.
        DataError: then too, values that the model's data cannot take.
    """

    mask: Any
    values: Any

    def evidence(self, units: Units) -> Evidence:
        mask, values = self.known(units)
        x = units.to_model(np.where(mask, values, np.nan)[None], missing=True)[0].double().nan_to_num(0.0)
        if units.transform is not None:
            mask = units.transform.spec.to_channels_first(mask[None])[0]
        return Evidence(torch.tensor(mask, device=units.device), x)

    def known(self, units: Units) -> tuple[Array, Array]:
        """Mask and values in the full shape of one example in data units."""
        shape = units.data_shape
        mask, values = _broadcast("observed.mask", self.mask, shape), _broadcast("observed.values", self.values, shape)
        if mask.dtype != np.bool_ or not mask.any():
            raise ConfigError("observed.mask", f"{mask.dtype}, {int(mask.sum())} entries", "booleans, one or more true")
        if not np.isfinite(values[mask]).all():
            raise DataError("observed.values", "NaN or infinity", "finite numbers where the mask is true")
        return mask, values


def _broadcast(where: str, part: Any, shape: tuple[int, ...]) -> Array:
    array = np.asarray(part)
    try:
        return np.array(np.broadcast_to(array, shape))
    except ValueError:
        raise ConfigError(where, f"shape {array.shape}", f"{shape}, or what broadcasts to it") from None


@short_repr
@dataclass(frozen=True, eq=False)
class Measurement(Factor):
    r"""A linear measurement with normal noise: $r(x) = \mathcal N(y;\ A x,\ \mathrm{noise}^2)$.

    Args:
        A: a matrix `(m, d)` for the d entries of an example in one row; or a callable that takes examples `(B,
            *shape)`, shaped as in model units (images channels first) but in data units, to anything of B rows, in
            torch. It must be linear, or affine; automatic differentiation finds its adjoint. See
            `inkwash.model.operators`.
        y: the measurement, as many numbers as A gives for one example, in A's units.
        noise: standard deviation of the noise, in A's units, at least 0; one number, or one for each of y. With 0,
            samples fit y as closely as the arithmetic of the method allows; use `Observed` for entries that must come
            back exactly.

    Raises:
        ConfigError: when it multiplies a model, an A that is not affine, noise below 0, sizes that do not fit, or a
            model whose own map to data units is not affine.
    """

    A: Any
    y: Any
    noise: Any

    def evidence(self, units: Units) -> Evidence:
        if units.transform is not None and units.transform.curves:
            need = "standard or min-max, so that it stays linear; or a Classifier, which need not be"
            raise ConfigError("measurement: data.transform", units.transform.kind, need)
        zero = torch.zeros((1, *units.shape), dtype=torch.float64, device=units.device)
        scale = units.scale
        offset = self._apply(units.difference_to_data(zero))

        def apply(x: Tensor) -> Tensor:
            return (self._apply(units.difference_to_data(x)) - offset.to(x)) / scale

        self._require_affine(apply, zero)
        found = self._apply(units.to_reals(zero))[0]
        y, noise = (torch.as_tensor(v, dtype=torch.float64, device=units.device) for v in (self.y, self.noise))
        if y.numel() != found.numel() or not bool(y.isfinite().all()):
            raise ConfigError("measurement.y", f"shape {tuple(y.shape)}", f"{found.numel()} finite numbers, as A gives")
        if noise.numel() not in (1, y.numel()) or not bool((noise >= 0).all()):
            raise ConfigError("measurement.noise", self.noise, "a standard deviation >= 0, or one for each of y")
        residual = (y.flatten() - found) / scale
        var = ((noise.flatten() / scale) ** 2).expand_as(residual)
        return replace(nothing(units.shape, units.device), measured=(Linear(apply, units.shape, residual, var),))

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


@short_repr
@dataclass(frozen=True, eq=False)
class Classifier(Factor):
    r"""Any differentiable $\log r(x)$, for example the log-probability that a classifier gives to a label.

    Args:
        log_prob: takes examples `(B, *shape)`, shaped as in model units (images channels first) but in data units, as
            real numbers, to log r `(B,)`, in torch, each row by itself. Adding a constant makes no difference.

    Raises:
        ConfigError: when it multiplies a model, another shape than `(B,)`; on use, a function without a derivative, for
            methods other than `SMC`.
    """

    log_prob: Potential

    def evidence(self, units: Units) -> Evidence:
        with torch.inference_mode(False), torch.enable_grad():
            zero = torch.zeros((2, *units.shape), dtype=units.dtype, device=units.device, requires_grad=True)
            found = self.log_prob(units.to_reals(zero))
        if tuple(found.shape) != (2,):
            raise ConfigError("classifier.log_prob", f"shape {tuple(found.shape)} of 2 examples", "(2,), one for each")
        potential = (lambda x: self.log_prob(units.to_reals(x)),)
        return replace(nothing(units.shape, units.device), potentials=potential, differentiable=found.requires_grad)


@short_repr
@dataclass(frozen=True, eq=False)
class Condition(Factor):
    r"""A condition y of a model that was trained with one: $r(x) = p(y \mid x)^w$, as the network knows it.

    The product of a model with only this factor samples what the model's own `label`, `given` and `guidance` do, bit
    for bit. With other factors, it selects the distribution of the model that they multiply.

    Args:
        label: one class, as of `Diffusion.sample`; None, with guidance 1 and nothing given, changes nothing.
        given: the numbers or the image of one example, as of `Diffusion.sample`.
        guidance: w.

    Raises:
        ConfigError: when it multiplies a model, one without such a condition, or a guidance below 0.
        DataError: then too, given values that do not fit.
    """

    label: Any = None
    given: Any = None
    guidance: float = 1.0

    is_condition: ClassVar[bool] = True

    def wrap(self, denoiser: AnyDenoiser, units: Units) -> AnyDenoiser:
        return Conditioned(denoiser, self._inputs(units))

    def evidence(self, units: Units) -> Evidence:
        self._inputs(units)
        return nothing(units.shape, units.device)

    def _inputs(self, units: Units) -> Mapping[str, Any]:
        return guided(units.condition.inputs(1, self.label, self.given), self.guidance)
