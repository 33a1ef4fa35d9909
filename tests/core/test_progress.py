"""Progress: nested loops fill the span of the item they stand in, and what they yield does not change."""

import gc

import numpy as np
import pytest
from bugs import bug
from hypothesis import given, strategies as st

from inkwash.core import progress
from inkwash.core.progress import heard, reached, tracked


@bug("an inner loop fills all of the work", progress._Span, "part", lambda self, start, end: self)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_work_in_nested_loops_is_counted_in_equal_shares(inner):
    """After item j of n within item i of m, (i + j / n) / m is done: exact, whatever the loops."""
    seen, expected = [], []
    with heard(seen.append):
        for i, count in enumerate(tracked(inner)):
            for j in tracked(range(count)):
                expected.append((i + (j + 1) / count) / len(inner))
            expected.append((i + 1) / len(inner))
    assert seen == pytest.approx(expected)
    assert seen[-1] == 1


@given(st.lists(st.floats(0.1, 9), min_size=1, max_size=5))
def test_items_count_by_their_weights(weights):
    """After each, the share of the weights so far; a loop within an item fills that item."""
    seen = []
    with heard(seen.append):
        for _ in tracked(weights, weights):
            reached(1.0)
    shares = np.cumsum(weights) / np.sum(weights)
    assert seen == pytest.approx(np.repeat(shares, 2).tolist())


def test_without_a_listener_the_items_are_as_they_were():
    assert list(tracked("abc")) == ["a", "b", "c"]
    reached(0.5)


def test_a_loop_that_an_error_ended_speaks_no_more():
    """The error keeps the loop alive, and its end comes when nobody listens any more."""
    seen, kept = [], []
    try:
        with heard(seen.append):
            for _ in tracked(range(4)):
                raise ValueError
    except ValueError as error:
        kept.append(error)
    kept.clear()
    gc.collect()
    reached(0.5)
    assert seen == []


def test_a_loop_that_is_left_early_gives_its_span_back():
    seen = []
    with heard(seen.append):
        for _ in tracked(range(4)):
            break
        gc.collect()
        reached(0.25)
    assert seen == [0.25]
