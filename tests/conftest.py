"""One thread per test process: networks are tiny, and processes run side by side. And the run that many tests read."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["bugs", "slow", "pytester"]

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a machine with other work to do is no reason to fail


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk():
    """Tests cut no power: what is synced, and when, they see from the hook of `storage`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def quick(monkeypatch):
    from faults import without_pictures

    without_pictures(monkeypatch)


@pytest.fixture(scope="module")
def quick_evaluation():
    from faults import with_quick_evaluation

    with pytest.MonkeyPatch.context() as patch:
        with_quick_evaluation(patch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from faults import points

    return points(tmp_path_factory.mktemp("data") / "points.npy")


@pytest.fixture(scope="module")
def finished_run(data, tmp_path_factory):
    """A run that nothing has disturbed."""
    from faults import tiny, without_pictures

    from inkwash.training.fit import fit

    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        return fit(tiny(data), tmp_path_factory.mktemp("finished") / "run").path


@pytest.fixture
def copy(finished_run, tmp_path):
    """A run of one's own to damage."""
    return shutil.copytree(finished_run, tmp_path / "copy")
