r"""The notes as experiments on points of the plane, whose denoiser is known exactly.

If the data is one of N points with equal probability, the best estimate of it given
$x_t = \alpha x + \sigma\varepsilon$ is a mean of the points, each weighted by
$\exp(-\lVert x_t - \alpha x_i\rVert^2 / 2\sigma^2)$. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor

from inkwash.core.options import Range, Seed
from inkwash.data.builtin import BUILTIN
from inkwash.denoise.denoiser import Denoiser
from inkwash.model.diffusion import Diffusion
from inkwash.process import SCHEDULES
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.schedule import Schedule
from inkwash.sample.ancestral import DDIM, Ancestral
from inkwash.studio.subject import Subject

Part = dict[str, Any]
_Points = Literal["swiss-roll", "two-moons", "checkerboard"]
_Schedule = Literal["linear", "cosine", "log-linear", "sohl-dickstein", "rectified", "karras"]
_COUNT, _TABLE, _TIMES, _SIDE = 400, 1000, 101, 13


@lru_cache
def points(name: str) -> Tensor:
    """Points of a built-in set with mean 0 and variance 1, float64 `(N, 2)`."""
    data = torch.from_numpy(BUILTIN[name]().data[:_COUNT]).double()
    return (data - data.mean(0)) / data.std()


def exact(name: str, schedule: Schedule) -> Denoiser:
    """The denoiser of points that are equally probable; it predicts x."""
    data, process = points(name), Gaussian(schedule)

    def mean(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None].clamp(min=1e-12)
        distance = ((x_t[:, None].double() - alpha * data) / sigma).square().sum(-1)
        return (torch.softmax(-distance / 2, 1) @ data).to(x_t)

    return Denoiser(mean, process, predicts="x")


def schedule_of(name: _Schedule) -> Schedule:
    """A schedule by its name on the command line."""
    return SCHEDULES[name](_TABLE)


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Points on their way into noise: x_t at a few times, with the same noise for all of them, and its variance."""

    points: _Points = "two-moons"
    schedule: _Schedule = "cosine"
    without_roots: bool = False
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        x, schedule = points(self.points), schedule_of(self.schedule)
        eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(self.seed % 2**63), dtype=x.dtype)
        for t in torch.linspace(0, 1, 9, dtype=torch.float64):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            if self.without_roots:  # weights that add up to 1, in place of squares that do
                alpha, sigma = alpha**2 / (alpha**2 + sigma**2), sigma**2 / (alpha**2 + sigma**2)
            x_t = alpha * x + sigma * eps
            yield {
                "time": float(t),
                "points": x_t.tolist(),
                "alpha": float(alpha),
                "sigma": float(sigma),
                "variance": float(x_t.var(0).mean()),
            }
        yield {"python": _PYTHON.format(points=self.points, kind=type(schedule).__name__)}


_PYTHON = """import inkwash as iw

process = iw.Gaussian(iw.{kind}())
x = iw.load_dataset("{points}").data
x_t = process.marginal(x, 0.5).draw(generator)  # of all examples at time 1/2"""


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Curves of the schedules over time: the scales of signal and noise, and the log-SNR."""

    def answer(self, subject: Subject) -> Iterator[Part]:
        times = torch.linspace(0, 1, _TIMES, dtype=torch.float64)[1:-1]
        for name in get_args(_Schedule):
            schedule = schedule_of(name)
            curves = {"alpha": schedule.alpha, "sigma": schedule.sigma, "log_snr": schedule.log_snr}
            found = {key: curve(times).tolist() for key, curve in curves.items()}
            yield {"name": name, "time": times.tolist(), **found}


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the exact denoiser says on a lattice of places at a time: x, eps, the score and v as arrows."""

    points: _Points = "two-moons"
    schedule: _Schedule = "cosine"
    t: Annotated[float, Range(0.02, 0.98)] = 0.5

    def answer(self, subject: Subject) -> Iterator[Part]:
        schedule = schedule_of(self.schedule)
        t = torch.tensor(self.t, dtype=torch.float64)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        reach = 2.5 * float(torch.hypot(alpha, sigma))
        line = torch.linspace(-reach, reach, _SIDE, dtype=torch.float64)
        places = torch.cartesian_prod(line, line)
        estimate = exact(self.points, schedule)(places, t)
        arrows = {"x": estimate.x, "eps": estimate.eps, "score": estimate.score, "v": estimate.v}
        yield {
            "places": places.tolist(),
            "data": (alpha * points(self.points)).tolist(),
            "arrows": {name: values.tolist() for name, values in arrows.items()},
            "alpha": float(alpha),
            "sigma": float(sigma),
        }


@dataclass(frozen=True, kw_only=True)
class Backward:
    """A walk back by the exact denoiser: where samples are at each time, with fresh noise or without."""

    points: _Points = "two-moons"
    schedule: _Schedule = "cosine"
    steps: Annotated[int, Range(2, 200)] = 30
    n: Annotated[int, Range(1, 400)] = 200
    fresh_noise: bool = True
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        schedule = schedule_of(self.schedule)
        model = Diffusion(exact(self.points, schedule), shape=(2,))
        sampler = Ancestral() if self.fresh_noise else DDIM()
        for walk in model.walks(self.n, seed=self.seed, sampler=sampler, steps=self.steps):
            for state in walk:
                yield {"time": state.s, "points": state.x_s.tolist()}


LECTURE: dict[str, Any] = {
    "forward": Forward,
    "schedules": Schedules,
    "predictions": Predictions,
    "backward": Backward,
}
"""The experiments, by name. They are about no run."""
