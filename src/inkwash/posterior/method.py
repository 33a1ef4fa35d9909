"""What a method to draw from a product is."""

from abc import ABC, abstractmethod

from inkwash.denoise import AnyDenoiser
from inkwash.errors import ConfigError
from inkwash.factor import Evidence
from inkwash.sample import Ancestral, Sampler


class Method(ABC):
    """A way to draw from a product; a frozen dataclass whose fields are its options."""

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
