"""The errors of inkwash, and the exit code with which each of them ends a command.

The message of an error is one line: `WHERE: got X, need Y`.
"""

from collections.abc import Collection
from numbers import Integral
from pathlib import Path

from inkwash.core.text import shortened


class InkwashError(Exception):
    """The base of all errors that inkwash raises on purpose."""

    exit_code = 1


class _GotNeedError(InkwashError):
    """An error that states what was found and what is needed.

    Args:
        where: the option, file or argument at fault.
        got: what was found there.
        need: what should be there.
    """

    def __init__(self, where: str, got: object, need: str) -> None:
        super().__init__(f"{shortened(where)}: got {shortened(got)}, need {need}")
        self.where = where


class ConfigError(_GotNeedError, ValueError):
    """An option or argument is bad."""

    exit_code = 2


class MissingPackageError(_GotNeedError, ImportError):
    """A package is not installed that an option, a command or a kind of data needs; the message has the command that
    installs it."""

    exit_code = 2


class RunDiffersError(ConfigError):
    """A run was started with another option, or with other data.

    Args:
        where: the option.
        got: its value.
        need: that of the run.
        run: the run's folder.
        free: a folder that could hold a run of its own.
    """

    def __init__(self, where: str, got: object, need: str, run: Path, free: Path) -> None:
        super().__init__(where, got, f"{need}, as the run {run} was started with, or another folder, such as {free}")


class DataError(_GotNeedError, ValueError):
    """Data is missing, damaged or of a kind that inkwash cannot use."""

    exit_code = 3


class DoubtsError(DataError):
    """A table has doubts, and the user wants none.

    Args:
        where: the table.
        got: how many.
        need: what they are.
        settled: the `DataConfig` that settles them.
        text: the same in Python, which ends the message.

    Attributes:
        settled: as given.
        reasons: the message without its end.
    """

    def __init__(self, where: str, got: str, need: str, settled: object, text: str) -> None:
        super().__init__(where, got, f"{need}: {text}")
        self.settled, self.reasons = settled, str(self).removesuffix(f": {text}")


class CheckpointError(_GotNeedError):
    """A run or checkpoint is missing, damaged or of another format."""

    exit_code = 4


class NonFiniteError(_GotNeedError, ArithmeticError):
    """A loss or gradient stays NaN or infinite."""

    exit_code = 5


class StorageError(_GotNeedError, OSError):
    """A file operation failed, for example because there is no space or no permission."""

    exit_code = 6


class RunInUseError(_GotNeedError):
    """Another trainer holds the run."""

    exit_code = 7


class ProcessLostError(_GotNeedError):
    """Another of the processes that train together is gone."""

    exit_code = 8


class CodecError(_GotNeedError, ValueError):
    """A compressed file is damaged, or was made with another model, on another machine or by another version."""

    exit_code = 10


class RunInterrupted(InkwashError):
    """A signal stopped the run, which has saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def require_integer(where: str, value: object, least: int = 1, most: float = 10**9) -> None:
    """Raise a `ConfigError` unless `value` is an integer from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        few = isinstance(value, Integral) and int(value) > most
        raise ConfigError(where, value, f"an integer >= {least}" + (f" and <= {most}" if few else ""))


def require_kind(where: str, value: object, kind: type) -> None:
    """Raise a `ConfigError` unless `value` is an object of class `kind`; a name or the class itself is none."""
    if not isinstance(value, kind):
        raise ConfigError(where, repr(value), f"a {kind.__name__} object")


def require_one_of(where: str, value: str, choices: Collection[str]) -> None:
    """Raise a `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(where, repr(value), "one of " + ", ".join(choices))
