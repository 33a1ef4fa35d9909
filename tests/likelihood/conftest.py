"""Slots of a size that suits a test."""

import pytest

from inkwash.core.randomness import Slots


@pytest.fixture(scope="module")
def slot():
    """Slots of 16 rows, unless a test needs more: less to fill up, and more of them."""
    with pytest.MonkeyPatch.context() as patch:
        rows = {"rows": 16}
        patch.setattr(Slots, "rows", property(lambda self: rows["rows"]))
        yield rows


@pytest.fixture
def wide_slots(slot, monkeypatch):
    monkeypatch.setitem(slot, "rows", 512)
