"""Journeys end in evaluations of less work."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_evaluation() -> Iterator[None]:
    from faults import with_quick_evaluation

    with pytest.MonkeyPatch.context() as patch:
        with_quick_evaluation(patch)
        yield
