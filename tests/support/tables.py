"""A table whose columns depend on each other, for the measures of columns."""

import numpy as np

KINDS = (None, 3, None, 2)


def table(seed, n=300, missing=0.0):
    """A number, a category, a number that depends on it, a bit that depends on the category."""
    random = np.random.default_rng(seed)
    category = random.choice(3, n, p=[0.5, 0.3, 0.2])
    number = np.array([10.0, 14.0, 9.0])[category] + random.normal(0, 2, n)
    bit = random.random(n) < np.array([0.9, 0.2, 0.5])[category]
    x = np.stack([random.normal(-3, 5, n), category, number, bit], 1).astype(float)
    x[random.random(x.shape) < missing] = np.nan
    return x
