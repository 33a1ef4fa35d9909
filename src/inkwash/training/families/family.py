"""A family of models: its options, what is trained, and the distribution that comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from torch import nn

from inkwash.core.config import Config, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import first_difference
from inkwash.core.resolved import ResolvedConfig
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.model.model import Model
from inkwash.process.distributions import Lattice
from inkwash.sample.walk import StepOptions
from inkwash.training.examples import Examples
from inkwash.training.lesson import Stage
from inkwash.training.times import Proposal

C = TypeVar("C", bound=ResolvedConfig)
M = TypeVar("M", bound=nn.Module)


class Family(ABC, Generic[C, M]):
    """A family of models, whose options are C, all decided, and of which M is trained."""

    @abstractmethod
    def resolve(self, config: Config, spec: DataSpec, examples: int | None = None) -> C:
        """The config with every option that was left open decided by the data.

        Args:
            config: the options that are set, and None for the others.
            spec: what the data is.
            examples: how many there are; None counts as many.

        Raises:
            ConfigError: an option that the family does not have, or that does not go with others or with the data.
        """

    def lattice(self, config: C, spec: DataSpec) -> Lattice | None:
        """The values of data with levels, in model units."""
        return spec.lattice

    @abstractmethod
    def build(self, config: C, transform: Transform, condition: ConditionSpec) -> M:
        """What is trained, as it is before; its weights depend on the seed of the training only."""

    def prime(self, trained: M, examples: Examples) -> None:
        """Start from the frequencies of the examples."""

    @abstractmethod
    def stages(self, config: C, transform: Transform) -> tuple[Stage, ...]:
        """What is trained on what, one after another."""

    @abstractmethod
    def proposal(self, config: C) -> Proposal:
        """How training proposes times."""

    def measure(self, config: C, average: M, examples: Examples) -> None:
        """Measure what the average needs and training does not learn."""

    def check(self, config: C, transform: Transform) -> None:
        """Check that a transform takes data to what the model is of.

        Raises:
            ConfigError: it does not.
        """

    @abstractmethod
    def model(self, config: C, transform: Transform, trained: M, condition: ConditionSpec) -> Model:
        """The distribution that what is trained stands for."""

    @abstractmethod
    def preview(self, config: C, steps: int) -> StepOptions:
        """How to sample on the way, in about so many steps."""

    @abstractmethod
    def walk(self, config: C, steps: int) -> StepOptions:
        """How to sample at the end, in at most so many steps."""

    @abstractmethod
    def trained(self, model: Any) -> M:
        """What was trained of a model."""

    @abstractmethod
    def describe(self, config: C, spec: DataSpec, trained: M) -> dict[str, str]:
        """The parts of a model by name, in a few words each."""

    @abstractmethod
    def goal(self, config: C) -> str:
        """What training minimises, in a few words."""


def refuse_options(section: str, options: Any, need: str) -> None:
    """Refuse options of a section that a family has no use for.

    Raises:
        ConfigError: an option that is not the default.
    """
    found = first_difference(options, type(options)(), section)
    if found:
        raise ConfigError(found[0], found[1], need)


def refuse_augmentation(config: TrainConfig) -> None:
    """Refuse augmentation where an autoencoder is trained, which does not see what was done to an example.

    Raises:
        ConfigError: an option of it is set.
    """
    for option in ("augment", "augment_share"):
        if (value := getattr(config, option)) is not None:
            need = "--model diffusion; an autoencoder does not see what was done to an example"
            raise ConfigError(f"train.{option}", value if isinstance(value, float) else " ".join(value), need)


AnyFamily = Family[Any, Any]
