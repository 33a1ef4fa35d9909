"""DICOM series come in sorted, in the units of the scanner; what they say of a patient does not come in at all."""

import gzip

import numpy as np
import pytest
from bad import bad
from bugs import bug
from faults import run_cli, tiny, without_pictures

from inkwash.core.config import DataConfig
from inkwash.core.errors import MissingPackageError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import dicom
from inkwash.data.formats.nifti import write_nifti
from inkwash.training.fit import fit

pydicom = pytest.importorskip("pydicom", reason="the extra medical is not installed")
nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
RANDOM = np.random.default_rng(6)
OBLIQUE = [0.8, 0.6, 0.0, -0.48, 0.64, 0.6]
SECRET = "LastWord^FirstWord"
SHAPE = (5, 3, 4)


def slice_file(path, pixels, place=0.0, **fields):
    """A slice of a CT, `place` millimetres along the normal of `OBLIQUE`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.StudyDate, data.SeriesInstanceUID = SECRET, SECRET, "20261129", "1.2.3"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.astype(f"<{pixels.dtype.kind}2").tobytes()
    data.ImageOrientationPatient = OBLIQUE
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    data.ImagePositionPatient = [float(f"{each:.9g}") for each in np.array([-10, -20, 30]) + place * normal]
    data.PixelSpacing, data.SliceThickness = [0.5, 0.7], 9
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    for name, value in fields.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


def volumes(count=2):
    return RANDOM.integers(0, 4096, (count, *SHAPE)).astype(np.uint16)


def series(folder, every, ending=".dcm", **fields):
    """A folder for each volume; the names and numbers of its slices say nothing about their order."""
    for n, volume in enumerate(every):
        (folder / f"{n}").mkdir(parents=True)
        for name, k in enumerate(RANDOM.permutation(len(volume))):
            number = int(RANDOM.integers(99))
            options = {"SeriesInstanceUID": f"1.2.{n}", "InstanceNumber": number, **fields}
            slice_file(folder / f"{n}" / f"{name}{ending}", volume[k], 2.5 * k, **options)
    return folder


def in_given_order(slices):
    return list(slices)


def stored_numbers(part, dtype):
    return pydicom.dcmread(part.path).pixel_array.astype(dtype)


@bug("slices in the order of their names", dicom, "_sorted", in_given_order, ending=".dcm")
@bug("stored numbers", dicom, "_values", stored_numbers, ending=".dcm")
@pytest.mark.parametrize("ending", [".dcm", ""])
def test_series_are_volumes_in_hounsfield_units(tmp_path, ending):
    every = volumes()
    data = load_dataset(series(tmp_path, every, ending))
    assert (data.spec.layout, data.data.dtype) == ("NDHW", np.int16)
    assert np.array_equal(data.data, every.astype(int) - 1024)
    assert "2 series of 5 slices" in data.notes


@bug("the axes of DICOM", dicom, "_space", lambda slices: dicom.Space(np.eye(4)))
def test_voxels_lie_where_the_standard_says(tmp_path):
    """PS3.3, equation C.7.6.2.1-1, for every pixel of every slice by itself."""
    every = volumes()
    data = load_dataset(series(tmp_path, every))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(next(write_nifti("s", data.spec, data.data))[1]))
    assert image.get_data_dtype() == np.int16
    for path in (tmp_path / "0").iterdir():
        part = pydicom.dcmread(path)
        k = next(k for k in range(5) if np.array_equal(every[0, k], part.pixel_array))
        right, down = np.reshape(np.array(part.ImageOrientationPatient, float), (2, 3))
        for row, column in np.ndindex(3, 4):
            place = np.array(part.ImagePositionPatient, float) + right * 0.7 * column + down * 0.5 * row
            expected = place * [-1, -1, 1]  # DICOM counts to the left and the back, NIfTI to the right and the front
            np.testing.assert_allclose((image.affine @ [column, row, k, 1])[:3], expected, atol=1e-4)
            assert image.dataobj[column, row, k] == part.pixel_array[row, column] - 1024.0


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, "uint16"),
        ({"RescaleSlope": 0.5}, "float32"),
        ({"RescaleIntercept": 0, "BitsStored": 8, "HighBit": 7}, "uint8"),
        ({"RescaleIntercept": -70000}, "int32"),
    ],
)
def test_values_have_the_smallest_type_that_holds_all(tmp_path, fields, dtype):
    every = volumes() if dtype != "uint8" else volumes() % 256
    data = load_dataset(series(tmp_path, every, **fields))
    slope = 1 if fields.get("RescaleSlope", 1) is None else fields.get("RescaleSlope", 1)
    intercept = fields.get("RescaleIntercept", -1024) or 0
    assert data.data.dtype == dtype
    assert np.array_equal(data.data, slope * every.astype(np.float64) + intercept)


def test_each_slice_has_its_own_slope(tmp_path):
    """As in PET."""
    pixels = volumes(1)[0]
    for n in range(2):
        for k in range(5):
            options = {"SeriesInstanceUID": f"1.{n}", "RescaleSlope": 0.25 * (k + 1), "RescaleIntercept": 0}
            slice_file(tmp_path / f"{n}{k}.dcm", pixels[k], k, **options)
    factors = 0.25 * np.arange(1, 6)[:, None, None]
    assert np.array_equal(load_dataset(tmp_path).data, [pixels * factors] * 2)


def test_slices_are_examples_if_asked_and_single_pictures_are_anyway(tmp_path):
    every = volumes()
    slices = load_dataset(series(tmp_path / "series", every), DataConfig(pages="examples", labels="folder"))
    assert slices.spec.layout == "NHW"
    assert sorted(map(bytes, slices.data)) == sorted(
        bytes(each) for each in (every.astype("i2") - 1024).reshape(-1, 3, 4)
    )
    assert [slices.condition.classes[i - 1] for i in slices.labels] == ["0"] * 5 + ["1"] * 5
    (tmp_path / "rays").mkdir()
    for n in range(3):
        hidden = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
        fields = {"SeriesInstanceUID": f"1.{n}", "PhotometricInterpretation": "MONOCHROME1", **hidden}
        slice_file(tmp_path / "rays" / f"{n}.dcm", every[0, n], **fields)
    rays = load_dataset(tmp_path / "rays")
    assert np.array_equal(rays.data, every[0, :3].astype(int) - 1024)
    assert "MONOCHROME1: small values are white; they are as they were" in rays.notes


def test_packed_pixels_are_the_same(tmp_path):
    from pydicom.uid import RLELossless

    every = volumes()
    for path in series(tmp_path, every).rglob("*.dcm"):
        part = pydicom.dcmread(path)
        part.compress(RLELossless)
        part.save_as(path)
    assert np.array_equal(load_dataset(tmp_path).data, every.astype(int) - 1024)


def test_nothing_about_a_patient_reaches_a_run_or_its_samples(tmp_path, monkeypatch, capsys):
    without_pictures(monkeypatch)
    fit(tiny(series(tmp_path / "in", volumes(8)), steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 2, "--out", tmp_path / "out"]) == 0
    image = nibabel.load(tmp_path / "out" / "samples" / "000001.nii.gz")
    assert (image.shape, image.get_data_dtype()) == ((4, 3, 5), np.int16)
    written = [path for folder in ("run", "out") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    content = [path.read_bytes() for path in written]
    content += [gzip.decompress(each) for each in content if each.startswith(b"\x1f\x8b")]
    assert len(content) > 5
    shown = capsys.readouterr().out
    for secret in (SECRET, "20261129", "1.2.3", "1.2.0"):
        assert not any(secret.encode() in each for each in content), secret
        assert secret not in shown


@bad("got no readable DICOM file (The number of bytes of pixel data is less than expected", command=True)
def test_a_file_that_ends_early(folder):
    path = next(series(folder, volumes()).rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[:-10])
    return str(folder)


@bad("a.dcm: got no readable DICOM file (File is missing DICOM File Meta Information header")
def test_another_file_of_that_name(folder):
    (folder / "a.dcm").write_bytes(b"no DICOM" * 100)
    return str(folder)


@bad("got 5 mm to the next slice, where others have 2.5 mm, need even steps")
def test_a_series_with_a_gap(folder):
    for path in (series(folder, volumes()) / "1").iterdir():
        if np.isclose(np.linalg.norm(np.array(pydicom.dcmread(path).ImagePositionPatient) - [-10, -20, 30]), 5):
            path.unlink()
    return str(folder)


@bad("got 0 mm to the next slice, where others have 2.5 mm, need even steps")
def test_two_slices_at_one_place(folder):
    slice_file(series(folder, volumes()) / "again.dcm", volumes()[0, 0], 5, SeriesInstanceUID="1.2.0")
    return str(folder)


@bad("got int16 of shape (4, 3, 4), need int16 of shape (5, 3, 4) like")
def test_series_of_two_lengths(folder):
    every = volumes()
    return str(series(folder, [every[0], every[1, :4]]))


@bad("b.dcm: got (4, 3) pixels, need (3, 4), like a.dcm")
def test_slices_of_two_sizes(folder):
    for name, shape in (("a", (3, 4)), ("b", (4, 3))):
        slice_file(folder / f"{name}.dcm", np.zeros(shape, np.uint16), 2.5 * (name == "b"))
    return str(folder)


@bad("got one series of 5 slices, need a folder of several; with --data.pages examples, each slice is an example")
def test_one_series(folder):
    return str(series(folder, volumes(1)))


@bad("a series of one slice, need series of several slices")
def test_a_single_picture_among_series(folder):
    slice_file(series(folder, volumes()) / "alone.dcm", volumes()[0, 0], SeriesInstanceUID="7")
    return str(folder)


@bad("got no position (ImagePositionPatient), need one for each slice")
def test_slices_without_a_place(folder):
    return str(series(folder, volumes(), ImagePositionPatient=None))


@bad("got pixels of the kind RGB, need MONOCHROME1 or MONOCHROME2")
def test_colours(folder):
    return str(series(folder, volumes(), PhotometricInterpretation="RGB"))


@bad("got 3 frames in one file, need a file for each slice")
def test_several_frames_in_a_file(folder):
    return str(series(folder, volumes(), NumberOfFrames=3))


def test_pixels_that_no_decoder_reads(tmp_path):
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLSLossless

    if get_decoder(JPEGLSLossless).is_available:
        pytest.skip("a decoder is installed")
    for path in series(tmp_path, volumes()).rglob("*.dcm"):
        part = pydicom.dcmread(path)
        part.PixelData = encapsulate([b"\xff\xd8\xff\xf7"])
        part["PixelData"].VR = "OB"
        part.file_meta.TransferSyntaxUID = JPEGLSLossless
        part.save_as(path)
    words = "JPEG-LS Lossless Image Compression, without a decoder, need pip install pylibjpeg"
    with pytest.raises(MissingPackageError, match=words):
        load_dataset(tmp_path)


@bad("got DICOM files without pixels, need pictures")
def test_files_without_pixels(folder):
    fields = dict.fromkeys(("Rows", "Columns", "PixelData"))
    return str(series(folder, volumes(), **fields))
