"""Sources that are not there, and options that do not fit a source."""

import os

from bad import bad
from datafiles import noise, npy


@bad("nothing.npy")
def test_missing_file(folder):
    return str(folder / "nothing.npy")


@bad("did you mean digits?", command=True)
def test_misspelt(folder):
    return "digit"


@bad("need a file or folder that exists")
def test_null_byte(folder):
    return "dig\0its"


@bad("need a file or folder that exists", command=True)
def test_overlong(folder):
    return "x" * 5000


@bad("a .xlsx file")
def test_another_kind_of_file(folder):
    (folder / "data.xlsx").write_bytes(b"x")
    return str(folder / "data.xlsx")


@bad("a nameless file")
def test_nameless_file(folder):
    (folder / "data").write_bytes(b"x")
    return str(folder / "data")


@bad("got no picture")
def test_empty_folder(folder):
    (folder / "empty").mkdir()
    return str(folder / "empty")


@bad("got no picture, but 1 .txt, need one with .png")
def test_folder_without_pictures(folder):
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("a")
    return str(folder / "texts")


@bad("got no picture")
def test_folder_named_npy(folder):
    (folder / "data.npy").mkdir()
    return str(folder / "data.npy")


@bad("data.key: got 'x', need a store of Zarr", key="x")
def test_key_for_npy(folder):
    return npy(folder, noise(20, 2))


@bad("data.key: got 'x', need a store of Zarr", key="x")
def test_key_for_builtin(folder):
    return "digits"


@bad("data.drop: got a, need a table", command=True, drop=("a",))
def test_options_of_tables_for_an_array(folder):
    return npy(folder, noise(20, 2))


@bad("got no picture")
def test_folder_named_csv(folder):
    (folder / "data.csv").mkdir()
    return str(folder / "data.csv")


@bad("need a file or folder that exists")
def test_a_pipe(folder):
    os.mkfifo(folder / "points.npy")
    return str(folder / "points.npy")


@bad("/dev/zero")
def test_a_device(folder):
    return "/dev/zero"
