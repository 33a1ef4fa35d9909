"""IDX files that cannot be read."""

import gzip
import struct

from bad import bad


def idx_file(folder, content, name="x-idx2-ubyte"):
    (folder / name).write_bytes(content)
    return str(folder / name)


@bad("its first bytes are not those of IDX")
def test_idx_of_another_magic(folder):
    return idx_file(folder, b"\x89PNG" + bytes(60))


@bad("its first bytes are not those of IDX")
def test_idx_of_an_unknown_type(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 10, 2, 2, 2) + bytes(4))


@bad("x-idx2-ubyte: got an unreadable file")
def test_headless_idx(folder):
    return idx_file(folder, b"\0\0\x08")


@bad("16 bytes, and fewer follow", command=True)
def test_truncated_idx(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(15))


@bad("16 bytes, and more follow")
def test_overlong_idx(folder):
    return idx_file(folder, struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(17))


@bad("x-idx2-ubyte: got an unreadable file")
def test_idx_claiming_too_much(folder):
    content = struct.pack(">HBB4I", 0, 14, 4, *[2**32 - 1] * 4)
    return idx_file(folder, content)


@bad("GiB to hold in memory")
def test_packed_idx_claiming_too_much(folder):
    content = gzip.compress(struct.pack(">HBB2I", 0, 14, 2, 2**32 - 1, 8))
    return idx_file(folder, content, "x-idx2-ubyte.gz")


@bad("x-idx2-ubyte.gz: got an unreadable file")
def test_packed_idx_that_is_not(folder):
    return idx_file(folder, bytes(60), "x-idx2-ubyte.gz")


@bad("x-idx2-ubyte.gz: got an unreadable file")
def test_truncated_packed_idx(folder):
    content = gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 4, 4) + bytes(16))
    return idx_file(folder, content[:-9], "x-idx2-ubyte.gz")
