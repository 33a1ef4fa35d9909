"""One example from a file of every format is the example that the data set has, in its units and along its axes."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas
import pytest
from bugs import bug

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import examples
from inkwash.data.dataset import load_dataset
from inkwash.data.examples import read_example, read_values

RANDOM = np.random.default_rng(11)
SERIES = RANDOM.integers(-900, 900, (9, 12)).astype(np.int16)
VOLUMES = RANDOM.normal(100, 20, (5, 4, 6, 8)).astype(np.float32)
ONE = 3


def hdf5(path, values, name="x"):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / f"{name}.h5", "w") as file:
        file["run/x"], file["other"] = values, values[..., :3]
    return f"{path}/{name}.h5:run/x"


def netcdf(path, values, name="x"):
    """A variable that is packed by a scale and an offset."""
    netcdf4 = pytest.importorskip("netCDF4")
    with netcdf4.Dataset(path / f"{name}.nc", "w") as file:
        axes = [f"axis{i}" for i in range(values.ndim)]
        for axis, side in zip(axes, values.shape, strict=True):
            file.createDimension(axis, side)
        variable = file.createVariable("T", "i2", axes)
        variable.scale_factor, variable.add_offset = 0.5, 10.0
        variable[:] = values
    return f"{path}/{name}.nc:T"


def zarr(path, values, name="x"):
    library = pytest.importorskip("zarr", minversion="3")
    library.create_array(path / f"{name}.zarr", shape=values.shape, dtype=values.dtype)[...] = values
    return f"{path}/{name}.zarr"


def matlab(path, values, name="x"):
    from scipy.io import savemat

    savemat(path / f"{name}.mat", {"x": values})
    return f"{path}/{name}.mat"


def npz(path, values, name="x"):
    np.savez(path / f"{name}.npz", x=values, other=-values)
    return f"{path}/{name}.npz"


def sound(path, values, name="x"):
    library = pytest.importorskip("soundfile")
    (path / name).mkdir()
    for i, each in enumerate(values):
        library.write(path / name / f"{i}.wav", each, 8000, subtype="PCM_16")
    return f"{path}/{name}"


def nifti(path, values, name="x"):
    nibabel = pytest.importorskip("nibabel")
    (path / name).mkdir()
    for i, each in enumerate(values):
        nibabel.save(nibabel.Nifti1Image(each.T, np.diag([2, 2, 3, 1])), path / name / f"{i}.nii.gz")
    return f"{path}/{name}"


def fits(path, values, name="x"):
    library = pytest.importorskip("astropy.io.fits")
    (path / name).mkdir()
    for i, each in enumerate(values):
        library.writeto(path / name / f"{i}.fits", each)
    return f"{path}/{name}"


def shards(path, values, name="x"):
    with tarfile.open(path / f"{name}.tar", "w") as archive:
        for i, each in enumerate(values):
            np.save(buffer := io.BytesIO(), each)
            info = tarfile.TarInfo(f"{i:03d}.npy")
            info.size = len(buffer.getvalue())
            archive.addfile(info, io.BytesIO(buffer.getvalue()))
    return f"{path}/{name}.tar"


SERIES_FORMATS = [hdf5, netcdf, zarr, matlab, npz, sound, fits, shards]
NL = iw.DataConfig(layout="NL")


OTHER = iw.DataConfig(key="other")


@bug("another array of the file", examples, "_options", lambda key, config, known, spec: OTHER, write=npz)
@pytest.mark.parametrize("write", SERIES_FORMATS)
def test_one_example_of_each_format(tmp_path, write):
    data = load_dataset(write(tmp_path, SERIES), NL)
    found = read_example(write(tmp_path, SERIES[ONE : ONE + 1], "one"), data.spec, NL)
    assert found.dtype == data.spec.dtype
    assert np.array_equal(found, data.data[ONE])


@pytest.mark.parametrize("write", [hdf5, netcdf, zarr, npz])
def test_one_example_without_an_axis_of_examples(tmp_path, write):
    data = load_dataset(write(tmp_path, SERIES), NL)
    assert np.array_equal(read_example(write(tmp_path, SERIES[ONE], "one"), data.spec, NL), data.data[ONE])


@pytest.mark.parametrize(("write", "ending"), [(nifti, "2.nii.gz"), (fits, "2.fits")])
def test_a_file_of_a_folder_is_an_example(tmp_path, write, ending):
    config = iw.DataConfig(pages="volume") if write is fits else None
    data = load_dataset(write(tmp_path, VOLUMES), config)
    assert np.array_equal(read_example(tmp_path / "x" / ending, data.spec, config), VOLUMES[2])


def test_a_dicom_series_is_an_example(tmp_path):
    ct = pytest.importorskip("pydicom")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    numbers = RANDOM.integers(0, 4000, (2, 3, 5, 4)).astype(np.uint16)
    for i, volume in enumerate(numbers):
        (tmp_path / "scans" / str(i)).mkdir(parents=True)
        series = generate_uid()
        for k, plane in enumerate(volume):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            file = ct.Dataset()
            file.file_meta, file.SOPClassUID, file.SOPInstanceUID = meta, CTImageStorage, generate_uid()
            file.SeriesInstanceUID, file.ImagePositionPatient = series, [0, 0, 2 * k]
            file.ImageOrientationPatient, file.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
            file.Rows, file.Columns, file.SamplesPerPixel = *plane.shape, 1
            file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 0
            file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
            file.RescaleSlope, file.RescaleIntercept = 1, -1024
            file.PixelData = plane.tobytes()
            file.save_as(tmp_path / "scans" / str(i) / f"{k}.dcm", enforce_file_format=True)
    data = load_dataset(tmp_path / "scans")
    assert np.array_equal(read_example(tmp_path / "scans" / "1", data.spec), numbers[1].astype(int) - 1024)


def test_sound_of_another_rate_is_refused(tmp_path):
    library = pytest.importorskip("soundfile")
    spec = load_dataset(sound(tmp_path, SERIES)).spec
    library.write(tmp_path / "fast.wav", SERIES[0], 44100, subtype="PCM_16")
    with pytest.raises(DataError, match=r"fast.wav: got rate 44100, need 8000, as the data had"):
        read_example(tmp_path / "fast.wav", spec)


def test_a_brain_that_is_turned_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    spec = load_dataset(nifti(tmp_path, VOLUMES)).spec
    nibabel.save(nibabel.Nifti1Image(VOLUMES[0].T, np.diag([-2, 2, 3, 1])), tmp_path / "turned.nii.gz")
    with pytest.raises(DataError, match=r"turned.nii.gz: got orientation LAS, need RAS, as the data had"):
        read_example(tmp_path / "turned.nii.gz", spec)


def test_the_needed_shape_is_said(tmp_path):
    spec = load_dataset(hdf5(tmp_path, SERIES), NL).spec
    np.save(tmp_path / "long.npy", np.zeros(20, np.int16))
    with pytest.raises(DataError, match=r"long.npy: got shape \(20,\), need one example, shape \(12,\)"):
        read_example(tmp_path / "long.npy", spec, NL)
    two = hdf5(tmp_path, SERIES[:2], "two")
    with pytest.raises(DataError, match=r"got shape \(2, 12\), need one example, shape \(12,\)"):
        read_example(two, spec, NL)


FRAME = pandas.DataFrame(
    {
        "day": pandas.date_range("2026-01-01", periods=20),
        "place": ["a", "b"] * 10,
        "wind": RANDOM.normal(5, 2, 20).round(3),
        "sold": RANDOM.integers(0, 4, 20),
        "rain": np.where(np.arange(20) == 7, np.nan, RANDOM.normal(size=20).round(3)),
    }
)
STACK = np.stack
TABLES = {"csv": lambda path: FRAME.to_csv(path, index=False), "parquet": FRAME.to_parquet, "feather": FRAME.to_feather}


@bug("the order of places", examples.np, "stack", lambda parts, axis: STACK(parts[::-1], axis), ending="csv")
@pytest.mark.parametrize("ending", TABLES)
def test_columns_of_a_table_are_the_channels_of_a_series(tmp_path, ending):
    TABLES[ending](path := tmp_path / f"history.{ending}")
    spec = load_dataset(RANDOM.normal(size=(9, 8, 2)).astype(np.float32), iw.DataConfig(layout="NLC")).spec
    expected = FRAME[["rain", "sold"]].to_numpy().astype(np.float32)
    assert np.array_equal(read_values(f"{path}:rain,sold", spec), expected, equal_nan=True)
    turned = load_dataset(RANDOM.normal(size=(9, 2, 8)).astype(np.float32), iw.DataConfig(layout="NCL")).spec
    assert np.array_equal(read_values(f"{path}:rain,sold", turned), expected.T, equal_nan=True)
    need = r"got columns wind, sold, rain, need 2 of its columns of numbers, wind, sold, rain, for as many channels"
    with pytest.raises(DataError, match=need):
        read_values(path, spec)
    with pytest.raises(DataError, match="got columns rain, place, need 2 of"):
        read_values(f"{path}:rain,place", spec)


def test_a_table_of_other_columns_beside_its_numbers_needs_no_names(tmp_path):
    FRAME.drop(columns="rain").to_csv(tmp_path / "a.csv", index=False)
    spec = load_dataset(RANDOM.normal(size=(9, 8, 2)).astype(np.float32), iw.DataConfig(layout="NLC")).spec
    assert np.array_equal(read_values(tmp_path / "a.csv", spec), FRAME[["wind", "sold"]].to_numpy(np.float32))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_row_of_a_table_is_an_example(tmp_path, ending):
    TABLES[ending](path := tmp_path / f"all.{ending}")
    data = load_dataset(path)
    row = FRAME.iloc[[ONE]]
    one = Path(tmp_path / f"one.{ending}")
    row.to_csv(one, index=False) if ending == "csv" else row.to_parquet(one)
    assert np.array_equal(read_example(one, data.spec), data.data[ONE], equal_nan=True)


def test_a_name_of_an_array_holds_only_for_files_of_the_format_of_the_data(tmp_path):
    config = iw.DataConfig(layout="NL", key="other")
    spec = load_dataset(npz(tmp_path, SERIES), config).spec
    assert np.array_equal(read_values(npz(tmp_path, SERIES), spec, config), -SERIES)
    assert np.array_equal(read_values(matlab(tmp_path, SERIES), spec, config), SERIES)


def test_a_name_behind_the_colon_of_a_file_without_names_is_refused(tmp_path):
    spec = load_dataset(SERIES, NL).spec
    np.save(tmp_path / "one.npy", SERIES[ONE])
    with pytest.raises(DataError, match=r"one.npy:x: got 'x' behind the colon, need only .*one.npy"):
        read_values(f"{tmp_path}/one.npy:x", spec)
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="'wind' behind the colon"):
        read_values(f"{tmp_path}/a.csv:wind", load_dataset(tmp_path / "a.csv").spec)


def test_values_that_are_no_real_numbers_are_refused_and_infinite_ones_are_read_as_a_run_reads_them(tmp_path):
    values = SERIES[ONE].astype(np.float32)
    values[2] = np.inf
    spec = load_dataset(SERIES.astype(np.float32), NL).spec
    np.save(tmp_path / "one.npy", values)
    with pytest.raises(DataError, match="got 1 infinite numbers"):
        read_values(tmp_path / "one.npy", spec)
    found = read_values(tmp_path / "one.npy", spec, iw.DataConfig(infinite="missing"))
    assert np.array_equal(found, np.where(np.arange(12) == 2, np.nan, SERIES[ONE]), equal_nan=True)
    np.save(tmp_path / "two.npy", values + 1j)
    with pytest.raises(DataError, match="got values of type complex64, need real numbers"):
        read_values(tmp_path / "two.npy", spec)
