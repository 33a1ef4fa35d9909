"""The questions of the page, as dataclasses whose fields are their options, and what answers them.

An answer is a stream of parts, which are plain data; the last one has the command and the lines of Python that give the
same. Pictures are PNG files in base64, and arrays are .npy files in base64.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import MethodName, SamplingConfig, Strength
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import Range, Seed, from_json, to_json
from inkwash.core.shapes import Array
from inkwash.data.examples import example_of
from inkwash.data.spec import DataSpec
from inkwash.likelihood.bound import Bound
from inkwash.model.diffusion import Diffusion
from inkwash.model.factors import Condition, Observed
from inkwash.model.forecast import axis_of_time, by_channel
from inkwash.model.model import Model
from inkwash.model.watch import Film
from inkwash.posterior import METHODS
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.schedule import Schedule
from inkwash.sample.walk import State, end_of
from inkwash.studio.lecture import LECTURE
from inkwash.studio.subject import Subject

Part = dict[str, Any]
_Number = Annotated[int, Range(0, 10**9)]
_Few = Annotated[int, Range(1, 64)]
_MOST_STEPS = 1000
_OWN = "example.npy"
_COMPARED = 128
"""Held-out examples whose bounds make the histogram."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What the run is."""

    def answer(self, subject: Subject) -> Iterator[Part]:
        header, spec = subject.header, subject.spec
        config = header.config
        yield {
            "source": config.source,
            "data": spec.describe(),
            "kind": spec.kind,
            "size": list(spec.size),
            "channels": len(spec.varies) if spec.size else 0,
            "range": list(spec.shown),
            "model": config.model,
            "step": header.step,
            "steps": config.train.steps,
            "examples": header.examples,
            "held_out": len(subject.run.split()[1]),
            "classes": [str(name) for name in header.condition.classes or ()],
            "columns": _columns(subject),
            "command": subject.command("inspect"),
        }


def _columns(subject: Subject) -> list[Part]:
    """The columns of a table, with what a cell can hold."""
    columns = subject.spec.columns or {}
    return [{"name": name, "values": list(column.categories or ())} for name, column in columns.items()]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Samples as they form."""

    n: _Few = 16
    frames: Annotated[int, Range(1, 60)] = 24
    seed: Seed = 0
    label: str | None = None
    guidance: Strength = 1.0
    walk: SamplingConfig = field(default_factory=SamplingConfig)

    def answer(self, subject: Subject) -> Iterator[Part]:
        _require_few_steps(self.walk)
        model = subject.model(self.walk)
        options: dict[str, Any] = {"label": self.label, "guidance": self.guidance}
        first, *others = model.walks(self.n, seed=self.seed, **options)
        shots, film = _Shots(subject, model, self.frames), Film(model, "film.gif", self.frames)
        for state in film.record(first) if model.steps > 1 else first:
            if shots.due(state.s):
                yield shots.shot(state)
            shots.before = state
        ends = [state.x_s, *(end_of(walk).x_s for walk in others)]
        data = model.units.cut(model.to_data(torch.cat(ends)))
        guidance = None if self.guidance == 1 else self.guidance
        words = {"label": self.label, "guidance": guidance}
        given = "".join(f", {name}={value!r}" for name, value in words.items() if value is not None)
        yield {
            "pictures": {"samples": subject.sheet(data)},
            "array": subject.array(data),
            "film": base64.b64encode(film.content()).decode() if film.shots else None,
            "command": subject.command("sample", n=self.n, seed=self.seed, **words, walk=self.walk),
            "python": subject.python(f"x = model.sample({self.n}, seed={self.seed}{given})", self.walk),
        }


def _require_few_steps(walk: SamplingConfig) -> None:
    """Raise a `ConfigError` for walks that are too long to wait for."""
    if walk.steps is not None and walk.steps > _MOST_STEPS:
        raise ConfigError("steps", walk.steps, f"at most {_MOST_STEPS} on this page; the command takes more")


class _Shots:
    """What is shown of a walk on its way, evenly over time.

    Args:
        subject: the run.
        model: what walks.
        most: how many shots, at most.

    Attributes:
        before: the state before the one that is shown, from which its step started.
    """

    def __init__(self, subject: Subject, model: Model, most: int) -> None:
        self.subject, self.model, self.most, self.taken = subject, model, most, 0
        self.before: State | None = None

    def due(self, s: float) -> bool:
        """Whether the state at time `s` is to be shown; asked once for each state."""
        place = int((1 - s) * self.most + 1e-9)
        due, self.taken = place > self.taken, max(self.taken, place)
        return due

    def shot(self, state: State) -> Part:
        """The noisy data of a state, the estimate that led to it, and what that took for the noise and the score."""
        if state.x is None:
            return {"time": state.s, "pictures": {}}
        noisy, estimate = self.model.shown(state)
        found = {"x_t": self.subject.sheet(noisy), "x": self.subject.sheet(estimate)}
        return {"time": state.s, "pictures": found | self._noise(state.x), "score_scale": self._score_scale()}

    def _noise(self, x: Tensor) -> dict[str, str]:
        if self.before is None or (schedule := _schedule(self.model)) is None:
            return {}
        t = torch.tensor(self.before.s, dtype=torch.float64)
        eps = ((self.before.x_s.double() - schedule.alpha(t) * x.double()) / schedule.sigma(t)).numpy()
        return {"eps": self.subject.unit_sheet(eps), "score": self.subject.unit_sheet(-eps)}

    def _score_scale(self) -> float | None:
        """The score is the noise, negative, in this unit."""
        if self.before is None or (schedule := _schedule(self.model)) is None:
            return None
        return float(1 / schedule.sigma(torch.tensor(self.before.s, dtype=torch.float64)))


def _schedule(model: Model) -> Schedule | None:
    """The schedule of a model of normal noise; None for others, which have no score."""
    known = isinstance(model, Diffusion) and isinstance(model.process, Gaussian)
    return cast(Any, model).process.schedule if known else None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Held-out examples, to choose from."""

    first: _Number = 0
    n: _Few = 24

    def answer(self, subject: Subject) -> Iterator[Part]:
        shown = subject.held_out[self.first : self.first + self.n]
        if not len(shown):
            raise DataError("first", self.first, f"0 to {len(subject.held_out) - 1}, the held-out examples")
        part: Part = {"first": self.first, "examples": len(subject.held_out)}
        if subject.spec.columns:
            part["rows"] = [_cells(subject, row) for row in shown]
        else:
            part["pictures"] = {str(self.first + i): subject.sheet(each[None], 1) for i, each in enumerate(shown)}
        yield part


