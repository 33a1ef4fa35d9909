"""The next places of series, into a folder: what `inkwash forecast` does."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np

from inkwash.commands.impute import LEVEL_NAMES, LEVELS
from inkwash.commands.keywords import model_of, walk_options
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output
from inkwash.commands.relatives import data_options, example, require_there
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data import pictures
from inkwash.data.examples import read_values
from inkwash.data.spec import DataSpec
from inkwash.model.forecast import axis_of_time, by_channel
from inkwash.model.model import Model
from inkwash.posterior.method import Method
from inkwash.training.run import StrPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = 12
_PAST_OF_HORIZON = 3
"""How many times the horizon the picture shows of the past."""


def forecast_to_folder(
    run: StrPath,
    past: str,
    horizon: int | None,
    n: int,
    options: SamplingOptions,
    output: Output,
    *,
    method: Method | None = None,
) -> None:
    """Write `n` draws of the next places of series: `draws.npy` `(n, B, …)`, `quantiles.csv` with a line for each place
    of each channel, and `forecast.png`, which shows both beside the past. If the data came in a format of its own, the
    draws are also a file of that format, one draw of all series behind another.

    Args:
        run: folder of a run or checkpoint.
        past: a file of series, or of one series, in any format that inkwash reads; or the number of a held-out
            example, whose end is hidden.
        horizon: how many places; by default a quarter of the model's.
        n: how many draws of each series, at least 1.
        options: seed, condition, device and walk.
        output: where to write.
        method: how to sample; see `Diffusion.forecast`.

    Raises:
        ConfigError: a run of other data than series, or a bad horizon.
        DataError: an unreadable file, a past that does not fit the model, or no such example.
    """
    keywords, model = walk_options(options), model_of(run, options, output.display)
    spec, axis = model.units.spec, axis_of_time(model.units)
    horizon = max(model.shape[-1] // 4, 1) if horizon is None else horizon
    seen, future = _past_of(run, model, past, horizon)
    used = min(seen.shape[axis], model.shape[-1] - horizon)
    most = "at most " if model.units.lengths is not None else ""
    output.say(f"past      {most}{used} places of {len(seen)} series; {horizon} places ahead, drawn {n} times")
    with output.display.bar(f"drawing {n} futures"):
        draws = model.forecast(seen, horizon, n, seed=options.seed, method=method, **keywords)
    output.array("draws.npy", draws)
    if spec.origin is not None:
        output.examples("draws", spec, draws.reshape(-1, *draws.shape[2:]))
    quantiles = np.quantile(np.stack([by_channel(spec, each) for each in draws]), LEVELS, axis=0)
    table = output.write("quantiles.csv", _table(quantiles))
    output.say(f"quantiles {table} (one line for each place and channel)")
    shown = _fans(by_channel(spec, seen), quantiles, None if future is None else by_channel(spec, future), spec)
    about = ": the past, the median, the central 50 % and 90 %" + ("" if future is None else ", and what came")
    output.figure("forecast.png", shown, about)
    output.say(f"next      {typed('evaluate', run, '--forecasts', 32, '--horizon', horizon)}")


def _past_of(run: StrPath, model: Model, name: str, horizon: int) -> tuple[Array, Array | None]:
    """The past of some series, data units, and what followed it, if that is known."""
    axis, shape = axis_of_time(model.units), model.units.data_shape
    if name.isdecimal():
        series = np.stack(model.units.cut(example(run, model, name)[None]))
        cut = series.shape[axis] - horizon
        if cut < 1 <= horizon < model.shape[-1]:
            need = f"one of more places than the horizon of {horizon}"
            raise DataError(name, f"a series of {series.shape[axis]} places", need)
        past, future = np.split(series, [max(cut, 0)], axis)
        return past, future
    require_there(name)
    found = read_values(name, model.units.spec, data_options(run))
    return (found[None] if found.ndim == len(shape) else found), None


def _table(quantiles: Array) -> bytes:
    """Quantiles `(Q, B, C, horizon)` as CSV. Series and channels are counted from 0, and places ahead from 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["series", "ahead", "channel", *LEVEL_NAMES])
    for series, channel, place in np.ndindex(quantiles.shape[1:]):
        writer.writerow([series, place + 1, channel, *quantiles[:, series, channel, place].tolist()])
    return text.getvalue().encode()


def _fans(past: Array, quantiles: Array, future: Array | None, spec: DataSpec) -> Figure:
    """A panel for each of the first series and channels: its past, bands of quantiles, and what came, if it is known.

    Args:
        past: `(B, C, P)`.
        quantiles: `(Q, B, C, horizon)`, in the order of `LEVELS`.
        future: `(B, C, horizon)`.
        spec: what the data is.
    """
    places = list(np.ndindex(past.shape[:2]))[:_PANELS]
    columns = min(len(places), 3)
    rows = -(-len(places) // columns)
    figure, axes = pictures.new_figure(4.5 * columns, 2.5 * rows, columns, rows)
    horizon = quantiles.shape[-1]
    for panel, (series, channel) in zip(np.ravel(axes), places, strict=False):
        seen = past[series, channel, -_PAST_OF_HORIZON * horizon :]
        low, inner_low, middle, inner_high, high = quantiles[:, series, channel]
        ahead = np.arange(1, horizon + 1)
        panel.plot(np.arange(1 - len(seen), 1), seen, color=pictures.INK, lw=1)
        for bottom, top, strength in ((low, high, 0.35), (inner_low, inner_high, 0.6)):
            panel.fill_between(ahead, bottom, top, color=pictures.WASH, alpha=strength, lw=0)
        panel.plot(ahead, middle, color=pictures.ACCENT, lw=1.5)
        if future is not None:
            panel.plot(ahead, future[series, channel], color=pictures.INK, lw=1, ls=":")
        words = f", channel {channel}" if spec.shape[0] > 1 else ""
        panel.set(title=f"series {series}{words}", xlabel="places ahead")
    for unused in np.ravel(axes)[len(places) :]:
        unused.remove()
    return figure
