"""Pictures that cannot be read, or do not fit together."""

import io
import os
import struct
import zlib

import numpy as np
from bad import bad
from datafiles import chunk, huge_png, pictures
from PIL import Image


@bad("one example")
def test_one_picture(folder):
    return str(pictures(folder, ["L"]))


@bad("2.png: got 8x9 pixels")
def test_mixed_sizes(folder):
    return str(pictures(folder, sizes=[(8, 8), (8, 8), (8, 9)]))


@bad("1.png: got 8x8 pixels, 3 channel(s)")
def test_mixed_modes(folder):
    return str(pictures(folder, ["L", "RGB", "L"]))


@bad("1.png: got 8x8 pixels, 1 channel(s), uint16")
def test_mixed_depths(folder):
    place = pictures(folder)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(place / "1.png")
    return str(place)


@bad("1.png: got no readable picture")
def test_text_named_png(folder):
    place = pictures(folder)
    (place / "1.png").write_text("no picture")
    return str(place)


@bad("4.png: got no readable picture")
def test_folder_named_png(folder):
    place = pictures(folder)
    (place / "4.png").mkdir()
    return str(place)


@bad("1.png: got no readable picture")
def test_empty_png(folder):
    place = pictures(folder)
    (place / "1.png").write_bytes(b"")
    return str(place)


@bad("1.png: got no readable picture")
def test_truncated_png(folder):
    place = pictures(folder)
    content = (place / "1.png").read_bytes()
    (place / "1.png").write_bytes(content[: len(content) // 2])
    return str(place)


@bad("1.png: got no readable picture", command=True)
def test_damaged_png(folder):
    place = pictures(folder)
    content = bytearray((place / "1.png").read_bytes())
    content[len(content) // 2] ^= 255
    (place / "1.png").write_bytes(content)
    return str(place)


@bad("1.jpg: got no readable picture")
def test_truncated_jpeg(folder):
    place = pictures(folder, ["L"])
    buffer = io.BytesIO()
    Image.effect_noise((8, 8), 50).save(buffer, "JPEG")
    (place / "1.jpg").write_bytes(buffer.getvalue()[:-40])
    return str(place)


@bad("1.png: got no readable picture")
def test_bomb(folder):
    place = pictures(folder, ["L", "L"])
    (place / "1.png").write_bytes(huge_png(30_000))
    return str(place)


@bad("1.png: got no readable picture", command=True)
def test_quiet_bomb(folder):
    place = pictures(folder, ["L", "L"])
    (place / "1.png").write_bytes(huge_png(10_000))
    return str(place)


@bad("1.tif: got 2 pages")
def test_pages(folder):
    place = pictures(folder)
    page = Image.effect_noise((8, 8), 50)
    page.save(place / "1.tif", save_all=True, append_images=[page])
    return str(place)


@bad("1.tif: got no readable picture")
def test_truncated_tiff(folder):
    place = pictures(folder)
    Image.effect_noise((8, 8), 50).save(place / "1.tif")
    (place / "1.tif").write_bytes((place / "1.tif").read_bytes()[:40])
    return str(place)


@bad("1.png: got no readable picture")
def test_gif_named_png(folder):
    place = pictures(folder)
    Image.effect_noise((8, 8), 50).save(place / "1.png", "GIF")
    return str(place)


@bad("1.png: got no readable picture (it is interlaced")
def test_interlaced_sixteen_bits(folder):
    place = pictures(folder, ["L"])
    start = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 7))
    (place / "1.png").write_bytes(content + chunk(b"IEND", b""))
    return str(place)


@bad("1.tif: got a picture of mode LAB, need one of mode", command=True)
def test_lab(folder):
    place = pictures(folder)
    Image.new("LAB", (8, 8)).save(place / "1.tif")
    return str(place)


@bad("data.pages: got 'volume', need", pages="volume")
def test_pages_of_an_array(folder):
    np.save(folder / "data.npy", np.zeros((4, 4, 4), np.uint8))
    return str(folder / "data.npy")


@bad("data.skip_damaged: got True, need", skip_damaged=True)
def test_damage_of_an_array(folder):
    np.save(folder / "data.npy", np.zeros((4, 4, 4), np.uint8))
    return str(folder / "data.npy")


@bad("3.png: got no readable picture (it is no regular file)")
def test_a_pipe_among_pictures(folder):
    place = pictures(folder)
    os.mkfifo(place / "3.png")
    return str(place)


@bad("3.png: got no readable picture (it is no regular file)")
def test_a_device_among_pictures(folder):
    place = pictures(folder)
    (place / "3.png").symlink_to("/dev/zero")
    return str(place)
