"""Pictures of folders, in folders and in zip files, at every depth and in every mode, in and out."""

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from datafiles import chunk, pictures
from faults import run_cli, train_words, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import raw
from inkwash.data.dataset import load_dataset
from inkwash.data.decode import read_picture
from inkwash.data.png16 import encode_png
from inkwash.data.rows import take

RANDOM = np.random.default_rng(4)
LESS_THAN_ALL = 300
"""Bytes that hold each of five small pictures, and not all of them."""


def classes(root, names=("cat/a", "cat/b", "dog/c"), suffix=".png"):
    for name in names:
        path = root / (name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 256, (6, 7)).astype(np.uint8)).save(path)
    return root


def zipped(root, top=""):
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, top + str(path.relative_to(root)))
        archive.writestr("__MACOSX/._a.png", "no picture")
    return root.with_suffix(".zip")


def test_pictures_beyond_memory_are_the_same_in_a_file_that_nobody_sees(tmp_path, monkeypatch):
    """Examples, their fingerprint and what is read of them; the folder for temporary files stays empty."""
    root, scratch = pictures(tmp_path, ["RGB"] * 5), tmp_path / "scratch"
    scratch.mkdir()
    expected = load_dataset(str(root))
    monkeypatch.setattr(raw, "_MOST_BYTES", LESS_THAN_ALL)
    monkeypatch.setattr(raw.tempfile, "tempdir", str(scratch))
    found = load_dataset(str(root))
    assert isinstance(found.data, np.memmap)
    assert np.array_equal(found.data, expected.data)
    assert found.fingerprint() == expected.fingerprint()
    (note,) = {*found.notes} - {*expected.notes}
    assert note.endswith(f"decoded into a temporary file in {scratch}")
    rows = np.array([4, 0, 2])
    assert np.array_equal(take(found.data, rows), expected.data[rows])
    assert not any(scratch.iterdir())


def test_pictures_beyond_memory_and_disk_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "_MOST_BYTES", LESS_THAN_ALL)
    monkeypatch.setattr(raw.shutil, "disk_usage", lambda folder: SimpleNamespace(free=200))
    with pytest.raises(DataError, match=r"got 0\.0 GiB free in .*, need 0\.0 GiB for what is decoded, "):
        load_dataset(str(pictures(tmp_path, ["RGB"] * 5)))


@pytest.mark.parametrize("top", ["", "photos/of/"])
def test_a_zip_is_the_folder_it_was_made_of(tmp_path, top):
    place = classes(tmp_path / "animals")
    (place / "readme.txt").write_text("text")
    labels = iw.DataConfig(labels="folder")
    plain, packed = load_dataset(place, labels), load_dataset(zipped(place, top), labels)
    assert packed.fingerprint() == plain.fingerprint()
    assert packed.spec == plain.spec
    assert packed.notes == plain.notes
    assert packed.condition.classes == ("cat", "dog")
    assert packed.labels.tolist() == [1, 1, 2]
    for x, name in zip(plain.data, ("cat/a", "cat/b", "dog/c"), strict=True):
        assert np.array_equal(x, read_picture(place / f"{name}.png"))


def test_files_that_are_not_read_are_counted(tmp_path):
    place = classes(tmp_path / "animals")
    assert not any("not read" in note for note in load_dataset(place).notes)
    others = ["cat/a.bmp", "cat/b.BMP", "c.bmp", "Thumbs.db", "labels.csv", "LICENSE", ".DS_Store", ".git/config.txt"]
    for name in others:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"x")
    note = "not read: 3 .bmp, 1 without an ending, 1 .db, 1 .csv"
    for source in (place, zipped(place)):
        data = load_dataset(source)
        assert len(data.data) == 3
        assert data.notes[-1] == note
    for name in ("a.webp", "a.gif", "a.jp2"):
        (place / name).write_bytes(b"x")
    note = "not read: 3 .bmp, 1 without an ending, 1 .db, 1 .gif, 1 .jp2, 2 of other endings"
    assert load_dataset(place).notes[-1] == note


