"""What can go wrong, and the exit code each kind of failure ends a command with.

An error is one line: `WHERE: got X, need Y`.
"""

from numbers import Integral


class InkwashError(Exception):
    """Base of all errors that inkwash raises on purpose."""

    exit_code = 1


class _GotNeedError(InkwashError):
    """An error that says what it got and what it needs.

    Args:
        where: the option, file or argument at fault.
        got: what stood there.
        need: what should stand there.
    """

    def __init__(self, where: str, got: object, need: str) -> None:
        super().__init__(f"{where}: got {got}, need {need}")
        self.where = where


class ConfigError(_GotNeedError, ValueError):
    """A bad option or argument."""

    exit_code = 2


class DataError(_GotNeedError, ValueError):
    """Data that is missing, damaged or of a kind that cannot be used."""

    exit_code = 3


class CheckpointError(_GotNeedError):
    """A run or checkpoint that is missing, damaged or of another format."""

    exit_code = 4


class NonFiniteError(_GotNeedError, ArithmeticError):
    """A loss or gradient that stays NaN or infinite."""

    exit_code = 5


class StorageError(_GotNeedError, OSError):
    """A file operation that failed: no space, no permission."""

    exit_code = 6


class RunInUseError(_GotNeedError):
    """Another trainer holds the run."""

    exit_code = 7


class RunInterrupted(InkwashError):
    """A run that was asked to stop by a signal, and has saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def require_integer(where: str, value: object, least: int = 1) -> None:
    """Refuse, with a `ConfigError`, what is no integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ConfigError(where, value, f"an integer >= {least}")


def require_kind(where: str, value: object, kind: type) -> None:
    """Refuse, with a `ConfigError`, what is no object of a class: a name, or a class in place of an object of it."""
    if not isinstance(value, kind):
        raise ConfigError(where, repr(value), f"a {kind.__name__}, an object")
