"""`Scheme`: how the examples of one chunk become bytes under a model, and how these become the examples again."""

from typing import Protocol, get_args

import torch
from torch import Tensor

from inkwash.codec.bits_back import BitsBack
from inkwash.codec.cells import Cells
from inkwash.codec.chain import Chain
from inkwash.codec.direct import FINE, Direct, finest_at, halvings
from inkwash.core.config import CodecModeName
from inkwash.core.errors import ConfigError, require_integer, require_one_of
from inkwash.core.randomness import Slots, seed_of
from inkwash.core.shapes import event_size
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.prediction import Levels
from inkwash.denoise.wrap import prediction_of
from inkwash.model.diffusion import Diffusion
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import Estimate, Gaussian
from inkwash.process.mixed import Mixed, MixedEstimate
from inkwash.process.noise.grid import as_grid
from inkwash.process.variance import Matched

ModeName = CodecModeName
MODES: tuple[ModeName, ...] = get_args(ModeName)
_TURNS = 4
_TOGETHER = 1 << 24
"""Log-odds of levels that a batch has at most, if it has more than one example."""
_COPIES = 8
"""Arrays of such log-odds, float64, that are needed at a time."""


class Scheme(Protocol):
    """A pure function from examples to bytes, and its inverse; or, with loss, what comes nearest to that.

    Examples are integers `(B, *event)`, int64: numbers of levels, of categories, or bits; for real numbers and the
    whole numbers of a table, those of `Cells`. The bytes hold neither their number nor a checksum, which a container
    adds. Each chunk costs some bytes beyond the bound, however many examples it has, so chunks should be long.
    """

    @property
    def name(self) -> ModeName:
        """The mode."""

    @property
    def probe(self) -> bytes:
        """8 bytes that depend on what the network makes of fixed noisy data, to the last bit, and on the scheme's own
        numbers. Where they differ from those at the time of `encode`, `decode` cannot give the examples back."""

    def encode(self, examples: Tensor) -> bytes:
        """The bytes of examples `(B, *event)`."""

    def given(self, examples: Tensor) -> Tensor:
        """What `decode` gives for the bytes of examples `(B, *event)`: these, or, with loss, estimates of them."""

    def decode(self, data: bytes, count: int) -> Tensor:
        """The `count` examples whose bytes these are, or estimates of them, int64 `(count, *event)`.

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
    lossy: float | None = None,
) -> Scheme:
    """The scheme of a mode under a model.

    Args:
        model: the model.
        mode: "direct" for levels that the network predicts; "bits-back" for all data and many examples.
        steps: more steps give fewer bytes and take more time. For bits-back, as of `Diffusion.bound`; for direct, how
            often the network is evaluated, rounded to a multiple of the number of halvings, 4 times that by default.
        times: of bits-back, the grid itself, in place of `steps`.
        seed: of the first bits, and of what else is random; both ends need the same.
        cells: what the integers stand for; None for data with levels, bits or categories only.
        lossy: of direct, the time whose noise the last cells have; None where nothing is lost.

    Raises:
        ConfigError: a bad option, or a model that the mode cannot use.
    """
    require_one_of("mode", mode, MODES)
    require_mode(mode, lossy)
    model = coding(model)
    lattice, process = model.units.lattice or model.process.lattice, model.process
    if cells is None and not isinstance(lattice, Lattice) and isinstance(process, Gaussian | Mixed):
        raise ConfigError("cells", None, "what the integers stand for, where the data has no levels")
    cells = cells or Cells.of_lattice(lattice if isinstance(lattice, Lattice) else Lattice(0.0, 1.0, 2), model.shape)
    grid = as_grid(steps if mode == "bits-back" else None, times, model.steps)
    chain = Chain(model.denoiser, grid, lattice, cells, model.shape, model.device)
    most = batch_of(model)
    if mode == "bits-back":
        return BitsBack(chain, seed_of(seed), most)
    if times is not None:
        raise ConfigError("times", times.tolist(), "mode bits-back; the direct mode has times of its own")
    return _direct(chain, steps, seed_of(seed), most, lossy)


def batch_of(model: Diffusion) -> int:
    """The most examples that the network is asked about together."""
    own = event_size(model.shape) * _levels_of(model.denoiser)
    return max(1, min(Slots(model.shape, torch.device("cpu")).rows, _TOGETHER // own))


def bytes_of_batch(model: Diffusion) -> int:
    """The memory that laws of levels take while a batch is coded."""
    return 8 * _COPIES * batch_of(model) * event_size(model.shape) * _levels_of(model.denoiser)


def _levels_of(denoiser: AnyDenoiser) -> int:
    """How many levels the network predicts for each entry, which is not asked; 1 if none."""
    prediction = prediction_of(denoiser)
    return prediction.lattice.levels if isinstance(prediction, Levels) else 1


def require_mode(mode: ModeName, lossy: float | None) -> None:
    """Raise a `ConfigError` if a mode cannot lose what the options allow to be lost."""
    if lossy is not None and mode != "direct":
        need = (
            "mode direct, and a network that predicts levels: only who has all of x can return the bits that noise took"
        )
        raise ConfigError("lossy", lossy, need)


def coding(model: Diffusion) -> Diffusion:
    """The model with the reverse variance that files are coded with: that of the laws that its network predicts, if it
    does, so that a few steps bring the bound on a grid near that of many."""
    estimate = _some_estimate(model.denoiser, model.shape, model.device)
    if estimate is None or (estimate.level_logits is None and estimate.mixture is None):
        return model
    lattice = model.units.lattice
    return model.with_options(variance=Matched(lattice if isinstance(lattice, Lattice) else None))


def mode_of(model: Diffusion) -> ModeName:
    """The mode that suits a model: direct where the network predicts levels, and otherwise bits-back."""
    return "direct" if _predicts_levels(model.denoiser, model.shape, model.device) else "bits-back"


def _predicts_levels(denoiser: AnyDenoiser, shape: tuple[int, ...], device: torch.device) -> bool:
    estimate = _some_estimate(denoiser, shape, device)
    return isinstance(denoiser.process, Gaussian) and estimate is not None and estimate.level_logits is not None


def _some_estimate(denoiser: AnyDenoiser, shape: tuple[int, ...], device: torch.device) -> Estimate | None:
    """What the network makes of the numbers of some noisy example; None if there are no numbers."""
    if not isinstance(denoiser.process, Gaussian | Mixed):
        return None
    with torch.no_grad():
        found = denoiser(torch.zeros(1, *shape, dtype=torch.float64, device=device), 1.0)
    found = found.numbers if isinstance(found, MixedEstimate) else found
    return found if isinstance(found, Estimate) else None


def _direct(chain: Chain, steps: int | None, seed: int, most: int, lossy: float | None) -> Direct:
    process, lattice = chain.process, chain.lattice
    if not isinstance(process, Gaussian) or not isinstance(lattice, Lattice):
        raise ConfigError("mode", "direct", "bits-back, or levels under a Gaussian process")
    if not _predicts_levels(chain.denoiser, chain.shape, chain.device):
        raise ConfigError("mode", "direct", "bits-back, or a network that predicts levels")
    turns, finest = _TURNS, FINE if lossy is None else finest_at(process, lattice, lossy)
    if steps is not None:
        require_integer("steps", steps)
        turns = max(1, round(steps / max(halvings(lattice.levels, finest), 1)))
    return Direct(chain, process, lattice, seed, turns, most, finest)
