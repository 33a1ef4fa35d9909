"""Models under a straight schedule, and slots small enough to need several of them."""

from unittest import mock

from oracles import (
    F64,
    Straight,
    exact_denoiser,
)

import inkwash as iw
from inkwash.core.randomness import Slots

SCHEDULE = Straight(9.0, -8.0)


def model_of(data):
    return iw.Diffusion(exact_denoiser(data, SCHEDULE), (2,), steps=30, dtype=F64)


def small_slots():
    """Several slots, the last of them not full."""
    return mock.patch.object(Slots, "rows", 4)


OF = Slots.of


def with_places_of_the_first(self, n, first=0):
    """Slots all of which hold the examples of the first one."""
    slots = list(OF(self, n, first))
    return [slot._replace(places=slots[0].places) for slot in slots]
