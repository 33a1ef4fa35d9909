"""What is evaluated: the samples, the examples they are compared with, and the space of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from inkwash.core.config import EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.dataset import Dataset
from inkwash.data.rows import take
from inkwash.data.spec import DataSpec
from inkwash.evaluation.features import Features
from inkwash.evaluation.pictures import Parts
from inkwash.evaluation.tabular import Categories, embed, moments
from inkwash.model.diffusion import Diffusion
from inkwash.model.watch import draw

FEWEST = 10
"""Fewest examples of any part."""
MOST_FITTED = 4096
"""Most training examples that spaces, forests and neighbours are fitted on."""


@dataclass(frozen=True)
class Rows:
    """Some examples of a data set in another form, read as they are asked for.

    Args:
        data: all examples, data units.
        places: which of them.
        form: what to make of them.
    """

    data: Array
    places: Array
    form: Callable[[Array], Array]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice, /) -> Array:
        return self.form(take(self.data, self.places[rows]))


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Args:
        model: the model.
        spec: what an example is.
        config: how much to evaluate.
        parts: samples and data, data units.
        space: the same where distances are taken and forests grow: model units or, of tables, `tabular.embed`.
        train: the whole training part in that space.
        told: the condition of the held-out examples; see `Dataset.conditions`.
        asked: that of others, with which the samples were drawn.
        known: that of `parts.fitted`.
    """

    model: Diffusion
    spec: DataSpec
    config: EvaluateConfig
    parts: Parts
    space: Parts
    train: Rows
    told: dict[str, Any]
    asked: dict[str, Any]
    known: dict[str, Any]


def subject_of(
    model: Diffusion, dataset: Dataset, split: tuple[Array, Array], config: EvaluateConfig, display: Display
) -> Subject:
    (inside, outside), data = split, dataset.data
    told_apart = bool(dataset.conditions(outside[:1])) or bool(dataset.spec.may_miss.any())
    for what, places, fewest in (("held-out", outside, (1 + told_apart) * FEWEST), ("training", inside, 2 * FEWEST)):
        if len(places) < fewest:
            raise DataError(dataset.name, f"{len(places)} {what} examples", f"at least {fewest} to evaluate on")
    count = min(config.examples, len(outside) // (1 + told_apart))
    held_out, kept = outside[:count], min(count, len(inside) // 2)
    others = outside[count : 2 * count] if told_apart else held_out
    fitted = inside[: kept + MOST_FITTED]
    samples, known = _drawn(model, dataset, others, config, display), take(data, fitted)
    parts = Parts(samples, known[:kept], take(data, held_out), known)
    form = form_of(model, dataset.spec, known)
    told: Any = map(dataset.conditions, (held_out, others, fitted))
    return Subject(model, dataset.spec, config, parts, parts.map(form), Rows(data, inside, form), *told)


def _drawn(model: Diffusion, dataset: Dataset, others: Array, config: EvaluateConfig, display: Display) -> Array:
    """A sample under the condition of each of the examples `others` and, of rows that may have gaps, with its gaps."""
    options: dict[str, Any] = {"guidance": config.guidance, "steps": config.sampler_steps}
    options |= {"seed": config.seed, **dataset.conditions(others)}
    if not dataset.spec.may_miss.any():
        return cast(Array, draw(model, len(others), display, **options))
    gone = np.isnan(take(dataset.data, others))
    options["present"] = torch.from_numpy(~dataset.spec.to_channels_first(gone))
    return np.where(gone, np.nan, draw(model, len(others), display, **options))


def form_of(model: Diffusion, spec: DataSpec, fitted: Array) -> Callable[[Array], Array]:
    """What takes data units to the space of a `Subject`."""
    if spec.columns is None and not spec.may_miss.any():
        return lambda x: model.to_model(x).cpu().numpy()
    reference = table_of(spec, fitted)
    return lambda x: embed(table_of(spec, x), reference, categories_of(spec))


def given_features(features: Features, x: Array) -> Array:
    """Features of the user's own, checked."""
    found = np.asarray(features(x), np.float64)
    if found.ndim != 2 or len(found) != len(x) or not np.isfinite(found).all():
        got = f"an array of shape {found.shape}" + ("" if np.isfinite(found).all() else " that is not finite")
        raise ConfigError("features", got, f"finite real numbers ({len(x)}, F)")
    return found


def categories_of(spec: DataSpec) -> Categories:
    """How many categories each entry of a vector has; bits are two."""
    return tuple(size or None for size in spec.sizes or (2 * (spec.levels == 2),) * spec.shape[0])


def table_of(spec: DataSpec, x: Array) -> Array:
    """Vectors as a table `(N, D)`, float64, of numbers and category numbers."""
    return spec.to_channels_first(x).astype(np.float64) - (spec.low if spec.levels == 2 else 0)


def names_of(spec: DataSpec) -> list[str]:
    """The channels or, of vectors, the entries in words."""
    return [spec.entry_words(i) for i in range(spec.shape[0])]


def spread_of(spec: DataSpec, x: Array) -> Array:
    """The standard deviation of the channel or column of each entry, as they lie in the data; 1 where it is 0."""
    each = spec.to_channels_first(x).astype(np.float64)
    spread = moments(np.moveaxis(each, 1, -1).reshape(-1, spec.shape[0]))[1].reshape(-1, *(1,) * len(spec.size))
    return spec.from_channels_first(np.broadcast_to(np.where(spread > 0, spread, 1.0), (1, *spec.shape))).ravel()
