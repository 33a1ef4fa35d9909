"""Count the evaluations that a log-probability takes, ours and k-diffusion's: `python benchmarks/log_prob.py`.

The data are two mixtures of normals with their exact denoiser, under DDPM's linear betas. Ours follows the flow from
time 0 in the angle; `k_diffusion.sampling.log_likelihood` integrates in sigma, from the first noise of the schedule,
0.01, to 157, by torchdiffeq's pair of orders 5 and 4. Both estimate the divergence along one vector of signs, the same
all the way, and the error is relative to the same computation at tolerance 1e-10. In the plane, ours with the exact
divergence is also compared with the density of the mixture; there the law of the noise replaces the prior.

For each way the table shows the fewest evaluations, over all settings, whose mean absolute error over the examples is
small enough. For ours this is the mean over examples, each of which goes at its own pace; for k-diffusion it is that of
the batch, which has only one.

Needs what `benchmarks/samplers.py` needs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from samplers import LINEAR, Mixture, k_diffusion
from torch import Tensor

import inkwash as iw

COUNT = 64
TARGETS = (1e-3, 1e-5)
TOLERANCES = [10 ** (-k / 2) for k in range(2, 19)]
STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
ALPHA, SIGMA = float(LINEAR.alpha(1.0)), float(LINEAR.sigma(1.0))
Way = Callable[[], tuple[float, Tensor]]
"""Gives evaluations and log-densities."""


@dataclass(frozen=True)
class Law:
    """Of alpha x + sigma eps."""

    data: Mixture
    alpha: float
    sigma: float

    def log_prob(self, x_t: Tensor) -> Tensor:
        parts = torch.distributions.Normal(
            self.alpha * self.data.means, (self.alpha**2 * self.data.vars + self.sigma**2).sqrt()
        )
        turned = (x_t @ self.data.turn.T)[:, None]
        return (parts.log_prob(turned).sum(-1) + self.data.weights.log()).logsumexp(1)


def ours(data: Mixture, x: Tensor, solver: iw.likelihood.Solver, **options: Any) -> tuple[float, Tensor]:
    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return data(x_t, LINEAR.alpha(t)[:, None, None], LINEAR.sigma(t)[:, None, None])

    denoiser = iw.Denoiser(network, iw.Gaussian(LINEAR), predicts="x")
    found = iw.likelihood.flow_log_prob(denoiser, x, solver=solver, **options)
    return float(found.evaluations.double().mean()), found.value


def theirs(data: Mixture, x: Tensor, tolerance: float) -> tuple[float, Tensor]:
    low = (LINEAR.sigma(1 / 1000) / LINEAR.alpha(1 / 1000)).item()
    torch.manual_seed(0)  # of the signs

    def model(y: Tensor, sigma: Tensor) -> Tensor:
        return data(y, 1.0, float(sigma[0]))

    value, told = k_diffusion().log_likelihood(model, x, low, SIGMA / ALPHA, atol=tolerance, rtol=tolerance)
    return told["fevals"], value


def adaptive(tolerance: float) -> iw.likelihood.Solver:
    return iw.Adaptive(tolerance, tolerance, max_evaluations=10_000)


def rows(data: Mixture, x: Tensor) -> Iterator[tuple[str, list[Way], Tensor]]:
    """Names, ways from coarse to fine, and the values they should reach."""
    signs: dict[str, Any] = {"divergence": "hutchinson", "probes": 1}
    fine = ours(data, x, adaptive(1e-10), **signs)[1]
    yield "Adaptive", [partial(ours, data, x, adaptive(tol), **signs) for tol in TOLERANCES], fine
    yield "Fixed", [partial(ours, data, x, iw.Fixed(steps), **signs) for steps in STEPS], fine
    if x.shape[1] == 2:
        truth, end = Law(data, 1.0, 0.0).log_prob(x), Law(data, ALPHA, SIGMA)
        ways: list[Way] = [partial(ours, data, x, adaptive(tol), terminal=end) for tol in TOLERANCES]
        yield "Adaptive, from the true density", ways, truth
    fine = theirs(data, x, 1e-10)[1]
    yield "k-diffusion's log_likelihood", [partial(theirs, data, x, tol) for tol in TOLERANCES], fine


def fewest(ways: list[Way], expected: Tensor) -> list[float]:
    """Evaluations for each target; NaN where no way gets there."""
    found: list[tuple[float, float]] = []
    for way in ways:
        evaluations, value = way()
        found.append((evaluations, float((value - expected).abs().mean())))
        if found[-1][1] <= min(TARGETS):
            break
    return [min((n for n, error in found if error <= target), default=float("nan")) for target in TARGETS]


def main() -> None:
    torch.set_num_threads(1)
    for size in (2, 64):
        data = Mixture(size, seed=size)
        x = data.draw(COUNT, 3).double()
        print(f"\n{f'{size}-D mixture, nats':34s}" + "".join(f"{target:8.0e}" for target in TARGETS))
        for name, ways, expected in rows(data, x):
            print(f"{name:34s}" + "".join(f"{n:8.0f}" for n in fewest(ways, expected)), flush=True)


if __name__ == "__main__":
    main()
