"""Volumes come in with the values and the space that nibabel sees, and samples go out in both."""

import gzip

import numpy as np
import pytest
from bad import bad
from bugs import bug
from faults import run_cli, tiny, without_pictures

from inkwash.core.config import DataConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import nifti
from inkwash.data.formats.scaled import integer_type, scaled
from inkwash.training.fit import fit

nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
RANDOM = np.random.default_rng(4)
AFFINE = np.array([[-1.0, 0.125, 0, 10], [0.125, 1.5, 0, -20], [0, 0.25, 2.5, 30], [0, 0, 0, 1]])
SHAPE = (3, 4, 5)
TYPES = ("uint8", "int8", "int16", "uint16", "int32", "float32", "float64")


def volume(dtype, shape=SHAPE):
    drawn = RANDOM.integers(0, 100, shape) if np.dtype(dtype).kind in "iu" else RANDOM.normal(size=shape)
    return drawn.astype(dtype)


def saved(folder, volumes, ending=".nii", slope=None, affine=AFFINE):
    for i, values in enumerate(volumes):
        image = nibabel.Nifti1Image(values, affine, dtype=values.dtype)
        image.header.set_xyzt_units("mm", "sec")
        if slope:
            image.header.set_slope_inter(*slope)
        nibabel.save(image, folder / f"{i:03d}{ending}")
    return folder


def again(content):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def upside_down(values, space):
    return DUMPED(values[::-1], space)


DUMPED = nifti._dumped


@bug("upside down", nifti, "_dumped", upside_down, dtype="int16")
@bug("no affine", nifti.Space, "kept", {"affine": np.eye(4), "codes": (0, 0), "units": ("mm", "sec")}, dtype="int16")
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_folder_of_volumes_comes_back_through_nibabel(tmp_path, dtype, ending):
    volumes = [volume(dtype) for _ in range(3)]
    data = load_dataset(saved(tmp_path, volumes, ending))
    assert (data.spec.layout, data.data.dtype) == ("NDHW", dtype)
    for (name, content), values in zip(nifti.write_nifti("samples", data.spec, data.data), volumes, strict=True):
        assert name.endswith(".nii.gz")
        image = again(content)
        assert image.get_data_dtype() == dtype
        assert np.array_equal(np.asanyarray(image.dataobj), values)
        np.testing.assert_array_equal(image.affine, AFFINE)
        assert image.header.get_xyzt_units() == ("mm", "sec")
    k, j, i = np.argwhere(data.data[0] == data.data[0].max())[0]  # the order of axes that the note states
    assert volumes[0][i, j, k] == volumes[0].max()
    assert any(
        "k, j, i are depth, height and width; voxels of" in note and "grow to LAS" in note for note in data.notes
    )


@pytest.mark.parametrize("codes", [(0, 0), (0, 1), (2, 0), (1, 4)])
def test_the_space_is_that_of_the_file_by_whichever_affine_it_has(tmp_path, codes):
    for n in range(2):
        image = nibabel.Nifti1Image(volume("int16"), None)
        image.header.set_zooms((1, 1.5, 2.5))
        turned = np.diag([1, 1.5, 2.5, 1]) if codes == (0, 1) else AFFINE
        for place, set_one in zip(codes, (image.set_sform, image.set_qform), strict=True):
            if place:
                set_one(turned, place, strip_shears=True) if set_one == image.set_qform else set_one(turned, place)
        nibabel.save(image, tmp_path / f"{n}.nii")
    source = nibabel.load(tmp_path / "0.nii")
    data = load_dataset(tmp_path)
    found = again(next(nifti.write_nifti("s", data.spec, data.data))[1])
    np.testing.assert_allclose(found.affine, source.affine, atol=1e-5)
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == codes


@bug("stored numbers", nifti, "_values", lambda proxy: proxy.get_unscaled(), slope=(0.5, 3))
@pytest.mark.parametrize(("slope", "dtype"), [((0.5, 3), "float32"), ((1, -1024), "int32"), ((2, 0), "int32")])
def test_values_are_those_after_slope_and_intercept(tmp_path, slope, dtype):
    data = load_dataset(saved(tmp_path, [volume("int16") for _ in range(2)], slope=slope))
    meant = [nibabel.load(path).get_fdata().T for path in sorted(tmp_path.iterdir())]
    assert data.data.dtype == dtype
    assert np.array_equal(data.data, meant)
    image = again(next(nifti.write_nifti("s", data.spec, data.data))[1])
    assert np.array_equal(image.get_fdata().T, meant[0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -32768), (-3, 7), (0.1, 0), (1e-3, 5.5), (1 << 20, 1)])
def test_scaled_numbers_fit_their_type(dtype, slope, intercept):
    ends = np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    exact = ends.astype(np.longdouble) * slope + intercept
    found = scaled(ends, slope, intercept)
    assert found.dtype.kind == ("f" if slope % 1 or intercept % 1 else integer_type(exact.min(), exact.max()).kind)
    np.testing.assert_allclose(found, exact.astype(np.float64), rtol=1e-7 if found.dtype == np.float32 else 1e-15)


