"""A column as it was read, before anything is decided about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inkwash.core.shapes import Array
from inkwash.data.cells import LARGEST_INTEGER, is_number
from inkwash.data.columns import Column, Type
from inkwash.data.number_formats import NumberFormat


@dataclass(frozen=True)
class Cells:
    """A column as it was read.

    Args:
        values: float64 `(N,)`: the numbers, or the places in `texts` of the cells; NaN where a cell is missing.
        dtype: type of the numbers, or "str" for text.
        texts: the different texts; None: the cells are numbers.
        typed: whether the source has types, and these cells are what their type says.
        written: how the numbers are written, if not plainly.
        fits: whether float64 has all of the numbers, as integers.
        column: what the column is, if its type says so: then `texts` are its categories.
    """

    values: Array
    dtype: Any
    texts: tuple[str, ...] | None = None
    typed: bool = False
    written: NumberFormat | None = None
    fits: bool = True
    column: Column | None = None

    @property
    def known(self) -> Array:
        """The values that are not missing."""
        return self.values[~np.isnan(self.values)]

    @property
    def may_miss(self) -> bool:
        """Whether some cell is missing."""
        return len(self.known) < len(self.values)

    @property
    def counts(self) -> Array:
        """How many cells have each of the texts, `(len(texts),)`."""
        return np.bincount(self.known.astype(int), minlength=len(self.texts or ()))

    def without(self, gone: Array) -> "Cells":
        """The column with other cells missing too, and without the texts that no cell has.

        Args:
            gone: which cells, boolean `(N,)`.
        """
        rest = replace(self, values=np.where(gone, np.nan, self.values))
        if rest.texts is None or rest.column is not None:
            return rest
        used = np.flatnonzero(rest.counts)
        return rest.renamed([rest.texts[i] for i in used], np.searchsorted(used, np.arange(len(rest.texts))))

    def renamed(self, texts: Sequence[str], places: Sequence[float] | Array) -> "Cells":
        """The column with other texts.

        Args:
            texts: the new ones.
            places: for each of the old ones, the place of the new one that it becomes.
        """
        return replace(self, texts=tuple(texts), values=self._each(places))

    def as_numbers(self, written: NumberFormat) -> "Cells":
        """Cells of text as the numbers that they stand for; the texts are all written in this format."""
        texts = self.texts or ()
        numbers = np.array([_number(written, text) for text in texts], np.float64)
        finite = numbers[np.isfinite(numbers)]
        integral = not (finite % 1).any() and not any(written.decimal in text for text in texts)
        fits = not integral or bool((np.abs(finite) <= LARGEST_INTEGER).all())
        dtype: Type = "int64" if integral else "float64"
        as_written = None if all(map(is_number, texts)) else written
        return Cells(self._each(numbers), dtype, written=as_written, fits=fits)

    def with_one_spelling(self) -> "Cells":
        """Cells of text with one spelling each for true and false, if they hold nothing else and have several."""
        folded = [text.lower() for text in self.texts or ()]
        names = sorted({*folded})
        if not {*names} <= {"false", "true"} or len(names) == len(folded):
            return self
        return replace(
            self.renamed([name.title() for name in names], [names.index(each) for each in folded]), typed=False
        )

    def _each(self, values: Sequence[float] | Array) -> Array:
        """For each cell, the value that belongs to its text; NaN where it is missing."""
        return np.append(values, np.nan)[np.where(np.isnan(self.values), -1, self.values).astype(int)]


def _number(written: NumberFormat, text: str) -> float:
    """The number that a text stands for, which may be a plain one with an exponent."""
    number = written.number(text)
    return float(text) if number is None else number
