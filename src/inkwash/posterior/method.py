"""What a method to draw from a product is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.posterior.evidence import Evidence
from inkwash.sample.ancestral import Ancestral
from inkwash.sample.sampler import Sampler


class Method(ABC):
    """A way to draw from a product; a frozen dataclass whose fields are its options."""

    side_by_side: ClassVar[bool] = False
    """Whether it takes several examples at once, each with known entries of its own."""
    chooses_among_draws: ClassVar[bool] = False
    """Whether the draws of one example are chosen among each other, so that their number matters."""

    @abstractmethod
    def compose(
        self, denoiser: AnyDenoiser, evidence: Evidence, sampler: Sampler | None
    ) -> tuple[AnyDenoiser, Sampler]:
        """The denoiser and the sampler that draw from the product of `denoiser`'s model and `evidence`.

        Raises:
            ConfigError: factors, a process or a sampler that the method is not made for.
        """


def require_ancestral(method: Method, sampler: Sampler | None) -> None:
    """Refuse a sampler where a method draws from the reverse kernel itself."""
    if not isinstance(sampler, Ancestral | None):
        raise ConfigError("sampler", sampler, f"none: {type(method).__name__} draws from the reverse kernel")
