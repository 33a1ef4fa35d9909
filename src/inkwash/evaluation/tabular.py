"""Vectors as tables, and the space in which rows of a table are compared.

A table is `(N, D)`, float64: numbers, or category numbers 0, 1, …, with NaN where a cell is missing. `categories` says
how many categories each column has; it is None for a column of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec

Categories = Sequence[int | None]


def categories_of(spec: DataSpec) -> Categories:
    """How many categories each entry of a vector has; a bit has two."""
    return tuple(size or None for size in spec.sizes or (2 * (spec.levels == 2),) * spec.shape[0])


def table_of(spec: DataSpec, x: Array) -> Array:
    """Vectors in data units as a table."""
    return spec.to_channels_first(x).astype(np.float64) - (spec.low if spec.levels == 2 else 0)


def names_of(spec: DataSpec) -> list[str]:
    """The channels of an example in words; the entries of a vector are its channels."""
    return [spec.entry_words(i) for i in range(spec.shape[0])]


def spread_of(spec: DataSpec, x: Array) -> Array:
    """For each entry, in the order of the data, the standard deviation of its channel or column; 1 where that is 0."""
    each = spec.to_channels_first(x).astype(np.float64)
    spread = moments(np.moveaxis(each, 1, -1).reshape(-1, spec.shape[0]))[1].reshape(-1, *(1,) * len(spec.size))
    every = np.ones((1, len(spec.varies), *spec.size))
    every[:, spec.varies] = np.where(spread > 0, spread, 1.0)
    return spec.from_all_channels(every).ravel()


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column `(N, D)` over the cells that are present; 0 where none is."""
    count = np.maximum((~np.isnan(x)).sum(0), 1)
    mean = np.nansum(x, axis=0) / count
    return mean, np.sqrt(np.nansum((x - mean) ** 2, axis=0) / count)


def unfold(x: Array, categories: Categories) -> Array:
    """Keep numbers as they are and give each category an indicator: `(N, D)` to `(N, W)`, NaN where missing."""
    parts = []
    for column, count in zip(x.T, categories, strict=True):
        hot = column[:, None] == np.arange(count or 1)
        parts.append(column[:, None] if count is None else np.where(np.isnan(column)[:, None], np.nan, hot))
    return np.concatenate(parts, axis=1)


def unfolded_words(name: str, count: int | None) -> list[str]:
    """The names of the columns that `unfold` makes of the column `name`."""
    return [name] if count is None else [f"{name} = {k}" for k in range(count)]


def embed(x: Array, reference: Array, categories: Categories) -> Array:
    """Map a table to the space in which distances are taken and forests grow: `(N, D)` to float64 `(N, W)`.

    Numbers are standardised with the moments of the reference; two different categories are at distance 1. A missing
    cell becomes 0, which for numbers is the mean. Each column of numbers with gaps in the reference gets an indicator
    of its gaps as well.

    Args:
        x: a table.
        reference: the table `(M, D)` whose moments are used.
        categories: see the module.
    """
    wide, theirs = unfold(x, categories), unfold(reference, categories)
    number = np.repeat([count is None for count in categories], [count or 1 for count in categories])
    mean, spread = moments(theirs)
    shift, scale = np.where(number, mean, 0.0), np.where(number, spread, np.sqrt(2))
    missed = np.isnan(wide)[:, number & np.isnan(theirs).any(0)]
    return np.concatenate([np.nan_to_num((wide - shift) / np.where(scale > 0, scale, 1)), missed], axis=1)
