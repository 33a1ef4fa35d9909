"""`Scheme`: how the examples of one chunk become bytes under a model, and how these become the examples again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError
from inkwash.model.diffusion import Diffusion

ModeName = Literal["bits-back", "direct"]
MODES: tuple[ModeName, ...] = get_args(ModeName)


class Scheme(Protocol):
    """A pure function from examples to bytes, and its inverse.

    Examples are integers `(B, *event)`, int64: numbers of levels, of categories, or bits; for real numbers and the whole
    numbers of a table, those of `Cells`. The bytes hold neither their number nor a checksum, which a container adds.
    Each chunk costs some bytes beyond the bound, however many examples it has, so chunks should be long.
    """

    name: ModeName

    @property
    def probe(self) -> bytes:
        """8 bytes that depend on what the network makes of fixed noisy data, to the last bit. Where they differ from
        those at the time of `encode`, `decode` cannot give the examples back."""

    def encode(self, examples: Tensor) -> bytes:
        """The bytes of examples `(B, *event)`."""

    def decode(self, data: bytes, count: int) -> Tensor:
        """The `count` examples whose bytes these are, int64 `(count, *event)`.

        Raises:
            DataError: they are not such bytes, as far as the scheme can see.
        """


@short_repr
@dataclass(frozen=True)
class Cells:
    """What integers stand for where the data has no levels: the cells in which real numbers count as equal.

    Integer k of an entry stands for the numbers between those of k - 1/2 and k + 1/2; the first cell has no lower end,
    and the last no upper one.

    Args:
        low: for each entry the smallest integer, int64 `(*event)`; 0 for categories.
        high: for each entry the largest.
        to_model: the numbers in model units that integers and halves `(B, *event)`, float64, stand for; increasing.
    """

    low: Tensor
    high: Tensor
    to_model: Callable[[Tensor], Tensor]


def scheme_of(
    model: Diffusion,
    mode: ModeName,
    *,
    steps: int | None = None,
    times: Tensor | None = None,
    seed: int = 0,
    cells: Cells | None = None,
) -> Scheme:
    """The scheme of a mode under a model.

    Args:
        model: the model.
        mode: "bits-back" for many examples, "direct" for few.
        steps: as of `Diffusion.bound`: more steps give fewer bytes and take more time.
        times: the grid itself, in place of `steps`.
        seed: of the first bits, and of what else is random; both ends need the same.
        cells: what the integers stand for; None for data with levels, bits or categories only.

    Raises:
        ConfigError: a bad option, or a model that the mode cannot use.
    """
    raise ConfigError("mode", mode, "one that exists")
