"""NetCDF: what netCDF4 and xarray write is read, packed or not; samples are what both read again."""

import numpy as np
import pytest
from bugs import bug
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import netcdf
from inkwash.training.fit import fit

netCDF4 = pytest.importorskip("netCDF4", reason="pip install 'inkwash[netcdf]'")
RANDOM = np.random.default_rng(8)
LATITUDES = np.array([-10.0, 0, 10, 20])
TEMPERATURES = RANDOM.normal(20, 3, (30, 4)).round(1)


def climate(path, values=TEMPERATURES, dtype="i2", fill=-999, model="NETCDF4", rows=None, **attributes):
    """A variable `group/T` over time and latitude, packed as its attributes say, with all that CF puts beside it."""
    with netCDF4.Dataset(path, "w", format=model) as file:
        file.title = "stations"
        for name, side in {"time": len(values), "lat": 4}.items():
            file.createDimension(name, side)
        made = file.createVariable("T", dtype, ("time", "lat"), fill_value=fill)
        made.setncatts({"units": "degC", "grid_mapping": "crs", "coordinates": "height"} | attributes)
        made[: len(values) if rows is None else rows] = values[:rows]
        file.createVariable("lat", "f8", ("lat",))[:] = LATITUDES
        file["lat"].units = "degrees_north"
        file.createVariable("time", "f8", ("time",))[:] = np.arange(len(values))
        file.createVariable("height", "f4", ("lat",))[:] = 2
        file.createVariable("crs", "i4", ()).grid_mapping_name = "latitude_longitude"
    return path


def samples(tmp_path, spec, data):
    path = tmp_path / "samples.nc"
    path.write_bytes(netcdf.dump(spec, data))
    return path


_PACKED = netcdf._packed


def _without_gaps(variable, dtype, data):
    return _PACKED(variable, dtype, np.nan_to_num(data))


def _wrapped(variable, dtype, data):
    found = variable.getncattr("add_offset"), variable.getncattr("scale_factor")
    return np.rint((np.nan_to_num(data) - found[0]) / found[1]).astype(np.int64).astype(dtype)


PACKED = {"scale_factor": np.float32(0.1), "add_offset": 20.0}
MODELS = ["NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"]
CLASSIC = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


@bug("gaps are zeros", netcdf, "_packed", _without_gaps, model="NETCDF4")
@bug("no coordinates", netcdf, "_coordinates_of", lambda key, variables: {}, model="NETCDF4")
@pytest.mark.parametrize("model", MODELS)
def test_packed_values_with_gaps_go_in_and_come_out(tmp_path, model):
    values = np.ma.array(TEMPERATURES, mask=RANDOM.random((30, 4)) < 0.1)
    path = climate(tmp_path / "a.nc", values, model=model, **PACKED)
    data = load_dataset(path)
    with netCDF4.Dataset(path) as file:
        packed = file["T"][:]
    assert np.array_equal(data.data, np.ma.filled(packed, np.nan), equal_nan=True)
    np.testing.assert_allclose(data.data[~values.mask], values.compressed(), atol=0.051)
    with netCDF4.Dataset(samples(tmp_path, data.spec, data.data[:9])) as file, netCDF4.Dataset(path) as old:
        assert file.data_model == model
        assert file.title == "stations"
        assert file["T"].__dict__ == old["T"].__dict__
        assert file["T"].dtype == np.int16
        assert set(file.variables) == {"T", "lat", "height", "crs"}
        assert file["lat"].units == "degrees_north"
        assert np.array_equal(file["lat"][:], LATITUDES)
        assert np.array_equal(file["T"][:].filled(99), packed[:9].filled(99))


TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("has_gaps", [False, True])
def test_every_type_with_and_without_gaps(tmp_path, dtype, has_gaps):
    values = np.ma.array(RANDOM.integers(0, 90, (30, 4)).astype(dtype))
    values[3, 1] = np.ma.masked if has_gaps else 1
    path = climate(tmp_path / "a.nc", values, dtype, fill=99)
    data = load_dataset(path)
    assert data.data.dtype == (np.float64 if has_gaps and dtype[0] != "f" else np.dtype(dtype))
    with netCDF4.Dataset(samples(tmp_path, data.spec, data.data)) as file:
        assert file["T"].dtype == np.dtype(dtype)
        assert np.array_equal(file["T"][:].filled(99), values.filled(99))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i1"])
