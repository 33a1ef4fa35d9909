"""Dates and durations come back from every kind of table as they were, with their type, resolution and zone."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from bugs import bug

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import from_json, to_json
from inkwash.data import clock as clocks, frames
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import dump_parquet, to_frame
from inkwash.data.readers import read_rows

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
COUNT = 40
RANDOM = np.random.default_rng(3)
DAYS = np.datetime64("2023-11-05", "D") + RANDOM.integers(0, 500, COUNT)
SECONDS = DAYS.astype("datetime64[s]") + RANDOM.integers(0, 86400, COUNT)


def times():
    """Dates and durations of every type of pandas that a table may have, some of them missing."""
    holes = RANDOM.random(COUNT) < 0.2
    naive, long = pandas.Series(SECONDS), pandas.Series(RANDOM.integers(-900, 900, COUNT).astype("timedelta64[m]"))
    columns = {f"when_{unit}": pandas.Series(SECONDS.astype(f"datetime64[{unit}]")) for unit in ("s", "ms", "us", "ns")}
    columns |= {f"long_{unit}": long.astype(f"timedelta64[{unit}]") for unit in ("s", "us", "ns")}
    columns |= {
        "day_ns": pandas.Series(DAYS.astype("datetime64[ns]")),
        "berlin": naive.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
        "midnight": pandas.Series(DAYS.astype("datetime64[us]")).dt.tz_localize("America/New_York"),
        "offset": naive.dt.tz_localize(timezone(timedelta(hours=5, minutes=30))),
        "date32": pandas.Series(DAYS.tolist(), dtype=pandas.ArrowDtype(pyarrow.date32())),
        "objects": pandas.Series(DAYS.tolist(), dtype=object),
        "arrow": naive.astype(pandas.ArrowDtype(pyarrow.timestamp("ms", "UTC"))),
    }
    return pandas.DataFrame({name: series.mask(holes) for name, series in columns.items()})


decode = clocks.Clock.values


def always_days(clock, counts, dtype):
    values = decode(clock, counts, dtype)
    return values.astype(f"{values.dtype.name.split('[')[0]}[D]").astype(dtype)


moments = frames._moments


def in_local_time(series):
    """As if a zone were only a word beside the time."""
    found = moments(series)
    zone = getattr(series.dtype, "tz", None)
    return found if zone is None else (series.dt.tz_localize(None).to_numpy(), str(zone))


@bug("the time of day is lost", clocks.Clock, "values", always_days)
@bug("clocks of a zone are taken for UTC", frames, "_moments", in_local_time)
def test_frames_come_back():
    frame = times()
    data = load_dataset(frame)
    back = to_frame(data.spec, data.data, frame)
    pandas.testing.assert_frame_equal(back.fillna({"objects": date.min}), frame.fillna({"objects": date.min}))
    plain = to_frame(data.spec, data.data)
    kinds = {
        name: str(frame[name].dtype) for name in frame if name not in ("objects", "arrow")
    }  # pandas 2 has zones of pytz
    assert {name: str(plain[name].dtype) for name in kinds} == kinds
    assert np.array_equal(iw.data.from_frame(data.spec, back), data.data, equal_nan=True)
    assert all(column.missing for column in data.spec.columns.values())


def test_the_unit_is_what_the_values_need_and_days_are_those_of_the_zone():
    columns = load_dataset(times()).spec.columns
    units = {name: column.clock.resolution for name, column in columns.items()}
    assert {units[name] for name in ("day_ns", "midnight", "date32", "objects")} == {"D"}
    assert {units[name] for name in units if name.startswith("when")} == {"s"}
    assert {units[name] for name in units if name.startswith("long")} == {"m"}
    assert [columns[name].clock.zone for name in ("berlin", "offset", "arrow", "day_ns")] == [
        "Europe/Berlin",
        "UTC+05:30",
        "UTC",
        None,
    ]


def test_columns_come_back_from_json():
    spec = load_dataset(times()).spec
    assert from_json(iw.data.DataSpec, to_json(spec)) == spec


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_come_back(tmp_path, suffix):
    """Rows of a known table, and for Parquet the table itself."""
    data = load_dataset(times())
    path = tmp_path / f"new.{suffix}"
    path.write_bytes((dump_csv if suffix == "csv" else dump_parquet)(data.spec, data.data))
    assert np.array_equal(read_rows(path, data.spec), data.data, equal_nan=True)
    if suffix == "parquet":
        again = load_dataset(path)
        assert np.array_equal(again.data, data.data, equal_nan=True)
        assert [c.clock.resolution for c in again.spec.columns.values()] == [
            c.clock.resolution for c in data.spec.columns.values()
        ]


TEXTS = {
    "iso": ("%Y-%m-%d", "D", "%Y-%m-%d"),
    "german": ("%d.%m.%Y", "D", "%Y-%m-%d"),
    "day first": ("%d/%m/%Y", "D", "%Y-%m-%d"),
    "words": ("%d %b %Y", "D", "%Y-%m-%d"),
    "seconds": ("%Y-%m-%d %H:%M:%S", "s", "%Y-%m-%dT%H:%M:%S"),
    "zone": ("%Y-%m-%dT%H:%M:%SZ", "s", "%Y-%m-%dT%H:%M:%S+00:00"),
    "months": ("%Y-%m", "M", "%Y-%m"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_dates_in_text_are_written_as_iso_dates(tmp_path, name):
    form, unit, written = TEXTS[name]
    moments = SECONDS.astype("datetime64[s]").tolist()
    cells = [moment.strftime(form) if i % 9 else "" for i, moment in enumerate(moments)]
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" + "".join(f"{cell},{i / 2}\n" for i, cell in enumerate(cells)))
    data = load_dataset(path)
    column = data.spec.columns["a"]
    assert (column.clock.resolution, column.missing) == (unit, True)
    lines = dump_csv(data.spec, data.data).decode().split("\n")[1:-1]
    assert [line.split(",")[0] for line in lines] == [
        moment.strftime(written) if i % 9 else "" for i, moment in enumerate(moments)
    ]
    assert np.array_equal(read_rows(path, data.spec), data.data, equal_nan=True)


def test_a_known_column_says_whether_the_day_comes_first(tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n13/02/2024,1.5\n01/02/2024,2.5\n20/02/2024,7\n")
    spec = load_dataset(tmp_path / "data.csv").spec
    (tmp_path / "new.csv").write_text("a,b\n03/02/2024,1\n")
    (days,) = read_rows(tmp_path / "new.csv", spec)[:, 0].astype(int).astype("datetime64[D]")
    assert days.item() == date(2024, 2, 3)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("soon", "column 'a', row 0: got 'soon', need a date"),
        (datetime(2024, 1, 1, 5), "column 'a', row 0: got 2024-01-01 05:00:00, need whole days, as in training"),
        (datetime(2024, 1, 1, tzinfo=UTC), "column 'a', row 0: got datetime.* need a date"),
        (timedelta(1), "column 'a', row 0: got datetime.timedelta.*, need a date"),
        (3, "column 'a', row 0: got 3, need a date"),
        ("03/04/2024", "row 0: got '03/04/2024', need a date as 2024-12-31"),
    ],
)
def test_a_cell_that_is_no_such_date_is_named(cell, words):
    spec = load_dataset(pandas.DataFrame({"a": DAYS.astype("M8[s]"), "b": np.arange(COUNT) / 2})).spec
    with pytest.raises(DataError, match=words):
        iw.data.from_frame(spec, [[cell, 1.0]])


def test_samples_stay_where_their_type_can_hold_them():
    """A count far outside becomes the first or the last date there is, and no error and no wrap around."""
    spec = load_dataset(times()).spec
    for end in (-1e15, 1e15):
        data = spec.rounded(np.full((1, len(spec.columns)), end))
        frame = to_frame(spec, data)
        assert frame.notna().all(axis=None)
        assert np.array_equal(iw.data.from_frame(spec, frame), data)


def test_options_of_a_column_of_dates():
    """A date can stand for a missing one, in training and in new rows; dates are no numbers and no categories."""
    pandas = pytest.importorskip("pandas")
    days, gone = DAYS.astype("datetime64[s]"), np.arange(COUNT) % 7 == 3
    marked = pandas.DataFrame({"d": np.where(gone, np.datetime64("1900-01-01", "s"), days), "x": RANDOM.random(COUNT)})
    plain = marked.assign(d=np.where(gone, np.datetime64("NaT", "s"), days))
    found = load_dataset(marked, iw.DataConfig(missing_values=("1900-01-01", "none")))
    expected = load_dataset(plain)
    assert found.spec.columns == expected.spec.columns
    assert np.array_equal(found.data, expected.data, equal_nan=True)
    assert np.array_equal(frames.from_frame(found.spec, marked), expected.data, equal_nan=True)
    for option in ("numbers", "categories"):
        with pytest.raises(DataError, match="column 'd': got dates or durations, need numbers, text or booleans"):
            load_dataset(plain, iw.DataConfig(**{option: ("d",)}))


def test_bad_clocks_are_refused():
    spec = load_dataset(times()).spec
    plain = to_json(spec)
    plain["columns"]["berlin"]["clock"]["zone"] = "Atlantis/Poseidonis"
    with pytest.raises(ConfigError, match=r"clock.zone: got Atlantis/Poseidonis, need a time zone"):
        iw.data.Transform(from_json(iw.data.DataSpec, plain), (0.0,) * 14, (1.0,) * 14).check()
    plain["columns"]["berlin"]["clock"] = None
    with pytest.raises(ConfigError, match="clock"):
        iw.data.Transform(from_json(iw.data.DataSpec, plain), (0.0,) * 14, (1.0,) * 14).check()
