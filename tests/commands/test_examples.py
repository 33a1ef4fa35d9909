"""Commands that take an example: a run of netCDF data takes files of it and of others, and writes draws as it came."""

from dataclasses import replace

import numpy as np
import pytest
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.commands.relatives import data_options
from inkwash.training.fit import fit

netCDF4 = pytest.importorskip("netCDF4", reason="pip install 'inkwash[netcdf]'")
RANDOM = np.random.default_rng(2)
SERIES = (RANDOM.integers(-90, 90, (12, 8)) / 2).astype(np.float32)


def netcdf(path, values):
    """A packed variable T along time, with the days as a coordinate."""
    with netCDF4.Dataset(path, "w") as file:
        axes = ("member", "time")[-values.ndim :]
        for axis, side in zip(axes, values.shape, strict=True):
            file.createDimension(axis, side)
        days = file.createVariable("time", "f8", ("time",))
        days.units, days[:] = "days since 2026-01-01", np.arange(values.shape[-1])
        variable = file.createVariable("T", "i2", axes)
        variable.scale_factor, variable.units, variable[:] = 0.5, "K", values
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of series of 8 places."""
    folder = tmp_path_factory.mktemp("examples")
    config = replace(tiny(f"{netcdf(folder / 'climate.nc', SERIES)}:T", steps=2), data=iw.DataConfig(layout="NL"))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(config, folder / "run")
    return folder / "run"


def drawn(words, out):
    assert run_cli([*words, "--out", out, "--steps", 2]) == 0
    with netCDF4.Dataset(out / "draws.nc") as file:
        variable = file["T"]
        assert (variable.dtype, variable.units, variable.dimensions) == (np.int16, "K", ("member", "time"))
        return file["time"][:].tolist() if "time" in file.variables else None, np.array(variable[:], np.float32)


@pytest.mark.parametrize("ending", ["nc", "nc of one axis", "csv"])
def test_a_past_in_a_file_of_its_own(run, tmp_path, ending):
    past = (RANDOM.integers(-90, 90, 20) / 2).astype(np.float32)
    if ending == "csv":
        name = tmp_path / "past.csv"
        name.write_text("day,T\n" + "".join(f"2026-01-{i + 1:02d},{value}\n" for i, value in enumerate(past)))
    else:
        name = f"{netcdf(tmp_path / 'past.nc', past if ending.endswith('axis') else past[None])}:T"
    days, draws = drawn(["forecast", run, name, "--horizon", 3, "-n", 4], tmp_path / "out")
    expected = iw.load(run).forecast(past[None], 3, 4, seed=0, steps=2)
    assert np.array_equal(np.load(tmp_path / "out" / "draws.npy"), expected)
    np.testing.assert_allclose(draws, expected[:, 0], atol=0.25)
    assert days is None


def test_an_example_in_a_file_is_filled_in(run, tmp_path):
    name = netcdf(tmp_path / "one.nc", SERIES[3])
    days, draws = drawn(["inpaint", run, name, "--hide", "right", "-n", 5], tmp_path / "out")
    assert draws.shape == (5, 8)
    np.testing.assert_array_equal(draws[:, :4], np.tile(SERIES[3, :4], (5, 1)))
    assert days == list(range(8))


def test_what_does_not_fit_is_one_line(run, tmp_path, capsys):
    netcdf(tmp_path / "short.nc", SERIES[3, :5])
    assert run_cli(["inpaint", run, tmp_path / "short.nc", "--hide", "left", "--out", tmp_path / "out"]) == 3
    assert "short.nc: got shape (5,), need one example, shape (8,)" in capsys.readouterr().err
    assert run_cli(["forecast", run, f"{tmp_path}/short.nc:U", "--out", tmp_path / "out"]) == 3
    assert "data.key: got 'U', need the name of one of its arrays: T" in capsys.readouterr().err
    assert run_cli(["forecast", run, f"{tmp_path}/none.nc:T", "--out", tmp_path / "out"]) == 3
    assert "none.nc:T: got no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_array_behind_the_colon_of_the_data_is_that_of_every_file(tmp_path, capsys):
    """What an array of another name holds, which is read where nobody says a name, is far from the data."""
    gaps = np.where(RANDOM.random(SERIES.shape) < 0.2, np.nan, SERIES)
    np.savez(tmp_path / "all.npz", past=gaps, x=gaps + 5000)
    data = iw.DataConfig(layout="NL", missing=True)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(replace(tiny(f"{tmp_path}/all.npz:past", steps=2), data=data), tmp_path / "run")
    out, words = tmp_path / "out", ["--out", tmp_path / "out", "--steps", 2, "-n", 1]
    assert run_cli(["impute", tmp_path / "run", tmp_path / "all.npz", *words]) == 0
    draws = np.load(out / "completed.npy")[0]
    assert np.array_equal(draws[~np.isnan(gaps)], gaps[~np.isnan(gaps)].astype(np.float32))
    assert data_options(tmp_path / "run").key == "past"
    gaps[0, 0] = np.inf
    np.save(tmp_path / "endless.npy", gaps)
    assert run_cli(["impute", tmp_path / "run", tmp_path / "endless.npy", *words]) == 3
    assert "endless.npy: got 1 infinite numbers" in capsys.readouterr().err
