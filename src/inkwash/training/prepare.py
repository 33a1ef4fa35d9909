"""What training starts from: options that are all decided, and data that is split and fitted with its transforms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import Config, ResolvedConfig
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import check
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionKeywords, ConditionSpec
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.rows import blocks, take
from inkwash.data.transform import Transform, fit_transform
from inkwash.denoise.denoiser import NetworkDenoiser
from inkwash.model.diffusion import Diffusion
from inkwash.training.build import build_lattice, build_model
from inkwash.training.defaults import require_possible, resolve


@dataclass(frozen=True)
class Examples:
    """The examples of one part of the split; they are read and converted to model units when they are needed.

    Args:
        data: all examples of the data set, in data units.
        indices: which of them belong to this part.
        transform: converts data units to model units.
        condition: what the network takes beside noisy data and time.
        labels: the class number of each example of the data set, if the network takes a label.
        given: what is given of each example of the data set, in its own units, if the network takes that.
    """

    data: Array
    indices: Array
    transform: Transform
    condition: ConditionSpec = field(default_factory=ConditionSpec)
    labels: Array | None = None
    given: Array | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: Array) -> Tensor:
        """The examples at `positions` of this part, in model units; a missing entry is NaN."""
        return self.transform.to_model(take(self.data, self.indices[positions]))

    def conditions(self, positions: Array) -> dict[str, Tensor]:
        """The conditions of the examples at `positions`, by name, as the network takes them."""
        rows, conditions = self.indices[positions], {}
        if self.labels is not None:
            conditions["label"] = torch.from_numpy(self.labels[rows])
        if self.given is not None and self.condition.given is not None:
            conditions["given"] = self.condition.given.to_model(take(self.given, rows))
        return conditions

    def blocks(self) -> Iterator[Tensor]:
        """All examples in model units, block by block, in the order of the data; a missing entry is NaN."""
        for block in blocks(self.data, np.sort(self.indices)):
            yield self.transform.to_model(block)


def with_present(x: Tensor, condition: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Examples with 0 in place of NaN, and their condition, to which `present` is added if entries are missing."""
    missing = x.isnan()
    return (x.nan_to_num(0.0), {**condition, "present": ~missing}) if bool(missing.any()) else (x, condition)


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

    config: ResolvedConfig
    dataset: Dataset
    examples: Examples
    held_out: Examples
    fingerprint: str

    @property
    def transform(self) -> Transform:
        """Converts data units to model units; it is fitted on the examples to train on."""
        return self.examples.transform

    def model(self, denoiser: NetworkDenoiser) -> Diffusion:
        """The distribution that a denoiser stands for."""
        return build_model(self.config, self.transform, denoiser, self.examples.condition)

    def conditions(self, count: int) -> ConditionKeywords:
        """Conditions for `count` samples, as `Diffusion.sample` takes them: those of held-out examples in turn."""
        return self.dataset.conditions(np.resize(self.held_out.indices, count))


def prepare(options: Config, source: Any = None) -> Prepared:
    """Check options, read the data, decide what the options leave open, split the data and fit its transforms.

    Args:
        options: the options, some of them left open.
        source: the data, if it is an object of Python; by default the source of the options is read.

    Raises:
        ConfigError: the options are bad, or do not fit each other or the data.
        DataError: the data is bad, or some class is found only among the examples that are held out.
    """
    check(options)
    if source is None and not options.source:
        raise ConfigError("source", repr(options.source), "data, by its name or path")
    require_possible(options)
    dataset = load_dataset(options.source if source is None else source, options.data)
    config = resolve(options, dataset.spec, len(dataset.data))
    train, held_out = split_indices(len(dataset.data), config.data.held_out, config.data.split_seed)
    condition, given = dataset.condition, None
    if dataset.given is not None:
        given, where = dataset.given.data, f"condition {dataset.given.name}"
        condition = replace(condition, given=fit_transform(dataset.given.spec, given, rows=train, where=where))
    lattice, kind = build_lattice(config, dataset.spec), config.data.transform
    transform = fit_transform(dataset.spec, dataset.data, lattice, train, kind)
    _require_every_class(dataset, train)
    examples = Examples(dataset.data, train, transform, condition, dataset.labels, given)
    return Prepared(config, dataset, examples, replace(examples, indices=held_out), dataset.fingerprint())


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
