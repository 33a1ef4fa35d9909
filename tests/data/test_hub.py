"""Data sets of the Hub by their features; a stand-in takes the place of the package, so that no network is needed."""

import io
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError, MissingPackageError
from inkwash.data.columns import Column
from inkwash.data.dataset import load_dataset

pyarrow = pytest.importorskip("pyarrow")
RANDOM = np.random.default_rng(3)
PIXELS = RANDOM.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)


def feature(name, **fields):
    return type(name, (), fields)()


class Stored:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, table, features):
        self.table, self.features = pyarrow.table(table), features

    def with_format(self, kind):
        return self

    def cast_column(self, name, image):
        return self.table.to_pylist()

    def __getitem__(self, name):
        return self.table if name == slice(None) else self.table[name].to_pylist()


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pets(labels=(0, 1, 1, 0, 1, 0), **features):
    cells = [{"bytes": png(each), "path": None} for each in PIXELS]
    own = {"image": feature("Image"), "pet": feature("ClassLabel", names=["cat", "dog"])}
    return Stored({"image": cells, "pet": list(labels)}, own | features)


def people():
    table = {"age": [31, 44, None, 58], "pet": [0, None, 1, 1]}
    return Stored(table, {"age": feature("Value"), "pet": feature("ClassLabel", names=["cat", "dog"])})


@pytest.fixture
def hub(monkeypatch):
    """The package, whose one data set the test sets; it keeps the names of the data sets that it loads."""
    module = ModuleType("datasets")
    module.loaded, module.Dataset, module.Image = [], Stored, lambda decode: None

    def load(*names, split):
        module.loaded.append((names, split))
        if module.found is None:
            raise RuntimeError("offline\nand so on")
        return module.found

    module.load_dataset, module.found = load, None
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_pictures_and_their_classes(hub):
    hub.found = pets()
    data = load_dataset("hf:someone/pets", DataConfig(labels="pet"))
    assert np.array_equal(data.data, PIXELS)
    assert (data.spec.layout, data.name) == ("NHWC", "pets")
    assert data.condition.classes == ("cat", "dog")
    assert data.labels.tolist() == [1, 2, 2, 1, 2, 1]
    assert hub.loaded == [(("someone/pets",), "train")]


def test_tables_and_their_classes(hub):
    hub.found = people()
    data = load_dataset("hf:someone/people/young")
    assert data.spec.columns == {"age": Column("int64", None, True), "pet": Column("category", ("cat", "dog"), True)}
    assert np.array_equal(data.data, [[31, 0], [44, np.nan], [np.nan, 1], [58, 1]], equal_nan=True)
    assert hub.loaded == [(("someone/people", "young"), "train")]


def test_a_data_set_given_from_python(hub):
    assert np.array_equal(load_dataset(pets()).data, PIXELS)
    assert hub.loaded == []


def test_what_cannot_be_had_is_one_line(hub):
    with pytest.raises(DataError, match=r"^hf:nobody/x: got nothing to be read \(offline\), need hf:OWNER/NAME"):
        load_dataset("hf:nobody/x")


@pytest.mark.parametrize(
    ("found", "config", "words"),
    [
        (
            pets((0, 1, 1, 0, 1, None)),
            DataConfig(labels="pet"),
            r"labels pet\[5\]: got no class, as in 1 of 6 examples",
        ),
        (pets((0, 1, -1, 0, 1, -1)), DataConfig(labels="pet"), r"labels pet\[2\]: got no class, as in 2 of 6 examples"),
        (pets(), DataConfig(labels="age"), "data.labels: got 'age', need pet"),
        (pets(), DataConfig(categories=("pet",)), "got columns of pictures"),
        (pets(other=feature("Image")), None, "pictures in image, other"),
    ],
)
def test_bad_data_of_the_hub_is_named(hub, found, config, words):
    hub.found = found
    with pytest.raises(DataError, match=words):
        load_dataset("hf:someone/pets", config)


def test_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"no package datasets, need pip install 'inkwash\[hub\]'"):
        load_dataset("hf:someone/pets")
