"""Data that needs no file: the digits that ship in scikit-learn, 2-D sets with a shape one can see, beating bits, a
series whose autocorrelation is known, balls in space."""

from collections.abc import Callable

import numpy as np

from inkwash.data.transform import Array, Layout

_POINTS = 10_000
Labelled = tuple[Array, dict[str, Array]]
"""Examples, and their labels by name."""


def digits() -> Labelled:
    """1,797 handwritten digits, uint8 `(1797, 1, 8, 8)`, 17 grey levels 0…16 (UCI optical recognition, test part);
    labelled by the digit."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8)[:, None], {"digit": found.target}


def swiss_roll() -> Labelled:
    """A spiral in the plane, seen from the side of scikit-learn's roll: float32 `(10000, 2)`."""
    from sklearn.datasets import make_swiss_roll

    roll = make_swiss_roll(_POINTS, noise=0.5, random_state=0)[0]
    return (roll[:, [0, 2]] / 10).astype(np.float32), {}


def two_moons() -> Labelled:
    """Two interleaved half circles: float32 `(10000, 2)`; labelled by the moon, 0 for the upper one and 1."""
    from sklearn.datasets import make_moons

    points, moon = make_moons(_POINTS, noise=0.05, random_state=0)
    return points.astype(np.float32), {"moon": moon}


def checkerboard() -> Labelled:
    """Uniform on the 8 dark squares of a 4 x 4 board over [-2, 2]²: float32 `(10000, 2)`; its entropy is log 8 nats."""
    random = np.random.default_rng(0)
    column = random.integers(0, 4, _POINTS)
    row = 2 * random.integers(0, 2, _POINTS) + column % 2
    corner = np.stack([column, row], axis=1) - 2
    return (corner + random.random((_POINTS, 2))).astype(np.float32), {}


def heartbeat() -> Labelled:
    """Every fifth of 20 bits is 1, at a phase uniform among five: uint8 `(10000, 20)`, 2 levels (Sohl-Dickstein et al.
    2015, §3.1.2); labelled by the phase.

    There are five different examples; the true negative log-likelihood is log2(5) = 2.3219 bits per example.
    """
    phase = np.random.default_rng(0).integers(0, 5, _POINTS)
    return (np.arange(20) % 5 == phase[:, None]).astype(np.uint8), {"phase": phase}


def ar2() -> Labelled:
    r"""A stationary autoregression of order 2 around 5: float32 `(10000, 100)`.

    $x_t - 5 = 2r\cos\theta\,(x_{t-1} - 5) - r^2(x_{t-2} - 5) + \epsilon_t$ with $r = 0.95$, $\theta = 2\pi/10$ and
    $\epsilon_t \sim N(0, 1)$: swings of about 10 places that lose their phase. Its autocorrelation at lag k is
    $r^k\sin(k\theta + \psi)/\sin\psi$ with $\tan\psi = \frac{1 + r^2}{1 - r^2}\tan\theta$ (Box & Jenkins 1976, eq.
    3.2.27).
    """
    radius, angle, burn_in = 0.95, 2 * np.pi / 10, 200
    random, length = np.random.default_rng(0), 100
    series = np.zeros((2 + burn_in + length, _POINTS))
    for t in range(2, len(series)):
        swing = 2 * radius * np.cos(angle) * series[t - 1] - radius**2 * series[t - 2]
        series[t] = swing + random.standard_normal(_POINTS)
    return (5 + series[-length:].T).astype(np.float32), {}


def balls() -> Labelled:
    """A ball in a box of 8 x 8 x 8: uint8 `(2000, 8, 8, 8)`, 9 levels, 0 outside, 8 inside, between them at the rim.

    Its radius is uniform on [1.5, 3], its centre where it fits into the box; a voxel's centre is at half an integer.
    """
    side, count, random = 8, 2000, np.random.default_rng(0)
    radius = random.uniform(1.5, 3, (count, 1, 1, 1))
    centre = radius[..., None] + random.random((count, 1, 1, 1, 3)) * (side - 2 * radius[..., None])
    place = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 3, indexing="ij"), axis=-1)
    depth = radius - np.linalg.norm(place - centre, axis=-1)
    return np.rint(8 * np.clip(depth + 0.5, 0, 1)).astype(np.uint8), {}


BUILTIN: dict[str, tuple[Callable[[], Labelled], int | None, Layout]] = {
    "digits": (digits, 17, "NCHW"),
    "swiss-roll": (swiss_roll, None, "ND"),
    "checkerboard": (checkerboard, None, "ND"),
    "two-moons": (two_moons, None, "ND"),
    "heartbeat": (heartbeat, 2, "ND"),
    "ar2": (ar2, None, "NL"),
    "balls": (balls, 9, "NDHW"),
}
"""Name to (loader, levels, layout)."""
