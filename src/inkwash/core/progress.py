"""How far a piece of work is: loops say it, whoever waits hears it, and neither knows the other.

A listener, such as a progress bar, hears the share of the work that is done, from 0 to 1. A loop over `tracked` items
fills the span that the loop around it has reached: a loop within the third of four items leads from 1/2 to 3/4. Without
a listener nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Span:
    """A stretch of the work, in shares of all of it."""

    listener: Callable[[float], None]
    start: float = 0.0
    length: float = 1.0

    def part(self, start: float, end: float) -> _Span:
        """The part from one share of it to another."""
        return _Span(self.listener, self.start + self.length * start, self.length * (end - start))


_SPAN: ContextVar[_Span | None] = ContextVar("span", default=None)


@contextmanager
def heard(listener: Callable[[float], None]) -> Iterator[None]:
    """Within this context, `listener` hears the share of the work that is done."""
    token = _SPAN.set(_Span(listener))
    try:
        yield
    finally:
        _SPAN.reset(token)


def tracked(items: Sequence[T], weights: Sequence[float] | None = None) -> Iterator[T]:
    """The items, one after another; each is a share of the work: an equal one, or that of its weight."""
    span = _SPAN.get()
    if span is None:
        yield from items
        return
    part, ends = span, [*accumulate(weights or [1.0] * len(items), initial=0.0)]
    try:
        for item, start, end in zip(items, ends, ends[1:], strict=False):
            part = span.part(start / ends[-1], end / ends[-1])
            _SPAN.set(part)
            yield item
            span.listener(part.start + part.length)
    finally:
        if _SPAN.get() is part:  # a loop that an error has ended may be closed late, when others listen
            _SPAN.set(span)


def reached(share: float) -> None:
    """Say that a share of the work of the innermost loop is done."""
    if (span := _SPAN.get()) is not None:
        span.listener(span.start + span.length * share)
