"""Any table of any mix of types goes through training, sampling and imputation and into files, and stays what it is."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

import inkwash as iw
from inkwash.core.display import Display
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import dump_parquet, from_frame, to_frame
from inkwash.data.readers import read_rows

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
ROWS = 24
DATE = pandas.ArrowDtype(pyarrow.date32())


def integers(low, high):
    return st.lists(st.integers(low, high), min_size=ROWS, max_size=ROWS).filter(lambda cells: len(set(cells)) > 1)


REALS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=ROWS, max_size=ROWS).filter(lambda x: np.std(x) > 1e-3)
LEVELS = st.sampled_from(
    [
        (["low", "mid", "high"], True),
        ([3, 2, 1, 7], True),
        ([0.5, 1.25], False),
        ([True, False], True),
        (["é,", '"'], False),
    ]
)


@st.composite
def categoricals(draw):
    levels, ordered = draw(LEVELS)
    codes = draw(integers(0, 1))
    return pandas.Series(pandas.Categorical.from_codes(codes, levels, ordered=ordered))


@st.composite
def moments(draw):
    unit, step = draw(st.sampled_from([("s", 86400), ("ns", 60), ("us", 1), ("ms", 3600)]))
    zone = draw(st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York"]))
    cells = [16_000 * 86_400 + step * cell for cell in draw(integers(-500, 500))]
    series = pandas.Series(np.array(cells, "datetime64[s]").astype(f"datetime64[{unit}]"))
    return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)


COLUMNS = st.one_of(
    REALS.map(lambda x: pandas.Series(x, dtype="float32")),
    REALS.map(lambda x: pandas.Series(x, dtype="float64")),
    integers(-120, 120).map(lambda x: pandas.Series(x, dtype="Int8")),
    integers(0, 10**9).map(lambda x: pandas.Series(x, dtype="Int64")),
    integers(1, 4).map(lambda x: pandas.Series(x, dtype="Int32")),
    integers(0, 1).map(lambda x: pandas.Series(x).astype("boolean")),
    integers(0, 2).map(lambda x: pandas.Series([("a", "b c", "né")[i] for i in x])),
    categoricals(),
    moments(),
    integers(0, 400).map(lambda x: pandas.Series(np.array(x, "M8[D]"), dtype=DATE)),
    integers(-90, 90).map(lambda x: pandas.Series(np.array(x, "m8[m]").astype("m8[us]"))),
)


@st.composite
def tables(draw):
    """A table, and which of its cells are missing: none of the first two rows, so that every column varies."""
    columns = draw(st.lists(COLUMNS, min_size=2, max_size=6))
    frame = pandas.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
    holes = np.random.default_rng(draw(st.integers(0, 99))).random(frame.shape) < draw(st.sampled_from([0.0, 0.2]))
    for i, name in enumerate(frame):
        first, other = 0, int((frame[name] != frame[name].iloc[0]).to_numpy(bool).argmax())
        holes[[first, other], i] = False
    return frame.mask(holes)


def same(a, b):
    pandas.testing.assert_frame_equal(a, b)


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink would train for minutes
)
@given(tables())
def test_tables_survive(frame):
    data = load_dataset(frame)
    spec = data.spec
    same(to_frame(spec, data.data, frame), frame)
    with tempfile.TemporaryDirectory() as folder:
        run = iw.train(
            frame,
            Path(folder, "run"),
            network=iw.NetworkConfig(width=8, depth=1),
            train=iw.TrainConfig(5, 8, monitor_every=100),
            display=Display(shown=False),
            report=False,
        )
        model = run.model()
        drawn = model.sample(9, seed=0, steps=3)
        (done,) = model.impute(frame, 1, seed=0, steps=3) if np.isnan(data.data).any() else [data.data]
        for rows in (drawn, done):
            keeps_its_types(frame, spec, rows)
            keeps_its_cells(Path(folder), spec, rows)
        assert np.array_equal(done[~np.isnan(data.data)], data.data[~np.isnan(data.data)])
        keeps_its_cells(Path(folder), spec, data.data)


def keeps_its_types(frame, spec, rows):
    """Types, order and levels are those of the frame; nothing is missing, and every category is a known one."""
    back = to_frame(spec, rows, frame)
    assert back.dtypes.equals(frame.dtypes)
    assert back.notna().all(axis=None)
    for name in frame:
        if isinstance(frame[name].dtype, pandas.CategoricalDtype) or frame[name].dtype == "str":
            assert set(back[name]) <= set(getattr(frame[name].dtype, "categories", frame[name].dropna()))


def keeps_its_cells(folder, spec, rows):
    """Files hold the cells and the gaps, and Parquet also the types of all but categoricals; it has no unit of
    seconds."""
    frame = to_frame(spec, rows)
    for suffix, dump in (("csv", dump_csv), ("parquet", dump_parquet)):
        path = folder / f"rows.{suffix}"
        path.write_bytes(dump(spec, rows))
        same(to_frame(spec, read_rows(path, spec)), frame)
    same(to_frame(spec, from_frame(spec, frame)), frame)
    again = pandas.read_parquet(path)
    for name, column in spec.columns.items():
        if column.dtype != "category":
            assert str(again[name].dtype).replace("[ms", "[s") == str(frame[name].dtype).replace("[ms", "[s")


@pytest.mark.slow
def test_a_network_finds_the_week_and_the_hours(tmp_path):
    """Dates at weekends of three years, and times about 9 and 18 o'clock on any day; the range is 150 weeks long."""
    random = np.random.default_rng(0)
    days = np.arange("2022-01-01", "2025-01-01", dtype="M8[D]")
    weekend = random.choice(days[~np.is_busday(days)], 1500)
    hours = random.normal(np.where(random.random(1500) < 0.5, 9.0, 18.0), 1.0)
    times = random.choice(days, 1500).astype("M8[s]") + (3600 * hours).astype("m8[s]")
    frame = pandas.DataFrame({"day": weekend.astype("M8[s]"), "time": times})
    run = iw.train(frame, tmp_path / "run", train=iw.TrainConfig(1200), display=Display(shown=False), report=False)
    drawn = run.model().sample(500, seed=0, steps=100)
    back = to_frame(run.header().transform.spec, drawn)
    assert np.is_busday(back["day"].to_numpy().astype("M8[D]")).mean() < 0.1
    assert ((back["time"].dt.hour > 5) & (back["time"].dt.hour < 22)).mean() > 0.95
    assert (np.abs(back["time"].dt.hour - 13) < 1).mean() < 0.1
