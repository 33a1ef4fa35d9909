"""Tables in ARFF and in files of Arrow: types, categories and missing cells, in and out."""

import io

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from bugs import bug
from faults import run_cli, tiny, without_pictures
from pyarrow import ipc
from scipy.io import arff as scipy_arff

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import arff as ours, feather as our_feather
from inkwash.data.frames import to_frame
from inkwash.data.readers import read_rows
from inkwash.training.fit import fit

RANDOM = np.random.default_rng(8)
WEKA = """% the weather of Weka, and more
@RELATION 'the weather'

@ATTRIBUTE outlook {sunny, 'partly cloudy', "?", it\\'s}
@attribute Temperature real
@attribute 'wind speed' INTEGER
@attribute day date "yyyy-MM-dd"
@attribute windy {TRUE,FALSE}

@DATA
sunny,85,1,"2024-02-29",TRUE
'partly cloudy', 80.5 ,2,'2024-03-01',FALSE
?,?,?,?,?
"?",-1e1,4,"2024-03-05",TRUE, {1}
% a comment
sunny,.5,"7",2024-03-04,FALSE
"""


def test_arff_is_read_as_weka_means_it(tmp_path):
    (tmp_path / "a.arff").write_text(WEKA.replace("it\\'s", "'it\\'s'"))
    data = load_dataset(tmp_path / "a.arff")
    frame = to_frame(data.spec, data.data)
    assert list(frame) == ["outlook", "Temperature", "wind speed", "day", "windy"]
    assert list(frame["outlook"].cat.categories) == ["sunny", "partly cloudy", "?", "it's"]
    assert frame["outlook"].astype(object).where(frame["outlook"].notna(), None).tolist() == [
        "sunny",
        "partly cloudy",
        None,
        "?",
        "sunny",
    ]
    assert frame["Temperature"].fillna(0).tolist() == [85, 80.5, 0, -10, 0.5]
    assert frame["wind speed"].fillna(0).tolist() == [1, 2, 0, 4, 7]
    assert frame["wind speed"].dtype == "Int64"
    assert str(frame["day"].iloc[0])[:10] == "2024-02-29"


def test_sparse_rows_of_arff_mean_zero_and_the_first_category(tmp_path):
    rows = ["{0 1, 1 q}", "{}", "{1 ?}", "{0 3},{1}", '{1 "r r",0 4}']
    head = ["@relation x", "@attribute a real", '@attribute b {p,q,"r r"}', "@data"]
    (tmp_path / "a.arff").write_text("\n".join([*head, *rows]))
    np.testing.assert_array_equal(load_dataset(tmp_path / "a.arff").data, [[1, 1], [0, 0], [0, np.nan], [3, 0], [4, 2]])


@bug("unquoted", ours, "_quoted", lambda text: text)
def test_scipy_and_liac_read_the_arff_of_samples(tmp_path):
    frame = pd.DataFrame(
        {
            "size": [1.5, None, 3.25, 0.1],
            "a, b": pd.Categorical(["it's", "b c", None, "b c"], ["b c", "it's", "%"]),
            "count": pd.array([1, None, 2**40, -3], "Int64"),
        }
    )
    data = load_dataset(frame)
    content = ours.dump(data.spec, data.data).decode()
    (tmp_path / "samples.arff").write_text(content)
    assert "'b c'" in content  # the format has quotes around a text with a space
    assert np.array_equal(read_rows(tmp_path / "samples.arff", data.spec), data.data, equal_nan=True)
    values, about = scipy_arff.loadarff(io.StringIO(content.replace("\\'", "")))
    assert about.names() == list(frame)
    np.testing.assert_array_equal(values["size"], frame["size"])
    assert values["a, b"][2] == b"?"  # which is no category of the header
    liac = pytest.importorskip("arff", reason="pip install liac-arff")
    found = liac.loads(content)
    assert found["attributes"][1] == ("a, b", ["b c", "it's", "%"])
    assert [row[1] for row in found["data"]] == ["it's", "b c", None, "b c"]


FRAME = pd.DataFrame(
    {
        "real": RANDOM.normal(size=40).astype(np.float32),
        "count": pd.array([*range(39), None], "Int16"),
        "kind": pd.Categorical(["a", "b"] * 20, ["b", "c", "a"], ordered=True),
        "text": ["x", "y", None, "z"] * 10,
        "flag": pd.array([True, None] * 20, "boolean"),
        "when": pd.date_range("2024-01-01", periods=40, freq="7h"),
    }
)