def _cells(subject: Subject, row: Array) -> list[str]:
    """The cells of a row of a table as text; an empty one is missing."""
    columns = list((subject.spec.columns or {}).values())
    return ["" if np.isnan(v) else str(column.texts(np.array([v]))[0]) for column, v in zip(columns, row, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Inpaint:
    """Samples of what is hidden of an example; `hidden` has a 1 for each hidden place and a 0 for each known one.

    `pixels` is a picture in place of a held-out example: its bytes in base64, row by row and channels last.
    """

    example: _Number = 0
    pixels: str | None = None
    hidden: str = ""
    n: Annotated[int, Range(2, 32)] = 8
    seed: Seed = 0
    method: MethodName | None = None
    label: str | None = None
    walk: SamplingConfig = field(default_factory=SamplingConfig)

    def answer(self, subject: Subject) -> Iterator[Part]:
        _require_few_steps(self.walk)
        spec = subject.spec
        if not spec.size:
            raise ConfigError("run", "a model of vectors", "one of series, images or volumes; for rows, fill in cells")
        image = subject.example(self.example) if self.pixels is None else _shown_by(self.pixels, spec)
        known = _known(self.hidden, spec.size)
        everywhere = spec.from_channels_first(np.broadcast_to(known, spec.shape)[None])[0]
        condition = Condition(label=self.label, guidance=1.0)
        product = cast(Any, subject.model(self.walk)) * Observed(everywhere, image) * condition
        method = None if self.method is None else METHODS[self.method]()
        draws = product.sample(self.n, seed=self.seed, method=method)
        low, high = spec.shown
        mean, spread = draws.mean(0, dtype=np.float64), draws.std(0, dtype=np.float64)
        widest = max(float(spread.max()), 1e-12)
        yield {
            "pictures": {
                "known": subject.sheet(np.where(everywhere, image, (low + high) / 2)[None]),
                "draws": subject.sheet(draws),
                "mean": subject.sheet(mean[None]),
                "spread": subject.sheet((low + spread / widest * (high - low))[None]),
            },
            "widest": widest,
            "array": subject.array(draws),
            "files": {"mask.npy": subject.array(known)} | self._own(subject, image),
            "command": subject.command(
                "inpaint",
                self.example if self.pixels is None else _OWN,
                mask="mask.npy",
                n=self.n,
                seed=self.seed,
                method=self.method,
                label=self.label,
                walk=self.walk,
            ),
        }

    def _own(self, subject: Subject, image: Array) -> dict[str, str | None]:
        """The file of a picture that the page sent."""
        return {} if self.pixels is None else {_OWN: subject.array(image)}


def _shown_by(pixels: str, spec: DataSpec) -> Array:
    """The example that a picture of the page shows, data units."""
    if not spec.is_image:
        raise ConfigError("pixels", "a picture", f"a model of images, not of {spec.kind}")
    try:
        content = base64.b64decode(pixels, validate=True)
    except ValueError:
        raise ConfigError("pixels", "other text", "bytes in base64") from None
    channels = len(spec.varies)
    shape = spec.size if channels == 1 else (*spec.size, channels)
    if len(content) != np.prod(shape):
        raise ConfigError("pixels", f"{len(content)} bytes", f"{np.prod(shape)}, one for each pixel and channel")
    return example_of(np.frombuffer(content, np.uint8).reshape(shape), spec, "pixels")


def _known(hidden: str, size: tuple[int, ...]) -> Array:
    """Where an example is known, from a text with a digit for each place."""
    places = int(np.prod(size))
    if len(hidden) != places or set(hidden) - {"0", "1"}:
        raise ConfigError("hidden", f"{len(hidden)} characters", f"{places} digits, 1 where a place is hidden")
    if "1" not in hidden:
        raise ConfigError("hidden", "nothing", "a place that is hidden: paint over some")
    return np.array([digit == "0" for digit in hidden]).reshape(size)


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Examples between two held-out ones: between their codes, or between noisy versions at a time."""

    a: _Number = 0
    b: _Number = 1
    n: Annotated[int, Range(2, 32)] = 9
    t: Annotated[float, Range(0, 1, open_low=True)] | None = None
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        model = subject.model(SamplingConfig())
        data = model.interpolate(subject.example(self.a), subject.example(self.b), self.n, t=self.t, seed=self.seed)
        yield {
            "pictures": {"between": subject.sheet(data, self.n)},
            "array": subject.array(data),
            "command": subject.command("interpolate", self.a, self.b, n=self.n, t=self.t, seed=self.seed),
        }


@dataclass(frozen=True, kw_only=True)
class Relatives:
    """Samples that share a noisy version with a held-out example, for several times."""

    example: _Number = 0
    n: Annotated[int, Range(1, 16)] = 6
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        model, x = subject.model(SamplingConfig()), subject.example(self.example)
        for t in (0.2, 0.4, 0.6, 0.8):
            data = model.relatives(x, t, self.n, seed=self.seed)
            yield {"time": t, "pictures": {f"t = {t:g}": subject.sheet(data, self.n)}}
        yield {"command": subject.command("relatives", self.example, n=self.n, seed=self.seed)}


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Where the bits of a held-out example are in time, and how its bound lies among those of others."""

    example: _Number = 0
    terms: Annotated[int, Range(4, 100)] = 20
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        model, x = subject.model(SamplingConfig()), subject.example(self.example)
        options = {"terms": self.terms} if model.steps > self.terms else {}
        own = model.bound(x[None], seed=self.seed, **options)
        mean = own.mean()
        yield {
            "total": mean.total,
            "unit": mean.unit,
            "parts": mean.parts,
            "times": own.time_edges.tolist(),
            "per_time": _in_unit(own, own.per_time[0]),
        }
        others = model.bound(subject.held_out[:_COMPARED], seed=self.seed, **options)
        every = _in_unit(others, others.total)
        yield {
            "others": every,
            "above": sum(each < mean.total for each in every) / len(every),
            "python": subject.python(self._python(subject, options)),
        }

    def _python(self, subject: Subject, options: dict[str, int]) -> str:
        words = "".join(f", {name}={value}" for name, value in {"seed": self.seed, **options}.items())
        held_out = f"run = iw.Run({str(subject.path)!r})\nx = run.dataset().data[run.split()[1]]"
        return f"{held_out}\nb = model.bound(x[{self.example}:{self.example + 1}]{words})"


def _in_unit(bound: Bound, nats: Tensor) -> list[float]:
    """Nats per example in bits per dimension if the data has levels, as the mean of a bound is."""
    return (nats if bound.levels is None else bound.in_bits_per_dim(nats)).tolist()


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Draws and quantiles of the empty cells of a row, given the others. A cell is text; an empty one is filled."""

    cells: tuple[str, ...] = ()
    n: Annotated[int, Range(1, 200)] = 50
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        row = _row(subject, self.cells)
        draws = np.asarray(subject.model(SamplingConfig()).impute(row[None], self.n, seed=self.seed))[:, 0]
        columns = list((subject.spec.columns or {}).items())
        found = [_filled(name, column, draws[:, i]) for i, (name, column) in enumerate(columns) if np.isnan(row[i])]
        files = {"row.csv": base64.b64encode(_csv(subject, self.cells)).decode()}
        yield {
            "found": found,
            "files": files,
            "command": subject.command("impute", "row.csv", n=self.n, seed=self.seed),
        }


def _csv(subject: Subject, cells: tuple[str, ...]) -> bytes:
    """A row as the table that `inkwash impute` reads."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([subject.spec.columns or {}, cells])
    return text.getvalue().encode()


def _row(subject: Subject, cells: tuple[str, ...]) -> Array:
    """The numbers that stand for the text of a row's cells, float64 `(D,)`."""
    columns = subject.spec.columns or {}
    if len(cells) != len(columns):
        raise ConfigError("cells", f"{len(cells)} cells", f"{len(columns)}, one for each column of the table")
    row = np.array(
        [column.encode(name, [cell])[0] for (name, column), cell in zip(columns.items(), cells, strict=True)]
    )
    if not np.isnan(row).any():
        raise ConfigError("cells", "no empty cell", "one that is to be filled in")
    return row


def _filled(name: str, column: Any, drawn: Array) -> Part:
    """What was drawn for a cell: quantiles, or the share of each category."""
    if column.categories is None:
        quantiles = np.quantile(drawn, (0.05, 0.25, 0.5, 0.75, 0.95))
        return {"column": name, "quantiles": [str(each) for each in column.texts(quantiles)]}
    values, counts = np.unique(drawn.astype(int), return_counts=True)
    ranked = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)[:6]
    return {"column": name, "shares": {str(column.categories[value]): count / len(drawn) for count, value in ranked}}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The next places of a held-out series whose end is hidden: quantiles at each place, and a few draws."""

    example: _Number = 0
    horizon: Annotated[int, Range(1, 10**6)] | None = None
    n: Annotated[int, Range(2, 200)] = 50
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        spec = subject.spec
        if spec.kind != "series":
            raise ConfigError("run", f"a model of {spec.kind}", "one of series")
        model = subject.model(SamplingConfig())
        series, axis = model.units.cut(subject.example(self.example)[None])[0][None], axis_of_time(model.units)
        horizon, length = self.horizon or max(spec.size[0] // 4, 1), series.shape[axis]
        if horizon >= length:
            raise ConfigError("horizon", horizon, f"fewer than the {length} places of this series")
        past = np.take(series, range(length - horizon), axis)
        draws = model.forecast(past, horizon, self.n, seed=self.seed)
        futures, truth = np.stack([by_channel(spec, each)[0] for each in draws]), by_channel(spec, series)[0]
        yield {
            "series": truth.tolist(),
            "horizon": horizon,
            "quantiles": {f"{q:g}": np.quantile(futures, q, axis=0).tolist() for q in (0.05, 0.25, 0.5, 0.75, 0.95)},
            "draws": futures[:8].tolist(),
            "command": subject.command("forecast", self.example, horizon=horizon, n=self.n, seed=self.seed),
        }


QUESTIONS: dict[str, Any] = {
    "about": About,
    "examples": Examples,
    "walk": Walk,
    "inpaint": Inpaint,
    "interpolate": Interpolate,
    "relatives": Relatives,
    "likelihood": Likelihood,
    "fill": Fill,
    "forecast": Forecast,
    **LECTURE,
}
"""What can be asked, by name."""


def question(name: Any, options: Any) -> Any:
    """A question from plain data. Options that are left out have their defaults.

    Raises:
        ConfigError: no such question, or an unknown or bad option.
    """
    if name not in QUESTIONS:
        raise ConfigError("question", repr(name), f"one of {', '.join(QUESTIONS)}")
    if not isinstance(options, dict):
        raise ConfigError("options", repr(options), "the options of a question by name")
    kind = QUESTIONS[name]
    plain = to_json(kind())
    walk = options.get("walk", {})
    if isinstance(walk, dict) and "walk" in plain:
        options = {**options, "walk": {**plain["walk"], **walk}}
    return from_json(kind, {**plain, **options})
