"""Methods that change the steps: on normal data every step is affine, so that mean and covariance have a recursion."""

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import pytest
import torch
from bugs import bug
from oracles import F64, UNEVEN, GaussianData, last_moments, tensor
from products import LINEAR, real_model
from torch import Tensor

import inkwash as iw
from inkwash.model.product import gathered
from inkwash.posterior import steps
from inkwash.process.distributions import Normal
from inkwash.sample.sampler import Sampler

HALF = GaussianData([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]])
LEFT = iw.Observed([True, False], [0.95, 0.0])
EYE = torch.eye(2, dtype=F64)
UNKNOWN = torch.diag(tensor([0.0, 1.0]))


@dataclass(frozen=True)
class Affine:
    """x to `matrix` x + `shift` + noise of the covariance `noise`."""

    matrix: Tensor
    shift: Tensor
    noise: Tensor

    def then(self, after: "Affine") -> "Affine":
        return Affine(
            after.matrix @ self.matrix,
            after.matrix @ self.shift + after.shift,
            after.matrix @ self.noise @ after.matrix.T + after.noise,
        )

    def times(self, n: int) -> "Affine":
        """As often in turn, by doubling."""
        if n == 0:
            return REST
        half = self.times(n // 2)
        return half.then(half).then(self.times(n % 2)) if n > 1 else self


def scales(t):
    return float(LINEAR.alpha(t)), float(LINEAR.sigma(t))


def back(s, t, large=False):
    """The step from x_t to x_s that has the mean of q(x_s | x_t, x) at the estimate of x."""
    (a_s, s_s), (a_t, s_t) = scales(s), scales(t)
    fresh = s_t**2 - (a_t / a_s * s_s) ** 2
    estimate = a_t * HALF.cov @ torch.linalg.inv(a_t**2 * HALF.cov + s_t**2 * EYE)
    matrix = a_t / a_s * (s_s / s_t) ** 2 * EYE + a_s * fresh / s_t**2 * estimate
    return Affine(matrix, 0 * EYE[0], 0 * EYE if s == 0 else fresh * (1.0 if large else (s_s / s_t) ** 2) * EYE)


def forth(s, t):
    """Noise from time s to time t."""
    (a_s, s_s), (a_t, s_t) = scales(s), scales(t)
    return Affine(a_t / a_s * EYE, 0 * EYE[0], (s_t**2 - (a_t / a_s * s_s) ** 2) * EYE)


def clamped(alpha, sigma):
    """The first entry replaced by one around its known value."""
    return Affine(UNKNOWN, tensor([0.95 * alpha, 0.0]), torch.diag(tensor([sigma**2, 0.0])))


REST = Affine(EYE, 0 * EYE[0], 0 * EYE)


def repainted(times, repeats, jump, large=True):
    """The walk of all steps, each followed by noisy known entries; what leads away from time 0 is walked once."""
    times, walk = [float(t) for t in times], REST
    for first in range(0, len(times) - 1, jump):
        stretch = times[first : first + jump + 1]
        moves = [back(s, t, large).then(clamped(*scales(s))) for t, s in pairwise(stretch)]
        noisy = [s for s in stretch if s > 0]
        there = reduce(Affine.then, moves[: len(noisy) - 1], REST)
        again = there.then(forth(noisy[-1], stretch[0])) if len(noisy) > 1 else REST
        walk = reduce(Affine.then, moves, walk.then(again.times(repeats - 1)))
    return walk.shift, walk.matrix @ walk.matrix.T + walk.noise


def walked(method, variance="large"):
    """Mean and covariance at the end of the method's own walk."""
    model = real_model(HALF, variance=variance)
    walker = method.compose(model.denoiser, gathered(model.units, (LEFT,)), iw.Ancestral())
    return last_moments(walker.sampler, walker.denoiser, UNEVEN, 0 * EYE[0], EYE)


def repeated_to_the_end(self, denoiser, x_1, times, generator):
    """The last step, which has no noise of its own, repeated like the others."""
    x = x_1
    for start in range(0, len(times) - 1, self.options.jump):
        stretch = times[start : start + self.options.jump + 1]
        for left in reversed(range(self.options.repeats)):
            for s, x_s in Sampler.trajectory(self, denoiser, x, stretch, generator):
                yield s, x_s
            x = denoiser.process.transition(x_s, s, stretch[0]).draw(generator) if left else x_s


@bug("the step to time 0 repeated", steps._Repainted, "trajectory", repeated_to_the_end, repeats=3, jump=2)
@bug("the step to time 0 repeated by itself", steps._Repainted, "trajectory", repeated_to_the_end, repeats=3, jump=1)
@pytest.mark.parametrize(("repeats", "jump"), [(1, 1), (3, 1), (3, 2), (2, 3), (2, 10)])
def test_repainting_follows_its_recursion(repeats, jump):
    for variance in ("large", "small"):
        found = walked(iw.RePaint(repeats, jump), variance)
        expected = repainted(UNEVEN, repeats, jump, variance == "large")
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_repainting_ends_at_the_product_in_the_limit():
    """The recursion of many repeats and steps: the mean is 0.8 times 0.95, the variance 1 - 0.8^2. Repeats add up the
    errors of the reverse kernel, so that the small variance, which is too small for data, ends at another law."""
    grid = iw.uniform_grid(100)
    errors = [0.36 - float(repainted(grid, repeats, 2)[1][1, 1]) for repeats in (1, 10, 1000)]
    assert abs(errors[0]) > 5 * abs(errors[1]) > 25 * abs(errors[2])
    mean, cov = repainted(grid, 1000, 2)
    assert float(mean[1]) == pytest.approx(0.76, abs=0.005)
    assert float(cov[1, 1]) == pytest.approx(0.36, abs=0.004)
    assert float(repainted(grid, 1000, 2, large=False)[1][1, 1]) < 0.27


MULTIPLIED = steps._Multiplied.step


def noisy_to_the_end(self, denoiser, x_t, t, s, generator):
    reverse = denoiser.process.reverse(x_t, denoiser(x_t, t), s, t)
    end = self._measured(Normal(reverse.mean, reverse.var).draw(generator), reverse.var, generator)
    return end if s == 0 else MULTIPLIED(self, denoiser, x_t, t, s, generator)


@bug("noise in the last step", steps._Multiplied, "step", noisy_to_the_end)
def test_multiplied_steps_follow_their_recursion():
    """A known entry takes its value after each step but the last; no step to time 0 has noise, whatever the variance of
    the reverse kernel."""
    walk = REST
    for t, s in pairwise(UNEVEN.tolist()):
        walk = walk.then(back(s, t, large=True))
        walk = walk if s == 0 else walk.then(clamped(1.0, 0.0))
    expected = walk.shift, walk.matrix @ walk.matrix.T + walk.noise
    torch.testing.assert_close(walked(iw.posterior.StepProduct()), expected, rtol=1e-8, atol=1e-8)
