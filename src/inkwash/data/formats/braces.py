"""Braces in the names of files, as the package braceexpand, which webdataset uses, expands them: `a-{000..009}.tar` and
`{train,more-{1..3}}.tar`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LETTERS = re.compile(r"([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z])")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?")


def expanded(text: str) -> Iterator[str]:
    """All names that a text stands for, in order; each is made when it is asked for.

    Braces that hold no range of whole numbers or letters and no comma, or that are not closed, stand for themselves.
    """
    begin = text.find("{")
    end = _closing(text, begin)
    if end is None:
        yield text
        return
    for middle in _alternatives(text[begin + 1 : end]):
        for rest in expanded(text[end + 1 :]):
            yield f"{text[:begin]}{middle}{rest}"


def _closing(text: str, begin: int) -> int | None:
    """Where the brace is closed that is opened at `begin`."""
    depth = 0
    for place in range(max(begin, 0), len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if begin >= 0 and not depth:
            return place
    return None


def _alternatives(inner: str) -> Iterator[str]:
    """What stands for the braces around a text."""
    if (found := _RANGE.fullmatch(inner)) is not None:
        yield from _numbers(*found.groups())
    elif _LETTERS.fullmatch(inner):
        first, last = ord(inner[0]), ord(inner[-1])
        sign = 1 if first < last else -1
        yield from map(chr, range(first, last + sign, sign))
    elif len(parts := _divided(inner)) > 1:
        for part in parts:
            yield from expanded(part)
    else:
        yield from (f"{{{each}}}" for each in expanded(inner))


def _numbers(first: str, last: str, step: str | None) -> Iterator[str]:
    """A range of whole numbers, both ends among them; they have equal width if an end begins with 0."""
    padded = any(re.match(r"-?0\d", each) for each in (first, last))
    width = max(len(first), len(last)) if padded else 0
    start, end = int(first), int(last)
    sign = 1 if start < end else -1
    return (f"{number:0{width}d}" for number in range(start, end + sign, sign * (int(step or 1) or 1)))


def _divided(inner: str) -> list[str]:
    """The parts between commas that stand in no inner braces."""
    parts, depth = [""], 0
    for letter in inner:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
