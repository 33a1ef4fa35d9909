"""Fixtures that several of the tests beside share."""

import numpy as np
import pytest
from faults import points, run_cli, train_words, without_pictures


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with points, digit-like images, and a run of each."""
    folder = tmp_path_factory.mktemp("home")
    points(folder / "points.npy")
    levels = np.random.default_rng(1).integers(0, 17, (24, 5, 7)).astype(np.uint8)
    np.save(folder / "images.npy", levels)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert run_cli(train_words(folder / "points.npy", folder / "points", "--train.steps", 3)) == 0
        words = train_words(folder / "images.npy", folder / "images", "--train.steps", 3, "--data.levels", 17)
        assert run_cli(words) == 0
    return folder


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty working folder, for what is left behind to show."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
