"""What can be learned from samples: train on synthetic data, test on real data (Esteban et al. 2017).

One random forest learns a target from samples, another one learns it from as many training examples, and both are
tested on held-out data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inkwash.core.shapes import Array
from inkwash.evaluation.finding import Finding, Grade
from inkwash.evaluation.known import Known
from inkwash.evaluation.subject import Subject
from inkwash.evaluation.tabular import categories_of, embed, names_of, table_of

_FEWEST = 10

Task = tuple[Array, Array]
"""Features `(N, F)` and the targets to predict from them, `(N,)`: text or numbers; rows with NaN are left out."""


@dataclass(frozen=True)
class Utility(Finding):
    """What can be learned from samples, beside what can be learned from data.

    Args:
        target: name of the target.
        samples: score on held-out data of a forest trained on samples.
        train: score of a forest trained on as many training examples.
        std_error: standard error of their difference, over the held-out examples.
        score: name of the score: accuracy for categories, R² for numbers.
        per_sample: number of examples that each forest was trained on.
    """

    target: str
    samples: float
    train: float
    std_error: float
    score: str
    per_sample: int

    def grades(self) -> dict[str, Grade]:
        return {f"{self.score} of {self.target}, learned from samples": Grade(self.samples, "high")}

    def lines(self) -> Iterator[str]:
        yield (
            f"utility       {self.score} on held-out data {self.samples:.3f} learned from samples, "
            f"{self.train:.3f} from as many training examples (difference ± {self.std_error:.3f}); "
            f"target {self.target}"
        )


def utility_test(
    samples: Task,
    train: Task,
    held_out: Task,
    classify: bool,
    seed: int = 0,
    target: str = "target",
    known: Known | None = None,
) -> Utility | None:
    """Train on samples and on as many training examples, and test both on held-out data.

    The result is None where fewer than 10 targets are known in any of the three.

    Args:
        samples: what to train on; the larger of `samples` and `train` is cut to the size of the smaller.
        train: training examples.
        held_out: what to test on.
        classify: whether targets are categories.
        seed: of the forests.
        target: name of the target.
        known: keeps what was learned from training examples for the next model.
    """
    (samples, train, (x, y)) = (_with_target(*task) for task in (samples, train, held_out))
    count = min(len(samples[0]), len(train[0]))
    if min(count, len(y)) < _FEWEST:
        return None
    tasks = [(features[:count], targets[:count]) for features, targets in (samples, train)]
    by_samples = _predict(tasks[0], x, classify, seed)
    what, data = f"utility {classify} {seed}", (*tasks[1], x)
    predicted = [by_samples, (known or Known()).of(what, data, lambda: _predict(tasks[1], x, classify, seed))]
    scores = [(p == y).astype(float) if classify else 1 - (p - y) ** 2 / (y.var() or 1.0) for p in predicted]
    error = np.std(scores[0] - scores[1], ddof=1) / np.sqrt(len(y))
    of_samples, of_train = (float(each.mean()) for each in scores)
    return Utility(target, of_samples, of_train, float(error), "accuracy" if classify else "R²", count)


def _predict(task: Task, x: Array, classify: bool, seed: int) -> Array:
    """The targets that a forest trained on `task` predicts from features `x`."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if classify else RandomForestRegressor
    forest = kind(100, random_state=np.random.RandomState(np.random.MT19937(seed)), n_jobs=-1).fit(*task)
    return forest.set_params(n_jobs=1).predict(x)  # trees are added up in one order


def _with_target(features: Array, target: Array) -> Task:
    """The rows whose target is known."""
    known = ~np.isnan(target) if target.dtype.kind == "f" else np.ones(len(target), bool)
    return features[known], target[known]


@dataclass(frozen=True)
class _Question:
    """What to learn: a target, whether it is a category, and the tasks of samples, training and held-out data."""

    target: str
    classify: bool
    tasks: tuple[Task, Task, Task]


def measure_utility(subject: Subject) -> Utility | None:
    """The target is the label; in a table without labels it is the last column, and other data has none."""
    question = _question_of_labels(subject) or _question_of_columns(subject)
    if question is None:
        return None
    return utility_test(*question.tasks, question.classify, subject.config.seed, question.target, subject.known)


def _question_of_labels(subject: Subject) -> _Question | None:
    if not subject.held_out_condition.get("label"):
        return None
    conditions = subject.sampled_under, subject.fitted_condition, subject.held_out_condition
    samples, train, held_out = (
        (x.reshape(len(x), -1), np.asarray(condition["label"][: len(x)]))
        for x, condition in zip(subject.space.compared, conditions, strict=True)
    )
    return _Question("labels", True, (samples, train, held_out))


def _question_of_columns(subject: Subject) -> _Question | None:
    spec = subject.spec
    if spec.columns is None or spec.shape[0] < 2:
        return None
    tables, categories = [table_of(spec, x) for x in subject.parts.compared], categories_of(spec)
    reference = tables[1][:, :-1]
    samples, train, held_out = ((embed(x[:, :-1], reference, categories[:-1]), x[:, -1]) for x in tables)
    return _Question(names_of(spec)[-1], categories[-1] is not None, (samples, train, held_out))
