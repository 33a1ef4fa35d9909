"""What one measure finds, and the forms in which an evaluation hands it on: JSON, lines for a terminal, warnings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from inkwash.core.options import to_json

_BEYOND = 3


class Finding(ABC):
    """What one measure found: a frozen dataclass of numbers that can put itself into words."""

    def to_json(self) -> Any:
        """The finding as plain data: an object with a key for each field."""
        return to_json(self)

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """The finding as lines for a terminal."""

    def warnings(self) -> Iterator[str]:
        """A sentence for each thing that is wrong beyond sampling error; by default there is none."""
        return iter(())


def is_beyond(value: float, std_error: float | None, limit: float = 0.0) -> bool:
    """Whether a number is above a limit by more than three standard errors; without a standard error none is."""
    return std_error is not None and value > limit + _BEYOND * std_error