def test_a_picture_in_no_folder_has_no_label(tmp_path):
    place = classes(tmp_path / "animals", ("cat/a", "dog/b", "c"))
    assert len(load_dataset(place).data) == 3
    with pytest.raises(DataError, match=r"labels folder\[0\]: got no class"):
        load_dataset(place, iw.DataConfig(labels="folder"))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".PNG"])
def test_modes_and_formats(tmp_path, mode, suffix):
    place = pictures(tmp_path, [mode] * 2, [(9, 7)] * 2)
    for path in list(place.iterdir()):
        with Image.open(path) as picture:
            expected = np.asarray(picture)
            picture.save(path.with_suffix(suffix), compression="tiff_lzw" if "tif" in suffix else None)
        if suffix != ".PNG":
            path.unlink()
        assert np.array_equal(read_picture(path.with_suffix(suffix)), expected)
    assert load_dataset(place).spec.shape == (len(mode), 7, 9)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiff(tmp_path, order):
    pixels = RANDOM.integers(0, 65536, (5, 6)).astype(np.uint16)
    Image.frombytes("I;16" if order == "<" else "I;16B", (6, 5), pixels.astype(f"{order}u2").tobytes()).save(
        tmp_path / "a.tif"
    )
    found = read_picture(tmp_path / "a.tif")
    assert found.dtype == np.dtype("=u2")
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("size", [1, 7, 20])
def test_what_follows_the_end_of_a_deep_picture_is_passed_over(tmp_path, size):
    pixels = RANDOM.integers(0, 1 << 16, (5, 4, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png(pixels) + bytes(size))
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 6, 8, 9])
def test_only_orientations_other_than_upright_turn_a_picture(tmp_path, orientation):
    """0 is none, and there are eight."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = RANDOM.integers(0, 256, (6, 6)).astype(np.uint8)
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", exif=exif)
    data = load_dataset(tmp_path)
    assert any("turned upright" in note for note in data.notes) == (1 < orientation < 9)
    assert np.array_equal(data.data[0], pixels) == (not 1 < orientation < 9)


def test_a_deep_picture_that_cannot_be_shown_upright_is_refused(tmp_path):
    content = encode_png(RANDOM.integers(0, 1 << 16, (5, 4, 3)).astype(np.uint16))
    for orientation in (0, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        words = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        (tmp_path / f"{orientation}.png").write_bytes(content[:33] + words + content[33:])
    assert read_picture(tmp_path / "0.png").shape == (5, 4, 3)
    with pytest.raises(DataError, match=r"6.png: got 16-bit colour to be turned"):
        read_picture(tmp_path / "6.png")


@pytest.mark.parametrize(("channels", "depth"), [(2, 8), (2, 16), (3, 16), (4, 16)])
@pytest.mark.quick_cases("2-8", "3-16")
def test_pictures_come_back_at_their_depth_and_in_their_mode(tmp_path, monkeypatch, channels, depth):
    without_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for i in range(6):
        pixels = RANDOM.integers(0, 1 << depth, (5, 4, channels)).astype(f"uint{depth}")
        if depth == 16:
            (tmp_path / "in" / f"{i}.png").write_bytes(encode_png(pixels))
        else:
            Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
        assert np.array_equal(read_picture(tmp_path / "in" / f"{i}.png"), pixels)
    assert run_cli(train_words("in", "run", "--train.steps", 1)) == 0
    assert run_cli(["sample", "run", "-n", 2, "--steps", 2]) == 0
    x, again = np.load("samples/samples.npy"), load_dataset("in").spec
    for i in range(2):
        assert np.array_equal(read_picture(tmp_path / "samples" / f"{i:06d}.png"), x[i])
    assert x.dtype == f"uint{depth}"
    assert again.shape[0] == channels
