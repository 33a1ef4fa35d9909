"""Tables come back from pandas and Parquet with their types, categories and missing cells."""

import sys
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli, train_words, without_pictures
from oracles import GaussianData, exact_denoiser

import inkwash as iw
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.data import frames, judge
from inkwash.data.columns import Column
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import dump_parquet
from inkwash.data.readers import read_rows
from inkwash.data.transform import fit_transform

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
RANDOM = np.random.default_rng(5)
COUNT = 40
NORMAL = GaussianData([0.0, 0.0, 0.0], np.eye(3).tolist())


def mixed():
    """Every type that comes back as it was, some with missing cells, under an index that is not used."""
    holes = RANDOM.random(COUNT) < 0.3
    frame = pandas.DataFrame(
        {
            "x": np.where(holes, np.nan, RANDOM.normal(5, 3, COUNT)).astype(np.float32),
            "n": pandas.Series(RANDOM.integers(-500, 500, COUNT)).astype("Int16").mask(holes),
            "u": RANDOM.integers(0, 200, COUNT).astype(np.uint8),
            "rate": RANDOM.integers(1, 5, COUNT).astype(np.int32),
            "b": RANDOM.random(COUNT) < 0.4,
            "o": pandas.Series(RANDOM.random(COUNT) < 0.4).astype("boolean").mask(holes),
            "text": pandas.Series(RANDOM.choice(["né, ", "1", "ab"], COUNT)).mask(holes),
            "kind": pandas.Categorical.from_codes(np.where(holes, -1, RANDOM.integers(0, 2, COUNT)), ["z", "a", "q"]),
        }
    )
    return frame.set_index(np.arange(COUNT) + 7)


text_column = judge.text_column


def without_missing(where, names, numbers, wanted, typed):
    return text_column(where, names, np.nan_to_num(numbers), wanted, typed)


@bug("a missing category of a frame is the first one", judge, "text_column", without_missing)
def test_frames_come_back():
    frame = mixed()
    data = load_dataset(frame)
    assert iw.data.to_frame(data.spec, data.data).equals(frame.reset_index(drop=True))
    assert data.spec.columns["kind"] == Column("category", ("z", "a", "q"), True)
    assert data.spec.columns["rate"].categories == ("1", "2", "3", "4")
    assert data.spec.columns["n"] == Column("int16", None, True)


def test_parquet_round_trip(tmp_path):
    data = load_dataset(mixed())
    path = tmp_path / "data.parquet"
    path.write_bytes(dump_parquet(data.spec, data.data))
    again = load_dataset(path)
    assert again.spec.columns == data.spec.columns
    assert np.array_equal(again.data, data.data, equal_nan=True)
    assert pandas.read_parquet(path).equals(iw.data.to_frame(data.spec, data.data))


def test_an_index_in_parquet_is_not_used(tmp_path):
    frame = mixed()
    frame.to_parquet(tmp_path / "data.parquet")
    assert load_dataset(tmp_path / "data.parquet").spec.columns.keys() == set(frame)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_new_rows_are_read_as_known_ones(tmp_path, suffix):
    frame = mixed().drop(columns="text")
    data = load_dataset(frame)
    path = tmp_path / f"new.{suffix}"
    path.write_bytes((dump_csv if suffix == "csv" else dump_parquet)(data.spec, data.data[:9]))
    read = read_rows(path, data.spec)
    read[:, 0] = read[:, 0].astype(np.float32)
    assert np.array_equal(read, data.data[:9], equal_nan=True)
    turned = frame[list(frame)[::-1]].head(9)
    assert np.array_equal(iw.data.from_frame(data.spec, turned), data.data[:9], equal_nan=True)


def test_new_rows_with_other_columns_are_refused():
    data = load_dataset(mixed())
    for rows in (mixed().drop(columns="x"), mixed().assign(more=1)):
        with pytest.raises(DataError, match=r"table: got columns .* need exactly x, n"):
            iw.data.from_frame(data.spec, rows)


