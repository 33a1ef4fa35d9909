"""What is given as an object of Python is read as the file that holds the same; IDX as its format says."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from datafiles import npy, pictures
from faults import run_cli, tiny, without_pictures
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.png16 import encode_png
from inkwash.data.readers import source_name
from inkwash.training.fit import fit

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


def idx(array, code):
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


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


def test_paths_are_read_as_their_words(tmp_path):
    assert load_dataset(tmp_path / npy(tmp_path, IMAGES)).name == "data"


def test_a_path_is_one_though_a_built_in_set_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = pictures(tmp_path).rename("digits")
    (tmp_path / "hf:a").symlink_to(place)
    note = "digits is the built-in set; ./digits is the folder of that name"
    assert note in load_dataset("digits").notes
    assert load_dataset("digits").data.shape == (1797, 1, 8, 8)
    for source in (Path("digits"), "./digits", Path("hf:a")):
        data = load_dataset(source)
        assert data.data.shape == (3, 8, 8)
        assert note not in data.notes
    assert load_dataset(Path("digits")).name == "digits"
    assert load_dataset(source_name(Path("digits"))).data.shape == (3, 8, 8)  # what a run stores of it
    place.rename("others")
    assert load_dataset("digits").notes == ()


@pytest.mark.parametrize("kind", ["pairs", "tensors", "npy", "idx", "idx.gz"])
def test_labels_go_with_their_examples(tmp_path, kind):
    """Whatever holds them: the classes of an .npz file."""
    np.savez(tmp_path / "truth.npz", x=IMAGES, y=CLASSES)
    truth = load_dataset(tmp_path / "truth.npz", iw.DataConfig(labels="y"))
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", CLASSES)
    pack = gzip.compress if kind == "idx.gz" else bytes
    end = ".gz" if kind == "idx.gz" else ""
    (tmp_path / f"x-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES, 8)))
    (tmp_path / f"y-idx1-ubyte{end}").write_bytes(pack(idx(CLASSES.astype(np.uint8), 8)))
    source, name = {
        "pairs": (Items(list(zip(IMAGES, CLASSES, strict=True))), "label"),
        "tensors": (TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(CLASSES)), "label"),
        "npy": (tmp_path / "x.npy", "y.npy"),
        "idx": (tmp_path / "x-idx3-ubyte", "y-idx1-ubyte"),
        "idx.gz": (tmp_path / "x-idx3-ubyte.gz", "y-idx1-ubyte.gz"),
    }[kind]
    data = load_dataset(source, iw.DataConfig(labels=name))
    assert np.array_equal(data.labels, truth.labels)
    assert data.condition == truth.condition
    assert data.fingerprint() == truth.fingerprint()


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_types_of_idx(tmp_path, code, dtype):
    array = RANDOM.integers(0, 100, (6, 4)).astype(dtype)
    (tmp_path / "points.idx").write_bytes(idx(array, code))
    data = load_dataset(tmp_path / "points.idx")
    assert np.array_equal(data.data, array)
    assert data.spec.dtype == np.dtype(dtype).name
    assert isinstance(data.data, np.memmap)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([[1, 2], [3, 4]], "data: got a list"),
        (np.ma.masked_array([[1.0, 2], [3, 4]]), "data: got a MaskedArray"),
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


def test_labels_that_are_not_there(tmp_path):
    for source in (IMAGES, TensorDataset(torch.from_numpy(IMAGES)), "swiss-roll"):
        with pytest.raises(DataError, match=r"data.labels: got 'kind', need nothing"):
            load_dataset(source, iw.DataConfig(labels="kind"))
    with pytest.raises(DataError, match=r"need the name of an .npy or IDX file beside data.npy"):
        load_dataset(npy(tmp_path, IMAGES), iw.DataConfig(labels="kind.npy"))


def test_runs_on_objects_go_on_and_are_evaluated(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    x, config = RANDOM.normal(size=(80, 2)), tiny("")
    options = {"process": config.process, "network": config.network, "train": config.train}
    run = iw.train(x, tmp_path / "run", **options)
    assert (
        iw.train(torch.from_numpy(x), tmp_path / "tensor", **options).header().fingerprint == run.header().fingerprint
    )
    with pytest.raises(iw.ConfigError, match="other data than before"):
        iw.train(x + 1, tmp_path / "run", **options)
    with pytest.raises(DataError, match="given from Python"):
        run.dataset()
    with pytest.raises(DataError, match="data that has changed"):
        run.dataset(x + 1)
    assert np.array_equal(run.dataset(x).data, x)


def test_inspection_of_data_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["inspect", "wine", "--data.labels", "cultivar", "--train.steps", 7]) == 0
    printed = capsys.readouterr().out
    for words in (
        "wine: 142 to train on, 36 held out",
        "labels cultivar: class_0, class_1, class_2",
        "table row 13, float64 [0.13, 1680] → mean 0, standard deviation 1 per entry",
        "MLP, width 128",
        "7 steps of 256 examples",
        "next      inkwash train wine",
    ):
        assert words in printed
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_inspected_with_its_own_options(tmp_path, monkeypatch, capsys):
    without_pictures(monkeypatch)
    fit(tiny(npy(tmp_path, RANDOM.normal(size=(40, 2))), steps=1), tmp_path / "run")
    assert run_cli(["inspect", tmp_path / "run"]) == 0
    assert run_cli(["inspect", tmp_path / "run", "--train.steps", 3]) == 2
    assert "train.steps: got 3, need data to try it on" in capsys.readouterr().err
