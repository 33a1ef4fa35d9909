"""Shards of webdataset: what is read is what the package itself yields, and what cannot be trusted is one line."""

import gc
import io
import json
import tarfile

import numpy as np
import pytest
from bad import bad
from bugs import bug
from datafiles import png
from faults import run_cli, tiny, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import stored
from inkwash.data.formats import braces, shards
from inkwash.data.rows import take
from inkwash.data.stored import Stored
from inkwash.training.fit import fit

RANDOM = np.random.default_rng(5)
PIXELS = RANDOM.integers(0, 256, (30, 5, 4, 3)).astype(np.uint8)
KINDS = RANDOM.integers(0, 3, 30)
SIZES = RANDOM.normal(size=30).round(3)


def encoded(save, *arguments, **options):
    buffer = io.BytesIO()
    save(buffer, *arguments, **options)
    return buffer.getvalue()


def picture(pixels):
    return encoded(lambda buffer: Image.fromarray(pixels).save(buffer, "PNG"))


def tar(path, members, **options):
    """A tar file of members, by name; a `TarInfo` in place of bytes is written as it is."""
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if isinstance(content, tarfile.TarInfo) else len(content)
            archive.addfile(info, io.BytesIO(b"" if isinstance(content, tarfile.TarInfo) else content))
    return str(path)


def members(rows, arrays=False):
    found = {}
    for i in rows:
        about = json.dumps({"kind": "abc"[KINDS[i]], "size": SIZES[i]}).encode()
        found |= {f"pets/{i:04d}.cls": str(KINDS[i]).encode(), f"pets/{i:04d}.json": about}
        x = {f"pets/{i:04d}.npy": encoded(np.save, PIXELS[i])} if arrays else {f"pets/{i:04d}.png": picture(PIXELS[i])}
        found |= x
    return found


def folder(path, **options):
    """Three shards of ten examples each."""
    path.mkdir()
    for i in range(3):
        tar(path / f"pets-{i:03d}.tar", members(range(10 * i, 10 * i + 10), **options))
    return path


CONTENT = shards.Shards.content


