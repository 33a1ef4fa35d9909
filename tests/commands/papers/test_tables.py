"""Tables, claims and pictures of samples."""

import numpy as np
import pytest

from inkwash.commands.papers.tables import Table, claim_less, number, portraits
from inkwash.data.dataset import load_dataset

TABLE = Table("A title.", ("name", "value"), (("short", "1.00"), ("much longer", "–")))


def test_a_table_has_straight_columns_in_a_terminal():
    title, head, rule, *rows = TABLE.lines()
    assert title == "A title."
    assert [line.split() for line in (head, *rows)] == [["name", "value"], ["short", "1.00"], ["much", "longer", "–"]]
    assert {line.index(text) for line, text in zip((head, *rows), ("value", "1.00", "–"), strict=True)} == {15}
    assert set(rule) == {" ", "-"}


def test_a_table_is_read_back_from_markdown():
    title, empty, *lines = TABLE.markdown().splitlines()
    assert (title, empty) == ("A title.", "")
    head, rule, *rows = (tuple(text.strip() for text in line.strip("|").split("|")) for line in lines)
    assert (head, tuple(rows)) == (TABLE.head, TABLE.rows)
    assert set(rule) == {"---"}


@pytest.mark.parametrize(
    ("lower", "higher", "verdict"),
    [(1, 2, "agrees"), (2, 1, "differs"), (1, 1.001, "open"), (1, 1, "open"), (None, 1, "open"), (1, None, "open")],
)
def test_a_claim_is_borne_out_by_numbers_that_differ_clearly(lower, higher, verdict):
    line = claim_less("a is better", ("a", lower), ("b", higher), "nats").line()
    assert line == f"{verdict:<8}  a is better: nats a {number(lower)}, b {number(higher)}"


def test_portraits_are_rows_of_samples():
    data = load_dataset("digits")
    figure = portraits(data.spec, {"black": np.zeros_like(data.data[:3]), "white": np.full_like(data.data[:3], 16)})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["black", "white"]
    (image,) = axis.get_images()
    pixels, rows = np.asarray(image.get_array()), [round(tick) for tick in axis.get_yticks()]
    assert [np.median(pixels[row]) for row in rows] == [0, 255]
