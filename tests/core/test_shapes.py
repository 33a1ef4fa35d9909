"""Broadcasting a time over data and summing over events agree with loops over rows."""

import pytest
import torch
from hypothesis import given, strategies as st
from oracles import F64

from inkwash.core.shapes import as_time, event_size, mean_event, over, per_row, sum_event

EVENTS = [(), (3,), (2, 3), (2, 1, 4, 3)]


@pytest.mark.parametrize("event", EVENTS)
def test_over_multiplies_row_by_row(event):
    x = torch.randn(5, *event, generator=torch.Generator().manual_seed(0), dtype=F64)
    c = torch.arange(1, 6, dtype=F64)
    by_row = torch.stack([float(k) * row for k, row in zip(c, x, strict=True)])
    assert torch.equal(over(c, x) * x, by_row)
    assert torch.equal(over(c[2], x) * x, 3 * x)


def test_over_casts_once_at_the_end():
    """1 - 1e-9 is 1 in float32, so the cast must come after all that is computed from it."""
    c = 1 - as_time(1 - 1e-9)
    assert float(over(c, torch.zeros(1, 2))) == pytest.approx(1e-9, rel=1e-6)
    assert over(c, torch.zeros(1, 2)).dtype == torch.float32


@given(st.floats(0, 1))
def test_a_time_keeps_all_its_digits(t):
    assert float(as_time(t)) == t
    assert float(as_time(torch.tensor(t, dtype=F64))) == t


@pytest.mark.parametrize("event", EVENTS)
def test_sums_and_means_over_events_are_taken_row_by_row(event):
    x = torch.randn(4, *event, generator=torch.Generator().manual_seed(1), dtype=F64)
    torch.testing.assert_close(sum_event(x), torch.stack([row.sum() for row in x]))
    torch.testing.assert_close(mean_event(x) * event_size(event), sum_event(x))


@pytest.mark.parametrize("event", EVENTS)
def test_event_size_counts_the_entries(event):
    assert event_size(event) == torch.zeros(event).numel()


def test_per_row_repeats_a_single_time_and_keeps_one_time_per_row():
    x = torch.zeros(3, 2)
    assert per_row(as_time(0.25), x).tolist() == [0.25] * 3
    assert per_row(torch.tensor([0.1, 0.2, 0.3], dtype=F64), x).tolist() == [0.1, 0.2, 0.3]
