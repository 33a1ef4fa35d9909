"""HDF5: what h5py writes is read, whatever its storage; samples are what h5py reads again."""

from dataclasses import replace

import numpy as np
import pytest
from bugs import bug
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.core.errors import MissingPackageError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import hdf5
from inkwash.data.rows import take
from inkwash.data.stored import Stored
from inkwash.training.fit import fit

h5py = pytest.importorskip("h5py", reason="pip install 'inkwash[hdf5]'")
RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.normal(size=(40, 5, 6)).astype(np.float32)


def written(path, name="data", file_attributes=None, attributes=None, **options):
    with h5py.File(path, "w") as file:
        made = file.create_dataset(name, **options)
        made.attrs.update(attributes or {})
        file.attrs.update(file_attributes or {})
    return path


STORAGE = {
    "contiguous": {},
    "chunked": {"chunks": (7, 5, 6)},
    "compressed": {"chunks": (3, 2, 6), "compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf", "fletcher32": True},
}


@pytest.mark.parametrize("options", STORAGE.values(), ids=STORAGE)
@pytest.mark.parametrize("is_small", [True, False])
def test_every_storage_is_read(tmp_path, monkeypatch, options, is_small):
    if not is_small:
        monkeypatch.setattr("inkwash.data.stored.IN_MEMORY", 0)
    data = load_dataset(written(tmp_path / "a.h5", data=IMAGES, **options))
    rows = RANDOM.integers(0, 40, 25)
    assert isinstance(data.data, np.memmap if options == {} else np.ndarray if is_small else Stored)
    assert np.array_equal(take(data.data, rows), IMAGES[rows])
    assert data.fingerprint() == load_dataset(IMAGES).fingerprint()


TYPES = ["bool", "u1", "<u2", ">u2", "i1", "<i4", ">i4", "<i8", "<f2", "<f4", ">f4", "<f8", ">f8"]


@pytest.mark.parametrize("dtype", TYPES)
def test_samples_are_data_sets_like_the_one_that_was_read(tmp_path, dtype):
    values = RANDOM.integers(0, 2, (20, 4)).astype(dtype)
    units = {"units": "µm", "scale": np.float32(0.25), "range": np.array([1, 2], ">i2"), "names": ["a", "b"]}
    path = written(tmp_path / "a.h5", "run/x", {"made": "2024"}, units, data=values, compression="gzip")
    with h5py.File(path, "r+") as file:
        file["run/x"].dims[1].label = "channel"
    spec = load_dataset(path).spec
    (tmp_path / "samples.h5").write_bytes(hdf5.dump(spec, values.astype(spec.dtype)))
    with h5py.File(path) as first, h5py.File(tmp_path / "samples.h5") as second:
        for of in (lambda file: file, lambda file: file["run/x"]):
            old, new = dict(of(first).attrs), dict(of(second).attrs)
            assert {name: np.asarray(each).dtype for name, each in new.items()} == {
                name: np.asarray(each).dtype for name, each in old.items()
            }
            assert all(np.array_equal(new[name], old[name]) for name in old)
        old, new = first["run/x"], second["run/x"]
        assert (new.dtype, new.compression, new.dims[1].label) == (old.dtype, "gzip", "channel")
        assert np.array_equal(new[:], values)


def _truncated(data, dtype):
    return data.astype(dtype)


@bug("towards zero", hdf5, "in_type", _truncated)
def test_samples_of_whole_numbers_are_the_nearest_within_their_type(tmp_path):
    """Whole numbers of too many levels are real ones to a model."""
    counts = RANDOM.integers(0, 1 << 20, (30, 3)).astype("u4")
    spec = load_dataset(written(tmp_path / "a.h5", data=counts)).spec
    assert spec.dtype == "float64"
    for samples, expected in (([2.6, 2.4, 7.0], [3, 2, 7]), ([-3.0, 1e12, 5.0], [0, 2**32 - 1, 5])):
        (tmp_path / "samples.h5").write_bytes(hdf5.dump(spec, np.array([samples])))
        with h5py.File(tmp_path / "samples.h5") as file:
            assert file["data"].dtype == np.uint32
            assert file["data"][:].tolist() == [expected]


def half_of_float32():
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_precision(16)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def twelve_bits():
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    return kind


