"""Bad files of the formats of other fields; each ends in one line."""

import numpy as np
import pytest
from bad import bad
from scipy.io import savemat
from scipy.sparse import csr_array

netCDF4 = pytest.importorskip("netCDF4", reason="pip install 'inkwash[formats]'")
zarr = pytest.importorskip("zarr", reason="pip install 'inkwash[formats]'")
VALUES = np.random.default_rng(0).normal(size=(20, 3))


def cut(path, by=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * by)])
    return str(path)


def netcdf(folder, values=VALUES, dtype="f8"):
    with netCDF4.Dataset(folder / "a.nc", "w") as file:
        for i, side in enumerate(values.shape):
            file.createDimension(f"axis{i}", side)
        file.createVariable("x", dtype, [f"axis{i}" for i in range(values.ndim)])[...] = values
    return folder / "a.nc"


def matlab(folder, **things):
    savemat(folder / "a.mat", things)
    return str(folder / "a.mat")


def arff(folder, rows, kind="real"):
    (folder / "a.arff").write_text(f"@relation r\n@attribute x {kind}\n@attribute y {{a,b}}\n@data\n{rows}\n")
    return str(folder / "a.arff")


@bad("a.nc: got an unreadable file (", command=True)
def test_cut_netcdf(folder):
    return cut(netcdf(folder))


@bad("got text, records or lists, need a variable of numbers")
def test_text_of_netcdf(folder):
    return str(netcdf(folder, np.array([["a"], ["b"]], object), str))


@bad("data.key: got 'y', need the name of one of its arrays: x")
def test_no_such_variable(folder):
    return f"{netcdf(folder)}:y"


@bad("data.missing: got masked entries, need an array of vectors or series")
def test_gaps_in_pictures(folder):
    return str(netcdf(folder, np.ma.masked_less(np.random.default_rng(0).normal(size=(9, 4, 5)), -2)))


@bad("a.zarr: got an unreadable store (", command=True)
def test_folder_that_is_no_store(folder):
    (folder / "a.zarr").mkdir()
    return str(folder / "a.zarr")


@bad("a.zarr[0:20]: got unreadable (")
def test_damaged_chunk(folder):
    made = zarr.create_array(folder / "a.zarr", shape=VALUES.shape, dtype="f8", chunks=(10, 3))
    made[...] = VALUES
    cut(folder / "a.zarr/c/1/0")
    return str(folder / "a.zarr")


@bad("a.zarr: got an unreadable store (")
def test_damaged_header_of_a_store(folder):
    zarr.create_array(folder / "a.zarr", shape=VALUES.shape, dtype="f8")
    cut(folder / "a.zarr/zarr.json")
    return str(folder / "a.zarr")


@bad("data.key: got 'x', need no name")
def test_name_of_an_array_alone(folder):
    zarr.create_array(folder / "a.zarr", shape=VALUES.shape, dtype="f8")
    return f"{folder / 'a.zarr'}:x"


@bad("a.mat: data.key: got arrays (none), need the name of one of its arrays: there is none")
def test_matlab_without_a_matrix(folder):
    return matlab(folder, s={"x": VALUES}, c=np.array(["a", 1], object), t="abc")


@bad("a.mat:x: got unreadable (")
def test_cut_matlab(folder):
    matlab(folder, x=VALUES)
    return cut(folder / "a.mat", 0.7)


@bad("data.key: got 'x', need the name of one of its arrays: y")
def test_sparse_matrix(folder):
    return matlab(folder, x=csr_array(VALUES), y=VALUES) + ":x"


@bad("a.mat:x: got complex numbers, need a full matrix of real numbers")
def test_complex_matrix(folder):
    return matlab(folder, x=VALUES * 1j)


@bad("a.arff line 6: got a weight, 5, need rows without weights", command=True)
def test_weight(folder):
    return arff(folder, "1,a\n2,b, {5}\n3,a")


@bad("a.arff line 6: got 1 cells, need 2")
def test_short_row(folder):
    return arff(folder, "1,a\n2\n3,a")


@bad("a.arff, column 'y': got 'c', need one of a, b")
def test_unknown_category(folder):
    return arff(folder, "1,a\n2,c\n3,a")


@bad("a.arff, column 'x': got 'two', need a number")
def test_text_among_numbers(folder):
    return arff(folder, "1,a\ntwo,b\n3,a")


@bad('a.arff line 5: got "\'a", need cells with commas between them, and quotes in pairs')
def test_open_quote(folder):
    return arff(folder, "1,'a\n2,b")


@bad("a.arff line 2: got type relational, need numeric")
def test_relational(folder):
    return arff(folder, "1,a\n2,b", "relational")


@bad("a.arff line 6: got '9 b', need a number up to 1")
def test_sparse_beyond(folder):
    return arff(folder, "{0 1}\n{9 b}\n")


@bad("a.arff: got no line @data")
def test_cut_header(folder):
    arff(folder, "1,a")
    return cut(folder / "a.arff")


@bad("a.feather: got an unreadable file (", command=True)
def test_cut_feather(folder):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(VALUES, columns=[*"abc"]).to_feather(folder / "a.feather")
    return cut(folder / "a.feather")
