"""How much the closing summary looks at: as much as fits into its time, and never less than a little."""

import math
from types import SimpleNamespace

import pytest
import torch
from bugs import bug
from hypothesis import given, strategies as st

from inkwash.core.display import Display
from inkwash.core.errors import NonFiniteError
from inkwash.training import summary
from inkwash.training.summary import Price

times, starts = st.floats(0.001, 100), st.floats(0, 100)
counts, rows, evaluations, least = st.integers(1, 600), st.integers(1, 100), st.integers(1, 250), st.integers(1, 30)


def everything(self, allowed, wanted, most, fewest):
    return wanted, most


@bug("all of it, whatever it takes", Price, "fitting", everything)
@given(times, starts, times, counts, rows, st.none() | evaluations, least)
def test_what_is_chosen_fits_unless_it_is_the_least(allowed, start, each, wanted, slot, most, fewest):
    """The least is one slot with the fewest evaluations; with all the time in the world, all that is wanted fits."""
    price = Price(slot, start + 0.001, each)
    count, found = price.fitting(allowed, wanted, most, fewest)
    assert 1 <= count <= wanted
    lowest = None if most is None else min(fewest, most)
    assert (found is None) == (most is None)
    assert found is None or lowest <= found <= most
    is_least = count <= slot and found == lowest
    cost = math.ceil(count / slot) * (start + 0.001 + (found or 0) * each)
    assert is_least or cost <= allowed * (1 + 1e-9)
    assert cost == pytest.approx(price.of(count, found))
    assert price.fitting(1e9, wanted, most, fewest) == (wanted, most)


@given(times, starts, times, counts, rows, evaluations, least)
def test_more_time_buys_no_less(allowed, start, each, wanted, slot, most, fewest):
    little, much = (Price(slot, start, each).fitting(k * allowed, wanted, most, fewest) for k in (1, 2))
    assert little[0] <= much[0]
    assert little[1] <= much[1]


def test_a_price_has_a_part_that_does_not_depend_on_the_evaluations(monkeypatch):
    """A call takes a second, and half a second for each evaluation; a model without evaluations takes one second."""
    monkeypatch.setattr(summary, "seconds", lambda call: 1 + 0.5 * call())
    assert summary._price(lambda count: count, 16, True) == Price(16, 1.0, 0.5)
    assert summary._price(lambda count: count, 16, True, 2) == Price(16, 2.0, 1.0)
    assert summary._price(lambda count: 0, 16, False) == Price(16, 1.0, 0.0)


@pytest.mark.parametrize("total", [math.nan, math.inf])
def test_a_bound_that_is_not_finite_ends_the_training(total, monkeypatch):
    """With exit code 5, whichever of the bounds it is."""
    bound = SimpleNamespace(total=total, mean=lambda: bound)
    model = SimpleNamespace(bound=lambda x, **given: bound, shape=(2,), device=torch.device("cpu"), steps=1)
    monkeypatch.setattr(summary, "_held_out", lambda prepared, count: ([0.0], {}))
    with pytest.raises(NonFiniteError, match="held-out bound") as caught:
        summary.held_out_bounds(None, model, summary.Extent(1, None, 1, None, 0.0), Display(False))
    assert caught.value.exit_code == 5
