"""Data sets that need no file: digits and tables of scikit-learn, sets in the plane whose shape one can see, beating
bits, dead leaves, a series with a known autocorrelation, and balls in space."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.shapes import Array
from inkwash.data.column_kinds import number_column
from inkwash.data.columns import Column, Type
from inkwash.data.dead_leaves import dead_leaves
from inkwash.data.judge import Judge, Verdict
from inkwash.data.raw import Raw
from inkwash.data.table import as_raw

_POINTS = 10_000


def digits() -> Raw:
    """1,797 handwritten digits, uint8 `(1797, 1, 8, 8)`, 17 grey levels 0…16 (UCI optical recognition, test part);
    the labels "digit" are the digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Raw(found.images.astype(np.uint8)[:, None], "NCHW", 17, labels={"digit": found.target})


def swiss_roll() -> Raw:
    """A spiral in the plane, seen from the side of scikit-learn's roll: float32 `(10000, 2)`."""
    from sklearn.datasets import make_swiss_roll

    roll = make_swiss_roll(_POINTS, noise=0.5, random_state=0)[0]
    return Raw((roll[:, [0, 2]] / 10).astype(np.float32), "ND")


def two_moons() -> Raw:
    """Two interleaved half circles: float32 `(10000, 2)`; the labels "moon" are 0 above and 1 below."""
    from sklearn.datasets import make_moons

    points, moon = make_moons(_POINTS, noise=0.05, random_state=0)
    return Raw(points.astype(np.float32), "ND", labels={"moon": moon})


def checkerboard() -> Raw:
    """Uniform on the 8 dark squares of a 4 x 4 board over [-2, 2]²: float32 `(10000, 2)`; its entropy is log 8 nats."""
    random = np.random.default_rng(0)
    column = random.integers(0, 4, _POINTS)
    row = 2 * random.integers(0, 2, _POINTS) + column % 2
    corner = np.stack([column, row], axis=1) - 2
    return Raw((corner + random.random((_POINTS, 2))).astype(np.float32), "ND")


def heartbeat() -> Raw:
    """Every fifth of 20 bits is 1, at a phase uniform among five: uint8 `(10000, 20)`, 2 levels (Sohl-Dickstein et al.
    2015, §3.1.2); the labels "phase" are the phases.

    There are five different examples; the true negative log-likelihood is log2(5) = 2.3219 bits per example.
    """
    phase = np.random.default_rng(0).integers(0, 5, _POINTS)
    bits = (np.arange(20) % 5 == phase[:, None]).astype(np.uint8)
    return Raw(bits, "ND", 2, labels={"phase": phase})


def ar2() -> Raw:
    r"""A stationary autoregression of order 2 around 5: float32 `(10000, 100)`.

    $x_t - 5 = 2r\cos\theta\,(x_{t-1} - 5) - r^2(x_{t-2} - 5) + \epsilon_t$ with $r = 0.95$, $\theta = 2\pi/10$ and
    $\epsilon_t \sim N(0, 1)$: it swings with a period of about 10 places and loses its phase. Its
    autocorrelation at lag k is $r^k\sin(k\theta + \psi)/\sin\psi$ with
    $\tan\psi = \frac{1 + r^2}{1 - r^2}\tan\theta$ (Box & Jenkins 1976, eq. 3.2.27).
    """
    radius, angle, burn_in = 0.95, 2 * np.pi / 10, 200
    random, length = np.random.default_rng(0), 100
    series = np.zeros((2 + burn_in + length, _POINTS))
    for t in range(2, len(series)):
        swing = 2 * radius * np.cos(angle) * series[t - 1] - radius**2 * series[t - 2]
        series[t] = swing + random.standard_normal(_POINTS)
    return Raw((5 + series[-length:].T).astype(np.float32), "NL")


def balls() -> Raw:
    """A ball in a box of 8 x 8 x 8: uint8 `(2000, 8, 8, 8)`, 9 levels: 0 outside the ball, 8 inside, others at its rim.

    The radius is uniform on [1.5, 3], and the centre is uniform where the ball fits into the box. The centre of a voxel
    is at half an integer.
    """
    side, count, random = 8, 2000, np.random.default_rng(0)
    radius = random.uniform(1.5, 3, (count, 1, 1, 1))
    centre = radius[..., None] + random.random((count, 1, 1, 1, 3)) * (side - 2 * radius[..., None])
    place = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 3, indexing="ij"), axis=-1)
    depth = radius - np.linalg.norm(place - centre, axis=-1)
    return Raw(np.rint(8 * np.clip(depth + 0.5, 0, 1)).astype(np.uint8), "NDHW", 9)


