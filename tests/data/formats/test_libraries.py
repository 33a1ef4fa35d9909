"""What `datasets` does to numbers on their way to inkwash, with the library itself."""

import warnings

import numpy as np
import pytest

from inkwash.data.dataset import load_dataset
from inkwash.data.frames import to_frame

datasets = pytest.importorskip("datasets", reason="pip install 'inkwash[hub]'")
GREY = (np.arange(16).reshape(4, 4) * 4000).astype(np.uint16)


def pictures(*arrays):
    with warnings.catch_warnings(action="ignore"):
        features = datasets.Features({"image": datasets.Image()})
        return datasets.Dataset.from_dict({"image": list(arrays)}, features=features)


def test_whole_numbers_with_missing_ones_stay_whole():
    """In the format of NumPy a column of them is float32, which has no 2^24 + 1."""
    cells = [1, None, 2**24 + 1, 4] * 3
    found = datasets.Dataset.from_dict({"count": cells, "x": np.random.default_rng(0).normal(size=12)})
    assert found.with_format("numpy")[:]["count"].dtype == np.float32
    data = load_dataset(found)
    assert to_frame(data.spec, data.data)["count"].dtype == "Int64"
    assert data.data[2, 0] == 2**24 + 1
    assert np.isnan(data.data[1, 0])


def test_grey_of_16_bits_stays_so():
    """Pillow saturates it where it is converted to 8 bits; inkwash converts nothing."""
    found = pictures(GREY, GREY // 2)
    assert (np.asarray(found[0]["image"].convert("L")).ravel()[1:] == 255).all()
    assert np.array_equal(load_dataset(found).data, [GREY, GREY // 2])


def test_colour_of_16_bits_is_lost_before_inkwash_sees_it():
    colour = np.stack([GREY] * 3, -1)
    stored = load_dataset(pictures(colour, colour // 2)).data
    assert stored.dtype == np.uint8
    assert np.array_equal(stored[0], colour % 256)
