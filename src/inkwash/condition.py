"""What a model can be asked for: a small description that goes with it and is stored in its run."""

from dataclasses import dataclass
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

    def describe(self) -> str:
        """The classes in a few words."""
        names = self.classes or ()
        more = f", … ({len(names)} classes)" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more