@bug("as if NumPy had them", hdf5, "_is_plain", lambda dataset: True, kind=twelve_bits)
@pytest.mark.parametrize("kind", [half_of_float32, twelve_bits])
def test_numbers_that_numpy_lacks_are_those_of_h5py(tmp_path, kind):
    values = np.ascontiguousarray(RANDOM.integers(-99, 99, (20, 4)), "f4" if kind is half_of_float32 else "i4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = h5py.h5d.create(file.id, b"x", kind(), h5py.h5s.create_simple(values.shape))
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
        file["y"] = np.zeros((20, 400))
    assert np.array_equal(load_dataset(f"{tmp_path}/a.h5:x").data, values)


@bug("the fill value is what the file says", hdf5, "in_type", lambda data, dtype: np.nan_to_num(data).astype(dtype))
def test_series_that_end_early_end_where_a_list_of_them_does(tmp_path):
    lengths = RANDOM.integers(3, 9, 20)
    lengths[0] = 8
    series = [RANDOM.integers(1, 9, length).astype("i2") for length in lengths]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", data=[np.pad(each, (0, 8 - len(each))) for each in series], dtype="i2")
        made.attrs["units"] = "mV"
        file["n"] = lengths[:, None]
    data = load_dataset(f"{tmp_path}/a.h5:x", iw.DataConfig(lengths="n", layout="NL"))
    assert np.array_equal(data.data, load_dataset(series).data, equal_nan=True)
    assert data.spec.lengths == load_dataset(series).spec.lengths
    (tmp_path / "samples.h5").write_bytes(hdf5.dump(data.spec, data.data))
    with h5py.File(tmp_path / "samples.h5") as file:
        assert file["x"].attrs["units"] == "mV"
        assert np.array_equal(file["x"], data.data, equal_nan=True)


def test_names_of_numbers_stay(tmp_path):
    kinds = h5py.enum_dtype({"SEA": 0, "LAND": 1}, basetype="i1")
    path = written(tmp_path / "a.h5", data=np.arange(20) % 2, dtype=kinds)
    spec = load_dataset(path).spec
    (tmp_path / "samples.h5").write_bytes(hdf5.dump(spec, np.array([0, 1], np.int8)))
    with h5py.File(tmp_path / "samples.h5") as file:
        assert h5py.check_enum_dtype(file["data"].dtype) == {"SEA": 0, "LAND": 1}


def test_a_run_goes_from_file_to_file(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    path = written(tmp_path / "a.h5", "run/x", data=IMAGES, attributes={"units": "K"}, chunks=(4, 5, 6))
    with h5py.File(path, "r+") as file:
        file["other"] = np.zeros(3)
        file["run/kind"] = np.array(["a", "b"] * 20, h5py.string_dtype())
    config = replace(tiny(f"{path}:run/x", steps=1), data=iw.DataConfig(labels="run/kind"))
    fit(config, tmp_path / "run")
    words = ["sample", tmp_path / "run", "-n", 3, "--label", "b", "--out", tmp_path / "out"]
    assert run_cli(words) == 0
    with h5py.File(tmp_path / "out" / "samples.h5") as file:
        assert (file["run/x"].shape, file["run/x"].dtype, file["run/x"].attrs["units"]) == ((3, 5, 6), "<f4", "K")
        assert np.array_equal(file["run/x"][:], iw.load(tmp_path / "run").sample(3, seed=0, label="b"))
    assert iw.load_dataset(tmp_path / "out" / "samples.h5").spec.data_shape == (5, 6)


def test_what_is_not_there_is_counted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", (40, 6), np.float32, chunks=(10, 6), fillvalue=-1)
        made[:20] = IMAGES[:20, 0]
    data = load_dataset(tmp_path / "a.h5")
    assert f"2 of 4 chunks of {tmp_path}/a.h5:x were never written: they read as -1.0" in data.notes
    assert (data.data[20:] == -1).all()


def test_what_was_never_written_is_told_of(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (40, 6), np.float32, fillvalue=3)
        file["y"] = IMAGES
    assert f"{tmp_path}/a.h5:x was never written: it reads as 3.0" in load_dataset(f"{tmp_path}/a.h5:x").notes
    assert not any("never" in note for note in load_dataset(f"{tmp_path}/a.h5:y").notes)


def test_packing_that_loses_nan_is_told_of(tmp_path):
    """h5py's scaleoffset turns NaN into the smallest value, and nothing in the file says where."""
    values = IMAGES[:, 0].copy()
    values[3, 2] = np.nan
    path = written(tmp_path / "a.h5", data=values, scaleoffset=2)
    with h5py.File(path) as file:
        assert np.isfinite(file["data"][:]).all()
    assert any("made the smallest value of NaN" in note for note in load_dataset(path).notes)


def _objects(path):
    return written(path, data=np.array(["a", "b"], object), dtype=h5py.string_dtype())


def _cut(path):
    written(path, data=IMAGES)
    path.write_bytes(path.read_bytes()[:-100])


def _damaged_chunk(path):
    written(path, data=IMAGES, chunks=(10, 5, 6), compression="gzip")
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 40] = bytes(40)
    path.write_bytes(content)


def _beside(path, **options):
    with h5py.File(path, "w") as file:
        file["x"] = IMAGES
        file.create_dataset("l", **options)


def _damaged_labels(path):
    _beside(path, data=np.arange(40) % 2, chunks=(40,), compression="gzip")
    with h5py.File(path) as file:
        place = file["l"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(content)


def _view(path):
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[0] = h5py.VirtualSource("gone.h5", "x", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)


def _elsewhere(path):
    path.with_name("raw").write_bytes(IMAGES.tobytes())
    written(path, shape=IMAGES.shape, dtype="f4", external=[(str(path.with_name("raw")), 0, IMAGES.nbytes)])


BAD = {
    "text": (_objects, "", "got text or lists, need real numbers"),
    "complex": (lambda path: written(path, data=np.ones(3, complex)), "", "got complex numbers"),
    "records": (lambda path: written(path, data=np.zeros(3, "f4,i2")), "", "got records"),
    "group": (
        lambda path: written(path, "a/b/x", data=IMAGES),
        ":a/b",
        "got a group, need one of its data sets: a/b/x",
    ),
    "other": (lambda path: written(path, "x", data=IMAGES), ":y", "got 'y', need the name of one of its arrays: x"),
    "empty": (lambda path: h5py.File(path, "w").close(), "", "got arrays (none)"),
    "no HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), "", "unreadable file"),
    "cut": (_cut, "", "unreadable file (Unable to synchronously open file (truncated file"),
    "damaged": (_damaged_chunk, "", "data[0:40]: got unreadable ("),
    "a view": (_view, "", "got a view of gone.h5, which is not there"),
    "elsewhere": (_elsewhere, "", "got values in another file"),
    "damaged labels": (_damaged_labels, ":x --data.labels l", "a.h5:l: got unreadable ("),
    "labels in latin-1": (
        lambda path: _beside(path, data=np.array([b"\xe9", b"a"] * 20)),
        ":x --data.labels l",
        "need a complete file, with text in UTF-8",
    ),
    "labels of a tebibyte": (
        lambda path: _beside(path, shape=(1 << 40,), dtype="u1", chunks=(1 << 20,)),
        ":x --data.labels l",
        "a.h5:l: got 1024.0 GiB to hold in memory",
    ),
    "two keys": (lambda path: written(path, "x", data=IMAGES), ":y --data.key x", "got 'x', need 'y', as behind the"),
}


@pytest.mark.parametrize(("write", "behind", "words"), BAD.values(), ids=BAD)
def test_a_bad_file_ends_in_one_line(tmp_path, capsys, write, behind, words):
    write(tmp_path / "a.h5")
    source, *more = behind.split(" ")
    assert run_cli(["inspect", f"{tmp_path}/a.h5{source}", *more]) == 3
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = written(tmp_path / "a.h5", data=IMAGES)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingPackageError, match=r"no package h5py, need pip install 'inkwash\[hdf5\]'"):
        load_dataset(path)


def test_packing_by_the_convention_of_netcdf_is_told_of(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.arange(20).reshape(10, 2)
        file["x"].attrs["add_offset"] = 3.0
    assert "has add_offset, conventions of netCDF that are not applied" in iw.load_dataset(tmp_path / "x.h5").notes[0]
