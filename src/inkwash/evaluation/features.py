"""Spaces of features in which samples and data are compared; each is a function from examples to `(N, F)`, float64.

Both spaces are fitted on training data that is not compared afterwards, so that the floor between training and held-out
data is that of two fresh sets. Principal components keep what varies most among the entries, and miss nothing that is
large; the features of a classifier see what distinguishes one class from another. inkwash downloads no network; users
can give one of their own, or any function, from Python or by its name.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.data.pictures import to_pixels
from inkwash.data.raw import short
from inkwash.data.spec import DataSpec

Features = Callable[[Array], Array]

_COMPONENTS, _FITTED = 64, 4096
_HIDDEN, _EPOCHS = 64, 40
_AT_ONCE = 64
"""Images that a network sees at a time."""


def principal_components(train: Array) -> Features:
    """Fit at most 64 principal components to training examples `(N, …)`, of which the first 4,096 are used."""
    from sklearn.decomposition import PCA

    rows = _flat(train[:_FITTED])
    with np.errstate(invalid="ignore"):  # shares of a variance of zero
        found = PCA(min(_COMPONENTS, *rows.shape), random_state=0).fit(rows)
    return lambda x: found.transform(_flat(x))


def classifier_features(train: Array, labels: Sequence[str] | Array, seed: int = 0) -> Features:
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


def features_of(given: Features | nn.Module | str, spec: DataSpec) -> Features:
    """What the user gives as features, as a function of examples in data units, channels first.

    Args:
        given: a function of such examples to `(N, F)`; a torch module, which takes images as uint8 `(N, 3, H, W)`, from
            0 for black to 255 for white, grey in all three channels, and returns `(N, F)`; or the name of one of them.
        spec: what the examples are.

    Raises:
        ConfigError: a bad name, or a module for other examples than grey or RGB images.
    """
    found = _named(given) if isinstance(given, str) else given
    if isinstance(found, type) or not callable(found):
        raise ConfigError("features", repr(given), "a function or a torch module, and no class")
    if not isinstance(found, nn.Module):
        return found
    if not spec.is_image or spec.shape[0] not in (1, 3):
        need = "images of 1 or 3 channels, which a torch module takes; a function takes all data"
        raise ConfigError("features", f"a torch module, for {spec.describe()}", need)
    return lambda x: _of_module(found, to_pixels(spec, spec.from_channels_first(x)))


def _named(name: str) -> Any:
    """What MODULE:NAME names; the module is one of the working folder, or one that is installed."""
    module, _, inner = name.partition(":")
    if not module or not inner:
        raise ConfigError("features", repr(name), "MODULE:NAME, such as my_features:inception")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return attrgetter(inner)(import_module(module))
    except Exception as error:  # whatever the user's module raises
        need = f"a module that can be imported and has {inner}"
        raise ConfigError("features", f"{name!r} ({type(error).__name__}: {short(error)})", need) from error
    finally:
        sys.path.remove(here)


@torch.no_grad()
def _of_module(module: nn.Module, pixels: Array) -> Array:
    """The features of uint8 images `(N, H, W)` or `(N, H, W, 3)`."""
    three = np.moveaxis(pixels, -1, 1) if pixels.ndim == 4 else np.repeat(pixels[:, None], 3, 1)
    first = next(module.parameters(), torch.zeros(()))
    parts = torch.from_numpy(np.ascontiguousarray(three)).split(_AT_ONCE)
    return torch.cat([module.eval()(part.to(first.device)).cpu() for part in parts]).numpy()


def require_features(features: Features, x: Array) -> Array:
    """Apply the user's own function, and check what it returns.

    Args:
        features: the function.
        x: examples, data units, channels first.

    Raises:
        ConfigError: an error in it, an array of another shape, or one that is not finite.
    """
    try:
        found = np.asarray(features(x), np.float64)
    except Exception as error:  # whatever the user's function raises
        got = f"{type(error).__name__}: {short(error)}, for {x.dtype} {x.shape}"
        raise ConfigError("features", got, f"real numbers ({len(x)}, F)") from error
    if found.ndim != 2 or len(found) != len(x) or not np.isfinite(found).all():
        got = f"an array of shape {found.shape}" + ("" if np.isfinite(found).all() else " that is not finite")
        raise ConfigError("features", got, f"finite real numbers ({len(x)}, F)")
    return found


def _flat(x: Array) -> Array:
    return np.asarray(x).reshape(len(x), -1).astype(np.float64)
