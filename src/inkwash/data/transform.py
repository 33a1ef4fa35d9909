r"""From data units to model units and back: the only place that knows both.

Every transform here is increasing per channel or entry, $x = (f(\text{data}) - \text{shift})/\text{scale}$. Integers
with levels go onto an even lattice, over [-1, 1] unless the process has values of its own; real numbers to mean 0 and
standard deviation 1, or to [-1, 1], or through a curve f, their logarithm or their quantile transform, to mean 0 and
standard deviation 1; f is the identity elsewhere. All is fitted on the training part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import TransformKind
from inkwash.core.errors import ConfigError, DataError, NonFiniteError
from inkwash.core.options import Range
from inkwash.core.shapes import Array, sum_event
from inkwash.data.curves import Curve, Log, Quantiles, fit_quantiles
from inkwash.data.rows import blocks, take
from inkwash.data.spec import DataSpec
from inkwash.process.distributions import Bins, Lattice


@dataclass(frozen=True)
class Transform:
    """An increasing map per channel or, of vectors, per entry: a curve for real numbers, if there is one, then an
    affine map.

    Args:
        spec: what the data is.
        shift: subtracted, one number per channel or entry, in data units or, behind a curve, its units.
        scale: then divided by, likewise; positive.
        kind: how real numbers are mapped; "log" takes the logarithm first, "quantile" goes along `quantiles`.
        quantiles: the curves of a quantile transform, by the numbers of the channels or entries of real numbers.
    """

    spec: DataSpec
    shift: tuple[float, ...]
    scale: tuple[Annotated[float, Range(0, open_low=True)], ...]
    kind: TransformKind = "standard"
    quantiles: dict[str, Quantiles] = field(default_factory=dict)

    @property
    def curves(self) -> dict[int, Curve]:
        """The curves that real numbers are bent along, by channel or entry; none of an affine map."""
        if self.kind == "log":
            return {int(i): Log() for i in np.flatnonzero(self.spec.is_real)}
        return {int(i): curve for i, curve in self.quantiles.items()}

    @property
    def lattice(self) -> Lattice | Bins | None:
        """The values that data with levels takes in model units, or how far apart the whole numbers of a table are."""
        if self.spec.levels is None:
            return self._bins
        low, high = ((end - self.shift[0]) / self.scale[0] for end in (self.spec.low, self.spec.high))
        return Lattice(low, high, self.spec.levels)

    @property
    def _bins(self) -> Bins | None:
        whole = np.array([column.is_whole and not column.categories for column in (self.spec.columns or {}).values()])
        return Bins(torch.from_numpy(whole / np.asarray(self.scale))) if whole.any() else None

    def check(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        spec = self.spec
        ranks = 1 if spec.layout == "ND" else len(spec.layout.replace("C", ""))
        if len(spec.shape) != ranks:
            raise ConfigError("transform.spec.shape", spec.shape, f"{ranks} sides for the layout {spec.layout}")
        if spec.low > spec.high:
            raise ConfigError("transform.spec.low", spec.low, f"at most transform.spec.high, {spec.high:g}")
        if spec.columns is not None and (spec.layout != "ND" or len(spec.columns) != spec.shape[0]):
            raise ConfigError(
                "transform.spec.columns", f"{len(spec.columns)} columns", "one for each entry of a vector"
            )
        for name, column in (spec.columns or {}).items():
            column.check(f"transform.spec.columns.{name}")
        if spec.missing is not None and (
            spec.size or spec.columns or spec.levels or len(spec.missing) != spec.shape[0]
        ):
            raise ConfigError("transform.spec.missing", spec.missing, "one for each entry of a vector of real numbers")
        if spec.levels is not None and spec.high - spec.low != spec.levels - 1:
            raise ConfigError("transform.spec.levels", spec.levels, f"those of [{spec.low:g}, {spec.high:g}]")
        if not len(self.shift) == len(self.scale) == spec.shape[0]:
            raise ConfigError(
                "transform.scale", f"{len(self.scale)} numbers", f"{spec.shape[0]}, as of transform.shift"
            )
        bent = [str(i) for i in np.flatnonzero(spec.is_real)] if self.kind == "quantile" else []
        if sorted(self.quantiles) != sorted(bent):
            raise ConfigError("transform.quantiles", f"those of {sorted(self.quantiles)}", f"{bent}")
        for name, curve in self.quantiles.items():
            curve.check(f"transform.quantiles.{name}")

    def to_model(self, data: Array, missing: bool = False) -> Tensor:
        """Data units, as they came, to a float32 tensor `(N, *spec.shape)`.

        Args:
            data: examples, NaN where an entry is missing.
            missing: whether entries may be missing though those that were trained on may not.

        Raises:
            DataError: another shape, a missing entry, or values that the data cannot take.
        """
        expected = self.spec.data_shape
        if data.shape[1:] != expected or data.ndim == 0:
            raise DataError("data", f"shape {data.shape}", f"(N, {', '.join(map(str, expected))})".replace(", )", ")"))
        if not missing:
            self._require_present(data)
        self._require_alphabet(data)
        return ((self.bend(data) - self._column(self.shift)) / self._column(self.scale)).float()

    def bend(self, data: Array) -> Tensor:
        """Data units, as they came, to `(N, *spec.shape)`, float64, through the curves alone.

        Raises:
            DataError: a number that has no logarithm.
        """
        if self.kind == "log":
            self._require_positive(data)
        real = torch.from_numpy(self.spec.to_channels_first(data).astype(np.float64))
        return self._each(real, lambda curve, entry: curve.bend(entry))

    def to_data(self, x: Tensor) -> Array:
        """Model units `(N, *spec.shape)` to data units, in the dtype and layout of the data as it came.

        Data with levels is moved to the nearest level, and whole numbers of a table to the nearest of these.

        Raises:
            NonFiniteError: a number that is NaN or infinite, or that stands for one too large for the dtype.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            data = self.spec.rounded(self.to_real(x)).astype(self.spec.dtype)
        if not bool(x.isfinite().all()) or not np.isfinite(data).all():
            raise NonFiniteError("samples", "NaN or infinity", "finite numbers; train longer or more gently")
        return data

    def to_real(self, x: Tensor) -> Array:
        """As `to_data`, but float64 and not moved to any level: for noisy data, and for means."""
        return self.spec.from_channels_first(self.real(x.double()).numpy())

    def real(self, x: Tensor) -> Tensor:
        """Model units `(N, *spec.shape)` to data units as real numbers, channels first; differentiable."""
        return self._each(self._behind(x), lambda curve, u: curve.unbend(u))

    def stretch(self, x: Tensor) -> Tensor:
        """A difference in model units as one in data units, of an affine map: `real` without its shift."""
        return x * self._column(self.scale).to(x)

    def log_det(self, x: Tensor) -> Tensor:
        r"""$\log|\partial x/\partial\text{data}|$ at `x` `(N, *spec.shape)` in model units, nats per example: `(N,)`,
        float64.

        It is of the real numbers that there are alone: what has a probability in place of a density keeps it, and what
        is missing, NaN, has none.
        """
        u = self._behind(x.double())
        slopes = torch.zeros_like(u)
        for i, curve in self.curves.items():
            slopes[:, i] = curve.log_slope(u[:, i])
        is_real = self._column(self.spec.is_real).to(x.device, torch.bool)
        return sum_event(slopes - self._column(self.scale).to(u).log(), is_real & ~x.isnan())

    def describe(self) -> str:
        """The map in words."""
        if not isinstance(self.lattice, Lattice):
            each = "channel" if self.spec.size else "number" if any(self.spec.sizes) else "entry"
            return f"{self.spec.describe()} → {_WORDS[self.kind]} per {each}{self._of_others()}"
        ends = f"{self.lattice.low:g}, {self.lattice.high:g}"
        return f"{self.spec.describe()} → " + (f"{{{ends}}}" if self.spec.levels == 2 else f"[{ends}]")

    def _of_others(self) -> str:
        """What becomes of the whole numbers of a table whose real ones are not merely standardised, in words."""
        whole = self._bins is not None and self.kind != "standard"
        return f"; of whole numbers, {_WORDS['standard']}" if whole else ""

    def _behind(self, x: Tensor) -> Tensor:
        """Model units `(N, *spec.shape)` to what is behind the curves."""
        return self.stretch(x) + self._column(self.shift).to(x)

    def _each(self, x: Tensor, along: Callable[[Curve, Tensor], Tensor]) -> Tensor:
        """Channels or entries `(N, *spec.shape)` one by one along their curves."""
        if not self.curves:
            return x
        entries = list(x.unbind(1))
        for i, curve in self.curves.items():
            entries[i] = along(curve, entries[i])
        return torch.stack(entries, 1)

    def _column(self, values: tuple[float, ...] | Array) -> Tensor:
        trailing = (1,) * (len(self.spec.shape) - 1)
        return torch.from_numpy(np.asarray(values, dtype=np.float64)).reshape(-1, *trailing)

    def _require_present(self, data: Array) -> None:
        """Refuse missing entries where none were trained on."""
        gone = np.isnan(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
        may_miss = self.spec.may_miss
        if may_miss.any():
            gone &= ~may_miss
        if gone.any():
            row, *place = (int(i) for i in np.argwhere(gone)[0])
            entry = f", {self.spec.entry_words(place[0])}" if may_miss.any() or self.spec.columns else ""
            raise DataError(f"data[{row}]{entry}", "a missing value", "a number: none was missing there in training")

    def _require_positive(self, data: Array) -> None:
        """Refuse real numbers that have no logarithm."""
        entries = np.moveaxis(self.spec.to_channels_first(data), 1, 0)
        for i in self.curves:
            bad = entries[i][entries[i] <= 0]
            if bad.size:
                raise DataError(
                    f"data, {self.spec.entry_words(i)}", f"{bad[0]:g}", "numbers > 0, for data.transform log"
                )

    def _require_alphabet(self, data: Array) -> None:
        if data.size == 0:
            return
        if self.spec.levels is not None:
            ends = np.array([self.spec.low]), np.array([self.spec.high])
            return self._require_whole(data.reshape(-1, 1), *ends, ["data"])
        columns = list((self.spec.columns or {}).values())
        at = [i for i, column in enumerate(columns) if column.categories]
        low, high = np.zeros(len(at)), np.array([len(columns[i].categories or ()) - 1 for i in at])
        if at:
            self._require_whole(data[:, at], low, high, [f"data, {self.spec.entry_words(i)}" for i in at])

    def _require_whole(self, data: Array, low: Array, high: Array, where: list[str]) -> None:
        """Check that what there is of each column `(N, K)` is whole, and within its ends."""
        fine = np.isnan(data) | ((data >= low) & (data <= high) & (data == np.rint(data)))
        if not fine.all():
            row, i = (int(k) for k in np.argwhere(~fine)[0])
            raise DataError(where[i], f"{data[row, i]:g}", f"whole numbers in [{low[i]:g}, {high[i]:g}]")


_WORDS: dict[TransformKind, str] = {
    "standard": "mean 0, standard deviation 1",
    "min-max": "[-1, 1]",
    "quantile": "quantiles of the normal distribution, mean 0, standard deviation 1",
    "log": "logarithms, mean 0, standard deviation 1",
}


def fit_transform(
    spec: DataSpec,
    data: Array,
    lattice: Lattice | None = None,
    rows: Array | None = None,
    kind: TransformKind = "standard",
    where: str = "data",
) -> Transform:
    """The transform for `spec`, fitted on the training part.

    Args:
        spec: what the data is.
        data: examples in data units; may be memory-mapped.
        lattice: what data with levels is mapped onto; `spec.lattice` by default.
        rows: which examples are trained on; all by default.
        kind: how real numbers are mapped; whole numbers of a table are standardised, and levels go to the lattice,
            whatever it is. "quantile" holds the training part in memory.
        where: what the data are called in an error.

    Raises:
        DataError: a continuous channel or entry that is constant, or too large; for "log", one that is not positive in
            any of the examples, trained on or not.
    """
    channels = spec.shape[0]
    lattice = lattice or spec.lattice
    if lattice is not None:
        scale = (spec.high - spec.low) / (lattice.high - lattice.low)
        return Transform(spec, (spec.low - scale * lattice.low,) * channels, (scale,) * channels)
    inside = None if rows is None else np.sort(rows)
    plain = Transform(spec, (0.0,) * channels, (1.0,) * channels)
    mean, std = _moments(plain, data, inside)
    _require_spread(spec, mean, std, where)
    bent = replace(plain, kind=kind, quantiles=_quantiles(spec, data, inside) if kind == "quantile" else {})
    if bent.curves:
        for block in blocks(data):
            bent.bend(block)  # refuses what has no logarithm, wherever it is
        mean, std = _moments(bent, data, inside)
    elif kind == "min-max":
        low, high = _ends(plain, data, inside)
        mean, std = np.where(spec.is_real, [(low + high) / 2, (high - low) / 2], [mean, std])
    return replace(bent, shift=tuple(mean.tolist()), scale=tuple(std.tolist()))


def _require_spread(spec: DataSpec, mean: Array, std: Array, where: str) -> None:
    """Refuse numbers that are too large, or constant."""
    if not np.isfinite(std).all():
        raise DataError(where, "values too large to square", "smaller ones; divide them by a constant")
    constant = np.flatnonzero(~(std > 1e-12 * np.maximum(np.abs(mean), 1e-300)))
    if len(constant):
        entry = f"{where}, {spec.entry_words(int(constant[0]))}"
        raise DataError(entry, f"the constant {mean[constant[0]]:g}", "values that vary; drop it")


def _parts(transform: Transform, data: Array, rows: Array | None) -> Iterator[Array]:
    """Blocks of rows `(n, C, L)`, bent: channels or entries, and all their places."""
    for block in blocks(data, rows):
        bent = transform.bend(block)
        yield bent.reshape(*bent.shape[:2], -1).numpy()


def _moments(transform: Transform, data: Array, rows: Array | None) -> tuple[Array, Array]:
    """Mean and standard deviation per channel or entry of what is not missing, in two passes over blocks of rows; of
    categories, which stay what they are, 0 and 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [(np.nansum(part, (0, 2)), (~np.isnan(part)).sum((0, 2))) for part in _parts(transform, data, rows)]
        count = np.asarray(sum(found for _, found in sums))
        if not count.all():
            where = f"data, {transform.spec.entry_words(int(count.argmin()))}"
            raise DataError(where, "no value to train on", "entries that are not all missing; drop it")
        mean = sum(total for total, _ in sums) / count
        squares = (np.nansum((part - mean[:, None]) ** 2, (0, 2)) for part in _parts(transform, data, rows))
        std = np.sqrt(sum(squares) / count)
    is_category = np.array(transform.spec.sizes or (0,) * len(std)) > 0
    return np.where(is_category, 0.0, mean), np.where(is_category, 1.0, std)


def _ends(transform: Transform, data: Array, rows: Array | None) -> tuple[Array, Array]:
    """Smallest and largest number per channel or entry."""
    parts = [(np.fmin.reduce(p, (0, 2)), np.fmax.reduce(p, (0, 2))) for p in _parts(transform, data, rows)]
    return np.fmin.reduce([low for low, _ in parts]), np.fmax.reduce([high for _, high in parts])


def _quantiles(spec: DataSpec, data: Array, rows: Array | None) -> dict[str, Quantiles]:
    """The quantile transform of each channel or entry of real numbers."""
    part = spec.to_channels_first(take(data, slice(None) if rows is None else rows))
    there = {i: part[:, i].astype(np.float64) for i in np.flatnonzero(spec.is_real)}
    return {str(i): fit_quantiles(values[~np.isnan(values)]) for i, values in there.items()}
