"""What a model can be asked for: a small description that goes with it and is stored in its run.

Two things can be told of an example: its label, one of a few classes, and what is given of it in numbers: one, a
vector, or an image of its size or smaller. A model that was trained with a condition stands for $p(x)$ and for
$p(x \\mid y)$, where y is all that it is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, DataError
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform

_SHOWN = 12


@dataclass(frozen=True)
class ConditionSpec:
    """What a model was trained to be told of an example.

    Args:
        classes: names of the classes that a `label` may take, in the order of their numbers 1, 2, …, at least two. A
            whole number is named by its digits. None: the model takes no label.
        given: takes what is `given` of an example from its own units to mean 0 and standard deviation 1; made by
            `inkwash.data.fit_transform`. None: the model takes nothing of the kind.
    """

    classes: tuple[str, ...] | None = None
    given: Transform | None = None

    def check(self) -> None:
        """Check that the classes can be told apart, and that what is given is real numbers.

        Raises:
            ConfigError: fewer than two classes, or two of one name; a transform of levels, or one that does not fit
                itself.
        """
        if self.classes is not None and not 2 <= len(set(self.classes)) == len(self.classes):
            raise ConfigError("condition.classes", self.describe(), "two or more classes, each with a name of its own")
        if self.given is None:
            return
        self.given.check()
        if self.given.spec.levels is not None:
            raise ConfigError("condition.given", self.given.spec.describe(), "real numbers, without levels")

    def numbers(self, label: Any, count: int) -> Tensor:
        """Class numbers of labels, int64 `(count,)`.

        Args:
            label: the name of a class, or the whole number it stands for: one for all examples, or one for each.
            count: number of examples.

        Raises:
            ConfigError: another number of labels, or one that is the name of no class.
        """
        names = np.asarray(label).astype(str)
        if names.shape not in ((), (count,)):
            raise ConfigError("label", f"labels of shape {names.shape}", f"one, or one for each of {count} examples")
        number = {name: i for i, name in enumerate(self.classes or (), 1)}
        unknown = [name for name in names.ravel().tolist() if name not in number]
        if unknown:
            raise ConfigError("label", repr(unknown[0]), f"one of {self.describe()}")
        return torch.tensor([number[name] for name in names.ravel().tolist()]).expand(count)

    def values(self, given: Any, count: int) -> Tensor:
        """What is given, standardised, float32 `(count, *shape)`.

        Args:
            given: numbers in their own units, shaped and laid out as those of one example that the model was trained
                with: one for all examples, or one for each along a first axis more.
            count: number of examples.

        Raises:
            DataError: another shape, or what are no finite numbers.
        """
        transform = self.given
        if transform is None:
            raise DataError("given", "values", "none: the model was trained without given values")
        array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
        shape = transform.spec.data_shape
        if array.shape not in (shape, (count, *shape)):
            need = f"shape {shape}, one for all, or {(count, *shape)}, one for each of {count} examples"
            raise DataError("given", f"shape {array.shape}", need)
        rows = array.reshape(-1, *shape)
        if array.dtype.kind not in "biuf":
            raise DataError("given", f"values of type {array.dtype}", "numbers")
        odd = ~np.isfinite(rows.reshape(len(rows), -1)).all(1)
        if odd.any():
            raise DataError(f"given[{odd.argmax()}]", "NaN or infinity", "finite numbers")
        return transform.to_model(rows).expand(count, *transform.spec.shape)

    def inputs(self, count: int, label: Any = None, given: Any = None) -> Mapping[str, Any]:
        """What a denoiser is asked with, by name: nothing where nothing is asked for, else class numbers `(count,)`
        and standardised values `(count, *shape)`, whichever the model takes.

        A `count` of 1 stands for any number of examples: `Conditioned(denoiser, condition.inputs(1, label=3))`.

        Raises:
            ConfigError: a bad label; what the model was trained without; one of two that it was trained with together.
            DataError: what is given does not fit.
        """
        if label is None and given is None:
            return {}
        kinds = {"label": (self.classes, label, self.numbers), "given": (self.given, given, self.values)}
        for name, (taken, asked, _) in kinds.items():
            if taken is None and asked is not None:
                got = asked if name == "label" else "values"
                raise ConfigError(name, got, f"none: the model was trained without {_WORDS[name]}")
            if taken is not None and asked is None:
                raise ConfigError(name, "nothing", "label and given together, or neither, as the model was trained")
        return {name: read(asked, count) for name, (taken, asked, read) in kinds.items() if taken is not None}

    def describe(self) -> str:
        """The classes in a few words."""
        names = self.classes or ()
        more = f", … ({len(names)} classes)" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more


_WORDS = {"label": "labels", "given": "given values"}


def guided(condition: Mapping[str, Any], guidance: float) -> Mapping[str, Any]:
    """What `ConditionSpec.inputs` made, with the guidance by it.

    Raises:
        ConfigError: a bad guidance, or one by nothing.
    """
    if not _is_power(guidance):
        raise ConfigError("guidance", guidance, "a finite number >= 0")
    if guidance == 1:
        return condition
    if not condition:
        raise ConfigError("guidance", guidance, "a condition to guide to, label or given")
    return {**condition, "guidance": guidance}


def _is_power(guidance: object) -> bool:
    """Whether it is one number that p(y | x) can be raised to."""
    return isinstance(guidance, Real) and 0 <= float(guidance) < math.inf


def hide(value: Tensor, hidden: Tensor) -> Tensor:
    """One kind of what is told `(B, …)` with the rows where `hidden` `(B,)` is true taken out: labels become number 0,
    numbers NaN. To a network both say what leaving them out says."""
    column = hidden.view(-1, *(1,) * (value.ndim - 1))
    return value.masked_fill(column, math.nan if value.is_floating_point() else 0)


def goes_with(given: DataSpec, spec: DataSpec) -> bool:
    """Whether a network for examples of `spec` can take it: numbers and vectors always; of what has sides, those of
    which each divides the example's."""
    alike = len(given.size) == len(spec.size) and all(
        side % small == 0 for side, small in zip(spec.size, given.size, strict=True)
    )
    return alike or not given.size
