r"""`Evidence`: what factors r(x) say about an example, as tensors in model units.

Entries may be known, measured as $y = A x + \mathrm{noise}$, within a region, or weighed by any other differentiable
$\log r$.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import in_turn, sum_event
from inkwash.process.region import Region

Map = Callable[[Tensor], Tensor]
"""A map of rows: what it gives for a row does not depend on the other rows."""

Potential = Callable[[Tensor], Tensor]
"""A log r(x), up to a constant: examples `(B, *shape)` to `(B,)`, each row by itself."""


@dataclass(frozen=True)
class Linear:
    r"""$y = A x + \mathcal N(0, \mathrm{var})$ in model units.

    Args:
        apply: A, a linear map from `(B, *shape)` to `(B, m)`.
        shape: of one example.
        y: the measurement, `(m,)`, float64; or `(groups, m)`, one for each of several examples in turn.
        var: variance of its noise, `(m,)`, float64; 0 where there is none.
    """

    apply: Map
    shape: tuple[int, ...]
    y: Tensor
    var: Tensor

    def adjoint(self, w: Tensor) -> Tensor:
        r"""$A^\top w$, `(B, *shape)`, for `w` `(B, m)`."""
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
    r"""What factors say about x, in model units.

    Args:
        known: which entries are known, boolean `(*shape)`.
        values: their values, `(*shape)`, float64; they have no meaning elsewhere.
        measured: linear measurements.
        potentials: other factors, each as a log r(x).
        differentiable: whether torch can differentiate all of them.
        curvature: about the largest curvature of their sum, the eigenvalue of $-\nabla^2\log r$; 0: it is not known.
        region: what the entries may be; None: anything.
    """

    known: Tensor
    values: Tensor
    measured: tuple[Linear, ...] = ()
    potentials: tuple[Potential, ...] = ()
    differentiable: bool = True
    curvature: float = 0.0
    region: Region | None = None

    def __add__(self, other: Evidence) -> Evidence:
        both = self.known & other.known
        if not torch.equal(self.values[both], other.values[both]):
            raise ConfigError("observed.values", "two values for one entry", "factors that agree on what is known")
        found = Evidence(
            self.known | other.known,
            torch.where(other.known, other.values, self.values),
            self.measured + other.measured,
            self.potentials + other.potentials,
            self.differentiable and other.differentiable,
            self.curvature + other.curvature,
            self.region & other.region if self.region and other.region else self.region or other.region,
        )
        if found.region and not bool(found.region.holds(found.with_known(found.region.some()[None]))):
            raise ConfigError("where", "a condition that a known entry does not meet", "factors that agree")
        return found

    @cached_property
    def linear(self) -> Linear | None:
        """All measurements as one, with known entries as measurements without noise; None if there are none."""
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
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return self.linear is None and not self.potentials and self.region is None

    @property
    def groups(self) -> int:
        """How many examples the evidence is about: row k of anything belongs to example k modulo this number."""
        return 1

    def known_of(self, x: Tensor) -> Tensor:
        """Which entries of `x` `(B, *shape)` are known, boolean `(B, *shape)`."""
        return self.known.expand(x.shape)

    def with_known(self, x: Tensor) -> Tensor:
        """`x` `(B, *shape)` with known entries replaced by their values."""
        return torch.where(self.known_of(x), self.values.to(x), x)

    def settle(self, x: Tensor) -> Tensor:
        """`with_known`, with numbers beyond an end of the region moved to it: for samples, which are that close."""
        return self.with_known(x if self.region is None else self.region.clamp(x))

    def potential(self, x: Tensor) -> Tensor:
        """Sum of the potentials, `(B,)`."""
        return sum((potential(x) for potential in self.potentials), x.new_zeros(len(x)))

    def require_derivatives(self) -> None:
        """Check that the potentials have derivatives, for a method that uses nothing else of them.

        Raises:
            ConfigError: one has none, so that it would have no effect.
        """
        if not self.differentiable:
            raise ConfigError("classifier.log_prob", "a function without a derivative", "one in torch; or SMC")

    def soft(self, x: Tensor) -> Tensor:
        """log r(x) without the factor of known entries, `(B,)`, up to a constant.

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
    """The known entries of several examples side by side: `known` and `values` are `(groups, *shape)`."""

    @property
    def groups(self) -> int:
        return len(self.known)

    def known_of(self, x: Tensor) -> Tensor:
        return in_turn(self.known, len(x))

    def with_known(self, x: Tensor) -> Tensor:
        return torch.where(self.known_of(x), in_turn(self.values, len(x)).to(x), x)

    @cached_property
    def linear(self) -> Linear:
        """The known entries as measurements without noise; every other entry is a measurement of 0 as 0."""

        def apply(x: Tensor) -> Tensor:
            return (x * self.known_of(x)).flatten(1)

        nothing = torch.zeros_like(self.values)
        return Linear(apply, tuple(self.known.shape[1:]), self.with_known(nothing).flatten(1), nothing[0].flatten())


def gradient(potential: Potential, x: Tensor) -> Tensor:
    """The gradient at `x` `(B, *shape)` of a function to `(B,)` that takes each row by itself; 0 if it does not depend
    on x."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        value = potential(x).sum()
        return torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros_like(x)


def nothing(shape: tuple[int, ...], device: torch.device) -> Evidence:
    """Evidence that says nothing about an example of `shape`."""
    known = torch.zeros(shape, dtype=torch.bool, device=device)
    return Evidence(known, torch.zeros(shape, dtype=torch.float64, device=device))
