"""FITS comes in with the values that astropy and the standard give its numbers, and samples go out with its cards."""

import io

import numpy as np
import pytest
from bad import bad
from bugs import bug

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import fits as formats

fits = pytest.importorskip("astropy.io.fits", reason="the extra astro is not installed")
RANDOM = np.random.default_rng(2)
TYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def array(dtype, *shape):
    drawn = RANDOM.integers(0, 100, shape) if np.dtype(dtype).kind in "iu" else RANDOM.normal(size=shape)
    return drawn.astype(dtype)


def saved(folder, arrays, ending=".fits", **cards):
    for i, values in enumerate(arrays):
        unit = fits.PrimaryHDU(values)
        unit.header["BUNIT"] = ("adu", "unit of values")
        unit.header["CRVAL1"] = 12.5
        unit.header["HIERARCH ESO DET NAME"] = "a" * 90
        unit.header["EXPTIME"] = 30 + i
        unit.header.update(cards)
        unit.writeto(folder / f"{i:03d}{ending}")
    return folder


@bug("signed numbers", formats, "_values", lambda part, blanks: fits.getdata(part.path, uint=False), dtype="uint16")
@bug("no cards", formats.Part, "cards", (), dtype="uint16")
@pytest.mark.parametrize("dtype", TYPES)
def test_a_folder_of_pictures_comes_back_through_astropy(tmp_path, dtype):
    pictures = array(dtype, 3, 4, 5)
    data = load_dataset(saved(tmp_path, pictures))
    assert (data.spec.layout, data.data.dtype) == ("NHW", dtype)
    assert np.array_equal(data.data, pictures)
    for (name, content), values in zip(formats.write_fits("samples", data.spec, data.data), pictures, strict=True):
        assert name.endswith(".fits")
        with fits.open(io.BytesIO(content)) as file:
            file.verify("exception")
            assert file[0].data.dtype.newbyteorder("=") == dtype
            assert np.array_equal(file[0].data, values)
            header = file[0].header
            assert header.get("BUNIT") == "adu"
            assert (header.comments["BUNIT"], header["CRVAL1"]) == ("unit of values", 12.5)
            assert header["ESO DET NAME"] == "a" * 90
            assert "EXPTIME" not in header  # the files differ there


def with_blank(folder, spectra, blank, **cards):
    """Spectra of stored numbers, one of which is the mark of a missing one."""
    for i, values in enumerate(spectra):
        unit = fits.PrimaryHDU(values)
        unit.header["BLANK"] = blank
        unit.header.update(cards)
        unit.writeto(folder / f"{i:03d}.fits")
    return folder


@bug("the mark is a number", formats, "_has_blanks", lambda part: False, dtype="int16")
@bug("the mark is a number", formats, "_has_blanks", lambda part: False, dtype="uint16")
@pytest.mark.parametrize(("dtype", "blank", "real"), [("int16", -99, "float32"), ("uint16", -32000, "float32")])
def test_a_blank_is_missing(tmp_path, dtype, blank, real):
    spectra = array(dtype, 6, 8)
    gone = blank if dtype == "int16" else blank + 32768  # an unsigned number is stored less 2^15
    spectra[2, 3], spectra[4, :2] = gone, gone
    data = load_dataset(with_blank(tmp_path, spectra, blank))
    assert data.data.dtype == real
    assert np.array_equal(np.isnan(data.data), spectra == gone)
    assert np.array_equal(data.data[spectra != gone], spectra[spectra != gone])
    assert data.spec.may_miss.all()
    whole = (tmp_path / "whole").mkdir() or with_blank(tmp_path / "whole", array(dtype, 3, 8), blank)
    assert load_dataset(whole).data.dtype == dtype


