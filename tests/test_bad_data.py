"""Bad data is found before anything is written, and named."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from datafiles import chunk, noise, npy, pictures
from faults import run_cli, train_words, tree
from PIL import Image

from inkwash.config import DataConfig
from inkwash.data import fit_transform, load_dataset
from inkwash.errors import DataError


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# Bad data: each function writes it into an empty folder and returns the words of the source, its options, and what the
# message must say


def header_npy(folder, text, body=b"\0" * 64, version=(1, 0)):
    text = text.ljust(117).encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    (folder / "data.npy").write_bytes(b"\x93NUMPY" + bytes(version) + size + text + body)
    return str(folder / "data.npy")


def claim(shape, dtype="<f4"):
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


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


def six_axes(folder):
    return npy(folder, np.zeros((2, 2, 2, 2, 2, 2), np.uint8)), "an array of shape (2, 2, 2, 2, 2, 2)"


def images_as_series(folder):
    return npy(folder, noise(20, 5, 7)), "data.layout: got NL, need one of NHW, NLC, NCL", "--data.layout", "NL"


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
