r"""An autoencoder in model units: $q(z \mid x)$ and $p(x \mid z)$, each with independent entries.

The latent z is standardised: what the encoder's network gives is shifted and scaled to mean 0 and variance 1, and the
decoder's network is given what it was before. Both laws are stated in the standardised z, so that a change of scale
moves the same log-determinant into the entropy of q and into the density of z, where it cancels.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from inkwash.core.config import OutputName
from inkwash.core.errors import ConfigError
from inkwash.denoise.denoiser import parameters_of
from inkwash.nn.autoencoder import AutoencoderOptions, LevelDecoder
from inkwash.nn.levels import LevelHead
from inkwash.posterior.evidence import Map
from inkwash.process.distributions import BinnedNormal, Bins, DiscretizedNormal, Lattice, Masses, Normal

MOST_LEVELS = 256
"""Data with at most so many levels has a probability for each of them."""
_FEATURES = 32
_PACE = 10.0
Law = Normal | DiscretizedNormal | BinnedNormal | Masses
"""p(x | z)."""


class Output(nn.Module, ABC):
    """How the output of a decoder's network is read as p(x | z).

    Args:
        lattice: the values of discrete data; None for continuous data, which has a density.
    """

    def __init__(self, lattice: Lattice | Bins | None = None) -> None:
        super().__init__()
        self.lattice = lattice

    @abstractmethod
    def law(self, output: Tensor) -> Law:
        """p(x | z) for the output of the network."""

    def _normal(self, mean: Tensor, var: Tensor) -> Law:
        """The normal law of real numbers, or the masses that it puts on the bins of discrete values."""
        normal = Normal(mean, var)
        return normal if self.lattice is None else normal.on(self.lattice)


class SharedNoise(Output):
    r"""$\mathcal N(\mu(z), \sigma^2 I)$ for an output $\mu$ `(B, *event)` (Kingma & Welling 2014, App. C.2).

    Args:
        noise_var: $\sigma^2$; its initial value where it is learned.
        lattice: see `Output`.
        learned: whether $\sigma^2$ is trained. Fix it if the decoder can reproduce continuous data exactly: the density
            would grow without bound.

    Raises:
        ConfigError: `noise_var` is not positive.
    """

    def __init__(self, noise_var: float = 0.1, lattice: Lattice | Bins | None = None, learned: bool = True) -> None:
        super().__init__(lattice)
        if not 0 < noise_var < math.inf:
            raise ConfigError("noise_var", noise_var, "a number > 0")
        log_var = torch.tensor(math.log(noise_var), dtype=torch.float64)
        self.share = nn.Parameter(log_var / _PACE, requires_grad=learned)

    @property
    def noise_var(self) -> float:
        r"""$\sigma^2$."""
        return self._var().item()

    def law(self, output: Tensor) -> Law:
        return self._normal(output, self._var().to(output.dtype))

    def _var(self) -> Tensor:
        """The learning rate is the most that a step of AdamW moves a parameter. A share of the logarithm lets it go
        `_PACE` times as far, and keep up with a decoder that soon errs much less than it did."""
        return (_PACE * self.share).exp()


class EntryNoise(Output):
    r"""$\mathcal N(\mu(z), \mathrm{diag}\,\sigma^2(z))$ for an output of $\mu$ and $\log\sigma^2$ side by side,
    `(B, 2 * channels, *size)`.

    Args:
        lattice: see `Output`.
        least_var: added to every variance, so that no density grows without bound.
    """

    def __init__(self, lattice: Lattice | Bins | None = None, least_var: float = 1e-4) -> None:
        super().__init__(lattice)
        self.least_var = least_var

    def law(self, output: Tensor) -> Law:
        mean, log_var = output.chunk(2, dim=1)
        return self._normal(mean, self.least_var + log_var.exp())


class LevelOdds(Output):
    """A probability for each level, for an output of their logits, `(B, *event, levels)`."""

    lattice: Lattice

    def __init__(self, lattice: Lattice) -> None:
        super().__init__(lattice)

    def law(self, output: Tensor) -> Masses:
        return Masses(output, self.lattice)


class Autoencoder(nn.Module):
    r"""$q(z \mid x) = \mathcal N(m(x), \mathrm{diag}\,s^2(x))$ and $p(x \mid z)$, model units.

    Args:
        encoder: a callable from x `(B, *event)` to m(x) and log s²(x) side by side, `(B, 2 * c, *small)`.
        decoder: a callable from z `(B, c, *small)` to what `output` reads.
        latent: shape of one latent, `(c, *small)`.
        output: how p(x | z) is read; its lattice holds the values of discrete data.

    Raises:
        ConfigError: a latent without entries.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, encoder: Map, decoder: Map, latent: Sequence[int], output: Output) -> None:
        super().__init__()
        if not latent or min(latent) < 1:
            raise ConfigError("latent", tuple(latent), "a shape with sides of at least 1")
        self.encoder, self.decoder, self.output = encoder, decoder, output
        self.latent = tuple(latent)
        column = (self.latent[0], *(1,) * (len(self.latent) - 1))
        self.register_buffer("shift", torch.zeros(column, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(column, dtype=torch.float64))
        self.eval()

    @property
    def lattice(self) -> Lattice | Bins | None:
        """The values of discrete data, model units."""
        return self.output.lattice

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the networks."""
        own = next(chain(parameters_of(self.decoder), parameters_of(self.encoder)), None)
        return torch.zeros((), device=self.shift.device) if own is None else own.new_zeros(())

    def encoding(self, x: Tensor) -> Normal:
        """q(z | x) for `x` `(B, *event)`, in the dtype of `x`.

        Raises:
            ConfigError: an encoder whose output is not `(B, 2 * c, *small)`.
        """
        code = _call(self.encoder, x)
        channels, *small = self.latent
        if code.shape != (expected := (len(x), 2 * channels, *small)):
            raise ConfigError("encoder", f"output {tuple(code.shape)}", f"two numbers for each of z: {expected}")
        mean, log_var = code.chunk(2, dim=1)
        scale = self.scale.to(mean)
        return Normal((mean - self.shift.to(mean)) / scale, log_var.exp() / scale**2)

    def decoding(self, z: Tensor) -> Law:
        """p(x | z) for `z` `(B, *latent)`, in the dtype of `z`."""
        return self.output.law(_call(self.decoder, self.shift.to(z) + self.scale.to(z) * z))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z), nats per example, `(B,)`.

        Raises:
            ConfigError: a decoder whose output does not fit `x`.
        """
        law = self.decoding(z)
        if law.mean.shape != x.shape:
            raise ConfigError("decoder", f"output {tuple(law.mean.shape)}", f"the shape of x, {tuple(x.shape)}")
        return law.log_prob(x)

    @torch.no_grad()
    def standardise(self, blocks: Iterable[Tensor]) -> None:
        """Shift and scale the latents of some examples, in blocks `(N, *event)`, to mean 0 and variance 1 per channel:
        the law of z is then that of the encoder averaged over the examples.

        What the networks stand for does not change.
        """
        laws = [self._raw(block) for block in blocks]
        mean, var = (torch.cat([getattr(law, name) for law in laws]) for name in ("mean", "var"))
        axes = (0, *range(2, mean.ndim))
        self.shift.copy_(mean.mean(axes).reshape(self.shift.shape))
        self.scale.copy_((mean.var(axes, correction=0) + var.mean(axes)).sqrt().reshape(self.scale.shape))

    def _raw(self, x: Tensor) -> Normal:
        """q(z | x) before z is standardised, float64."""
        law = self.encoding(x.to(self.shift))
        return Normal(self.shift + self.scale * law.mean, self.scale**2 * law.var)


def build_autoencoder(
    options: AutoencoderOptions,
    shape: tuple[int, ...],
    lattice: Lattice | Bins | None = None,
    output: OutputName | None = None,
) -> Autoencoder:
    """An autoencoder of new networks.

    Args:
        options: of the networks.
        shape: of one example, model units.
        lattice: the values of discrete data.
        output: what the decoder gives: a probability for each level ("levels"), a mean and a variance for each entry
            ("entry"), or means and one variance ("shared"). By default levels, if there are at most 256, or else entry.

    Raises:
        ConfigError: an option that does not go with the shape, or levels of data without any.
    """
    if output is None:
        output = "levels" if isinstance(lattice, Lattice) and lattice.levels <= MOST_LEVELS else "entry"
    latent = options.latent(shape)
    if output == "levels":
        if not isinstance(lattice, Lattice):
            raise ConfigError("autoencoder.output", output, "entry or shared, for data without levels")
        return Autoencoder(*_with_levels(options, shape, lattice), latent, LevelOdds(lattice))
    if output == "shared":
        return Autoencoder(*options.build(shape, shape[0]), latent, SharedNoise(lattice=lattice))
    return Autoencoder(*options.build(shape, 2 * shape[0]), latent, EntryNoise(lattice))


def _with_levels(
    options: AutoencoderOptions, shape: tuple[int, ...], lattice: Lattice
) -> tuple[nn.Module, LevelDecoder]:
    """An encoder, and a decoder that gives log-odds of levels."""
    features = min(_FEATURES, lattice.levels - 1)
    encoder, network = options.build(shape, features * shape[0])
    return encoder, LevelDecoder(network, LevelHead(shape, lattice.levels, features))


def _call(network: Map, x: Tensor) -> Tensor:
    """The output of a network, in the dtype of `x`; a network with parameters gets its input in theirs."""
    return network(x.to(next(parameters_of(network), x).dtype)).to(x.dtype)
