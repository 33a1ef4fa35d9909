"""What examples are in Python, so that they come back as they went in: an array, a tensor, a list of series, a frame.

The types, the shape and the order of axes come back; whether an array lay in memory by rows or by columns does not.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from inkwash.codec.marks import same
from inkwash.core.errors import DataError
from inkwash.core.options import Range
from inkwash.core.shapes import Array, to_array
from inkwash.data.frames import is_frame, to_frame
from inkwash.data.objects import is_masked
from inkwash.model.units import Units

_NEED = "an array, a tensor, a pandas.DataFrame for a table, or a list of arrays for series of unequal length"


@dataclass(frozen=True)
class Form:
    """What examples are.

    Args:
        kind: an array, a tensor, a list of series of unequal length, or the rows of a table.
        dtype: type of the numbers, as NumPy writes it with its order of bytes, or torch's name for a tensor.
        shape: of all examples; series of unequal length are as long as the longest that a model knows.
        columns: the type of each column of a frame, by name and in order; None for other data.
    """

    kind: Literal["array", "tensor", "series", "rows"]
    dtype: str
    shape: tuple[Annotated[int, Range(0, 1 << 40)], ...]
    columns: dict[str, str] | None = None

    @property
    def held_as(self) -> np.dtype[Any]:
        """Type of the array that holds the examples in data units."""
        if self.kind == "tensor":
            return to_array(torch.empty(0, dtype=self.torch_type)).dtype
        return np.dtype(self.dtype)

    @property
    def torch_type(self) -> torch.dtype:
        """Type of a tensor.

        Raises:
            TypeError: torch has no such type.
        """
        found = getattr(torch, self.dtype, None)
        if not isinstance(found, torch.dtype):
            raise TypeError(f"{self.dtype} is no type of torch")
        return found

    def fits(self, units: Units) -> bool:
        """Whether examples of a model with these units can be this."""
        try:
            is_number = self.held_as.kind in "biuf"
        except TypeError:
            return False
        is_table = units.transform is not None and units.spec.columns is not None
        possible = self.kind in ("array", "tensor", *["rows"] * is_table, *["series"] * (units.lengths is not None))
        return is_number and possible and self.shape[1:] == units.data_shape

    def of(self, count: int) -> "Form":
        """The same for another number of examples."""
        return replace(self, shape=(count, *self.shape[1:]))


def form_of(units: Units, x: Any) -> tuple[Form, Array]:
    """What examples are, and the array that holds them in data units.

    Raises:
        DataError: an object of another kind, or one that would not come back as it is.
    """
    if is_frame(x):
        return _of_frame(units, x)
    if isinstance(x, Tensor):
        held = to_array(x)
        return Form("tensor", str(x.dtype).removeprefix("torch."), tuple(x.shape)), held
    if isinstance(x, list) and units.lengths is not None:
        return _of_series(units, x)
    if not isinstance(x, np.ndarray) or is_masked(x):
        raise DataError("x", f"a {type(x).__name__}", _NEED)
    if x.dtype.kind not in "biuf":
        raise DataError("x", f"values of type {x.dtype}", "numbers")
    return Form("array", x.dtype.str, x.shape), np.asarray(x)


def _of_frame(units: Units, x: Any) -> tuple[Form, Array]:
    import pandas

    if not isinstance(x, pandas.DataFrame):
        raise DataError("x", f"a {type(x).__module__.partition('.')[0]} frame", "a pandas.DataFrame; convert it first")
    held = units.from_frame(x)
    form = Form("rows", "<f8", held.shape, {str(name): str(kind) for name, kind in x.dtypes.items()})
    if not (isinstance(x.index, pandas.RangeIndex) and x.index.equals(pandas.RangeIndex(len(x)))):
        raise DataError("x", "a frame with an index", "one without; reset_index makes it a column or drops it")
    if not _comes_back(form, units, held, x):
        got = "a frame that would come back otherwise: it has columns, categories or types that the model does not know"
        raise DataError("x", got, "the columns and types of the training data, as model.sample returns them")
    return form, held


def _comes_back(form: Form, units: Units, held: Array, x: Any) -> bool:
    try:
        return bool(as_it_was(form, units, held).equals(x))
    except (KeyError, TypeError, ValueError):
        return False


def _of_series(units: Units, x: list[Any]) -> tuple[Form, Array]:
    if not x:
        raise DataError("x", "no series", "at least one")
    held = units.from_frame(x)
    kinds = {getattr(each, "dtype", None) for each in x}
    form = Form("series", str(next(iter(kinds))) if len(kinds) == 1 else "", held.shape)
    items = all(isinstance(each, np.ndarray) and not is_masked(each) for each in x)
    if len(kinds) > 1 or not items:
        raise DataError("x", "series of several types", "arrays of one type")
    form = replace(form, dtype=x[0].dtype.str)
    for i, (back, each) in enumerate(zip(as_it_was(form, units, held), x, strict=True)):
        if not same(back, each):
            raise DataError(f"x[{i}]", "a series that ends in missing places", "one that ends in a number")
    return form, held


def as_it_was(form: Form, units: Units, held: Array) -> Any:
    """The examples that an array in data units holds, as the object that went in."""
    if form.kind == "tensor":
        return torch.from_numpy(np.ascontiguousarray(held)).to(form.torch_type)
    if form.kind == "series":
        return [each.astype(form.dtype) for each in units.cut(held)]
    if form.kind == "rows":
        frame = to_frame(units.spec, held)
        return frame if form.columns is None else frame[list(form.columns)].astype(form.columns)
    return held
