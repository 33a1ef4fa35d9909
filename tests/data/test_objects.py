"""Objects of Python are read as the file that holds the same; what is wrong with one is named."""

import io

import numpy as np
import pytest
import tifffile
import torch
from datafiles import npy
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import raw
from inkwash.data.dataset import load_dataset
from inkwash.data.png16 import encode_png

RANDOM = np.random.default_rng(6)
IMAGES = RANDOM.integers(0, 256, (12, 5, 6)).astype(np.uint8)
CLASSES = RANDOM.permutation(np.arange(12) % 3)


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[int(i)]


@pytest.mark.parametrize(
    "source",
    [
        IMAGES,
        torch.from_numpy(IMAGES),
        TensorDataset(torch.from_numpy(IMAGES)),
        Items([(x, int(c)) for x, c in zip(IMAGES, CLASSES, strict=True)]),
        Items([Image.fromarray(x) for x in IMAGES]),
        [Image.fromarray(x) for x in IMAGES],
        tuple(IMAGES),
        [torch.from_numpy(x) for x in IMAGES],
        list(zip(IMAGES, CLASSES, strict=True)),
        [(x, int(c), "more") for x, c in zip(IMAGES, CLASSES, strict=True)],
        IMAGES.tolist,
    ],
    ids=[
        "array",
        "tensor",
        "tensors",
        "pairs",
        "pictures",
        "list of pictures",
        "tuple of arrays",
        "list of tensors",
        "list of pairs",
        "list of triples",
        "numbers",
    ],
)
def test_objects_are_read_as_the_file(tmp_path, source):
    if callable(source):  # numbers have no type
        source = [np.array(x, np.uint8) for x in source()]
    plain, given = load_dataset(npy(tmp_path, IMAGES)), load_dataset(source)
    assert given.fingerprint() == plain.fingerprint()
    assert given.spec == plain.spec


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"x": np.zeros((3, 2))}, "data: got a dict"),
        (DataLoader(np.zeros((4, 2)), batch_size=2), "data: got a DataLoader"),
        (np.ma.masked_array([[[1.0], [2]], [[3], [4]]], [[[0], [0]], [[1], [0]]]), "data.missing: got masked entries"),
        (torch.zeros(4, 2, dtype=torch.complex64), "values of type complex64"),
        (Items([]), "<dataset>: got no items"),
        (type("Stream", (IterableDataset,), {"__iter__": lambda self: iter(())})(), "<dataset>: got no items"),
        ([], "<items>: got no items"),
        ([{"image": 1}] * 2, r"<items>\[0\]: got a dict of image, need x or \(x, label\)"),
        (
            Items([np.zeros(2), np.zeros(3)]),
            r"<dataset>\[1\]: got float64 of shape \(3,\), need .* \(2,\)",
        ),
        (Items([np.zeros(2), np.zeros(2, np.int8)]), r"<dataset>\[1\]: got int8 of"),
        (Items([np.zeros(2), (np.zeros(2), 1)]), r"<dataset>\[1\]: got 2 part\(s\)"),
        (Items([Image.new("LAB", (4, 4))] * 3), r"<dataset>\[0\]: got a picture of mode LAB"),
        (np.array([[0.0, 1], [np.nan, 1]]), r"<array>\[1\]: got nan"),
        (Items(["text", "more"]), r"<dataset>\[0\]: got 'text', need an array, a picture, or the path of"),
        (Items([([1.2, 3.4], 0)] * 3), r"<dataset>\[0\]: got no array"),
        (Items([[1.2, 3.4], [5.6]]), r"<dataset>\[1\]: got float64 of shape \(1,\), need"),
        ("<array>", "<array>, which was given from Python"),
    ],
)
def test_bad_objects_are_named(source, words):
    with pytest.raises(DataError, match=words):
        load_dataset(source)


@pytest.mark.parametrize("kind", [list, tuple])
def test_plain_numbers_are_a_vector(kind):
    points = RANDOM.normal(size=(9, 2))
    data = load_dataset(Items([kind(x) for x in points.tolist()]))
    assert np.array_equal(data.data, points)


