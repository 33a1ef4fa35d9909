"""What libraries do to numbers on their way to inkwash, with the libraries themselves."""

import warnings
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from inkwash.data.dataset import load_dataset
from inkwash.data.frames import to_frame

RANDOM = np.random.default_rng(4)
GREY = (np.arange(16).reshape(4, 4) * 4000).astype(np.uint16)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets", reason="pip install 'inkwash[hub]'")


def pictures(datasets, *arrays):
    with warnings.catch_warnings(action="ignore"):
        features = datasets.Features({"image": datasets.Image()})
        return datasets.Dataset.from_dict({"image": list(arrays)}, features=features)


def test_whole_numbers_with_missing_ones_stay_whole(datasets):
    """In the format of NumPy a column of them is float32, which has no 2^24 + 1."""
    cells = [1, None, 2**24 + 1, 4] * 3
    found = datasets.Dataset.from_dict({"count": cells, "x": np.random.default_rng(0).normal(size=12)})
    assert found.with_format("numpy")[:]["count"].dtype == np.float32
    assert found.with_format("numpy")[1]["count"] is None
    data = load_dataset(found)
    assert to_frame(data.spec, data.data)["count"].dtype == "Int64"
    assert data.data[2, 0] == 2**24 + 1
    assert np.isnan(data.data[1, 0])


def test_grey_of_16_bits_stays_so(datasets):
    """Pillow saturates it where it is converted to 8 bits; inkwash converts nothing."""
    found = pictures(datasets, GREY, GREY // 2)
    assert (np.asarray(found[0]["image"].convert("L")).ravel()[1:] == 255).all()
    assert np.array_equal(load_dataset(found).data, [GREY, GREY // 2])


def test_colour_of_16_bits_is_lost_before_inkwash_sees_it(datasets):
    colour = np.stack([GREY] * 3, -1)
    stored = load_dataset(pictures(datasets, colour, colour // 2)).data
    assert stored.dtype == np.uint8
    assert np.array_equal(stored[0], colour % 256)


def test_pillow_saturates_grey_of_16_bits_and_inkwash_does_not(tmp_path):
    for i in range(3):
        Image.fromarray(GREY // (i + 1)).save(tmp_path / f"{i}.png")
    with Image.open(tmp_path / "0.png") as picture:
        assert picture.mode == "I;16"
        assert (np.asarray(picture.convert("L")).ravel()[1:] == 255).all()
    assert np.array_equal(load_dataset(tmp_path).data, [GREY, GREY // 2, GREY // 3])


def test_levels_of_polars_in_parquet(tmp_path):
    """An Enum has its levels and their order there; a Categorical has what its cells are, and no order."""
    polars = pytest.importorskip("polars")
    cells, levels = ["mid", "low"] * 8, ["low", "mid", "high"]
    frame = polars.DataFrame({"x": RANDOM.normal(size=16)})
    frame = frame.with_columns(
        enum=polars.Series(cells, dtype=polars.Enum(levels)), plain=polars.Series(cells, dtype=polars.Categorical)
    )
    frame.write_parquet(tmp_path / "a.parquet")
    columns = load_dataset(tmp_path / "a.parquet").spec.columns
    assert (columns["enum"].categories, columns["enum"].ordered) == (tuple(levels), True)
    assert ({*columns["plain"].categories}, columns["plain"].ordered) == ({"low", "mid"}, False)


def test_nan_in_a_nifti_file_of_whole_numbers_is_lost_when_it_is_written(tmp_path):
    """nibabel writes a number near 0 for NaN there, and nothing in the file says where."""
    nibabel = pytest.importorskip("nibabel")
    values = RANDOM.normal(50, 20, (6, 4, 3, 5))
    values[2, 1, 1, 1] = np.nan
    (tmp_path / "scans").mkdir()
    for i, volume in enumerate(values):
        nibabel.save(nibabel.Nifti1Image(volume.T, np.eye(4), dtype=np.int16), tmp_path / "scans" / f"{i}.nii")
    found = np.stack([nibabel.load(tmp_path / "scans" / f"{i}.nii").get_fdata().T for i in range(6)])
    assert abs(found[2, 1, 1, 1]) < 0.01
    np.testing.assert_allclose(load_dataset(tmp_path / "scans").data, found, rtol=1e-6)


def test_a_row_of_a_zarr_array_of_one_axis_is_an_array_without_axes(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    made = zarr.create_array(tmp_path / "a.zarr", shape=(40,), chunks=(7,), dtype="f4", fill_value=2.0)
    made[:35] = values = RANDOM.normal(size=35).astype(np.float32)
    assert isinstance(made[0], np.ndarray)
    assert made[0].shape == ()
    with mock.patch("inkwash.data.stored.IN_MEMORY", 0):
        data = load_dataset(tmp_path / "a.zarr").data
    assert isinstance(data[0], np.float32)
    assert np.array_equal(data[np.array([36, 3, 0])], [2.0, values[3], values[0]])
