"""A scheme that needs no network: examples as the digits of one long number, which is optimal for uniform data."""

import hashlib

import torch


class Digits:
    """Each integer is a digit between the ends of its entry. Both ends, and a seed, are part of the probe."""

    def __init__(self, low, high, seed=0):
        self.low, self.size = low.flatten().tolist(), (high - low + 1).flatten().tolist()
        self.shape = tuple(low.shape)
        self.probe = hashlib.blake2b(f"{self.low} {self.size} {seed}".encode(), digest_size=8).digest()

    def encode(self, examples):
        number = 0
        for row in examples.flatten(1).tolist():
            for value, low, size in zip(row, self.low, self.size, strict=True):
                assert 0 <= value - low < size
                number = number * size + value - low
        return number.to_bytes((number.bit_length() + 7) // 8, "little")

    def given(self, examples):
        return examples

    def decode(self, data, count):
        number, rows = int.from_bytes(data, "little"), []
        for _ in range(count):
            row = []
            for low, size in zip(self.low[::-1], self.size[::-1], strict=True):
                number, digit = divmod(number, size)
                row.append(low + digit)
            rows.append(row[::-1])
        if number:
            raise ValueError("more digits than examples")
        return torch.tensor(rows[::-1], dtype=torch.int64).reshape(count, *self.shape)


def stand_in(model, mode, *, steps=None, times=None, seed=0, cells=None, lossy=None):
    """In place of `scheme_of`."""
    if cells is not None:
        return Digits(cells.low, cells.high, seed)
    spec = None if model.transform is None else model.transform.spec
    last = [size - 1 for size in spec.sizes] if spec is not None and spec.columns and not spec.levels else None
    lattice = model.units.values or model.units.lattice
    high = torch.tensor(last) if last else torch.full(model.shape, lattice.levels - 1)
    return Digits(torch.zeros_like(high), high, seed)
