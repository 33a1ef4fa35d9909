"""What the text in a cell of a table stands for: a number, an integer, or nothing."""

import re
from collections.abc import Collection

import numpy as np

_MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none", "?", "-"}
PERHAPS_MISSING = {
    "unknown", "missing", "n.a.", "n.a", "not available", "not known", "not applicable", "unspecified", "undefined",
    "nil", "#n/a", "#na", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "--", "---", ".", "..", "...", "tbd", "*",
}  # fmt: skip
"""Words that may stand for a missing cell, or may be an answer of their own."""
CODE = r"0[0-9]+"
"""Digits that a number would lose, as a regular expression."""
LARGEST_INTEGER = 1 << 53
"""Tables are held as float64, which has every integer up to this one."""
_INTEGER = re.compile(r"[+-]?[0-9]+")


def is_missing(cell: str, words: Collection[str] = ()) -> bool:
    """Whether a cell is missing: it is empty, NA, N/A, NaN, null, none, ? or -, in upper or lower case, or it is one of
    further words. A number is one of these if it has the same value."""
    bare = cell.strip()
    if bare.lower() in _MISSING or bare in words:
        return True
    return bool(words) and is_number(bare) and float(bare) in {float(word) for word in words if is_number(word)}


def is_number(cell: str) -> bool:
    """Whether a cell is a number, which may be infinite or NaN."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_finite(cell: str) -> bool:
    """Whether a cell is a finite number."""
    return is_number(cell) and bool(np.isfinite(float(cell)))


def is_integer(cell: str) -> bool:
    """Whether a cell is an integer in decimal digits."""
    return _INTEGER.fullmatch(cell.strip()) is not None


def is_plain_integer(cell: str) -> bool:
    """Whether a cell is an integer of 64 bits as Python writes it: 7, not 007 or +7."""
    return is_integer(cell) and str(int(cell)) == cell and -(1 << 63) <= int(cell) < 1 << 63


def is_code(cell: str) -> bool:
    """Whether a cell is digits that a number would lose: 00501."""
    return re.fullmatch(CODE, cell.strip()) is not None
