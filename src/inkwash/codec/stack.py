"""A stack of bits: what is pushed with probability P takes -log2 P bits, and what is popped gives as many back.

This is asymmetric numeral systems (Duda 2013), by the package constriction (Bamler 2022). Popping bits that nobody has
pushed under a distribution samples it, and pushing the samples under the same distribution restores the bits: this is
how bits come back (Townsend et al. 2019).

A law is read and written by one function of an `Exchange`, so that both ends agree: it asks for symbols in the order in
which they are read, and a `Writing` pushes them in the opposite order at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import DataError
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.shapes import Array
from inkwash.data.raw import require_extra


def models() -> Any:
    """The distributions of constriction.

    Raises:
        MissingPackageError: it is not installed.
    """
    return require_extra("constriction", "compress", "compress").stream.model


class Stack:
    """A stack of bits, in words of 32.

    Args:
        words: what is on it, uint32; the last is not 0.
    """

    def __init__(self, words: Array) -> None:
        self._coder = require_extra("constriction", "compress", "compress").stream.stack.AnsCoder(words)
        self.lowest = self.words

    @classmethod
    def of_bytes(cls, data: bytes) -> Stack:
        """The stack whose `to_bytes` these are."""
        return cls(np.frombuffer(data + bytes(-len(data) % 4), "<u4").astype(np.uint32))

    @property
    def words(self) -> int:
        """How many words are on it."""
        return int(self._coder.num_words())

    def push(self, symbols: Array, model: Any, *parameters: Array) -> None:
        """Push symbols so that `pop` returns them in their order.

        Raises:
            DataError: symbols that the model does not have, which come from damaged bytes.
        """
        try:
            self._coder.encode_reverse(symbols, model, *parameters)
        except KeyError:
            raise DataError("chunk", "noise that its examples cannot have", "an undamaged chunk") from None

    def pop(self, model: Any, *parameters: Array | int) -> Array:
        """Pop one symbol for each row of the parameters, or a number of symbols of a model without parameters."""
        symbols = self._coder.decode(model, *parameters)
        self.lowest = min(self.lowest, self.words)
        return symbols

    def push_number(self, number: int, count: int) -> None:
        """Push a number in `0 … count - 1`, all of them equally probable."""
        self.push(np.array([number], np.int32), models().Uniform(count))

    def pop_number(self, count: int) -> int:
        """Pop such a number."""
        return int(self.pop(models().Uniform(count), 1)[0])

    def to_bytes(self) -> bytes:
        """What is on it, without the words at the bottom that were never popped, and without zeros at the top."""
        untouched = max(self.lowest - 2, 0)  # two words are in the coder's state
        return self._coder.get_compressed()[untouched:].astype("<u4").tobytes().rstrip(b"\0")

    def holds_end_of(self, words: Array) -> bool:
        """Whether what is on it are the last of other words."""
        left = self._coder.get_compressed()
        return len(left) <= len(words) and np.array_equal(left, words[len(words) - len(left) :])


def first_words(seed: int, count: int) -> Array:
    """The `count` words that a stack begins with: those of a seed, uint32."""
    words = np.random.Generator(np.random.PCG64(derived_seed(seed, Purpose.COMPRESS))).integers(
        2**32, size=count, dtype=np.uint32
    )
    words[-1] |= 2**31
    return words


class Exchange(ABC):
    """Symbols pass to or from a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.models = stack, models()

    def __call__(self, model: Any, known: Tensor | None, *parameters: Tensor) -> Tensor:
        """Exchange one symbol for each entry of the parameters.

        Args:
            model: a family of `models`.
            known: the symbols, integers `(N,)`, if they are written; None if they are read.
            *parameters: of the family, each `(N, …)`.

        Returns:
            The symbols, int64 `(N,)`.
        """
        arrays = [each.contiguous().cpu().numpy() for each in parameters]
        return self.exchange(model, None if known is None else known.cpu().numpy().astype(np.int32), arrays)

    @abstractmethod
    def exchange(self, model: Any, known: Array | None, parameters: list[Array]) -> Tensor:
        """As `__call__`, on arrays."""


class Reading(Exchange):
    """Symbols are popped."""

    def exchange(self, model: Any, known: Array | None, parameters: list[Array]) -> Tensor:
        return torch.from_numpy(self.stack.pop(model, *parameters)).long()


class Writing(Exchange):
    """Symbols are noted, to be pushed in the opposite order."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self._noted: list[tuple[Array, Any, list[Array]]] = []

    def exchange(self, model: Any, known: Array | None, parameters: list[Array]) -> Tensor:
        if known is None:
            raise TypeError("symbols to be written are known")
        self._noted.append((known, model, parameters))
        return torch.from_numpy(known).long()

    def push(self) -> None:
        """Push what was noted."""
        for symbols, model, parameters in reversed(self._noted):
            self.stack.push(symbols, model, *parameters)


@contextmanager
def writing(stack: Stack) -> Iterator[Writing]:
    """An exchange whose symbols are pushed at the end."""
    exchange = Writing(stack)
    yield exchange
    exchange.push()
