"""What an evaluation consists of: its measures, and what they found.

To add a measure, write a module with a `Finding` and a function that makes it from a `Subject`; then give `Evaluation`
a field for it, call the function in `measure`, and place its lines and warnings among the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from inkwash.core.brief import page
from inkwash.core.config import EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.options import to_json
from inkwash.evaluation.calibration import Imputation, measure_imputation
from inkwash.evaluation.columns import Columns, measure_columns
from inkwash.evaluation.drift import Drift, measure_drift
from inkwash.evaluation.fidelity import Spaces, measure_fidelity
from inkwash.evaluation.finding import Finding, Grade
from inkwash.evaluation.forecasts import Forecasts, measure_forecasts
from inkwash.evaluation.likelihood import Likelihood, measure_likelihood
from inkwash.evaluation.memorisation import Memorisation, measure_memorisation
from inkwash.evaluation.metrics import Labels, TwoSample, measure_labels, measure_two_sample
from inkwash.evaluation.series import Series, measure_series
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.utility import Utility, measure_utility
from inkwash.model.shares import results_of


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation found; a measure that does not go with the data found None.

    Args:
        step: training step of the model; None where it is not known.
        data: name of the data.
        config: how much was evaluated.
        likelihood: the bound, over-fitting and exact log-density.
        two_sample: whether a classifier tells samples from data.
        fidelity: distances in spaces of features.
        memorisation: whether samples are copies.
        drift: means and spreads that moved.
        imputation: how well hidden entries are drawn.
        series: statistics of series.
        forecasts: how well the end of series is drawn given their past.
        columns: columns of vectors, and pairs of columns.
        utility: what can be learned from samples.
        labels: whether samples are of their class.
        notes: what is not measured, and why, a sentence each.
    """

    step: int | None
    data: str
    config: EvaluateConfig
    likelihood: Likelihood
    two_sample: TwoSample
    fidelity: Spaces
    memorisation: Memorisation | None
    drift: Drift
    imputation: Imputation | None
    series: Series | None
    forecasts: Forecasts | None
    columns: Columns | None
    utility: Utility | None
    labels: Labels | None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        step = "" if self.step is None else f" at step {self.step}"
        return f"<Evaluation of {self.data}{step}: {len(self.warnings())} warnings>"

    def _repr_html_(self) -> str:
        return page(repr(self), self.lines())

    def warnings(self) -> list[str]:
        """What is wrong beyond sampling error, a sentence each."""
        order = self.drift, self.memorisation, self.likelihood, self.two_sample, self.imputation, self.forecasts
        return [text for finding in order if finding is not None for text in finding.warnings()]

    def lines(self) -> Iterator[str]:
        """The evaluation as lines for a terminal, after its warnings."""
        found = self.likelihood, self.two_sample, self.fidelity, self.memorisation, self.drift
        by_kind = self.labels, self.utility, self.columns, self.imputation, self.series, self.forecasts
        yield from (f"warning       {text}" for text in self.warnings())
        yield from (f"note          {text}" for text in self.notes)
        for finding in (*found, *by_kind):
            if finding is not None:
                yield from finding.lines()

    def grades(self) -> dict[str, Grade]:
        """The numbers by which two models can be compared, by name."""
        findings = (getattr(self, field.name) for field in fields(self))
        return {name: score for each in findings if isinstance(each, Finding) for name, score in each.grades().items()}

    def to_json(self) -> dict[str, Any]:
        """The evaluation as `evaluation.json` has it."""
        head = {"step": self.step, "data": self.data, **to_json(self.config), **self.likelihood.to_json()}
        names = [field.name for field in fields(self)][4:-1]  # the first four make the head
        found = {name: _plain(getattr(self, name)) for name in names}
        return {**head, **found, "notes": list(self.notes), "warnings": self.warnings()}


def _plain(finding: Finding | None) -> Any:
    return None if finding is None else finding.to_json()


def measure(subject: Subject, step: int | None, display: Display) -> Evaluation:
    """Take all measures of a subject; processes that were started together divide them.

    Args:
        subject: what is evaluated.
        step: training step of the model; None where it is not known.
        display: where to show progress.
    """
    likelihood = measure_likelihood(subject, display)
    display.say("testing samples against data …")
    measures: dict[str, Callable[[], Finding | None]] = {
        "two_sample": lambda: measure_two_sample(subject),
        "imputation": lambda: measure_imputation(subject, display),
        "forecasts": lambda: measure_forecasts(subject, display),
        "fidelity": lambda: measure_fidelity(subject),
        "utility": lambda: measure_utility(subject),
        "memorisation": lambda: measure_memorisation(subject),
        "columns": lambda: measure_columns(subject),
        "drift": lambda: measure_drift(subject),
        "series": lambda: measure_series(subject),
        "labels": lambda: measure_labels(subject),
    }  # the slowest first, since processes take them in turn
    weights = [_weight(name, subject.config) for name in measures]
    with display.bar("testing samples against data"):
        found: dict[str, Any] = dict(zip(measures, results_of([*measures.values()], weights=weights), strict=True))
    head: dict[str, Any] = {"step": step, "data": subject.name, "config": subject.config, "notes": subject.left_out()}
    return Evaluation(**head, likelihood=likelihood, **found)


def _weight(name: str, config: EvaluateConfig) -> float:
    """About how long a measure takes, in units of a forest."""
    drawn = {"imputation": 16 if config.imputed != 0 else 0, "forecasts": config.forecasts}
    return 1 + {"two_sample": config.shuffles, "utility": 2, "labels": 2, **drawn}.get(name, 0)
