"""What training starts from: options that are all decided, and data that is split and fitted with its transforms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import check
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.core.shapes import Array
from inkwash.data.columns import listed
from inkwash.data.condition import ConditionKeywords
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.recurring import NO_MASSES
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform, fit_transform
from inkwash.model.model import Model
from inkwash.training.augment import require_at_rest
from inkwash.training.examples import Examples
from inkwash.training.resolve import family_of, require_possible, resolve
from inkwash.training.tracker import require_tracker


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    Args:
        config: the options, all decided.
        dataset: the data.
        examples: the examples to train on.
        held_out: the examples that are held out.
        fingerprint: SHA-256 of the data, its labels and conditions.
    """

    config: AnyResolvedConfig
    dataset: Dataset
    examples: Examples
    held_out: Examples
    fingerprint: str

    @property
    def transform(self) -> Transform:
        """Converts data units to model units; it is fitted on the examples to train on."""
        return self.examples.transform

    def model(self, trained: nn.Module) -> Model:
        """The distribution that what is trained stands for."""
        return family_of(self.config).model(self.config, self.transform, trained, self.examples.condition)

    def conditions(self, count: int) -> ConditionKeywords:
        """Conditions for `count` samples, as `Diffusion.sample` takes them: those of held-out examples in turn."""
        return self.dataset.conditions(np.resize(self.held_out.indices, count))


def prepare(options: Config, source: Any = None) -> Prepared:
    """Check options, read the data, decide what the options leave open, split the data and fit its transforms.

    Args:
        options: the options, some of them left open.
        source: the data, if it is an object of Python, or has been read with these options; by default the source of
            the options is read.

    Raises:
        ConfigError: the options are bad, or do not fit each other or the data.
        DataError: the data is bad, or some class is found only among the examples that are held out.
    """
    check(options)
    require_tracker(options.train.tracker)
    if source is None and not options.source:
        raise ConfigError("source", repr(options.source), "data, by its name or path")
    require_possible(options)
    is_read = isinstance(source, Dataset)
    dataset = source if is_read else load_dataset(options.source if source is None else source, options.data)
    if options.model not in (None, "diffusion"):
        dataset = replace(dataset, spec=_densities(dataset.spec, options))
    config = resolve(options, dataset.spec, len(dataset.data))
    train, held_out = split_indices(len(dataset.data), config.data.held_out, config.data.split_seed)
    condition, given = dataset.condition, None
    if dataset.given is not None:
        require_at_rest(config.train.augment, dataset.given.spec.size)
        given, where = dataset.given.data, f"condition {dataset.given.name}"
        condition = replace(condition, given=fit_transform(dataset.given.spec, given, rows=train, where=where))
    lattice, kind = family_of(config).lattice(config, dataset.spec), config.data.transform
    transform = fit_transform(dataset.spec, dataset.data, lattice, train, kind, bounds=config.data.bounds)
    _require_every_class(dataset, train)
    dataset = replace(dataset, notes=(*dataset.notes, *_unseen_categories(dataset, train)))
    examples = Examples(dataset.data, train, transform, condition, dataset.labels, given)
    return Prepared(config, dataset, examples, replace(examples, indices=held_out), dataset.fingerprint())


def _densities(spec: DataSpec, options: Config) -> DataSpec:
    """What the data is to a model that gives every number a density.

    Raises:
        ConfigError: `data.masses` names columns whose numbers shall have probabilities.
    """
    if options.data.masses not in (None, (NO_MASSES,)):
        need = f"no data.masses for the model {options.model}, which gives every number a density; or --model diffusion"
        raise ConfigError("data.masses", " ".join(options.data.masses or ()), need)
    return spec.without_recurring()


def split_indices(count: int, held_out: float, seed: int) -> tuple[Array, Array]:
    """Cut a permutation of `count` examples: the first floor((1 - held_out) count) to train on, the others held out."""
    order = np.random.default_rng(seed).permutation(count)
    cut = min(max(int((1 - held_out) * count), 1), count - 1)
    return order[:cut], order[cut:]


def _require_every_class(dataset: Dataset, train: Array) -> None:
    """Raise a `DataError` if none of the examples to train on belongs to some class."""
    classes = dataset.condition.classes
    if dataset.labels is None or classes is None:
        return
    missing = np.flatnonzero(np.bincount(dataset.labels[train], minlength=len(classes) + 1)[1:] == 0)
    if len(missing):
        got = f"class {classes[missing[0]]!r} only among the held-out examples"
        raise DataError(f"{dataset.name}: data.labels", got, "examples of every class to train on")


def _unseen_categories(dataset: Dataset, train: Array) -> list[str]:
    """A note on each category of a table that stands only among the held-out examples, where no model can know it."""
    found = []
    for i, (name, column) in enumerate((dataset.spec.columns or {}).items()):
        if column.categories is None:
            continue
        unseen = np.setdiff1d(dataset.data[:, i], dataset.data[train, i])
        if names := listed(repr(column.categories[int(number)]) for number in unseen if not np.isnan(number)):
            found.append(f"only among the held-out examples: {names} of column {name}")
    return found
