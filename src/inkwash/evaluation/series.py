r"""Second-order statistics of series, to be compared between samples and data.

The series of a set are taken to come from one stationary process, with mean $m$ per channel, estimated over all of
them:

- autocorrelation at lag k: $\rho_k = \gamma_k/\gamma_0$, with $\gamma_k$ the mean of $(x_t - m)(x_{t+k} - m)$ over all
  series and the $L - k$ pairs in each;
- spectrum at frequency f, in cycles per place: the mean over series of the periodogram
  $\frac1L\big|\sum_t (x_t - m)e^{-2\pi ift}\big|^2$. Over all L frequencies its mean is the variance.

The standard error of both is that of a mean over series, because series are independent and the places of one are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.evaluation.finding import Finding
from inkwash.evaluation.subject import Subject


@dataclass(frozen=True)
class Curve:
    """An estimate over lags or frequencies, per channel.

    Args:
        at: lags in places, or frequencies in cycles per place, `(K,)`.
        value: `(C, K)`.
        std_error: of each value, `(C, K)`.
    """

    at: Array
    value: Array
    std_error: Array


def autocorrelation(x: Array, lags: int | None = None) -> Curve:
    r"""$\rho_k$ for k = 0, …, `lags`; its standard error is of first order in those of $\gamma_k$ and $\gamma_0$.

    Both are 0 for a channel that is constant over the entire set.

    Args:
        x: series `(N, C, L)`, N at least 2.
        lags: the largest lag; by default half the length.

    Raises:
        ConfigError: fewer than 2 series, or lags beyond the series.
    """
    series = _centred(x)
    length = series.shape[2]
    lags = length // 2 if lags is None else lags
    if not 0 <= lags < length:
        raise ConfigError("lags", lags, f"0 to {length - 1}, for series of {length} places")
    power = np.abs(np.fft.rfft(series, 2 * length)) ** 2  # zeros beyond the end keep it from meeting the start
    each = np.fft.irfft(power, 2 * length)[..., : lags + 1] / (length - np.arange(lags + 1))
    covariance = each.mean(0)
    variance = np.where(np.ptp(series, axis=(0, 2))[:, None] > 0, covariance[:, :1], np.inf)
    value = covariance / variance
    influence = (each - value * each[..., :1]) / variance
    return Curve(np.arange(lags + 1), value, _std_error(influence))


def spectrum(x: Array) -> Curve:
    """The mean periodogram at the frequencies 0, 1/L, … up to 1/2, in squared units of x.

    Args:
        x: series `(N, C, L)`, N at least 2.

    Raises:
        ConfigError: fewer than 2 series.
    """
    series = _centred(x)
    length = series.shape[2]
    each = np.abs(np.fft.rfft(series)) ** 2 / length
    return Curve(np.fft.rfftfreq(length), each.mean(0), _std_error(each))


def complete(x: Array) -> Array:
    """The series of `(N, C, L)` in which nothing is missing."""
    return x if x.dtype.kind != "f" else x[~np.isnan(x).any((1, 2))]


STATISTICS: dict[str, Callable[[Array], Curve]] = {"autocorrelation": autocorrelation, "spectrum": spectrum}
"""The statistics by name."""


@dataclass(frozen=True)
class Difference:
    """How far two curves are apart.

    Args:
        rms: root mean square of their difference, relative to that of the second curve unless that is 0.
        by_chance: root of the mean of `rms` squared if both had one law, as the standard errors imply.
    """

    rms: float
    by_chance: float


def compare(a: Curve, b: Curve) -> Difference:
    """The difference of two curves at the same lags or frequencies, over all channels."""
    size = float(np.sqrt(np.mean(b.value**2))) or 1.0
    noise = np.sqrt(np.mean(a.std_error**2 + b.std_error**2))
    return Difference(float(np.sqrt(np.mean((a.value - b.value) ** 2))) / size, float(noise) / size)


def _centred(x: Array) -> Array:
    if len(x) < 2:
        raise ConfigError("series", f"{len(x)} of them", "at least 2, for a standard error")
    series = np.asarray(x, np.float64)
    return series - series.mean((0, 2), keepdims=True)


def _std_error(each: Array) -> Array:
    return each.std(0, ddof=1) / np.sqrt(len(each))


@dataclass(frozen=True)
class Comparison:
    """One statistic of samples beside that of held-out data."""

    samples: Curve
    held_out: Curve

    @property
    def difference(self) -> Difference:
        """How far the two are apart."""
        return compare(self.samples, self.held_out)

    def to_json(self) -> Any:
        """The lags or frequencies, both curves at these, and their difference."""
        both = {"samples": self.samples, "held_out": self.held_out}
        curves = {n: {"value": c.value.tolist(), "std_error": c.std_error.tolist()} for n, c in both.items()}
        return {"at": self.held_out.at.tolist(), **curves, **asdict(self.difference)}


@dataclass(frozen=True)
class Series(Finding):
    """The statistics of series, by the name of the statistic."""

    statistics: dict[str, Comparison]

    def to_json(self) -> Any:
        return {name: compared.to_json() for name, compared in self.statistics.items()}

    def lines(self) -> Iterator[str]:
        for name, compared in self.statistics.items():
            apart = compared.difference
            yield f"{name:<15} differs by {apart.rms:.3f} of its size; by chance {apart.by_chance:.3f}"


def measure_series(subject: Subject) -> Series | None:
    """The statistics of series without gaps, data units; other data, and fewer than two such series, has none."""
    if subject.spec.kind != "series":
        return None
    both = map(subject.spec.to_channels_first, (subject.parts.samples, subject.parts.held_out))
    samples, held_out = map(complete, both)
    if min(len(samples), len(held_out)) < 2:
        return None
    return Series({name: Comparison(of(samples), of(held_out)) for name, of in STATISTICS.items()})