LEVELS = {
    "whole": ([3, 2, 1], True),
    "unordered": ([9, 3], False),
    "real": ([0.5, 2.25, 1.0], True),
    "truth": ([True, False], False),
    "text": (["low", "mid", "high"], True),
}


categorical_cells = frames._categorical_cells


def by_name(series):
    """As if the order of categories were that of their names."""
    cells = categorical_cells(series)
    order = np.argsort(cells.texts)
    turned = cells.renamed([cells.texts[i] for i in order], np.argsort(order))
    return replace(turned, column=replace(cells.column, categories=turned.texts))


@bug("categories go by their names", frames, "_categorical_cells", by_name)
@pytest.mark.parametrize("name", LEVELS)
def test_categoricals_keep_type_order_and_levels(name):
    """Also the levels that do not occur; new rows may have them, as text too."""
    levels, ordered = LEVELS[name]
    kind = pandas.CategoricalDtype(levels, ordered)
    seen = pandas.Categorical([levels[0], levels[-1]] * 30, dtype=kind)
    data = load_dataset(pandas.DataFrame({"a": seen, "b": np.arange(60.0)}))
    back = iw.data.to_frame(data.spec, data.data)["a"]
    assert back.dtype == kind
    assert back.tolist() == list(seen)
    new = pandas.DataFrame({"a": pandas.Categorical(levels, dtype=kind), "b": [1.0] * len(levels)})
    assert iw.data.from_frame(data.spec, new)[:, 0].tolist() == [*range(len(levels))]
    assert iw.data.from_frame(data.spec, new.astype({"a": str}))[:, 0].tolist() == [*range(len(levels))]


def test_intervals_come_back_where_a_frame_has_them():
    frame = pandas.DataFrame({"a": pandas.cut(np.arange(40.0), 3), "b": np.arange(40.0) / 3})
    data = load_dataset(frame)
    pandas.testing.assert_frame_equal(iw.data.to_frame(data.spec, data.data, frame), frame)
    assert iw.data.to_frame(data.spec, data.data)["a"].astype(str).tolist() == frame["a"].astype(str).tolist()
    assert np.array_equal(iw.data.from_frame(data.spec, frame), data.data)


def test_real_numbers_may_be_categories(tmp_path):
    """As far as their type tells them apart."""
    for dtype in ("float32", "float64"):
        frame = pandas.DataFrame({"a": np.array([0.1, 0.5, 7.0] * 8, dtype), "b": np.arange(24.0)})
        data = load_dataset(frame, iw.DataConfig(categories=("a",)))
        assert data.spec.columns["a"] == Column(dtype, ("0.1", "0.5", "7"))
        back = iw.data.to_frame(data.spec, data.data)
        assert back.equals(frame)
        assert np.array_equal(iw.data.from_frame(data.spec, back), data.data)
    (tmp_path / "data.csv").write_bytes(dump_csv(data.spec, data.data))
    assert np.array_equal(read_rows(tmp_path / "data.csv", data.spec), data.data)


def test_real_numbers_that_are_categories_may_be_a_condition():
    half = np.arange(20) % 2 + 0.5
    table = pandas.DataFrame({"f": half, "x": RANDOM.normal(size=20)})
    data = load_dataset(table, iw.DataConfig(categories=("f",), condition="f"))
    assert np.array_equal(data.given.data, half)


def test_columns_of_objects_are_what_pandas_makes_of_them():
    frame = pandas.DataFrame({"a": [True, None, False], "b": ["x", "x", "y"], "c": [1, None, 40]}, dtype=object)
    kinds = [(c.dtype, c.missing, c.categories is None) for c in load_dataset(frame).spec.columns.values()]
    assert kinds == [("bool", True, False), ("str", False, False), ("int64", True, True)]


def test_text_stays_text_whatever_it_looks_like():
    """Digits with zeros before them, booleans in words, and numbers beyond 64 bits."""
    zips, flags, ids = ["00501", "02139", "94110"], ["true", "false", "true"], [str(10**20), str(10**21), "7"]
    frame = pandas.DataFrame({"zip": zips * 8, "flag": flags * 8, "id": ids * 8, "x": np.arange(24.0)})
    for given in (frame, frame.astype({"zip": object})):
        data = load_dataset(given, iw.DataConfig(categories=("zip",)))
        back = iw.data.to_frame(data.spec, data.data)
        assert back[["zip", "flag", "id"]].to_numpy().tolist() == frame[["zip", "flag", "id"]].to_numpy().tolist()
        assert np.array_equal(iw.data.from_frame(data.spec, back), data.data)


