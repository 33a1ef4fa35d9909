"""The cells of a table: models that are trained in folders of their own, and the figures of each.

The folder of a cell holds its run, and what was measured. The same command again continues a run that was stopped; what
is finished is neither trained nor measured again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np

from inkwash.commands.papers.tables import NOTHING, Claim, claim_less, number, portraits
from inkwash.core import storage
from inkwash.core.config import Config, EvaluateConfig, VarianceName
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError, NonFiniteError
from inkwash.core.options import Count, Range, Seed, from_json, to_json
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec
from inkwash.evaluation.fidelity import measure_fidelity
from inkwash.evaluation.metrics import two_sample_test
from inkwash.evaluation.subject import subject_of
from inkwash.likelihood.bound import MeanBound
from inkwash.training.fit import fit
from inkwash.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Unit = Literal["bits/dim", "Fréchet"]
PORTRAITS = 12
"""How many samples of each view are kept for pictures."""

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class View:
    """One manner of use of a trained network.

    Args:
        variance: that of the reverse step; None is the one of the training.
        steps: of sampler and bound; None is the number of steps of the model.
    """

    variance: VarianceName | None = None
    steps: Count | None = None

    @property
    def name(self) -> str:
        """A name for files and keys."""
        steps = "" if self.steps is None else f"-{self.steps}"
        return f"{self.variance or 'trained'}{steps}"


@dataclass(frozen=True)
class Amount:
    """How much to measure.

    Args:
        examples: at most so many held-out examples, and as many samples.
        terms: diffusion terms of the bound that are evaluated per example.
        seed: of the samples, the noise and the forest.
    """

    examples: Annotated[int, Range(10)]
    terms: Count = 100
    seed: Seed = 0


@dataclass(frozen=True)
class Figures:
    """What was measured of a view.

    Args:
        bound: the bound of held-out data, by part.
        frechet: Fréchet distance of samples from held-out data, in the space of the principal components.
        floor: the same distance of training data, which is where samples of the right law would be.
        accuracy: of a random forest that tells samples from held-out data; 0.5 is chance.
    """

    bound: MeanBound
    frechet: float
    floor: float
    accuracy: float


_NUMBERS: dict[Unit, Callable[[Figures], float]] = {
    "bits/dim": lambda figures: figures.bound.total,
    "Fréchet": lambda figures: figures.frechet,
}


@dataclass(frozen=True)
class Cell:
    """One model of a table.

    Args:
        name: the name of its folder.
        config: what it is trained on, and how.
        views: the uses of it that are measured.
    """

    name: str
    config: Config
    views: tuple[View, ...] = (View(),)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Args:
        figures: what was measured, by the name of the view; empty if the cell diverged.
        portraits: the first samples of each view, data units.
        spec: what an example is; None if the cell diverged.
        skipped: training steps that were skipped, because their loss or gradient was not finite.
        error: why training or sampling came to no end; None if they did.
    """

    figures: dict[str, Figures]
    portraits: dict[str, Array]
    spec: DataSpec | None = None
    skipped: int = 0
    error: str | None = None

    @property
    def is_unstable(self) -> bool:
        """Whether any step of the training was not finite, or the cell diverged."""
        return self.skipped > 0 or self.error is not None

    def least(self, unit: Unit, views: Iterable[View]) -> float | None:
        """The least bound, in bits/dim, or Fréchet distance among some views; None if the cell diverged."""
        figures = (self.figures[view.name] for view in views if view.name in self.figures)
        return min(map(_NUMBERS[unit], figures), default=None)

    def texts(self, view: View) -> tuple[str, str, str]:
        """Bound, Fréchet distance and accuracy of the forest of a view, for a table."""
        if view.name not in self.figures:
            return "diverged", NOTHING, NOTHING
        figures = self.figures[view.name]
        error = "" if figures.bound.std_error is None else f" ± {figures.bound.std_error:.2f}"
        return number(figures.bound.total) + error, number(figures.frechet), number(figures.accuracy)

    def to_json(self) -> dict[str, Any]:
        """What was measured, as plain data."""
        figures = {view: asdict(each) for view, each in self.figures.items()}
        return {"figures": figures, "skipped": self.skipped, "error": self.error}


@dataclass(frozen=True)
class _Measured:
    """The file of the figures of a view."""

    view: View
    amount: Amount
    figures: Figures


@dataclass(frozen=True)
class _Diverged:
    """The file of a cell that diverged."""

    config: Config
    error: str


def outcomes(cells: tuple[Cell, ...], amount: Amount, folder: Path, display: Display) -> dict[str, Outcome]:
    """Train and measure cells one after another, each in a folder of its name below `folder`; say how far they are.

    Raises:
        ConfigError: bad options, or others than those of the runs that the folder holds already.
        DataError: the data is bad.
        RunInterrupted: a signal stopped training, after saving.
    """
    found = {}
    with display.bar("training and measuring"):
        for place, cell in tracked(list(enumerate(cells, 1))):
            display.say(f"cell {place:>2}/{len(cells)}  {cell.name}")
            found[cell.name] = outcome = outcome_of(cell, amount, folder / cell.name)
            for view, figures in outcome.figures.items():
                display.say(f"            {view}: {words(figures)}")
            if outcome.error is not None:
                display.say(f"            diverged: {outcome.error}")
    return found


