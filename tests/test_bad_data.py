"""Bad data is found before anything is written, and named."""

import gzip
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

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform


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
    return str(folder / "texts"), "got no picture, but 1 .txt, need one with .png"


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


def whole_numbers_beyond_float64(folder):
    return npy(folder, 2**60 + np.arange(1000)[:, None]), f"data.npy[0]: got {2**60}, need whole numbers up to 2^53"


def whole_numbers_below_float64(folder):
    return npy(folder, np.array([[0], [1], [-(2**53) - 1]])), "data.npy[2]: got -9007199254740993, need whole numbers"


def unsigned_whole_numbers_beyond_float64(folder):
    array = np.array([[7], [2**53 + 1], [2**64 - 1]], np.uint64)
    return npy(folder, array), "data.npy[1]: got 9007199254740993, need whole numbers up to 2^53"


def condition_beyond_float64(folder):
    np.save(folder / "y.npy", np.array([5, 2**60]))
    return npy(folder, noise(2, 3)), "condition y.npy[1]: got 1152921504606846976", "--data.condition", "y.npy"


def wrong_layout(folder):
    return npy(folder, noise(20, 3, 8, 8)), "data.layout: got NHW, need one of NHWC, NCHW", "--data.layout", "NHW"


def layout_against_the_source(folder):
    return str(pictures(folder, ["RGB", "RGB"])), "data.layout: got NCHW, need one of NHWC", "--data.layout", "NCHW"


def zip_file(folder, members, name="data.zip"):
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return str(folder / name)


def png(*size):
    buffer = io.BytesIO()
    Image.effect_noise(size or (8, 8), 50).save(buffer, "PNG")
    return buffer.getvalue()


def zip_of_nothing(folder):
    return zip_file(folder, {"a.txt": "text"}), "data.zip: got no picture, but 1 .txt"


def text_named_zip(folder):
    (folder / "data.zip").write_text("no archive")
    return str(folder / "data.zip"), "data.zip: got an unreadable file"


def truncated_zip(folder):
    source = zip_file(folder, {"a.png": png(), "b.png": png()})
    (folder / "data.zip").write_bytes((folder / "data.zip").read_bytes()[:-40])
    return source, "data.zip: got an unreadable file"


def damaged_zip(folder):
    source = zip_file(folder, {"a.png": png(30, 30), "b.png": png(30, 30)})
    content = bytearray((folder / "data.zip").read_bytes())
    content[200:210] = b"\xff" * 10
    (folder / "data.zip").write_bytes(content)
    return source, "data.zip/a.png: got no readable picture"


def zip_with_a_path_upwards(folder):
    return zip_file(folder, {"a.png": png(), "../b.png": png()}), "b.png: got a name outside of the archive"


def zip_with_a_path_from_the_root(folder):
    return zip_file(folder, {"a.png": png(), "/b.png": png()}), "b.png: got a name outside of the archive"


def zip_in_a_zip(folder):
    return zip_file(folder, {"a.png": png(), "b.zip": b"x"}), "b.zip: got an archive in an archive"


