"""A name, a path or an object finds its reader; a run takes the same data again."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from datafiles import npy, pictures
from faults import run_cli, tiny, without_pictures
from torch.utils.data import TensorDataset

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.readers import FILES, source_name
from inkwash.training.fit import fit

YOUR_DATA = Path(__file__).parents[2] / "docs" / "your-data.md"
RANDOM = np.random.default_rng(6)
IMAGES = RANDOM.integers(0, 256, (12, 5, 6)).astype(np.uint8)
CLASSES = RANDOM.permutation(np.arange(12) % 3)


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


def test_every_kind_of_file_is_named_where_one_is_wanted(tmp_path):
    (tmp_path / "data.xlsx").write_bytes(b"x")
    with pytest.raises(DataError) as refusal:
        load_dataset(tmp_path / "data.xlsx")
    assert [reader.words for reader in FILES if reader.words not in str(refusal.value)] == []


@pytest.mark.parametrize("reader", FILES, ids=lambda reader: reader.words)
def test_the_documentation_has_a_row_for_every_kind_of_file(reader):
    rows = re.findall(r"^\| (?:an? )(.*?) \|", YOUR_DATA.read_text("utf-8"), re.MULTILINE)
    assert re.search(r"folder|\.\w+|IDX|HDF5|netCDF|Zarr", reader.words)[0] in " ".join(rows)


@pytest.mark.parametrize(
    ("source", "config", "words"),
    [
        (
            "digits",
            iw.DataConfig(key="x"),
            r"data\.key: got 'x', need a store of Zarr, .*an \.npz file, .* or a \.mat file of MATLAB$",
        ),
        (
            "wine",
            iw.DataConfig(drop=("ash",)),
            r"data\.drop: got ash, need .*a table in a \.csv or \.tsv file, .* or hf:NAME$",
        ),
        (IMAGES, iw.DataConfig(numbers=("a", "b")), r"data\.numbers: got a, b, need a table"),
        (0.5, iw.DataConfig(), r"data: got a float, need a name or path, a NumPy array, .* or a Dataset of the Hub$"),
    ],
)
def test_an_option_names_the_sources_that_it_goes_with(source, config, words):
    with pytest.raises(DataError, match=words):
        load_dataset(source, config)


def test_an_option_for_files_is_not_ignored_for_a_folder_of_such_a_name(tmp_path):
    pictures(tmp_path).rename(tmp_path / "data.npz")
    with pytest.raises(DataError, match=r"data\.key: got 'x'"):
        load_dataset(tmp_path / "data.npz", iw.DataConfig(key="x"))


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
