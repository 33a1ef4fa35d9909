"""A model without a run, such as a pipeline of diffusers, and data of a user that it is compared with.

What such a model was trained on is not known. Half of the data takes the place of training data wherever that stands
for data as such: in floors, spaces of features and forests. What compares a model with its own training data is left
out; see `Subject.left_out`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inkwash.core.errors import ConfigError, DataError
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.rows import take
from inkwash.evaluation.subject import Subject
from inkwash.model.model import Model


def dataset_for(model: Model, data: Any) -> Dataset:
    """The data, as examples of the kind that the model samples.

    Args:
        model: the model.
        data: a source or a `Dataset`, as `load_dataset` takes and gives it.

    Raises:
        ConfigError: no data; or a model without a transform, which would know what its samples are.
        DataError: data that cannot be read, or of another kind than the samples of the model.
    """
    spec = model.units.spec
    if data is None:
        raise ConfigError("data", "nothing", f"examples that the model was not trained on, {spec.describe()}")
    found = data if isinstance(data, Dataset) else load_dataset(data)
    if found.data.shape[1:] != spec.data_shape or found.spec.columns != spec.columns:
        raise DataError(found.name, found.spec.describe(), f"what the model samples, {spec.describe()}")
    model.to_model(take(found.data, slice(0, 1)))  # refuses another type
    return replace(found, spec=spec)


def needs_condition(model: Model, dataset: Dataset) -> bool:
    """Whether a model with classes has no distribution without one; a single term of a bound shows it."""
    if model.condition.classes is None:
        return False
    try:
        model.bound(take(dataset.data, slice(0, 1)), **({"terms": 1} if model.steps > 1 else {}))
    except ConfigError as error:
        if error.where != "label":
            raise
        return True
    return False


def describe_model(subject: Subject, count: int) -> dict[str, str]:
    """Data and model, a line each.

    Args:
        subject: what was evaluated.
        count: the number of examples of the data.
    """
    return {
        "Data": f"{subject.name}: {count} examples",
        "An example": subject.spec.describe(),
        "Labels": subject.model.condition.describe() or "none",
        "Model": repr(subject.model),
        "Training": "not known: the model has no run",
    }