def test_values_are_those_after_scale_and_zero(tmp_path):
    numbers = array("int16", 3, 6)
    saved(tmp_path, numbers)
    for path in tmp_path.iterdir():
        scaled = path.read_bytes().replace(b"EXTEND  =                    T".ljust(80), b"BSCALE  = 0.25".ljust(80), 1)
        path.write_bytes(scaled)
    assert np.array_equal(load_dataset(tmp_path).data, numbers * np.float32(0.25))


def test_nan_is_missing_in_spectra(tmp_path):
    spectra = array("float64", 5, 7)
    spectra[1, 2:4] = np.nan
    data = load_dataset(saved(tmp_path, spectra))
    np.testing.assert_array_equal(data.data, spectra)
    assert data.spec.may_miss.all()


CUBE = array("float32", 6, 4, 5)


@pytest.fixture
def parts(tmp_path):
    """A file with nothing in its first HDU, an array in the second, another in the third, and a table."""
    columns = [
        fits.Column("flux", "D", array=RANDOM.normal(size=30)),
        fits.Column("kind", "6A", array=["star", "galaxy", "star"] * 10),
        fits.Column("counts", "2J", array=RANDOM.integers(0, 9, (30, 2))),
        fits.Column("seen", "L", array=[True, False, True] * 10),
        fits.Column("n", "J", array=[20, -9, 44] * 10, null=-9),
    ]
    science = fits.CompImageHDU((100 * CUBE).astype(np.int16), compression_type="RICE_1", name="SCI")
    table = fits.BinTableHDU.from_columns(columns, name="STARS")
    fits.HDUList([fits.PrimaryHDU(), science, fits.ImageHDU(CUBE, name="ERR"), table]).writeto(tmp_path / "m.fits")
    return f"{tmp_path}/m.fits"


@pytest.mark.parametrize("ending", ["", ":1", ":2", ":ERR", ":SCI"])
def test_an_hdu_is_named_by_number_or_name(parts, ending):
    data = load_dataset(parts + ending, DataConfig(pages="examples"))
    is_error = ending in (":2", ":ERR")
    assert np.array_equal(data.data, CUBE if is_error else (100 * CUBE).astype(np.int16))
    others = "HDU 2 of m.fits; not used: 1 SCI, 3 STARS" if is_error else "HDU 1 of m.fits; not used: 2 ERR, 3 STARS"
    assert others in data.notes


def test_a_table_is_one(parts):
    with pytest.raises(DataError, match=r"column 'counts': got arrays of shape \(2,\), .* --data\.drop counts leaves"):
        load_dataset(f"{parts}:STARS")
    data = load_dataset(f"{parts}:STARS", DataConfig(drop=("counts",)))
    assert list(data.spec.columns) == ["flux", "kind", "seen", "n"]
    assert data.spec.columns["kind"].categories == ("galaxy", "star")
    assert data.spec.columns["seen"].categories == ("False", "True")
    assert np.isnan(data.data[:, 3]).tolist() == [False, True, False] * 10
    assert np.array_equal(data.data[:, 0], fits.getdata(parts, "STARS")["flux"])


def test_the_first_axis_of_one_file_counts_examples_and_stays_on_disk(tmp_path):
    fits.writeto(tmp_path / "cube.fits", CUBE)
    data = load_dataset(tmp_path / "cube.fits", DataConfig(pages="examples"))
    assert np.array_equal(data.data, CUBE)
    assert data.data.dtype == ">f4"  # the numbers of the file itself
    fits.writeto(tmp_path / "rows.fits", CUBE[0])
    assert load_dataset(tmp_path / "rows.fits", DataConfig(pages="examples")).spec.layout == "NL"


@pytest.mark.parametrize(
    ("options", "layout"), [({"pages": "volume"}, "NDHW"), ({"layout": "NCHW"}, "NCHW"), ({"pages": "examples"}, "NHW")]
)
def test_cubes_of_a_folder_are_volumes_channels_or_examples(tmp_path, options, layout):
    data = load_dataset(saved(tmp_path, [CUBE, -CUBE], ".fits.gz"), DataConfig(**options))
    assert data.spec.layout == layout
    assert np.array_equal(data.data.reshape(2, 6, 4, 5), [CUBE, -CUBE])