def encrypted_zip(folder):
    source = zip_file(folder, {"a.png": png()})
    content = bytearray((folder / "data.zip").read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    (folder / "data.zip").write_bytes(content)
    return source, "a.png: got an encrypted file"


def zip_bomb(folder):
    source = zip_file(folder, {"a.png": png()})
    content = bytearray((folder / "data.zip").read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 1 << 30)
    (folder / "data.zip").write_bytes(content)
    return source, "a.png: got 1073741824 bytes in one picture"


def zip_of_mixed_sizes(folder):
    return zip_file(folder, {"a.png": png(8, 8), "b/c.png": png(9, 8)}), "data.zip/b/c.png: got 9x8 pixels"


def zip_of_a_picture_bomb(folder):
    bomb(folder)
    content = (folder / "pictures" / "1.png").read_bytes()
    return zip_file(folder, {"a.png": png(), "b.png": content}), "b.png: got no readable picture"


def pictures_beyond_memory(folder):
    place = folder / "pictures"
    place.mkdir()
    Image.new("RGB", (4000, 4000)).save(place / "0.png", compress_level=1)
    for i in range(1, 360):
        (place / f"{i}.png").hardlink_to(place / "0.png")
    return str(place), "GiB to hold in memory"


def pages(folder):
    place = pictures(folder)
    page = Image.effect_noise((8, 8), 50)
    page.save(place / "1.tif", save_all=True, append_images=[page])
    return str(place), "1.tif: got 2 pages"


def real_tiff(folder):
    place = pictures(folder)
    Image.fromarray(noise(8, 8)).save(place / "1.tiff")
    return str(place), "1.tiff: got a picture of mode F"


def truncated_tiff(folder):
    place = pictures(folder)
    Image.effect_noise((8, 8), 50).save(place / "1.tif")
    (place / "1.tif").write_bytes((place / "1.tif").read_bytes()[:40])
    return str(place), "1.tif: got no readable picture"


def gif_named_png(folder):
    place = pictures(folder)
    Image.effect_noise((8, 8), 50).save(place / "1.png", "GIF")
    return str(place), "1.png: got no readable picture"


def transparent_colour(folder):
    place = pictures(folder)
    Image.effect_noise((8, 8), 50).save(place / "1.png", transparency=3)
    return str(place), "1.png: got a colour that stands for transparency"


def interlaced_sixteen_bits(folder):
    place = pictures(folder, ["L"])
    start = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 7))
    (place / "1.png").write_bytes(content + chunk(b"IEND", b""))
    return str(place), "1.png: got no readable picture (it is interlaced"


def picture_without_a_class(folder):
    place = pictures(folder)
    (place / "sub").mkdir()
    (place / "sub" / "9.png").write_bytes(png())
    return str(place), "labels folder[0]: got no text", "--data.labels", "folder"


def folder_of_one_class(folder):
    place = pictures(folder)
    return str(place), "labels folder[0]: got no text", "--data.labels", "folder"


def folder_with_other_labels(folder):
    return str(pictures(folder)), "data.labels: got 'kind', need folder", "--data.labels", "kind"


def table(folder, text):
    (folder / "data.csv").write_text(text)
    return str(folder / "data.csv")


def empty_csv(folder):
    return table(folder, ""), "data.csv: got no column"


def csv_of_names_alone(folder):
    return table(folder, "a,b\n"), "data.csv: got no example, need at least 2"


def csv_of_one_row(folder):
    return table(folder, "a,b\n1,2\n"), "one example"


def ragged_csv(folder):
    return table(folder, "a,b\n1,2\n3\n4,5\n"), "data.csv line 3: got 1 cells, need 2"


def csv_with_an_empty_line(folder):
    return table(folder, "a,b\n1,2\n\n4,5\n"), "data.csv line 3: got 0 cells, need 2"


def csv_with_text(folder):
    return table(folder, "a,b\n1,2\n3,x y\n"), "data.csv line 3, column 'b': got 'x y', need a finite number"


def csv_with_infinity(folder):
    return table(folder, "a,b\n1,2\n3,-inf\n"), "data.csv line 3, column 'b': got '-inf'"


def csv_beyond_real_numbers(folder):
    return table(folder, "a,b\n1,2\n3,1e999\n"), "data.csv line 3, column 'b': got '1e999'"


def csv_with_digits_apart(folder):
    return table(folder, "a,b\n1,2\n3,1_000\n"), "data.csv line 3, column 'b': got '1_000'"


def csv_beyond_whole_numbers(folder):
    return table(folder, f"a,b\n1,{2**53 + 1}\n3,4\n"), "line 2, column 'b': got 9007199254740993"


