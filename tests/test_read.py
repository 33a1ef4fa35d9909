"""What is given as an object of Python is read as the file that holds the same; IDX as its format says."""

import gzip
import struct

import numpy as np
import pytest
import torch
from datafiles import npy
from faults import run_cli, tiny, without_pictures
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import inkwash as iw
from inkwash.data import load_dataset
from inkwash.errors import DataError
from inkwash.fit import fit

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
        ("<array>", "<array>, which was given from Python"),
    ],
)
def test_bad_objects_are_named(source, words):
    with pytest.raises(DataError, match=words):
        load_dataset(source)


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
    said = capsys.readouterr().out
    for words in (
        "wine: 142 to train on, 36 held out",
        "labels cultivar: class_0, class_1, class_2",
        "table row 13, float64 [0.13, 1680] → mean 0, standard deviation 1 per entry",
        "MLP, width 128",
        "7 steps of 256 examples",
        "next      inkwash train wine",
    ):
        assert words in said
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_inspected_with_its_own_options(tmp_path, monkeypatch, capsys):
    without_pictures(monkeypatch)
    fit(tiny(npy(tmp_path, RANDOM.normal(size=(40, 2))), steps=1), tmp_path / "run")
    assert run_cli(["inspect", tmp_path / "run"]) == 0
    assert run_cli(["inspect", tmp_path / "run", "--train.steps", 3]) == 2
    assert "train.steps: got 3, need data to try it on" in capsys.readouterr().err
