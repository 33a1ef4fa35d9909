"""Randomness as a pure function of a seed and what it is for.

Nothing uses a global generator. The noise of training step k, the order of an epoch and the samples of a slot each have
a generator of their own, keyed by the seed, the purpose and a number, so that a resumed run or a split batch sees the
same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import require_integer
from inkwash.core.shapes import event_size


@unique
class Purpose(IntEnum):
    """What randomness is for. It is part of the key, so that no two uses share numbers."""

    SAMPLE = 0
    BOUND = 1
    TRAIN = 2
    ORDER = 3
    MONITOR = 4
    EVALUATE = 5
    WEIGHTS = 6
    DROPOUT = 7
    VARIANCE = 8
    FLOW = 9
    IMMSE = 10
    CONDITION = 11
    GRID = 12
    SAMPLE_FROM = 14
    DIFFUSE = 15
    INTERPOLATE = 16
    IMPUTE = 17
    ENCODE = 18
    DECODE = 19
    TRAJECTORY = 20
    AUGMENT = 21
    LENGTH = 22
    COMPRESS = 23


def derived_seed(seed: int, *key: int) -> int:
    """A 63-bit seed for the use named by `key` under `seed`.

    Raises:
        ConfigError: a `seed` that is no integer from 0 to 2^128 - 1.
    """
    require_integer("seed", seed, 0, 2**128 - 1)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *key: int) -> torch.Generator:
    """A fresh CPU generator for the use named by `key` under `seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, *key))


def fresh_seed() -> int:
    """A seed from torch's global generator, so that `torch.manual_seed` still governs it."""
    return int(torch.randint(2**62, ()).item())


def seed_of(seed: int | None) -> int:
    """The seed itself; a fresh one for None.

    Raises:
        ConfigError: no integer from 0 to 2^128 - 1.
    """
    if seed is None:
        return fresh_seed()
    require_integer("seed", seed, 0, 2**128 - 1)
    return int(seed)


class Slot(NamedTuple):
    """A slot, and which of some examples are in it.

    Attributes:
        number: 0, 1, …; part of the key of its randomness.
        places: which example stands in each of its rows, `(rows,)`; where there is none, a copy of the nearest one.
        own: the rows whose examples are no copies.
    """

    number: int
    places: Tensor
    own: slice


@dataclass(frozen=True)
class Slots:
    """The slots that examples are processed in, each of a fixed number of rows.

    Matrix kernels may round differently at different batch sizes. Example i therefore always sits in slot `i // rows`,
    and a slot is always computed in full: sample i of a seed has the same bits however many there are.

    Args:
        shape: shape of one example.
        device: where it is processed.
    """

    shape: tuple[int, ...]
    device: torch.device

    @property
    def rows(self) -> int:
        """Rows of a slot."""
        on_cpu = min(max(4096 // event_size(self.shape), 16), 1024)
        return on_cpu if self.device.type == "cpu" else 16 * on_cpu

    def of(self, n: int, first: int = 0) -> Iterator[Slot]:
        """The slots of `n` examples, the first of which has the number `first`; places are counted from it."""
        for number in range(first // self.rows, -(-(first + n) // self.rows)):
            start = number * self.rows - first
            places = torch.arange(start, start + self.rows).clamp(0, n - 1)
            yield Slot(number, places, slice(max(-start, 0), min(n - start, self.rows)))


def slots_of(x: Tensor, seed: int, purpose: Purpose) -> Iterator[tuple[Tensor, torch.Generator]]:
    """For each slot of `x` `(B, *event)` the places in x of its examples, and a generator of its own.

    The last slot is filled up with copies of its last example; what is computed from it has to be cut back to B rows.
    """
    for slot in Slots(tuple(x.shape[1:]), x.device).of(len(x)):
        yield slot.places, generator(seed, purpose, slot.number)
