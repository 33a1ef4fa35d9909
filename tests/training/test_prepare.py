"""What training starts from: the split, the transform of its training part, and what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import tiny

import inkwash as iw
from inkwash.training import prepare as preparation
from inkwash.training.examples import with_present
from inkwash.training.prepare import prepare, split_indices

FIT = preparation.fit_transform


def in_units_of_all(spec, data, *given, rows=None, **named):
    return FIT(spec, data, *given, **named)


@pytest.mark.parametrize(("count", "held_out"), [(2, 0.2), (2, 0.9), (3, 0.999), (10, 0.001), (1797, 0.2)])
def test_neither_part_of_a_split_is_empty(count, held_out):
    train_rows, held_rows = split_indices(count, held_out, 0)
    assert len(train_rows) >= 1
    assert len(held_rows) >= 1
    assert sorted([*train_rows, *held_rows]) == list(range(count))


def test_both_parts_are_the_data_in_units_of_the_training_part(data):
    array, prepared = np.load(data), prepare(tiny(data))
    train, held_out = split_indices(40, 0.2, 0)
    mean, spread = (getattr(array[train], name)(0) for name in ("mean", "std"))
    for part, indices in ((prepared.examples, train), (prepared.held_out, held_out)):
        assert np.array_equal(part.indices, indices)
        standard = (array[indices] - mean) / spread
        assert np.allclose(part.take(np.arange(len(part))), standard, atol=1e-5)
        order = np.argsort(indices)
        assert np.allclose(torch.cat(list(part.blocks())), standard[order], atol=1e-5)


@bug("conditions in units of all the data", preparation, "fit_transform", in_units_of_all)
def test_conditions_are_in_units_of_the_training_part(tmp_path):
    y = np.random.default_rng(0).gamma(2.0, 3.0, 40)
    rows = "".join(f"{i / 7},{i % 3 - 0.5},{value!r}\n" for i, value in enumerate(y.tolist()))
    (tmp_path / "table.csv").write_text("a,b,y\n" + rows)
    prepared = prepare(replace(tiny(tmp_path / "table.csv"), data=iw.DataConfig(condition="y")))
    train, held_out = split_indices(40, 0.2, 0)
    for part, indices in ((prepared.examples, train), (prepared.held_out, held_out)):
        given = part.conditions(np.arange(len(part)))["given"][:, 0]
        assert np.allclose(given, (y[indices] - y[train].mean()) / y[train].std(), atol=1e-5)


def test_what_is_prepared_depends_on_the_data_and_not_on_where_it_comes_from(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_path, by_value = prepare(tiny(data)), prepare(tiny("points"), np.load(data))
    assert by_path.fingerprint == by_value.fingerprint
    assert by_path.transform == by_value.transform
    assert list(tmp_path.iterdir()) == []


def test_samples_take_the_conditions_of_held_out_examples_in_turn():
    prepared = prepare(iw.Config("digits", data=iw.DataConfig(labels="digit")))
    held_out = prepared.dataset.labels[prepared.held_out.indices] - 1
    labels = prepared.conditions(len(held_out) + 2)["label"]
    assert [int(label) for label in labels] == [*held_out, *held_out[:2]]


def test_a_condition_says_which_entries_are_present_only_if_some_are_missing():
    x, label = torch.tensor([[1.0, torch.nan], [2.0, 3.0]]), {"label": torch.tensor([1, 2])}
    filled, condition = with_present(x, label)
    assert filled.tolist() == [[1.0, 0.0], [2.0, 3.0]]
    assert condition["present"].tolist() == [[True, False], [True, True]]
    assert with_present(filled, label) == (filled, label)


def test_a_category_that_is_only_held_out_is_named(tmp_path):
    """In a column, where it is no reason to refuse the table."""
    _, held_rows = split_indices(50, 0.2, 0)
    cells = np.array(["red", "blue"] * 25, dtype="<U5")
    cells[held_rows[3]] = "green"
    rows = "".join(f"{i / 7},{cell}\n" for i, cell in enumerate(cells))
    (tmp_path / "data.csv").write_text("a,b\n" + rows)
    note = "only among the held-out examples: 'green' of column b"
    assert note in prepare(tiny(str(tmp_path / "data.csv"))).dataset.notes
    (tmp_path / "data.csv").write_text("a,b\n" + rows.replace("green", "red"))
    assert note not in prepare(tiny(str(tmp_path / "data.csv"))).dataset.notes
