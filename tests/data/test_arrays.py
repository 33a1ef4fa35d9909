"""Arrays and pictures come out of their files as they went in."""

import gzip
import struct
import zlib

import numpy as np
import pytest
from datafiles import chunk, noise, npy, pictures
from PIL import Image

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.decode import read_picture

RANDOM = np.random.default_rng(6)
IMAGES = RANDOM.integers(0, 256, (12, 5, 6)).astype(np.uint8)
CLASSES = RANDOM.permutation(np.arange(12) % 3)


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
    assert packed.notes == plain.notes


def test_the_name_of_the_array_that_was_read_is_printed(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=noise(9, 2), y_train=np.arange(9))
    data = load_dataset(str(tmp_path / "data.npz"))
    assert data.data.shape == (9, 2)
    assert data.notes == ("array 'x_train' of data.npz; not used: y_train",)
    other = load_dataset(str(tmp_path / "data.npz"), DataConfig(key="y_train"))
    assert np.array_equal(other.data, np.arange(9))


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


def test_pictures_are_turned_upright_with_a_message(tmp_path):
    place = pictures(tmp_path, ["RGB", "RGB"], [(6, 8)] * 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(Image.open(place / "0.png"))
    Image.fromarray(np.rot90(upright)).save(place / "0.png", exif=exif)
    data = load_dataset(str(place))
    assert np.array_equal(data.data[0], upright)
    assert data.notes == ("1 picture(s) turned upright by their EXIF orientation",)


def test_sixteen_bit_colour_is_not_cut_to_eight(tmp_path):
    place = pictures(tmp_path, ["RGB", "RGB"], [(2, 2)] * 2)
    rows = b"".join(b"\0" + struct.pack(">6H", *range(1, 7)) for _ in range(2))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    (place / "0.png").write_bytes(content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert read_picture(place / "0.png").tolist() == [[[1, 2, 3], [4, 5, 6]]] * 2
    with pytest.raises(DataError, match=r"1\.png: got 2x2 pixels, 3 channel\(s\), uint8, need .* uint16 like 0\.png"):
        load_dataset(str(place))


def idx(array, number):
    head = struct.pack(f">HBB{array.ndim}I", 0, number, array.ndim, *array.shape)
    return head + array.tobytes()


@pytest.mark.parametrize("kind", ["npy", "idx", "idx.gz"])
def test_labels_go_with_their_examples(tmp_path, kind):
    """The labels are those of an .npz file, whichever files hold them."""
    np.savez(tmp_path / "truth.npz", x=IMAGES, y=CLASSES)
    truth = load_dataset(tmp_path / "truth.npz", DataConfig(labels="y"))
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", CLASSES)
    pack = gzip.compress if kind == "idx.gz" else bytes
    end = ".gz" if kind == "idx.gz" else ""
    (tmp_path / f"x-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES, 8)))
    (tmp_path / f"y-idx1-ubyte{end}").write_bytes(pack(idx(CLASSES.astype(np.uint8), 8)))
    source, name = {
        "npy": (tmp_path / "x.npy", "y.npy"),
        "idx": (tmp_path / "x-idx3-ubyte", "y-idx1-ubyte"),
        "idx.gz": (tmp_path / "x-idx3-ubyte.gz", "y-idx1-ubyte.gz"),
    }[kind]
    data = load_dataset(source, DataConfig(labels=name))
    assert np.array_equal(data.labels, truth.labels)
    assert data.condition == truth.condition
    assert data.fingerprint() == truth.fingerprint()


@pytest.mark.parametrize(
    ("number", "dtype"), [(8, "u1"), (9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_types_of_idx(tmp_path, number, dtype):
    array = RANDOM.integers(0, 100, (6, 4)).astype(dtype)
    (tmp_path / "points.idx").write_bytes(idx(array, number))
    data = load_dataset(tmp_path / "points.idx")
    assert np.array_equal(data.data, array)
    assert data.spec.dtype == np.dtype(dtype).name
    assert isinstance(data.data, np.memmap)
