"""Dead leaves have the correlations of the model, which are known in closed form."""

import numpy as np
import pytest
from bugs import bug
from scipy.integrate import quad

from inkwash.data import dead_leaves as leaves


def shared_area(d, low=2.0, high=8.0):
    """Mean area that a disc, of radius with density in proportion to r^-3, shares with itself moved by d."""

    def lens(r):
        return 2 * r * r * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r * r - d * d) if 2 * r > d else 0.0

    ends = max(low, d / 2)
    return quad(lambda r: lens(r) * r**-3, ends, high)[0] / quad(lambda r: r**-3, low, high)[0]


@bug("radii of another range", leaves, "RADII", (1.0, 8.0))
def test_neighbours_are_alike_as_often_as_they_should():
    x = (leaves.dead_leaves(400, 16, 3)[:, 0].astype(np.float64) - 127.5) / np.sqrt((256**2 - 1) / 12)
    for moved, d in ((np.s_[:, :, 1:], 1), (np.s_[:, :, 2:], 2), (np.s_[:, 3:, :], 3), (np.s_[:, 5:, :], 5)):
        stays = x[:, : x[moved].shape[1], : x[moved].shape[2]]
        each = (x[moved] * stays).mean((1, 2))
        truth = shared_area(d) / (2 * shared_area(0) - shared_area(d))
        assert abs(each.mean() - truth) < 4 * each.std() / np.sqrt(len(each))
    assert abs((x**2).mean() - 1) < 4 * (x**2).mean((1, 2)).std() / np.sqrt(len(x))


def test_images_follow_from_the_seed():
    assert np.array_equal(leaves.dead_leaves(3, 8, 1), leaves.dead_leaves(3, 8, 1))
    assert not np.array_equal(leaves.dead_leaves(3, 8, 1), leaves.dead_leaves(3, 8, 2))


@pytest.mark.parametrize("side", [1, 5])
def test_no_pixel_is_left_bare(side):
    assert leaves.dead_leaves(50, side, 0).shape == (50, 1, side, side)
    assert (leaves.dead_leaves(50, side, 0) > 0).mean() > 0.9
