""".npy files that cannot be read, or hold no finite numbers."""

import struct

import numpy as np
from bad import Bomb, bad, pickled
from datafiles import header, noise, npy


def npy_with(folder, text, body=b"\0" * 64, version=(1, 0)):
    text = text.ljust(117).encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    (folder / "data.npy").write_bytes(b"\x93NUMPY" + bytes(version) + size + text + body)
    return str(folder / "data.npy")


@bad("data.npy[4321]: got nan, need finite numbers", command=True)
def test_nan_at_an_index(folder):
    array = noise(5000, 2)
    array[4321, 1] = np.nan
    return npy(folder, array)


@bad("data.npy[7]: got -inf, need finite numbers")
def test_infinity_at_an_index(folder):
    array = noise(20, 4, 4)
    array[7, 2, 3] = -np.inf
    return npy(folder, array)


@bad("data.npy: got an unreadable file")
def test_objects_npy(folder):
    array = np.array([Bomb(folder)] * 4, dtype=object)
    return npy(folder, array, allow_pickle=True)


@bad("data.npy: got an unreadable file")
def test_pickle_named_npy(folder):
    (folder / "data.npy").write_bytes(pickled(folder))
    return str(folder / "data.npy")


@bad("data.npy: got an unreadable file")
def test_npz_named_npy(folder):
    np.savez(folder / "data.npz", x=noise(20, 2))
    (folder / "data.npz").rename(folder / "data.npy")
    return str(folder / "data.npy")


@bad("data.npy: got an unreadable file")
def test_npy_claiming_too_much(folder):
    return npy_with(folder, header((65536, 65536)))


@bad("data.npy: got an unreadable file")
def test_npy_claiming_beyond_counting(folder):
    return npy_with(folder, header((2**40, 2**40, 2**40)))


@bad("data.npy: got an unreadable file")
def test_npy_claiming_less_than_nothing(folder):
    return npy_with(folder, header((-1, 4)))


@bad("data.npy: got an unreadable file")
def test_npy_with_code_for_header(folder):
    return npy_with(folder, "__import__('os').system('true')")


@bad("data.npy: got an unreadable file")
def test_npy_with_unknown_type(folder):
    return npy_with(folder, header((4, 4), "<q9"))


@bad("data.npy: got an unreadable file")
def test_npy_of_later_version(folder):
    return npy_with(folder, header((4, 4)), version=(9, 0))


@bad("data.npy: got an unreadable file")
def test_truncated_npy(folder):
    source = npy(folder, noise(20, 2))
    content = (folder / "data.npy").read_bytes()
    (folder / "data.npy").write_bytes(content[:-8])
    return source


@bad("data.npy: got an unreadable file")
def test_headless_npy(folder):
    (folder / "data.npy").write_bytes(b"\x93NUMPY\x01")
    return str(folder / "data.npy")


@bad("data.npy: got an unreadable file")
def test_empty_npy(folder):
    (folder / "data.npy").write_bytes(b"")
    return str(folder / "data.npy")


@bad("data.npy: got an unreadable file (3 bytes follow its array)", command=True)
def test_bytes_behind_the_array(folder):
    source = npy(folder, noise(20, 2))
    with (folder / "data.npy").open("ab") as file:
        file.write(b"\0\0\0")
    return source


@bad("got an unreadable file (its first bytes are not those of .npy)")
def test_text_named_npy(folder):
    (folder / "data.npy").write_text("a,b\n1,2\n")
    return str(folder / "data.npy")
