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
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Span:
    """A stretch of the work, in shares of all of it."""

    listener: Callable[[float], None]
    start: float = 0.0
    length: float = 1.0

    def part(self, k: int, count: int) -> _Span:
        """The k-th of `count` equal parts."""
        return _Span(self.listener, self.start + self.length * k / count, self.length / count)


_SPAN: ContextVar[_Span | None] = ContextVar("span", default=None)


@contextmanager
def heard(listener: Callable[[float], None]) -> Iterator[None]:
    """Within this context, `listener` hears the share of the work that is done."""
    token = _SPAN.set(_Span(listener))
    try:
        yield
    finally:
        _SPAN.reset(token)


def tracked(items: Sequence[T]) -> Iterator[T]:
    """The items, one after another; each is an equal share of the work."""
    span = _SPAN.get()
    if span is None:
        yield from items
        return
    part = span
    try:
        for k, item in enumerate(items):
            part = span.part(k, len(items))
            _SPAN.set(part)
            yield item
            span.listener(span.start + span.length * (k + 1) / len(items))
    finally:
        if _SPAN.get() is part:  # a loop that an error has ended may be closed late, when others listen
            _SPAN.set(span)


def reached(share: float) -> None:
    """Say that a share of the work of the innermost loop is done."""
    if (span := _SPAN.get()) is not None:
        span.listener(span.start + span.length * share)