def csv_with_a_name_twice(folder):
    return table(folder, "a,b,a\n1,2,3\n4,5,6\n"), "data.csv: got column 'a' twice"


def csv_without_a_name(folder):
    return table(folder, "a,,b\n1,2,3\n4,5,6\n"), "data.csv: got no name of column 1"


def csv_with_a_constant(folder):
    return table(folder, "a,b\n" + "".join(f"{i},7\n" for i in range(9))), "column 'b': got the constant 7"


def csv_of_another_encoding(folder):
    (folder / "data.csv").write_bytes("a,grö\xdfe\n1,2\n".encode("latin-1"))
    return str(folder / "data.csv"), "data.csv: got an unreadable file"


def csv_with_an_open_quote(folder):
    return table(folder, 'a,b\n1,"2\n3,4\n'), "data.csv: got an unreadable file"


def csv_with_semicolons(folder):
    return table(folder, "a;b\n1;2\n3;4\n"), "data.csv, column 'a;b': got a text of its own in each row"


def csv_without_the_labels(folder):
    return table(folder, "a,b\n1,2\n3,4\n"), "data.labels: got 'c', need one of the columns a, b", "--data.labels", "c"


def csv_of_rows_without_names(folder):
    return table(folder, "5.1,3.5,setosa\n4.9,3.0,virginica\n"), "data.csv line 1: got the number 5.1 among text"


def csv_with_labels_of_a_word_for_missing(folder):
    return table(folder, "a,b\n1,x\n2,NA\n3,y\n4,x\n"), "labels b[1]: got no text", "--data.labels", "b"


def csv_with_labels_of_real_numbers(folder):
    words = "column 'b': got real numbers, need whole numbers or text, to be labels"
    return table(folder, "a,b\n1,0.5\n2,1.5\n3,0.5\n"), words, "--data.labels", "b"


def csv_of_labels_alone(folder):
    return table(folder, "a\n1\n2\n"), "data.csv: got no column beside the labels", "--data.labels", "a"


def csv_with_a_missing_label(folder):
    text = "a,b\n1,x\n2,\n3,y\n"
    return table(folder, text), "labels b[1]: got no text", "--data.labels", "b"


def many(folder, first, second="", header="a,b", rows=20):
    """A table whose second column has the cell `second` in its fifth row, where one is given."""
    lines = [f"{i}.5,{second if second and i == 4 else first(i)}" for i in range(rows)]
    return table(folder, "\n".join([header, *lines]) + "\n")


def csv_of_names(folder):
    return many(folder, lambda i: f"name{i}"), "data.csv, column 'b': got a text of its own in each row"


def csv_of_many_texts(folder):
    words = "data.csv, column 'b': got 65 or more categories, need at most 64, or up to 1024 with data.categories"
    return many(folder, lambda i: f"t{i % 80}", rows=200), words


def csv_of_too_many_categories(folder):
    words = "column 'b': got 1025 or more categories, need at most 1024"
    return many(folder, lambda i: f"t{i}", rows=1100), words, "--data.categories", "b"


def csv_of_dates(folder):
    return many(folder, lambda i: f"2024-01-{10 + i // 2}"), "data.csv, column 'b': got dates"


def csv_of_dates_and_times(folder):
    return many(folder, lambda i: f"{10 + i // 2}.01.2024 12:00"), "data.csv, column 'b': got dates"


def csv_of_one_text(folder):
    return many(folder, lambda i: "x"), "data.csv, column 'b': got the 'x' in every row"


def csv_of_one_text_and_holes(folder):
    return many(folder, lambda i: "x" if i % 2 else "NA"), "data.csv, column 'b': got the 'x' in every row"


def csv_of_nothing_but_holes(folder):
    return many(folder, lambda i: "NA"), "data.csv, column 'b': got no value"


def csv_of_numbers_with_a_text(folder):
    return many(folder, str, "x y"), "data.csv line 6, column 'b': got 'x y', need a finite number"