def as_feather(path):
    FRAME.to_feather(path)


def as_stream(path):
    table = pa.Table.from_pandas(FRAME)
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


@bug(
    "no types",
    our_feather,
    "to_frame",
    lambda spec, data: pd.DataFrame(data, columns=[*spec.columns]),
    write=as_feather,
)
@pytest.mark.parametrize("write", [as_feather, as_stream])
def test_files_of_arrow_are_the_tables_that_they_hold(tmp_path, write):
    write(tmp_path / "a.arrow")
    data = load_dataset(tmp_path / "a.arrow")
    np.testing.assert_array_equal(data.data, load_dataset(FRAME).data)
    (tmp_path / "samples.feather").write_bytes(our_feather.dump(data.spec, data.data))
    again = pd.read_feather(tmp_path / "samples.feather")
    for name in data.spec.columns:
        assert again[name].dtype.kind == FRAME[name].dtype.kind
        assert again[name].isna().tolist() == FRAME[name].isna().tolist()
    assert again["kind"].cat.ordered
    assert again["kind"].tolist() == FRAME["kind"].tolist()
    assert np.array_equal(read_rows(tmp_path / "samples.feather", data.spec), data.data, equal_nan=True)


def test_a_run_on_arff_writes_arff(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    rows = "\n".join(f"{x},{'ab'[i % 2]}" for i, x in enumerate(RANDOM.normal(size=40)))
    (tmp_path / "a.arff").write_text(f"@relation r\n@attribute x real\n@attribute k {{a,b}}\n@data\n{rows}\n")
    fit(tiny(tmp_path / "a.arff", steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 0
    values, about = scipy_arff.loadarff(tmp_path / "out" / "samples.arff")
    assert (about.names(), about.types(), len(values)) == (["x", "k"], ["numeric", "nominal"], 3)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_an_enum_of_polars_has_an_order_and_a_categorical_has_none(tmp_path, ending):
    words = ["b", "a", "c", "a"] * 5
    frame = pl.DataFrame(
        {"enum": pl.Series(words, dtype=pl.Enum(["c", "b", "a"])), "kind": pl.Series(words, dtype=pl.Categorical)}
    )
    path = tmp_path / f"a.{ending}"
    frame.write_parquet(path) if ending == "parquet" else frame.write_ipc(path)
    columns = load_dataset(path).spec.columns
    assert columns["enum"].categories == ("c", "b", "a")
    assert (columns["enum"].ordered, columns["kind"].ordered) == (True, False)


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x1c", "\x85", "\n", "\r", "\t"])
def test_text_with_ends_of_lines_comes_back(tmp_path, mark):
    frame = pd.DataFrame({"x": RANDOM.normal(size=20), "k": [f"a{mark}b", "c"] * 10})
    data = load_dataset(frame)
    (tmp_path / "a.arff").write_bytes(ours.dump(data.spec, data.data))
    assert np.array_equal(load_dataset(tmp_path / "a.arff").data, data.data)
    assert load_dataset(tmp_path / "a.arff").spec.columns["k"].categories == data.spec.columns["k"].categories


def test_dates_and_sparse_rows_with_tabs_and_single_letters(tmp_path):
    rows = "\n".join(f'{{0\t{i + 1}, 1\t"{i % 28 + 1}/2/2020 9:{i}"}}' for i in range(20))
    head = '@relation r\n@attribute\tx\treal\n@attribute d date\t"d/M/yyyy H:m"\n@data\n'
    (tmp_path / "a.arff").write_text(head + rows)
    frame = to_frame((data := load_dataset(tmp_path / "a.arff")).spec, data.data)
    expected = [pd.Timestamp(2020, 2, i % 28 + 1, 9, i) for i in range(20)]
    assert frame["d"].tolist() == expected
    assert frame["x"].tolist() == list(range(1, 21))


@pytest.mark.parametrize("write", ["to_feather", "to_parquet"])
def test_real_numbers_are_labels_if_they_are_whole(tmp_path, write):
    frame = pd.DataFrame({"x": RANDOM.normal(size=40), "k": np.arange(40) % 2.0, "r": RANDOM.normal(size=40)})
    path = tmp_path / f"a.{write[3:]}"
    getattr(frame, write)(path)
    assert load_dataset(path, DataConfig(labels="k")).condition.classes == ("0", "1")
    with pytest.raises(DataError, match="column 'r': got real numbers, need whole numbers or text, to be labels"):
        load_dataset(path, DataConfig(labels="r"))
