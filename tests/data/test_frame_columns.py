"""Columns in types that only say how cells are stored come back in these, and others are named at once."""

from datetime import time
from decimal import Decimal

import numpy as np
import pytest
from bugs import bug

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import frame_columns, frames
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import to_frame

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
COUNT = 40
RANDOM = np.random.default_rng(11)
CLOCKS = [
    time(int(h), int(m)) for h, m in zip(RANDOM.integers(0, 24, COUNT), RANDOM.integers(0, 60, COUNT), strict=True)
]
CLOCKS[3] = None


def stored():
    """A column of each type that is read as a plain one."""
    return pandas.DataFrame(
        {
            "x": RANDOM.normal(size=COUNT),
            "month": pandas.period_range("2020-01", periods=COUNT, freq="M"),
            "day": pandas.period_range("2020-01-30", periods=COUNT, freq="D"),
            "clock": pandas.Series(CLOCKS, dtype=object),
            "arrow": pandas.Series(CLOCKS, dtype=pandas.ArrowDtype(pyarrow.time64("us"))),
            "thin": pandas.arrays.SparseArray(np.where(RANDOM.random(COUNT) < 0.7, 0, RANDOM.normal(size=COUNT))),
        }
    )


spans_of = frame_columns.times_of_day


def of_noon(series):
    found = spans_of(series)
    return None if found is None else found - np.timedelta64(12, "h")


@bug("the day begins at noon", frames, "times_of_day", of_noon)
def test_they_come_back_as_they_were():
    frame = stored()
    data = load_dataset(frame)
    assert not data.doubts
    pandas.testing.assert_frame_equal(to_frame(data.spec, data.data, frame), frame)
    assert np.array_equal(iw.data.from_frame(data.spec, frame), data.data, equal_nan=True)
    minutes = [None if clock is None else 60 * clock.hour + clock.minute for clock in CLOCKS]
    assert np.array_equal(data.data[:, 3], np.array(minutes, float), equal_nan=True)
    assert data.spec.columns["month"].clock.resolution == "M"


def test_times_of_day_are_written_as_such_and_stay_within_a_day(tmp_path):
    data = load_dataset(stored()[["x", "clock"]])
    lines = dump_csv(data.spec, data.data).decode().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["" if c is None else c.isoformat() for c in CLOCKS]
    assert np.array_equal(
        iw.data.from_frame(data.spec, [line.split(",") for line in lines[1:]])[:, 1], data.data[:, 1], True
    )
    assert data.spec.columns["clock"].limits == (0, 1439)


def test_numbers_and_text_in_one_column_are_read_as_a_file_would_be(tmp_path):
    """Against the same table as a file."""
    cells = {
        "a": [1.5, "unknown", 2.5, 4.75] * 10,
        "b": [1, "x", 2.5, None] * 10,
        "c": [Decimal("1.50"), 2, None, 7.25] * 10,
    }
    frame = pandas.DataFrame(cells, dtype=object).assign(x=np.arange(COUNT) / 7)
    frame.to_csv(tmp_path / "data.csv", index=False)
    ours, theirs = load_dataset(frame), load_dataset(tmp_path / "data.csv")
    assert np.array_equal(ours.data, theirs.data, equal_nan=True)
    assert [doubt.column for doubt in ours.doubts] == [doubt.column for doubt in theirs.doubts] == ["a", "b"]
    assert np.array_equal(iw.data.from_frame(ours.spec, frame), ours.data, equal_nan=True)


def odd():
    return {
        "between": pandas.arrays.IntervalArray.from_breaks(np.arange(COUNT + 1)),
        "lists": [[1, 2]] * COUNT,
        "complex": np.arange(COUNT) * 1j,
        "bytes": [b"ab"] * COUNT,
        "nothing": [None] * COUNT,
    }


def test_all_that_no_table_holds_is_left_out_and_named_at_once():
    frame = pandas.DataFrame(odd()).assign(x=np.arange(COUNT) / 7)
    data = load_dataset(frame)
    assert list(data.spec.columns) == ["x"]
    assert [doubt.column for doubt in data.doubts] == list(odd())
    assert "astype('category')" in data.doubts[0].seen
    with pytest.raises(
        DataError, match=r"5 doubts.*lists: values of type list, left out.*bytes: values of type bytes"
    ) as caught:
        load_dataset(frame, iw.DataConfig(strict=True))
    assert f"drop={tuple(odd())!r}" in str(caught.value)
    assert not load_dataset(frame, iw.DataConfig(strict=True, drop=tuple(odd()))).doubts
    with pytest.raises(DataError, match="column 'lists': got values of type list, need numbers, text, booleans"):
        load_dataset(frame, iw.DataConfig(categories=("lists",)))
    assert list(to_frame(data.spec, data.data, frame)) == ["x"]


def test_an_arrow_table_comes_back_in_its_types():
    """Also those that Arrow does not cast to, such as dictionaries with an order."""
    text, places = ["b", "a", None, "b"] * 10, [0, 1, None, 2] * 10
    levels = pyarrow.array(["low", "mid", "high"], pyarrow.large_string())
    table = pyarrow.table(
        {
            "large": pyarrow.array(text, pyarrow.large_string()),
            "view": pyarrow.array(text, pyarrow.string_view()),
            "plain": pyarrow.array(text, pyarrow.string()),
            "ordered": pyarrow.DictionaryArray.from_arrays(pyarrow.array(places, pyarrow.int8()), levels, ordered=True),
            "clock": pyarrow.array(CLOCKS, pyarrow.time32("s")),
            "day": pyarrow.array([18000 + i for i in range(COUNT)], pyarrow.date32()),
            "price": pyarrow.array([Decimal(i) / 4 for i in range(COUNT)], pyarrow.decimal128(9, 2)),
            "small": pyarrow.array(range(COUNT), pyarrow.uint8()),
        }
    )
    data = load_dataset(table)
    back = to_frame(data.spec, data.data, table)
    assert back.schema == table.schema
    assert back.to_pylist() == table.to_pylist()
