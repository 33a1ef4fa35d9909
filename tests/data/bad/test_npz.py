""".npz files that cannot be read."""

import io
import warnings
import zipfile

import numpy as np
from bad import Bomb, bad
from datafiles import noise


@bad("data.npz: got an unreadable file (it holds Python objects)")
def test_objects_npz(folder):
    np.savez(folder / "data.npz", x=np.array([Bomb(folder)] * 4, dtype=object))
    return str(folder / "data.npz")


@bad("data.key: got arrays a, b, need the name of one of its arrays")
def test_npz_without_usable_key(folder):
    np.savez(folder / "data.npz", a=noise(20, 2), b=noise(20, 2))
    return str(folder / "data.npz")


@bad("data.key: got 'y', need the name of one of its arrays: x", key="y", command=True)
def test_npz_without_the_key(folder):
    np.savez(folder / "data.npz", x=noise(20, 2))
    return str(folder / "data.npz")


@bad("data.key: got arrays (none)")
def test_npz_of_nothing(folder):
    np.savez(folder / "data.npz")
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file (its header claims (65536, 65536)")
def test_hostile_npz(folder):
    inner = io.BytesIO()
    np.save(inner, np.zeros((2, 2), np.float32))
    content = inner.getvalue().replace(b"'shape': (2, 2), }          ", b"'shape': (65536, 65536), }  ")
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x.npy", content)
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file")
def test_truncated_npz(folder):
    np.savez(folder / "data.npz", x=noise(200, 2))
    content = (folder / "data.npz").read_bytes()
    (folder / "data.npz").write_bytes(content[:-30])
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file")
def test_damaged_npz(folder):
    np.savez(folder / "data.npz", x=noise(200, 2))
    content = bytearray((folder / "data.npz").read_bytes())
    content[700] ^= 1
    (folder / "data.npz").write_bytes(content)
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file")
def test_damaged_compressed_npz(folder):
    np.savez_compressed(folder / "data.npz", x=noise(200, 2))
    content = bytearray((folder / "data.npz").read_bytes())
    content[200:210] = b"\xff" * 10
    (folder / "data.npz").write_bytes(content)
    return str(folder / "data.npz")


@bad("data.npz")
def test_npz_of_texts(folder):
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x", "text")
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file")
def test_npz_of_nonsense(folder):
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("x.npy", "text")
    return str(folder / "data.npz")


@bad("data.npz: got two members called x.npy")
def test_two_members_of_one_name(folder):
    np.save(folder / "x.npy", noise(20, 2))
    with zipfile.ZipFile(folder / "data.npz", "w") as archive, warnings.catch_warnings(action="ignore"):
        for _ in range(2):
            archive.write(folder / "x.npy", "x.npy")
    return str(folder / "data.npz")
