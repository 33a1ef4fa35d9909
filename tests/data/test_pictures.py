"""Pixels are the data stretched onto 0 to 255, and pictures are complete files of the right size."""

import numpy as np
import pytest
from faults import fail_at, hooked
from PIL import Image

from inkwash.core.errors import StorageError
from inkwash.data.pictures import grid, save_curve, save_pixels, save_samples, to_pixels
from inkwash.data.spec import DataSpec


def spec(shape, layout="NCHW", high=255.0, low=0.0, levels=256, dtype="uint8"):
    return DataSpec(shape, layout, dtype, low, high, levels)


def test_seventeen_levels_go_onto_eight_bits_by_rounding():
    data = np.arange(17, dtype=np.uint8).reshape(17, 1, 1, 1)
    pixels = to_pixels(spec((1, 1, 1), high=16.0, levels=17), data)
    assert pixels.dtype == np.uint8
    assert pixels.ravel().tolist() == [round(v * 255 / 16) for v in range(17)]


def test_bytes_stay_as_they_are():
    data = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    assert np.array_equal(to_pixels(spec((1, 8, 8)), data), data[:, 0])


def test_real_numbers_are_clipped_to_the_range_of_the_data():
    data = np.array([-9.0, -2, 0, 2, 9]).reshape(5, 1, 1)
    pixels = to_pixels(spec((1, 1, 1), "NHW", 2.0, -2.0, None, "float64"), data)
    assert pixels.ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("channels", "shape"), [(1, (2, 4, 5)), (2, (2, 4, 10)), (3, (2, 4, 5, 3)), (4, (2, 4, 5, 4))])
def test_channels_are_colours_or_stand_side_by_side(channels, shape):
    data = np.random.default_rng(0).integers(0, 256, (2, 4, 5, channels)).astype(np.uint8)
    pixels = to_pixels(spec((channels, 4, 5), "NHWC"), data)
    assert pixels.shape == shape
    if channels > 2:
        assert np.array_equal(pixels, data)
    else:
        assert np.array_equal(np.stack(np.split(pixels, channels, axis=2), axis=-1), data)


def test_a_series_is_a_line_between_the_ends_of_its_range():
    """Down the range and up again, and in a second channel up and down."""
    fall = np.abs(np.linspace(-1, 1, 193))
    data = np.stack([fall, 1 - fall])[None]
    panels = to_pixels(DataSpec((2, 193), "NCL", "float64", 0.0, 1.0, None), data)
    assert panels.shape == (1, 96, 96)
    upper, lower = panels[0, :48] == 0, panels[0, 48:] == 0
    assert upper.any(0).all()
    assert np.abs(upper.argmax(0) - lower[::-1].argmax(0)).max() <= 1
    assert (upper[0, 0], upper[47, 0], upper[47, 47], upper[0, 95]) == (True, False, True, True)


@pytest.mark.parametrize("length", [1, 2, 97, 1000])
def test_no_peak_of_a_series_is_lost(length):
    panels = to_pixels(DataSpec((1, length), "NL", "float64", 0.0, 1.0, None), np.eye(length))
    assert (panels[:, :24] == 0).any((1, 2)).all()


def test_a_volume_is_its_three_middle_slices():
    data = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)
    pixels = to_pixels(DataSpec((1, 3, 4, 5), "NDHW", "uint8", 0.0, 255.0, 256), data)
    assert pixels.shape == (2, 4, 5 + 1 + 5 + 1 + 4)
    assert np.array_equal(pixels[:, :, :5], data[:, 1])
    assert np.array_equal(pixels[:, :3, 6:11], data[:, :, 2])
    assert np.array_equal(pixels[:, :3, 12:], data[:, :, :, 2])


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 8, 8), (7, 100, 30), (4, 3, 4, 3)])
def test_a_grid_holds_every_image_in_order(shape):
    images = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
    sheet = grid(images, scale=1)
    columns = int(np.ceil(np.sqrt(len(images))))
    height, width = shape[1:3]
    for i, image in enumerate(images):
        top, left = 1 + i // columns * (height + 1), 1 + i % columns * (width + 1)
        assert np.array_equal(sheet[top : top + height, left : left + width], image)
    assert (sheet == 255).sum() >= sheet.size - images.size
    assert np.array_equal(grid(images, scale=3)[::3, ::3], sheet)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4), (1, 1)])
def test_pixels_come_back_from_the_file(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    save_pixels(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_replaces_another_completely_or_not_at_all(tmp_path):
    for k in range(4):
        save_pixels(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
        with hooked(fail_at(k, OSError(28, "No space left on device"))), pytest.raises(StorageError):
            save_pixels(tmp_path / "a.png", np.ones((3, 3), np.uint8))
        with Image.open(tmp_path / "a.png") as picture:
            assert np.unique(np.asarray(picture)).tolist() in ([0], [1])


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 2), (30, 5)])
def test_numbers_and_vectors_have_a_picture(tmp_path, shape):
    data = np.random.default_rng(0).normal(size=shape)
    save_samples(tmp_path / "a.png", spec(shape[1:] or (1,), "ND", levels=None), data)
    with Image.open(tmp_path / "a.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5


def test_bits_are_rows_of_a_picture(tmp_path):
    data = np.random.default_rng(0).integers(0, 2, (100, 9)).astype(np.uint8)
    save_samples(tmp_path / "a.png", DataSpec((9,), "ND", "uint8", 0.0, 1.0, 2), data)
    with Image.open(tmp_path / "a.png") as picture:
        rows = np.asarray(picture)[4:-4:4, 4:-4:4]
    assert np.array_equal(rows, 255 * data[:64])


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{"step": 1, "loss": 0.5}],
        [{"step": 1, "loss": None}, {"step": 2, "loss": 0.5, "held_out_loss": 0.6}],
        [{"step": 1, "loss": None}, {"step": 2, "loss": None}],
        [{"step": i, "loss": 1 / i, **({"held_out_loss": 1.0} if i % 10 == 0 else {})} for i in range(1, 50)],
    ],
)
def test_a_curve_is_drawn_whatever_there_is(tmp_path, metrics):
    save_curve(tmp_path / "curve.png", metrics)
    with Image.open(tmp_path / "curve.png") as picture:
        picture.verify()
