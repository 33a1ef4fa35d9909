r"""Dead leaves: images of discs that hide one another, with edges, flat parts and scales like those of natural images.

Discs fall one after another, without end. Each has a centre uniform over the plane, a radius r with density
$\propto r^{-3}$ between two ends, and a grey level or a colour, whose levels are uniform over 0…255. The image is what
lies on top (Lee, Mumford & Huang 2001, §3). The code places the topmost disc first and adds discs below until no pixel
is left, which samples from the model exactly; many discs placed from below would only come near to it (Kendall &
Thönnes 1999).

Two points a distance d apart lie on the same leaf with probability $\gamma(d) / (2\gamma(0) - \gamma(d))$, where
$\gamma(d)$ is the mean area that a disc shares with itself moved by d. This is also the correlation of their levels.
"""

import numpy as np

from inkwash.core.shapes import Array

RADII = (2.0, 8.0)
"""Smallest and largest radius, in pixels."""


def dead_leaves(n: int, side: int, seed: int, channels: int = 1, radii: tuple[float, float] | None = None) -> Array:
    """Sample images, uint8 `(n, channels, side, side)`.

    Args:
        n: number of images.
        side: side of an image, in pixels.
        seed: any integer >= 0.
        channels: 1 for grey levels, 3 for colours.
        radii: smallest and largest radius, in pixels; by default `RADII`.
    """
    random, (low, high) = np.random.default_rng(seed), radii or RADII
    y, x = np.divmod(np.arange(side * side, dtype=np.float32), side)
    levels, bare = np.zeros((n, channels, side * side), np.uint8), np.ones((n, side * side), bool)
    unfinished = np.arange(n)
    while len(unfinished):
        draws = random.random((3 + channels, len(unfinished), 1), np.float32)
        radius = (low**-2 - draws[0] * (low**-2 - high**-2)) ** -0.5
        across, down = draws[1:3] * (side + 2 * high) - high
        hit = bare[unfinished] & ((x - across) ** 2 + (y - down) ** 2 < radius**2)
        levels[unfinished] += hit[:, None] * (256 * draws[3:].swapaxes(0, 1)).astype(np.uint8)
        bare[unfinished] &= ~hit
        unfinished = unfinished[bare[unfinished].any(1)]
    return levels.reshape(n, channels, side, side)
