"""Spaces of features in which samples and data are compared; each is a function from examples to `(N, F)`, float64.

Both spaces are fitted on training data that is not compared afterwards, so that the floor between training and held-out
data is that of two fresh sets. Principal components keep what varies most among the entries, and miss nothing that is
large; the features of a classifier see what distinguishes one class from another. inkwash downloads no network; users
can pass the features of one to `inkwash.evaluate` as a function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array

Features = Callable[[Array], Array]

_COMPONENTS, _FITTED = 64, 4096
_HIDDEN, _EPOCHS = 64, 40


def principal_components(train: Array) -> Features:
    """Fit at most 64 principal components to training examples `(N, …)`, of which the first 4,096 are used."""
    from sklearn.decomposition import PCA

    rows = _flat(train[:_FITTED])
    with np.errstate(invalid="ignore"):  # shares of a variance of zero
        found = PCA(min(_COMPONENTS, *rows.shape), random_state=0).fit(rows)
    return lambda x: found.transform(_flat(x))


def classifier_features(train: Array, labels: Sequence[str], seed: int = 0) -> Features:
    """Train a small network to read labels off the principal components; its 64 hidden units are the features.

    Args:
        train: examples `(N, …)`, of which the first 4,096 are used.
        labels: the N labels of the examples.
        seed: of the network's initial weights and of the order of examples.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    components = principal_components(train)
    rows = components(train[:_FITTED])
    scale = rows.std() or 1.0
    state = np.random.RandomState(np.random.MT19937(seed))
    network = MLPClassifier((_HIDDEN,), max_iter=_EPOCHS, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 40 epochs are enough
        network.fit(rows / scale, np.asarray(labels[:_FITTED]))
    weight, bias = network.coefs_[0], network.intercepts_[0]
    return lambda x: np.maximum(components(x) / scale @ weight + bias, 0)


def require_features(features: Features, x: Array) -> Array:
    """Apply the user's own function, and check what it returns.

    Args:
        features: the function.
        x: examples, data units, channels first.

    Raises:
        ConfigError: an array of another shape, or one that is not finite.
    """
    found = np.asarray(features(x), np.float64)
    if found.ndim != 2 or len(found) != len(x) or not np.isfinite(found).all():
        got = f"an array of shape {found.shape}" + ("" if np.isfinite(found).all() else " that is not finite")
        raise ConfigError("features", got, f"finite real numbers ({len(x)}, F)")
    return found


def _flat(x: Array) -> Array:
    return np.asarray(x).reshape(len(x), -1).astype(np.float64)
