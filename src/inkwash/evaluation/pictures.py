"""Pictures of an evaluation: the bound by time, samples, nearest neighbours, densities, statistics of series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.spec import DataSpec
from inkwash.evaluation.series import Curve
from inkwash.likelihood.ode import Fixed
from inkwash.model.diffusion import Diffusion

_MAP_SIDE = 96
_MAP_SOLVER = Fixed(12)
_PANELS = 12

BY_TIME = "Where in time the diffusion part of the bound is spent; the area under a curve is that part."
CURVE = "Loss by training step."
SAMPLES, DENSITIES = "Samples.", "Held-out data, samples, and the density of the model."
NEIGHBOURS = "The samples closest to training data, each over its nearest training example."
SERIES = "Samples over held-out data, whose band is four standard errors wide."

Curves = Mapping[str, tuple[Curve, Curve]]


@dataclass(frozen=True)
class Parts:
    """What an evaluation compares, up to so many examples of each, and what it fits on.

    Args:
        samples: of the model.
        train: the first of the training part, as many as there are samples, at most half of it.
        held_out: held-out data.
        fitted: of the training part `train` and at most 4,096 examples after these.
    """

    samples: Array
    train: Array
    held_out: Array
    fitted: Array

    @property
    def compared(self) -> tuple[Array, Array, Array]:
        """Samples, training and held-out data, in the order of `inkwash.evaluation.metrics.with_floor`."""
        return self.samples, self.train, self.held_out

    def map(self, of: Callable[[Array], Array]) -> Parts:
        """All of them, each in another form."""
        return Parts(*(of(getattr(self, item.name)) for item in fields(self)))


def draw_exhibits(
    folder: Path, spec: DataSpec, parts: Parts, near: tuple[Array, Array], curves: Curves, model: Diffusion
) -> dict[str, Path]:
    """Draw what there is to see, of that kind of data, into a folder: the pictures by what they show.

    Args:
        folder: where to.
        spec: what an example is.
        parts: data and samples, data units.
        near: distance of each sample to the nearest training example, and that example.
        curves: statistics of series; of other data there are none.
        model: whose density is drawn, of data in the plane.
    """
    shown = {SAMPLES: folder / "samples.png"}
    pictures.save_samples(shown[SAMPLES], spec, parts.samples[:64] if spec.size else parts.samples)
    if spec.size:
        shown[NEIGHBOURS] = folder / "neighbours.png"
        _draw_neighbours(shown[NEIGHBOURS], spec, parts.samples, *near)
    elif spec.shape == (2,) and spec.is_real.all() and not spec.may_miss.any():
        shown[DENSITIES] = folder / "densities.png"
        _draw_densities(shown[DENSITIES], model, parts)
    if curves:
        shown[SERIES] = folder / "series.png"
        _draw_curves(shown[SERIES], curves)
    return shown


def _draw_curves(path: Path, curves: Curves) -> None:
    """The statistics of samples over those of held-out data, whose band is four standard errors wide."""
    figure, axes = pictures.new_figure(11, 4, columns=len(curves))
    for each, (name, (samples, held_out)) in zip(axes, curves.items(), strict=True):
        for c in range(len(held_out.value)):
            middle, reach = held_out.value[c], 2 * held_out.std_error[c]
            each.fill_between(held_out.at, middle - reach, middle + reach, color=pictures.WASH, alpha=0.6, lw=0)
            each.plot(samples.at, samples.value[c], color=pictures.ACCENT, lw=1)
        each.set(title=f"{name}: samples over held-out data")
    axes[0].set(xlabel="lag, places")
    axes[1].set(xlabel="frequency, cycles per place", yscale="log")
    pictures.save_figure(path, figure)


def draw_by_time(path: Path, by_time: dict[str, Any], unit: str) -> None:
    """Density over time of the diffusion part: the area under a curve is that part.

    Args:
        path: where to.
        by_time: of an evaluation, the edges of stretches of time and what each adds to the bound, in the unit, by set.
        unit: its name.
    """
    figure, axes = pictures.new_figure(7, 4)
    edges, *sets = (np.asarray(values)[::-1] for values in by_time.values())
    for name, each, colour in zip(list(by_time)[1:], sets, (pictures.ACCENT, pictures.WASH), strict=True):
        axes.stairs(each / np.diff(edges), edges, color=colour, label=name.replace("_", " "))
    axes.set(xlabel="time (0 is data, 1 is noise)", ylabel=f"diffusion part, {unit} per unit of time", yscale="log")
    axes.legend(frameon=False)
    pictures.save_figure(path, figure)


def _draw_neighbours(path: Path, spec: DataSpec, samples: Array, distances: Array, nearest: Array) -> None:
    """The samples closest to the training data (upper row), each over its nearest training example."""
    closest = np.argsort(distances, kind="stable")[:_PANELS]
    shown = np.concatenate([samples[closest], nearest[closest]])
    pictures.save_pixels(path, pictures.grid(pictures.to_pixels(spec, shown), columns=len(closest)))


def _draw_densities(path: Path, model: Diffusion, parts: Parts) -> None:
    """Data, samples and the model's density."""
    figure, axes = pictures.new_figure(12, 4, columns=3)
    low, high = parts.fitted.min(0), parts.fitted.max(0)
    margin = 0.05 * (high - low)
    box = [[low[i] - margin[i], high[i] + margin[i]] for i in range(2)]
    for each, title, points in zip(axes, ("held-out data", "samples"), (parts.held_out, parts.samples), strict=False):
        each.hist2d(points[:, 0], points[:, 1], bins=_MAP_SIDE // 2, range=box, cmap="Greys")
        each.set_title(title)
    x, y = (np.linspace(start, stop, _MAP_SIDE) for start, stop in box)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(parts.fitted.dtype)
    density = model.log_prob(points, solver=_MAP_SOLVER).value.exp().cpu().numpy().reshape(_MAP_SIDE, _MAP_SIDE)
    axes[2].imshow(density, origin="lower", extent=[*box[0], *box[1]], cmap="Greys", aspect="auto")
    axes[2].set_title("density")
    pictures.save_figure(path, figure)
