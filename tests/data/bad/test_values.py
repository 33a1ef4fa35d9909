"""Arrays that can be read, but whose shape, type or values cannot be used."""

import numpy as np
from bad import bad
from datafiles import noise, npy, pictures


@bad("an array of shape ()")
def test_no_axes(folder):
    return npy(folder, np.float32(3))


@bad("data.npy")
def test_no_examples(folder):
    return npy(folder, np.zeros((0, 3), np.float32))


@bad("data.npy")
def test_no_width(folder):
    return npy(folder, np.zeros((3, 0), np.float32))


@bad("one example")
def test_one_example(folder):
    return npy(folder, noise(1, 3))


@bad("an array of shape (2, 2, 2, 2, 2, 2)")
def test_six_axes(folder):
    return npy(folder, np.zeros((2, 2, 2, 2, 2, 2), np.uint8))


@bad("data.layout: got NL, need one of NHW, NLC, NCL", layout="NL")
def test_images_as_series(folder):
    return npy(folder, noise(20, 5, 7))


@bad("values of type complex128")
def test_complex_numbers(folder):
    return npy(folder, np.ones((9, 2), complex))


@bad("values of type <U1")
def test_texts(folder):
    return npy(folder, np.array([["a", "b"], ["c", "d"]]))


@bad("values of type datetime64")
def test_dates(folder):
    return npy(folder, np.array([["2020-01-01"], ["2020-01-02"]], "M8[D]"))


@bad("data.npy: got values of type")
def test_records(folder):
    return npy(folder, np.zeros(9, [("a", "f4"), ("b", "f4")]))


@bad("column 0: got the constant 4")
def test_constant_columns(folder):
    return npy(folder, np.full((50, 3), 4.0))


@bad("channel 0: got the constant 0")
def test_constant_pictures(folder):
    return npy(folder, np.zeros((20, 3, 8, 8)))


@bad("data")
def test_too_large_to_square(folder):
    return npy(folder, np.random.default_rng(0).normal(size=(20, 2)) * 1e300)


@bad("values in [0, 16], need whole numbers 0 to 15 for 16 levels", command=True, levels=16)
def test_levels_too_few(folder):
    array = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    return npy(folder, array)


@bad("values in [-3, 8], need whole numbers 0 to 15", levels=16)
def test_levels_of_negatives(folder):
    array = np.random.default_rng(0).integers(-3, 9, (20, 8, 8))
    return npy(folder, array)


@bad("need whole numbers 0 to 15", levels=16)
def test_levels_of_fractions(folder):
    return npy(folder, np.abs(noise(20, 2)))


@bad("1 levels, need between 2 and 65536")
def test_one_level(folder):
    return npy(folder, np.full((20, 2), 7))


@bad(f"data.npy[0]: got {2**60}, need whole numbers up to 2^53")
def test_whole_numbers_beyond_float64(folder):
    return npy(folder, 2**60 + np.arange(1000)[:, None])


@bad("data.npy[2]: got -9007199254740993, need whole numbers")
def test_whole_numbers_below_float64(folder):
    return npy(folder, np.array([[0], [1], [-(2**53) - 1]]))


@bad("data.npy[1]: got 9007199254740993, need whole numbers up to 2^53")
def test_unsigned_whole_numbers_beyond_float64(folder):
    array = np.array([[7], [2**53 + 1], [2**64 - 1]], np.uint64)
    return npy(folder, array)


@bad("data.layout: got NHW, need one of NHWC, NCHW", layout="NHW", command=True)
def test_wrong_layout(folder):
    return npy(folder, noise(20, 3, 8, 8))


@bad("data.layout: got NCHW, need one of NHWC", layout="NCHW")
def test_layout_against_the_source(folder):
    return str(pictures(folder, ["RGB", "RGB"]))


@bad("data.missing: got True, need an array of vectors", missing=True)
def test_npy_with_gaps_of_whole_numbers(folder):
    return npy(folder, np.arange(20).reshape(10, 2))


@bad("data.missing: got True, need an array of vectors or series", missing=True, layout="NHW")
def test_npy_of_pictures_with_gaps(folder):
    return npy(folder, np.where(noise(20, 8, 8) > 1, np.nan, noise(20, 8, 8)))


@bad("no value", missing=True)
def test_npy_of_nothing_but_gaps(folder):
    return npy(folder, noise(20, 2) * np.nan)


@bad("data, column 1: got no value to train on", missing=True)
def test_npy_with_an_entry_that_is_never_there(folder):
    gone = noise(20, 2)
    gone[:, 1] = np.nan
    return npy(folder, gone)


@bad("data.npy[7]: got inf", command=True, missing=True)
def test_npy_with_gaps_and_infinity(folder):
    x = noise(20, 2)
    x[3, 0], x[7, 1] = np.nan, np.inf
    return npy(folder, x)
