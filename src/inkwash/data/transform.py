r"""From data units to model units and back: the only place that knows both.

Every transform is increasing per channel or entry, $x = (f(\text{data}) - \text{shift})/\text{scale}$. Data with
levels goes onto an even lattice. This lies over [-1, 1], or where there are more than 256 levels at mean 0 and standard
deviation 1, unless the process has values of its own. Real numbers go to mean 0 and standard deviation 1, or to
[-1, 1]; or they first go through a curve f, which is their logarithm or their quantile transform, and then to mean 0
and standard deviation 1. Without a curve, f is the identity. The numbers of a table may have bounds besides: see
`inkwash.data.bounds`. The mean and standard deviation of levels, like their number, are those of all the data;
everything else is fitted on the training part.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import TransformKind
from inkwash.core.errors import ConfigError, DataError, NonFiniteError
from inkwash.core.options import Range
from inkwash.core.shapes import Array, sum_event
from inkwash.data.bounds import Bounds, describe_bounds, find_bounds, require_within
from inkwash.data.curves import Chained, Curve, Log, Quantiles, fit_quantiles
from inkwash.data.rows import blocks, take
from inkwash.data.spec import DataSpec
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.spike_slab import same_number

_NEAR = 1e-3
"""What counts as a number that recurs in samples, in model units: a tenth of the noise at the first time."""


@dataclass(frozen=True)
class Transform:
    """An increasing map per channel, or per entry of vectors: a curve for real numbers, if there is one, then an
    affine map.

    Args:
        spec: what the data is.
        shift: one number per channel or entry, which is subtracted; in data units, or behind a curve in its units.
        scale: one positive number per channel or entry, which the difference is divided by; in the same units.
        kind: how real numbers are mapped; "log" takes their logarithm first, "quantile" goes along `quantiles`.
        quantiles: the curves of a quantile transform, by the number of the channel or entry of real numbers.
        bounds: of the columns of numbers, by their number; a curve of theirs takes the place of the logarithm, and
            comes before the quantiles.
    """

    spec: DataSpec
    shift: tuple[float, ...]
    scale: tuple[Annotated[float, Range(0, open_low=True)], ...]
    kind: TransformKind = "standard"
    quantiles: dict[str, Quantiles] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Transform: {self.describe()}>"

    @property
    def curves(self) -> dict[int, Curve]:
        """The curves that bend real numbers, by channel or entry; an affine map has none."""
        curves: dict[int, Curve] = {**self.logs}
        for name, curve in self.quantiles.items():
            first = curves.get(int(name))
            curves[int(name)] = curve if first is None else Chained(first, curve)
        return curves

    @property
    def logs(self) -> dict[int, Log]:
        """The logarithms that bend real numbers first, by channel or entry."""
        plain = {int(i): Log() for i in np.flatnonzero(self.spec.is_real)} if self.kind == "log" else {}
        return plain | {int(i): each.curve for i, each in self.bounds.items() if each.curve is not None}

    @property
    def lattice(self) -> Lattice | Bins | None:
        """The values of data with levels in model units, or how far apart the integers of a table are there."""
        if self.spec.levels is None:
            is_integer = self.spec.is_integer
            return Bins(torch.from_numpy(is_integer / np.asarray(self.scale))) if is_integer.any() else None
        low, high = ((end - self.shift[0]) / self.scale[0] for end in (self.spec.low, self.spec.high))
        return Lattice(low, high, self.spec.levels)

    @property
    def recurring(self) -> dict[int, Tensor]:
        """The numbers that recur, in model units as `to_model` gives them, float64 `(K,)`, by their column."""
        found = {}
        for i, column in enumerate((self.spec.columns or {}).values()):
            if column.recurring is not None:
                values = torch.tensor(column.recurring, dtype=torch.float64)
                u = self.curves[i].bend(values) if i in self.curves else values
                found[i] = ((u - self.shift[i]) / self.scale[i]).float().double()
        return found

    def check(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ConfigError: they do not.
        """
        self.spec.check("transform.spec")
        entries = self.spec.shape[0]
        if not len(self.shift) == len(self.scale) == entries:
            raise ConfigError("transform.scale", f"{len(self.scale)} numbers", f"{entries}, as many as transform.shift")
        bent = [str(i) for i in np.flatnonzero(self.spec.is_real)] if self.kind == "quantile" else []
        if sorted(self.quantiles) != sorted(bent):
            raise ConfigError("transform.quantiles", f"those of {sorted(self.quantiles)}", f"{bent}")
        for name, curve in self.quantiles.items():
            curve.check(f"transform.quantiles.{name}")
        self._check_bounds()

    def _check_bounds(self) -> None:
        numbers = [str(i) for i, size in enumerate(self.spec.sizes) if not size]
        if not {*self.bounds} <= {*numbers}:
            raise ConfigError("transform.bounds", f"those of {sorted(self.bounds)}", f"some of {numbers}")
        for name, each in self.bounds.items():
            each.check(f"transform.bounds.{name}", [*(self.spec.columns or {}).values()][int(name)])
            if each.bent and not self.spec.is_real[int(name)]:
                raise ConfigError(f"transform.bounds.{name}.bent", True, "false, for whole numbers")

    def to_model(self, data: Array, missing: bool = False) -> Tensor:
        """Data units, as they came, to a float32 tensor `(N, *spec.shape)`.

        Args:
            data: examples, NaN where an entry is missing.
            missing: whether every entry may be missing, and not only those that were missing in training.

        Raises:
            DataError: another shape, a missing entry, or values that the data cannot take, or beyond stated bounds.
        """
        self.spec.require_examples(data, missing)
        for i, each in self.bounds.items():
            column = [*(self.spec.columns or {}).values()][int(i)]
            require_within(f"data, {self.spec.entry_words(int(i))}", each, data[:, int(i)], column)
        return ((self.bend(data) - self._column(self.shift)) / self._column(self.scale)).float()

    def bend(self, data: Array) -> Tensor:
        """Data units, as they came, to `(N, *spec.shape)`, float64, only through the curves.

        Raises:
            DataError: a number that has no logarithm.
        """
        if self.kind == "log":
            self._require_logarithms(data)
        real = torch.from_numpy(self.spec.to_channels_first(data).astype(np.float64))
        return self._each(real, lambda curve, entry: curve.bend(entry))

    def to_data(self, x: Tensor) -> Array:
        """Model units `(N, *spec.shape)` to data units, in the dtype and layout of the data as it came.

        Data with levels is moved to the nearest level, the integers and categories of a table to the nearest one, and
        other numbers of a table to the nearest multiple of their resolution; then numbers beyond their bounds are moved
        to these.

        Raises:
            NonFiniteError: a number that is NaN or infinite, or that stands for one too large for the dtype.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            real = self._within_bounds(self.spec.rounded(self.to_real(x)))
            data = self._at_recurring(x, real).astype(self.spec.dtype)
        if not bool(x.isfinite().all()) or not np.isfinite(data).all():
            raise NonFiniteError("samples", "NaN or infinity", "finite numbers; train longer or more gently")
        return data

    def _at_recurring(self, x: Tensor, data: Array) -> Array:
        """Data with the numbers that recur in place of those that all but are: a walk without a last draw ends so."""
        columns = [*(self.spec.columns or {}).values()]
        for i, values in self.recurring.items():
            away = (x[:, i, None].double().cpu() - values).abs()
            near = (away.min(1).values <= _NEAR).numpy()
            data[near, i] = np.asarray(columns[i].recurring)[away.argmin(1).numpy()[near]]
        return data

    def _within_bounds(self, data: Array) -> Array:
        steps = self.spec.steps
        for place, log in self.logs.items():  # a number that was rounded to an open end goes back by one step
            low, high = (-np.inf if log.low is None else log.low), (np.inf if log.high is None else log.high)
            data[:, place] = np.clip(data[:, place], low + steps[place], high - steps[place])
        for i, each in self.bounds.items():
            data[:, int(i)] = each.clip(data[:, int(i)])
        return data

    def to_real(self, x: Tensor) -> Array:
        """As `to_data`, but float64 and not moved to a level: this serves noisy data, and means."""
        return self.spec.from_channels_first(self.real(x.double()).numpy())

    def real(self, x: Tensor) -> Tensor:
        """Model units `(N, *spec.shape)` to data units as real numbers, channels first; differentiable."""
        return self._each(self._behind(x), lambda curve, u: curve.unbend(u))

    def from_real(self, data: Tensor) -> Tensor:
        """Data units `(N, *spec.shape)`, channels first, float64, to model units as real numbers: undoes `real`."""
        bent = self._each(data, lambda curve, entry: curve.bend(entry))
        return (bent - self._column(self.shift)) / self._column(self.scale)

    def stretch(self, x: Tensor) -> Tensor:
        """A difference in model units as one in data units, if the map is affine: `real` without its shift."""
        return x * self._column(self.scale).to(x)

    def log_det(self, x: Tensor) -> Tensor:
        r"""$\log|\partial x/\partial\text{data}|$ at `x` `(N, *spec.shape)` in model units, nats per example: `(N,)`,
        float64."""
        return sum_event(self.entry_log_det(x))

    def entry_log_det(self, x: Tensor) -> Tensor:
        """What each entry adds to `log_det`, `(N, *spec.shape)`.

        Only the real numbers that are present count: an entry that has a probability in place of a density keeps it,
        as numbers that recur have, and a missing entry, NaN, has neither.
        """
        u = self._behind(x.double())
        slopes = torch.zeros_like(u)
        for i, curve in self.curves.items():
            slopes[:, i] = curve.log_slope(u[:, i])
        is_real = self._column(self.spec.is_real).to(x.device, torch.bool).expand(x.shape).clone()
        for i, values in self.recurring.items():
            is_real[:, i] &= ~same_number(x[:, i].double(), values.to(x.device)).any(-1)
        return torch.where(is_real & ~x.isnan(), slopes - self._column(self.scale).to(u).log(), 0)

    def describe(self) -> str:
        """The map in words."""
        if not isinstance(self.lattice, Lattice):
            each = "channel" if self.spec.size else "number" if any(self.spec.sizes) else "entry"
            others = f"; of whole numbers, {_WORDS['standard']}" if self._standardises_integers() else ""
            bounds = describe_bounds(self.bounds, self.spec)
            return f"{self.spec.describe()} → {_WORDS[self.kind]} per {each}{others}" + (bounds and f"; {bounds}")
        ends = f"{self.lattice.low:g}, {self.lattice.high:g}"
        contrast = "" if self.spec.contrast is None else f"{_WORDS['standard']}, in "
        return f"{self.spec.describe()} → {contrast}" + (f"{{{ends}}}" if self.spec.levels == 2 else f"[{ends}]")

    def _standardises_integers(self) -> bool:
        """Whether a table has integers, which are standardised while its real numbers are not, or not only."""
        return bool(self.spec.is_integer.any()) and self.kind != "standard"

    def _behind(self, x: Tensor) -> Tensor:
        """Model units `(N, *spec.shape)` to what the curves end in."""
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

    def _require_logarithms(self, data: Array) -> None:
        """Refuse real numbers that have no logarithm."""
        entries = np.moveaxis(self.spec.to_channels_first(data), 1, 0)
        for i, curve in self.logs.items():
            bad = entries[i][~curve.holds(entries[i])]
            if bad.size:
                where = f"data, {self.spec.entry_words(i)}"
                raise DataError(where, f"{bad[0]:g}", "numbers > 0, for data.transform log")


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
    bounds: Sequence[str] | None = None,
) -> Transform:
    """The transform for `spec`, fitted on the training part.

    Args:
        spec: what the data is.
        data: examples in data units; may be memory-mapped.
        lattice: what data with levels is mapped onto; `spec.lattice` by default.
        rows: the examples to train on; all by default.
        kind: how real numbers are mapped. Whatever it is, the integers of a table are standardised, and levels go to
            the lattice. "quantile" holds the training part in memory.
        where: what the data is called in an error.
        bounds: those of the columns of a table; see `inkwash.data.bounds.find_bounds`.

    Raises:
        ConfigError: bounds that do not fit the data.
        DataError: a continuous channel or entry that is constant, or too large; for "log", one that is not positive in
            some example, in the training part or not; a number beyond the bounds that are stated for it.
    """
    channels = spec.shape[0]
    lattice, found = lattice or spec.lattice, find_bounds(bounds, spec, data, rows)
    if lattice is not None:
        scale = (spec.high - spec.low) / (lattice.high - lattice.low)
        return Transform(spec, (spec.low - scale * lattice.low,) * channels, (scale,) * channels)
    train_rows = None if rows is None else np.sort(rows)
    plain = Transform(spec, (0.0,) * channels, (1.0,) * channels)
    mean, std = _moments(plain, data, train_rows)
    _require_spread(spec, mean, std, where)
    bounded = replace(plain, bounds=found)
    bent = replace(bounded, kind=kind, quantiles=_quantiles(bounded, data, train_rows) if kind == "quantile" else {})
    if bent.curves:
        for block in blocks(data):
            bent.bend(block)  # refuses numbers that have no logarithm, in the training part or not
        mean, std = _moments(bent, data, train_rows)
    if kind == "min-max":
        low, high = _ends(bent, data, train_rows)
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
    """Blocks of rows `(n, C, L)`, bent: C channels or entries, and L places in each."""
    for block in blocks(data, rows):
        bent = transform.bend(block)
        yield bent.reshape(*bent.shape[:2], -1).numpy()


def _moments(transform: Transform, data: Array, rows: Array | None) -> tuple[Array, Array]:
    """Mean and standard deviation per channel or entry, without missing entries, in two passes over blocks of rows.

    They are 0 and 1 for categories, which stay what they are, and those of its clock for a column of dates or
    durations, whose network knows how long a day is in model units.
    """
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
    mean, std = np.where(is_category, 0.0, mean), np.where(is_category, 1.0, std)
    for i, column in enumerate((transform.spec.columns or {}).values()):
        if column.clock is not None:
            mean[i], std[i] = column.clock.mean, column.clock.std
    return mean, std


def _ends(transform: Transform, data: Array, rows: Array | None) -> tuple[Array, Array]:
    """Smallest and largest number per channel or entry."""
    parts = [(np.fmin.reduce(p, (0, 2)), np.fmax.reduce(p, (0, 2))) for p in _parts(transform, data, rows)]
    return np.fmin.reduce([low for low, _ in parts]), np.fmax.reduce([high for _, high in parts])


def _quantiles(bounded: Transform, data: Array, rows: Array | None) -> dict[str, Quantiles]:
    """The quantile transform of each channel or entry of real numbers, behind the curves of their bounds."""
    part = bounded.bend(take(data, slice(None) if rows is None else rows)).numpy()
    real = {i: part[:, i] for i in np.flatnonzero(bounded.spec.is_real)}
    return {str(i): fit_quantiles(values[~np.isnan(values)]) for i, values in real.items()}
