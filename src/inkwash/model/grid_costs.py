r"""Grids of times learned for a model: the cheapest of all grids of a number of steps among candidate times.

If the cost of a grid is a sum over its steps, and the cost of a step depends only on its two times, dynamic programming
finds the cheapest grid exactly. Two costs have this form.

- The variational bound: a step from t to s adds
  $\mathbb E\,\mathrm{KL}(q(x_s \mid x_t, x) \,\|\, p(x_s \mid x_t))$, and the last step what the decoder adds (Watson
  et al. 2021, "Learning to efficiently sample from diffusion probabilistic models"). The network is evaluated once at
  each candidate: its estimate at t serves the steps from t to every s.
- The deviation from trajectories of the probability-flow ODE: a step adds the distance between the trajectory and the
  end of one step of DDIM from a point of it (Chen et al. 2024, "On the trajectory regularity of ODE-based diffusion
  sampling").
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError, require_integer
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, Slots, generator, seed_of, slots_of
from inkwash.core.shapes import over, sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.likelihood.bound import step_kl
from inkwash.model.diffusion import Diffusion
from inkwash.process.bernoulli import Bernoulli
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.noise.grid import as_grid
from inkwash.process.process import AnyEstimate, Distribution, Process

_CANDIDATES = 128
_NOISIEST = -20.0
_AT_ONCE = 16


@dataclass(frozen=True)
class GridCosts:
    """The costs of steps between M + 1 candidate times, and with them of every grid of at least two steps among these.

    Args:
        times: the candidates, decreasing from 1 to 0, `(M + 1,)`, float64.
        step: cost of the step from candidate i to j, `(M, M)`, float64; the steps to time 0 are in `last`.
        last: cost of the step from candidate j to time 0 after a step from candidate i, `(M, M)`.
        fixed: the cost that all grids share.
        evaluations: how many examples, each at one time, the network was evaluated on to measure the costs.
    """

    times: Tensor
    step: Tensor
    last: Tensor
    fixed: float
    evaluations: int

    def grid(self, steps: int) -> Tensor:
        """The cheapest grid of a number of steps, by dynamic programming in O(M^2 `steps`).

        Args:
            steps: at least 2, at most M.

        Returns:
            Times that decrease from 1 to 0, `(steps + 1,)`, float64, as `Diffusion.sample` and `Diffusion.bound` take.

        Raises:
            ConfigError: a bad `steps`.
            NonFiniteError: every such grid has a cost that is infinite or NaN.
        """
        self._require_steps(steps)
        least = torch.full_like(self.times[:-1], torch.inf)
        least[0] = 0.0
        came_from = []
        for cost in [self.step] * (steps - 2) + [self.step + self.last]:
            least, before = (least[:, None] + cost).min(0)
            came_from.append(before)
        if not bool(least.min().isfinite()):
            raise NonFiniteError("grid", "costs that are not finite", "a network whose answers are")
        path = [least.argmin()]
        for before in reversed(came_from):
            path.append(before[path[-1]])
        return torch.cat([self.times[torch.stack(path[::-1])], self.times[-1:]])

    def total(self, times: Tensor) -> float:
        """The cost of a grid of at least two steps.

        Args:
            times: decreasing from 1 to 0, all of them candidates.

        Raises:
            ConfigError: other times.
        """
        grid = as_grid(None, times, 0)
        self._require_steps(len(grid) - 1)
        index = torch.searchsorted(-self.times, -grid)
        if not torch.equal(self.times[index], grid):
            raise ConfigError("times", grid.tolist(), "times that are all among the candidates")
        path = index[:-1]
        return self.fixed + float(self.step[path[:-1], path[1:]].sum() + self.last[path[-2], path[-1]])

    def _require_steps(self, steps: int) -> None:
        require_integer("steps", steps, 2)
        if steps > len(self.step):
            raise ConfigError("steps", steps, f"at most {len(self.step)}, the steps between all candidates")


@torch.no_grad()
def bound_costs(model: Diffusion, x: Any, *, candidates: Tensor | None = None, seed: int = 0) -> GridCosts:
    """Costs whose sum over a grid is the variational bound of `x` on it: mean over the examples, nats.

    They are for any process and any reverse variance. They take M evaluations of the network per example, and M^2/2
    divergences in closed form.

    Args:
        model: the model.
        x: data units, `(B, …)`.
        candidates: the candidate times, decreasing from 1 to 0; by default those of the model's own grid or, if it has
            more than 128 steps, those of its times that are closest to 128 equal steps of log-SNR.
        seed: of the noise.

    Raises:
        DataError: `x` is not of the model's shape.
        ConfigError: bad candidates, or a bad `seed`.
    """
    clean, process, times = model.to_model(x).double(), model.process, candidate_times(model, candidates)
    clean, present = clean.nan_to_num(0.0), ~clean.isnan()
    inputs = {} if bool(present.all()) else {"present": present}
    lattice = model.units.lattice or process.lattice
    step, last = torch.zeros(2, len(times) - 1, len(times) - 1, dtype=torch.float64)
    for rows, random in tracked(list(slots_of(clean, seed, Purpose.GRID))):
        own, denoiser = min(len(rows), len(clean) - int(rows[0])), under(model.denoiser, inputs, rows)
        _add_bound_costs(step, last, denoiser, clean[rows], present[rows], times, lattice, random, own)
    fixed = process.marginal(clean, 1.0).kl(process.prior(clean.shape, like=clean), present)
    fixed = fixed - sum_event(torch.zeros_like(clean) + model.units.entry_log_det(clean), present)
    return _costs(times, step, last, len(clean), float(fixed.mean()))


def _add_bound_costs(
    step: Tensor,
    last: Tensor,
    denoiser: AnyDenoiser,
    x: Tensor,
    present: Tensor,
    times: Tensor,
    lattice: Lattice | Bins | None,
    random: torch.Generator,
    count: int,
) -> None:
    """Add the costs of the first `count` examples of the slot `x`, of what is `present`, to sums over examples."""
    process = denoiser.process
    for i, t in enumerate(times[:-1]):
        x_t = process.marginal(x, t).draw(random)
        estimate = denoiser(x_t, t)
        for later in torch.arange(i + 1, len(times) - 1).split(_AT_ONCE):
            step[i, later] += _kls(process, x[:count], x_t, estimate, times[later], t, present).cpu()
        decoders = _decoders(process, x_t, estimate, times[: i + 1], lattice)
        last[:i, i] += torch.stack([-d.log_prob(x, present)[:count].sum() for d in decoders]).cpu() if i else 0


def _kls(
    process: Process, x: Tensor, x_t: Tensor, estimate: AnyEstimate, times: Tensor, t: Tensor, present: Tensor
) -> Tensor:
    """What the steps from t to each of `times` add to the bound, summed over the examples `x`: `(len(times),)`."""
    rows, s = torch.arange(len(x)).repeat(len(times)), times.repeat_interleave(len(x))
    kl = step_kl(process, x[rows], x_t[rows], estimate.rows(rows), s, t, present[rows])
    return kl.reshape(len(times), len(x)).sum(1)


def _decoders(
    process: Process, x_t: Tensor, estimate: Any, times: Tensor, lattice: Lattice | Bins | None
) -> list[Distribution]:
    """The decoders at the last of `times`, one for each time that may come before it, or one for all of them."""
    end = torch.tensor([times[-1], 0.0], dtype=torch.float64)
    try:
        return [process.decoder(x_t, estimate, end, lattice)]
    except ConfigError:  # the decoder needs the time before
        return [process.decoder(x_t, estimate, torch.cat([t[None], end]), lattice) for t in times[:-1]]


@torch.no_grad()
def trajectory_costs(
    model: Diffusion, n: int = 64, *, candidates: Tensor | None = None, seed: int | None = None
) -> GridCosts:
    r"""Costs whose sum over a grid is how far single steps of DDIM on it lead away from the flow.

    The cost of a step is the mean distance between the point $x_s$ of a trajectory of the probability-flow ODE and the
    end of one step from its point $x_t$, over $c_s = \sqrt{\alpha_s^2 + \sigma_s^2}$. The trajectories are those of
    DDIM on all candidates.

    Args:
        model: a model of a Gaussian process.
        n: how many trajectories.
        candidates: as for `bound_costs`.
        seed: of the trajectories' starts; None takes one from torch's global generator.

    Raises:
        ConfigError: bad candidates, a bad `n` or `seed`, a process that is not Gaussian.
    """
    require_integer("n", n)
    process, times = require_gaussian(model.process, "trajectory_costs"), candidate_times(model, candidates)
    random = generator(seed_of(seed), Purpose.GRID)
    like = torch.zeros((), dtype=torch.float64, device=model.device)
    starts = process.prior((n, *model.shape), like=like).draw(random)
    step = torch.zeros(len(times) - 1, len(times), dtype=torch.float64)
    for x_t in tracked(starts.split(Slots(model.shape, model.device).rows)):
        step += _deviations(model.denoiser, process, x_t, times)
    return _costs(times, step[:, :-1], step[:, -1].expand(len(step), -1), n, 0.0)


def _deviations(denoiser: AnyDenoiser, process: Gaussian, x_t: Tensor, times: Tensor) -> Tensor:
    """How far the step from candidate i to j leads off the trajectories from `x_t`, a sum over these: `(M, M + 1)`."""
    points, guesses = [x_t], []
    for t, s in pairwise(times):
        estimate = denoiser(points[-1], t)
        guesses.append((estimate.x, estimate.eps))
        points.append(_ddim(process, *guesses[-1], s[None])[0])
    found = torch.zeros(len(guesses), len(points), dtype=torch.float64)
    for i, guess in enumerate(guesses):
        for j in torch.arange(i + 1, len(points)).split(_AT_ONCE):
            reached = torch.stack([points[k] for k in j])
            off = (_ddim(process, *guess, times[j]) - reached) / over(process.scale(times[j]), reached)
            found[i, j] = off.flatten(2).norm(dim=2).sum(1).cpu()
    return found


def _ddim(process: Gaussian, x: Tensor, eps: Tensor, s: Tensor) -> Tensor:
    """The steps of DDIM without noise to times `(K,)`, `(K, B, *event)`: the estimates of x and of the noise, mixed for
    each time."""
    return process.diffuse(x.expand(len(s), *x.shape), s, eps.expand(len(s), *eps.shape))


def _costs(times: Tensor, step: Tensor, last: Tensor, count: int, fixed: float) -> GridCosts:
    """Sums of costs over `count` examples as means; infinite where a step would not go down."""
    steps = len(times) - 1
    down = torch.ones(steps, steps, dtype=torch.bool).triu(1)
    step, last = (torch.where(down, total / count, torch.inf) for total in (step, last))
    return GridCosts(times, step, last, fixed, count * steps)


def candidate_times(model: Diffusion, candidates: Tensor | None) -> Tensor:
    """The candidates themselves, or the times of the model's own grid, thinned evenly in log-SNR."""
    grid = as_grid(None, candidates, model.steps)
    if candidates is not None or len(grid) <= _CANDIDATES + 1:
        return grid
    schedule = cast(Gaussian | Bernoulli, model.process).schedule
    log_snr = schedule.log_snr(grid[:-1]).clamp(min=_NOISIEST)
    even = torch.linspace(float(log_snr[0]), float(log_snr[-1]), _CANDIDATES, dtype=torch.float64)
    nearest = (log_snr[:, None] - even).abs().argmin(0).unique()
    return torch.cat([grid[nearest], grid[-1:]])