@bad("000.fits: got no readable FITS file (", command=True)
def test_a_file_that_ends_early(folder):
    saved(folder, array("float64", 2, 40, 40))
    (folder / "000.fits").write_bytes((folder / "000.fits").read_bytes()[:7000])
    return str(folder)


@bad("data.fits: got no readable FITS file (No SIMPLE card found")
def test_another_file_of_that_name(folder):
    (folder / "data.fits").write_bytes(b"no FITS" * 1000)
    return str(folder / "data.fits")


@bad("m.fits:0: got no data in the HDU, need an HDU with data: 1 ERR")
def test_an_hdu_without_data(folder):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(CUBE, name="ERR")]).writeto(folder / "m.fits")
    return f"{folder}/m.fits:0"


@bad("m.fits: data.key: got 'SCI', need one of 1 ERR")
def test_an_hdu_that_is_not_there(folder):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(CUBE, name="ERR")]).writeto(folder / "m.fits")
    return f"{folder}/m.fits:SCI"


@bad("m.fits:0: got no data in the HDU, need an HDU with data: there is none")
def test_no_data(folder):
    fits.PrimaryHDU().writeto(folder / "m.fits")
    return f"{folder}/m.fits"


@bad("001.fits: got int16 of shape (4, 6), need int16 of shape (4, 5) like 000.fits")
def test_pictures_of_two_shapes(folder):
    return str(saved(folder, [array("int16", 4, 5), array("int16", 4, 6)]))


@bad("000.fits: got a cube of shape (6, 4, 5), need --data.pages examples")
def test_cubes_without_a_word(folder):
    return str(saved(folder, [CUBE, CUBE]))


@bad("000.fits: got undefined pixels, NaN or BLANK, need pictures without")
def test_pictures_with_a_blank(folder):
    return str(with_blank(folder, np.array([[[1, 2], [3, -99]]] * 2, np.int16), -99))


@bad("data.fits: got one array of shape (4, 5), need a folder of files, or --data.pages examples")
def test_one_picture(folder):
    fits.writeto(folder / "data.fits", CUBE[0])
    return str(folder / "data.fits")


@bad("001.fits: got a table in HDU 1, need an array in each file of a folder")
def test_a_table_among_pictures(folder):
    saved(folder, [CUBE[0]])
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0, 2.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "001.fits")
    return str(folder)


def test_whole_numbers_of_many_levels_keep_their_type(tmp_path):
    pictures = RANDOM.integers(0, 1 << 20, (3, 4, 5)).astype("int32")
    data = load_dataset(saved(tmp_path, pictures))
    assert data.spec.dtype == "float64"
    for (_, content), values in zip(formats.write_fits("s", data.spec, data.data + 0.25), pictures, strict=True):
        with fits.open(io.BytesIO(content)) as file:
            assert file[0].data.dtype.newbyteorder("=") == "int32"
            assert np.array_equal(file[0].data, values)


def two_columns(folder):
    fits.BinTableHDU.from_columns([fits.Column(name, "D", array=array("float64", 20)) for name in "ab"]).writeto(
        folder / "a.fits"
    )
    return str(folder / "a.fits")


@bad("data.drop: got 'c', need one of the columns a, b", drop=("c",))
def test_column_to_drop_that_is_not_there(folder):
    return two_columns(folder)


@bad("data.pages: got 'examples', need arrays; HDU 1", pages="examples")
def test_pages_of_a_table(folder):
    return two_columns(folder)


@bad("data.drop: got a, need a table; HDU 0", drop=("a",), pages="examples")
def test_columns_of_an_array(folder):
    fits.writeto(folder / "a.fits", array("float64", 9, 4, 5))
    return str(folder / "a.fits")
