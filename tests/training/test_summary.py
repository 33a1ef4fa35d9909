"""How much the closing summary looks at: as much as fits into its time, and never less than a little."""

import math

from bugs import bug
from hypothesis import given, strategies as st

from inkwash.training import summary
from inkwash.training.summary import _fitting

times = st.floats(0.001, 100)


def cost(price, count, rows, evaluations):
    return math.ceil(count / rows) * (evaluations or 1) * price


def everything(allowed, price, wanted, rows, most, fewest):
    return wanted, most


@bug("all of it, whatever it takes", summary, "_fitting", everything)
@given(times, times, st.integers(1, 600), st.integers(1, 100), st.none() | st.integers(1, 250), st.integers(1, 30))
def test_what_is_chosen_fits_unless_it_is_the_least(allowed, price, wanted, rows, most, fewest):
    """The least is one slot with the fewest evaluations; with all the time in the world, all that is wanted fits."""
    count, evaluations = summary._fitting(allowed, price, wanted, rows, most, fewest)
    assert 1 <= count <= wanted
    least = None if most is None else min(fewest, most)
    assert (evaluations is None) == (most is None)
    assert evaluations is None or least <= evaluations <= most
    is_least = count <= rows and evaluations == least
    assert is_least or cost(price, count, rows, evaluations) <= allowed * (1 + 1e-9)
    assert _fitting(1e9, price, wanted, rows, most, fewest) == (wanted, most)


@given(times, times, st.integers(1, 600), st.integers(1, 100), st.integers(1, 250), st.integers(1, 30))
def test_more_time_buys_no_less(allowed, price, wanted, rows, most, fewest):
    little, much = (_fitting(k * allowed, price, wanted, rows, most, fewest) for k in (1, 2))
    assert little[0] <= much[0]
    assert little[1] <= much[1]