def test_empty_text_is_a_category_and_no_missing_cell():
    frame = pandas.DataFrame({"a": ["", "x", "y", "x"], "b": [1.5, 2.5, 3.0, 9.0]})
    data = load_dataset(frame)
    assert data.spec.columns["a"] == Column("str", ("", "x", "y"))
    gone = frame.assign(a=[None, "x", "y", ""])
    assert np.isnan(iw.data.from_frame(data.spec, gone)[:, 0]).tolist() == [True, False, False, False]
    for hole in (None, np.nan, pandas.NA):
        assert np.isnan(iw.data.from_frame(data.spec, [[hole, 1.5]])[0, 0])
    with pytest.raises(DataError, match="column 'a': got cells that are missing and others of empty text"):
        load_dataset(gone)


def test_a_model_takes_rows_by_the_names_of_their_columns():
    data = load_dataset(mixed()[["x", "u"]].assign(stars=[1.0, 2.0] * (COUNT // 2)).dropna())
    model = iw.Diffusion(
        iw.Denoiser(torch.nn.Linear(3, 3), iw.Gaussian(iw.LinearSchedule())), (3,), fit_transform(data.spec, data.data)
    )
    frame = iw.data.to_frame(data.spec, data.data)
    assert torch.equal(model.to_model(frame[["stars", "u", "x"]]), model.to_model(data.data))
    with pytest.raises(DataError, match="got columns x, u, need exactly x, u, stars"):
        model.bound(frame[["x", "u"]])
    frame.loc[1, "x"] = np.nan
    seen = data.data.copy()
    seen[1, 0] = np.nan
    options = {"seed": 0, "steps": 2, "method": iw.RePaint()}
    with mock.patch.object(model, "denoiser", exact_denoiser(NORMAL, iw.LinearSchedule())):
        assert np.array_equal(model.impute(frame, 2, **options), model.impute(seen, 2, **options))


def test_labels_of_a_frame_are_whole_numbers_or_text():
    frame = pandas.DataFrame({"x": [0.5, 2.5, 1.0, 7.0], "y": [1.0, 2.0, 1.0, 2.0], "z": [0.5, 1.5, 0.5, 1.5]})
    assert load_dataset(frame[["x", "y"]], iw.DataConfig(labels="y")).condition.classes == ("1", "2")
    with pytest.raises(DataError, match="column 'z': got real numbers, need whole numbers or text, to be labels"):
        load_dataset(frame, iw.DataConfig(labels="z"))
    with pytest.raises(DataError, match="column 'z': got real numbers"):
        load_dataset(frame.assign(z=[1.0, np.inf, 1.0, 2.0]), iw.DataConfig(labels="z"))
    with pytest.raises(DataError, match=r"labels y\[1\]: got no class"):
        load_dataset(frame[["x"]].assign(y=[1.0, None, 2.0, 1.0]), iw.DataConfig(labels="y"))


def test_parquet_in_parquet_out(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    frame = mixed()[["u"]].assign(y=RANDOM.normal(size=COUNT))
    frame.to_parquet("data.parquet")
    assert run_cli(train_words("data.parquet", "run", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 5, "--steps", 3]) == 0
    drawn = pandas.read_parquet("samples/samples.parquet")
    assert drawn.dtypes.to_dict() == frame.dtypes.to_dict()
    assert drawn.to_numpy().tolist() == iw.load("run").sample(5, seed=0, steps=3).tolist()


def test_the_error_names_what_to_install(tmp_path, monkeypatch):
    mixed().to_parquet(tmp_path / "data.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"got no package pyarrow, need pip install 'inkwash\[tabular\]'"):
        load_dataset(tmp_path / "data.parquet")
