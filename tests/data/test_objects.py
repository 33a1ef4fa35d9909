"""Objects of Python are read as the file that holds the same; what is wrong with one is named."""

import io

import numpy as np
import pytest
import torch
from datafiles import npy
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import inkwash as iw
from inkwash.core.errors import DataError
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
        return self.items[i]


@pytest.mark.parametrize(
    "source",
    [
        IMAGES,
        torch.from_numpy(IMAGES),
        TensorDataset(torch.from_numpy(IMAGES)),
        Items([(x, int(c)) for x, c in zip(IMAGES, CLASSES, strict=True)]),
        Items([Image.fromarray(x) for x in IMAGES]),
    ],
    ids=["array", "tensor", "tensors", "pairs", "pictures"],
)
def test_objects_are_read_as_the_file(tmp_path, source):
    plain, given = load_dataset(npy(tmp_path, IMAGES)), load_dataset(source)
    assert given.fingerprint() == plain.fingerprint()
    assert given.spec == plain.spec


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([[1, 2], [3, 4]], "data: got a list"),
        (np.ma.masked_array([[[1.0], [2]], [[3], [4]]], [[[0], [0]], [[1], [0]]]), "data.missing: got masked entries"),
        (torch.zeros(4, 2, dtype=torch.bfloat16), "values of type torch.bfloat16"),
        (Items([]), "<dataset>: got a dataset that is empty"),
        (type("Stream", (IterableDataset,), {"__iter__": lambda self: iter(())})(), "has no length"),
        (Items([np.zeros(2), np.zeros(3)]), r"<dataset>\[1\]: got 1 part\(s\), the first float64 of shape \(3,\)"),
        (Items([np.zeros(2), np.zeros(2, np.int8)]), r"<dataset>\[1\]: got 1 part\(s\), the first int8"),
        (Items([np.zeros(2), (np.zeros(2), 1)]), r"<dataset>\[1\]: got 2 part\(s\)"),
        (Items([(np.zeros(2), 1, 2)] * 3), r"<dataset>\[0\]: got 3 part\(s\)"),
        (Items([Image.new("P", (4, 4))] * 3), r"<dataset>\[0\]: got a picture of mode P"),
        (np.array([[0.0, 1], [np.nan, 1]]), r"<array>\[1\]: got nan"),
        (Items(["text", "more"]), "<dataset>: got"),
        (Items([([1.2, 3.4], 0)] * 3), r"<dataset>\[0\]: got no array"),
        (Items([[1.2, 3.4], [5.6]]), r"<dataset>\[1\]: got 1 part\(s\), the first float64 of shape \(1,\)"),
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
    "ragged": ([[[1], [2, 3]]] * 12, r"<dataset>\[0\]: got no array"),
    "kinds": (["cat", 1] * 6, r"<dataset>\[1\]: label: got int64 of shape \(\)"),
    "dicts": ([{"box": 1}] * 12, r"<dataset>: labels label: got labels of type object"),
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
    items = lazily([encode_png(np.stack([deep] * 3, axis=-1))] * 2)
    with pytest.raises(DataError, match=r"<dataset>\[0\]: got a picture of mode RGB;16B"):
        load_dataset(items)


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
