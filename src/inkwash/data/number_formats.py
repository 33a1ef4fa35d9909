"""Numbers as people write them: `$1,234.50`, `1.234,50 €`, `12 %`, `(5.00)`."""

import decimal
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Decimal = Literal[".", ","]
Thousands = Literal["", ",", ".", " ", "'"]
_CODES = "USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|Fr\\.|kr|zł|Kč|Ft|R\\$"
_SYMBOLS = "".join(chr(i) for i in range(0x20, 0x20C1) if unicodedata.category(chr(i)) == "Sc")
_AFFIX = rf"(?:[A-Z]{{0,2}}[{re.escape(_SYMBOLS)}]|{_CODES}|%)"
_WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-\u2212]?)(?P<prefix>{_AFFIX}\ ?)?(?P<inner>[+\-\u2212]?)"
    rf"(?P<digits>\.?\d(?:[\d.,'\u2019 ]*\d)?)(?P<suffix>\ ?{_AFFIX})?(?P<close>\))?"
)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"})
_MARKS: tuple[Decimal, ...] = (".", ",")
_GROUPS: tuple[Thousands, ...] = ("", ",", ".", " ", "'")


class AmbiguousNumbersError(ValueError):
    """Numbers such as 1,234, of which nothing says whether they are thousands or have decimals."""


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Args:
        decimal: mark before the decimals.
        thousands: mark between groups of three digits; empty: there is none.
        prefix: what stands before each number, such as a currency.
        suffix: what stands behind it, such as a percent sign.
    """

    decimal: Decimal = "."
    thousands: Thousands = ""
    prefix: str = ""
    suffix: str = ""

    def number(self, cell: str) -> float | None:
        """The number that a cell stands for, with or without prefix and suffix; None if it is none."""
        parts = _parts(cell)
        if parts is None or not self._digits.fullmatch(parts.digits):
            return None
        if (parts.prefix or self.prefix, parts.suffix or self.suffix) != (self.prefix, self.suffix):
            return None
        plain = parts.digits.replace(self.thousands, "") if self.thousands else parts.digits
        return parts.sign * float(plain.replace(self.decimal, "."))

    def text(self, number: str) -> str:
        """A plain number as it is written in the column, without a mark between thousands."""
        plain = f"{decimal.Decimal(number):f}"  # without an exponent
        sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
        return f"{sign}{self.prefix}{digits.replace('.', self.decimal)}{self.suffix}"

    @property
    def is_plain(self) -> bool:
        """Whether every program reads these numbers."""
        return self == NumberFormat()

    def describe(self) -> str:
        """The format in words."""
        words = [f"{self.prefix}…{self.suffix}"] if self.prefix or self.suffix else []
        words += [f"decimals after {self.decimal!r}"] if self.decimal != "." else []
        words += [f"thousands apart by {self.thousands!r}"] if self.thousands else []
        return ", ".join(words)

    @cached_property
    def _digits(self) -> re.Pattern[str]:
        digits = rf"\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+" if self.thousands else r"\d+"
        return re.compile(rf"(?:{digits})?(?:{re.escape(self.decimal)}\d+)?")


@dataclass(frozen=True)
class _Parts:
    sign: int
    prefix: str
    digits: str
    suffix: str


def _parts(cell: str) -> _Parts | None:
    """Sign, prefix, digits and suffix of a number as people write it."""
    found = _WRITTEN.fullmatch(cell.strip().translate(_SPACES))
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    marks = found["open"] or "", found["sign"], found["inner"]
    if sum(map(bool, marks)) > 1:
        return None
    sign = -1 if marks[0] or {"-", "\u2212"} & {*marks} else 1
    return _Parts(sign, found["prefix"] or "", found["digits"], found["suffix"] or "")


def find_format(texts: Sequence[str], decimal: Decimal | None) -> NumberFormat | None:
    """The one way in which all texts are written as numbers; None if there is none.

    Args:
        texts: cells that are not missing.
        decimal: the decimal mark of the table, if it is known; None: the texts decide.

    Raises:
        AmbiguousNumbersError: nothing says whether the comma of 1,234 stands before decimals or between thousands.
    """
    parts = [_parts(text) for text in texts]
    if not parts or any(part is None for part in parts):
        return None
    affixes = {(part.prefix, part.suffix) for part in parts if part}
    if len(affixes) > 1:
        return None
    (around,) = affixes
    ways = [NumberFormat(mark, group, *around) for group in _GROUPS for mark in _MARKS if mark != group]
    fitting = [each for each in ways if _all_fit(each, texts)]
    if decimal is None and len({each.decimal for each in fitting}) > 1 and fitting[0].decimal == ",":
        raise AmbiguousNumbersError
    of_table = [each for each in fitting if decimal in (None, each.decimal)]
    return next(iter(of_table or fitting), None)


def _all_fit(each: NumberFormat, texts: Sequence[str]) -> bool:
    return all(each.number(text) is not None for text in texts)
