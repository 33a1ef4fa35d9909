"""What each kind of network has: options that are all decided, a way to build it, and a line that describes it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import nn

from inkwash.core.config import NetworkConfig, OptimizerName
from inkwash.nn.layers import ConditionEmbedding

SMALL = 256
"""Examples of at most so many entries are small."""


@dataclass(frozen=True)
class Ports:
    """What a network takes and gives.

    Args:
        size: sides of an example: `(L,)` for series, `(H, W)` for images, `(D, H, W)` for volumes, `()` for vectors.
        inputs: how many features of each channel or column it is shown; they stand side by side.
        outputs: how many numbers it gives for each, side by side. It may have a multiple of the entries of `inputs`,
            which then go round the columns several times.
        condition: for each name of a condition, a function that makes its embedding.
        given: channels of a `given` image, which enters beside the noisy data; 0: there is none.
        by_place: whether a network that would see all places alike has features for each of them.
    """

    size: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    condition: Mapping[str, ConditionEmbedding]
    given: int = 0
    by_place: bool = False


class NetworkOptions(ABC):
    """The options of one kind of network, all decided: a frozen dataclass.

    Its fields are those of `NetworkConfig` that this kind of network has.
    """

    of_places: ClassVar[bool]
    """Whether the network is for series, images and volumes; otherwise it is for vectors."""
    optimizer: ClassVar[OptimizerName] = "adamw"
    """What usually trains the network."""

    @classmethod
    @abstractmethod
    def decide(cls, config: NetworkConfig, size: tuple[int, ...], dropout: float) -> Self:
        """The options of a config, where the shape of the data decides those that were left open.

        Args:
            config: the options of all kinds of networks; None is left open.
            size: sides of an example; see `Ports`.
            dropout: the decided probability.

        Raises:
            ConfigError: options that do not go together.
        """

    @abstractmethod
    def build(self, ports: Ports) -> nn.Module:
        """The network, with new weights."""

    @abstractmethod
    def describe(self, size: tuple[int, ...]) -> str:
        """The network for examples with these sides, in a few words."""

    @abstractmethod
    def learning_rate(self, entries: int) -> float:
        """The usual peak learning rate, for examples of so many entries."""