def test_a_series_stays_on_disk_and_its_volumes_or_slices_are_examples(tmp_path):
    series = volume("float32", (*SHAPE, 6))
    saved(tmp_path, [series])
    data = load_dataset(tmp_path / "000.nii")
    assert isinstance(data.data, np.memmap)
    assert np.array_equal(data.data, series.T)
    slices = load_dataset(tmp_path / "000.nii", DataConfig(pages="examples"))
    assert isinstance(slices.data, np.memmap)
    assert slices.spec.layout == "NHW"
    assert np.array_equal(slices.data, series.T.reshape(-1, 4, 3))
    assert np.array_equal(again(next(nifti.write_nifti("s", slices.spec, slices.data))[1]).dataobj, series[:, :, :1, 0])
    saved(tmp_path, [series, series[..., :2]])
    assert np.array_equal(load_dataset(tmp_path).data, np.concatenate([series.T, series.T[:2]]))


def test_files_of_another_byte_order_or_another_place_go_together(tmp_path):
    values = [volume("int16") for _ in range(2)]
    saved(tmp_path, values)
    swapped = nibabel.load(tmp_path / "001.nii")
    image = nibabel.Nifti1Image(values[1], AFFINE + np.diag([0, 0, 0, 1.0])[::-1], swapped.header.as_byteswapped(">"))
    (tmp_path / "001.nii").write_bytes(image.to_bytes())
    data = load_dataset(tmp_path)
    assert np.array_equal(data.data, [each.T for each in values])
    assert "1 of 2 files have another affine than 000.nii, whose samples have" in data.notes


def test_a_run_samples_volumes(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    (tmp_path / "in").mkdir()
    fit(tiny(saved(tmp_path / "in", [volume("uint8", (4, 4, 4)) for _ in range(8)]), steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 2, "--out", tmp_path / "out"]) == 0
    for i in range(2):
        image = nibabel.load(tmp_path / "out" / "samples" / f"{i:06d}.nii.gz")
        assert (image.get_data_dtype(), image.shape) == (np.uint8, (4, 4, 4))
        np.testing.assert_array_equal(image.affine, AFFINE)


@bad("001.nii: got no readable NIfTI file (402 bytes of 412)", command=True)
def test_a_file_that_ends_early(folder):
    saved(folder, [volume("uint8")] * 2)
    (folder / "001.nii").write_bytes((folder / "001.nii").read_bytes()[:-10])
    return str(folder)


@bad("000.nii.gz: got no readable NIfTI file")
def test_a_packed_file_that_ends_early(folder):
    saved(folder, [volume("float64", (9, 9, 9))] * 2, ".nii.gz")
    (folder / "000.nii.gz").write_bytes((folder / "000.nii.gz").read_bytes()[:3000])
    return str(folder)


@bad("000.nii.gz: got 4096.0 GiB to hold in memory")
def test_a_header_that_claims_too_much(folder):
    image = nibabel.Nifti1Image(volume("uint8"), AFFINE)
    content = bytearray(image.to_bytes())
    content[42:48] = np.array([1 << 14] * 3, np.int16).tobytes()
    (folder / "000.nii.gz").write_bytes(gzip.compress(content))
    return str(folder)


@bad("001.nii: got int16 of shape (4, 4, 3), need int16 of shape (5, 4, 3) like 000.nii")
def test_volumes_of_two_shapes(folder):
    return str(saved(folder, [volume("int16"), volume("int16", (3, 4, 4))]))


@bad("b.nii: got axes that grow to RAS, need LAS, as in the first file")
def test_volumes_of_two_orientations(folder):
    for name, sign in (("a", -1), ("b", 1)):
        nibabel.save(nibabel.Nifti1Image(volume("int16"), np.diag([sign, 1, 1, 1])), folder / f"{name}.nii")
    return str(folder)


@bad("000.nii: got one volume, need a folder of volumes, a series of them, or --data.pages examples")
def test_one_volume(folder):
    return str(saved(folder, [volume("int16")]) / "000.nii")


@bad("got voxels of type [('R', 'u1'), ('G', 'u1'), ('B', 'u1')], need whole or real numbers")
def test_colours(folder):
    return str(saved(folder, [np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])] * 2))


@bad("[1]: got nan, need finite numbers")
def test_a_volume_with_nan(folder):
    return str(saved(folder, [np.ones(SHAPE), np.full(SHAPE, np.nan)]))


def test_whole_numbers_of_many_levels_keep_their_type(tmp_path):
    volumes = [RANDOM.integers(0, 1 << 20, SHAPE).astype("int32") for _ in range(3)]
    data = load_dataset(saved(tmp_path, volumes))
    assert data.spec.dtype == "float64"
    for (_, content), values in zip(nifti.write_nifti("s", data.spec, data.data + 0.25), volumes, strict=True):
        assert again(content).get_data_dtype() == "int32"
        assert np.array_equal(np.asanyarray(again(content).dataobj), values)
