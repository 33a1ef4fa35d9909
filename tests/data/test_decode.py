"""Modes of pictures: what converts without loss is converted, with a note and a count; the rest names a way out."""

import io
import struct
import zlib

import numpy as np
import pytest
from bugs import bug
from datafiles import chunk, pictures
from PIL import Image

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import decode
from inkwash.data.dataset import load_dataset
from inkwash.data.examples import read_example

RANDOM = np.random.default_rng(8)
GREY = RANDOM.integers(0, 256, (3, 6, 8)).astype(np.uint8)
COLOUR = RANDOM.integers(0, 256, (3, 6, 8, 3)).astype(np.uint8)


def saved(folder, shown, **options):
    folder.mkdir(exist_ok=True)
    for i, picture in enumerate(shown):
        picture.save(folder / f"{i}.png", **options)
    return folder


def few_bits_png(values, bits):
    """A grey PNG of 1, 2 or 4 bits, by its specification."""
    height, width = values.shape
    rows = np.zeros((height, width * bits), np.uint8)
    for b in range(bits):
        rows[:, b::bits] = values >> (bits - 1 - b) & 1
    packed = np.pad(np.packbits(rows, axis=1), ((0, 0), (1, 0)))
    start = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(packed.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_palette_is_its_colours(tmp_path):
    """Few colours, so that a palette holds them all."""
    few = COLOUR // 128 * 200
    shown = [Image.fromarray(x).quantize(8) for x in few]
    assert shown[0].mode == "P"
    data = load_dataset(saved(tmp_path, shown))
    assert np.array_equal(data.data, few)
    assert "3 picture(s) converted from a palette to RGB" in data.notes


def test_a_colour_that_stands_for_transparency_is_a_channel(tmp_path):
    for name, shown, clear, plain in (
        ("grey", [Image.fromarray(x) for x in GREY], 7, GREY[..., None]),
        ("colour", [Image.fromarray(x) for x in COLOUR // 64], (1, 2, 3), COLOUR // 64),
    ):
        data = load_dataset(saved(tmp_path / name, shown, transparency=clear)).data
        assert np.array_equal(data[..., :-1], plain)
        assert np.array_equal(data[..., -1] == 0, (plain == np.array(clear)).all(-1))


@bug("few bits spread over a byte", decode, "_few_bits", lambda picture: None)
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_few_levels(tmp_path, bits):
    values = RANDOM.integers(0, 1 << bits, (3, 6, 9)).astype(np.uint8)
    for i, x in enumerate(values):
        (tmp_path / f"{i}.png").write_bytes(few_bits_png(x, bits))
    data = load_dataset(tmp_path)
    assert (data.spec.levels, data.spec.low, data.spec.high) == (1 << bits, 0, (1 << bits) - 1)
    assert np.array_equal(data.data, values)
    assert np.array_equal(read_example(tmp_path / "1.png", data.spec), values[1])
    assert f"pictures of {bits} bit(s), read as {1 << bits} levels" in data.notes


def test_few_bits_among_others_are_as_light_as_they_look(tmp_path):
    """An optimiser of PNG stores a picture with few grey values with few bits."""
    values = RANDOM.integers(0, 2, (6, 8)).astype(np.uint8)
    (tmp_path / "0.png").write_bytes(few_bits_png(values, 1))
    Image.fromarray(GREY[0]).save(tmp_path / "1.png")
    data = load_dataset(tmp_path)
    assert np.array_equal(data.data, [values * 255, GREY[0]])


def test_inks_are_light(tmp_path):
    """No ink is white, and all of the black ink is black."""
    for i, black in enumerate((0, 255, 255)):
        Image.new("CMYK", (8, 8), (0, 0, 0, black)).save(tmp_path / f"{i}.tif")
    data = load_dataset(tmp_path)
    assert data.data.reshape(3, -1).T.tolist() == [[255, 0, 0]] * 192
    assert "3 picture(s) converted from CMYK to RGB, without a colour profile" in data.notes


def test_an_animation_is_examples_or_a_volume(tmp_path):
    frames = [Image.fromarray(x) for x in COLOUR]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a.png: got 3 pages .* need --data.pages examples"):
        load_dataset(tmp_path)
    assert np.array_equal(load_dataset(tmp_path, iw.DataConfig(pages="examples")).data, COLOUR)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert np.array_equal(load_dataset(tmp_path, iw.DataConfig(pages="volume")).data, [COLOUR, COLOUR])


def test_what_a_page_is_cannot_be_said_of_single_pages(tmp_path):
    with pytest.raises(DataError, match=r"data.pages: got volume, need pictures of several pages"):
        load_dataset(pictures(tmp_path), iw.DataConfig(pages="volume"))


@pytest.mark.parametrize("mode", ["LAB", "HSV"])
def test_other_modes_name_a_way_out(mode):
    with pytest.raises(DataError, match=f"mode {mode}, need one of mode .*; convert it to RGB first"):
        load_dataset([Image.new(mode, (4, 4))] * 2)


def test_pictures_in_memory_of_32_bits_and_real_numbers():
    for dtype in (np.int32, np.float32):
        values = (RANDOM.normal(size=(3, 4, 5)) * 100).astype(dtype)
        data = load_dataset([Image.fromarray(x) for x in values])
        assert np.array_equal(data.data, values)
        assert data.data.dtype == dtype


def test_damaged_pictures_are_left_out_counted_and_listed(tmp_path):
    place = pictures(tmp_path, ["L"] * 6)
    expected = load_dataset(place).data
    for i in (0, 4):
        content = bytearray((place / f"{i}.png").read_bytes())
        content[-20] ^= 255
        (place / f"{i}.png").write_bytes(content)
    with pytest.raises(DataError, match=r"0.png: got no readable picture .* --data.skip-damaged leaves it out"):
        load_dataset(place)
    data = load_dataset(place, iw.DataConfig(skip_damaged=True))
    assert np.array_equal(data.data, expected[[1, 2, 3, 5]])
    assert f"2 damaged picture(s) left out: {place / '0.png'}, {place / '4.png'}" in data.notes


def test_a_picture_of_another_size_is_not_damaged(tmp_path):
    place = pictures(tmp_path, sizes=[(8, 8), (8, 8), (8, 9)])
    with pytest.raises(DataError, match=r"2.png: got 8x9 pixels"):
        load_dataset(place, iw.DataConfig(skip_damaged=True))
    for path in place.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"0.png: got no readable picture"):
        load_dataset(place, iw.DataConfig(skip_damaged=True))


def test_a_turned_palette_is_upright(tmp_path):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    few = COLOUR[0] // 128 * 200
    Image.fromarray(few).quantize(8).save(buffer, "PNG", exif=exif)
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(buffer.getvalue())
    assert np.array_equal(load_dataset(tmp_path).data[0], np.rot90(few, -1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_turned_tiff_is_upright_and_said_to_be_turned(tmp_path, dtype):
    exif, upright = Image.Exif(), np.arange(24, dtype=dtype).reshape(4, 6)
    exif[0x0112] = 6
    for i in range(2):
        Image.fromarray(np.rot90(upright + i)).save(tmp_path / f"{i}.tif", exif=exif)
    data = load_dataset(tmp_path)
    assert np.array_equal(data.data[1], upright + 1)
    assert "2 picture(s) turned upright by their EXIF orientation" in data.notes
