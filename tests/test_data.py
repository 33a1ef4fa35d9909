"""Bad data is found before anything is written, and named; good data comes back as it was."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from faults import points, run_cli, train_words, tree, without_pictures
from PIL import Image
from sklearn.datasets import load_digits

from inkwash.config import DataConfig
from inkwash.data import DataSpec, fit_transform, load_dataset
from inkwash.data.builtin import BUILTIN
from inkwash.errors import DataError
from inkwash.fit import fit
from inkwash.run import load


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# Bad data: each function writes it into an empty folder and returns the words of the source, its options, and what the
# message must say


def npy(folder, array, name="data.npy", **options):
    np.save(folder / name, array, **options)
    return str(folder / name)


def header_npy(folder, text, body=b"\0" * 64, version=(1, 0)):
    text = text.ljust(117).encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    (folder / "data.npy").write_bytes(b"\x93NUMPY" + bytes(version) + size + text + body)
    return str(folder / "data.npy")


def claim(shape, dtype="<f4"):
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


def pictures(folder, modes=("L", "L", "L"), sizes=None):
    (folder / "pictures").mkdir()
    for i, mode in enumerate(modes):
        size = sizes[i] if sizes else (8, 8)
        Image.effect_noise(size, 50).convert(mode).save(folder / "pictures" / f"{i}.png")
    return folder / "pictures"


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def missing(folder):
    return str(folder / "nothing.npy"), "nothing.npy"


def misspelt(folder):
    return "digit", "did you mean digits?"


def null_byte(folder):
    return "dig\0its", "need a file or folder that exists"


def overlong(folder):
    return "x" * 5000, "need a file or folder that exists"


def another_kind_of_file(folder):
    (folder / "data.xlsx").write_bytes(b"x")
    return str(folder / "data.xlsx"), "a .xlsx file"


def nameless_file(folder):
    (folder / "data").write_bytes(b"x")
    return str(folder / "data"), "a nameless file"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return str(folder / "empty"), "got no picture"


def folder_without_pictures(folder):
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("a")
    return str(folder / "texts"), "got no picture"


def one_picture(folder):
    return str(pictures(folder, ["L"])), "one example"


def mixed_sizes(folder):
    return str(pictures(folder, sizes=[(8, 8), (8, 8), (8, 9)])), "2.png: got 8x9 pixels"


def mixed_modes(folder):
    return str(pictures(folder, ["L", "RGB", "L"])), "1.png: got 8x8 pixels, 3 channel(s)"


def mixed_depths(folder):
    place = pictures(folder)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(place / "1.png")
    return str(place), "1.png: got 8x8 pixels, 1 channel(s), uint16"


def text_named_png(folder):
    place = pictures(folder)
    (place / "1.png").write_text("no picture")
    return str(place), "1.png: got no readable picture"


def folder_named_png(folder):
    place = pictures(folder)
    (place / "4.png").mkdir()
    return str(place), "4.png: got no readable picture"


def empty_png(folder):
    place = pictures(folder)
    (place / "1.png").write_bytes(b"")
    return str(place), "1.png: got no readable picture"


def truncated_png(folder):
    place = pictures(folder)
    content = (place / "1.png").read_bytes()
    (place / "1.png").write_bytes(content[: len(content) // 2])
    return str(place), "1.png: got no readable picture"


def damaged_png(folder):
    place = pictures(folder)
    content = bytearray((place / "1.png").read_bytes())
    content[len(content) // 2] ^= 255
    (place / "1.png").write_bytes(content)
    return str(place), "1.png: got no readable picture"


def truncated_jpeg(folder):
    place = pictures(folder, ["L"])
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(buffer, "JPEG")
    (place / "1.jpg").write_bytes(buffer.getvalue()[:-40])
    return str(place), "1.jpg: got no readable picture"


def palette(folder):
    return str(pictures(folder, ["P", "P"])), "0.png: got a picture of mode P"


def black_and_white(folder):
    return str(pictures(folder, ["1", "1"])), "0.png: got a picture of mode 1"


def cmyk(folder):
    place = pictures(folder)
    Image.new("CMYK", (8, 8)).save(place / "1.jpg")
    return str(place), "1.jpg: got a picture of mode CMYK"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(folder):
    place = pictures(folder, ["L", "L"])
    start = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    (place / "1.png").write_bytes(content + chunk(b"IEND", b""))
    return str(place), "1.png: got no readable picture"


def quiet_bomb(folder):
    place = pictures(folder, ["L", "L"])
    start = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    (place / "1.png").write_bytes(content + chunk(b"IEND", b""))
    return str(place), "1.png: got no readable picture"


def nan_at_an_index(folder):
    array = noise(5000, 2)
    array[4321, 1] = np.nan
    return npy(folder, array), "data.npy[4321]: got nan, need finite numbers"


def infinity_at_an_index(folder):
    array = noise(20, 4, 4)
    array[7, 2, 3] = -np.inf
    return npy(folder, array), "data.npy[7]: got -inf, need finite numbers"


def objects_npy(folder):
    array = np.array([Bomb(folder / "pwned")] * 4, dtype=object)
    return npy(folder, array, allow_pickle=True), "data.npy: got an unreadable file"


def pickle_named_npy(folder):
    (folder / "data.npy").write_bytes(pickle.dumps(Bomb(folder / "pwned")))
    return str(folder / "data.npy"), "data.npy: got an unreadable file"


def objects_npz(folder):
    np.savez(folder / "data.npz", x=np.array([Bomb(folder / "pwned")] * 4, dtype=object))
    return str(folder / "data.npz"), "data.npz: got an unreadable file (it holds Python objects)"


def npz_named_npy(folder):
    np.savez(folder / "data.npz", x=noise(20, 2))
    (folder / "data.npz").rename(folder / "data.npy")
    return str(folder / "data.npy"), "data.npy: got an unreadable file"


def npy_claiming_too_much(folder):
    return header_npy(folder, claim((65536, 65536))), "data.npy: got an unreadable file"


def npy_claiming_beyond_counting(folder):
    return header_npy(folder, claim((2**40, 2**40, 2**40))), "data.npy: got an unreadable file"


def npy_claiming_less_than_nothing(folder):
    return header_npy(folder, claim((-1, 4))), "data.npy: got an unreadable file"


def npy_with_code_for_header(folder):
    return header_npy(folder, "__import__('os').system('true')"), "data.npy: got an unreadable file"


def npy_with_unknown_type(folder):
    return header_npy(folder, claim((4, 4), "<q9")), "data.npy: got an unreadable file"


def npy_of_later_version(folder):
    return header_npy(folder, claim((4, 4)), version=(9, 0)), "data.npy: got an unreadable file"


def truncated_npy(folder):
    source = npy(folder, noise(20, 2))
    content = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(content[:-8])
    return source, "data.npy: got an unreadable file"


def headless_npy(folder):
    (folder / "data.npy").write_bytes(b"\x93NUMPY\x01")
    return str(folder / "data.npy"), "data.npy: got an unreadable file"


def empty_npy(folder):
    (folder / "data.npy").write_bytes(b"")
    return str(folder / "data.npy"), "data.npy: got an unreadable file"


def folder_named_npy(folder):
    (folder / "data.npy").mkdir()
    return str(folder / "data.npy"), "got no picture"


def npz_without_usable_key(folder):
    np.savez(folder / "data.npz", a=noise(20, 2), b=noise(20, 2))
    return str(folder / "data.npz"), "data.key: got arrays a, b, need the name of one of its arrays"


def npz_without_the_key(folder):
    np.savez(folder / "data.npz", x=noise(20, 2))
    return str(folder / "data.npz"), "data.key: got 'y', need the name of one of its arrays: x", "--data.key", "y"


def npz_of_nothing(folder):
    np.savez(folder / "data.npz")
    return str(folder / "data.npz"), "data.key: got arrays (none)"


def hostile_npz(folder):
    inner = io.BytesIO()
    np.save(inner, np.zeros((2, 2), np.float32))
    content = inner.getvalue().replace(b"'shape': (2, 2), }          ", b"'shape': (65536, 65536), }  ")
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x.npy", content)
    return str(folder / "data.npz"), "data.npz: got an unreadable file (its header claims (65536, 65536)"


def npz_bomb(folder):
    text = claim((1 << 31,), "|u1").ljust(117).encode() + b"\n"
    with zipfile.ZipFile(folder / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * (1 << 20))
    content = (folder / "data.npz").read_bytes()
    size = struct.pack("<I", len(text) + 10 + (1 << 20))
    (folder / "data.npz").write_bytes(content.replace(size, struct.pack("<I", (1 << 32) - 2)))
    return str(folder / "data.npz"), "data.npz: got an unreadable file"


def truncated_npz(folder):
    np.savez(folder / "data.npz", x=noise(200, 2))
    content = (folder / "data.npz").read_bytes()
    (folder / "data.npz").write_bytes(content[:-30])
    return str(folder / "data.npz"), "data.npz: got an unreadable file"


def damaged_npz(folder):
    np.savez(folder / "data.npz", x=noise(200, 2))
    content = bytearray((folder / "data.npz").read_bytes())
    content[700] ^= 1
    (folder / "data.npz").write_bytes(content)
    return str(folder / "data.npz"), "data.npz: got an unreadable file"


def damaged_compressed_npz(folder):
    np.savez_compressed(folder / "data.npz", x=noise(200, 2))
    content = bytearray((folder / "data.npz").read_bytes())
    content[200:210] = b"\xff" * 10
    (folder / "data.npz").write_bytes(content)
    return str(folder / "data.npz"), "data.npz: got an unreadable file"


def npz_of_texts(folder):
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x", "text")
    return str(folder / "data.npz"), "data.npz"


def npz_of_nonsense(folder):
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x.npy", "text")
    return str(folder / "data.npz"), "data.npz: got an unreadable file"


def key_for_npy(folder):
    return npy(folder, noise(20, 2)), "data.key: got 'x', need an .npz file", "--data.key", "x"


def key_for_builtin(folder):
    return "digits", "data.key: got 'x', need an .npz file", "--data.key", "x"


def no_axes(folder):
    return npy(folder, np.float32(3)), "an array of shape ()"


def no_examples(folder):
    return npy(folder, np.zeros((0, 3), np.float32)), "data.npy"


def no_width(folder):
    return npy(folder, np.zeros((3, 0), np.float32)), "data.npy"


def one_example(folder):
    return npy(folder, noise(1, 3)), "one example"


def five_axes(folder):
    return npy(folder, np.zeros((2, 2, 2, 2, 2), np.uint8)), "an array of shape (2, 2, 2, 2, 2)"


def complex_numbers(folder):
    return npy(folder, np.ones((9, 2), complex)), "values of type complex128"


def texts(folder):
    return npy(folder, np.array([["a", "b"], ["c", "d"]])), "values of type <U1"


def dates(folder):
    return npy(folder, np.array([["2020-01-01"], ["2020-01-02"]], "M8[D]")), "values of type datetime64"


def records(folder):
    return npy(folder, np.zeros(9, [("a", "f4"), ("b", "f4")])), "data.npy: got values of type"


def constant_column(folder):
    array = noise(50, 3)
    array[:, 1] = 4
    return npy(folder, array), "column 1: got the constant 4"


def constant_channel(folder):
    array = noise(20, 3, 8, 8)
    array[:, 2] = 0
    return npy(folder, array), "channel 2: got the constant 0"


def too_large_to_square(folder):
    return npy(folder, np.random.default_rng(0).normal(size=(20, 2)) * 1e300), "data"


def levels_too_few(folder):
    array = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    return npy(folder, array), "values in [0, 16], need whole numbers 0 to 15 for 16 levels", "--data.levels", "16"


def levels_of_negatives(folder):
    array = np.random.default_rng(0).integers(-3, 9, (20, 8, 8))
    return npy(folder, array), "values in [-3, 8], need whole numbers 0 to 15", "--data.levels", "16"


def levels_of_fractions(folder):
    return npy(folder, np.abs(noise(20, 2))), "need whole numbers 0 to 15", "--data.levels", "16"


def one_level(folder):
    return npy(folder, np.full((20, 2), 7)), "1 levels, need between 2 and 65536"


def too_many_levels(folder):
    return npy(folder, np.array([[0], [70_000], [5]])), "70001 levels, need between 2 and 65536"


def wrong_layout(folder):
    return npy(folder, noise(20, 3, 8, 8)), "data.layout: got NHW, need one of NHWC, NCHW", "--data.layout", "NHW"


def layout_against_the_source(folder):
    return str(pictures(folder, ["RGB", "RGB"])), "data.layout: got NCHW, need one of NHWC", "--data.layout", "NCHW"


TABLE = [
    value
    for name, value in list(globals().items())
    if getattr(value, "__code__", None)
    and value.__module__ == __name__
    and value.__code__.co_varnames[: value.__code__.co_argcount] == ("folder",)
]


def test_the_table_is_long():
    assert len(TABLE) >= 60


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.__name__)
def test_bad_data_is_named_before_anything_is_written(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source, words, *options = case(tmp_path)
    before = tree(tmp_path)
    code = run_cli(train_words(source, "run", *options))
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err + said.out
    assert code == 3
    assert tree(tmp_path) == before
    assert not (tmp_path / "run").exists()


def read_and_fit(source, config):
    data = load_dataset(source, config)
    fit_transform(data.spec, data.data)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.__name__)
def test_every_bad_source_raises_only_what_is_promised(case, tmp_path):
    source, _, *options = case(tmp_path)
    chosen = {word.removeprefix("--data."): value for word, value in zip(options[::2], options[1::2], strict=True)}
    chosen = {name: int(value) if name == "levels" else value for name, value in chosen.items()}
    with pytest.raises(DataError):
        read_and_fit(source, DataConfig(**chosen))
    assert not (tmp_path / "pwned").exists()


# Good data


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_data_is_the_same_every_time(name):
    first, second = load_dataset(name), load_dataset(name)
    assert first.fingerprint() == second.fingerprint()
    assert first.name == name
    assert np.isfinite(first.data).all()


def test_the_digits_are_the_digits():
    data = load_dataset("digits")
    assert np.array_equal(data.data[:, 0], load_digits().images)
    assert (data.spec.levels, data.spec.low, data.spec.high, data.spec.shape) == (17, 0, 16, (1, 8, 8))


def test_the_checkerboard_is_uniform_on_its_dark_squares():
    data = load_dataset("checkerboard").data
    cells = np.floor(data).astype(int)
    assert (cells.sum(1) % 2 == 0).all()
    counts = np.unique(cells, axis=0, return_counts=True)[1]
    assert len(counts) == 8
    expected = len(data) / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-squared, 7 degrees of freedom, p = 0.001
    inside = data - cells
    assert abs(inside.mean() - 0.5) < 4 * np.sqrt(1 / 12 / data.size)


def test_the_moons_are_two_half_circles():
    data = load_dataset("two-moons").data.astype(np.float64)
    upper = np.abs(np.hypot(data[:, 0], data[:, 1]) - 1)
    lower = np.abs(np.hypot(data[:, 0] - 1, data[:, 1] - 0.5) - 1)
    assert np.minimum(upper, lower).max() < 6 * 0.05
    assert abs((upper < lower).mean() - 0.5) < 0.02


def test_the_heartbeats_beat_at_five_phases_alike():
    data = load_dataset("heartbeat")
    assert (data.spec.levels, data.spec.low, data.spec.high, data.spec.shape) == (2, 0, 1, (20,))
    beats, counts = np.unique(data.data, axis=0, return_counts=True)
    assert {tuple(np.flatnonzero(beat)) for beat in beats} == {tuple(range(phase, 20, 5)) for phase in range(5)}
    expected = len(data.data) / 5
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001


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


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["uint8", ">i2", "<f8", ">f4", "bool", "uint16", "float16"])
def test_npz_and_npy_give_the_same_array(tmp_path, order, save, dtype):
    array = np.asarray(np.random.default_rng(0).integers(0, 2, (6, 5, 4)), dtype=dtype, order=order)
    save(tmp_path / "data.npz", only=array)
    packed, plain = load_dataset(str(tmp_path / "data.npz")), load_dataset(npy(tmp_path, array))
    assert np.array_equal(packed.data, array)
    assert np.array_equal(plain.data, array)
    assert packed.spec == plain.spec
    assert packed.notes == ()


def test_the_array_that_was_chosen_is_said(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=noise(9, 2), y_train=np.arange(9))
    data = load_dataset(str(tmp_path / "data.npz"))
    assert data.data.shape == (9, 2)
    assert data.notes == ("array 'x_train' of data.npz; not used: y_train",)
    other = load_dataset(str(tmp_path / "data.npz"), DataConfig(key="y_train"))
    assert np.array_equal(other.data, np.arange(9))


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
    ],
)
def test_axes_are_read_as_said(tmp_path, shape, layout, expected, read_as):
    data = load_dataset(npy(tmp_path, noise(*shape)), DataConfig(layout=layout))
    assert (data.spec.shape, data.spec.layout) == (expected, read_as)
    assert bool(data.notes) == (layout == "auto" and len(shape) == 4)


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


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"), [("L", (), "uint8"), ("RGB", (3,), "uint8"), ("LA", (2,), "uint8")]
)
def test_pictures_are_read_as_they_are(tmp_path, mode, shape, dtype):
    place = pictures(tmp_path, [mode] * 3, [(9, 7)] * 3)
    data = load_dataset(str(place))
    assert data.data.shape == (3, 7, 9, *shape)
    assert data.data.dtype == dtype
    for i in range(3):
        with Image.open(place / f"{i}.png") as picture:
            assert np.array_equal(np.asarray(picture), data.data[i])


def test_hidden_files_are_passed_over_and_names_give_the_order(tmp_path):
    place = pictures(tmp_path, ["L", "L"])
    (place / "._0.png").write_bytes(b"x")
    (place / "b.PNG").write_bytes((place / "0.png").read_bytes())
    data = load_dataset(str(place))
    assert len(data.data) == 3
    assert np.array_equal(data.data[2], data.data[0])


def test_pictures_are_turned_upright_and_it_is_said(tmp_path):
    place = pictures(tmp_path, ["RGB", "RGB"], [(6, 8)] * 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(Image.open(place / "0.png"))
    Image.fromarray(np.rot90(upright)).save(place / "0.png", exif=exif)
    data = load_dataset(str(place))
    assert np.array_equal(data.data[0], upright)
    assert data.notes == ("1 picture(s) turned upright by their EXIF orientation",)


def test_sixteen_bit_colour_is_not_cut_to_eight_unsaid(tmp_path):
    place = pictures(tmp_path, ["RGB", "RGB"], [(2, 2)] * 2)
    rows = b"".join(b"\0" + struct.pack(">6H", *range(1, 7)) for _ in range(2))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    (place / "0.png").write_bytes(content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"0\.png: got a picture of mode RGB;16B"):
        load_dataset(str(place))


def test_a_whole_alphabet_is_assumed_of_small_integers(tmp_path):
    for dtype, levels in (("uint8", 256), ("uint16", 65536), ("bool", 2)):
        data = load_dataset(npy(tmp_path, np.array([[0], [1], [1]], dtype)))
        assert data.spec.levels == levels
    data = load_dataset(npy(tmp_path, np.array([[-3], [4], [1]])))
    assert (data.spec.low, data.spec.high, data.spec.levels) == (-3, 4, 8)
    data = load_dataset(npy(tmp_path, np.array([[0.0], [4], [1]])), DataConfig(levels=5))
    assert data.spec == DataSpec((1,), "ND", "float64", 0.0, 4.0, 5)


# End to end: samples come back in the dtype, layout and range of the data

RANDOM = np.random.default_rng(3)
KINDS = {
    "odd grey": RANDOM.integers(0, 256, (12, 5, 7)).astype(np.uint8),
    "one pixel wide": RANDOM.integers(0, 256, (12, 9, 1)).astype(np.uint8),
    "tiny": RANDOM.integers(0, 3, (12, 1, 1, 2)).astype(np.int16),
    "colour last": RANDOM.integers(0, 256, (12, 9, 6, 3)).astype(np.uint8),
    "colour first": RANDOM.integers(0, 256, (12, 3, 6, 10)).astype(np.uint8),
    "two channels": RANDOM.integers(0, 256, (12, 6, 7, 2)).astype(np.uint8),
    "sixteen bits": RANDOM.integers(0, 65536, (12, 6, 6)).astype(np.uint16),
    "black and white": RANDOM.integers(0, 2, (12, 6, 6)).astype(bool),
    "negative integers": RANDOM.integers(-5, 5, (12, 6)),
    "real images": RANDOM.normal(size=(12, 6, 5)).astype(np.float32),
    "real numbers": RANDOM.normal(size=12),
    "big-endian": RANDOM.normal(size=(12, 3)).astype(">f4"),
    "half": RANDOM.normal(size=(12, 3)).astype(np.float16),
    "two examples": RANDOM.integers(0, 256, (2, 6, 6)).astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_of_the_kind_of_the_data(tmp_path, monkeypatch, kind):
    without_pictures(monkeypatch)
    array = KINDS[kind]
    assert run_cli(train_words(npy(tmp_path, array), tmp_path / "run", "--train.steps", 2)) == 0
    x = load(tmp_path / "run").sample(5, seed=0)
    assert x.shape == (5, *array.shape[1:])
    assert x.dtype == array.dtype.newbyteorder("=")
    assert np.isfinite(x).all()
    if array.dtype.kind != "f":
        whole = {"u": (0, np.iinfo(array.dtype).max if array.dtype.kind == "u" else 0), "b": (0, 1)}
        low, high = whole.get(array.dtype.kind, (array.min(), array.max()))
        assert x.min() >= low
        assert x.max() <= high


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_folders_of_pictures_train_and_draw(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "pictures"
    place.mkdir()
    for i in range(6):
        noise = Image.effect_noise((7, 5), 90)
        image = Image.fromarray(np.asarray(noise).astype(np.uint16) * 257) if mode == "I;16" else noise.convert(mode)
        image.save(place / f"{i}.png")
    assert run_cli(train_words(place, "run", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 3]) == 0
    x = np.load("samples/samples.npy")
    assert x.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert x.shape == (3, 5, 7, *{"RGB": (3,), "RGBA": (4,)}.get(mode, ()))
    for i in range(3):
        with Image.open(f"samples/{i:06d}.png") as picture:
            assert picture.size == (7, 5)
            assert picture.mode == ("L" if mode == "I;16" else mode)
            if mode != "I;16":
                assert np.array_equal(np.asarray(picture), x[i])


def test_a_planar_builtin_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(train_words("two-moons", "run", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 7]) == 0
    assert np.load("samples/samples.npy").shape == (7, 2)
    with Image.open("samples/samples.png") as picture:
        picture.verify()


def test_fewer_examples_than_a_batch_are_said(tmp_path, capsys):
    from faults import tiny

    fit(tiny(points(tmp_path / "points.npy", 5), steps=1), tmp_path / "run")
    assert "fewer examples (4) than a batch" in capsys.readouterr().out
