"""What a model can be asked for: a small description that goes with it and is stored in its run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inkwash.errors import ConfigError

_SHOWN = 12


@dataclass(frozen=True)
class Condition:
    """What a model was trained to be told of an example.

    Args:
        classes: names of the classes that a `label` may take, in the order of their numbers 1, 2, …, at least two. A
            whole number is named by its digits. None: the model takes no label.
    """

    classes: tuple[str, ...] | None = None

    def check(self) -> None:
        """Check that the classes can be told apart.

        Raises:
            ConfigError: fewer than two classes, or two of one name.
        """
        if self.classes is not None and not 2 <= len(set(self.classes)) == len(self.classes):
            raise ConfigError("condition.classes", self.describe(), "two or more classes, each with a name of its own")

    def numbers(self, label: Any, count: int) -> Tensor:
        """Class numbers of labels, int64 `(count,)`.

        Args:
            label: the name of a class, or the whole number it stands for: one for all examples, or one for each.
            count: number of examples.

        Raises:
            ConfigError: a model without labels, another number of labels, or one that is the name of no class.
        """
        if self.classes is None:
            raise ConfigError("label", label, "none: the model was trained without labels")
        names = np.asarray(label).astype(str)
        if names.shape not in ((), (count,)):
            raise ConfigError("label", f"labels of shape {names.shape}", f"one, or one for each of {count} examples")
        number = {name: i for i, name in enumerate(self.classes, 1)}
        unknown = [name for name in names.ravel().tolist() if name not in number]
        if unknown:
            raise ConfigError("label", repr(unknown[0]), f"one of {self.describe()}")
        return torch.tensor([number[name] for name in names.ravel().tolist()]).expand(count)

    def told(self, label: Any, count: int, guidance: float = 1.0) -> Mapping[str, Any]:
        """What a denoiser is asked with, by name: nothing without a label, else class numbers `(count,)`.

        A `count` of 1 stands for any number of examples: `Given(model.denoiser, model.condition.told(3, 1, 2.0))`.

        Raises:
            ConfigError: a bad `label` or `guidance`.
        """
        if not _is_power(guidance):
            raise ConfigError("guidance", guidance, "a finite number >= 0")
        if label is None:
            if guidance != 1:
                raise ConfigError("guidance", guidance, "a label to guide to")
            return {}
        numbers = {"label": self.numbers(label, count)}
        return numbers if guidance == 1 else {**numbers, "guidance": guidance}

    def describe(self) -> str:
        """The classes in a few words."""
        names = self.classes or ()
        more = f", … ({len(names)} classes)" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more


def _is_power(guidance: object) -> bool:
    """Whether it is one number that p(label | x) can be raised to."""
    return isinstance(guidance, Real) and 0 <= float(guidance) < math.inf
