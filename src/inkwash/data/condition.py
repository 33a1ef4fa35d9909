"""What a model can be conditioned on: a small description that the model has and its run stores.

An example can have two conditions: its label, which is one of a few classes, and its given values, which are a number,
a vector, or an image of its size or smaller. A model trained with conditions stands for $p(x)$ and for
$p(x \\mid y)$, where y is every condition that it was trained with.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, DataError
from inkwash.data.objects import as_array
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform

_SHOWN = 12
_WORDS = {"label": "labels", "given": "given values"}
_FLAGS = {"label": "--data.labels", "given": "--data.condition"}


class ConditionKeywords(TypedDict, total=False):
    """Conditions as users state them, by the keywords of `Diffusion.sample`; none, one or both."""

    label: Any
    given: Any


@dataclass(frozen=True)
class ConditionSpec:
    """What a model was trained to take as a condition.

    Args:
        classes: names of the classes that a `label` may take, in the order of their numbers 1, 2, …, at least two. The
            name of an integer is its digits. None: the model takes no label.
        given: takes `given` values from their own units to mean 0 and standard deviation 1; made by
            `inkwash.data.fit_transform`. None: the model takes no such values.
    """

    classes: tuple[str, ...] | None = None
    given: Transform | None = None

    def check(self) -> None:
        """Check that the names of the classes differ, and that given values are real numbers.

        Raises:
            ConfigError: fewer than two classes, or two of one name; a transform of levels, or one whose fields do not
                fit each other.
        """
        if self.classes is not None and not 2 <= len(set(self.classes)) == len(self.classes):
            raise ConfigError("condition.classes", self.describe(), "two or more classes, each with a name of its own")
        if self.given is None:
            return
        self.given.check()
        if self.given.spec.levels is not None:
            raise ConfigError("condition.given", self.given.spec.describe(), "real numbers, without levels")

    def inputs(self, count: int, label: Any = None, given: Any = None) -> Mapping[str, Any]:
        """What a denoiser takes as a condition, by name: class numbers `(count,)` and standardised values
        `(count, *shape)`, whichever the model takes; nothing if there is neither a label nor given values.

        A `count` of 1 stands for any number of examples: `Conditioned(denoiser, condition.inputs(1, label=3))`.

        Args:
            count: number of examples.
            label: the name of a class, or the integer that it stands for: one for all examples, or one for each.
            given: numbers in their own units, in the shape and layout of those of one training example: one for all
                examples, or one for each along a first axis.

        Raises:
            ConfigError: a bad label; a condition that the model was trained without; only one of the two that it was
                trained with.
            DataError: given values of another shape, or that are no finite numbers.
        """
        if label is None and given is None:
            return {}
        _require_as_trained("label", self.classes is not None, label)
        _require_as_trained("given", self.given is not None, given)
        found = {} if self.classes is None else {"label": _class_numbers(self.classes, label, count)}
        return found if self.given is None else found | {"given": _standardised(self.given, given, count)}

    def describe(self) -> str:
        """The classes in a few words."""
        return _listed(self.classes or ())


def _require_as_trained(name: str, trained: bool, value: Any) -> None:
    """Refuse a condition that the model was trained without, and the lack of one that it was trained with."""
    if not trained and value is not None:
        got = value if name == "label" else "values"
        need = f"none: the model was trained without {_WORDS[name]} (inkwash train {_FLAGS[name]})"
        raise ConfigError(name, got, need)
    if trained and value is None:
        raise ConfigError(name, "nothing", "--label and --given together, or neither, as the model was trained")


def _class_numbers(classes: tuple[str, ...], label: Any, count: int) -> Tensor:
    """Class numbers of labels, int64 `(count,)`."""
    names = np.asarray(label).astype(str)
    if names.shape not in ((), (count,)):
        raise ConfigError("label", f"labels of shape {names.shape}", f"one, or one for each of {count} examples")
    number = {name: i for i, name in enumerate(classes, 1)}
    unknown = [name for name in names.ravel().tolist() if name not in number]
    if unknown:
        raise ConfigError("label", repr(unknown[0]), f"one of {_listed(classes)}")
    return torch.tensor([number[name] for name in names.ravel().tolist()]).expand(count)


def _standardised(transform: Transform, given: Any, count: int) -> Tensor:
    """Given values in model units, float32 `(count, *shape)`."""
    values = as_array(given)
    shape = transform.spec.data_shape
    if values.shape not in (shape, (count, *shape)):
        need = f"shape {shape}, one for all, or {(count, *shape)}, one for each of {count} examples"
        raise DataError("given", f"shape {values.shape}", need)
    if values.dtype.kind not in "biuf":
        raise DataError("given", f"values of type {values.dtype}", "numbers")
    rows = values.reshape(-1, *shape)
    odd = ~np.isfinite(rows.reshape(len(rows), -1)).all(1)
    if odd.any():
        raise DataError(f"given[{odd.argmax()}]", "NaN or infinity", "finite numbers")
    return transform.to_model(rows).expand(count, *transform.spec.shape)


def _listed(classes: tuple[str, ...]) -> str:
    more = f", … ({len(classes)} classes)" if len(classes) > _SHOWN else ""
    return ", ".join(classes[:_SHOWN]) + more


def guided(condition: Mapping[str, Any], guidance: float) -> Mapping[str, Any]:
    """The `ConditionSpec.inputs` together with a guidance.

    Raises:
        ConfigError: a bad guidance, or a guidance without a condition.
    """
    if not _is_power(guidance):
        raise ConfigError("guidance", guidance, "a finite number >= 0")
    if guidance == 1:
        return condition
    if not condition:
        raise ConfigError("guidance", guidance, "a condition to guide to, --label or --given; or 1")
    return {**condition, "guidance": guidance}


def _is_power(guidance: object) -> bool:
    """Whether it is one number that p(y | x) can be raised to."""
    return isinstance(guidance, Real) and 0 <= float(guidance) < math.inf


def hide(value: Tensor, hidden: Tensor) -> Tensor:
    """One input of `ConditionSpec.inputs` `(B, …)`, hidden in the rows where `hidden` `(B,)` is true.

    A hidden label has the number 0, hidden values are NaN; a network treats both as if there were no condition.
    """
    column = hidden.view(-1, *(1,) * (value.ndim - 1))
    return value.masked_fill(column, math.nan if value.is_floating_point() else 0)


def goes_with(given: DataSpec, spec: DataSpec) -> bool:
    """Whether a network for examples of `spec` can take `given` values.

    It can take numbers and vectors, and series, images or volumes if each of their sides divides that of the example.
    """
    alike = len(given.size) == len(spec.size) and all(
        side % small == 0 for side, small in zip(spec.size, given.size, strict=True)
    )
    return alike or not given.size
