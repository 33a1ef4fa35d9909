"""What tests of the training loop share."""

import functools

import pytest
from faults import points
from steps import begun

from inkwash.data.dataset import load_dataset


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A small data set of points."""
    return load_dataset(str(points(tmp_path_factory.mktemp("data") / "points.npy")))


@pytest.fixture
def trainer(loaded):
    """Begins a training on it; see `begun`."""
    return functools.partial(begun, loaded)
