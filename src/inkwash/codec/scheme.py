"""`Scheme`: how the examples of one chunk become bytes under a model, and how these become the examples again."""

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from inkwash.codec.cells import Cells
from inkwash.codec.chain import BitsBack
from inkwash.core.errors import ConfigError, require_one_of
from inkwash.core.randomness import Slots
from inkwash.model.diffusion import Diffusion
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Gaussian
from inkwash.process.mixed import Mixed
from inkwash.process.noise.grid import as_grid

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
    require_one_of("mode", mode, MODES)
    grid, shape = as_grid(steps, times, model.steps), model.shape
    lattice = model.units.lattice or model.process.lattice
    if cells is None:
        if not isinstance(lattice, Lattice) and isinstance(model.process, Gaussian | Mixed):
            raise ConfigError("cells", None, "what the integers stand for, where the data has no levels")
        cells = Cells.of_lattice(lattice if isinstance(lattice, Lattice) else Lattice(0.0, 1.0, 2), shape)
    if mode == "direct":
        raise ConfigError("mode", mode, "bits-back")
    most = Slots(shape, torch.device("cpu")).rows
    return BitsBack(model.denoiser, grid, shape, lattice, cells, seed, model.device, most)
