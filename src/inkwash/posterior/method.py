"""`Method`: how to sample from a product."""

from abc import ABC, abstractmethod
from typing import ClassVar

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.posterior.evidence import Evidence
from inkwash.sample.ancestral import Ancestral
from inkwash.sample.sampler import Sampler
from inkwash.sample.walk import Walker


class Method(ABC):
    """A way to sample from a product; a frozen dataclass whose fields are its options."""

    side_by_side: ClassVar[bool] = False
    """Whether it takes several examples at once, each with its own known entries."""
    selects: ClassVar[bool] = False
    """Whether the samples of one example are selected from a population, so that their number matters."""

    takes_regions: ClassVar[bool] = False
    """Whether it takes ranges of numbers and sets of categories."""

    @abstractmethod
    def compose(self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler) -> Walker:
        """What walks to samples of the product of a denoiser's model with evidence.

        Args:
            denoiser: the denoiser of the model.
            evidence: what multiplies the model.
            sampler: takes the steps.

        Raises:
            ConfigError: factors, a process or a sampler that the method is not made for.
        """


def require_ancestral(method: Method, sampler: Sampler) -> None:
    """Check that no other sampler is asked for, for a method that samples the reverse kernel itself.

    Raises:
        ConfigError: another sampler than `Ancestral`.
    """
    if not isinstance(sampler, Ancestral):
        raise ConfigError("sampler", sampler, f"ancestral: {type(method).__name__} samples the reverse kernel")