def breast_cancer() -> Raw:
    """Wisconsin breast cancer: 569 tumours, 30 measures, float64 `(569, 30)`; the labels are the diagnoses."""
    from sklearn.datasets import load_breast_cancer

    return _labelled(load_breast_cancer(), "diagnosis")


def wine() -> Raw:
    """178 wines, 13 chemical measures `(178, 13)`, two of them integers; the labels are the cultivars."""
    from sklearn.datasets import load_wine

    return _labelled(load_wine(), "cultivar")


def diabetes() -> Raw:
    """442 patients, a table `(442, 11)`: age, sex (categories 1 and 2), eight measures in their own units, and the
    progression of the disease after a year; four of the columns are integers, and the others have few decimals."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    return _table(np.column_stack([found.data, found.target]), [*found.feature_names, "progression"])


def _labelled(found: Any, label: str) -> Raw:
    return _table(found.data, found.feature_names, {label: found.target_names[found.target]})


def _table(data: Array, names: Iterable[str], labels: Mapping[str, Array] | None = None) -> Raw:
    """A table as it would be read from a file, as scikit-learn's arrays do not show which columns hold integers."""
    found = {}
    for name, values in zip(names, data.T, strict=True):
        dtype: Type = "int64" if (values == np.rint(values)).all() else "float64"
        found[str(name)] = Verdict(*number_column(str(name), dtype, values))
    return as_raw(Judge("data", DataConfig(), str), found, labels or {})


def shop() -> Raw:
    """10,000 purchases, a mixed table `(10000, 4)` with missing cells, sampled from a known law.

    | `kind` | probability | `price`, normal | `quantity`, Poisson | `member`, probability |
    | --- | --- | --- | --- | --- |
    | bread | 0.4 | mean 3, standard deviation 0.5 | mean 30 | 0.3 |
    | cheese | 0.2 | 9, 1.5 | 12 | 0.6 |
    | fruit | 0.3 | 4, 0.8 | 60 | 0.5 |
    | wine | 0.1 | 14, 3 | 20 | 0.8 |

    The other columns are independent given the kind. A tenth of `price` and of `member` is missing, completely at
    random.
    """
    random = np.random.default_rng(0)
    kind = random.choice(4, _POINTS, p=[0.4, 0.2, 0.3, 0.1])
    price = random.normal(np.array([3, 9, 4, 14])[kind], np.array([0.5, 1.5, 0.8, 3])[kind])
    quantity = random.poisson(np.array([30, 12, 60, 20])[kind])
    member = random.random(_POINTS) < np.array([0.3, 0.6, 0.5, 0.8])[kind]
    data = np.column_stack([kind, price, quantity, member]).astype(np.float64)
    data[:, [1, 3]] = np.where(random.random((_POINTS, 2)) < 0.1, np.nan, data[:, [1, 3]])
    columns = {
        "kind": Column("str", ("bread", "cheese", "fruit", "wine")),
        "price": Column("float64", None, True),
        "quantity": Column("int64"),
        "member": Column("bool", ("false", "true"), True),
    }
    return Raw(data, "ND", columns=columns)


def leaves() -> Raw:
    """2,000 images of dead leaves, uint8 `(2000, 1, 16, 16)`, 256 levels; see `inkwash.data.dead_leaves`."""
    return Raw(dead_leaves(2000, 16, seed=0), "NCHW")


BUILTIN: dict[str, Callable[[], Raw]] = {
    "digits": digits,
    "swiss-roll": swiss_roll,
    "checkerboard": checkerboard,
    "two-moons": two_moons,
    "heartbeat": heartbeat,
    "breast-cancer": breast_cancer,
    "wine": wine,
    "diabetes": diabetes,
    "shop": shop,
    "dead-leaves": leaves,
    "ar2": ar2,
    "balls": balls,
}
"""Loaders by name, those of `inkwash.core.config.BUILTIN_NAMES`."""
