"""A data set knows its layout, its levels and its fingerprint, and comes back from model units as it was."""

import numpy as np
import pytest
from datafiles import noise, npy, pictures

from inkwash.core.config import DataConfig
from inkwash.core.errors import ConfigError
from inkwash.data.dataset import load_dataset
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform

WHOLE = np.random.default_rng(0).integers(-3, 6, (40, 5))


def test_a_fingerprint_changes_with_any_value_shape_or_type(tmp_path):
    array = noise(5000, 4)
    prints = {load_dataset(npy(tmp_path, array)).fingerprint()}
    changed = array.copy()
    changed[4999, 3] = np.nextafter(changed[4999, 3], 9)
    for other in (changed, array.reshape(10000, 2), array.astype(np.float64), array[::-1], array[:-1]):
        prints.add(load_dataset(npy(tmp_path, other)).fingerprint())
    assert len(prints) == 6


def test_a_fingerprint_does_not_depend_on_the_kind_of_file(tmp_path):
    array = noise(50, 4)
    np.savez(tmp_path / "data.npz", x=array)
    prints = {load_dataset(npy(tmp_path, a)).fingerprint() for a in (array, np.asfortranarray(array))}
    assert prints == {load_dataset(str(tmp_path / "data.npz")).fingerprint()}


@pytest.mark.parametrize(
    ("shape", "layout", "expected", "read_as"),
    [
        ((9,), "auto", (1,), "N"),
        ((9, 5), "auto", (5,), "ND"),
        ((9, 5, 7), "auto", (1, 5, 7), "NHW"),
        ((9, 5, 7, 3), "auto", (3, 5, 7), "NHWC"),
        ((9, 3, 5, 7), "auto", (3, 5, 7), "NCHW"),
        ((9, 4, 4, 4), "auto", (4, 4, 4), "NCHW"),
        ((9, 4, 5, 3), "NCHW", (4, 5, 3), "NCHW"),
        ((9, 3, 5, 7), "NHWC", (7, 3, 5), "NHWC"),
        ((9, 3, 5, 7), "NDHW", (1, 3, 5, 7), "NDHW"),
        ((9, 5), "NL", (1, 5), "NL"),
        ((9, 5, 7), "NLC", (7, 5), "NLC"),
        ((9, 5, 7), "NCL", (5, 7), "NCL"),
        ((9, 4, 5, 6, 2), "auto", (2, 4, 5, 6), "NDHWC"),
        ((9, 2, 4, 5, 6), "auto", (2, 4, 5, 6), "NCDHW"),
        ((9, 2, 4, 5, 6), "NDHWC", (6, 2, 4, 5), "NDHWC"),
    ],
)
def test_axes_are_read_as_the_layout_says(tmp_path, shape, layout, expected, read_as):
    data = load_dataset(npy(tmp_path, noise(*shape)), DataConfig(layout=layout))
    assert (data.spec.shape, data.spec.layout) == (expected, read_as)
    assert bool(data.notes) == (layout == "auto" and len(shape) > 2)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW", "ND", "N"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "bool", "float32", "float64", "float16"])
def test_data_units_come_back_from_model_units(tmp_path, layout, dtype):
    array = np.random.default_rng(0).normal(size=(20, 3, 5, 4)[: len(layout)]) * 20 + 50
    array = (array > 50) if dtype == "bool" else array.clip(0, 200).astype(dtype)
    data = load_dataset(npy(tmp_path, array), DataConfig(layout=layout))
    transform = fit_transform(data.spec, data.data)
    x = transform.to_model(data.data)
    again = transform.to_data(x)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert tuple(x.shape) == (20, *data.spec.shape)
    if data.spec.levels:
        assert np.array_equal(again, array)
    else:
        assert np.allclose(again, array, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-4)
        axes = (0, 2, 3) if data.spec.is_image else (0,)
        assert np.allclose(x.double().mean(axes), 0, atol=1e-3)
        assert np.allclose(x.double().var(axes, correction=0), 1, atol=1e-2)


def test_channels_are_where_the_layout_says(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (9, 5, 7, 3)).astype(np.uint8)
    data = load_dataset(npy(tmp_path, array))
    x = fit_transform(data.spec, data.data).to_model(data.data)
    assert np.array_equal(np.rint(x.double().numpy() * 127.5 + 127.5), np.moveaxis(array, 3, 1))


def test_all_values_of_small_integers_are_levels(tmp_path):
    for dtype, levels in (("uint8", 256), ("bool", 2)):
        data = load_dataset(npy(tmp_path, np.array([[0], [1], [1]], dtype)))
        assert data.spec.levels == levels
    data = load_dataset(npy(tmp_path, np.array([[-3], [4], [1]])))
    assert (data.spec.low, data.spec.high, data.spec.levels) == (-3, 4, 8)
    data = load_dataset(npy(tmp_path, np.array([[0.0], [4], [1]])), DataConfig(levels=5))
    assert data.spec == DataSpec((1,), "ND", "float64", 0.0, 4.0, 5)


@pytest.mark.parametrize(
    ("array", "levels"),
    [
        (WHOLE, 9),
        (WHOLE + 1e-6, None),
        (WHOLE[:4], None),  # too few to tell
        (100 * WHOLE, None),  # hardly any value occurs often
        (np.concatenate([WHOLE, WHOLE[:1] + 0.5]), None),
    ],
    ids=["whole", "not whole", "few", "far apart", "all but one row"],
)
def test_floating_point_has_levels_if_all_numbers_are_whole_and_occur_often(tmp_path, array, levels):
    data = load_dataset(npy(tmp_path, array.astype(np.float32)))
    assert (data.spec.levels, data.spec.dtype) == (levels, "float32")
    assert bool(data.notes) == (levels is not None)
    if levels:
        assert (data.spec.low, data.spec.high) == (-3, 5)
        transform = fit_transform(data.spec, data.data)
        assert np.array_equal(transform.to_data(transform.to_model(data.data)), data.data)


def test_whole_numbers_are_real_numbers_if_the_user_says_so(tmp_path):
    path = npy(tmp_path, WHOLE.astype(np.float32))
    data = load_dataset(path, DataConfig(levels="real"))
    assert (data.spec.levels, data.spec.is_real.all(), data.notes) == (None, True, ())
    with pytest.raises(ConfigError, match=r"^data\.levels: got real, need their number, for values of type uint8"):
        load_dataset(npy(tmp_path, WHOLE.clip(0).astype(np.uint8)), DataConfig(levels="real"))


def test_whole_numbers_that_float64_has_are_read(tmp_path):
    for dtype in ("int64", "uint64"):
        array = np.array([[2**53 - 9], [2**53], [2**53 - 1]], dtype)
        data = load_dataset(npy(tmp_path, array))
        assert (data.spec.low, data.spec.high, data.spec.levels) == (2**53 - 9, 2**53, 10)


@pytest.mark.parametrize("words", [".", "..", "./in", "in/", "../photos"])
def test_a_folder_has_a_name_however_it_is_given(tmp_path, monkeypatch, words):
    place = pictures(tmp_path).rename(tmp_path / "photos")
    (place / "in").mkdir()
    monkeypatch.chdir(place / "in" if words == ".." else place)
    if "in" in words:
        (place / "0.png").rename(place / "in" / "0.png")
        (place / "1.png").rename(place / "in" / "1.png")
    assert load_dataset(words).name == ("in" if "in" in words else "photos")
