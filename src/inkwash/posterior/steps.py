r"""Methods that change the steps of a walk, and leave the belief about x as it is.

Known entries affect the others only through their noisy states, so the samples follow another law than the product's,
at any number of steps. `RePaint` mends that by repeating steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, require_integer
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.posterior.entrywise import tilt
from inkwash.posterior.evidence import Evidence, gradient
from inkwash.posterior.guidance import LEAST, solve_floored
from inkwash.posterior.method import Method, require_ancestral
from inkwash.process.distributions import Bits, Normal, standard_normal
from inkwash.process.gaussian import require_gaussian
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Stepwise, Walker

Options = TypeVar("Options", bound=Method)


@dataclass(frozen=True)
class StepProduct(Method):
    r"""The rule of the study notes and of Sohl-Dickstein et al. (2015, §2.5): every step is multiplied by the factor,
    $\tilde p(x_s \mid x_t) \propto p(x_s \mid x_t)\,r(x_s)$, as if noisy data were data. Known entries take their
    values, measurements multiply the normal step, and another $\log r$ shifts its mean by the variance times its
    gradient (the first order of their eq. 2.5); bits are tilted. The rule is an approximation that does **not**
    converge to the product, however many steps there are.
    """

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        require_ancestral(self, sampler)
        evidence.require_derivatives()
        return Stepwise(denoiser, _Multiplied(evidence))


@dataclass(frozen=True)
class _Multiplied(Sampler):
    evidence: Evidence

    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        reverse = denoiser.process.reverse(x_t, denoiser(x_t, t), s, t)
        if isinstance(reverse, Bits):
            return Bits(reverse.logits + tilt(self.evidence).to(x_t)).draw(generator)
        if s == 0:
            return reverse.mean
        if not isinstance(reverse, Normal) or reverse.var.ndim:
            raise ConfigError("method StepProduct", "a variance that is learned", "one that depends only on time")
        shifted = reverse.mean + reverse.var * gradient(self.evidence.potential, reverse.mean)
        return self._measured(Normal(shifted, reverse.var).draw(generator), reverse.var, generator)

    def _measured(self, x: Tensor, var: Tensor, generator: torch.Generator) -> Tensor:
        """A sample x of N(., var), moved to a sample of that law times the measurements (Matheron's rule)."""
        linear = self.evidence.linear
        if linear is None:
            return x
        noise = standard_normal((len(x), len(linear.var)), generator, like=x) * linear.var.sqrt().to(x)
        matrix = (var.double() * linear.gram + linear.var.diag())[None]
        return x + var * linear.adjoint(solve_floored(matrix, LEAST * var, linear.residual(x) + noise))


@dataclass(frozen=True)
class _Composed(Sampler, Generic[Options]):
    """Steps of another sampler, each followed by what a method adds."""

    sampler: Sampler
    evidence: Evidence
    options: Options

    def inner(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        """x_s as the other sampler gives it."""
        *_, (_, x_s) = self.sampler.trajectory(denoiser, x_t, torch.stack([t, s]), generator)
        return x_s


@dataclass(frozen=True)
class RePaint(Method):
    r"""For known entries under any process: after each step they are replaced by samples of $q(x_s \mid x)$. Every
    stretch of `jump` steps is walked `repeats` times, with noise added in between to return to its start (Lugmayr et
    al. 2022, algorithm 1). The step to time 0 is taken once: it has no noise of its own, so that each repeat would
    take some variance away. One repeat is the replacement of Song et al. (2021, App. I.2). The method approaches the
    product as repeats grow, as far as the reverse kernel is right: repeats add up its errors, such as those of the
    small variance.

    Args:
        repeats: how many times each stretch is walked.
        jump: steps of a stretch.

    Raises:
        ConfigError: `repeats` or `jump` below 1; on use, a factor that is not `Observed`.
    """

    side_by_side: ClassVar[bool] = True
    repeats: int = 10
    jump: int = 10

    def __post_init__(self) -> None:
        require_integer("method.repeats", self.repeats)
        require_integer("method.jump", self.jump)

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        if evidence.measured or evidence.potentials:
            raise ConfigError("method RePaint", "other factors than known entries", "only Observed")
        return Stepwise(denoiser, _Repainted(sampler, evidence, self))


class _Repainted(_Composed[RePaint]):
    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        x_s = self.inner(denoiser, x_t, t, s, generator)
        known = denoiser.process.marginal(self.evidence.with_known(x_s), s).draw(generator)
        return torch.where(self.evidence.known_of(x_s), known, x_s)

    def trajectory(
        self, denoiser: AnyDenoiser, x_1: Tensor, times: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        x = x_1
        for start in range(0, len(times) - 1, self.options.jump):
            stretch = times[start : start + self.options.jump + 1]
            noisy = stretch[stretch > 0]
            for _ in range(self.options.repeats - 1 if len(noisy) > 1 else 0):
                *_, (s, x_s) = super().trajectory(denoiser, x, noisy, generator)
                x = denoiser.process.transition(x_s, s, stretch[0]).draw(generator)
            for s, x in super().trajectory(denoiser, x, stretch, generator):  # noqa: B020
                yield s, x


@dataclass(frozen=True)
class DPS(Method):
    r"""Diffusion posterior sampling (Chung et al. 2023, algorithm 1): after each step,
    $x_s \leftarrow x_s - \mathrm{scale}\,\nabla_{x_t}\lVert y - A\hat x(x_t)\rVert$, with the norm of each example by
    itself, in model units. The method ignores the noise of the measurement. It pulls samples towards y; their law is
    not that of the product.

    Args:
        scale: step size along the gradient of the norm, the paper's $\zeta'$.

    Raises:
        ConfigError: a scale that is not positive; on use, a `Classifier` or a process that is not Gaussian.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError("method.scale", self.scale, "a number > 0")

    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        require_gaussian(denoiser.process, "method DPS", "--method smc")
        if evidence.potentials:
            raise ConfigError("method DPS", "a Classifier", "only known entries and linear measurements")
        return Stepwise(denoiser, _Descended(sampler, evidence, self))


class _Descended(_Composed[DPS]):
    def step(self, denoiser: AnyDenoiser, x_t: Tensor, t: Tensor, s: Tensor, generator: torch.Generator) -> Tensor:
        linear = self.evidence.linear
        if linear is None:
            raise ConfigError("method DPS", "nothing measured", "a factor")

        def distance(x: Tensor) -> Tensor:
            return linear.residual(denoiser(x, t).x).norm(dim=1)

        return self.inner(denoiser, x_t, t, s, generator) - self.options.scale * gradient(distance, x_t)
