"""Sources that claim more than they hold, or than memory allows. All of them are small."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from bad import bad
from datafiles import chunk, header, pictures, png, table
from PIL import Image


def npy_start(shape):
    text = header(shape, "|u1").ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path, member, content, compression, claim):
    """A zip file of one member, both of whose headers claim other sizes: packed, and unpacked."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(member, content)
        (info,) = file.infolist()
    sizes = struct.pack("<II", info.compress_size, info.file_size)
    path.write_bytes(path.read_bytes().replace(sizes, struct.pack("<II", *claim(info))))
    return str(path)


@bad("data.npz/x.npy: got 3.2 GB packed into", command=True)
def test_npz_that_is_claimed_to_be_a_million_times_its_packed_size(folder):
    content = npy_start((1 << 31,)) + bytes(1 << 16)
    return archive(
        folder / "data.npz", "x.npy", content, zipfile.ZIP_DEFLATED, lambda info: (info.compress_size, 3_200_000_000)
    )


@bad("data.npz: got an unreadable file (it ends after 65536 of 1048576 bytes)")
def test_npz_that_ends_before_what_is_claimed(folder):
    content = npy_start((1 << 20,)) + bytes(1 << 16)
    return archive(
        folder / "data.npz", "x.npy", content, zipfile.ZIP_DEFLATED, lambda info: (info.compress_size, 1 << 21)
    )


@bad("data.npz: got an unreadable file")
def test_npz_of_a_member_of_lzma_that_is_cut(folder):
    content = npy_start((4096,)) + np.random.default_rng(0).bytes(4096)
    return archive(
        folder / "data.npz", "x.npy", content, zipfile.ZIP_LZMA, lambda info: (info.compress_size // 2, info.file_size)
    )


@bad("data.npz: got an unreadable file (bytes follow its array)")
def test_npz_of_more_than_its_array(folder):
    with zipfile.ZipFile(folder / "data.npz", "w") as file:
        file.writestr("x.npy", npy_start((16,)) + bytes(17))
    return str(folder / "data.npz")


@bad("data.npz: got an unreadable file (it holds no numbers)")
def test_npz_of_entries_without_a_size(folder):
    np.savez(folder / "data.npz", x=np.zeros(4, "V0"))
    return str(folder / "data.npz")


@bad("data.npy: got an unreadable file")
def test_npy_of_a_header_that_nests_deeply(folder):
    text = ("(" * 9000 + ")" * 9000).encode()
    (folder / "data.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + bytes(64))
    return str(folder / "data.npy")


@bad("x-idx2-ubyte.gz: got 100.0 MB packed into")
def test_packed_idx_of_much_more_than_its_file(folder):
    content = gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 10**4, 10**4) + bytes(1 << 12))
    (folder / "x-idx2-ubyte.gz").write_bytes(content)
    return str(folder / "x-idx2-ubyte.gz")


@bad("zip/0.png: got no readable picture")
def test_zip_of_a_picture_of_lzma_that_is_cut(folder):
    return archive(
        folder / "data.zip", "0.png", png(), zipfile.ZIP_LZMA, lambda info: (info.compress_size // 2, info.file_size)
    )


@bad("0.png: got 1024.0 GiB to hold in memory")
def test_picture_of_more_frames_than_there_are(folder):
    place, content = pictures(folder), png(16, 16)
    frames = chunk(b"acTL", struct.pack(">II", 1 << 31, 0))
    for path in place.iterdir():
        path.write_bytes(content[:33] + frames + content[33:])
    return str(place)


@bad("GiB to hold in memory", missing=True)
def test_one_long_series_among_many(folder):
    start = "@timestamps false\n@classlabel false\n@data\n"
    (folder / "data.ts").write_text(start + "1\n" * 4000 + ",".join(["1"] * 10**6) + "\n")
    return str(folder / "data.ts")


@bad("data.ts line 4: got more than 33554432 characters")
def test_series_in_a_line_without_an_end(folder):
    (folder / "data.ts").write_text("@timestamps false\n@data\n1,2\n" + "1" * (1 << 26))
    return str(folder / "data.ts")


@bad("data.csv line 2: got more than 4194304 characters", command=True)
def test_csv_of_a_line_without_an_end(folder):
    return table(folder, "a,b\n" + "1" * (1 << 23))


@bad("data.csv: got 100001 columns, need at most 100000; an .npy file may have more")
def test_csv_of_too_many_columns(folder):
    row = ",".join(map(str, range(100001)))
    return table(folder, f"{row}\n{row}\n{row}\n")


@bad("data.parquet: got 81.8 MB packed into")
def test_packed_parquet_of_much_more_than_its_file(folder):
    pytest.importorskip("pyarrow")
    with gzip.open(folder / "data.parquet", "wb") as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    return str(folder / "data.parquet")


@bad("got 324.0 MB packed into")
def test_tiff_of_much_more_than_its_file(folder):
    pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 50).convert("F").save(buffer, "TIFF", compression="tiff_deflate")
    content = buffer.getvalue()
    for tag in (256, 257, 278):  # width, height, and rows in a strip
        for old, new in (("<HHIHH", (8, 0)), ("<HHII", (8,))):
            for kind in (3, 4):
                content = content.replace(struct.pack(old, tag, kind, 1, *new), struct.pack("<HHII", tag, 4, 1, 9000))
    for i in range(2):
        (folder / f"{i}.tif").write_bytes(content)
    return str(folder)
