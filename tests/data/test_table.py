"""Tables come back with their columns, in their types."""

import csv

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli, train_words, without_pictures

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.data.columns import Column
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.readers import read_rows
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform, fit_transform
from inkwash.process.distributions import Bins

TYPES = ("int64", "float64", "float32", "uint8")
RANDOM = np.random.default_rng(2)
TEXT = '\ufeffage,"height, cm",kind\n' + "".join(
    f"{a},{h!r},{k}\n"
    for a, h, k in zip(RANDOM.integers(20, 80, 30), RANDOM.normal(170, 9, 30).tolist(), "abc" * 10, strict=True)
)


def write(folder, text, name="people.csv"):
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_numbers_are_read_as_written(tmp_path):
    data = load_dataset(write(tmp_path, TEXT), iw.DataConfig(labels="kind"))
    rows = list(csv.reader(TEXT.lstrip("\ufeff").splitlines()))
    assert np.array_equal(data.data, [[float(a), float(h)] for a, h, _ in rows[1:]])
    assert list(data.spec.columns.items()) == [("age", Column("int64")), ("height, cm", Column("float64"))]
    assert data.spec.levels is None
    assert data.condition.classes == ("a", "b", "c")
    assert data.labels.tolist() == [1, 2, 3] * 10


def test_columns_are_described(tmp_path):
    data = load_dataset(write(tmp_path, TEXT), iw.DataConfig(labels="kind"))
    assert data.notes[:2] == (
        "columns age, height, cm",
        "whole numbers, rounded in samples: age",
    )


def test_a_first_line_of_numbers_is_an_example(tmp_path):
    data = load_dataset(write(tmp_path, "1,2.5\n3,4\n"))
    assert data.data.tolist() == [[1, 2.5], [3, 4]]
    assert data.spec.columns == {"0": Column("int64"), "1": Column("float64")}
    assert data.notes[0] == "no column names in the first line: they are 0, 1, …"


@bug("whole numbers cut, not rounded", iw.data.DataSpec, "rounded", lambda self, data: data.astype(int))
def test_whole_numbers_stay_whole():
    """Whole numbers are the nearest ones, and within their type; the other columns are as they are."""
    spec = DataSpec(
        (3,), "ND", "float64", -3, 9, None, {"a": Column("int64"), "b": Column("float64"), "c": Column("uint8")}
    )
    data = np.array([[0.0, 1, 0], [4, 2, 2], [9, 5, 4]])
    transform = fit_transform(spec, data, bounds=["free"])
    x = np.array([[2.6, 2.6, 2.6], [-2.6, -2.6, -2.6]])
    back = transform.to_data(transform.to_model(x))
    assert np.array_equal(back[:, [0, 2]], [[3, 3], [-3, 0]])
    assert np.allclose(back[:, 1], x[:, 1], atol=1e-6)


def lattice_of_reversed_columns(self):
    scale = np.asarray(self.scale)[::-1].copy()
    return Bins(torch.from_numpy(self.spec.is_integer / scale))


@bug("spacings of other columns", Transform, "lattice", property(lattice_of_reversed_columns))
def test_whole_numbers_lie_as_far_apart_as_their_lattice_says():
    """One more in the data is one spacing more in model units; real numbers and categories have none."""
    columns = {"a": Column("int64"), "b": Column("str", ("u", "v")), "c": Column("float64"), "d": Column("int32")}
    data = np.array([[0.0, 0, 0.5, 10], [4, 1, 2, 200], [9, 0, 4, -50]])
    transform = fit_transform(DataSpec((4,), "ND", "float64", -50, 200, None, columns), data)
    apart = (transform.to_model(np.array([[3.0, 0, 1, 70]])) - transform.to_model(np.array([[2.0, 0, 1, 69]])))[0]
    torch.testing.assert_close(transform.lattice.spacing.float(), apart, rtol=1e-5, atol=0)


def test_csv_round_trip(tmp_path):
    columns = {name: Column(kind) for name, kind in zip(["i", 'f "x"', "s", "u"], TYPES, strict=True)}
    data = np.array([[-(2.0**53), 0.1, np.float32(0.1), 255], [7, 1e-300, -2.5, 0], [3, 5.5, 1e30, 1]])
    spec = DataSpec((4,), "ND", "float64", 0, 1, None, columns)
    content = dump_csv(spec, data).decode()
    assert content.splitlines()[1] == "-9007199254740992,0.1,0.1,255"
    again = load_dataset(write(tmp_path, content))
    assert np.array_equal(again.data.astype(np.float32), data.astype(np.float32))
    assert np.array_equal(again.data[:, [0, 1, 3]], data[:, [0, 1, 3]])
    assert list(again.spec.columns) == list(columns)


