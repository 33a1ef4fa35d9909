"""Series of unequal length come in whole, from lists and from `.ts` files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data import dataset, ragged
from inkwash.data.dataset import load_dataset

SERIES = [np.arange(k, dtype=np.float32) + k for k in (5, 2, 7)]


@pytest.mark.parametrize("layout", ["NL", "NLC", "NCL"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["arrays", "tensors"])
def test_a_list_of_series_is_padded_beyond_their_ends(layout, kind):
    shaped = {
        "NL": lambda x: x,
        "NLC": lambda x: np.stack([x, -x], 1),
        "NCL": lambda x: np.stack([x, -x], 0),
    }[layout]
    found = load_dataset([kind(shaped(x)) for x in SERIES])
    assert (found.spec.layout, found.data.dtype) == (layout, np.float32)
    assert found.spec.lengths == (0, 1, 0, 0, 1, 0, 1)
    axis = layout.index("L") - 1
    for row, x in zip(found.data, SERIES, strict=True):
        inside, beyond = np.split(row, [len(x)], axis)
        assert np.array_equal(inside, shaped(x))
        assert np.isnan(beyond).all()
    assert "series of 2 to 7 places" in found.notes


@bug("one place too few", dataset, "ended", lambda raw, config, where: shorter(raw, config, where))
@pytest.mark.parametrize("layout", ["NL", "NLC", "NCL"])
def test_a_padded_array_is_the_list_that_it_holds(tmp_path, layout):
    """Whatever it is padded with, and wherever the lengths lie."""
    as_layout = {
        "NL": lambda x: x,
        "NLC": lambda x: np.stack([x, -x], 1),
        "NCL": lambda x: np.stack([x, -x], 0),
    }[layout]
    padded = np.stack([as_layout(np.append(x, np.full(9 - len(x), -1, np.float32))) for x in SERIES])
    lengths = np.array([len(x) for x in SERIES])
    expected = load_dataset([as_layout(x) for x in SERIES])
    np.savez(tmp_path / "data.npz", x=padded, n=lengths)
    np.save(tmp_path / "data.npy", padded)
    np.save(tmp_path / "n.npy", lengths)
    for name, key in (("data.npz", "n"), ("data.npy", "n.npy")):
        found = load_dataset(tmp_path / name, DataConfig(lengths=key, layout=layout))
        assert np.array_equal(found.data, expected.data, equal_nan=True)
        assert found.spec == expected.spec


def shorter(raw, config, where):
    labels = {name: np.maximum(values - 1, 1) for name, values in raw.labels.items()}
    return cut_to_lengths(replace(raw, labels=labels), config, where)


cut_to_lengths = ragged.ended


@pytest.mark.parametrize(
    ("lengths", "layout", "words"),
    [
        ([5, 2, 9], "NL", r"lengths n\[2\]: got 9, need 1 to 8 places"),
        ([5, 0, 7], "NL", r"lengths n\[1\]: got 0, need 1 to 8 places"),
        ([5, 2], "NL", r"lengths n: got int64 of shape \(2,\), need a whole number for each of 3 series"),
        ([5.0, 2.0, 7.0], "NL", "got float64 of shape"),
        (
            [5, 2, 7],
            "auto",
            r"data.lengths: got 'n', for an array of shape \(3, 8\), need series, with --data.layout NL",
        ),
    ],
)
def test_lengths_that_do_not_fit_are_refused(tmp_path, lengths, layout, words):
    np.savez(tmp_path / "data.npz", x=np.zeros((3, 8)) + np.arange(8), n=np.array(lengths))
    with pytest.raises(DataError, match=words):
        load_dataset(tmp_path / "data.npz", DataConfig(lengths="n", layout=layout))
    with pytest.raises(DataError, match=r"data.lengths: got 'n', need .*an .npy file, an .npz file"):
        load_dataset(np.zeros((3, 8)), DataConfig(lengths="n", layout="NL"))


def test_whole_numbers_become_real_ones_with_a_note():
    found = load_dataset([np.arange(3), np.arange(4)])
    assert found.data.dtype == np.float64
    assert any("int64 read as real numbers" in note for note in found.notes)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([np.zeros((2, 3)), np.zeros((3, 4))], "number of places only"),
        ([np.zeros(3), np.zeros(0)], r"<series>\[1\]: got no place"),
        ([np.zeros(3), np.array([1.0, np.nan])], r"<series>\[1\]: got NaN, need numbers; with --data.missing, NaN"),
        ([np.zeros(3), np.array(["a"])], "values of type"),
    ],
)
def test_what_is_no_series_is_refused(source, words):
    with pytest.raises(DataError, match=words):
        load_dataset(source)


def test_a_gap_within_a_series_is_asked_for():
    found = load_dataset([np.zeros(3), np.array([1.0, np.nan])], DataConfig(missing=True))
    assert found.spec.missing == (True,)
    assert found.spec.lengths == (0, 1, 1)


def test_what_is_masked_is_missing():
    masked = np.ma.masked_array([1, 2, 3, 4], [False, True, False, False])
    found = load_dataset([masked, np.arange(3)])
    assert np.array_equal(found.data, [[1, np.nan, 3, 4], [0, 1, 2, np.nan]], equal_nan=True)
    alike = load_dataset([masked.astype(float), masked[::-1] * 2.0])
    assert np.array_equal(alike.data, [[1, np.nan, 3, 4], [8, 6, np.nan, 2]], equal_nan=True)


def test_series_of_bfloat16_are_read_as_float32():
    found = load_dataset([torch.arange(k).bfloat16() for k in (3, 4)])
    assert np.array_equal(found.data, np.array([[0, 1, 2, np.nan], [0, 1, 2, 3]], np.float32), equal_nan=True)


def test_means_of_series_with_missing_places_are_refused():
    with pytest.raises(DataError, match=r"data\.shrink: got 2, of series with missing places"):
        load_dataset([np.arange(4.0), np.arange(8.0)], DataConfig(shrink=2))


def test_another_layout_is_refused():
    with pytest.raises(DataError, match="NL for shape"):
        load_dataset(SERIES, DataConfig(layout="ND"))


HEADER = "# of two lines\n@problemName Beats\n@timeStamps false\n@univariate {}\n@classLabel true one two\n@data\n"


def test_a_ts_file_of_one_channel(tmp_path):
    text = HEADER.format("true") + "1,2.5,-3e2:one\n\n4,5:two\n# no series\n6,?,8,9:one\n"
    (tmp_path / "beats.ts").write_text(text)
    found = load_dataset(tmp_path / "beats.ts", DataConfig(missing=True, labels="class"))
    nan = np.nan
    rows = [[1, 2.5, -300, nan], [4, 5, nan, nan], [6, nan, 8, 9]]
    assert np.array_equal(found.data, rows, equal_nan=True)
    assert found.spec.lengths == (0, 1, 1, 1)
    assert found.condition.classes == ("one", "two")
    assert found.labels.tolist() == [1, 2, 1]


def test_a_ts_file_of_channels_and_of_equal_lengths(tmp_path):
    (tmp_path / "beats.ts").write_text(HEADER.format("false") + "1,2:3,4:one\n5,6:7,8:two\n")
    found = load_dataset(tmp_path / "beats.ts")
    assert np.array_equal(found.data, [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert (found.spec.layout, found.spec.lengths, found.spec.missing) == ("NCL", None, None)


def test_the_numbers_to_predict_are_a_condition(tmp_path):
    header = HEADER.format("true").replace("@classLabel true one two", "@targetLabel true")
    (tmp_path / "beats.ts").write_text(header + "1,2:0.5\n5,6:-7\n")
    found = load_dataset(tmp_path / "beats.ts", DataConfig(condition="target"))
    assert found.given.data.tolist() == [0.5, -7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n", "no line @data"),
        ("@timeStamps true\n@data\n(0,1),(1,2)\n", "time stamps"),
        ("@data\n1,2\n3,x\n", "line 3: got no series"),
        ("@data\n1,2:3\n3,4:5,6\n", "line 2: got no series"),
        ("@data\n1,2\n3,4:5,6\n", "as many channels"),
        ("@data\n", "got no series"),
    ],
)
def test_a_damaged_ts_file_says_where(text, words, tmp_path):
    (tmp_path / "x.ts").write_text(text)
    with pytest.raises(DataError, match=words):
        load_dataset(tmp_path / "x.ts")
