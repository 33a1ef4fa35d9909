"""Journeys end in quick evaluations."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def evaluating_quickly(quick_evaluation):
    pass
