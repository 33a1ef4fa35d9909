r"""Denoisers of a product: what is believed of x, given $x_t$ and the factors.

By Tweedie's formula for the product, $\mathbb E[x \mid x_t, r] = \hat x + \frac{\sigma^2}{\alpha}
\nabla_{x_t}\log r_t(x_t)$ with $r_t(x_t) = \mathbb E[r(x) \mid x_t]$, which is seldom known. Each method replaces
$p(x \mid x_t)$ by something for which it is. With $J = d\hat x/dx_t$ every one of them comes down to a vector v in the
space of x, and to $\hat x + \frac{\sigma^2}{\alpha}J^\top v$ and $\hat\epsilon - \sigma J^\top v$.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.functional import vhp
from torch.nn.functional import normalize

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time, over, sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.posterior.evidence import Evidence, Linear, Potential, gradient
from inkwash.posterior.method import Method
from inkwash.process.gaussian import Estimate, require_gaussian
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Stepwise, Walker

Apply = Callable[[Tensor], Tensor]
LEAST = 1e-6
"""Share of the variance of standard normal data below which an eigenvalue counts as that of redundant measurements."""

_LEAST_LOG_SNR = -20.0
_TINY = 1e-300


@dataclass(frozen=True)
class Local:
    r"""What a denoiser says around $x_t$.

    Args:
        x: $\hat x$, `(B, *event)`.
        pull: takes v to $J^\top v$, both `(B, *event)`.
        gain: $\sigma^2/\alpha$, shaped to multiply x.
        spread: $\sigma^2/(\alpha^2 + \sigma^2)$, likewise: variance of x given $x_t$ for standard normal data.
    """

    x: Tensor
    pull: Apply
    gain: Tensor
    spread: Tensor

    def cov(self, v: Tensor) -> Tensor:
        r"""$\mathrm{Cov}[x \mid x_t]\,v = \frac{\sigma^2}{\alpha}J^\top v$ (Efron 2011, eq. 2.8)."""
        return self.gain * self.pull(v)


class Guidance(Method):
    """A method that changes the belief alone: any sampler walks with it."""

    @abstractmethod
    def direction(self, local: Local, evidence: Evidence) -> Tensor:
        """The vector v, `(B, *event)`: the gradient of log r_t with respect to the estimate."""

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        evidence.require_derivatives()
        return Stepwise(Guided(denoiser, evidence, self), sampler)


class Guided(nn.Module):
    """The denoiser of a product of real-valued data.

    Args:
        denoiser: that of the model, around a network that torch can differentiate.
        evidence: what multiplies it.
        guidance: how r_t is approximated.

    Raises:
        ConfigError: a process that is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, evidence: Evidence, guidance: Guidance) -> None:
        super().__init__()
        self.denoiser, self.evidence, self.guidance = denoiser, evidence, guidance
        self.process = require_gaussian(denoiser.process, f"method {type(guidance).__name__}")
        self.latest = self.process.schedule.time(_LEAST_LOG_SNR)

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The estimate under the product; it says nothing of levels."""
        return self.look(x_t, as_time(t), **condition)[1]

    def look(self, x_t: Tensor, t: Tensor, **condition: Any) -> tuple[Estimate, Estimate, Local]:
        """The model's estimate, that of the product, and what the model says around `x_t`.

        Where next to no signal is left the denoiser is asked about a time when there is some: its derivative would be
        lost to rounding.
        """
        asked = torch.minimum(t, self.latest.to(t.device))
        with torch.inference_mode(False), torch.enable_grad():
            x_t = x_t.clone().requires_grad_()
            live = self.denoiser(x_t, asked, **condition)
        alpha, sigma = (over(scale(asked), x_t) for scale in (self.process.schedule.alpha, self.process.schedule.sigma))

        def pull(v: Tensor) -> Tensor:
            return torch.autograd.grad(live.x, x_t, v, retain_graph=True)[0]

        plain = _detached(live, x_t.detach(), t)
        local = Local(plain.x, pull, sigma**2 / alpha, sigma**2 / (alpha**2 + sigma**2))
        pulled = pull(self.guidance.direction(local, self.evidence))
        x, eps = plain.x + local.gain * pulled, plain.eps - sigma * pulled
        return plain, replace(plain, x=x, eps=eps, level_logits=None), local


def _detached(estimate: Estimate, x_t: Tensor, t: Tensor) -> Estimate:
    spread = None if estimate.spread is None else estimate.spread.detach()
    return replace(estimate, x=estimate.x.detach(), eps=estimate.eps.detach(), x_t=x_t, t=t, spread=spread)


@dataclass(frozen=True)
class MomentMatching(Guidance):
    r"""$p(x \mid x_t) \approx \mathcal N(\hat x, C)$ with the true covariance $C = \frac{\sigma^2}{\alpha}J^\top$, so
    that $p(y \mid x_t) \approx \mathcal N(y;\ A\hat x,\ A C A^\top + R)$ (Rozet et al. 2024, eqs. 14-16; C taken as
    constant in $x_t$). Exact for Gaussian data, measured linearly or with a $\log r$ that is quadratic and concave.

    Other $\log r$ are expanded to second order around the estimate given the measurements.

    Args:
        iterations: of Lanczos' method for the inverse of $A C A^\top + R$, and of conjugate gradients for another
            $\log r$; each is a backward pass. With as many as numbers are measured the inverse is exact.
        floor: nothing measured counts as less uncertain than this share of what it would be for standard normal data
            without noise of the measurement: the derivative of a trained network is not a covariance to the last
            digit. 0 trusts it, and is exact for Gaussian data of any variance.

    Raises:
        ConfigError: `iterations` below 1, or a floor outside [0, 1].
    """

    side_by_side: ClassVar[bool] = True
    iterations: int = 4
    floor: float = 0.3

    def __post_init__(self) -> None:
        require_integer("method.iterations", self.iterations)
        if not 0 <= self.floor <= 1:
            raise ConfigError("method.floor", self.floor, "a number between 0 and 1")

    def direction(self, local: Local, evidence: Evidence) -> Tensor:
        linear, found = evidence.linear, torch.zeros_like(local.x)
        if linear is not None:
            solve = self._solver(local, linear)
            found = linear.adjoint(solve(linear.residual(local.x)))
        if not evidence.potentials:
            return found

        def within(v: Tensor) -> Tensor:
            """What is left of v given the measurements: C times this is their covariance of x times v."""
            return v if linear is None else v - linear.adjoint(solve(linear.apply(local.cov(v))))

        mean = local.x + local.cov(found)
        return found + within(self._ascend(evidence.potential, mean, lambda v: local.cov(within(v))))

    def _solver(self, local: Local, linear: Linear) -> Apply:
        r"""Takes b `(B, m)` to $(A C A^\top + R)^{-1} b$."""

        def cov(w: Tensor) -> Tensor:
            return linear.apply(local.cov(linear.adjoint(w))) + linear.var.to(w) * w

        return lambda b: lanczos(cov, b, self.iterations, max(self.floor, LEAST) * local.spread)

    def _ascend(self, potential: Potential, x: Tensor, cov: Apply) -> Tensor:
        r"""v such that x + C v is the mean of $\mathcal N(x, C)$ times r, expanded at x to second order, with gradient
        g and curvature H: $(I - H C)v = g$."""

        def operator(v: Tensor, moved: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                return v - vhp(lambda z: potential(z).sum(), x.clone(), moved.clone())[1]

        return conjugate_gradients(operator, gradient(potential, x), self.iterations, cov)


@dataclass(frozen=True)
class PiGDM(Guidance):
    r"""$p(x \mid x_t) \approx \mathcal N\big(\hat x, \tfrac{\sigma^2}{\alpha^2+\sigma^2}I\big)$: pseudo-inverse
    guidance (Song et al. 2023, eqs. 7-8), with the score so found used as it is, not with the weights of their
    algorithm 1. One backward pass. The covariance is that of standard normal data. Other $\log r$ are evaluated at
    $\hat x$.
    """

    def direction(self, local: Local, evidence: Evidence) -> Tensor:
        return gradient(partial(log_twist, local.spread, evidence), local.x)


def log_twist(spread: Tensor, evidence: Evidence, x: Tensor) -> Tensor:
    """log r_t `(B,)` as PiGDM has it, a function of the estimate x; up to a constant that depends on time alone."""
    total, linear = evidence.potential(x), evidence.linear
    if linear is None:
        return total
    residual = linear.residual(x)
    whole = spread.double().reshape(-1, 1, 1) * linear.gram + linear.var.diag()
    return total - 0.5 * (residual * solve_floored(whole, LEAST * spread, residual)).sum(1)


def solve_floored(whole: Tensor, least: Tensor, b: Tensor) -> Tensor:
    """S^-1 b for matrices S `(B, m, m)` or `(1, m, m)`, float64, no eigenvalue of which counts as less than `least`."""
    values, vectors = torch.linalg.eigh(whole)
    values = values.clamp(min=least.double().reshape(-1, 1))
    components = vectors.mT @ b.double()[..., None] / values[..., None]
    return (vectors @ components)[..., 0].to(b)


def lanczos(operator: Apply, b: Tensor, iterations: int, least: Tensor) -> Tensor:
    r"""S^-1 b `(B, m)`, no eigenvalue of S counting as less than `least`, in the space that b, S b, S^2 b, … span.

    With m iterations that is the whole space. The basis is made orthogonal anew at each step, in float64.

    Args:
        operator: S, of which the symmetric part is taken.
        b: the right-hand side; each row by itself.
        iterations: how often S is applied, at most.
        least: one for all rows or for each.
    """
    basis, pushed = b.new_zeros(*b.shape, 0, dtype=torch.float64), []
    new = b.double()
    for _ in range(min(iterations, b.shape[1])):
        unit = _beside(basis, _beside(basis, new))
        basis = torch.cat([basis, unit[..., None]], 2)
        new = operator(unit.to(b)).double()
        pushed.append(new)
    within = basis.mT @ torch.stack(pushed, 2)
    found = solve_floored((within + within.mT) / 2, least, (basis.mT @ b.double()[..., None])[..., 0])
    return (basis @ found[..., None])[..., 0].to(b)


def _beside(basis: Tensor, v: Tensor) -> Tensor:
    """The direction of v `(B, m)` beside the orthogonal columns of `basis` `(B, m, k)`; 0 where there is none."""
    return normalize(v - (basis @ (basis.mT @ v[..., None]))[..., 0], dim=1, eps=_TINY)


def conjugate_gradients(
    operator: Callable[[Tensor, Tensor], Tensor], b: Tensor, iterations: int, metric: Apply | None = None
) -> Tensor:
    """Solve K v = b approximately, each row of `b` `(B, *)` by itself, stopping where K is found not to be positive.

    Args:
        operator: `(p, M p)` to K p; self-adjoint under the inner product with M.
        b: the right-hand side.
        iterations: how many.
        metric: M, the identity by default.
    """
    v, r, p, moved, before = torch.zeros_like(b), b, torch.zeros_like(b), torch.zeros_like(b), b.new_ones(len(b))
    for _ in range(iterations):
        pushed = r if metric is None else metric(r)
        size = sum_event(r * pushed)
        share = over(_ratio(size, before), b)
        p, moved, before = r + share * p, pushed + share * moved, size
        bent = operator(p, moved)
        step = over(_ratio(size, sum_event(moved * bent)), b)
        v, r = v + step * p, r - step * bent
    return v


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b where both are positive, else 0."""
    fine = (a > 0) & (b > 0)
    return torch.where(fine, a / torch.where(fine, b, 1), 0)