@bug("one shard for all", shards.Shards, "content", lambda self, ending, i: CONTENT(self, ending, i % 10), arrays=False)
@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("is_small", [True, False])
def test_examples_are_read_where_they_lie(tmp_path, monkeypatch, arrays, is_small):
    if not is_small:
        monkeypatch.setattr(stored, "IN_MEMORY", 0)
    path = folder(tmp_path / "pets", arrays=arrays)
    data = iw.load_dataset(path, iw.DataConfig(labels="json.kind", layout="NHWC"))
    assert isinstance(data.data, np.ndarray if is_small else Stored)
    rows = RANDOM.integers(0, 30, 25)
    assert np.array_equal(take(data.data, rows), PIXELS[rows])
    assert data.condition.classes == ("a", "b", "c")
    assert np.array_equal(data.labels - 1, KINDS)
    pattern = f"{path}/pets-{{002..001}}.tar:{'npy' if arrays else 'png'}"
    some = iw.load_dataset(pattern, iw.DataConfig(condition="json.size", labels="cls", layout="NHWC"))
    assert np.array_equal(some.data, np.concatenate([PIXELS[20:], PIXELS[10:20]]))
    assert np.array_equal(some.given.data, np.concatenate([SIZES[20:], SIZES[10:20]]))
    assert np.array_equal(some.labels - 1, np.concatenate([KINDS[20:], KINDS[10:20]]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_package_yields_the_same(tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="pip install webdataset")
    (tmp_path / "a").mkdir()
    with webdataset.ShardWriter(f"{tmp_path}/a/x-%03d.tar", maxcount=12, verbose=0) as writer:
        for i in range(30):
            writer.write({"__key__": f"{i:04d}", "left.png": PIXELS[i], "cls": int(KINDS[i]), "size.json": SIZES[i]})
    pattern = f"{tmp_path}/a/x-{{000..002}}.tar"
    theirs = list(webdataset.WebDataset(pattern, shardshuffle=False).decode("rgb8").to_tuple("left.png", "cls"))
    ours = iw.load_dataset(pattern, iw.DataConfig(labels="cls"))
    assert np.array_equal(ours.data, np.stack([pixels for pixels, _ in theirs]))
    assert np.array_equal(ours.labels - 1, [label for _, label in theirs])
    assert np.array_equal(iw.load_dataset(pattern, iw.DataConfig(condition="size.json")).given.data, SIZES)
    (tmp_path / "out.tar").write_bytes(shards.dump(ours.spec, ours.data))
    again = webdataset.WebDataset(f"{tmp_path}/out.tar", shardshuffle=False).decode("rgb8").to_tuple("left.png")
    assert np.array_equal(np.stack([pixels for (pixels,) in again]), PIXELS)
    gc.collect()  # it leaves files open


PATTERNS = [
    "x-{000..012}.tar",
    "x-{9..11}.tar",
    "{08..1..3}",
    "{b,a-{1..3},{c,d}e}-{3..2}",
    "{a}{,b}",
    "{1..2..0}-{-1..1}",
    "{c..a}{X..Z}",
    "plain",
    "x{1,2}{a{3}}",
]


@bug("no leading zeros", braces, "_numbers", lambda first, last, step: map(str, range(int(first), int(last) + 1)))
def test_braces_are_expanded_as_the_package_does(monkeypatch):
    expand = pytest.importorskip("braceexpand", reason="pip install webdataset").braceexpand
    for pattern in PATTERNS:
        assert list(braces.expanded(pattern)) == list(expand(pattern))


def test_a_pattern_with_a_number_of_shards_beyond_reason_ends_at_the_first_that_is_not_there(tmp_path):
    tar(tmp_path / "x-1.tar", members(range(4)))
    with pytest.raises(iw.DataError, match=r"x-2.tar: got no such file, need every shard"):
        iw.load_dataset(f"{tmp_path}/x-{{1..999999999999}}.tar")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_samples_are_a_shard_that_reads_as_they_are(tmp_path, dtype):
    values = RANDOM.integers(0, 2, (12, 4, 6)) if dtype == "bool" else RANDOM.normal(100, 20, (12, 4, 6))
    values = values.astype(dtype)
    arrays = {f"{i}.x.npy": encoded(np.save, each) for i, each in enumerate(values)}
    spec = iw.load_dataset(tar(tmp_path / "x.tar", arrays)).spec
    (tmp_path / "samples.tar").write_bytes(shards.dump(spec, values[:3]))
    samples = iw.load_dataset(tmp_path / "samples.tar").data
    assert samples.dtype == values.dtype
    assert np.array_equal(samples, values[:3])
    with tarfile.open(tmp_path / "samples.tar") as archive:
        assert archive.getnames()[0] == ("000000.x.png" if dtype == "uint8" else "000000.x.npy")


def test_a_run_samples_a_shard(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    fit(tiny(f"{folder(tmp_path / 'pets')}/pets-{{000..002}}.tar", steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 0
    expected = iw.load(tmp_path / "run").sample(3, seed=0)
    assert np.array_equal(iw.load_dataset(tmp_path / "out/samples.tar").data, expected)


def test_pictures_of_few_bits_have_their_own_levels(tmp_path):
    bits = RANDOM.integers(0, 2, (6, 4, 4)).astype(bool)
    images = {f"{i}.png": encoded(Image.fromarray(each).save, "PNG") for i, each in enumerate(bits)}
    assert np.array_equal(iw.load_dataset(tar(tmp_path / "x.tar", images)).data, bits)


def entry(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@bad("x.tar/../b.png: got a name outside of the archive", command=True)
def test_a_path_upwards(path):
    return tar(path / "x.tar", {"a.png": png(), "../b.png": png()})


@bad("x.tar//b.png: got a name outside of the archive")
def test_a_path_from_the_root(path):
    return tar(path / "x.tar", {"a.png": png(), "/b.png": png()})


@bad("x.tar/b.png: got a link")
def test_a_link(path):
    return tar(path / "x.tar", {"a.png": png(), "b.png": entry("b.png", tarfile.SYMTYPE, "/etc/passwd")})


@bad("x.tar/b.png: got a device or a pipe")
def test_a_device(path):
    return tar(path / "x.tar", {"a.png": png(), "b.png": entry("b.png", tarfile.CHRTYPE)})


@bad("x.tar: got two members called a.PNG")
def test_two_of_one_name(path):
    return tar(path / "x.tar", {"a.png": png(), "a.PNG": png()})


@bad("x.tar: got an unreadable file (unexpected end of data)", command=True)
def test_truncated(path):
    source = tar(path / "x.tar", members(range(20)))
    (path / "x.tar").write_bytes((path / "x.tar").read_bytes()[:-10500])
    return source


@bad("got an unreadable file (no end at byte")
def test_without_its_end(path):
    source = tar(path / "x.tar", {"a.png": png(), "b.png": png()})
    content = (path / "x.tar").read_bytes()
    (path / "x.tar").write_bytes(content[: 4 * 512])
    return source


@bad("got an unreadable file (a damaged header at byte 1024)")
def test_a_damaged_header_loses_no_example(path):
    source = tar(path / "x.tar", {"a.png": png(), "b.png": png(), "c.png": png()})
    content = bytearray((path / "x.tar").read_bytes())
    content[1024 + 150] ^= 8
    (path / "x.tar").write_bytes(content)
    return source


@bad("got an unreadable file (a header of")
def test_a_header_that_claims_the_memory(path):
    info = entry("a.png", tarfile.XHDTYPE)
    info.size = 1 << 32
    (path / "x.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    return str(path / "x.tar")


@bad("x.tar.gz: got a compressed tar file, need a plain .tar file")
def test_compressed(path):
    with tarfile.open(path / "x.tar.gz", "w:gz"):
        return str(path / "x.tar.gz")


@bad("data.key: got members that end in left.png, right.png, need one of left.png, right.png")
def test_two_pictures(path):
    return tar(path / "x.tar", {"a.left.png": png(), "a.right.png": png()})


@bad("b.npy: got an unreadable file (it holds Python objects)")
def test_objects(path):
    thing = encoded(np.save, np.array([None, {}], object))
    return tar(path / "x.tar", {"a.npy": encoded(np.save, np.zeros(3)), "b.npy": thing})


@bad("b.png: got 3x2 pixels, 1 channel(s), uint8, need 4x2 pixels, 1 channel(s), uint8 like a.png")
def test_pictures_that_differ(path):
    images = {f"{name}.png": picture(np.zeros((2, side), np.uint8)) for name, side in (("a", 4), ("b", 3))}
    return tar(path / "x.tar", images)


@bad("example b: got no .cls, need one, as a has", labels="cls")
def test_a_label_that_is_not_there(path):
    array = encoded(np.save, np.zeros(3))
    return tar(path / "x.tar", {"a.npy": array, "a.cls": b"1", "b.npy": array})


@bad("b.json: got unreadable (kind is no number and no text)", labels="json.kind")
def test_a_label_that_is_null(path):
    array = encoded(np.save, np.zeros(3))
    return tar(path / "x.tar", {"a.npy": array, "a.json": b'{"kind": 1}', "b.npy": array, "b.json": b'{"kind": null}'})


@bad("x.tar: got no member with an ending")
def test_no_examples(path):
    return tar(path / "x.tar", {"README": b"nothing"})


def test_a_condition_of_text_is_a_number_and_labels_of_text_stay_as_they_are(tmp_path):
    names, sizes = ["1_0", "10", "0.5", "1e3"], [0.5, 2, -1e3, 7]
    content = {f"{i}.png": picture(PIXELS[i]) for i in range(4)}
    content |= {f"{i}.txt": name.encode() for i, name in enumerate(names)}
    content |= {f"{i}.size": f" {size!r}\n".encode() for i, size in enumerate(sizes)}
    path = tar(tmp_path / "a.tar", content)
    data = iw.load_dataset(path, iw.DataConfig(labels="txt", condition="size"))
    assert data.condition.classes == tuple(sorted(names))
    assert np.array_equal(data.given.data, sizes)


def test_a_pattern_may_be_longer_than_the_name_of_a_file(tmp_path):
    place = folder(tmp_path / "pets")
    many = f"{place}/pets-{{{','.join(['000', '001', '002'] * 100)}}}.tar"
    assert len(iw.load_dataset(many).data) == 3000


def test_advice_on_a_damaged_picture_is_an_option_that_there_is(tmp_path):
    content = {"0.png": picture(PIXELS[0]), "1.png": b""}
    with pytest.raises(DataError, match=r"1.png: got no readable picture \(it is empty\), need a .* picture$"):
        iw.load_dataset(tar(tmp_path / "a.tar", content))
    (tmp_path / "folder").mkdir()
    for name, each in content.items():
        (tmp_path / "folder" / name).write_bytes(each)
    with pytest.raises(DataError, match=r"1.png: got .*; --data.skip-damaged leaves it out$"):
        iw.load_dataset(tmp_path / "folder")
