"""TIFF of every kind comes in with the numbers that tifffile wrote; Pillow misreads or refuses most of these."""

import numpy as np
import pytest
import tifffile
from bugs import bug
from datafiles import noise
from PIL import Image

import inkwash as iw
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.data import tiff
from inkwash.data.dataset import load_dataset
from inkwash.data.examples import read_example
from inkwash.data.transform import fit_transform

RANDOM = np.random.default_rng(7)


def integers(shape, dtype, low=None, high=None):
    limits = np.iinfo(dtype)
    return RANDOM.integers(limits.min if low is None else low, (limits.max if high is None else high) + 1, shape, dtype)


def written(folder, arrays, **options):
    for i, array in enumerate(arrays):
        tifffile.imwrite(folder / f"{i:02d}.tif", array, **options)
    return folder


DEEP = integers((4, 4, 5), np.uint16)
PLANES = integers((4, 3, 4, 5), np.uint16)
SEPARATE = {"photometric": "rgb", "planarconfig": "separate"}
KINDS = {
    "planar colour of 16 bits": (
        PLANES,
        {"photometric": "rgb", "planarconfig": "separate"},
        np.moveaxis(PLANES, 1, -1),
    ),
    "planar colour of 8 bits": (PLANES.astype("u1"), SEPARATE, np.moveaxis(PLANES.astype("u1"), 1, -1)),
    "colour of 16 bits": (np.moveaxis(PLANES, 1, -1), {"photometric": "rgb"}, np.moveaxis(PLANES, 1, -1)),
    "signed 8 bits": (integers((4, 4, 5), np.int8, -3, 90), {}, None),
    "signed 16 bits": (integers((4, 4, 5), np.int16, -300, 900), {}, None),
    "32 bits": (integers((4, 4, 5), np.uint32, 4_000_000_000, 4_000_000_900), {}, None),
    "0 is white, 8 bits": (DEEP.astype(np.uint8), {"photometric": "miniswhite"}, 255 - DEEP.astype(np.uint8)),
    "0 is white, 16 bits": (DEEP, {"photometric": "miniswhite"}, 65535 - DEEP),
    "real numbers": (noise(4, 4, 5), {}, None),
    "real numbers of 16 bits": (noise(4, 4, 5).astype(np.float16), {}, None),
    "real numbers of 64 bits": (noise(4, 4, 5).astype(np.float64), {"compression": "zlib"}, None),
    "real colours": (noise(4, 4, 5, 3), {"photometric": "rgb"}, None),
    "BigTIFF": (DEEP, {"bigtiff": True}, None),
    "BigTIFF of real numbers": (noise(4, 4, 5), {"bigtiff": True, "byteorder": ">"}, None),
    "five channels": (integers((4, 4, 5, 5), np.uint8), {"photometric": "minisblack", "planarconfig": "contig"}, None),
    "a fourth channel that is no alpha": (
        integers((4, 4, 5, 4), np.uint8),
        {"photometric": "rgb", "extrasamples": ["unspecified"]},
        None,
    ),
}


@bug("0 is black", tiff, "_meant", lambda values, page: (values, None), kind="0 is white, 16 bits")
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_that_were_written(tmp_path, kind):
    arrays, options, expected = KINDS[kind]
    expected = arrays if expected is None else expected
    data = load_dataset(written(tmp_path, arrays, **options))
    assert data.data.dtype == expected.dtype
    assert np.array_equal(data.data, expected)
    assert fit_transform(data.spec, data.data).spec.levels == (None if expected.dtype.kind == "f" else data.spec.levels)


