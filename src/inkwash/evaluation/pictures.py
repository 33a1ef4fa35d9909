"""Pictures of an evaluation: the bound by time, samples, nearest neighbours, densities, statistics of series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.spec import DataSpec
from inkwash.evaluation.likelihood import BoundByTime
from inkwash.evaluation.memorisation import Memorisation
from inkwash.evaluation.result import Evaluation
from inkwash.evaluation.series import Series
from inkwash.evaluation.subject import Parts, Subject
from inkwash.likelihood.ode import Fixed
from inkwash.model.diffusion import Diffusion
from inkwash.model.model import Model

_MAP_SIDE = 96
_MAP_SOLVER = Fixed(12)
_MAP_DRAWS = 30
_PANELS = 12
_SHOWN = 64

BY_TIME = "Where in time the diffusion part of the bound is spent; the area under a curve is that part."
SAMPLES, DENSITIES = "Samples.", "Held-out data, samples, and the density of the model."
NEIGHBOURS = "The samples closest to training data, each over its nearest training example."
SERIES = "Samples over held-out data, whose band is four standard errors wide."


def draw_pictures(folder: Path, subject: Subject, found: Evaluation) -> dict[str, Path]:
    """Draw what there is to see for this kind of data into a folder.

    Args:
        folder: where to write.
        subject: what was evaluated.
        found: the evaluation.

    Returns:
        The pictures by their captions.
    """
    spec, parts = subject.spec, subject.parts
    shown = {SAMPLES: folder / "samples.png"}
    pictures.save_samples(shown[SAMPLES], spec, parts.samples[:_SHOWN] if spec.size else parts.samples)
    if spec.size:
        if found.memorisation is not None:
            shown[NEIGHBOURS] = folder / "neighbours.png"
            _draw_neighbours(shown[NEIGHBOURS], subject, found.memorisation)
    elif _is_in_the_plane(spec):
        shown[DENSITIES] = folder / "densities.png"
        _draw_densities(shown[DENSITIES], subject.model, parts)
    if found.series is not None:
        shown[SERIES] = folder / "series.png"
        _draw_series(shown[SERIES], found.series)
    if found.likelihood.bound_by_time.held_out:
        shown[BY_TIME] = folder / "bound_by_time.png"
        _draw_by_time(shown[BY_TIME], found.likelihood.bound_by_time, found.likelihood.unit)
    return shown


def _is_in_the_plane(spec: DataSpec) -> bool:
    """Whether examples are pairs of real numbers, none of which may be missing."""
    return spec.shape == (2,) and bool(spec.is_real.all()) and not spec.may_miss.any()


def _draw_series(path: Path, found: Series) -> None:
    """The statistics of samples over those of held-out data, whose band is four standard errors wide."""
    figure, axes = pictures.new_figure(11, 4, columns=len(found.statistics))
    for each, (name, compared) in zip(axes, found.statistics.items(), strict=True):
        samples, held_out = compared.samples, compared.held_out
        for c in range(len(held_out.value)):
            middle, reach = held_out.value[c], 2 * held_out.std_error[c]
            each.fill_between(held_out.at, middle - reach, middle + reach, color=pictures.WASH, alpha=0.6, lw=0)
            each.plot(samples.at, samples.value[c], color=pictures.ACCENT, lw=1)
        each.set(title=f"{name}: samples over held-out data")
    axes[0].set(xlabel="lag, places")
    axes[1].set(xlabel="frequency, cycles per place", yscale="log")
    pictures.save_figure(path, figure)


def _draw_by_time(path: Path, by_time: BoundByTime, unit: str) -> None:
    """The diffusion part as a density over time: the area under a curve is that part."""
    figure, axes = pictures.new_figure(7, 4)
    edges = np.asarray(by_time.time_edges)[::-1]
    curves = ("held out", by_time.held_out, pictures.ACCENT), ("train", by_time.train, pictures.WASH)
    for name, values, colour in curves:
        if values is not None:
            axes.stairs(np.asarray(values)[::-1] / np.diff(edges), edges, color=colour, label=name)
    axes.set(xlabel="time (0 is data, 1 is noise)", ylabel=f"diffusion part, {unit} per unit of time", yscale="log")
    axes.legend(frameon=False)
    pictures.save_figure(path, figure)


def _draw_neighbours(path: Path, subject: Subject, found: Memorisation) -> None:
    """The samples closest to the training data (upper row), each over its nearest training example."""
    closest = np.argsort(found.distances, kind="stable")[:_PANELS]
    nearest = subject.train.in_data_units(found.nearest[closest])
    shown = np.concatenate([subject.parts.samples[closest], nearest])
    pictures.save_pixels(path, pictures.grid(pictures.to_pixels(subject.spec, shown), columns=len(closest)))


def _draw_densities(path: Path, model: Model, parts: Parts) -> None:
    """Data, samples and the model's density."""
    figure, axes = pictures.new_figure(12, 4, columns=3)
    low, high = parts.fitted.min(0), parts.fitted.max(0)
    margin = 0.05 * (high - low)
    box = [[low[i] - margin[i], high[i] + margin[i]] for i in range(2)]
    for each, title, points in zip(axes, ("held-out data", "samples"), (parts.held_out, parts.samples), strict=False):
        each.hist2d(points[:, 0], points[:, 1], bins=_MAP_SIDE // 2, range=box, cmap="Greys")
        each.set_title(title)
    axes[2].imshow(_density(model, box, parts), origin="lower", extent=[*box[0], *box[1]], cmap="Greys", aspect="auto")
    axes[2].set_title("density")
    pictures.save_figure(path, figure)


def _density(model: Model, box: list[list[float]], parts: Parts) -> Array:
    """The density of the model on a square grid over the box."""
    x, y = (np.linspace(start, stop, _MAP_SIDE) for start, stop in box)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(parts.fitted.dtype)
    how = {"solver": _MAP_SOLVER} if isinstance(model, Diffusion) else {"draws": _MAP_DRAWS}
    return model.log_prob(points, **how).value.exp().cpu().numpy().reshape(_MAP_SIDE, _MAP_SIDE)
