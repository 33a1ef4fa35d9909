"""What is evaluated: samples, the examples they are compared with, and the space in which they are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TypedDict, Unpack, cast

import numpy as np
import torch

from inkwash.core.config import EvaluateConfig, SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionKeywords
from inkwash.data.dataset import Dataset
from inkwash.data.rows import take
from inkwash.data.spec import DataSpec
from inkwash.evaluation.features import Features
from inkwash.evaluation.known import Known
from inkwash.evaluation.tabular import categories_of, embed, table_of
from inkwash.model.model import Model
from inkwash.model.shares import draw_in_shares

FEWEST = 10
"""Fewest examples of any part."""
MOST_FITTED = 4096
"""Most training examples that spaces, forests and neighbours are fitted on."""
USUAL = SamplingConfig("ancestral", 250, "uniform")
"""How samples are taken where neither options nor the run decide it."""


@dataclass(frozen=True)
class Parts:
    """What an evaluation compares, and what it fits on.

    Args:
        samples: samples of the model.
        train: the first examples of the training part, as many as there are samples but at most half of the part.
        held_out: held-out data.
        fitted: `train`, followed by at most 4,096 more examples of the training part.
    """

    samples: Array
    train: Array
    held_out: Array
    fitted: Array

    @property
    def compared(self) -> tuple[Array, Array, Array]:
        """Samples, training and held-out data, in the order of `inkwash.evaluation.metrics.with_floor`."""
        return self.samples, self.train, self.held_out

    def map(self, form: Callable[[Array], Array]) -> Parts:
        """All of them, each in another form."""
        return Parts(*(form(getattr(self, item.name)) for item in fields(self)))


@dataclass(frozen=True)
class Rows:
    """Some examples of a data set in another form; they are read only when they are needed.

    Args:
        data: all examples, data units.
        places: which of them.
        form: what turns data units into the other form.
    """

    data: Array
    places: Array
    form: Callable[[Array], Array]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice, /) -> Array:
        return self.form(take(self.data, self.places[rows]))

    def in_data_units(self, rows: Array) -> Array:
        """The examples with these indices, in data units."""
        return take(self.data, self.places[rows])


class About(TypedDict, total=False):
    """What is particular about a model, by the names that `Subject` has for it."""

    is_trained_on: bool
    needs_condition: bool


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Args:
        name: of the data.
        model: the model.
        spec: what an example is.
        config: how much to evaluate, and how the model was sampled.
        parts: samples and data, data units.
        space: the same parts in the space in which distances are taken and forests grow: model units or, for tables,
            that of `inkwash.evaluation.tabular.embed`.
        train: the entire training part in that space.
        held_out_condition: the condition of the held-out examples.
        sampled_under: the condition of the samples, which is that of other held-out examples.
        fitted_condition: the condition of `parts.fitted`.
        features: the user's function for one more space of features, if there is one.
        known: what was found about the data alone.
        is_trained_on: whether the model was trained on the training part. It was not if the model has no run: some of
            the data then takes the place of training data, wherever that stands for data as such.
        needs_condition: whether the model has no distribution without a condition, as a network that was never trained
            without one; all bounds are then those under it.
    """

    name: str
    model: Model
    spec: DataSpec
    config: EvaluateConfig
    parts: Parts
    space: Parts
    train: Rows
    held_out_condition: ConditionKeywords
    sampled_under: ConditionKeywords
    fitted_condition: ConditionKeywords
    features: Features | None = None
    known: Known = field(default_factory=Known)
    is_trained_on: bool = True
    needs_condition: bool = False

    def left_out(self) -> tuple[str, ...]:
        """What is not measured, and why, a sentence each."""
        found = []
        if not self.is_trained_on:
            unknown = "over-fitting and memorisation are left out, as what the model was trained on is not known"
            found.append(f"{unknown}; wherever else training examples are named, half of the data takes their place")
        if self.needs_condition:
            found.append("the bounds are those under the labels, as the model was never trained without one")
        return tuple(found)


def subject_of(
    model: Model,
    dataset: Dataset,
    split: tuple[Array, Array],
    config: EvaluateConfig,
    display: Display,
    features: Features | None = None,
    known: Known | None = None,
    **about: Unpack[About],
) -> Subject:
    """Sample from the model, and collect what the samples are compared with.

    Where examples have conditions or may have gaps, the held-out part is cut in half: samples take their conditions and
    gaps from one half and are compared with the other.

    Args:
        model: the model.
        dataset: the data of the run.
        split: places of the training part and of the held-out part in the data.
        config: how much to evaluate, and how the model was sampled.
        display: where to show progress.
        features: see `Subject`.
        known: see `Subject`.
        **about: see `Subject`.

    Raises:
        DataError: too few held-out or training examples.
    """
    train, held_out = split
    halves = 1 + (bool(dataset.conditions(held_out[:1])) or bool(dataset.spec.may_miss.any()))
    _require_enough(dataset.name, "held-out", held_out, halves * FEWEST)
    _require_enough(dataset.name, "training", train, 2 * FEWEST)
    count = min(config.examples, len(held_out) // halves)
    compared, others = held_out[:count], held_out[(halves - 1) * count : halves * count]
    kept = min(count, len(train) // 2)
    fitted_places = train[: kept + MOST_FITTED]
    samples, fitted = _sample(model, dataset, others, config, display), take(dataset.data, fitted_places)
    parts = Parts(samples, fitted[:kept], take(dataset.data, compared), fitted)
    form = _form_of(model, dataset.spec, fitted)
    return Subject(
        name=dataset.name,
        model=model,
        spec=dataset.spec,
        config=config,
        parts=parts,
        space=parts.map(form),
        train=Rows(dataset.data, train, form),
        held_out_condition=dataset.conditions(compared),
        sampled_under=dataset.conditions(others),
        fitted_condition=dataset.conditions(fitted_places),
        features=features,
        known=known or Known(),
        **about,
    )


def _require_enough(name: str, part: str, places: Array, fewest: int) -> None:
    if len(places) < fewest:
        need = f"at least {fewest} to evaluate on (inkwash train --data.held-out decides the share)"
        raise DataError(name, f"{len(places)} {part} examples", need)


def _sample(model: Model, dataset: Dataset, others: Array, config: EvaluateConfig, display: Display) -> Array:
    """A sample for each of the examples `others`, under its condition and, where rows may have gaps, with its gaps."""
    sample_under = partial(
        draw_in_shares,
        model,
        len(others),
        display,
        guidance=config.guidance,
        seed=config.seed,
        **dataset.conditions(others),
    )
    if not dataset.spec.may_miss.any():
        return cast(Array, sample_under())
    gone = np.isnan(take(dataset.data, others))
    present = torch.from_numpy(~dataset.spec.to_channels_first(gone))
    return np.where(gone, np.nan, sample_under(present=present))


def _form_of(model: Model, spec: DataSpec, fitted: Array) -> Callable[[Array], Array]:
    """What takes data units to the space of a `Subject`."""
    if spec.columns is None and not spec.may_miss.any():
        return lambda x: model.to_model(x).cpu().numpy()
    reference = table_of(spec, fitted)
    return lambda x: embed(table_of(spec, x), reference, categories_of(spec))
