"""Columns say what their cells are, and cells come back from what stands in the data for them."""

import numpy as np
import pytest
from bugs import bug

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import from_json, to_json
from inkwash.data import column_kinds, columns as table_columns
from inkwash.data.column_kinds import number_column, text_column
from inkwash.data.columns import Column
from inkwash.data.spec import DataSpec

NAN = np.nan
GOOD = {
    "a": Column("int16", ("3", "4", "7")),
    "b": Column("str", ("n", "y"), True),
    "c": Column("bool", ("no", "yes")),
    "d": Column("uint8", None, True),
    "e": Column("float32"),
}
NUMBERS = np.array([[2, NAN, 1, 255, 0.5], [0, 0, 0, NAN, -1.5], [1, 1, 1, 7, 2.25]])
CELLS = [[7, None, True, 255, 0.5], [3, "n", False, None, -1.5], [4, "y", True, 7.0, 2.25]]


category_column = column_kinds.category_column


def without_missing(where, dtype, names, numbers):
    return category_column(where, dtype, names, np.nan_to_num(numbers))


@bug("a missing category is the first one", column_kinds, "category_column", without_missing)
def test_categories_go_by_their_names():
    """A category is known by its name, not by how often or when it comes; missing cells are NaN."""
    columns, numbers = zip(
        number_column("t", "int64", np.array([5.0, 4, NAN, 4, 6])),
        text_column("t", ["z", "b"], np.array([0.0, NAN, 1, 0, 0])),
        number_column("t", "int64", np.array([5.0, 40, NAN, 4, 6])),
        strict=True,
    )
    assert [column.categories for column in columns] == [("4", "5", "6"), ("b", "z"), None]
    assert all(column.missing for column in columns)
    expected = [[1, 0, NAN, 0, 2], [1, NAN, 0, 1, 1], [5, 40, NAN, 4, 6]]
    assert np.array_equal(np.array(numbers), expected, equal_nan=True)


encode_cells = table_columns.Column.encode


def zero_for_missing(column, where, cells, missing):
    return np.nan_to_num(encode_cells(column, where, cells, missing))


picked = table_columns.Column._picked


def names_from_one(column, levels, values):
    """As if categories were counted from 1, like classes of labels."""
    return picked(column, levels, np.maximum(values - 1, 0))


@bug("a missing cell is the first category", table_columns.Column, "encode", zero_for_missing)
@bug("categories counted from one", table_columns.Column, "_picked", names_from_one)
def test_cells_come_back():
    spec = DataSpec((5,), "ND", "float64", 0, 255, None, GOOD)
    assert np.array_equal(iw.data.from_frame(spec, CELLS), NUMBERS, equal_nan=True)
    for i, column in enumerate(GOOD.values()):
        seen = ~np.isnan(NUMBERS[:, i])
        assert column.decode(NUMBERS[:, i])[seen].tolist() == [row[i] for row in CELLS if row[i] is not None]


def test_columns_come_back_from_json():
    spec = DataSpec((5,), "ND", "float64", 0, 255, None, GOOD)
    again = from_json(DataSpec, to_json(spec))
    assert again == spec
    assert list(again.columns) == list(GOOD)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"dtype": "text"}, "columns.a.dtype: got 'text'"),
        ({"dtype": "int64", "categories": []}, "columns.a.categories"),
        ({"dtype": "int64", "categories": [1, 2]}, "columns.a.categories"),
        ({"dtype": "int64", "missing": 1}, "columns.a.missing: got 1"),
        ({"dtype": "int64", "other": 1}, "columns.a.other: got an unknown option"),
        ("int64", "columns.a: got 'int64'"),
    ],
)
def test_a_bad_column_is_refused_by_name(bad, words):
    spec = DataSpec((1,), "ND", "float64", 0, 1, None, {"a": Column("int64")})
    plain = to_json(spec)
    plain["columns"]["a"] = plain["columns"]["a"] | bad if isinstance(bad, dict) else bad
    with pytest.raises(ConfigError, match=words):
        from_json(DataSpec, plain)


@pytest.mark.parametrize(
    "column",
    [
        Column("str"),
        Column("bool"),
        Column("category"),
        Column("str", ("a", "a")),
        Column("bool", ("a", "b", "c")),
        Column("int8", ("1", "x")),
    ],
)
def test_columns_that_fit_nothing_are_refused(column):
    spec = DataSpec((1,), "ND", "float64", 0, 1, None, {"a": column})
    with pytest.raises(ConfigError, match=r"transform\.spec\.columns\.a\.categories"):
        iw.data.Transform(spec, (0.0,), (1.0,)).check()


@pytest.mark.parametrize(
    ("place", "cell", "words"),
    [
        ((1, 0), 5, "column 'a', row 1: got 5, need one of 3, 4, 7"),
        ((2, 1), "maybe", "column 'b', row 2: got 'maybe'"),
        ((0, 2), "true", "column 'c', row 0: got 'true', need one of no, yes"),
        ((0, 3), 0.5, "column 'd', row 0: got 0.5, need a whole number"),
        ((0, 4), float("inf"), "column 'e', row 0: got inf, need a finite number"),
        ((1, 4), "x", "column 'e', row 1: got 'x'"),
    ],
)
def test_a_cell_that_is_none_of_its_column_is_named(place, cell, words):
    rows = [list(row) for row in CELLS]
    rows[place[0]][place[1]] = cell
    with pytest.raises(DataError, match=words):
        iw.data.from_frame(DataSpec((5,), "ND", "float64", 0, 255, None, GOOD), rows)


def test_rows_of_another_length_are_refused():
    with pytest.raises(DataError, match="row 1: got 4 cells, need 5"):
        iw.data.from_frame(DataSpec((5,), "ND", "float64", 0, 255, None, GOOD), [CELLS[0], CELLS[1][:4]])


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([1, 2, 3, 3], ("1", "2", "3")),
        ([1, 2, 4, 4], None),
        ([1, 2, 3, 4], None),
        ([*range(16), 0], tuple(map(str, range(16)))),
        ([*range(17), 0], None),
        ([-1, 0, 0], ("-1", "0")),
    ],
)
def test_few_neighbouring_whole_numbers_are_categories(values, categories):
    values = np.array(values, np.float64)
    assert number_column("t", "int32", values)[0] == Column("int32", categories)
    assert number_column("t", "float64", values)[0] == Column("float64")
    assert number_column("t", "int32", values, False)[0] == Column("int32")
    assert len(number_column("t", "int32", values, True)[0].categories) == len(set(values))


def test_samples_are_moved_to_categories():
    """Category numbers are rounded, and kept within those there are."""
    spec = DataSpec((2,), "ND", "float64", 0, 1, None, {"a": GOOD["a"], "e": GOOD["e"]})
    assert spec.rounded(np.array([[2.4, 0.1], [-1, 0.1], [5, 0.1]])).tolist() == [[2, 0.1], [0, 0.1], [2, 0.1]]


def test_one_alphabet_for_all_columns_needs_whole_numbers_in_each_cell(tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n1,2\n,3\n3,1\n")
    with pytest.raises(DataError, match="column 'a': got missing cells"):
        iw.load_dataset(tmp_path / "data.csv", iw.DataConfig(levels=5, numbers=("b",)))
