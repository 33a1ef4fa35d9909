"""Files that hold several arrays, each with a name: which of them has the examples, and which their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import listed
from inkwash.data.raw import Raw

_CUSTOMARY = ("x_train", "x", "X", "images", "data")


def names_beside(config: DataConfig) -> dict[str, str]:
    """What options name beside the examples, by option."""
    options = {"labels": config.labels, "condition": config.condition, "lengths": config.lengths}
    return {option: name for option, name in options.items() if name is not None}


def read_named(
    where: str,
    names: Sequence[str],
    config: DataConfig,
    read: Callable[[str], Raw],
    read_beside: Callable[[str], Array] | None = None,
) -> Raw:
    """The array that `data.key` names, or the only one, or the first of x_train, x, X, images and data; with the arrays
    that options name as labels, condition or lengths.

    Args:
        where: what the file is called in messages.
        names: its arrays.
        config: the options.
        read: takes a name to the array that has it.
        read_beside: the same for labels, conditions and lengths, which are held in memory.

    Raises:
        DataError: there is no such array, or `read` refuses it.
    """
    key = name_of(where, names, "key", config.key)
    others = [(name, name_of(where, names, option, name)) for option, name in names_beside(config).items()]
    raw = read(key)
    beside = read_beside or (lambda name: np.asarray(read(name).data))
    labels = {name: beside(found) for name, found in others}
    unused = [name for name in names if name not in (key, *(found for _, found in others))]
    about = f"array {key!r} of {where.rpartition('/')[2]}; not used: {listed(unused)}"
    return replace(raw, notes=(*((about,) if unused else ()), *raw.notes), labels=labels)


def name_of(where: str, names: Sequence[str], option: str, name: str | None) -> str:
    """The name that an option has, or a customary one, if there is an array of that name."""
    candidates = [name.strip("/")] if name is not None else [*_CUSTOMARY, *(names if len(names) == 1 else [])]
    found = next((candidate for candidate in candidates if candidate in names), None)
    if found is None:
        got = f"arrays {listed(names) or '(none)'}" if name is None else repr(name)
        need = "the name of one of its arrays: " + (listed(names) or "there is none")
        raise DataError(f"{where}: data.{option}", got, need)
    return found
