"""MATLAB: matrices of both kinds of file are read as MATLAB has them; samples are what SciPy and h5py read again."""

import numpy as np
import pytest
from bugs import bug
from scipy.io import loadmat, savemat, whosmat

from inkwash.core.config import DataConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import matlab

RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.normal(size=(30, 5, 4))
CLASSES = {
    "double": "f8",
    "single": "f4",
    "logical": "bool",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
}


def as_hdf5(path, **matrices):
    """A file as MATLAB writes it with -v7.3: axes reversed, the class of each matrix as an attribute."""
    h5py = pytest.importorskip("h5py", reason="pip install 'inkwash[hdf5]'")
    names = {dtype: name for name, dtype in CLASSES.items()}
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in matrices.items():
            name = names["bool" if values.dtype == bool else values.dtype.str[1:]]
            made = file.create_dataset(key, data=values.T.astype("u1" if name == "logical" else values.dtype))
            made.attrs["MATLAB_class"] = np.bytes_(name)
    return path


def as_version_5(path, **matrices):
    savemat(path, matrices, do_compression=True)
    return path


@bug("as SciPy says", np, "ascontiguousarray", lambda x, dtype: x.astype(float), kind="int16", write=as_version_5)
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("write", [as_version_5, as_hdf5])
def test_every_class_goes_in_and_comes_out(tmp_path, kind, write):
    values = RANDOM.integers(0, 2, (20, 4)).astype(CLASSES[kind])
    data = load_dataset(write(tmp_path / "a.mat", data=values))
    assert np.array_equal(data.data, values)
    assert data.data.dtype == values.dtype
    out = tmp_path / "samples.mat"
    out.write_bytes(matlab.dump(data.spec, values[:7]))
    if write is as_version_5:
        assert whosmat(out) == [("data", (7, 4), kind)]
        assert np.array_equal(loadmat(out)["data"], values[:7])
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(out) as file:
            assert file["data"].attrs["MATLAB_class"] == kind.encode()
            assert np.array_equal(file["data"][:].T, values[:7])
        assert out.read_bytes()[124:128] == b"\0\2IM"
        again = load_dataset(out).data
        assert (again.dtype, again.shape) == (values.dtype, (7, 4))


@pytest.mark.parametrize("dtype", ["f8", "i2"])
def test_version_4_goes_in_and_comes_out(tmp_path, dtype):
    """Every matrix of it is a double, however it is stored."""
    values = RANDOM.normal(0, 99, (20, 4)).astype(dtype)
    savemat(tmp_path / "a.mat", {"x": values, "y": np.arange(20.0) % 2}, format="4")
    data = load_dataset(tmp_path / "a.mat", DataConfig(labels="y", levels="real"))
    assert np.array_equal(data.data, values)
    assert np.array_equal(data.labels - 1, np.arange(20) % 2)
    out = tmp_path / "samples.mat"
    out.write_bytes(matlab.dump(data.spec, data.data[:7]))
    assert 0 in out.read_bytes()[:4]
    assert whosmat(out) == [("x", (7, 4), "double")]
    assert np.array_equal(loadmat(out)["x"], values[:7])


@pytest.mark.parametrize("write", [as_version_5, as_hdf5])
def test_axes_and_labels_are_those_of_matlab(tmp_path, write):
    path = write(tmp_path / "a.mat", x=IMAGES, y=(np.arange(30.0)[:, None] % 3), other=np.ones((2, 2)))
    data = load_dataset(path, DataConfig(labels="y"))
    assert np.array_equal(data.data, IMAGES)
    assert np.array_equal(data.labels - 1, np.arange(30) % 3)
    assert "array 'x' of a.mat; not used: other" in data.notes
    assert data.fingerprint() != load_dataset(f"{path}:x").fingerprint() == load_dataset(IMAGES).fingerprint()


def test_numbers_that_matlab_packed_keep_their_class(tmp_path):
    """MATLAB stores doubles that are whole as bytes; SciPy hands out bytes unless asked for MATLAB's types."""
    values = RANDOM.integers(0, 200, (20, 4)).astype(float)
    savemat(tmp_path / "a.mat", {"x": values})
    content = (tmp_path / "a.mat").read_bytes()
    head = np.array([9, values.nbytes], "<u4").tobytes()
    assert content.count(head) == 1
    place = content.index(head)
    packed = np.array([2, 80], "<u4").tobytes() + values.astype(np.uint8).tobytes(order="F")
    size = int.from_bytes(content[132:136], "little") - values.nbytes + 80
    content = content[:132] + size.to_bytes(4, "little") + content[136:place] + packed
    (tmp_path / "a.mat").write_bytes(content)
    assert loadmat(tmp_path / "a.mat")["x"].dtype == np.uint8
    assert load_dataset(tmp_path / "a.mat").data.dtype == np.float64
    assert np.array_equal(load_dataset(tmp_path / "a.mat").data, values)


@pytest.mark.parametrize("write", [as_version_5, as_hdf5])
def test_whole_numbers_of_many_levels_keep_their_class(tmp_path, write):
    path = write(tmp_path / "a.mat", x=RANDOM.integers(0, 1 << 20, (20, 4)).astype("i4"))
    spec = load_dataset(path).spec
    (tmp_path / "samples.mat").write_bytes(matlab.dump(spec, np.array([[1.6, -2.7], [1e12, 0]])))
    data = load_dataset(tmp_path / "samples.mat").data
    assert data.tolist() == [[2, -3], [2**31 - 1, 0]]


def test_cells_of_a_cell_array_are_no_matrices(tmp_path):
    """Version 7.3 keeps them in a group called #refs#, with the class of a matrix."""
    path = as_hdf5(tmp_path / "a.mat", **{"measured": IMAGES, "#refs#/a": IMAGES})
    assert np.array_equal(load_dataset(path).data, IMAGES)