def test_what_white_is_does_not_depend_on_the_depth(tmp_path):
    """The same scene with 1, 8 and 16 bits, each with both polarities, is dark and light in the same places."""
    light = RANDOM.random((8, 16)) < 0.4
    for name, dtype, top in (("a", np.uint8, 255), ("b", np.uint16, 65535)):
        scene = light.astype(dtype) * dtype(top)
        tifffile.imwrite(tmp_path / f"{name}0.tif", scene, photometric="minisblack")
        tifffile.imwrite(tmp_path / f"{name}1.tif", dtype(top) - scene, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "c0.tif", light, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c1.tif", ~light, photometric="miniswhite")
    for name in "abc":
        data = load_dataset([tmp_path / f"{name}{i}.tif" for i in range(2)])
        assert np.array_equal(data.data > 0, [light, light])
        assert "1 picture(s) inverted, because their file says that 0 is white" in data.notes


STACK = integers((6, 4, 5), np.uint8)


def test_pages_are_asked_for_and_are_examples_or_a_volume(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    with pytest.raises(DataError, match=r"stack.tif: got 6 pages .*--data.pages examples, .* or volume"):
        load_dataset(path)
    examples = load_dataset(path, iw.DataConfig(pages="examples"))
    assert np.array_equal(examples.data, STACK)
    assert examples.spec.layout == "NHW"
    tifffile.imwrite(tmp_path / "other.tif", STACK[::-1], photometric="minisblack")
    volumes = load_dataset(tmp_path, iw.DataConfig(pages="volume"))
    assert volumes.spec.layout == "NDHW"
    assert np.array_equal(volumes.data, [STACK[::-1], STACK])


@bug("the first axis is the depth", tiff, "_depth", lambda where, letters, other: other[:1], axes="TZCYX")
@pytest.mark.parametrize("axes", ["TZCYX", "ZCYX", "CZYX", "CYX", "ZYX"])
@pytest.mark.parametrize("form", ["ome", "imagej"])
def test_axes_are_those_of_the_file(tmp_path, axes, form):
    if form == "imagej" and axes == "CZYX":
        pytest.skip("ImageJ stores its axes in one order")
    sizes = dict(zip("TZCYX", (2, 3, 2, 4, 5), strict=True))
    array = integers([sizes[letter] for letter in axes], np.uint16)
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", array, metadata={"axes": axes}, **{form: True})
    every = np.expand_dims(array, [i for i, letter in enumerate("TZCYX") if letter not in axes])
    if axes == "CZYX":
        every = np.expand_dims(array.swapaxes(0, 1), 0)
    channels = np.moveaxis(every, 2, -1)  # T Z Y X C
    channels = channels if "C" in axes else channels[..., 0]
    examples, volumes = channels.reshape(-1, *channels.shape[2:]), channels
    pages = "Z" in axes or "T" in axes
    data = load_dataset(tmp_path, iw.DataConfig(pages="examples" if pages else None))
    assert np.array_equal(data.data, np.concatenate([examples, examples]))
    if pages:
        data = load_dataset(tmp_path, iw.DataConfig(pages="volume"))
        assert np.array_equal(data.data, np.concatenate([volumes, volumes]))


def test_labels_are_those_of_the_file_of_each_page(tmp_path):
    for name, count in (("cat", 2), ("dog", 3)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", STACK[:count], photometric="minisblack")
    data = load_dataset(tmp_path, iw.DataConfig(pages="examples", labels="folder"))
    assert data.labels.tolist() == [1, 1, 2, 2, 2]
    assert np.array_equal(data.data, np.concatenate([STACK[:2], STACK[:3]]))


def test_a_small_copy_of_a_picture_is_no_page(tmp_path):
    for i in range(2):
        with tifffile.TiffWriter(tmp_path / f"{i}.tif") as file:
            file.write(DEEP[i], photometric="minisblack")
            file.write(DEEP[i, ::2, ::2], photometric="minisblack", subfiletype=1)
    assert np.array_equal(load_dataset(tmp_path).data, DEEP[:2])


def test_a_palette_of_several_pages_is_its_colours(tmp_path):
    colours = integers((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="palette", colormap=colours)
    data = load_dataset(tmp_path / "a.tif", iw.DataConfig(pages="examples"))
    assert np.array_equal(data.data, np.moveaxis(colours[:, STACK] >> 8, 0, -1))


def test_real_pictures_are_read_as_examples_by_their_numbers(tmp_path):
    x = noise(4, 4, 5)
    data = load_dataset(written(tmp_path, x))
    assert np.array_equal(read_example(tmp_path / "02.tif", data.spec), x[2])


def test_whole_numbers_of_32_bits_are_real_numbers_where_no_model_can_name_their_levels(tmp_path):
    """In pictures, arrays and examples alike; fewer levels stay levels."""
    x = RANDOM.integers(0, 1 << 32, (6, 4, 5), dtype=np.uint32)
    data = load_dataset(written(tmp_path, x))
    assert np.array_equal(data.data, x)
    assert (data.data.dtype, data.spec.levels) == (np.float64, None)
    assert any("more than 65536 levels, read as real numbers" in note for note in data.notes)
    assert np.array_equal(read_example(tmp_path / "02.tif", data.spec), x[2])
    for array in (x.astype(np.int64) - (1 << 31), x // (1 << 31) * 65536):
        found = load_dataset(array)
        assert np.array_equal(found.data, array)
        assert found.data.dtype == np.float64
    assert load_dataset(x // (1 << 31) * 65535).spec.levels == 65536
    with pytest.raises(DataError, match="need whole numbers up to 2"):
        load_dataset(x.astype(np.uint64) << np.uint64(30))


TURNED = [(274, 3, 1, 6, True)]
BAD = {
    "sizes": (lambda file: [file.write(DEEP[0]), file.write(DEEP[0, 1:])], "pages of several kinds"),
    "turned": (lambda file: file.write(noise(1, 4, 5), extratags=TURNED), "to be turned upright"),
    "colours": (lambda file: file.write(PLANES[0], **SEPARATE | {"photometric": "cielab"}), "colour space CIELAB"),
    "axes": (lambda file: file.write(PLANES[:2].astype("u1"), photometric="minisblack"), "need one axis of pages"),
}


@pytest.mark.parametrize(("write", "words"), BAD.values(), ids=BAD)
def test_what_is_not_read_is_named(tmp_path, write, words):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        write(file)
    with pytest.raises(DataError, match=words):
        load_dataset(tmp_path, iw.DataConfig(pages="volume"))


@pytest.mark.parametrize("cut", [30, 400, -10])
@pytest.mark.parametrize("pages", [1, 6])
def test_a_cut_file_is_damaged_and_never_shorter(tmp_path, cut, pages):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in noise(pages, 16, 16):
            file.write(page, compression="zlib", contiguous=False, metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:cut])
    with pytest.raises(DataError, match="got no readable picture"):
        load_dataset(tmp_path, iw.DataConfig(pages="examples"))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingPackageError, match=r"got no package tifffile, need pip install 'inkwash\[tiff\]'"):
        load_dataset(written(tmp_path, noise(2, 4, 5)))


def test_a_missing_codec_is_named(tmp_path, monkeypatch):
    for i in range(2):
        Image.fromarray(noise(9, 9)).save(tmp_path / f"{i}.tif", compression="tiff_lzw")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *args, **options: lacking())
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *args, **options: lacking())
    with pytest.raises(MissingPackageError, match=r"compression LZW and no package imagecodecs, need pip install"):
        load_dataset(tmp_path)


def lacking():
    raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")
