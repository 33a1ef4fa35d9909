"""What reading gives: an array, and what its source knows of it. Nothing is checked or decided yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from inkwash.core.config import Layout
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, listed


@dataclass(frozen=True)
class Raw:
    """An array as it was read.

    Args:
        data: the examples, first axis; may be memory-mapped.
        layout: its axes, if the source knows them.
        levels: how many values an entry can take, if the source knows it.
        notes: what was chosen or converted, one sentence each.
        labels: what there is beside the examples by name, labels and conditions, one entry for each.
        columns: of a table, what each column is by its name.
    """

    data: Array
    layout: Layout | None = None
    levels: int | None = None
    notes: tuple[str, ...] = ()
    labels: Mapping[str, Array] = field(default_factory=dict)
    columns: dict[str, Column] | None = None

    def labels_named(self, name: str | None, where: str) -> Array | None:
        """The labels of that name, or none where there is no name.

        Raises:
            DataError: there are no such labels.
        """
        if name is None:
            return None
        if name not in self.labels:
            need = f"{', '.join(self.labels) or 'nothing'}, as {where} has"
            raise DataError("data.labels", repr(name), need)
        return self.labels[name]

    def parted(self, name: str, where: str) -> tuple["Raw", Array]:
        """The examples and the condition of that name: an array beside them, or columns of a table, with commas
        between, which are no entries of the examples then.

        Whole numbers that are categories are numbers there.

        Raises:
            DataError: there is no such condition, nothing beside it, or a column of words.
        """
        if name in self.labels:
            return self, self.labels[name]
        columns = dict(self.columns or {})
        names = [name] if name in columns else name.split(",")
        if not set(names) <= set(columns):
            need = f"{', '.join([*self.labels, *columns]) or 'nothing'}, as {where} has"
            raise DataError("data.condition", repr(name), need)
        places = [list(columns).index(each) for each in names]
        rest = [i for i in range(len(columns)) if i not in places]
        if not rest:
            raise DataError("data.condition", repr(name), "a column beside it, to learn the distribution of")
        for each in names:
            if columns[each].categories is not None and not columns[each].is_whole:
                got = f"column {each!r}, of categories, {listed(columns[each].categories or ())}"
                raise DataError("data.condition", got, "columns of numbers; data.labels takes one of categories")
        kept, data = {each: kind for each, kind in columns.items() if each not in names}, self.data[:, rest]
        given = np.stack([columns[each].numbers(self.data[:, i]) for each, i in zip(names, places, strict=True)], -1)
        return replace(self, data=data, columns=kept), given[:, 0] if len(names) == 1 else given


def short(error: BaseException) -> str:
    """An error of another library in a few words."""
    return str(error).split("\n")[0][:120] or type(error).__name__


def require_extra(module: str, extra: str, where: str) -> Any:
    """A module of a package that inkwash does without unless it is asked for what needs it.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise DataError(where, f"no package {module}", f"pip install 'inkwash[{extra}]'") from None


_MOST_BYTES = 1 << 34


def require_room(where: str, size: int) -> None:
    """Refuse data that would be read whole and take more than 16 GiB.

    Raises:
        DataError: it would.
    """
    if size > _MOST_BYTES:
        need = "at most 16 GiB, or an .npy file, which is read as needed"
        raise DataError(where, f"{size / (1 << 30):.1f} GiB to hold in memory", need)
