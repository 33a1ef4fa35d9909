"""A constant channel of real numbers changes nothing about the others, is said, and comes back as it was."""

import numpy as np
import pytest
import torch
from bugs import bug
from faults import run_cli

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data import infer
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform

RANDOM = np.random.default_rng(9)
POINTS = RANDOM.normal([1, 5], [2, 0.5], (60, 2))
WITH = np.insert(POINTS, 1, -3.25, axis=1)
OPTIONS = {"train": iw.TrainConfig(steps=4, batch_size=16), "network": iw.NetworkConfig(width=8, depth=1)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of points, without and with a constant between their two entries."""
    folder = tmp_path_factory.mktemp("constants")
    return [iw.train(x, folder / name, report=False, **OPTIONS).model() for name, x in (("a", POINTS), ("b", WITH))]


def test_samples_and_likelihoods_are_those_without_it(models):
    plain, model = models
    for use in (lambda m, x: m.sample(5, seed=0, steps=9), lambda m, x: m.relatives(x[0], 0.5, 5, seed=0, steps=9)):
        found = use(model, WITH)
        np.testing.assert_allclose(found[:, [0, 2]], use(plain, POINTS), rtol=1e-5)
        assert (found[:, 1] == -3.25).all()
    torch.testing.assert_close(model.bound(WITH, seed=0).total, plain.bound(POINTS, seed=0).total)
    torch.testing.assert_close(model.log_prob(WITH).value, plain.log_prob(POINTS).value)
    expected = np.insert(plain.decode(plain.encode(POINTS)), 1, -3.25, axis=1)
    np.testing.assert_allclose(model.decode(model.encode(WITH)), expected, rtol=1e-5)


def test_inspect_names_what_is_constant(tmp_path, capsys):
    """Of three columns, the middle one; of two channels, the first."""
    np.save(tmp_path / "series.npy", np.stack([np.full((40, 6), 2.5), RANDOM.normal(size=(40, 6))], 1))
    for source, words in ((WITH, "column 1 (-3.25)"), (tmp_path / "series.npy", "channel 0 (2.5)")):
        config = iw.DataConfig(layout="ND" if source is WITH else "NCL")
        run = iw.train(source, tmp_path / words[:6], data=config, report=False, **OPTIONS)
        assert run_cli(["inspect", run.path]) == 0
        assert f"constant   {words}\n" in capsys.readouterr().out


def test_what_is_known_of_samples_is_known_without_it(models):
    """Of A x, the part of the constant is a number that y holds too."""
    plain, model = models
    y, A = np.array([2.0]), np.array([[1.0, 2.0, -1.0]])
    found = (model * iw.Measurement(A, y, 0.1)).sample(6, seed=0, steps=9)
    expected = (plain * iw.Measurement(A[:, [0, 2]], y + 2 * 3.25, 0.1)).sample(6, seed=0, steps=9)
    np.testing.assert_allclose(found[:, [0, 2]], expected, rtol=1e-5)
    seen = (model * iw.Observed([False, True, True], [0, -3.25, 5.0])).sample(6, seed=0, steps=9)
    np.testing.assert_allclose(
        seen[:, 0], (plain * iw.Observed([False, True], [0, 5.0])).sample(6, seed=0, steps=9)[:, 0]
    )
    assert (seen[:, 1:] == [-3.25, 5.0]).all()


@pytest.mark.parametrize("layout", ["ND", "NLC", "NCL"])
def test_what_is_missing_beside_it_is_missing_without_it(layout):
    """Gaps in the others, and in the constant itself, which says nothing."""
    config = iw.DataConfig(missing=True, layout=layout)
    data = RANDOM.normal(size={"ND": (48, 3), "NLC": (48, 5, 3), "NCL": (48, 3, 5)}[layout])
    channels = np.moveaxis(data, layout.index("C") if "C" in layout else 1, 0)
    channels[1], channels[2, 7], channels[1, 9] = 4.5, np.nan, np.nan
    others = np.ascontiguousarray(np.delete(data, 1, layout.index("C") if "C" in layout else 1))
    loaded, plain = load_dataset(data, config), load_dataset(others, config)
    assert loaded.spec.constants == (None, 4.5, None)
    assert (loaded.spec.missing, loaded.spec.low, loaded.spec.high) == ((False, True), plain.spec.low, plain.spec.high)
    transform, other = (fit_transform(each.spec, each.data) for each in (loaded, plain))
    torch.testing.assert_close(transform.to_model(data), other.to_model(others), equal_nan=True)
    channels[0, 3] = np.nan
    with pytest.raises(DataError, match=r"data\[3\](, column 0)?: got a missing value"):
        transform.to_model(data)


@pytest.mark.parametrize("layout", ["NLC", "NCL"])
def test_series_of_unequal_length_end_with_their_constants(layout, tmp_path):
    series = [np.stack([RANDOM.normal(size=k), np.full(k, 2.5)], 1) for k in (3, 5, 4, 6) * 8]
    series = [x if layout == "NLC" else x.T for x in series]
    run = iw.train(series, tmp_path / "run", report=False, **OPTIONS)
    model, loaded = run.model(), load_dataset(series)
    assert loaded.spec.constants == (None, 2.5)
    back = model.units.cut(model.units.to_data(model.units.to_model(loaded.data)))
    for found, x in zip(back, series, strict=True):
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-6)
    assert all((np.take(x, 1, layout.index("C") - 1) == 2.5).all() for x in model.sample(3, seed=0, steps=3))


def test_another_value_is_refused(models):
    model = models[1]
    with pytest.raises(DataError, match=r"data, column 1: got 7, need -3\.25, its constant"):
        model.log_prob(WITH + np.array([0, 10.25, 0]))
    with pytest.raises(DataError, match=r"data, column 1: got 0, need -3\.25"):
        (model * iw.Observed([False, True, True], [0, 0, 5.0])).sample(2)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NCL", "NDHWC"])
def test_every_layout(tmp_path, layout):
    sizes = dict(zip("NCDHWL", (12, 3, 4, 6, 8, 8), strict=True))
    data = RANDOM.normal(size=[sizes[letter] for letter in layout]).astype(np.float32)
    channel = np.moveaxis(data, layout.index("C"), 0)
    channel[1] = 100.1
    loaded = load_dataset(data, iw.DataConfig(layout=layout))
    assert loaded.spec.data_shape == data.shape[1:]
    assert loaded.notes[-1] == "channel 1 is constant, 100.099998: it is not modelled, and samples have it"
    assert (loaded.spec.low, loaded.spec.high) == (channel[[0, 2]].min(), channel[[0, 2]].max())
    varying = loaded.spec.to_channels_first(data)
    assert np.array_equal(varying, np.moveaxis(channel[[0, 2]], 0, 1))
    assert np.array_equal(loaded.spec.from_channels_first(varying), data)


@bug("equal to the last digit", infer, "rounding", lambda dtype: 0.0)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_differs_by_rounding_is_constant(dtype):
    """One step of the type, as of a sum in another order."""
    total = np.full(40, 5.3, dtype)
    total[::2] = np.nextafter(total[::2], dtype(9), dtype=dtype)
    loaded = load_dataset(np.stack([total, RANDOM.normal(size=40).astype(dtype)], 1))
    assert loaded.spec.constants == (float(total.min()), None)


def test_what_hardly_varies_is_said_and_modelled():
    pressure = 101325 + RANDOM.random(40)
    loaded = load_dataset(np.stack([pressure, RANDOM.normal(size=40)], 1))
    assert loaded.spec.constants is None
    (note,) = (note for note in loaded.notes if "hardly" in note)
    assert note.startswith("column 0 hardly varies: from 101325.0")


def test_data_that_is_all_constant_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"column 0: got the constant 1, need values that vary"):
        iw.train(np.ones((20, 2)), tmp_path / "run")
