"""Zarr: arrays of both versions are read chunk by chunk; samples are a store that zarr reads again."""

import shutil

import numpy as np
import pytest
from bugs import bug
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import zarr as formats
from inkwash.data.formats.zarr import write
from inkwash.data.rows import take
from inkwash.data.stored import Stored
from inkwash.training.fit import fit

zarr = pytest.importorskip("zarr", minversion="3", reason="pip install 'inkwash[zarr]'")
RANDOM = np.random.default_rng(8)
INIT = Stored.__init__
IMAGES = RANDOM.normal(size=(40, 5, 6)).astype(np.float32)


def store(path, values=IMAGES, **options):
    options = {"chunks": (7, 5, 6)[: values.ndim]} | options
    made = zarr.create_array(path, shape=values.shape, dtype=values.dtype, **options)
    made[...] = values
    return path


def samples(folder, spec, data):
    for name, content in write("samples.zarr", spec, data):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return zarr.open(folder / "samples.zarr", mode="r")


STORES = {
    "version 2": {"zarr_format": 2},
    "version 3": {"zarr_format": 3},
    "shards": {"chunks": (5, 5, 6), "shards": (20, 5, 6)},
    "one row a chunk": {"chunks": (1, 2, 3)},
}


@pytest.mark.parametrize("options", STORES.values(), ids=STORES)
@pytest.mark.parametrize("is_small", [True, False])
def test_every_store_is_read(tmp_path, monkeypatch, options, is_small):
    if not is_small:
        monkeypatch.setattr("inkwash.data.stored.IN_MEMORY", 0)
    data = load_dataset(store(tmp_path / "a.zarr", **options))
    assert isinstance(data.data, np.ndarray if is_small else Stored)
    rows = RANDOM.integers(0, 40, 25)
    assert np.array_equal(take(data.data, rows), IMAGES[rows])
    assert data.notes == load_dataset(IMAGES).notes


@bug("always zeros", formats, "in_type", lambda data, dtype: np.zeros(data.shape, dtype), version=2, dtype="<f4")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["bool", "u1", "<u2", "i1", "<i4", ">i4", "<i8", "<f2", "<f4", ">f8"])
def test_samples_are_a_store_like_the_one_that_was_read(tmp_path, dtype, version):
    values = RANDOM.integers(0, 2, (20, 4)).astype(dtype)
    options = {"dimension_names": ("time", "site")} if version == 3 else {}
    path = store(tmp_path / "a.zarr", values, zarr_format=version, attributes={"units": "K", "a": [1, {}]}, **options)
    old, spec = zarr.open(path, mode="r"), load_dataset(path).spec
    new = samples(tmp_path, spec, values[:9].astype(spec.dtype))
    assert (new.dtype, dict(new.attrs), new.fill_value) == (old.dtype, dict(old.attrs), old.fill_value)
    assert new.metadata.zarr_format == version
    assert np.array_equal(new[:], values[:9])
    if version == 3:
        assert new.metadata.dimension_names == ("time", "site")


@bug("each run of rows", Stored, "__init__", lambda self, *arguments: INIT(self, *arguments[:3]))
def test_rows_of_one_chunk_are_decoded_together(tmp_path, monkeypatch):
    """Most rows of each chunk, but not all, as the training part has them, need as many reads as there are chunks."""
    monkeypatch.setattr("inkwash.data.stored.IN_MEMORY", 0)
    data, reads = load_dataset(store(tmp_path / "a.zarr")).data, []
    inner = data._read
    data._read = lambda first, end: reads.append((first, end)) or inner(first, end)
    rows = np.flatnonzero(np.arange(40) % 3)
    assert np.array_equal(data[rows], IMAGES[rows])
    assert len(reads) <= 6


def test_a_chunk_that_is_not_there_is_counted(tmp_path):
    path = store(tmp_path / "a.zarr", fill_value=-1)
    assert load_dataset(path).notes == load_dataset(IMAGES).notes
    shutil.rmtree(path / "c" / "2")
    data = load_dataset(path)
    assert f"1 of 6 chunks of {path} are not there: they read as -1.0" in data.notes
    assert (data.data[14:21] == -1).all()


def test_a_run_on_an_array_of_a_group(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("run/x", data=IMAGES, attributes={"units": "K"})
    group.create_array("run/kind", data=np.arange(40) % 2)
    config = tiny(f"{tmp_path}/a.zarr:run/x", steps=1)
    fit(config, tmp_path / "run")
    (tmp_path / "out/samples.zarr/c/old").mkdir(parents=True)
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 0
    found = zarr.open(tmp_path / "out/samples.zarr/run/x", mode="r")
    assert np.array_equal(found[:], iw.load(tmp_path / "run").sample(3, seed=0))
    assert found.attrs["units"] == "K"
    assert not (tmp_path / "out/samples.zarr/c").exists()
    labelled = load_dataset(f"{tmp_path}/a.zarr:run/x", iw.DataConfig(labels="run/kind"))
    assert np.array_equal(labelled.labels - 1, np.arange(40) % 2)


def test_a_zip_file_of_a_store(tmp_path):
    with zarr.storage.ZipStore(tmp_path / "a.zarr.zip", mode="w") as zipped:
        made = zarr.create_array(zipped, shape=IMAGES.shape, dtype="f4", chunks=(7, 5, 6))
        made[...] = IMAGES
    assert np.array_equal(load_dataset(tmp_path / "a.zarr.zip").data, IMAGES)


@pytest.mark.parametrize("version", [2, 3])
def test_labels_of_text(tmp_path, version):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version)
    group.create_array("x", data=IMAGES)
    group.create_array("kind", shape=(40,), dtype=str)[:] = np.array(["a", "b"] * 20)
    data = load_dataset(f"{tmp_path}/a.zarr:x", iw.DataConfig(labels="kind"))
    assert data.condition.classes == ("a", "b")
    assert np.array_equal(data.labels - 1, np.arange(40) % 2)


def test_packing_by_the_convention_of_netcdf_is_told_of(tmp_path):
    data = iw.load_dataset(store(tmp_path / "x.zarr", attributes={"scale_factor": 0.5, "units": "K", "_FillValue": -9}))
    assert np.array_equal(data.data, IMAGES)
    assert any("x.zarr has scale_factor, _FillValue, conventions of netCDF" in note for note in data.notes)