def test_a_table_in_a_table_out(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, TEXT)
    assert run_cli(train_words("people.csv", "run", "--data.labels", "kind", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 5, "--label", "b", "--steps", 3]) == 0
    header, *rows = list(csv.reader((tmp_path / "samples" / "samples.csv").read_text().splitlines()))
    assert header == ["age", "height, cm"]
    x = iw.load("run").sample(5, label="b", seed=0, steps=3)
    assert [[int(a), float(h)] for a, h in rows] == x.tolist()
    assert not (tmp_path / "samples" / "samples.npy").exists()
    assert iw.load("run").transform.spec.columns == {"age": Column("int64"), "height, cm": Column("float64")}


def test_a_mixed_table_comes_back(tmp_path):
    text = "kind,done,rate,x\n red,TRUE,1,0.5\nblue,FALSE,3,NA\nred,,2,1.5\n?,TRUE,2,-3.25\n"
    data = load_dataset(write(tmp_path, text))
    nan = np.nan
    expected = [[1, 1, 0, 0.5], [0, 0, 2, nan], [1, nan, 1, 1.5], [nan, 1, 1, -3.25]]
    assert np.array_equal(data.data, expected, equal_nan=True)
    assert data.spec.columns == {
        "kind": Column("str", ("blue", "red"), True),
        "done": Column("bool", ("FALSE", "TRUE"), True),
        "rate": Column("int64", ("1", "2", "3")),
        "x": Column("float64", None, True),
    }
    assert data.notes[1:] == (
        "categories: kind (2: blue, red); done (2: FALSE, TRUE); rate (3: 1, 2, 3)",
        "missing cells, of 4: kind 1, done 1, x 1",
    )
    written = dump_csv(data.spec, data.data).decode()
    assert written == "kind,done,rate,x\nred,TRUE,1,0.5\nblue,FALSE,3,\nred,,2,1.5\n,TRUE,2,-3.25\n"
    again = load_dataset(write(tmp_path, written))
    assert (again.spec, again.fingerprint()) == (data.spec, data.fingerprint())


def test_options_say_what_columns_hold(tmp_path):
    text = "id,zip,rate,x\n" + "".join(f"name{i},{(7, 90, 1000)[i % 3]},{i % 5},{i / 2}\n" for i in range(30))
    config = iw.DataConfig(drop=("id",), categories=("zip",), numbers=("rate",))
    columns = load_dataset(write(tmp_path, text), config).spec.columns
    assert columns == {
        "zip": Column("int64", ("7", "90", "1000")),
        "rate": Column("int64"),
        "x": Column("float64", per_unit=2),
    }


def test_whole_numbers_that_are_not_written_as_such_are_text(tmp_path):
    text = "zip,x\n" + "".join(f"{('007', '90')[i % 2]},{i / 2}\n" for i in range(8))
    data = load_dataset(write(tmp_path, text), iw.DataConfig(categories=("zip",)))
    assert data.spec.columns["zip"] == Column("str", ("007", "90"))
    assert dump_csv(data.spec, data.data).decode() == text.replace(",0\n", ",0.0\n")


def test_a_first_line_with_a_gap_is_an_example(tmp_path):
    assert len(load_dataset(write(tmp_path, "1.5,NA\n2.5,3\n0.5,\n7,1\n")).data) == 4


def test_a_condition_is_of_the_numbers_of_its_column(tmp_path):
    """Also where few neighbouring whole numbers are categories."""
    text = "year,stars,kind,x\n" + "".join(f"{2015 + i % 4},{1 + i % 5},{'ab'[i % 2]},{i / 2}\n" for i in range(40))
    path = write(tmp_path, text)
    one = load_dataset(path, iw.DataConfig(condition="year"))
    assert one.given.data.tolist() == [2015 + i % 4 for i in range(40)]
    assert one.notes[0] == "columns stars, kind, x"
    both = load_dataset(path, iw.DataConfig(condition="stars,year"))
    assert both.given.data[:2].tolist() == [[1, 2015], [2, 2016]]
    with pytest.raises(DataError, match=r"condition: got column 'kind', of categories, a, b, need columns of numbers"):
        load_dataset(path, iw.DataConfig(condition="kind"))