TARGETS = {
    "boxes": ([np.zeros((i % 3, 4)) for i in range(12)], r"<dataset>\[1\]: label: got float64 of shape \(1, 4\)"),
    "words": ([["a"], ["b", "c"]] * 6, r"<dataset>\[1\]: label: got <U1 of shape \(2,\), need <U1 of shape \(1,\)"),
    "ragged": ([[[1], [2, 3]]] * 12, r"<dataset>\[0\]: label: got no array"),
    "kinds": (["cat", 1] * 6, r"<dataset>\[1\]: label: got int64 of shape \(\)"),
    "dicts": ([{"box": 1}] * 12, r"<dataset>\[0\]: label: got a dict of box"),
}


@pytest.mark.parametrize(("targets", "words"), TARGETS.values(), ids=TARGETS)
def test_targets_that_are_no_labels_hinder_only_who_asks_for_them(targets, words):
    items = Items(list(zip(IMAGES, targets, strict=True)))
    assert np.array_equal(load_dataset(items).data, IMAGES)
    with pytest.raises(DataError, match=words):
        load_dataset(items, iw.DataConfig(labels="label"))


def test_targets_are_a_condition():
    data = load_dataset(Items(list(zip(IMAGES, IMAGES + 0.5, strict=True))), iw.DataConfig(condition="label"))
    assert np.array_equal(data.given.data, IMAGES + 0.5)


def lazily(contents):
    """Pictures that Pillow has opened and not read."""
    return Items([Image.open(io.BytesIO(content)) for content in contents])


