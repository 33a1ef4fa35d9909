r"""Forecasts of held-out series as a test of a distribution: the end of each is hidden and drawn given its past.

The draws are scored as those of hidden entries are (see `inkwash.evaluation.calibration`), beside two forecasters that
see no series but the one they forecast:

- the seasonal-naive forecast $y_{T+h} = y_{T+h-m(k+1)}$ with $k = \lfloor (h-1)/m \rfloor$, a normal law of variance
  $(k+1)\,\hat\sigma^2$, where $\hat\sigma^2$ is the mean square of $y_t - y_{t-m}$ over the past (Hyndman &
  Athanasopoulos 2021, §5.5). The season m is the lag, from 2 on, of the first peak of the autocorrelation of the
  training part that reaches nine tenths of the highest one; without a peak above zero it is 1, the naive forecast;
- an autoregression fitted to the past by statsmodels' `AutoReg`, with the order of the least BIC, and normal noise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from inkwash.core.config import EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec
from inkwash.evaluation.calibration import MEANINGS, NUMBERS, Scores, row_mean
from inkwash.evaluation.finding import Finding, is_beyond
from inkwash.evaluation.series import autocorrelation, complete
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.tabular import spread_of
from inkwash.model.forecast import by_channel

Forecaster = Callable[[Array, int, int], Array]
"""A function of the past `(N, C, P)`, a horizon and a number n to draws `(n, N, C, horizon)`."""

DRAWS, STEPS = 64, 50
_LEAST_PAST, _MOST_LAGS = 8, 12
_AS_HIGH = 0.9  # a multiple of a season has as high a peak


def season_of(series: Array) -> int:
    """The season of series `(N, C, L)`: see the module; at most half of L, and at least 1, which it is for one."""
    if len(series) < 2:
        return 1
    mean = autocorrelation(series).value.mean(0)
    inner = mean[1:-1]
    is_peak = (inner > mean[:-2]) & (inner >= mean[2:]) & (inner > 0)
    at = np.flatnonzero(is_peak & (np.arange(1, len(mean) - 1) >= 2))
    return int(at[inner[at] >= _AS_HIGH * inner[at].max()][0]) + 1 if len(at) else 1


def seasonal_naive(season: int, seed: int) -> Forecaster:
    """The seasonal-naive forecast of a season that the past is longer than."""

    def draw(past: Array, horizon: int, n: int) -> Array:
        ahead = np.arange(horizon)
        mean = past[..., past.shape[-1] - season + ahead % season]
        steps = past[..., season:] - past[..., :-season]
        std = np.sqrt((steps**2).mean(-1, keepdims=True) * (1 + ahead // season))
        return _normal(mean, std, n, seed)

    return draw


def autoregression(seed: int) -> Forecaster:
    """An autoregression of each channel of each series by itself. It needs statsmodels."""

    def draw(past: Array, horizon: int, n: int) -> Array:
        laws = [_autoregress(series, horizon) for series in past.reshape(-1, past.shape[-1])]
        mean, std = (np.stack(part).reshape(*past.shape[:2], horizon) for part in zip(*laws, strict=True))
        return _normal(mean, std, n, seed)

    return draw


def _autoregress(past: Array, horizon: int) -> tuple[Array, Array]:
    """Mean and standard deviation of the next places, each `(horizon,)`."""
    from statsmodels.tsa.ar_model import ar_select_order

    if np.ptp(past) == 0:
        return np.full(horizon, past[0]), np.zeros(horizon)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fits to so few places that they are exact
        fitted = ar_select_order(past, min(_MOST_LAGS, len(past) // 4), ic="bic").model.fit()
        found = fitted.get_prediction(len(past), len(past) + horizon - 1)
    return np.asarray(found.predicted_mean), np.asarray(found.se_mean)


def _normal(mean: Array, std: Array, n: int, seed: int) -> Array:
    return mean + std * np.random.default_rng(seed).standard_normal((n, *mean.shape))


@dataclass(frozen=True)
class Forecasts(Finding):
    """How well the end of held-out series is drawn given their past.

    Args:
        series: number of series.
        horizon: number of places that were hidden.
        draws: number of draws of each.
        season: the season of the seasonal-naive forecast.
        scores: the scores by forecaster, `model`, `seasonal_naive` and `auto_reg`, and by name; CRPS is in standard
            deviations of each channel. `auto_reg` is missing where statsmodels is.
    """

    series: int
    horizon: int
    draws: int
    season: int
    scores: dict[str, Scores]

    def lines(self) -> Iterator[str]:
        yield f"forecasts     the last {self.horizon} places of {self.series} held-out series, given the others"
        for name, means in self.scores.items():
            yield f"              {self.words(name)}: {', '.join(_words(means))}"
        if "auto_reg" not in self.scores:
            yield "              AutoReg is not compared: no package statsmodels; pip install 'inkwash[forecast]'"

    def words(self, name: str) -> str:
        """A forecaster in words."""
        naive = f"seasonal-naive, season {self.season}"
        return {"model": "model", "seasonal_naive": naive, "auto_reg": "AutoReg of each past"}[name]

    def warnings(self) -> Iterator[str]:
        """Intervals of the model that hold too little."""
        for share in (50, 90):
            held = self.scores["model"][f"coverage_{share}"]
            if is_beyond(share / 100 - held.value, held.std_error):
                yield f"too sure: {held.value:.1%} of the places forecast lie within the central {share} % of the draws"


def _words(means: Scores) -> Iterator[str]:
    for name, mean in means.items():
        error = "" if mean.std_error is None else f" ± {mean.std_error:.3f}"
        yield f"{MEANINGS[name][0]} {mean.value:.3f}{error}"


def forecast_test(forecasters: dict[str, Forecaster], series: Array, horizon: int, unit: Array) -> dict[str, Scores]:
    """Hide the end of series, draw it, and score the draws; standard errors are over series.

    Args:
        forecasters: by name.
        series: complete ones, `(N, C, L)`, float64.
        horizon: number of places to hide.
        unit: of each channel, `(C,)`, in which CRPS is stated.
    """
    past, future = np.split(series, [series.shape[-1] - horizon], -1)
    rows, found = np.repeat(np.arange(len(series)), future[0].size), {}
    for name, forecast in forecasters.items():
        draws, truth = (x / unit[:, None] for x in (forecast(past, horizon, DRAWS), future))
        flat = draws.reshape(DRAWS, -1), truth.ravel()
        found[name] = {which: row_mean(of(*flat), rows) for which, of in NUMBERS.items()}
    return found


def horizon_of(spec: DataSpec, config: EvaluateConfig) -> int:
    """How many places to hide of each series that is to be forecast; 0: none is.

    Raises:
        ConfigError: other data than series, a horizon that leaves fewer than eight places, or one for no forecast.
    """
    if not config.forecasts:
        if config.horizon is not None:
            raise ConfigError("evaluate.horizon", config.horizon, "a number of series to forecast, --forecasts")
        return 0
    if spec.kind != "series":
        raise ConfigError("evaluate.forecasts", config.forecasts, "0: the data is no series")
    length = spec.shape[-1]
    horizon = max(length // 4, 1) if config.horizon is None else config.horizon
    if horizon > length - _LEAST_PAST:
        got, need = f"{horizon} of {length} places", f"a past of at least {_LEAST_PAST} places to fit AutoReg to"
        raise ConfigError("evaluate.horizon", got, need)
    return horizon


def measure_forecasts(subject: Subject, display: Display) -> Forecasts | None:
    """How well the model forecasts held-out series, beside simple forecasters; None where that is not asked for."""
    spec, config = subject.spec, subject.config
    horizon = horizon_of(spec, config)
    if not horizon:
        return None
    display.say("forecasting held-out series …")
    held_out, fitted = (complete(by_channel(spec, x)) for x in (subject.parts.held_out, subject.parts.fitted))
    if not len(held_out):
        raise DataError("evaluate.forecasts", "no held-out series without a gap", "one or more, to compare with")
    series = held_out[: config.forecasts]
    season = min(season_of(fitted), series.shape[-1] - horizon - 1)
    unit = by_channel(spec, spread_of(spec, subject.parts.fitted).reshape(1, *spec.data_shape))[0, :, 0]
    forecasters = {"model": _by_model(subject, len(series)), "seasonal_naive": seasonal_naive(season, config.seed)}
    if find_spec("statsmodels"):
        forecasters["auto_reg"] = autoregression(config.seed)
    return Forecasts(len(series), horizon, DRAWS, season, forecast_test(forecasters, series, horizon, unit))


def _by_model(subject: Subject, count: int) -> Forecaster:
    """The model, under the conditions of the series."""
    model, spec, seed = subject.model, subject.spec, subject.config.seed
    condition: dict[str, Any] = {**subject.held_out_condition}
    under: Any = {name: values[:count] for name, values in condition.items()}

    def draw(past: Array, horizon: int, n: int) -> Array:
        draws = model.forecast(spec.from_all_channels(past), horizon, n, seed=seed, steps=STEPS, **under)
        return np.stack([by_channel(spec, each) for each in draws])

    return draw
