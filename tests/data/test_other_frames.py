"""Frames of other libraries than pandas, labelled arrays and masked ones are read as what they hold, and come back."""

from datetime import date, datetime, timedelta
from unittest import mock

import numpy as np
import pytest

import inkwash as iw
from inkwash import sklearn as estimator
from inkwash.core.errors import DataError
from inkwash.core.randomness import Slots
from inkwash.data.dataset import load_dataset
from inkwash.data.frames import from_frame, to_frame
from inkwash.sklearn import DiffusionDensity

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("narwhals")
COUNT = 30
CELLS = {
    "x": [i / 4 for i in range(COUNT)],
    "n": [None if i % 7 == 1 else i * i for i in range(COUNT)],
    "town": [("rome", "oslo", None)[i % 3] for i in range(COUNT)],
    "flag": [i % 4 == 0 for i in range(COUNT)],
    "day": [date(2024, 1, 1) + timedelta(3 * i) for i in range(COUNT)],
    "when": [None if i == 4 else datetime(2024, 1, 1, i % 24, 30) for i in range(COUNT)],
    "long": [timedelta(minutes=i) for i in range(COUNT)],
}


@pytest.fixture(scope="module", autouse=True)
def in_less_time():
    """Few rows take less time when there is less to fill up."""
    with mock.patch.object(Slots, "rows", 256), mock.patch.multiple(estimator, _STEPS=5, TERMS=5):
        yield


def arrow():
    table = pyarrow.table(CELLS)
    return table.set_column(1, "n", table["n"].cast(pyarrow.int16()))


def polars():
    library = pytest.importorskip("polars")
    kinds = {"n": library.Int16, "town": library.Enum(["oslo", "lima", "rome"])}
    return library.DataFrame(CELLS, schema_overrides=kinds)


def cells_of(frame):
    return frame.to_pydict() if hasattr(frame, "to_pydict") else frame.to_dict(as_series=False)


@pytest.fixture(params=[arrow, polars])
def frame(request):
    return request.param()


def test_frames_come_back_in_their_library_with_their_types(frame):
    data = load_dataset(frame)
    back = to_frame(data.spec, data.data, frame)
    assert type(back) is type(frame)
    assert back.schema == frame.schema
    assert cells_of(back) == CELLS
    assert np.array_equal(from_frame(data.spec, back), data.data, equal_nan=True)


def test_an_enum_keeps_its_levels():
    column = load_dataset(polars()).spec.columns["town"]
    assert (column.categories, column.ordered) == (("oslo", "lima", "rome"), True)


def test_a_lazy_frame_is_read():
    assert np.array_equal(load_dataset(polars().lazy()).data, load_dataset(polars()).data, equal_nan=True)


def test_an_estimator_returns_frames_like_those_it_was_fitted_to(frame):
    density = DiffusionDensity(2, width=8, depth=1, density="bound").fit(frame)
    drawn = density.sample(4, random_state=0)
    assert type(drawn) is type(frame)
    assert drawn.schema == frame.schema
    (done,) = density.impute(frame, random_state=0)
    assert done.schema == frame.schema
    for name, cells in cells_of(done).items():
        assert None not in cells
        assert all(cell == known for cell, known in zip(cells, CELLS[name], strict=True) if known is not None)
    assert np.isfinite(density.score(frame))


def test_a_model_takes_them_where_it_takes_rows(frame, tmp_path):
    options = {"train": iw.TrainConfig(2, 8), "network": iw.NetworkConfig(width=8, depth=1), "report": False}
    run = iw.train(frame, tmp_path / "run", **options)
    model, data = run.model(), load_dataset(frame)
    assert np.array_equal(
        model.bound(frame, terms=2, seed=0).total.numpy(), model.bound(data.data, terms=2, seed=0).total.numpy()
    )
    with pytest.raises(DataError, match="need exactly x, n, town"):
        model.bound(frame.select(["x", "n"]))


def test_what_is_masked_is_missing():
    """In a data set, and in rows for a model; an array of whole numbers becomes one of real numbers."""
    values = np.arange(24.0).reshape(8, 3) ** 2
    mask = np.zeros((8, 3), bool)
    mask[::2, 1] = True
    data = load_dataset(np.ma.masked_array(values, mask))
    assert data.spec.missing == (False, True, False)
    assert np.array_equal(np.isnan(data.data), mask)
    whole = load_dataset(np.ma.masked_array(values.astype(int), mask))
    assert np.array_equal(whole.data, data.data, equal_nan=True)
    plain = load_dataset(np.ma.masked_array(values))
    assert np.array_equal(plain.data, load_dataset(values).data)
    density = DiffusionDensity(2, width=8, depth=1, density="bound").fit(np.ma.masked_array(values, mask))
    assert density.model_.transform.spec.missing == (False, True, False)
    gaps = np.where(mask, np.nan, values)
    masked = np.ma.masked_array(values, mask)
    assert np.array_equal(density.score_samples(masked), density.score_samples(gaps))
    (done,) = density.impute(masked, random_state=0)
    assert np.array_equal(done[~mask], values[~mask])
    assert np.isfinite(done).all()


def test_labelled_arrays_are_arrays():
    xarray = pytest.importorskip("xarray")
    x = np.random.default_rng(0).random((6, 4, 5))
    assert np.array_equal(load_dataset(xarray.DataArray(x, dims=("n", "y", "x"))).data, x)
    with pytest.raises(DataError, match="data: got a Dataset"):
        load_dataset(xarray.Dataset({"a": ("n", [1.0, 2.0])}))
