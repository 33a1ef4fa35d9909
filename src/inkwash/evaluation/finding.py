"""What one measure finds, and the forms in which an evaluation hands it on: JSON, lines for a terminal, warnings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inkwash.core.options import to_json
from inkwash.core.shapes import Array

_BEYOND = 3


@dataclass(frozen=True)
class Grade:
    """One number of a finding, by which two models can be compared.

    Args:
        value: the number.
        good: which numbers are good.
        unit: its unit; empty for a share or a plain number.
        each: what each held-out example adds to it, in their order, `(n,)`: the value is their mean. None if it is no
            mean over held-out examples.
        train: the same for training examples, whose mean is subtracted.
    """

    value: float
    good: Literal["low", "high", "near 0.5", "near 1"]
    unit: str = ""
    each: Array | None = None
    train: Array | None = None


class Finding(ABC):
    """What one measure found: a frozen dataclass of numbers that can put itself into words."""

    def to_json(self) -> Any:
        """The finding as plain data: an object with a key for each field."""
        return to_json(self)

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """The finding as lines for a terminal."""

    def grades(self) -> Mapping[str, Grade]:
        """The numbers by which two models can be compared, by name; by default there is none."""
        return {}

    def warnings(self) -> Iterator[str]:
        """A sentence for each thing that is wrong beyond sampling error; by default there is none."""
        return iter(())


def is_beyond(value: float, std_error: float | None, limit: float = 0.0) -> bool:
    """Whether a number is above a limit by more than three standard errors; without a standard error none is."""
    return std_error is not None and value > limit + _BEYOND * std_error