def test_cells_that_were_never_written_are_missing(tmp_path, dtype):
    """xarray hands them out as 9.97e36, or -127; netCDF4 masks them."""
    path = climate(tmp_path / "a.nc", TEMPERATURES.round().astype(dtype), dtype, fill=None, rows=20)
    data = load_dataset(path)
    assert np.isnan(data.data[20:]).all()
    assert not np.isnan(data.data[:20]).any()
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(path, engine="netcdf4") as file:
        assert np.isfinite(file["T"].values).all()


def test_gaps_of_a_file_are_imputed(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    values = np.ma.array(TEMPERATURES, mask=RANDOM.random((30, 4)) < 0.2)
    fit(tiny(climate(tmp_path / "a.nc", values, **PACKED), steps=1), tmp_path / "run")
    path = climate(tmp_path / "new.nc", values[:5], **PACKED)
    assert run_cli(["impute", tmp_path / "run", f"{path}:T", "-n", 2, "--out", tmp_path / "out"]) == 0
    drawn, given = np.load(tmp_path / "out" / "completed.npy"), load_dataset(path).data
    known = np.broadcast_to(~np.isnan(given), drawn.shape)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn[known], np.broadcast_to(given, drawn.shape)[known], rtol=1e-6)


@bug("it wraps", netcdf, "_packed", _wrapped)
def test_samples_beyond_the_packed_range_do_not_turn_round(tmp_path):
    spec = load_dataset(climate(tmp_path / "a.nc", **PACKED)).spec
    with netCDF4.Dataset(samples(tmp_path, spec, np.array([[1e9, -1e9, np.nan, 20.14]] * 2))) as file:
        found = file["T"][:][0]
    np.testing.assert_allclose(found[[0, 1, 3]].data, [3296.7, -3256.8, 20.1], rtol=1e-6)
    assert list(np.ma.getmaskarray(found)) == [False, False, True, False]