def floor_of(found: Iterable[Outcome]) -> str:
    """The floor of the Fréchet distances of cells on the same data."""
    floors = (figures.floor for outcome in found for figures in outcome.figures.values())
    return number(next(floors, None))


def gallery(rows: Mapping[str, tuple[Outcome, View]]) -> Figure | None:
    """Samples of cells on the same data as one picture: a row for each, by its name; None if all of them diverged."""
    kept = {name: (outcome, view) for name, (outcome, view) in rows.items() if outcome.spec is not None}
    specs = [outcome.spec for outcome, _ in kept.values() if outcome.spec is not None]
    if not specs:
        return None
    return portraits(specs[0], {name: outcome.portraits[view.name] for name, (outcome, view) in kept.items()})


def claims(
    unit: Unit,
    comparisons: Iterable[tuple[str, str, str]],
    found: Mapping[str, Outcome],
    views: Mapping[str, Iterable[View]],
) -> Iterator[Claim]:
    """Claims that one cell has less of a number than another.

    Args:
        unit: of the number.
        comparisons: for each claim its words, and the names of the better cell and of the worse.
        found: what became of the cells.
        views: the views of each cell; the best of them counts.
    """
    for text, *names in comparisons:
        better, worse = ((name, found[name].least(unit, views[name])) for name in names)
        yield claim_less(text, better, worse, unit)


def words(figures: Figures) -> str:
    """The figures in a few words."""
    bound = f"{figures.bound.total:.3f} {figures.bound.unit}"
    return f"bound {bound}, Fréchet {figures.frechet:.3f} (floor {figures.floor:.3f}), forest {figures.accuracy:.3f}"


def outcome_of(cell: Cell, amount: Amount, folder: Path) -> Outcome:
    """Train and measure one cell in a folder, or read there what became of it; see `outcomes`."""
    file = folder / "diverged.json"
    diverged = _read(file, _Diverged)
    if diverged is not None and diverged.config == cell.config:
        return Outcome({}, {}, error=diverged.error)
    try:
        run = fit(cell.config, folder / "run", display=Display(shown=False), report=False)
        return _measured(run, cell.views, amount, folder)
    except NonFiniteError as error:
        storage.replace(file, storage.dump_json(to_json(_Diverged(cell.config, str(error)))))
        return Outcome({}, {}, error=str(error))


def _measured(run: Run, views: tuple[View, ...], amount: Amount, folder: Path) -> Outcome:
    header, figures, portraits = run.header(), {}, {}
    for view in views:
        file, samples = folder / f"{view.name}.json", folder / f"{view.name}.npy"
        kept = _read(file, _Measured)
        if kept is None or (kept.view, kept.amount) != (view, amount):
            numbers, drawn = measure(run, view, amount)
            kept = _Measured(view, amount, numbers)
            storage.replace(samples, _bytes(drawn))
            storage.replace(file, storage.dump_json(to_json(kept)))
        figures[view.name], portraits[view.name] = kept.figures, np.load(samples)
    return Outcome(figures, portraits, header.transform.spec, header.skipped)


def _bytes(data: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, data, allow_pickle=False)
    return buffer.getvalue()


def _read(file: Path, kind: type[Kept]) -> Kept | None:
    """What a file keeps; None if there is no such file, or one of another version."""
    if not file.exists():
        return None
    try:
        return from_json(kind, storage.parse_json(file.read_bytes(), str(file)))
    except (CheckpointError, ConfigError):
        return None


def measure(run: Run, view: View, amount: Amount) -> tuple[Figures, Array]:
    """The figures of a view of a run, and its first samples.

    Raises:
        NonFiniteError: samples or bound are not finite.
    """
    model = run.model().with_options(variance=view.variance, steps=view.steps)
    config = EvaluateConfig(examples=amount.examples, imputed=0, seed=amount.seed)
    subject = subject_of(model, run.dataset(), run.split(), config, Display(shown=False))
    bound = model.bound(subject.parts.held_out, steps=view.steps, terms=amount.terms, seed=amount.seed)
    if not bool(bound.total.isfinite().all()):
        raise NonFiniteError("bound", "numbers that are not finite", "finite numbers")
    space, components = subject.space, measure_fidelity(subject).spaces["components"]
    accuracy = two_sample_test(space.samples, space.held_out, amount.seed, shuffles=1).accuracy
    figures = Figures(bound.mean(), components.samples.frechet, components.floor.frechet, accuracy)
    return figures, subject.parts.samples[:PORTRAITS]