def csv_of_text_with_a_number(folder):
    return many(folder, lambda i: "uv"[i % 2], "7"), "data.csv line 6, column 'b': got the number 7 among text"


def csv_of_text_said_to_be_numbers(folder):
    return many(folder, lambda i: "uv"[i % 2]), "line 2, column 'b': got 'u', need a finite", "--data.numbers", "b"


def csv_of_text_with_levels(folder):
    return many(folder, lambda i: "uv"[i % 2]), "line 2, column 'b': got 'u', need a finite", "--data.levels", "40"


def csv_with_holes_and_levels(folder):
    return table(folder, "a,b\n1,0\n2,NA\n3,1\n"), "column 'b': got missing cells", "--data.levels", "4"


def npy_with_gaps_of_whole_numbers(folder):
    options = ("--data.missing",)
    return npy(folder, np.arange(20).reshape(10, 2)), "data.missing: got True, need an array of vectors", *options


def npy_of_series_with_gaps(folder):
    options = ("--data.missing", "--data.layout", "NL")
    return (
        npy(folder, np.where(noise(20, 8) > 1, np.nan, 0.5)),
        "data.missing: got True, need an array of vectors",
        *options,
    )


def npy_of_nothing_but_gaps(folder):
    return npy(folder, noise(20, 2) * np.nan), "no value", "--data.missing"


def npy_with_an_entry_that_is_never_there(folder):
    gone = noise(20, 2)
    gone[:, 1] = np.nan
    return npy(folder, gone), "data, column 1: got no value to train on", "--data.missing"


def npy_with_gaps_and_infinity(folder):
    x = noise(20, 2)
    x[3, 0], x[7, 1] = np.nan, np.inf
    return npy(folder, x), "data.npy[7]: got inf", "--data.missing"


def csv_with_the_option_of_arrays(folder):
    return table(folder, "a,b\n1,0\n2,NA\n3,1\n"), "missing cells of a table need no option", "--data.missing"


def csv_without_the_column_to_drop(folder):
    return many(folder, str), "data.drop: got 'c', need one of the columns a, b", "--data.drop", "c"


def csv_with_every_column_dropped(folder):
    return many(folder, str), "data.csv: got no column beside", "--data.drop", "a", "b"


def csv_of_a_column_with_two_uses(folder):
    options = ("--data.drop", "b", "--data.categories", "b")
    return many(folder, str), "data.categories: got 'b', need a column that no other of", *options


def csv_without_the_categories(folder):
    return many(folder, str), "data.categories: got 'c', need one of the columns", "--data.categories", "c"


def options_of_tables_for_an_array(folder):
    return npy(folder, noise(20, 2)), "data.drop: got a, need a table", "--data.drop", "a"


