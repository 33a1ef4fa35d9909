"""Models under a straight schedule, and slots small enough to need several of them."""

from contextlib import contextmanager
from unittest import mock

from oracles import (
    F64,
    Straight,
    exact_denoiser,
)

import inkwash as iw
from inkwash.core import randomness
from inkwash.model import diffusion as diffusion

SCHEDULE = Straight(9.0, -8.0)


def model_of(data):
    return iw.Diffusion(exact_denoiser(data, SCHEDULE), (2,), steps=30, dtype=F64)


@contextmanager
def small_slots():
    """Several slots, the last of them not full."""
    with (
        mock.patch.object(diffusion, "slot_rows", return_value=4),
        mock.patch.object(randomness, "slot_rows", return_value=4),
    ):
        yield
