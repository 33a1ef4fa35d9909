"""What the text in a cell of a table stands for: a number, an integer, or nothing."""

import re

import numpy as np

_MISSING = {"", "na", "n/a", "nan", "<na>", "null", "none", "?", "-"}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T].*)?")


def is_missing(cell: str) -> bool:
    """Whether a cell is missing: it is empty, NA, N/A, NaN, null, none, ? or -, in upper or lower case."""
    return cell.strip().lower() in _MISSING


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


def is_date(cell: str) -> bool:
    """Whether a cell looks like a date: three groups of digits between two of the same mark, and perhaps a time."""
    return _DATE.fullmatch(cell) is not None