def test_a_run_on_a_variable_of_xarray_in_a_group(tmp_path, monkeypatch):
    xarray = pytest.importorskip("xarray")
    without_pictures(monkeypatch)
    values = RANDOM.normal(size=(40, 5, 6)).astype(np.float32)
    array = xarray.DataArray(values, dims=("time", "y", "x"), coords={"x": np.arange(6.0)}, attrs={"units": "K"})
    array.to_dataset(name="t").to_netcdf(tmp_path / "a.nc", group="model", engine="netcdf4")
    fit(tiny(f"{tmp_path}/a.nc:model/t", steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 0
    with xarray.open_dataset(tmp_path / "out" / "samples.nc", group="model", engine="netcdf4") as file:
        assert (file["t"].dims, file["t"].units, file["t"].dtype) == (("time", "y", "x"), "K", np.float32)
        assert np.array_equal(file["x"], np.arange(6.0))
        assert np.array_equal(file["t"], iw.load(tmp_path / "run").sample(3, seed=0))


def test_attributes_of_all_groups_above_a_variable_are_kept(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.title, file.createGroup("model/run").member = "stations", 3
        file["model"].version, file.createGroup("other").unused = "7", 1
        file["model/run"].createDimension("time", 20)
        file["model/run"].createDimension("lat", 4)
        file["model/run"].createVariable("T", "f4", ("time", "lat"))[:] = RANDOM.normal(size=(20, 4))
    data = load_dataset(f"{tmp_path}/a.nc:model/run/T")
    with netCDF4.Dataset(samples(tmp_path, data.spec, data.data)) as file:
        assert (file.title, file["model"].version, file["model/run"].member) == ("stations", "7", 3)
        assert set(file.groups) == {"model"}
        assert np.array_equal(file["model/run/T"][:], data.data)


def plain(path, values, dtype="f4", model="NETCDF4", **attributes):
    with netCDF4.Dataset(path, "w", format=model) as file:
        for name, side in zip(("time", "lat"), values.shape, strict=True):
            file.createDimension(name, side)
        made = file.createVariable("T", dtype, ("time", "lat"))
        made.setncatts(attributes)
        made.set_auto_maskandscale(False)
        made[...] = values
    return path


def test_bytes_without_a_sign_go_in_and_come_out(tmp_path):
    """netCDF-3 has no such bytes: the attribute _Unsigned makes them of those with a sign."""
    values = RANDOM.integers(0, 256, (30, 4)).astype("u1")
    data = load_dataset(plain(tmp_path / "a.nc", values.view("i1"), "i1", "NETCDF3_CLASSIC", _Unsigned="true"))
    assert np.array_equal(data.data, values)
    with netCDF4.Dataset(samples(tmp_path, data.spec, values)) as file:
        assert np.array_equal(file["T"][:].filled(0), values)


@pytest.mark.parametrize("ends", [{"valid_min": -1, "valid_max": 2}, {"valid_range": [-1, 2]}])
@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_samples_beyond_the_valid_range_are_moved_to_its_ends(tmp_path, ends, dtype):
    """netCDF4 takes what lies beyond for missing."""
    ends = {name: np.array(value, dtype) for name, value in ends.items()}
    data = load_dataset(plain(tmp_path / "a.nc", RANDOM.integers(-1, 3, (30, 4)).astype(dtype), dtype, **ends))
    with netCDF4.Dataset(samples(tmp_path, data.spec, np.array([[-7, -1, 2, 3]] * 2, data.spec.dtype))) as file:
        assert file["T"][0].filled(99).tolist() == [-1, -1, 2, 2]


def test_coordinates_are_those_of_the_group(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.title = "both"
        for name, side in (("north", 4), ("south", 3)):
            group = file.createGroup(name)
            group.createDimension("time", 20)
            group.createDimension("lat", side)
            group.createVariable("lat", "f8", ("lat",))[:] = side * np.arange(side)
            group.createVariable("T", "f4", ("time", "lat"))[:] = TEMPERATURES[:20, :side]
            group.region = name
    data = load_dataset(f"{tmp_path}/a.nc:north/T")
    with netCDF4.Dataset(samples(tmp_path, data.spec, data.data)) as file:
        assert file["north/lat"][:].tolist() == [0, 4, 8, 12]
        assert (file["north"].region, set(file.groups)) == ("north", {"north"})


@pytest.mark.parametrize("option", ["labels", "condition"])
def test_a_label_that_is_missing_is_no_class(tmp_path, option):
    path = climate(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("kind", "i4", ("time",))[:] = np.ma.masked_less(np.arange(30) % 3, 1)
    with pytest.raises(DataError, match=r"a\.nc:kind: got missing entries, need a value for each example"):
        load_dataset(f"{path}:T", iw.DataConfig(**{option: "kind"}))


KINDS = {"one": ("i2",), "two": ("i2", "f8"), "odd": ("i1", "i2", "f4")}


@bug("the header is not looked at", netcdf, "require_complete", lambda path: None, model=CLASSIC[0], kind="odd")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", CLASSIC)
def test_a_classic_file_is_refused_exactly_if_values_are_cut_off(tmp_path, model, kind):
    """netCDF4 reads zeros there, which no value here has a byte of."""
    path, cut = tmp_path / "all.nc", tmp_path / "cut.nc"
    with netCDF4.Dataset(path, "w", format=model) as file:
        file.createDimension("time", None)
        file.createDimension("x", 3)
        file.title = "a title"
        file.createVariable("plain", "i2", ("x",))[:] = 0x0101
        for i, dtype in enumerate(KINDS[kind]):
            made = file.createVariable(f"v{i}", dtype, ("time", "x"), fill_value=2)
            made.set_auto_maskandscale(False)
            made.units, made[:] = "K", np.frombuffer(b"\1" * 15 * np.dtype(dtype).itemsize, dtype).reshape(5, 3)
    content, name = path.read_bytes(), "v0"
    whole = _all_of(path)
    for size in range(len(content), len(content) - 24, -1):
        cut.write_bytes(content[:size])
        assert (f"it ends after {size} of" in _refusal(cut, name)) == (_all_of(cut) != whole)


def _refusal(path, name):
    try:
        netcdf.read(path, iw.DataConfig(key=name))
    except DataError as error:
        return str(error)
    return ""


def _all_of(path):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        try:
            return [each[...].tolist() for each in file.variables.values()]
        except RuntimeError:
            return None


@pytest.mark.parametrize("model", MODELS)
def test_labels_of_characters_are_words(tmp_path, model):
    path, words = plain(tmp_path / "x.nc", TEMPERATURES, model=model), np.array([b"abc", b"z"] * 15, "S3")
    with netCDF4.Dataset(path, "a") as file:
        file.createDimension("letters", 3)
        file.createVariable("site", "S1", ("time", "letters"))[:] = netCDF4.stringtochar(words)
    data = load_dataset(f"{path}:T", iw.DataConfig(labels="site"))
    assert data.condition.classes == ("abc", "z")
    assert np.array_equal(data.labels, 1 + (words == b"z"))


def test_a_scale_of_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"x.nc:T: got unreadable"):
        load_dataset(f"{plain(tmp_path / 'x.nc', TEMPERATURES, scale_factor='2')}:T")
