"""What an example is: its shape and layout, its type and range, its levels or columns."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np

from inkwash.core.config import Layout
from inkwash.core.options import Range
from inkwash.core.shapes import Array
from inkwash.data.columns import Column, Type
from inkwash.process.distributions import Lattice

Kind = Literal["vector", "series", "image", "volume"]


def has_channels(layout: Layout) -> bool:
    """Whether an axis of a layout is that of the channels or entries; otherwise an example has a single one."""
    return "C" in layout or layout == "ND"


@dataclass(frozen=True)
class DataSpec:
    """What one example is.

    Args:
        shape: of an example in model units: `(D,)` for vectors, `(C, L)` for series, `(C, H, W)` for images and
            `(C, D, H, W)` for volumes.
        layout: axes of the data as it came: "N" numbers, "ND" vectors, "NL", "NLC" or "NCL" series, "NHW", "NHWC" or
            "NCHW" images, "NDHW", "NDHWC" or "NCDHW" volumes.
        dtype: NumPy name of the data's type.
        low: smallest value; of the alphabet for data with levels, seen in the data otherwise.
        high: largest value, likewise.
        levels: how many equally spaced values an entry can take, one apart; None for continuous data.
        columns: of a table, what each entry is by its name, in order; None for other data.
        missing: of other vectors, which entries may be missing; None where none may.
    """

    shape: tuple[Annotated[int, Range(1, 1 << 24)], ...]
    layout: Layout
    dtype: Type
    low: float
    high: float
    levels: Annotated[int, Range(2, 65536)] | None
    columns: dict[str, Column] | None = None
    missing: tuple[bool, ...] | None = None

    @property
    def kind(self) -> Kind:
        """What an example is, by the number of its axes."""
        return get_args(Kind)[len(self.shape) - 1]

    @property
    def size(self) -> tuple[int, ...]:
        """Sides of a series `(L,)`, an image `(H, W)` or a volume `(D, H, W)`; of a vector none."""
        return self.shape[1:]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of a table, how many categories each column has, 0 for one of numbers; of other data nothing."""
        return tuple(len(column.categories or ()) for column in (self.columns or {}).values())

    @property
    def may_miss(self) -> Array:
        """Which entries or channels may be missing, boolean `(shape[0],)`."""
        if self.columns is None:
            return np.array(self.missing or [False] * self.shape[0])
        return np.array([column.missing for column in self.columns.values()])

    @property
    def is_real(self) -> Array:
        """Which entries or channels hold real numbers, boolean `(shape[0],)`: neither levels nor whole numbers nor
        categories."""
        if self.columns is None or self.levels is not None:
            return np.full(self.shape[0], self.levels is None)
        return np.array([column.limits is None for column in self.columns.values()])

    @property
    def is_image(self) -> bool:
        """Whether an example is a picture `(C, H, W)`."""
        return self.kind == "image"

    @property
    def lattice(self) -> Lattice | None:
        """The values that data with levels takes in model units under a process of real numbers: over [-1, 1]."""
        return None if self.levels is None else Lattice(-1.0, 1.0, self.levels)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example as it came."""
        return self.from_channels_first(np.empty((1, *self.shape), np.uint8)).shape[1:]

    def to_channels_first(self, data: Array) -> Array:
        """Data as it came, to `(N, *shape)`."""
        if self.layout.endswith("C"):
            data = np.moveaxis(data, -1, 1)
        return data.reshape(len(data), *self.shape)

    def from_channels_first(self, x: Array) -> Array:
        """`(N, *shape)` back to the layout the data came in."""
        if self.layout.endswith("C"):
            return np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return x if has_channels(self.layout) else x[:, 0]

    def describe(self) -> str:
        """The data in a few words."""
        size = "x".join(map(str, self.shape))
        kind = "table row" if self.columns else self.kind
        values = f"[{self.low:g}, {self.high:g}]" + (f" ({self.levels} levels)" if self.levels else "")
        return f"{kind} {size}, {self.dtype} {values}"

    def entry_words(self, index: int) -> str:
        """A channel of an image, say, or an entry of a vector, in words."""
        names = list(self.columns or ())
        return f"column {names[index]!r}" if names else f"{'channel' if self.size else 'column'} {index}"

    def rounded(self, data: Array) -> Array:
        """Real numbers `(N, …)` moved to the values there are: levels, or in columns whole numbers or categories."""
        if self.levels is not None:
            return np.clip(np.rint(data), self.low, self.high)
        for i, column in enumerate((self.columns or {}).values()):
            if column.limits is not None:
                data[:, i] = np.clip(np.rint(data[:, i]), *column.limits)
        return data
