"""What the columns of a table are, from every source of tables: the one place that decides what no type and no option
says.

A column is an entry of the examples, a constant, or left out. Whatever a user may see otherwise comes with a `Doubt`.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.as_read import Cells
from inkwash.data.cells import PERHAPS_MISSING, is_code, is_integer, is_missing, is_number
from inkwash.data.clock import TimeType
from inkwash.data.column_kinds import are_categories, most_texts, number_column, require_few, text_column
from inkwash.data.columns import Column, listed
from inkwash.data.dates import DayOrMonthFirstError
from inkwash.data.doubts import Choice, Doubt
from inkwash.data.number_formats import AmbiguousNumbersError, Decimal, NumberFormat, find_format
from inkwash.data.time_columns import days_in_digits, text_time_column, time_column

_NEARLY = 0.9
"""From this share of the cells on, different texts are names of rows, and numbers among words are a column of
numbers."""
_SHOWN = 30
"""Letters of a cell in a message."""
_FEW = 20
"""In fewer cells, a number far from the others says nothing."""
_IDENTIFIER = re.compile(r"(.*[\W_]|.*[a-z](?=I))?(id|Id|ID|uuid|guid|UUID|GUID)")
_ROW_NUMBER = re.compile(r"(Unnamed: \d+|index|row|row[ _.]?(number|num|no|nr)|rownames|level_0)", re.IGNORECASE)
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[ap]\.?m\.?)?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE_WORDS = re.compile(
    rf"([a-z]+,? )?(\d{{1,2}}[a-z.]*[ -]{_MONTH}|{_MONTH} \d{{1,2}}[a-z]*)(,?[ -]\d{{2,4}})?([ ,T].*)?", re.IGNORECASE
)
_NINES = re.compile(r"-?(9{2,}|8{2,})")
_NO_DATE = re.compile(
    r"((9999|2999|2099)-?(12(-?31)?|01(-?01)?)|(0001|1111|1753|1800|1900|1970)-?01(-?01)?|1899-?12-?3[01])(T.*)?"
)
"""Dates that often stand for none: the ends of what a program can hold, and the beginning of its count."""


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

    def beside(self, *doubts: Doubt, words: tuple[str, ...] = ()) -> "Verdict":
        """The verdict with more doubts before its own, and more words for missing cells."""
        return replace(self, doubts=(*doubts, *self.doubts), words=(*self.words, *words))


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
        known = cells.without(self._stated_as_missing(cells) | np.isinf(cells.values))
        bad = np.flatnonzero(np.isinf(cells.values) & (self.config.infinite == "refuse"))
        if not len(known.known):
            found = self._empty(name)
        else:
            found = self._numbers(name, known) if known.texts is None else self._texts(name, known)
        return replace(found, infinite=(*found.infinite, *bad.tolist()))

    def of_times(
        self,
        name: str,
        values: Array,
        dtype: TimeType,
        zone: str | None = None,
        written: Literal["digits", "time"] | None = None,
    ) -> Verdict:
        """What a column of dates or durations is.

        Args:
            name: of the column.
            values: datetime64 or timedelta64 `(N,)`, NaT where a cell is missing; dates in UTC if they have a zone.
            dtype: the type that they came in.
            zone: time zone of dates, if they have one.
            written: as of `Clock`.

        Raises:
            DataError: the options want categories or numbers, or `time_column` refuses the values.
        """
        if np.isnat(values).all():
            return self._empty(name)
        if self._is_stated(name):
            need = "numbers, text or booleans, for data.categories and data.numbers"
            raise DataError(self._where(name), "dates or durations", need)
        column, counts = time_column(self._where(name), values, dtype, zone, written=written)
        gone = np.isin(counts, column.moments_among(self.config.missing_values or ()))
        if gone.any():
            left = np.where(gone, np.array("NaT", values.dtype), values)
            rest = replace(self, config=replace(self.config, missing_values=None))
            return rest.of_times(name, left, dtype, zone, written)
        seen = np.unique(values[~np.isnat(values)])
        if len(seen) > 1:
            return self._dated(name, column, counts)
        if np.isnat(values).any():
            return self.left_out(name, f"{seen[0]} in some rows, and nothing in the others", "drop")
        return self._constant(name, column, counts, str(seen[0]))

    def unreadable(self, name: str, seen: str) -> Verdict:
        """The verdict on a column whose cells are neither numbers, text, booleans, dates nor durations.

        Raises:
            DataError: the options want it to be a part of the examples.
        """
        if self._is_stated(name) or name in (self.config.dates or ()):
            raise DataError(self._where(name), seen, "numbers, text, booleans, dates or durations, or data.drop")
        return self.left_out(name, seen, ())

    def left_out(self, name: str, seen: str, otherwise: str | Choice) -> Verdict:
        """The verdict that a column is no part of the examples, unless an option says otherwise; that which takes the
        name of the column, or one with its value. It is empty if none does."""
        choice = (otherwise, name) if isinstance(otherwise, str) else otherwise
        return Verdict(doubts=(Doubt(name, seen, "left out", choice, ("drop", name)),))

    def _empty(self, name: str) -> Verdict:
        """The verdict on a column without a value, of which no option can make anything else."""
        if self._is_stated(name):
            need = "one value at least, for data.categories and data.numbers"
            raise DataError(self._where(name), "no value in any row", need)
        return self.left_out(name, "no value in any row", ())

    def _is_stated(self, name: str) -> bool:
        """Whether an option names the column as one of categories or numbers."""
        return name in (*(self.config.numbers or ()), *(self.config.categories or ()))

    def _stated_as_missing(self, cells: Cells) -> Array:
        """Which cells are missing because the user says so, boolean `(N,)`."""
        words = self.config.missing_values or ()
        if cells.texts is None:
            return np.isin(cells.values, [float(word) for word in words if is_number(word)])
        return np.isin(cells.values, [i for i, text in enumerate(cells.texts) if words and is_missing(text, words)])

    def _declared(self, name: str) -> bool | None:
        """Whether the options make a column categories (True) or numbers (False); None if they leave it open."""
        if name in (self.config.categories or ()):
            return True
        return False if self.config.levels not in (None, "real") or name in (self.config.numbers or ()) else None

    def _where(self, name: str) -> str:
        return f"{self.where}, column {name!r}"

    # Dates and durations

    def _dated(self, name: str, column: Column, counts: Array) -> Verdict:
        """The verdict on dates or durations that vary; a date far from all others may stand for none."""
        spike = None
        if column.is_date and name not in (self.config.dates or ()):
            spike = _spike(counts, np.unique(counts[~np.isnan(counts)]), column.shown, _NO_DATE)
        if spike is None:
            return Verdict(column, counts)
        date, count = column.shown(spike), np.count_nonzero(counts == spike)
        seen = f"{date} in {count} of {np.count_nonzero(~np.isnan(counts))} cells, far from all others"
        return Verdict(
            column, counts, (Doubt(name, seen, "kept as a date", ("missing_values", date), ("dates", name)),)
        )

    def _digits(self, name: str, cells: Cells) -> Verdict:
        """The verdict on whole numbers that the options say are dates."""
        days = days_in_digits(cells.values)
        if days is None:
            raise DataError(self._where(name), f"numbers such as {cells.known[0]:.15g}", "dates such as 20240131")
        return self.of_times(name, days, "datetime64[D]", written="digits")

    # Numbers

    def _numbers(self, name: str, cells: Cells) -> Verdict:
        if name in (self.config.dates or ()):
            return self._digits(name, cells)
        declared, seen = self._declared(name), np.unique(cells.known)
        if not cells.fits and declared is None:
            return self.left_out(name, "whole numbers beyond 2^53", () if cells.typed else "categories")
        if not cells.fits:
            raise DataError(self._where(name), "whole numbers beyond 2^53", "smaller ones")
        if len(seen) == 1 and cells.may_miss:
            return self._one_or_nothing(name, cells, f"{seen[0]:g}")
        if len(seen) == 1:
            column = Column(cells.dtype, None, cells.may_miss, cells.written)
            return self._constant(name, column, cells.values, f"{seen[0]:g}")
        are_days = declared is None and days_in_digits(seen) is not None
        if declared is None and not are_days and (found := self._identifier(name, cells, seen)):
            return found
        column, values = number_column(self._where(name), cells.dtype, cells.values, declared)
        doubts = self._about_numbers(name, cells, seen, column) if declared is None else ()
        return Verdict(replace(column, written=None if column.categories else cells.written), values, doubts)

    def _about_numbers(self, name: str, cells: Cells, seen: Array, column: Column) -> tuple[Doubt, ...]:
        """The doubts about numbers that vary."""
        if days_in_digits(seen) is not None:
            kind = "numbers" if column.categories is None else "categories"
            what = f"whole numbers such as {seen[0]:.0f}, which may be dates"
            return (Doubt(name, what, f"kept as {kind}", ("dates", name), (kind, name)),)
        spike = None if column.categories else _spike(cells.values, seen, "{:g}".format, _NINES)
        return () if spike is None else (self._sentinel(name, cells, spike),)

    def _identifier(self, name: str, cells: Cells, seen: Array) -> Verdict | None:
        """The verdict on whole numbers that number the rows, by their name and their values; None on others."""
        if not Column(cells.dtype).is_integer or are_categories(cells.dtype, cells.values, seen):
            return None
        if _ROW_NUMBER.fullmatch(name) and (np.diff(cells.values) == 1).all():
            return self.left_out(name, f"counts the rows, {seen[0]:g} to {seen[-1]:g}", "numbers")
        if not _IDENTIFIER.fullmatch(name):
            return None
        what = f"identifiers: {len(seen)} whole numbers in {len(cells.known)} rows"
        if len(seen) >= _NEARLY * len(cells.known):
            return self.left_out(name, what, "numbers")
        column, values = number_column(self._where(name), cells.dtype, cells.values, False)
        return Verdict(column, values, (Doubt(name, what, "kept as numbers", ("drop", name), ("numbers", name)),))

    def _sentinel(self, name: str, cells: Cells, spike: float) -> Doubt:
        count = int(np.count_nonzero(cells.values == spike))
        seen = f"{spike:g} in {count} of {len(cells.known)} cells, far from all others"
        return Doubt(name, seen, "kept as a number", ("missing_values", f"{spike:g}"), ("numbers", name))

    # Text

    def _texts(self, name: str, cells: Cells) -> Verdict:
        declared = self._declared(name)
        if declared is False:
            return self.verdict(name, self._wanted_numbers(name, cells))
        if name in (self.config.dates or ()):
            return self._wanted_dates(name, cells)
        is_open = declared is None and cells.column is None
        if is_open:
            cells = cells.with_one_spelling()
            found = self._written_numbers(name, cells) or self._among_words(name, cells) or self._moments(name, cells)
            if found:
                return found
        used = np.flatnonzero(cells.counts)
        if len(used) == 1 and not cells.may_miss:
            column = replace(cells.column or Column("str", cells.texts), missing=cells.may_miss)
            return self._constant(name, column, cells.values, quoted(_names(cells)[used[0]]))
        return self._plain_text(name, cells) if is_open else self._categories(name, cells)

    def _wanted_numbers(self, name: str, cells: Cells) -> Cells:
        """Text that the options say is numbers."""
        texts = _names(cells)
        written = NumberFormat() if all(map(is_number, texts)) else self._format(name, texts)
        if written is None:
            odd = next(i for i, text in enumerate(texts) if not is_number(text))
            row = self.place(int(np.flatnonzero(cells.values == odd)[0]))
            need = "a finite number, or the column in data.categories"
            raise DataError(f"{self.where} {row}, column {name!r}", repr(texts[odd]), need)
        return cells.as_numbers(written)

    def _wanted_dates(self, name: str, cells: Cells) -> Verdict:
        """The verdict on text that the options say is dates."""
        texts = _names(cells)
        if all(map(is_integer, texts)):
            return self._digits(name, cells.as_numbers(NumberFormat()))
        found = self._moments(name, cells)
        if found is None or found.column is None:
            raise DataError(
                self._where(name), f"text such as {quoted(texts[0])}", "dates such as 2024-01-31, several of them"
            )
        return found

    def _format(self, name: str, texts: Sequence[str]) -> NumberFormat | None:
        try:
            return find_format(texts, self.decimal)
        except AmbiguousNumbersError:
            need = "data.decimal, which says whether a comma is before decimals (,) or between thousands (.)"
            raise DataError(self._where(name), f"numbers such as {quoted(texts[0])}", need) from None

    def _written_numbers(self, name: str, cells: Cells) -> Verdict | None:
        """The verdict on numbers that stood among words for missing cells, or are not written plainly; None on other
        text, and on digits that are text by their type, or would lose zeros as a number."""
        texts = _names(cells)
        if all(map(is_number, texts)):
            is_text = cells.typed or any(map(is_code, texts))
            return None if is_text else self.verdict(name, cells.as_numbers(NumberFormat()))
        written = self._format(name, texts)
        if written is None:
            return None
        example = next(text for text in texts if not is_number(text))
        seen = f"numbers such as {quoted(example)}" + (f" ({written.describe()})" if written.describe() else "")
        found = self.verdict(name, cells.as_numbers(written))
        doubt = Doubt(name, seen, "read as numbers", ("categories", name), ("numbers", name))
        return found if found.column is None else found.beside(doubt)

    def _among_words(self, name: str, cells: Cells) -> Verdict | None:
        """The verdict on numbers with a few words among them, which are then missing; None on other text."""
        texts = _names(cells)
        are_words = np.array([not _is_written_number(text) for text in texts])
        words = tuple(text for text, is_word in zip(texts, are_words, strict=True) if is_word)
        known = all(word.lower() in PERHAPS_MISSING for word in words)
        share = cells.counts[~are_words].sum() / len(cells.known)
        if cells.typed or are_words.all() or not words or share < (0.5 if known else _NEARLY):
            return None
        gone = np.isin(cells.values, np.flatnonzero(are_words))
        numbers = self._all_numbers(name, cells.without(gone))
        if numbers is None or not (known or _are_measures(numbers)):
            return None
        some = f"{listed(map(quoted, words), 3)} in {int(gone.sum())} of {len(cells.known)} cells"
        settled = ("missing_values", *words)
        doubt = Doubt(name, f"numbers, and {some}", "read as missing", ("categories", name), settled)
        return self.verdict(name, numbers).beside(doubt, words=words)

    def _all_numbers(self, name: str, cells: Cells) -> Cells | None:
        """Text as numbers, if all of it is such, and none is a code."""
        texts = _names(cells)
        written = NumberFormat() if all(map(is_number, texts)) else self._format(name, texts)
        return None if written is None or any(map(is_code, texts)) else cells.as_numbers(written)

    def _moments(self, name: str, cells: Cells) -> Verdict | None:
        """The verdict on dates and on times of day; None on other text, and on a single one."""
        texts = _names(cells)
        if len(texts) == 1:
            return None
        if all(map(_CLOCK.fullmatch, texts)):
            return self.left_out(name, f"times of day, such as {quoted(texts[0])}", "categories")
        day_first = {"auto": None, "yes": True, "no": False}[self.config.day_first]
        try:
            dates = text_time_column(self._where(name), texts, cells.values, day_first)
        except DayOrMonthFirstError:
            seen = f"dates such as {quoted(texts[0])}: day or month first?"
            return self.left_out(name, seen, ("day_first", "yes"))
        if dates is not None:
            gone = np.isin(dates[1], dates[0].moments_among(self.config.missing_values or ()))
            return self._moments(name, cells.without(gone)) if gone.any() else self._dated(name, *dates)
        if all(_DATE.fullmatch(text) or _DATE_WORDS.fullmatch(text) for text in texts):
            return self.left_out(name, f"dates, such as {quoted(texts[0])}, that are not read", "categories")
        return None

    def _plain_text(self, name: str, cells: Cells) -> Verdict:
        """The verdict on text of which no option says what it is."""
        texts, count = _names(cells), len(cells.known)
        are_codes = any(map(is_code, texts)) and all(map(is_integer, texts))
        is_boolean = {text.lower() for text in texts} == {"false", "true"}
        if len(texts) > most_texts(len(cells.values)) or (
            len(texts) >= _NEARLY * count and len(texts) > 1 and not is_boolean
        ):
            what = "codes with zeros before them" if are_codes else "texts"
            return self.left_out(name, f"{len(texts)} {what} in {count} rows", "numbers" if are_codes else "categories")
        return self._categories(name, cells).beside(*self._about_categories(name, cells, are_codes))

    def _about_categories(self, name: str, cells: Cells, are_codes: bool) -> list[Doubt]:
        """The doubts about text that is taken for categories."""
        texts, settled = _names(cells), ("categories", name)
        if are_codes:
            seen = f"codes such as {next(filter(is_code, texts))}"
            return [] if cells.typed else [Doubt(name, seen, "kept as text", ("numbers", name), settled)]
        odd = [text for text in texts if text.lower() in PERHAPS_MISSING]
        if odd:
            what = f"{listed(map(quoted, odd))} among text"
            return [Doubt(name, what, "kept as a category", ("missing_values", *odd), settled)]
        if not cells.typed and any(map(_is_written_number, texts)):
            what = "numbers in several forms" if all(map(_is_written_number, texts)) else "numbers and text"
            seen = f"{what}: {listed(map(quoted, texts), 4)}"
            return [Doubt(name, seen, "kept as categories", ("drop", name), settled)]
        folded = Counter(text.lower() for text in texts)
        alike = [text for text in texts if folded[text.lower()] > 1]
        seen = f"{listed(map(quoted, alike), 4)}: the same but for capitals"
        return [Doubt(name, seen, "kept apart", ("drop", name), settled)] if alike else []

    def _categories(self, name: str, cells: Cells) -> Verdict:
        if cells.column is not None:
            require_few(self._where(name), len(_names(cells)), len(cells.values), wanted=True)
            return Verdict(replace(cells.column, missing=cells.may_miss), cells.values)
        wanted = bool(self._declared(name))
        return Verdict(*text_column(self._where(name), _names(cells), cells.values, wanted, typed=cells.typed))

    def _one_or_nothing(self, name: str, cells: Cells, value: str) -> Verdict:
        """The verdict on a column of numbers with one value and gaps, which says only which rows have a cell."""
        seen = f"{value} in some rows, and nothing in the others"
        if self._declared(name) is False:
            raise DataError(self._where(name), seen, "numbers that vary, or data.categories to keep it as a category")
        column, values = number_column(self._where(name), cells.dtype, cells.values, True)
        is_stated = name in (self.config.categories or ())
        doubt = Doubt(name, seen, "kept as a category", ("drop", name), ("categories", name))
        return Verdict(column, values, () if is_stated else (doubt,))

    def _constant(self, name: str, column: Column, values: Array, value: str) -> Verdict:
        option = "dates" if column.clock else "numbers" if column.categories is None else "categories"
        doubt = Doubt(name, f"{value} in every row", "kept as a constant", ("drop", name), (option, name))
        is_stated = self._is_stated(name) or name in (self.config.dates or ())
        return Verdict(column, values, () if is_stated else (doubt,))


def quoted(text: str) -> str:
    """The beginning of a cell, for messages."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _names(cells: Cells) -> tuple[str, ...]:
    return cells.texts or ()


