"""Tests by a random forest: can it tell samples from data, and does it read samples as being of their class?

The floor of any distance between samples and held-out data is here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.evaluation.finding import Finding, Grade
from inkwash.evaluation.known import Known
from inkwash.evaluation.subject import Subject

Measured = TypeVar("Measured")


def with_floor(
    measure: Callable[[Array, Array], Measured],
    samples: Array,
    train: Array,
    held_out: Array,
    *,
    known: Known | None = None,
    what: str = "",
) -> tuple[Measured, Measured]:
    """The distance of samples from held-out data, and its floor: that of training data from the same held-out data.

    Two finite sets of one law are never at distance 0; the floor is where samples of the right law would be. All three
    sets are cut to the size of the smallest, because a distance depends on the sizes.

    Args:
        measure: the distance of its first argument from its second, which is data.
        samples: `(M, …)`.
        train: training examples, `(K, …)`.
        held_out: `(N, …)`.
        known: keeps the floor for the next model, under the name `what`.
        what: the distance.
    """
    count = min(len(samples), len(train), len(held_out))
    data = train[:count], held_out[:count]
    return measure(samples[:count], data[1]), (known or Known()).of(what, data, lambda: measure(*data))


@dataclass(frozen=True)
class TwoSample(Finding):
    """A classifier two-sample test (Lopez-Paz & Oquab 2017).

    Args:
        accuracy: share of examples whose origin a random forest gets right, out of bag; 0.5 is chance.
        null_mean: mean of the same accuracy when origins are shuffled.
        null_high: its 95 % quantile.
        p_value: share of shufflings that are at least as accurate; the observation counts as one of them.
        per_sample: number of examples of each kind.
    """

    accuracy: float
    null_mean: float
    null_high: float
    p_value: float
    per_sample: int

    def lines(self) -> Iterator[str]:
        yield (
            f"two-sample    accuracy {self.accuracy:.3f}; by chance {self.null_mean:.3f}, 95 % below "
            f"{self.null_high:.3f}; p = {self.p_value:.3f} ({self.per_sample} of each)"
        )

    def grades(self) -> dict[str, Grade]:
        return {"two-sample accuracy": Grade(self.accuracy, "near 0.5")}

    def warnings(self) -> Iterator[str]:
        if self.accuracy > self.null_high:
            yield f"samples can be told from data: a classifier is right of {self.accuracy:.1%} of both"


def two_sample_test(a: Array, b: Array, seed: int = 0, shuffles: int = 50) -> TwoSample:
    """Train a random forest to tell `a` from `b`, and compare its accuracy with that on shuffled labels.

    Args:
        a: `(N, …)`; the larger of the two is cut to the size of the smaller.
        b: `(M, …)`.
        seed: of the forest and of the shuffles.
        shuffles: number of shuffled labellings; the p-value is no finer than 1/(shuffles + 1).

    Raises:
        ConfigError: fewer than 10 examples of either kind.
    """
    count = min(len(a), len(b))
    if count < 10:
        raise ConfigError("two-sample test", f"{count} examples", "at least 10 of each kind")
    x = np.concatenate([flat(a[:count]), flat(b[:count])])
    y = np.repeat([0, 1], count)
    random = np.random.default_rng(seed)
    shuffled = [(random.permutation(y), seed + 1 + i) for i in range(shuffles)]
    accuracy, *by_chance = _out_of_bag_accuracies(x, [(y, seed), *shuffled])
    null = np.array(by_chance)
    p_value = float((1 + np.sum(null >= accuracy)) / (1 + shuffles))
    return TwoSample(accuracy, float(null.mean()), float(np.quantile(null, 0.95)), p_value, count)


def _out_of_bag_accuracies(x: Array, tasks: Sequence[tuple[Array, int]]) -> list[float]:
    """The accuracy of a forest for each labelling and seed. Forests grow side by side, each of them in one thread,
    which takes less than to share out the trees of each forest."""
    from sklearn.utils.parallel import Parallel, delayed

    forests = Parallel(n_jobs=-1, prefer="threads", return_as="generator")
    found = forests(delayed(_out_of_bag_accuracy)(x, *task) for task in tasks)
    return [next(found) for _ in tracked(tasks)]


def _out_of_bag_accuracy(x: Array, y: Array, seed: int) -> float:
    from sklearn.ensemble import RandomForestClassifier

    state = np.random.RandomState(np.random.MT19937(seed))
    forest = RandomForestClassifier(100, min_samples_leaf=2, oob_score=True, random_state=state)
    return float(forest.fit(x, y).oob_score_)


def measure_two_sample(subject: Subject) -> TwoSample:
    """Samples against held-out data."""
    space, config = subject.space, subject.config
    return two_sample_test(space.samples, space.held_out, config.seed, config.shuffles)


@dataclass(frozen=True)
class LabelTest:
    """How often a random forest that was trained on labelled data reads a label right.

    Args:
        samples: share of samples that it assigns to the class they were sampled under.
        held_out: share of held-out examples that it assigns to their class; samples of the right law would reach this.
        per_sample: number of samples.
    """

    samples: float
    held_out: float
    per_sample: int


Labelled = tuple[Array, Sequence[str]]
"""Examples `(N, …)` and their N labels."""


def label_test(
    train: Labelled, held_out: Labelled, samples: Labelled, seed: int = 0, known: Known | None = None
) -> LabelTest:
    """Train a random forest to read labels, and count how often it reads those of samples and of held-out data.

    Args:
        train: what to train on.
        held_out: what to test on.
        samples: samples and the labels that they were sampled under.
        seed: of the forest.
        known: keeps the forest for the next model.
    """
    data = flat(train[0]), np.asarray(train[1])
    forest = (known or Known()).of(f"labels {seed}", data, lambda: _forest_of_labels(*data, seed))
    right = [float(np.mean(forest.predict(flat(x)) == np.asarray(labels))) for x, labels in (samples, held_out)]
    return LabelTest(right[0], right[1], len(samples[0]))


def _forest_of_labels(x: Array, labels: Array, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    state = np.random.RandomState(np.random.MT19937(seed))
    forest = RandomForestClassifier(100, random_state=state, n_jobs=-1).fit(x, labels)
    return forest.set_params(n_jobs=1)  # trees are added up in one order


@dataclass(frozen=True)
class Labels(Finding):
    """A label test of samples that were drawn with guidance.

    Args:
        test: what it found.
        guidance: the guidance of the samples.
    """

    test: LabelTest
    guidance: float

    def to_json(self) -> Any:
        """The test; the guidance is an option of the evaluation."""
        return asdict(self.test)

    def lines(self) -> Iterator[str]:
        samples, held_out = f"{self.test.samples:.3f}", f"{self.test.held_out:.3f}"
        yield (
            f"labels        a classifier reads {samples} of the samples as the class that they were sampled under "
            f"(guidance {self.guidance:g}), and {held_out} of the held-out examples as their own"
        )


def measure_labels(subject: Subject) -> Labels | None:
    """A label test of data with labels, by a forest of the training part."""
    space, config = subject.space, subject.config
    train, held_out, samples = (
        condition.get("label", ())
        for condition in (subject.fitted_condition, subject.held_out_condition, subject.sampled_under)
    )
    if not held_out:
        return None
    test = label_test(
        (space.fitted, train), (space.held_out, held_out), (space.samples, samples), config.seed, subject.known
    )
    return Labels(test, config.guidance)


def flat(x: Array) -> Array:
    """Examples `(N, …)` as float64 rows `(N, D)`."""
    return np.asarray(x).reshape(len(x), -1).astype(np.float64)
