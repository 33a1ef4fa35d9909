"""What the columns of a table are, from every source of tables: the one place that decides what no type and no option
says.

A column is an entry of the examples, a constant, or left out. Whatever a user may see otherwise comes with a `Doubt`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.cells import PERHAPS_MISSING, is_code, is_integer, is_missing, is_number
from inkwash.data.column_kinds import MOST_TEXTS, are_categories, category_column, number_column, text_column
from inkwash.data.columns import LARGEST_INTEGER, Column, Type, listed
from inkwash.data.doubts import Doubt
from inkwash.data.number_formats import AmbiguousNumbersError, Decimal, NumberFormat, find_format

_NEARLY = 0.9
"""From this share of the cells on, different texts are names of rows, and numbers among words are a column of
numbers."""
_IDENTIFIER = re.compile(r"(.*[\W_]|.*[a-z](?=I))?(id|Id|ID|uuid|guid|UUID|GUID)")
_ROW_NUMBER = re.compile(r"(Unnamed: \d+|index|row|row[ _.]?(number|num|no|nr)|rownames|level_0)", re.IGNORECASE)
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE_WORDS = re.compile(
    rf"([a-z]+,? )?(\d{{1,2}}[a-z.]*[ -]{_MONTH}|{_MONTH} \d{{1,2}}[a-z]*)(,?[ -]\d{{2,4}})?([ ,T].*)?", re.IGNORECASE
)
_FEW = 20
"""In fewer cells, a number far from the others says nothing."""
_NINES = re.compile(r"-?(9{2,}|8{2,})(\.0*)?")


@dataclass(frozen=True)
class Cells:
    """A column as it was read.

    Args:
        values: float64 `(N,)`: the numbers, or the places in `texts` of the cells; NaN where a cell is missing.
        dtype: type of the numbers; "str" for text, "category" for categories in an order of their own.
        texts: the different texts; None: the cells are numbers.
        typed: whether the source has types, and these cells are what their type says.
        written: how the numbers are written, if not plainly.
        fits: whether float64 has all of the numbers, as integers.
        are_categories: whether the numbers are categories, by their type.
    """

    values: Array
    dtype: Any
    texts: tuple[str, ...] | None = None
    typed: bool = False
    written: NumberFormat | None = None
    fits: bool = True
    are_categories: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether the type says which categories there are."""
        return self.dtype in ("category", "bool")

    @property
    def present(self) -> int:
        """How many cells are not missing."""
        return int(np.count_nonzero(~np.isnan(self.values)))

    @property
    def counts(self) -> Array:
        """How many cells have each of the texts, `(len(texts),)`."""
        return np.bincount(self.values[~np.isnan(self.values)].astype(int), minlength=len(self.texts or ()))


