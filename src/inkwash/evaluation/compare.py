r"""Two runs side by side: what `inkwash evaluate A B` does.

Both models are evaluated on the same held-out examples, with the same noise. For a score that is a mean over examples,
the two models therefore have the scores $a_i$ and $b_i$ of the same example i, and what they differ by is known far
better than either score: the standard error of $\bar b - \bar a$ is that of the mean of the differences $b_i - a_i$,
whose spread has nothing of what makes one example harder than another. Scores that are no mean over examples, such as
a Fréchet distance, stand side by side without an error.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from inkwash.core import storage
from inkwash.core.config import Device, EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import DataError
from inkwash.core.machine import accelerator
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data.dataset import Dataset
from inkwash.data.rows import take
from inkwash.evaluation.evaluate import Evaluated, evaluated
from inkwash.evaluation.features import Features
from inkwash.evaluation.finding import Grade
from inkwash.evaluation.known import Known
from inkwash.evaluation.pictures import BY_TIME, SAMPLES
from inkwash.evaluation.report import command_of, comparison_page
from inkwash.training.run import Run, StrPath

_ERRORS = 2
"""Differences of more standard errors than this are said to be seen."""


@dataclass(frozen=True)
class Row:
    """One score of two models.

    Args:
        name: of the score.
        unit: of the numbers.
        good: which numbers are good.
        a: the score of the first model.
        b: that of the second.
        difference: b - a; where errors are known, over the examples that both were scored on.
        std_error: standard error of the difference; None if the score is no mean over examples.
        examples: the number of held-out examples that both were scored on.
    """

    name: str
    unit: str
    good: str
    a: float
    b: float
    difference: float
    std_error: float | None
    examples: int | None

    @property
    def better(self) -> str:
        """Which of the two is better by more than two standard errors: "a", "b", or nothing."""
        seen = self.std_error is not None and abs(self.difference) > _ERRORS * self.std_error
        if not seen or self.good not in ("low", "high"):
            return ""
        return "b" if (self.difference < 0) == (self.good == "low") else "a"

    @classmethod
    def of(cls, name: str, a: Grade, b: Grade) -> Row:
        """The row of a score; with what each example adds to it, the difference is paired."""
        if a.each is None or b.each is None:
            return cls(name, b.unit, b.good, a.value, b.value, b.value - a.value, None, None)
        difference, error, count = paired(a.each, b.each)
        if a.train is not None and b.train is not None:
            at_train, train_error, _ = paired(a.train, b.train)
            difference, error = difference - at_train, math.hypot(error, train_error)
        return cls(name, b.unit, b.good, a.value, b.value, difference, error, count)


def paired(a: Array, b: Array) -> tuple[float, float, int]:
    """The mean of b - a over the examples that both have, the first ones of `(n,)` and `(m,)`, at least 2; its standard
    error; and how many these are."""
    count = min(len(a), len(b))
    apart = np.asarray(b[:count], np.float64) - np.asarray(a[:count], np.float64)
    return float(apart.mean()), float(apart.std(ddof=1) / math.sqrt(count)), count


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side.

    Args:
        a: folder of the first run.
        b: folder of the second run.
        rows: one for each score that both have.
        notes: what is not compared, and why.
    """

    a: str
    b: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data."""
        rows = [{**asdict(row), "better": row.better} for row in self.rows]
        return {**asdict(self), "rows": rows, "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """The comparison as a table for a terminal."""
        cells = [["", "A", "B", "B - A", "good"], *(self._cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        yield f"A             {self.a}"
        yield f"B             {self.b}"
        for name, *rest in cells:
            numbers = (text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))
            yield f"{name.ljust(widths[0])}  {'  '.join(numbers)}".rstrip()
        yield from (f"note          {note}" for note in self.notes)

    @staticmethod
    def _cells(row: Row) -> list[str]:
        error = "" if row.std_error is None else f" ± {row.std_error:.4f}"
        unit = f", {row.unit}" if row.unit else ""
        better = f" ({row.better.upper()} is better)" if row.better else ""
        return [row.name + unit, f"{row.a:.4f}", f"{row.b:.4f}", f"{row.difference:+.4f}{error}", row.good + better]


def compare(
    a: StrPath,
    b: StrPath,
    config: EvaluateConfig | None = None,
    display: Display | None = None,
    *,
    out: Path = Path("comparison"),
    data: Any = None,
    device: Device = "auto",
    features: Features | nn.Module | None = None,
) -> Comparison:
    """Evaluate two runs on the same held-out examples, and write `comparison.json` and `report.html` into a folder. The
    evaluation of each run is written into the run too, as by `evaluate`, which explains the other arguments.

    Args:
        a: folder of the first run.
        b: folder of the second run.
        config: how much to evaluate, and with which options of sampling, for both.
        display: where to report; nowhere by default.
        out: the folder.
        data: as of `evaluate`.
        device: as of `evaluate`.
        features: as of `evaluate`.

    Raises:
        DataError: the runs hold out other examples; or as `evaluate`, as are the other errors.
    """
    main = accelerator().is_main_process
    display = (main and display) or Display(shown=False)
    runs = Run(a), Run(b)
    found, known = [], Known()
    for run, dataset in zip(runs, _same_examples(runs, data), strict=True):
        display.say(f"evaluating    {run.path}")
        found.append(evaluated(run.path, config, display, data=dataset, device=device, features=features, known=known))
    comparison = _comparison(runs, found)
    if main:
        for each in found:
            each.write(display)
        _write(out, comparison, found, config or EvaluateConfig(), display)
    return comparison


def _same_examples(runs: tuple[Run, Run], data: Any) -> list[Dataset]:
    """The data of two runs; raise a `DataError` unless they hold out the same examples of the same data."""
    (train, held_out), (train_b, held_out_b) = (run.split() for run in runs)
    same = np.array_equal(train, train_b) and np.array_equal(held_out, held_out_b)
    datasets = [run.dataset(data) for run in runs] if same else []
    if same:
        x, y = (take(each.data, held_out) for each in datasets)
        same = np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
    if not same:
        need = f"those of {runs[0].path}: a run of the same data, --data.held-out and --data.split-seed"
        raise DataError(str(runs[1].path), "other held-out examples", need)
    return datasets


def _comparison(runs: tuple[Run, Run], found: list[Evaluated]) -> Comparison:
    a, b = (each.found.grades() for each in found)
    headers = [run.header() for run in runs]
    shared = [name for name in a if name in b and a[name].unit == b[name].unit]
    notes = [f"{name}: only one of the two has it in this unit" for name in [*a, *b] if name not in shared]
    if headers[0].transform != headers[1].transform:
        spaces = [name for name in shared if name.endswith((", components", ", classifier"))]
        shared = [name for name in shared if name not in spaces]
        notes.append("distances of samples are left out: the two runs transform data differently, and share no space")
    steps = [each.subject.config.bound_steps or each.subject.model.steps for each in found]
    if steps[0] != steps[1]:
        notes.append(f"the bounds are on grids of {steps[0]} and {steps[1]} steps; --bound-steps makes them equal")
    rows = tuple(Row.of(name, a[name], b[name]) for name in shared)
    return Comparison(str(runs[0].path), str(runs[1].path), rows, tuple(dict.fromkeys(notes)))


def _write(out: Path, comparison: Comparison, found: list[Evaluated], config: EvaluateConfig, display: Display) -> None:
    """Write a comparison, and print it."""
    storage.make_folder(out)
    storage.replace(out / "comparison.json", storage.dump_json(comparison.to_json()))
    a, b = found
    command = f"{command_of(Path(comparison.a), config, Path(comparison.b))} --out {shlex.quote(str(out))}"
    pictures = {
        SAMPLES: {"A": a.folder / "samples.png", "B": b.folder / "samples.png"},
        BY_TIME: {"A": a.folder / "bound_by_time.png", "B": b.folder / "bound_by_time.png"},
    }
    there = {caption: pair for caption, pair in pictures.items() if all(path.exists() for path in pair.values())}
    warnings = {f"A: {comparison.a}": a.found.warnings(), f"B: {comparison.b}": b.found.warnings()}
    storage.replace(out / "report.html", comparison_page(comparison, command, there, warnings))
    for line in comparison.lines():
        display.say(line)
    display.found(**comparison.to_json())
    display.wrote(out / "comparison.json", out / "report.html")
    display.say(f"report        {out / 'report.html'}")
    better = comparison.b if comparison.rows and comparison.rows[0].better == "b" else comparison.a
    display.say(f"next          {typed('sample', better, '-n', 64, '--out', Path(better) / 'drawn')}")
