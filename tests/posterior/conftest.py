"""Fixtures that several of the tests beside share."""

import pytest

from inkwash.core.randomness import Slots
from inkwash.model import diffusion as diffusion


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(Slots, "rows", 8)