@dataclass(frozen=True)
class Verdict:
    """What a column is.

    Args:
        column: what its cells are; None: it is left out.
        values: what stands in the data for the cells, float64 `(N,)`.
        doubts: what was decided and could be otherwise.
        words: words that stand for missing cells.
        infinite: the rows of infinite numbers.
    """

    column: Column | None = None
    values: Array | None = None
    doubts: tuple[Doubt, ...] = ()
    words: tuple[str, ...] = ()
    infinite: tuple[int, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether the column has one value in every row."""
        return self.values is not None and len(np.unique(self.values[~np.isnan(self.values)])) == 1


@dataclass(frozen=True)
class Judge:
    """Judges the columns of one table.

    Args:
        where: name of the table, for messages.
        config: what the user decides.
        place: what a row is called in messages, by its number: its line in a file, for example.
        decimal: decimal mark of the table; None: each column has its own.
    """

    where: str
    config: DataConfig
    place: Callable[[int], str]
    decimal: Decimal | None = None

    def verdict(self, name: str, cells: Cells) -> Verdict:
        """What a column is.

        Args:
            name: of the column.
            cells: the column as it was read.

        Raises:
            DataError: the options want the column to be what it cannot be.
        """
        cells, infinite = self._finite(self._without_missing(cells))
        if not cells.present:
            found = Verdict() if infinite else self.left_out(name, "no value in any row", "categories")
        elif cells.texts is None:
            found = self._numbers(name, cells)
        else:
            found = self._texts(name, cells, cells.texts)
        return replace(found, infinite=infinite)

    def _without_missing(self, cells: Cells) -> Cells:
        """The cells with gaps in place of the words that the user names."""
        words = self.config.missing_values or ()
        if not words:
            return cells
        if cells.texts is None:
            gone = np.isin(cells.values, [float(word) for word in words if is_number(word)])
        else:
            are_words = np.array([is_missing(text, words) for text in cells.texts] + [False])
            gone = are_words[np.where(np.isnan(cells.values), -1, cells.values).astype(int)]
        return _compact(replace(cells, values=np.where(gone, np.nan, cells.values)))

    def _finite(self, cells: Cells) -> tuple[Cells, tuple[int, ...]]:
        """The cells with gaps in place of infinite numbers, and the rows of those that the user did not ask for."""
        bad = np.isinf(cells.values)
        rows = tuple(np.flatnonzero(bad).tolist()) if self.config.infinite == "refuse" else ()
        return replace(cells, values=np.where(bad, np.nan, cells.values)), rows

    def _declared(self, name: str) -> bool | None:
        """Whether the options make a column categories (True) or numbers (False); None if they leave it open."""
        if name in (self.config.categories or ()):
            return True
        return False if self.config.levels is not None or name in (self.config.numbers or ()) else None

    def _numbers(self, name: str, cells: Cells) -> Verdict:
        where = f"{self.where}, column {name!r}"
        declared = True if cells.are_categories and self._declared(name) is None else self._declared(name)
        seen = np.unique(cells.values[~np.isnan(cells.values)])
        if len(seen) == 1:
            return self._constant(name, Column(cells.dtype, None, _misses(cells), cells.written), cells, f"{seen[0]:g}")
        if not cells.fits:
            return self._too_large(name, declared)
        if declared is None and Column(cells.dtype).is_integer and (found := self._identifier(name, cells, seen)):
            return found
        made, values = number_column(where, cells.dtype, cells.values, declared)
        spike = None if declared is not None or made.categories else _spike(cells.values, seen)
        doubts = () if spike is None else (self._sentinel(name, cells, spike),)
        return Verdict(replace(made, written=None if made.categories else cells.written), values, doubts)

    def _too_large(self, name: str, declared: bool | None) -> Verdict:
        if declared is not None:
            raise DataError(f"{self.where}, column {name!r}", "whole numbers beyond 2^53", "smaller ones")
        return self.left_out(name, "whole numbers beyond 2^53", "categories")

    def _identifier(self, name: str, cells: Cells, seen: Array) -> Verdict | None:
        """The verdict on whole numbers that number the rows, by their name and their values; None on others."""
        differ = len(seen) >= _NEARLY * cells.present
        steps = np.diff(cells.values)
        if _ROW_NUMBER.fullmatch(name) and len(steps) and (steps == 1).all():
            return self.left_out(name, f"counts the rows, {seen[0]:g} to {seen[-1]:g}", "numbers")
        if not _IDENTIFIER.fullmatch(name) or are_categories(cells.dtype, cells.values, seen):
            return None
        what = f"identifiers: {len(seen)} whole numbers in {cells.present} rows"
        if differ:
            return self.left_out(name, what, "numbers")
        made, values = number_column(f"{self.where}, column {name!r}", cells.dtype, cells.values, False)
        return Verdict(made, values, (Doubt(name, what, "kept as numbers", ("drop", name), ("numbers", name)),))

    def _sentinel(self, name: str, cells: Cells, spike: float) -> Doubt:
        count = int(np.count_nonzero(cells.values == spike))
        seen = f"{spike:g} in {count} of {cells.present} cells, far from all others"
        return Doubt(name, seen, "kept as a number", ("missing_values", f"{spike:g}"), ("numbers", name))

    def _texts(self, name: str, cells: Cells, texts: tuple[str, ...]) -> Verdict:
        declared = self._declared(name)
        if declared is False:
            return self._wanted_numbers(name, cells, texts)
        is_open = declared is None and not cells.is_closed
        if is_open:
            cells = _booleans(cells)
            if found := self._numbers_in_text(name, cells, cells.texts or ()) or self._moments(name, cells.texts or ()):
                return found
        if len(used := np.flatnonzero(cells.counts)) == 1:
            column = Column(cells.dtype, cells.texts, _misses(cells))
            return self._constant(name, column, cells, repr((cells.texts or ())[used[0]]))
        return self._plain_text(name, cells, cells.texts or ()) if is_open else self._categories(name, cells)

    def _wanted_numbers(self, name: str, cells: Cells, texts: tuple[str, ...]) -> Verdict:
        """A column that the options say holds numbers."""
        written = self._format(name, texts) if not all(map(is_number, texts)) else NumberFormat()
        if written is None:
            odd = next(i for i, text in enumerate(texts) if not is_number(text))
            row = int(np.flatnonzero(cells.values == odd)[0])
            need = "a finite number, or the column in data.categories"
            raise DataError(f"{self.where} {self.place(row)}, column {name!r}", repr(texts[odd]), need)
        return self._numbers(name, _as_numbers(cells, texts, written))

    def _format(self, name: str, texts: Sequence[str]) -> NumberFormat | None:
        try:
            return find_format(texts, self.decimal)
        except AmbiguousNumbersError:
            need = "data.decimal, which says whether a comma is before decimals (,) or between thousands (.)"
            raise DataError(f"{self.where}, column {name!r}", f"numbers such as {texts[0]!r}", need) from None

    def _numbers_in_text(self, name: str, cells: Cells, texts: tuple[str, ...]) -> Verdict | None:
        """The verdict on numbers that are not written plainly, or that stand among words; None on other text."""
        if all(map(is_number, texts)):
            return None  # a number would lose zeros before it, or the type says that it is text
        written = self._format(name, texts)
        if written is not None:
            return self._written_numbers(name, cells, texts, written)
        return None if cells.typed else self._among_words(name, cells, texts)

    def _written_numbers(self, name: str, cells: Cells, texts: Sequence[str], written: NumberFormat) -> Verdict:
        found = self._numbers(name, _as_numbers(cells, texts, written))
        seen = f"numbers such as {texts[0]!r}" + (f" ({written.describe()})" if written.describe() else "")
        doubt = Doubt(name, seen, "read as numbers", ("categories", name), ("numbers", name))
        return found if found.column is None else replace(found, doubts=(doubt, *found.doubts))

    def _among_words(self, name: str, cells: Cells, texts: tuple[str, ...]) -> Verdict | None:
        """The verdict on numbers with a few words among them, which are then missing; None on other text."""
        are_words = [self._plain_or_written(text) is None for text in texts]
        words = tuple(text for text, is_word in zip(texts, are_words, strict=True) if is_word)
        share = 1 - cells.counts[are_words].sum() / cells.present
        known = all(word.lower() in PERHAPS_MISSING for word in words)
        if not words or len(words) == len(texts) or (share < _NEARLY and not (known and share >= 0.5)):
            return None
        gone = np.isin(cells.values, np.flatnonzero(are_words))
        rest = _compact(replace(cells, values=np.where(gone, np.nan, cells.values)))
        names = rest.texts or ()
        written = NumberFormat() if all(map(is_number, names)) else self._format(name, names)
        if written is None or any(map(is_code, names)):
            return None
        numbers = _as_numbers(rest, names, written)
        seen = np.unique(numbers.values[~np.isnan(numbers.values)])
        if not known and are_categories(numbers.dtype, numbers.values, seen):
            return None  # answers such as 0, 1, 2, 3+
        found = self._numbers(name, numbers)
        cells_in_words = f"{listed(map(repr, words), 3)} in {int(gone.sum())} of {cells.present} cells"
        doubts = [
            Doubt(name, f"numbers, and {cells_in_words}", "read as missing", ("categories", name), ("missing_values", word))
            for word in words
        ]
        return replace(found, doubts=(*doubts[:1], *found.doubts), words=words)

    def _plain_or_written(self, text: str) -> float | None:
        if is_number(text):
            return float(text)
        try:
            written = find_format([text], self.decimal or ".")
        except AmbiguousNumbersError:
            return 0.0
        return None if written is None else written.number(text)

    def _moments(self, name: str, texts: Sequence[str]) -> Verdict | None:
        """The verdict on dates and on times of day; None on other text."""
        if all(map(_CLOCK.fullmatch, texts)):
            return self.left_out(name, f"times of day, such as {texts[0]!r}", "categories")
        if are_dates(texts):
            return self.left_out(name, f"dates, such as {texts[0]!r}", "categories")
        return None

    def _plain_text(self, name: str, cells: Cells, texts: tuple[str, ...]) -> Verdict:
        """The verdict on text of which no option says what it is."""
        codes = any(map(is_code, texts)) and all(map(is_integer, texts))
        number = "numbers" if codes else "categories"
        if len(texts) > MOST_TEXTS or (len(texts) >= _NEARLY * cells.present and not is_boolean(texts)):
            what = "codes with zeros before them" if codes else "texts"
            return self.left_out(name, f"{len(texts)} {what} in {cells.present} rows", number)
        found = self._categories(name, cells)
        if codes and not cells.typed:
            seen = f"codes such as {next(filter(is_code, texts))}"
            return replace(found, doubts=(Doubt(name, seen, "kept as text", ("numbers", name), ("categories", name)),))
        odd = [text for text in texts if text.lower() in PERHAPS_MISSING]
        mixed = not cells.typed and any(map(is_number, texts))
        doubts = [
            Doubt(name, f"{text!r} among categories", "kept as one", ("missing_values", text), ("categories", name))
            for text in odd
        ]
        if mixed and not odd:
            what = f"numbers and text: {listed(map(repr, texts), 4)}"
            doubts.append(Doubt(name, what, "kept as categories", ("drop", name), ("categories", name)))
        return replace(found, doubts=tuple(doubts))

    def _categories(self, name: str, cells: Cells) -> Verdict:
        where, wanted = f"{self.where}, column {name!r}", bool(self._declared(name))
        if cells.is_closed:
            return Verdict(*category_column(where, cells.dtype, cells.texts or (), cells.values))
        return Verdict(*text_column(where, cells.texts or (), cells.values, wanted, typed=cells.typed))

    def _constant(self, name: str, column: Column, cells: Cells, value: str) -> Verdict:
        option = "numbers" if column.categories is None else "categories"
        is_stated = self._declared(name) is not None
        doubt = Doubt(name, f"{value} in every row", "kept as a constant", ("drop", name), (option, name))
        return Verdict(column, cells.values, () if is_stated else (doubt,))

    def left_out(self, name: str, seen: str, otherwise: str) -> Verdict:
        """The verdict that a column is no part of the examples."""
        return Verdict(doubts=(Doubt(name, seen, "left out", (otherwise, name), ("drop", name)),))


def is_boolean(texts: Sequence[str]) -> bool:
    """Whether the texts are false and true."""
    return {text.lower() for text in texts} == {"false", "true"}


def are_dates(texts: Sequence[str]) -> bool:
    """Whether all texts look like dates."""
    return all(_DATE.fullmatch(text) or _DATE_WORDS.fullmatch(text) for text in texts)


def _compact(cells: Cells) -> Cells:
    """The cells without the texts that no cell has."""
    if cells.texts is None or cells.dtype == "category":
        return cells
    used = np.flatnonzero(cells.counts)
    places = np.append(np.searchsorted(used, np.arange(len(cells.texts))).astype(float), np.nan)
    values = places[np.where(np.isnan(cells.values), -1, cells.values).astype(int)]
    return replace(cells, values=values, texts=tuple(cells.texts[i] for i in used))


def _as_numbers(cells: Cells, texts: Sequence[str], written: NumberFormat) -> Cells:
    """Cells of text as the numbers that they stand for."""
    numbers = np.array([written.number(text) if not written.is_plain else float(text) for text in texts] + [np.nan])
    whole = bool((numbers[:-1] == np.rint(numbers[:-1])).all()) and not any(written.decimal in text for text in texts)
    values = numbers[np.where(np.isnan(cells.values), -1, cells.values).astype(int)]
    dtype: Type = "int64" if whole else "float64"
    fits = not whole or bool((np.abs(numbers[:-1]) <= LARGEST_INTEGER).all())
    apart = replace(written, thousands="")  # no number is written with groups: they say nothing
    return Cells(values, dtype, written=None if apart.is_plain else apart, fits=fits)


def _booleans(cells: Cells) -> Cells:
    """The cells with one spelling for true and one for false, if they hold nothing else and have several for one."""
    texts = cells.texts or ()
    folded = [text.lower() for text in texts]
    if not {*folded} <= {"false", "true"} or len({*folded}) == len(texts):
        return cells
    names = tuple(name.title() for name in sorted({*folded}))
    place = np.append([float(name.title() == names[-1]) * (len(names) - 1) for name in folded], np.nan)
    values = place[np.where(np.isnan(cells.values), -1, cells.values).astype(int)]
    return replace(cells, values=values, texts=names, typed=False)


def _misses(cells: Cells) -> bool:
    return bool(np.isnan(cells.values).any())


def _spike(values: Array, seen: Array) -> float | None:
    """The smallest or the largest number, if it occurs again, or is all nines, and lies farther from the others than
    these do from each other."""
    if len(seen) < 4 or len(values) < _FEW:
        return None
    for end, near, far in ((seen[0], seen[1], seen[-1]), (seen[-1], seen[-2], seen[0])):
        again = np.count_nonzero(values == end) > 1 or _NINES.fullmatch(f"{end:g}")
        if again and abs(end - near) > abs(near - far):
            return float(end)
    return None