def png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_opened_pictures_are_read_as_those_of_a_folder(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i, x in enumerate(IMAGES):
        (tmp_path / f"{i:02d}.png").write_bytes(png(x, exif=exif))
    data, folder = load_dataset(lazily(png(x, exif=exif) for x in IMAGES)), load_dataset(tmp_path)
    assert data.fingerprint() == folder.fingerprint()
    assert data.notes[0] == folder.notes[0] == "12 picture(s) turned upright by their EXIF orientation"


def test_opened_pictures_are_not_cut_to_eight_bits():
    deep = RANDOM.integers(0, 1 << 16, (5, 6)).astype(np.uint16)
    assert load_dataset(lazily([png(deep)] * 2)).spec.dtype == "uint16"
    colour = np.stack([deep, deep // 2, deep // 3], axis=-1)
    assert np.array_equal(load_dataset(lazily([encode_png(colour)] * 2)).data, [colour] * 2)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, colour, photometric="rgb", planarconfig="contig")
    assert np.array_equal(load_dataset(lazily([buffer.getvalue()] * 2)).data, [colour] * 2)
    cut = Image.open(buffer)
    cut.load()
    with pytest.raises(DataError, match="got a TIFF picture that Pillow has cut to mode RGB, need its path"):
        load_dataset([cut, cut])


def test_a_truncated_opened_picture_is_named():
    items = lazily([png(IMAGES[0]), png(IMAGES[1])[:-30]])
    with pytest.raises(DataError, match=r"<dataset>\[1\]: got no readable picture"):
        load_dataset(items)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_opened_pictures_of_other_formats(tmp_path, suffix):
    for i, x in enumerate(IMAGES):
        Image.fromarray(x).save(tmp_path / f"{i:02d}.{suffix}")
    data = load_dataset(Items([Image.open(tmp_path / f"{i:02d}.{suffix}") for i in range(12)]))
    assert data.fingerprint() == load_dataset(tmp_path).fingerprint()


@pytest.mark.parametrize(
    "source",
    [
        Items(list(zip(IMAGES, CLASSES, strict=True))),
        TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(CLASSES)),
    ],
    ids=["pairs", "tensors"],
)
def test_labels_are_those_of_the_file(tmp_path, source):
    np.savez(tmp_path / "truth.npz", x=IMAGES, y=CLASSES)
    truth = load_dataset(tmp_path / "truth.npz", iw.DataConfig(labels="y"))
    data = load_dataset(source, iw.DataConfig(labels="label"))
    assert np.array_equal(data.labels, truth.labels)
    assert data.condition == truth.condition
    assert data.fingerprint() == truth.fingerprint()


class Stream(IterableDataset):
    def __iter__(self):
        return iter(IMAGES)


def test_generators_are_gone_through_once(tmp_path):
    plain = load_dataset(npy(tmp_path, IMAGES))
    for source in ((x for x in IMAGES), iter(IMAGES), map(Image.fromarray, IMAGES), Stream()):
        assert load_dataset(source).fingerprint() == plain.fingerprint()


def test_a_generator_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(raw, "_MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"<items>: got .* GiB to hold in memory"):
        load_dataset(np.zeros(9) for _ in iter(int, 1))


def test_paths_are_read_as_their_folder(tmp_path):
    for i, x in enumerate(IMAGES):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(x).save(tmp_path / "ab"[i % 2] / f"{i:02d}.png")
    folder = load_dataset(tmp_path, iw.DataConfig(labels="folder"))
    paths = sorted(tmp_path.rglob("*.png"))
    for source in (paths, [str(path) for path in paths], iter(paths)):
        assert load_dataset(source, iw.DataConfig(labels="folder")).fingerprint() == folder.fingerprint()
    pairs = [(path, path.parent.name) for path in paths]
    assert load_dataset(pairs, iw.DataConfig(labels="label")).fingerprint() == folder.fingerprint()
    with pytest.raises(DataError, match=r"<items>\[1\]: got no file"):
        load_dataset([paths[0], tmp_path / "none.png"])


def test_paths_of_arrays(tmp_path):
    for i, x in enumerate(IMAGES):
        np.save(tmp_path / f"{i:02d}.npy", x)
    assert np.array_equal(load_dataset(sorted(tmp_path.iterdir())).data, IMAGES)


def test_plain_lists_of_numbers_are_vectors():
    points = RANDOM.normal(size=(9, 2))
    assert np.array_equal(load_dataset(points.tolist()).data, points)
    assert np.array_equal(load_dataset(points[:, 0].tolist()).data, points[:, 0])


@pytest.mark.parametrize("wrap", [lambda x: x, list, lambda x: TensorDataset(x, torch.arange(len(x)))])
def test_bfloat16_is_read_with_all_its_values(wrap):
    """Every bfloat16 is a float32 with 16 zeros at its end, by its definition."""
    bits = torch.from_numpy(RANDOM.integers(0x3F00, 0x4100, (9, 2)).astype(np.int16))
    expected = (bits.numpy().astype(np.int32) << 16).view(np.float32)
    data = load_dataset(wrap(bits.view(torch.bfloat16)))
    assert data.data.dtype == np.float32
    assert np.array_equal(data.data, expected)
    assert any("bfloat16 read as float32, which holds all of its values" in note for note in data.notes)


@pytest.mark.parametrize(
    "source",
    [
        lambda x: [Image.fromarray(each) for each in x],
        lambda x: (each for each in x),
        lambda x: Items(list(zip(x, CLASSES, strict=True))),
        lambda x: torch.from_numpy(x).float().bfloat16(),
    ],
    ids=["pictures", "generator", "pairs", "bfloat16"],
)
def test_objects_train_as_their_array(tmp_path, source):
    """The run knows the same data, by its checksum, and samples in its type."""
    options = {"train": iw.TrainConfig(steps=1, batch_size=4), "network": iw.NetworkConfig(width=8, depth=1)}
    run = iw.train(source(IMAGES), tmp_path / "run", report=False, **options)
    is_real = run.header().transform.spec.levels is None
    array = torch.from_numpy(IMAGES).float().bfloat16().float().numpy() if is_real else IMAGES
    assert run.header().fingerprint == load_dataset(array).fingerprint()
    assert run.model().sample(2, seed=0, steps=2).dtype == array.dtype


def test_a_model_takes_bfloat16(tmp_path):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    run = iw.train(x, tmp_path / "run", report=False, train=iw.TrainConfig(steps=1))
    model = run.model()
    assert torch.equal(model.bound(x, seed=0).total, model.bound(x.float().numpy(), seed=0).total)


def test_a_label_of_none_is_named():
    items = [(np.zeros((2, 2)), 0), (np.ones((2, 2)), None), (np.ones((2, 2)), 1)]
    with pytest.raises(DataError, match=r"<items>\[1\]: label: got None, need a class for each item"):
        load_dataset(items, iw.DataConfig(labels="label"))
