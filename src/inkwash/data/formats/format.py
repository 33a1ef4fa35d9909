"""What a format of files is to inkwash: one record, for the built-in formats and for those of other packages alike.

A package adds formats by an entry point of the group `inkwash.formats`, whose object is a `Format`. It is loaded when a
path is read that no built-in format recognises, or when samples are to be written in its format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.raw import Raw, require_extra, short
from inkwash.data.spec import DataSpec

GROUP = "inkwash.formats"
"""The group of entry points by which other packages add formats."""
PICTURES = ("pages", "skip_damaged")
"""The options of pictures."""
TABLES = ("drop", "categories", "numbers", "dates", "missing_values", "day_first", "strict")
"""The options of tables."""
Files = Iterable[tuple[str, bytes]]
"""Files to write: the name of each below the folder of the samples, and its content."""


@dataclass(frozen=True)
class Format:
    """How files of one format are called, recognised, read and written.

    Args:
        name: what runs call it: "hdf5".
        words: what a file of it is called in messages: "an HDF5 file".
        recognises: whether a path has the name of such a file, or is such a folder; packages are not needed for that.
        read: takes the path, and the options of the data, to an array. `key` of the options says which array of the
            file; a user may write it behind the path, as in `data.h5:group/x`.
        options: options of `DataConfig` that go with this format, and not with every one.
        packages: modules that it needs.
        extra: the extra of inkwash that installs them.
        suffix: how the name of a file that it writes ends; empty where samples are several files in a folder.
        write: takes a name with that suffix, what an example is, and samples in data units to files; what the reader
            kept is `spec.origin.kept`. None: samples are .npy files and pictures, or .csv for a table.
        read_rows: takes the path of a table, and what a known table is, to new rows of that table.
        read_one: as `read`, for a file that may hold one example only; None: `read` takes such a file.
        same: names of what the reader keeps that an example must have as the data had it.
    """

    name: str
    words: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, DataConfig], Raw]
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""
    suffix: str = ""
    write: Callable[[str, DataSpec, Array], Files] | None = None
    read_rows: Callable[[Path, DataSpec], Array] | None = None
    read_one: Callable[[Path, DataConfig], Raw] | None = None
    same: tuple[str, ...] = ()

    def require_packages(self, where: str) -> None:
        """Refuse to go on without the packages that it needs.

        Raises:
            MissingPackageError: one is missing; the message has the command that installs it.
        """
        for module in self.packages:
            require_extra(module, self.extra, where)


def ends_in(*suffixes: str) -> Callable[[Path], bool]:
    """Recognises files by how their names end: `.h5`, or `.nii.gz`."""
    return lambda path: path.name.lower().endswith(suffixes) and not path.is_dir()


def stated(config: DataConfig, options: Iterable[str]) -> dict[str, str]:
    """Of some options of the data those that are not left at their default, and what messages say of their values."""
    values = {option: getattr(config, option) for option in options}
    stated = {option: each for option, each in values.items() if each not in (getattr(DataConfig(), option), ())}
    return {option: ", ".join(each) if isinstance(each, tuple) else repr(each) for option, each in stated.items()}


def in_one(dump: Callable[[DataSpec, Array], bytes]) -> Callable[[str, DataSpec, Array], Files]:
    """Writes all samples into one file."""
    return lambda name, spec, data: [(name, dump(spec, data))]


@cache
def plugged_in() -> tuple[Format, ...]:
    """The formats of other packages, by name.

    Raises:
        DataError: a package cannot be imported, or offers something else.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            plugged = entry.load()
        except Exception as error:  # the code of another package may raise anything
            got = f"{entry.value}, which cannot be imported ({short(error)})"
            raise DataError(f"format {entry.name}", got, "a package that works, or none") from None
        if not isinstance(plugged, Format):
            raise DataError(
                f"format {entry.name}", f"{entry.value}, a {type(plugged).__name__}", f"a {Format.__name__}"
            )
        found.append(plugged)
    return tuple(found)
