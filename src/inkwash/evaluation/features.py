"""Spaces of features to compare samples and data in, each a function from examples to `(N, F)`, float64.

Both are fitted on training data that are not compared afterwards, so that the floor between training and held-out data
is that of two fresh sets. The principal components keep what varies most among the entries and are blind to nothing
that is large; the classifier's features see what tells one class from another. No network of somebody else's is
downloaded; its features can be given to `inkwash.evaluate` as a function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from inkwash.core.shapes import Array

Features = Callable[[Array], Array]

_COMPONENTS, _FITTED = 64, 4096
_HIDDEN, _EPOCHS = 64, 40


def principal_components(train: Array) -> Features:
    """At most 64 principal components of training examples `(N, …)`, of which the first 4,096 are used."""
    from sklearn.decomposition import PCA

    rows = _flat(train[:_FITTED])
    with np.errstate(invalid="ignore"):  # shares of the variance, if there is none
        found = PCA(min(_COMPONENTS, *rows.shape), random_state=0).fit(rows)
    return lambda x: found.transform(_flat(x))


def classifier_features(train: Array, labels: Sequence[str], seed: int = 0) -> Features:
    """The 64 hidden units of a small network trained to read the labels off the principal components.

    Args:
        train: examples `(N, …)`, of which the first 4,096 are used.
        labels: the N labels of these.
        seed: of the network's initial weights and order.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    components = principal_components(train)
    rows = components(train[:_FITTED])
    scale = rows.std() or 1.0
    state = np.random.RandomState(np.random.MT19937(seed))
    network = MLPClassifier((_HIDDEN,), max_iter=_EPOCHS, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs will do
        network.fit(rows / scale, np.asarray(labels[:_FITTED]))
    weight, bias = network.coefs_[0], network.intercepts_[0]
    return lambda x: np.maximum(components(x) / scale @ weight + bias, 0)


def _flat(x: Array) -> Array:
    return np.asarray(x).reshape(len(x), -1).astype(np.float64)
