"""Which numbers recur, the resolution of the others, and data that is moved to both."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from bugs import bug

import inkwash as iw
from inkwash.core.errors import ConfigError
from inkwash.data import recurring, resolution, transform as transforms
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform, fit_transform
from inkwash.data.where import read_where

RANDOM = np.random.default_rng(0)
COUNT = 1000
WET = RANDOM.random(COUNT) < 0.2
COLUMNS = {
    "rain": (np.where(WET, RANDOM.lognormal(0, 1, COUNT), 0.0), (0.0,), None),
    "gain": (np.where(WET, RANDOM.integers(1, 9999, COUNT), 0), (0.0,), None),
    "table": (np.where(WET, RANDOM.integers(530, 590, COUNT) / 10, RANDOM.integers(55, 58, COUNT)), (55, 56, 57), 10),
    "age": (RANDOM.integers(18, 60, COUNT), None, None),
    "bread": (RANDOM.poisson(30, COUNT), None, None),
    "depth": (RANDOM.normal(61.7, 1.4, COUNT).round(1), None, 10),
    "price": (RANDOM.lognormal(3, 1, COUNT).round(2), None, 100),
    "quarter": (RANDOM.normal(0, 5, COUNT).round() / 4, None, 4),
    "plain": (RANDOM.normal(0, 1, COUNT), None, None),
    "single": (RANDOM.uniform(0.5, 1, COUNT).astype(np.float32), None, None),
}
FRAME = pd.DataFrame({name: values for name, (values, _, _) in COLUMNS.items()})


def columns_of(**options):
    return iw.load_dataset(FRAME, iw.DataConfig(**options)).spec.columns


@bug("none recurs", recurring, "_recurring", lambda known, step: None, name="rain")
@bug("neighbours do not count", recurring, "_TIMES", 0, name="bread")
@bug("the resolution of a type counts", resolution, "_COARSE", 0, name="single")
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_recur_and_have_a_resolution(name):
    _, values, per_unit = COLUMNS[name]
    found = columns_of()[name]
    assert (found.recurring, found.per_unit) == (values, per_unit)


def test_the_option_names_the_columns():
    assert not any(column.recurring for column in columns_of(masses=("none",)).values())
    named = columns_of(masses=("age", "rain"))
    assert {name for name, column in named.items() if column.recurring} == {"age", "rain"}
    assert len(named["age"].recurring) > 10


@pytest.mark.parametrize(
    ("source", "masses", "words"),
    [
        (FRAME, ("plain",), "data.masses: got 'plain', need a column with a number in 10 cells"),
        (FRAME, ("rains",), "data.masses: got 'rains', need none, or columns of numbers: rain, gain"),
        (np.zeros((9, 2)), ("none",), "data.masses: got none, need a table"),
    ],
)
def test_an_option_that_fits_no_column_is_refused(source, masses, words):
    with pytest.raises(ConfigError, match=words):
        iw.load_dataset(source, iw.DataConfig(masses=masses))


def test_what_recurs_is_printed_with_its_share():
    notes = iw.load_dataset(FRAME).notes
    said = next(note for note in notes if "recur" in note)
    assert f"rain ({np.mean(~WET):.0%} of the cells: 0)" in said
    assert any("to which samples are rounded: table 0.1, depth 0.1, price 0.01, quarter 0.25" in note for note in notes)


def fitted(names, **options):
    data = iw.load_dataset(FRAME[[*names]], iw.DataConfig(**options))
    return data.data, fit_transform(data.spec, data.data, kind=data_kind(options), bounds=options.get("bounds"))


def data_kind(options):
    return options.get("transform", "standard")


@bug("no rounding", DataSpec, "rounded", lambda self, data: data)
def test_samples_have_the_resolution_of_the_data():
    data, transform = fitted(["depth", "price", "quarter", "plain"])
    samples = transform.to_data(torch.randn(500, 4, generator=torch.Generator().manual_seed(0)))
    texts = [[repr(float(cell)) for cell in column] for column in samples.T]
    assert max(len(text.partition(".")[2]) for text in texts[0]) == 1
    assert max(len(text.partition(".")[2]) for text in texts[1]) == 2
    assert {text.partition(".")[2] for text in texts[2]} <= {"0", "25", "5", "75"}
    assert min(len(text.partition(".")[2]) for text in texts[3]) > 4
    np.testing.assert_array_equal(transform.to_data(transform.to_model(data))[:, :3], data[:, :3])


@bug("numbers are rounded to an open end", Transform, "_within_bounds", lambda self, data: data)
@pytest.mark.parametrize("options", [{"transform": "log"}, {"bounds": ("price=0:",)}])
def test_rounding_takes_no_number_to_an_open_end(options):
    _, transform = fitted(["price", "depth"], **options)
    transform = replace(transform, bounds={i: each for i, each in transform.bounds.items() if each.stated})
    low = transform.from_real(torch.tensor([[0.002, 60.0]], dtype=torch.float64)).float()
    assert transform.to_data(low)[0, 0] == 0.01


@bug("nothing is moved", transforms, "_NEAR", -1.0)
def test_numbers_all_but_at_one_that_recurs_are_moved_to_it():
    data, transform = fitted(["rain", "plain"])
    x = transform.to_model(data[:50])
    assert bool((transform.to_data(x + 2e-4)[~WET[:50], 0] == 0).all())
    assert bool((transform.to_data(x + 2e-4)[WET[:50], 0] != 0).all())


@bug("the slope counts everywhere", Transform, "recurring", {})
def test_a_probability_has_no_slope():
    data, transform = fitted(["rain", "plain"])
    found = transform.entry_log_det(transform.to_model(data))
    assert bool((found[~WET, 0] == 0).all())
    expected = -np.log(transform.scale[0])
    assert found[WET, 0].tolist() == pytest.approx([expected] * WET.sum())


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("depth>61.7", 61.8, np.inf),
        ("depth>=61.75", 61.8, np.inf),
        ("depth<61.7", -np.inf, 61.6),
        ("depth<=61.75", -np.inf, 61.7),
        ("depth=61.7", 61.7, 61.7),
        ("price>1.1", 1.11, np.inf),
    ],
)
def test_conditions_count_in_steps(text, low, high):
    """Any multiple of the step that meets a condition lies within the ends, and the next one does not."""
    spec = iw.load_dataset(FRAME).spec
    (allowed,) = read_where(text, spec, {}).values()
    assert (allowed.low, allowed.high) == (low, high)


def test_a_condition_that_no_multiple_meets_is_refused():
    with pytest.raises(ConfigError, match="where"):
        read_where("depth=61.75", iw.load_dataset(FRAME).spec, {})


def test_numbers_that_recur_have_to_increase():
    spec = iw.load_dataset(FRAME).spec
    with pytest.raises(ConfigError, match="recurring"):
        replace(spec.columns["rain"], recurring=(1.0, 0.0)).check("column")
