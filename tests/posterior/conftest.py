"""Fixtures that several of the tests beside share."""

import pytest

from inkwash.model import diffusion as diffusion


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(diffusion, "slot_rows", lambda shape, device: 8)
