""".zip files of pictures that cannot be read."""

import struct
import warnings
import zipfile

from bad import bad
from datafiles import huge_png, png


def zip_file(folder, members, name="data.zip"):
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return str(folder / name)


@bad("data.zip: got no picture, but 1 .txt")
def test_zip_of_nothing(folder):
    return zip_file(folder, {"a.txt": "text"})


@bad("data.zip: got an unreadable file")
def test_text_named_zip(folder):
    (folder / "data.zip").write_text("no archive")
    return str(folder / "data.zip")


@bad("data.zip: got an unreadable file")
def test_truncated_zip(folder):
    source = zip_file(folder, {"a.png": png(), "b.png": png()})
    (folder / "data.zip").write_bytes((folder / "data.zip").read_bytes()[:-40])
    return source


@bad("data.zip/a.png: got no readable picture", command=True)
def test_damaged_zip(folder):
    source = zip_file(folder, {"a.png": png(30, 30), "b.png": png(30, 30)})
    content = bytearray((folder / "data.zip").read_bytes())
    content[200:210] = b"\xff" * 10
    (folder / "data.zip").write_bytes(content)
    return source


@bad("b.png: got a name outside of the archive")
def test_zip_with_a_path_upwards(folder):
    return zip_file(folder, {"a.png": png(), "../b.png": png()})


@bad("b.png: got a name outside of the archive")
def test_zip_with_a_path_from_the_root(folder):
    return zip_file(folder, {"a.png": png(), "/b.png": png()})


@bad("b.zip: got an archive in an archive")
def test_zip_in_a_zip(folder):
    return zip_file(folder, {"a.png": png(), "b.zip": b"x"})


@bad("a.png: got an encrypted file")
def test_encrypted_zip(folder):
    source = zip_file(folder, {"a.png": png()})
    content = bytearray((folder / "data.zip").read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    (folder / "data.zip").write_bytes(content)
    return source


@bad("a.png: got 1073741824 bytes in one picture")
def test_zip_bomb(folder):
    source = zip_file(folder, {"a.png": png()})
    content = bytearray((folder / "data.zip").read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 1 << 30)
    (folder / "data.zip").write_bytes(content)
    return source


@bad("data.zip/b/c.png: got 9x8 pixels")
def test_zip_of_mixed_sizes(folder):
    return zip_file(folder, {"a.png": png(8, 8), "b/c.png": png(9, 8)})


@bad("b.png: got no readable picture")
def test_zip_of_a_picture_bomb(folder):
    return zip_file(folder, {"a.png": png(), "b.png": huge_png(30_000)})


@bad("data.zip: got two members called a.png")
def test_two_pictures_of_one_name(folder):
    source = zip_file(folder, {"a.png": png()})
    with zipfile.ZipFile(source, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("a.png", png())
    return source
