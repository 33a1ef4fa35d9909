"""What is learned of series whose entropy is known, with the options that are the default."""

import math

import numpy as np
import pytest
from scipy.linalg import toeplitz

import inkwash as iw

FIRST, SECOND = 1.6, -0.8
"""The weights of the last two places: waves of about 13 places that fade."""


def covariances(places):
    """Those of places 0, 1, … with place 0 of an AR(2) process whose innovations have variance 1 (Yule–Walker)."""
    found = [(1 - SECOND) / ((1 + SECOND) * ((1 - SECOND) ** 2 - FIRST**2))]
    found.append(found[0] * FIRST / (1 - SECOND))
    while len(found) < places:
        found.append(FIRST * found[-1] + SECOND * found[-2])
    return np.array(found[:places])


@pytest.mark.slow
@pytest.mark.parametrize("places", [16, 64])
def test_the_bound_of_an_autoregressive_process_is_near_its_entropy(places, tmp_path):
    """Training with the defaults comes within 2 % of the entropy, and the bound does not lie below it by more than the
    noise of the test examples."""
    cov = toeplitz(covariances(places))
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(places), cov, 2500)[:, None].astype("float32")
    train, test = draws[:2000], draws[2000:]
    np.save(tmp_path / "series.npy", train)
    iw.train(str(tmp_path / "series.npy"), out=tmp_path / "run", data=iw.DataConfig(layout="NCL"))
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * cov)[1]
    precision = np.linalg.inv(cov)
    surprise = 0.5 * np.einsum("nci,ij,ncj->n", test, precision, test) - 0.5 * places
    excess = iw.load(tmp_path / "run").bound(test, terms=100).total.numpy() - surprise - entropy
    assert -4 * excess.std() / len(test) ** 0.5 < excess.mean() < 0.02 * entropy
