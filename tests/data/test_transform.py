"""Data units to model units and back: round trips, moments, Jacobians, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from oracles import F64

import inkwash as iw
from inkwash.data.transform import fit_transform

LAYOUTS = {"N": (), "ND": (3,), "NHW": (4, 5), "NHWC": (4, 5, 2), "NCHW": (2, 4, 5)}
LAYOUTS |= {"NL": (5,), "NLC": (5, 2), "NCL": (2, 5), "NDHW": (2, 3, 4), "NDHWC": (2, 3, 4, 2), "NCDHW": (2, 3, 2, 4)}
SHAPES = {"N": (1,), "ND": (3,), "NHW": (1, 4, 5), "NHWC": (2, 4, 5), "NCHW": (2, 4, 5)}
SHAPES |= {"NL": (1, 5), "NLC": (2, 5), "NCL": (2, 5), "NDHW": (1, 2, 3, 4), "NDHWC": (2, 2, 3, 4)}
SHAPES |= {"NCDHW": (2, 3, 2, 4)}
ALPHABETS = {
    "bool": (0, 1),
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "int16": (-300, 211),
    "int8": (-128, 127),
    "int64": (1000, 1016),
    "float32": (0, 16),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def spec_of(layout, dtype, low, high, levels):
    return iw.data.DataSpec(SHAPES[layout], layout, dtype, float(low), float(high), levels)


def integers(layout, dtype, seed=0, n=7):
    low, high = ALPHABETS[dtype]
    return np.random.default_rng(seed).integers(low, high + 1, (n, *LAYOUTS[layout])).astype(dtype)


def continuous(layout, dtype, n=50, seed=0):
    return np.random.default_rng(seed).normal(30.0, 5.0, (n, *LAYOUTS[layout])).astype(dtype)


@layouts
@pytest.mark.parametrize("dtype", ALPHABETS)
@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_levels_come_back_exactly(layout, dtype, seed):
    low, high = ALPHABETS[dtype]
    data = integers(layout, dtype, seed)
    transform = fit_transform(spec_of(layout, dtype, low, high, high - low + 1), data)
    x = transform.to_model(data)
    back = transform.to_data(x)
    assert back.dtype == data.dtype
    assert np.array_equal(back, data)
    assert x.shape == (7, *SHAPES[layout])
    assert float(x.abs().max()) <= 1


@pytest.mark.parametrize("dtype", ALPHABETS)
def test_every_level_lands_on_its_place_in_the_lattice(dtype):
    low, high = ALPHABETS[dtype]
    every = np.arange(low, high + 1).astype(dtype)
    transform = fit_transform(spec_of("N", dtype, low, high, len(every)), every)
    x = transform.to_model(every).double().flatten()
    torch.testing.assert_close(x, transform.lattice.values(), rtol=0, atol=1e-7)
    assert torch.equal(transform.lattice.index(x), torch.arange(len(every), dtype=F64))


@layouts
@pytest.mark.parametrize(("dtype", "low"), [("bool", 0), ("uint8", 0), ("int16", -3), ("float32", 0)])
def test_two_levels_go_onto_zero_and_one_for_a_process_of_bits(layout, dtype, low):
    data = (low + np.random.default_rng(0).integers(0, 2, (7, *LAYOUTS[layout]))).astype(dtype)
    transform = fit_transform(spec_of(layout, dtype, low, low + 1, 2), data, iw.Bernoulli.lattice)
    x = transform.to_model(data)
    assert transform.lattice == iw.Bernoulli.lattice
    assert x.unique().tolist() == [0.0, 1.0]
    assert np.array_equal(transform.spec.from_channels_first(x.numpy() + low), data.astype(np.float32))
    assert np.array_equal(transform.to_data(x), data)
    assert transform.describe().endswith("(2 levels) → {0, 1}")
    transform.check()


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_samples_beyond_the_alphabet_become_its_ends(dtype):
    low, high = ALPHABETS[dtype]
    transform = fit_transform(spec_of("ND", dtype, low, high, high - low + 1), integers("ND", dtype))
    assert transform.to_data(torch.tensor([[-7.0, 7.0, 1.001]])).tolist() == [[low, high, high]]


@layouts
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_continuous_data_comes_back_to_single_precision(layout, dtype):
    data = continuous(layout, dtype)
    transform = fit_transform(spec_of(layout, dtype, data.min(), data.max(), None), data)
    back = transform.to_data(transform.to_model(data))
    assert back.dtype == data.dtype
    np.testing.assert_allclose(back, data, rtol=1e-3 if dtype == "float16" else 2e-7, atol=1e-5)


@layouts
def test_fitted_data_has_mean_zero_and_variance_one(layout):
    """Per channel of an image, per entry of a vector; however many blocks the data is read in."""
    data = continuous(layout, "float64", n=5000)
    if layout != "N":
        data = data + 100 * np.arange(data.shape[-1])
    transform = fit_transform(spec_of(layout, "float64", data.min(), data.max(), None), data)
    assert all(isinstance(number, float) for number in (*transform.shift, *transform.scale))
    x = transform.to_model(data).double()
    axes = (0, *range(2, x.ndim))
    assert float(x.mean(axes).abs().max()) < 1e-5
    assert float((x.var(axes, correction=0) - 1).abs().max()) < 1e-5


def test_a_large_mean_does_not_drown_the_spread():
    data = 1e8 + np.random.default_rng(0).normal(0, 1, (6000, 1))
    transform = fit_transform(spec_of("N", "float64", 0, 1, None), data)
    assert transform.scale[0] == pytest.approx(np.std(data - 1e8), rel=1e-6)


@layouts
@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_the_log_determinant_is_that_of_the_jacobian(layout, dtype):
    """The matrix of the map by finite differences (exact, as it is affine), and its determinant by LU; masses keep."""
    data = continuous(layout, "float64") if dtype == "float64" else integers(layout, dtype)
    spec = spec_of(layout, dtype, 0, 255, None if dtype == "float64" else 256)
    transform = fit_transform(spec, data)
    base = np.zeros((1, *LAYOUTS[layout]))
    size = base.size
    moved = np.repeat(base, size, 0) + 64 * np.eye(size).reshape(size, *LAYOUTS[layout])
    jacobian = (transform.to_model(moved) - transform.to_model(base)).reshape(size, size).double() / 64
    sign, log_det = torch.linalg.slogdet(jacobian)
    assert float(sign.abs()) == 1
    found = transform.log_det(transform.to_model(base))
    assert found.tolist() == (pytest.approx([float(log_det)], rel=1e-5) if dtype == "float64" else [0])


@layouts
def test_each_entry_goes_to_its_place(layout):
    """Channels first, rows before columns: the entry (n, c, h, w) of the model is that of the data."""
    data = np.arange(2 * int(np.prod(LAYOUTS[layout]))).reshape(2, *LAYOUTS[layout]).astype("uint8")
    x = fit_transform(spec_of(layout, "uint8", 0, 255, 256), data).to_model(data)
    there = ((x.double().numpy() + 1) * 127.5).round()
    last = {"NLC": (0, 2, 1), "NHWC": (0, 3, 1, 2), "NDHWC": (0, 4, 1, 2, 3)}.get(layout)
    expected = data.transpose(last) if last else data.reshape(there.shape)
    assert np.array_equal(there, expected)


@pytest.mark.parametrize(("layout", "word"), [("ND", "column 1"), ("NCHW", "channel 1")])
def test_a_constant_is_refused_by_name(layout, word):
    data = continuous(layout, "float64")
    data[:, 1] = 0.1
    with pytest.raises(iw.DataError, match=f"{word}: got the constant 0.1"):
        fit_transform(spec_of(layout, "float64", 0, 1, None), data)


def test_a_constant_of_zero_is_refused():
    data = continuous("ND", "float64")
    data[:, 2] = 0
    with pytest.raises(iw.DataError, match="column 2"):
        fit_transform(spec_of("ND", "float64", 0, 1, None), data)


@pytest.mark.parametrize("value", [17, -1, 0.5])
def test_values_that_are_not_in_the_alphabet_are_refused(value):
    transform = fit_transform(spec_of("ND", "float64", 0, 16, 17), np.zeros((2, 3)))
    with pytest.raises(iw.DataError, match="whole numbers"):
        transform.to_model(np.array([[0.0, value, 1.0]]))


@layouts
def test_data_of_another_shape_is_refused(layout):
    data = integers(layout, "uint8")
    transform = fit_transform(spec_of(layout, "uint8", 0, 255, 256), data)
    for wrong in (data[..., None], np.zeros((2, 9, 9, 9, 9)), np.zeros(())):
        with pytest.raises(iw.DataError, match="shape"):
            transform.to_model(wrong)


def test_data_is_left_as_it_was():
    data = integers("NHWC", "uint8")
    kept = data.copy()
    transform = fit_transform(spec_of("NHWC", "uint8", 0, 255, 256), data)
    x = transform.to_model(data)
    before = x.clone()
    transform.to_data(x)
    assert np.array_equal(data, kept)
    assert torch.equal(x, before)
