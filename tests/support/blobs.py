"""Pictures of one blob, and their labels."""

from dataclasses import replace

import numpy as np
from faults import tiny

import inkwash as iw

NAMES = np.array(["cat", "dog", "emu"])
PLACES = np.array([[4.0, 0.0], [-4.0, 1.0], [0.0, -5.0]])
RANDOM = np.random.default_rng(4)
LABELS = NAMES[RANDOM.integers(0, 3, 100)]


def blobs(labels, seed=0):
    """Points around a place of their own for each label."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), 2))
    return (PLACES[np.searchsorted(NAMES, labels)] + noise).astype(np.float32)


def blobs_of(points):
    """The label of the nearest place."""
    return NAMES[np.linalg.norm(points[:, None] - PLACES, axis=2).argmin(1)]


KINDS = {
    "points": (blobs(LABELS), ()),
    "images": (RANDOM.integers(0, 5, (100, 5, 6)).astype(np.uint8), ("--data.levels", 5)),
    "bits": (RANDOM.integers(0, 2, (100, 6)).astype(bool), ("--process.kind", "bernoulli")),
}


def labelled(source, **train):
    return replace(tiny(source, **train), data=iw.DataConfig(labels="y_train"))
