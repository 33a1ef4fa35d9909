"""Tables: categories one at a time, and distances of rows in the space in which they are compared."""

import numpy as np
from tables import KINDS, table

from inkwash.evaluation.tabular import embed, unfold, unfolded_words

NAN = float("nan")


def test_unfolding_shows_one_category_at_a_time():
    x = np.array([[7.0, 2], [NAN, 0], [8, NAN]])
    assert np.array_equal(unfold(x, (None, 3)), [[7, 0, 0, 1], [NAN, 1, 0, 0], [8, NAN, NAN, NAN]], equal_nan=True)
    assert unfolded_words("a", None) + unfolded_words("b", 2) == ["a", "b = 0", "b = 1"]


def test_distances_of_embedded_rows():
    """A standard deviation counts 1, and so does another category, whichever; a missing cell can be recognised."""
    train = table(0)
    x = np.stack([train[0]] * 4)
    x[1, 0] += train[:, 0].std()
    x[2, 1], x[3, 1] = (x[0, 1] + 1) % 3, (x[0, 1] + 2) % 3
    found = embed(x, train, KINDS)
    np.testing.assert_allclose(np.linalg.norm(found[1:] - found[0], axis=1), 1)
    holes = embed(table(1, missing=0.3), table(0, missing=0.3), KINDS)
    assert np.isfinite(holes).all()
    assert holes.shape == (300, 1 + 3 + 1 + 2 + 2)
    assert np.array_equal(holes[:, -2:], np.isnan(table(1, missing=0.3))[:, [0, 2]])


def test_a_column_in_which_all_is_missing_is_a_constant():
    x, holes = table(0, 60), table(1, 60)
    holes[:, [0, 1]] = NAN
    assert np.isfinite(embed(x, holes, KINDS)).all()
    assert not embed(holes, x, KINDS)[:, :4].any()
