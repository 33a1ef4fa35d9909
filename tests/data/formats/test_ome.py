"""OME-TIFF keeps the sizes of pixels, the axes and the names of channels, as tifffile reads them."""

import io

import numpy as np
import pytest
from bugs import bug

from inkwash.core.config import DataConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import ome

tifffile = pytest.importorskip("tifffile", reason="the extra tiff is not installed")
RANDOM = np.random.default_rng(8)
SIZES = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "nm"}
DEPTH = {"PhysicalSizeZ": 1.5, "PhysicalSizeZUnit": "µm"}
SIDES = dict(zip("TZCYX", (2, 3, 2, 4, 5), strict=True))


def saved(folder, axes, dtype="uint16", count=3, **options):
    """Files of random values, and these with their axes in the order TZCYX and without channels if there are none."""
    shape = [3 if letter == "S" else SIDES[letter] for letter in axes]
    every = RANDOM.integers(0, 200, (count, *shape)).astype(dtype)
    metadata = {"axes": axes, **SIZES, **(DEPTH if "Z" in axes else {})}
    if "C" in axes:
        metadata["Channel"] = {"Name": ["DAPI", "GFP"]}
    for i, values in enumerate(every):
        tifffile.imwrite(folder / f"{i}.ome.tif", values, ome=True, metadata=metadata, **options)
    return every


def about(source):
    with tifffile.TiffFile(source) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        sizes = {name: value for name, value in pixels.items() if name.startswith("PhysicalSize")}
        channels = pixels["Channel"] if isinstance(pixels["Channel"], list | tuple) else [pixels["Channel"]]
        return file.series[0].axes, sizes, [each.get("Name") for each in channels], file.asarray()


@bug("no sizes", ome, "_KEPT", (), axes="ZCYX")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("axes", ["YX", "CYX", "ZYX", "CZYX", "ZCYX", "YXS"])
def test_samples_have_the_axes_sizes_and_channels_of_the_data(tmp_path, axes, dtype):
    plain = "rgb" if "S" in axes else "minisblack"
    every = saved(tmp_path, axes, dtype, photometric=plain)
    data = load_dataset(tmp_path, DataConfig(pages="volume" if "Z" in axes else None))
    assert any(note.startswith("a pixel is X 0.25 µm, Y 0.5 nm") for note in data.notes)
    for i, (name, content) in enumerate(ome.write_ome("samples", data.spec, data.data)):
        assert name == f"samples/{i:06d}.ome.tif"
        letters, sizes, names, values = about(io.BytesIO(content))
        _, expected_sizes, expected_names, _ = about(tmp_path / f"{i}.ome.tif")
        assert letters == ("CZYX" if axes == "ZCYX" else axes)
        assert (sizes, names) == (expected_sizes, expected_names)
        assert values.dtype == dtype
        assert np.array_equal(values, every[i].swapaxes(0, 1) if axes == "ZCYX" else every[i])


def test_a_stack_over_time_is_examples(tmp_path):
    (every,) = saved(tmp_path, "TCYX", count=1, photometric="minisblack")
    data = load_dataset(tmp_path / "0.ome.tif", DataConfig(pages="examples"))
    contents = [content for _, content in ome.write_ome("samples", data.spec, data.data)]
    assert [about(io.BytesIO(each))[0] for each in contents] == ["CYX"] * 2
    assert np.array_equal([about(io.BytesIO(each))[3] for each in contents], every)


def test_files_that_say_otherwise_are_counted(tmp_path):
    saved(tmp_path, "YX", photometric="minisblack")
    tifffile.imwrite(tmp_path / "9.ome.tif", np.zeros((4, 5), np.uint16), ome=True, metadata={"PhysicalSizeX": 9})
    assert "1 of 4 files say otherwise than 0.ome.tif, which samples are like" in load_dataset(tmp_path).notes


def test_other_pictures_beside_them_are_pictures(tmp_path):
    saved(tmp_path, "YX", photometric="minisblack")
    tifffile.imwrite(tmp_path / "9.tif", np.zeros((4, 5), np.uint16))
    assert load_dataset(tmp_path).spec.origin is None


def test_damaged_files_are_left_out(tmp_path):
    every = saved(tmp_path, "YX", photometric="minisblack")
    (tmp_path / "0.ome.tif").write_bytes((tmp_path / "1.ome.tif").read_bytes()[:100])
    data = load_dataset(tmp_path, DataConfig(skip_damaged=True))
    assert np.array_equal(data.data, every[1:])
    assert data.spec.origin["about"]["PhysicalSizeX"] == 0.25