def test_a_table_is_read_back_beside_its_labels_and_conditions(tmp_path):
    """Constants keep their place among what is left."""
    rows = [f"{i / 7:.3f},{i % 3 + 0.5},same,{i * i},{'xyz'[i % 3]},7" for i in range(30)]
    path = write(tmp_path, "\n".join(["a,f,c,b,y,k", *rows]) + "\n")
    data = load_dataset(path, iw.DataConfig(labels="y", condition="f,b"))
    assert data.given.data.tolist() == [[i % 3 + 0.5, i * i] for i in range(30)]
    assert dump_csv(data.spec, data.data).decode().split("\n")[:2] == ["a,c,k", "0.0,same,7"]
    assert np.array_equal(read_rows(path, data.spec), data.data)


def test_whole_columns_with_missing_cells_stay_whole(tmp_path):
    data = load_dataset(write(tmp_path, "a,b\n1,2.5\n,3\n400,\n"))
    assert data.spec.columns == {"a": Column("int64", None, True), "b": Column("float64", None, True)}
    assert dump_csv(data.spec, data.data) == b"a,b\n1,2.5\n,3.0\n400,\n"


def test_a_long_table_is_read_in_parts(tmp_path):
    """What a cell is does not depend on where it stands: text, holes and real numbers after thousands of integers."""
    text = "a,b,c\n" + "".join(f"{i},{'xy'[i % 2]},{i}\n" for i in range(9000)) + "NA,,9000.5\n"
    data = load_dataset(write(tmp_path, text))
    assert data.spec.columns == {
        "a": Column("int64", None, True),
        "b": Column("str", ("x", "y"), True),
        "c": Column("float64", per_unit=2),
    }
    assert np.array_equal(data.data[:-1], [[i, i % 2, i] for i in range(9000)])
    assert np.array_equal(data.data[-1], [np.nan, np.nan, 9000.5], equal_nan=True)


def test_other_names_are_other_data(tmp_path):
    prints = [load_dataset(write(tmp_path, f"a,{name}\n1,2\n3,4\n")).fingerprint() for name in "bc"]
    assert prints[0] != prints[1]


def test_real_levels_of_a_table_are_refused(tmp_path):
    (tmp_path / "table.csv").write_text(TEXT)
    with pytest.raises(ConfigError, match=r"data\.levels: got real, need data\.numbers"):
        load_dataset(tmp_path / "table.csv", iw.DataConfig(levels="real"))


def test_levels_of_a_table(tmp_path):
    data = load_dataset(write(tmp_path, "a,b\n1,0\n3,1\n"), iw.DataConfig(levels=4))
    assert (data.spec.levels, data.spec.high) == (4, 3)


def test_frames_come_and_go():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"n": np.arange(9, dtype=np.int16), "x": RANDOM.normal(size=9).astype(np.float32), "c": list("uvw" * 3)}
    )
    data = load_dataset(frame, iw.DataConfig(labels="c"))
    assert data.spec.columns == {"n": Column("int16"), "x": Column("float32")}
    assert data.condition.classes == ("u", "v", "w")
    assert iw.data.to_frame(data.spec, data.data).equals(frame[["n", "x"]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": ["x", "y"]}, r"got no column to learn \(a: 2 texts in 2 rows\)"),
        ({"a": [1j, 2j]}, r"got no column to learn \(a: values of type complex128\)"),
        ({"a": [(1,), (2,)]}, r"got no column to learn \(a: values of type tuple\)"),
        ({"a": [1.0, np.inf], "b": [1.0, 2]}, r"got 1 infinite number, need finite numbers \(column 'a' 1: row 1\)"),
        ({"a": [np.nan, np.nan]}, r"got no column to learn \(a: no value in any row\)"),
        ({"a": [2**60, 1]}, r"got no column to learn \(a: whole numbers beyond 2\^53\)"),
        ({}, "no column"),
    ],
)
def test_bad_frames_are_named(columns, words):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match=words):
        load_dataset(pandas.DataFrame(columns))


def test_a_frame_with_a_name_twice():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="column 'a' twice"):
        load_dataset(pandas.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))


def test_only_tables_are_frames():
    pytest.importorskip("pandas")
    with pytest.raises(DataError, match="need a table"):
        iw.data.to_frame(DataSpec((2,), "ND", "float64", 0, 1, None), np.zeros((2, 2)))


def test_columns_that_do_not_fit_are_refused():
    spec = DataSpec((2,), "ND", "float64", 0, 1, None, {"a": Column("float64")})
    with pytest.raises(iw.ConfigError, match=r"transform.spec.columns: got 1 columns"):
        iw.data.Transform(spec, (0.0, 0.0), (1.0, 1.0)).check()
