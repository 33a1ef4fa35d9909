r"""Denoisers of a product: the belief about x, given $x_t$ and the factors.

By Tweedie's formula for the product, $\mathbb E[x \mid x_t, r] = \hat x + \frac{\sigma^2}{\alpha}
\nabla_{x_t}\log r_t(x_t)$ with $r_t(x_t) = \mathbb E[r(x) \mid x_t]$, which is seldom known. Each method replaces
$p(x \mid x_t)$ by a law for which it is. With $J = d\hat x/dx_t$ every method comes down to a vector v in the space of
x, and to the estimates $\hat x + \frac{\sigma^2}{\alpha}J^\top v$ and $\hat\epsilon - \sigma J^\top v$.
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
from inkwash.posterior.evidence import Evidence, Linear, Map, Potential, gradient
from inkwash.posterior.method import Method
from inkwash.process.distributions import Normal
from inkwash.process.gaussian import Estimate, require_gaussian
from inkwash.process.region import between
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Stepwise, Walker

LEAST = 1e-6
"""An eigenvalue below this share of the variance of standard normal data counts as that of redundant measurements."""

_LEAST_LOG_SNR = -20.0
_TINY = 1e-300


@dataclass(frozen=True)
class Local:
    r"""The belief of a denoiser around $x_t$.

    Args:
        x: $\hat x$, `(B, *event)`.
        pull: takes v to $J^\top v$, both `(B, *event)`.
        gain: $\sigma^2/\alpha$, shaped to multiply x.
        spread: $\sigma^2/(\alpha^2 + \sigma^2)$, shaped so too: the variance of x given $x_t$ for standard normal data.
    """

    x: Tensor
    pull: Map
    gain: Tensor
    spread: Tensor

    def cov(self, v: Tensor) -> Tensor:
        r"""$\mathrm{Cov}[x \mid x_t]\,v = \frac{\sigma^2}{\alpha}J^\top v$ (Efron 2011, eq. 2.8)."""
        return self.gain * self.pull(v)


class Guidance(Method):
    """A method that changes only the belief: any sampler walks with it."""

    @abstractmethod
    def direction(self, local: Local, evidence: Evidence) -> Tensor:
        """The vector v, `(B, *event)`: the gradient of log r_t with respect to the estimate."""

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        evidence.require_derivatives()
        return Stepwise(Guided(denoiser, evidence, self), sampler)


class Guided(nn.Module):
    """The denoiser of a product of real-valued data.

    Args:
        denoiser: the denoiser of the model, around a network that torch can differentiate.
        evidence: what multiplies the model.
        guidance: how r_t is approximated.

    Raises:
        ConfigError: a process that is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, evidence: Evidence, guidance: Guidance) -> None:
        super().__init__()
        self.denoiser, self.evidence, self.guidance = denoiser, evidence, guidance
        self.process = require_gaussian(denoiser.process, f"method {type(guidance).__name__}", "--method smc")
        self.latest = self.process.schedule.time(_LEAST_LOG_SNR)

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The estimate under the product; it has no distribution over levels."""
        return self.look(x_t, as_time(t), **condition)[1]

    def look(self, x_t: Tensor, t: Tensor, **condition: Any) -> tuple[Estimate, Estimate, Local]:
        """The estimate of the model, that of the product, and the belief of the model around `x_t`.

        Where almost no signal is left, the denoiser is evaluated at an earlier time: its derivative would otherwise be
        lost to rounding.
        """
        earlier = torch.minimum(t, self.latest.to(t.device))
        with torch.inference_mode(False), torch.enable_grad():
            x_t = x_t.clone().requires_grad_()
            live = self.denoiser(x_t, earlier, **condition)
        schedule = self.process.schedule
        alpha, sigma = over(schedule.alpha(earlier), x_t), over(schedule.sigma(earlier), x_t)

        def pull(v: Tensor) -> Tensor:
            return torch.autograd.grad(live.x, x_t, v, retain_graph=True)[0]

        plain = _detached(live, x_t.detach(), t)
        local = Local(plain.x, pull, sigma**2 / alpha, sigma**2 / (alpha**2 + sigma**2))
        pulled = pull(self.guidance.direction(local, self.evidence))
        x, eps = plain.x + local.gain * pulled, plain.eps - sigma * pulled
        return plain, replace(plain, x=x, eps=eps, level_logits=None, mixture=None, spiked=None), local


def _detached(estimate: Estimate, x_t: Tensor, t: Tensor) -> Estimate:
    spread = None if estimate.spread is None else estimate.spread.detach()
    spiked = None if estimate.spiked is None else estimate.spiked.detached()
    plain = replace(estimate, spread=spread, spiked=spiked)
    return replace(plain, x=estimate.x.detach(), eps=estimate.eps.detach(), x_t=x_t, t=t)


@dataclass(frozen=True)
class MomentMatching(Guidance):
    r"""$p(x \mid x_t) \approx \mathcal N(\hat x, C)$ with the true covariance $C = \frac{\sigma^2}{\alpha}J^\top$, so
    that $p(y \mid x_t) \approx \mathcal N(y;\ A\hat x,\ A C A^\top + R)$ (Rozet et al. 2024, eqs. 14-16; C is taken as
    constant in $x_t$). It is exact for Gaussian data, measured linearly or with a $\log r$ that is quadratic and
    concave. Any other $\log r$ is expanded to second order around the estimate given the measurements.

    Args:
        iterations: iterations of Lanczos' method for the inverse of $A C A^\top + R$, and of conjugate gradients for
            another $\log r$; each takes a backward pass. With as many as there are measured numbers the inverse is
            exact.
        floor: the least uncertainty of anything measured, as a share of that of standard normal data measured without
            noise: the derivative of a trained network is not a covariance to the last digit. 0 trusts it, and is exact
            for Gaussian data of any variance.

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

        def remaining(v: Tensor) -> Tensor:
            """v less what the measurements explain: C times this is the covariance of x given them, times v."""
            return v if linear is None else v - linear.adjoint(solve(linear.apply(local.cov(v))))

        mean = local.x + local.cov(found)
        return found + remaining(self._ascend(evidence.potential, mean, lambda v: local.cov(remaining(v))))

    def _solver(self, local: Local, linear: Linear) -> Map:
        r"""The map from b `(B, m)` to $(A C A^\top + R)^{-1} b$."""

        def cov(w: Tensor) -> Tensor:
            return linear.apply(local.cov(linear.adjoint(w))) + linear.var.to(w) * w

        return lambda b: lanczos(cov, b, self.iterations, max(self.floor, LEAST) * local.spread)

    def _ascend(self, potential: Potential, x: Tensor, cov: Map) -> Tensor:
        r"""v such that x + C v is the mean of $\mathcal N(x, C)$ times r, where $\log r$ is expanded at x to second
        order, with gradient g and curvature H: $(I - H C)v = g$."""

        def operator(v: Tensor, moved: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                return v - vhp(lambda z: potential(z).sum(), x.clone(), moved.clone())[1]

        return conjugate_gradients(operator, gradient(potential, x), self.iterations, cov)


@dataclass(frozen=True)
class PiGDM(Guidance):
    r"""$p(x \mid x_t) \approx \mathcal N\big(\hat x, \tfrac{\sigma^2}{\alpha^2+\sigma^2}I\big)$: pseudo-inverse
    guidance (Song et al. 2023, eqs. 7-8). The score found so is used as it is, without the weights of their
    algorithm 1. The covariance is that of standard normal data. Any other $\log r$ is evaluated at $\hat x$; if its
    curvature h is known, it is divided by $1 + h\,\mathrm{Var}[x \mid x_t]$, as is exact for a normal r of that
    curvature. A region counts with its probability under that law. It takes one backward pass.
    """

    def direction(self, local: Local, evidence: Evidence) -> Tensor:
        return gradient(partial(log_twist, local.spread, evidence), local.x)


def log_twist(spread: Tensor, evidence: Evidence, x: Tensor) -> Tensor:
    """PiGDM's log r_t `(B,)`, a function of the estimate x, up to a constant that depends only on time."""
    total, linear = evidence.potential(x) / (1 + evidence.curvature * spread.flatten()), evidence.linear
    if evidence.region is not None:
        law = Normal(x.double(), spread.double())
        total = total + sum_event(between(law, evidence.region.low, evidence.region.high)[1]).to(x)
    if linear is None:
        return total
    residual = linear.residual(x)
    matrix = spread.double().reshape(-1, 1, 1) * linear.gram + linear.var.diag()
    return total - 0.5 * (residual * solve_floored(matrix, LEAST * spread, residual)).sum(1)


def solve_floored(matrix: Tensor, least: Tensor, b: Tensor) -> Tensor:
    """S^-1 b for matrices S `(B, m, m)` or `(1, m, m)`, float64, whose eigenvalues count as at least `least`."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp(min=least.double().reshape(-1, 1))
    components = vectors.mT @ b.double()[..., None] / values[..., None]
    return (vectors @ components)[..., 0].to(b)


def lanczos(operator: Map, b: Tensor, iterations: int, least: Tensor) -> Tensor:
    r"""S^-1 b `(B, m)` in the space that b, S b, S^2 b, … span, where the eigenvalues of S count as at least `least`.

    With m iterations that is all of the space. The basis is orthogonalised again at each step, in float64.

    Args:
        operator: S, of which the symmetric part counts.
        b: the right-hand side; each row stands for itself.
        iterations: the most times that S is applied.
        least: one number for all rows, or one for each.
    """
    basis, pushed = b.new_zeros(*b.shape, 0, dtype=torch.float64), []
    new = b.double()
    for _ in range(min(iterations, b.shape[1])):
        unit = _beside(basis, _beside(basis, new))
        basis = torch.cat([basis, unit[..., None]], 2)
        new = operator(unit.to(b)).double()
        pushed.append(new)
    projected = basis.mT @ torch.stack(pushed, 2)
    found = solve_floored((projected + projected.mT) / 2, least, (basis.mT @ b.double()[..., None])[..., 0])
    return (basis @ found[..., None])[..., 0].to(b)


def _beside(basis: Tensor, v: Tensor) -> Tensor:
    """The direction of v `(B, m)` orthogonal to the orthonormal columns of `basis` `(B, m, k)`; 0 if there is none."""
    return normalize(v - (basis @ (basis.mT @ v[..., None]))[..., 0], dim=1, eps=_TINY)


def conjugate_gradients(
    operator: Callable[[Tensor, Tensor], Tensor], b: Tensor, iterations: int, metric: Map | None = None
) -> Tensor:
    """Solve K v = b approximately for each row of `b` `(B, *)`, and stop where K turns out not to be positive.

    Args:
        operator: takes `(p, M p)` to K p; self-adjoint under the inner product with M.
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
