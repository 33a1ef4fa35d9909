"""Randomness as a pure function of a seed and what it is for.

Nothing is drawn from a global generator. Noise for the training step k, the order of an epoch, the samples of a slot:
each has a generator of its own, keyed by the seed, its purpose and its number, so that a resumed run or a split batch
sees the same numbers.
"""

from collections.abc import Iterator
from enum import IntEnum, unique

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import require_integer
from inkwash.core.shapes import event_size


@unique
class Purpose(IntEnum):
    """What the randomness is for; part of the key, so that no two uses share numbers."""

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


def derived_seed(seed: int, *key: int) -> int:
    """A 63-bit seed for the use named by `key` under `seed`.

    Raises:
        ConfigError: a `seed` that is no integer >= 0.
    """
    require_integer("seed", seed, 0)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *key: int) -> torch.Generator:
    """A fresh CPU generator for the use named by `key` under `seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, *key))


def fresh_seed() -> int:
    """A seed nobody asked for; taken from torch's global generator, so `torch.manual_seed` still governs it."""
    return int(torch.randint(2**62, ()).item())


def chosen_seed(seed: int | None) -> int:
    """The seed that was asked for; a fresh one for None.

    Raises:
        ConfigError: no integer >= 0.
    """
    if seed is None:
        return fresh_seed()
    require_integer("seed", seed, 0)
    return int(seed)


def slot_rows(shape: tuple[int, ...], device: torch.device) -> int:
    """Rows of the fixed slots that examples of `shape` are processed in.

    Matrix kernels may round differently at different batch sizes. Example i therefore always sits in slot `i // rows`,
    and a slot is always computed whole: sample i of a seed has the same bits however many are asked for.
    """
    on_cpu = min(max(4096 // event_size(shape), 16), 1024)
    return on_cpu if device.type == "cpu" else 16 * on_cpu


def slot_parts(first: int, n: int, rows: int) -> Iterator[tuple[int, slice]]:
    """The slots of `rows` rows that the examples `first … first + n - 1` sit in, and which rows of each are theirs."""
    for slot in range(first // rows, -(-(first + n) // rows)):
        start = slot * rows
        yield slot, slice(max(first - start, 0), min(first + n - start, rows))


def slots(x: Tensor, seed: int, purpose: Purpose) -> Iterator[tuple[Tensor, torch.Generator]]:
    """The places in `x` `(B, *event)` of the examples of each slot, and a generator of its own.

    The last slot is filled up with copies of its last example; what is computed from it has to be cut back to B rows.
    """
    rows = slot_rows(tuple(x.shape[1:]), x.device)
    for i in range(-(-len(x) // rows)):
        yield slot_places(i, rows, len(x)), generator(seed, purpose, i)


def slot_places(slot: int, rows: int, count: int, first: int = 0) -> Tensor:
    """Which of `count` examples stand in the `rows` of a slot, `(rows,)`; others fill what is left.

    The examples are the `first` of a seed and those after it.
    """
    return torch.arange(slot * rows - first, (slot + 1) * rows - first).clamp(0, count - 1)