def parquet(place, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    write = pytest.importorskip("pyarrow.parquet").write_table
    write(pyarrow.table(columns), place / "data.parquet")
    return str(place / "data.parquet")


def text_named_parquet(folder):
    (folder / "data.parquet").write_text("a,b\n1,2\n")
    return str(folder / "data.parquet"), "data.parquet: got an unreadable file"


def truncated_parquet(folder):
    source = parquet(folder, a=[1.5, 2, 3])
    content = (folder / "data.parquet").read_bytes()
    (folder / "data.parquet").write_bytes(content[:-20])
    return source, "data.parquet: got an unreadable file"


def damaged_parquet(folder):
    source = parquet(folder, a=[1.5, 2, 3])
    content = bytearray((folder / "data.parquet").read_bytes())
    content[4:40] = bytes(36)
    (folder / "data.parquet").write_bytes(content)
    return source, "data.parquet: got an unreadable file"


def parquet_of_lists(folder):
    return parquet(folder, a=[[1], [2]]), "data.parquet, column 'a': got values of type list<"


def parquet_of_bytes(folder):
    return parquet(folder, a=[b"1", b"2"]), "data.parquet, column 'a': got values of type binary"


def parquet_of_structures(folder):
    return parquet(folder, a=[{"b": 1}, {"b": 2}]), "data.parquet, column 'a': got values of type struct<"


def parquet_of_dates(folder):
    return parquet(folder, a=np.array([1, 2, 9], "M8[D]")), "data.parquet, column 'a': got dates"


def parquet_beyond_whole_numbers(folder):
    return parquet(folder, a=[2**53 + 1, None, 7]), "column 'a': got whole numbers beyond 2^53"


def parquet_with_infinity(folder):
    return parquet(folder, a=[1.5, np.inf, 2]), "data.parquet[1], column 'a': got inf"


def parquet_of_names(folder):
    return parquet(folder, a=list("uvwx")), "data.parquet, column 'a': got a text of its own in each row"


def parquet_of_one_row(folder):
    return parquet(folder, a=[1.5]), "data.parquet: got one example"


def parquet_of_nothing(folder):
    return parquet(folder, a=np.empty(0)), "data.parquet: got no example"


def folder_named_csv(folder):
    (folder / "data.csv").mkdir()
    return str(folder / "data.csv"), "got no picture"


def idx_file(folder, content, name="x-idx2-ubyte"):
    (folder / name).write_bytes(content)
    return str(folder / name)


def idx_of_another_magic(folder):
    return idx_file(folder, b"\x89PNG" + bytes(60)), "its first bytes are not those of IDX"


def idx_of_an_unknown_type(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 10, 2, 2, 2) + bytes(4)), "its first bytes are not those of IDX"


def headless_idx(folder):
    return idx_file(folder, b"\0\0\x08"), "x-idx2-ubyte: got an unreadable file"


def truncated_idx(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(15)), "16 bytes, and fewer follow"


def overlong_idx(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(17)), "16 bytes, and more follow"


def idx_claiming_too_much(folder):
    content = struct.pack(">HBB4I", 0, 14, 4, *[2**32 - 1] * 4)
    return idx_file(folder, content), "x-idx2-ubyte: got an unreadable file"


def packed_idx_claiming_too_much(folder):
    content = gzip.compress(struct.pack(">HBB2I", 0, 14, 2, 2**32 - 1, 8))
    return idx_file(folder, content, "x-idx2-ubyte.gz"), "GiB to hold in memory"


def packed_idx_that_is_not(folder):
    return idx_file(folder, bytes(60), "x-idx2-ubyte.gz"), "x-idx2-ubyte.gz: got an unreadable file"


def truncated_packed_idx(folder):
    content = gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(16))
    return idx_file(folder, content[:-9], "x-idx2-ubyte.gz"), "x-idx2-ubyte.gz: got an unreadable file"


def labels_of_another_length(folder):
    np.save(folder / "y.npy", np.arange(19))
    words = "labels of shape (19,), need one for each of 20 examples"
    return npy(folder, noise(20, 2)), words, "--data.labels", "y.npy"


def labels_that_are_missing(folder):
    return npy(folder, noise(20, 2)), "need the name of an .npy or IDX file beside", "--data.labels", "y.npy"


TABLE = [
    value
    for name, value in list(globals().items())
    if getattr(value, "__code__", None)
    and value.__module__ == __name__
    and value.__code__.co_varnames[: value.__code__.co_argcount] == ("folder",)
]


def test_the_table_is_long():
    assert len(TABLE) >= 150


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
    chosen = {}
    for word in options:
        if word.startswith("--data."):
            name = word.removeprefix("--data.")
            chosen |= {"missing": True} if name == "missing" else {}
        elif name in ("drop", "categories", "numbers"):
            chosen[name] = (*chosen.get(name, ()), word)
        else:
            chosen[name] = int(word) if name == "levels" else word
    with pytest.raises(DataError):
        read_and_fit(source, DataConfig(**chosen))
    assert not (tmp_path / "pwned").exists()