def _is_written_number(text: str) -> bool:
    try:
        return is_number(text) or find_format([text], None) is not None
    except AmbiguousNumbersError:
        return True


def _are_measures(numbers: Cells) -> bool:
    """Whether numbers are no categories such as 0, 1 and 2, beside which 3+ is one more."""
    known = numbers.known[np.isfinite(numbers.known)]
    return len(known) == 0 or not are_categories(numbers.dtype, known, np.unique(known))


def _spike(values: Array, seen: Array, shown: Callable[[float], str], usual: re.Pattern[str]) -> float | None:
    """The smallest or the largest number, if it occurs more than once and more often than any other, or is one that
    usually stands for none, and lies farther from the others than these do from each other.

    Args:
        values: all of them, NaN where one is missing.
        seen: the different ones, in order.
        shown: how a number is written.
        usual: how those are written that usually stand for none.
    """
    if len(seen) < 4 or len(values) < _FEW:
        return None
    for end, near, far in ((seen[0], seen[1], seen[-1]), (seen[-1], seen[-2], seen[0])):
        others = np.unique(values[(values != end) & ~np.isnan(values)], return_counts=True)[1]
        is_frequent = np.count_nonzero(values == end) > others.max()
        if (is_frequent or usual.fullmatch(shown(end))) and abs(end - near) > abs(near - far):
            return float(end)
    return None
