"""`Units`: examples from data units to model units, and samples back.

Everything that users and factors state in data units passes through here once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionSpec
from inkwash.data.frames import from_frame, is_frame
from inkwash.data.objects import as_array, unmasked
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.process import Process


@short_repr
@dataclass(frozen=True)
class Units:
    """The units of a model.

    Args:
        shape: shape of one example in model units.
        transform: takes data units to model units and back; None where the two are the same.
        condition: what the network takes beside noisy data and time.
        values: the values of entries under a discrete process; None where they are real numbers.
        device: where examples in model units live.
        dtype: of noisy data.
    """

    shape: tuple[int, ...]
    transform: Transform | None
    condition: ConditionSpec
    values: Lattice | None
    device: torch.device
    dtype: torch.dtype

    @property
    def spec(self) -> DataSpec:
        """What an example is in data units.

        Raises:
            ConfigError: there is no transform, which would know.
        """
        return self._require_transform().spec

    @property
    def lattice(self) -> Lattice | Bins | None:
        """The values of entries in model units, where the data has levels or whole numbers."""
        return None if self.transform is None else self.transform.lattice

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one example in data units, as it came."""
        return self.shape if self.transform is None else self.transform.spec.data_shape

    @property
    def scale(self) -> float:
        """How long one model unit is in data units; a mean over the channels."""
        return 1.0 if self.transform is None else sum(self.transform.scale) / len(self.transform.scale)

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype, and on the device, of noisy data."""
        return torch.zeros((), dtype=self.dtype, device=self.device)

    def from_frame(self, x: Any) -> Any:
        """The rows of a data frame as numbers; a masked array with NaN for what is masked; series of unequal length
        with NaN beyond their ends; anything else as it is.

        Raises:
            DataError: rows or series that do not fit the model.
        """
        if is_frame(x):
            return from_frame(self.spec, x)
        return unmasked(x) if self.lengths is None else self._padded(x)

    def _padded(self, series: Any) -> Array:
        """Series, or a list of them, as an array `(B, …)` of the model's shape, NaN beyond the end of each."""
        rows = [as_array(each) for each in series]
        shape, axis = self.data_shape, self.spec.layout.index("L") - 1
        found = np.full((len(rows), *shape), np.nan, np.result_type(np.float32, *(row.dtype for row in rows)))
        for i, row in enumerate(rows):
            others = row.ndim == len(shape) and np.array_equal(np.delete(row.shape, axis), np.delete(shape, axis))
            if not others or not 0 < row.shape[axis] <= shape[axis] or row.dtype.kind not in "biuf":
                got, need = f"shape {row.shape}, {row.dtype}", f"numbers of shape {shape}, or of fewer places"
                raise DataError(f"x[{i}]", got, need)
            np.moveaxis(found[i], axis, 0)[: row.shape[axis]] = np.moveaxis(row, axis, 0)
        return found

    def to_model(self, x: Any, missing: bool = False) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device; NaN where an entry is missing.

        Args:
            x: examples in data units.
            missing: whether entries may be missing even if those of the training data may not.

        Raises:
            DataError: examples of another shape, or with values that the data cannot take.
        """
        x = self.from_frame(x)
        if self.transform is not None:
            x = self.transform.to_model(as_array(x), missing)
        tensor = self.shaped("x", x)
        if self.values is not None and not self.values.holds(tensor.nan_to_num(self.values.low) if missing else tensor):
            raise DataError("x", "other values", f"one of {self.values.values().tolist()} in each entry")
        return tensor

    def complete(self, x: Any) -> Tensor:
        """`to_model` of examples without a missing entry.

        Raises:
            DataError: as `to_model`, or an entry is missing.
        """
        if bool((model_x := self.to_model(x)).isnan().any()):
            raise DataError("x", "a missing value", "complete examples; bound and impute take others")
        return model_x

    def shaped(self, where: str, x: Any) -> Tensor:
        """Examples in model units, which `where` names, on the model's device.

        Raises:
            DataError: another shape than `(B, *shape)`, or no example.
        """
        tensor = torch.as_tensor(x, device=self.device)
        if tuple(tensor.shape[1:]) != self.shape or len(tensor) == 0:
            raise DataError(where, f"shape {tuple(tensor.shape)}", f"at least one example of shape {self.shape}")
        return tensor

    @property
    def lengths(self) -> tuple[int, ...] | None:
        """How many of the series of the data have 1, 2, … places; None where all have as many."""
        return None if self.transform is None else self.transform.spec.lengths

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units. Where series have unequal lengths, those that end early in NaN stay so."""
        if self.transform is None:
            return x
        if self.lengths is None:
            return self.transform.to_data(x.cpu())
        beyond = beyond_end(x.cpu())
        data = self.transform.to_data(x.cpu().masked_fill(beyond, 0.0))
        every = beyond.expand(-1, len(self.spec.varies), -1).numpy()
        return np.where(self.spec.from_all_channels(every), np.nan, data).astype(data.dtype)

    def cut(self, data: Any) -> Any:
        """Series of unequal lengths as a list, each up to its end; other data units as they are."""
        if self.lengths is None:
            return data
        axis = self.spec.layout.index("L")
        gone: Array = np.asarray(np.isnan(self.spec.to_channels_first(data)).all(1))
        ends = data[0].shape[axis - 1] - gone[:, ::-1].argmin(1)
        return [np.take(series, range(end), axis - 1) for series, end in zip(data, ends, strict=True)]

    def to_unrounded(self, x: Tensor) -> Array:
        """As `to_data`, but in float64, and without moving entries to levels: for noisy data, and for means.

        Raises:
            ConfigError: there is no transform.
        """
        return self._require_transform().to_real(x.cpu())

    def with_known(self, x: Any, samples: Any, n: int) -> Any:
        """Samples of incomplete examples `x`, data units, with the entries that x has put in as they are.

        Args:
            x: `(B, …)`; NaN where an entry is missing.
            samples: `(n * B, …)`, the examples in order within each of `n`.
            n: how many samples there are of each example.

        Returns:
            `(n, B, …)`.
        """
        samples = samples.reshape(n, len(x), *samples.shape[1:])
        if isinstance(samples, Tensor):
            tensor = torch.as_tensor(x).to(samples)
            return torch.where(tensor.isnan(), samples, tensor)
        known = np.asarray(x, np.float64)
        return np.where(np.isnan(known), samples, known).astype(samples.dtype)

    def to_reals(self, x: Tensor) -> Tensor:
        """Model units to data units as real numbers, `(B, *shape)` with constant channels; differentiable."""
        return x if self.transform is None else self._with_constants(self.transform.real(x), 1.0)

    def difference_to_data(self, x: Tensor) -> Tensor:
        """A difference in model units as one in data units, for an affine transform."""
        return x if self.transform is None else self._with_constants(self.transform.stretch(x), 0.0)

    def log_det(self, model_x: Tensor) -> Tensor | float:
        """Log-determinant of the map from data units to model units at `model_x`, `(B,)`; 0 where the units are the
        same."""
        return 0.0 if self.transform is None else self.transform.log_det(model_x)

    def entry_log_det(self, model_x: Tensor) -> Tensor | float:
        """What each entry adds to `log_det`, in the shape of `model_x`."""
        return 0.0 if self.transform is None else self.transform.entry_log_det(model_x)

    def _with_constants(self, x: Tensor, share: float) -> Tensor:
        """Channels `(B, *shape)` with a share of the constant ones among them."""
        if self.spec.constants is None:
            return x
        varying = iter(x.unbind(1))
        parts = (
            next(varying) if value is None else torch.full_like(x[:, 0], share * value) for value in self.spec.constants
        )
        return torch.stack([*parts], 1)

    def _require_transform(self) -> Transform:
        if self.transform is None:
            raise ConfigError("model", "one without a transform", "one that knows what its data is")
        return self.transform


def beyond_end(x: Tensor) -> Tensor:
    """Where series `(B, C, L)` are NaN in all channels up to their last place, boolean `(B, 1, L)`; never in the first
    place."""
    gone = x.isnan().all(1, keepdim=True)
    beyond = gone.flip(-1).cumprod(-1).flip(-1).bool()
    beyond[..., 0] = False
    return beyond


def require_same_values(process: Process, transform: Transform) -> None:
    """Check that a transform takes data to the values of a discrete process.

    Raises:
        ConfigError: it does not.
    """
    if process.lattice not in (None, transform.lattice):
        need = f"data on {process.lattice}, the values of a {type(process).__name__} process, or no transform"
        raise ConfigError("transform", transform.lattice or "continuous data", need)
