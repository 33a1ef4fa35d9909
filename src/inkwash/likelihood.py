r"""The variational bound: $-\log p(x) \le$ prior + diffusion + reconstruction, in nats per example.

For a grid $1 = \tau_T > … > \tau_1 > \tau_0 = 0$ (Ho et al. 2020, eq. 5):

- prior: $\mathrm{KL}(q(x_1 \mid x) \,\|\, p(x_1))$,
- diffusion:
  $\sum_{k\ge2} \mathbb E\,\mathrm{KL}(q(x_{\tau_{k-1}} \mid x_{\tau_k}, x) \,\|\, p(x_{\tau_{k-1}} \mid x_{\tau_k}))$,
- reconstruction: $\mathbb E[-\log p(x \mid x_{\tau_1})]$, by the decoder.

Divergences are in closed form and float64; the expectation over $x_t$ takes one draw per term.
"""

import math
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from torch import Tensor

from inkwash.denoise import AnyDenoiser
from inkwash.distributions import Lattice
from inkwash.errors import ConfigError
from inkwash.randomness import Purpose, generator, slot_rows


@dataclass(frozen=True)
class Bound:
    r"""An upper bound on -log p(x) and its parts, nats per example.

    Args:
        prior: shape `(B,)`.
        diffusion: shape `(B,)`.
        reconstruction: shape `(B,)`; for continuous data a negative log-density, which may be negative.
        k: Sohl-Dickstein's K, a lower bound on the mean of log p(x) (2015, eq. 14): entropies take the place of the
            prior and the reconstruction, `(B,)`. The last step is that of the forward kernel, and the data must have
            the prior's moments: bits the mean of its rate, real numbers $\mathbb E\lVert x\rVert^2 = d$.
        null: log-density (or mass) of x under the prior, his $L_\mathrm{null}$, `(B,)`.
        per_time: what each stretch of time adds to `diffusion`, shape `(B, K)`; the first column is nearest to noise.
        time_edges: the K + 1 times that separate the stretches, decreasing.
        dims: number of entries of an example.
        levels: number of values an entry can take; None for continuous data.
    """

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    k: Tensor
    null: Tensor
    per_time: Tensor
    time_edges: Tensor
    dims: int
    levels: int | None

    @property
    def total(self) -> Tensor:
        """The bound, nats per example, `(B,)`."""
        return self.prior + self.diffusion + self.reconstruction

    @property
    def bits_per_dim(self) -> Tensor:
        """The bound in bits per entry, `(B,)`.

        Raises:
            ConfigError: continuous data, whose density has no bits.
        """
        return self.in_bits_per_dim(self.total)

    def in_bits_per_dim(self, nats: Tensor) -> Tensor:
        """Convert nats per example to bits per entry; refused for continuous data, as `bits_per_dim`."""
        if self.levels is None:
            raise ConfigError("bits_per_dim", "continuous data", "data with levels; use .total, in nats")
        return nats / (self.dims * math.log(2))

    @property
    def std_error(self) -> Tensor:
        """Standard error of `total.mean()` over examples and noise; NaN for fewer than two examples."""
        spread = ((self.total - self.total.mean()) ** 2).sum() / (len(self.total) - 1)
        return (spread / len(self.total)).sqrt()


@dataclass(frozen=True)
class _Terms:
    prior: Tensor
    per_time: Tensor
    reconstruction: Tensor
    edges: Tensor
    null: Tensor

    @classmethod
    def joined(cls, slots: list["_Terms"], count: int) -> "_Terms":
        """The terms of the first `count` examples of all slots."""
        return cls(*(torch.cat([getattr(s, item.name) for s in slots])[:count] for item in fields(cls)))


@torch.no_grad()
def bound(
    denoiser: AnyDenoiser,
    x: Tensor,
    times: Tensor,
    lattice: Lattice | None = None,
    terms: int | None = None,
    seed: int = 0,
) -> Bound:
    """The variational bound of `x` on the grid `times`.

    The noise of an example depends on the seed and on its place in `x`, not on how many come after it.

    Args:
        denoiser: gives the reverse kernel.
        x: clean data, model units, `(B, *event)`.
        times: decreasing from 1 to 0, `(T + 1,)`.
        lattice: the values discrete data takes; None for those of the process, and where it has none, for continuous
            data, whose decoder is a density.
        terms: how many of the T - 1 diffusion terms to evaluate per example: the grid is cut into so many stretches and
            one pair drawn from each, which is unbiased. None evaluates all.
        seed: of the noise.

    Raises:
        ConfigError: `terms` below 1.
    """
    if terms is not None and terms < 1:
        raise ConfigError("terms", terms, "an integer >= 1")
    lattice = lattice or denoiser.process.lattice
    cuts = _cuts(len(times) - 2, terms)
    rows = slot_rows(tuple(x.shape[1:]), x.device)
    slots = [
        _slot_terms(denoiser, _whole(block.double(), rows), times, cuts, lattice, generator(seed, Purpose.BOUND, i))
        for i, block in enumerate(x.split(rows))
    ]
    found = _Terms.joined(slots, len(x))
    diffusion = found.per_time.sum(1)
    return Bound(
        prior=found.prior,
        diffusion=diffusion,
        reconstruction=found.reconstruction,
        k=found.edges - diffusion,
        null=found.null,
        per_time=found.per_time,
        time_edges=times[cuts],
        dims=x[0].numel(),
        levels=None if lattice is None else lattice.levels,
    )


def _whole(block: Tensor, rows: int) -> Tensor:
    """A slot filled up with copies of its last example, so that noise does not depend on how many there are."""
    return torch.cat([block, block[-1:].expand(rows - len(block), *block.shape[1:])])


def _cuts(pairs: int, terms: int | None) -> Tensor:
    """Where to cut `pairs` consecutive pairs into `terms` stretches of nearly equal length."""
    count = pairs if terms is None else min(terms, pairs)
    return torch.linspace(0, pairs, count + 1, dtype=torch.float64).round().long()


def _slot_terms(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, cuts: Tensor, lattice: Lattice | None, random: torch.Generator
) -> _Terms:
    process, first = denoiser.process, times[-2]
    prior, last, nearest = process.prior(x.shape, like=x), process.marginal(x, 1.0), process.marginal(x, first)
    per_time = [_diffusion_term(denoiser, x, times, int(start), int(stop), random) for start, stop in pairwise(cuts)]
    x_t = nearest.draw(random)
    decoder = process.decoder(x_t, denoiser(x_t, first), times, lattice)
    stacked = torch.stack(per_time, dim=1) if per_time else x.new_zeros(len(x), 0)
    return _Terms(
        prior=last.kl(prior),
        per_time=stacked,
        reconstruction=-decoder.log_prob(x),
        edges=last.entropy() - nearest.entropy() - prior.entropy(),
        null=prior.log_prob(x),
    )


def _diffusion_term(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, start: int, stop: int, random: torch.Generator
) -> Tensor:
    """Sum over the pairs `start … stop - 1` of the grid, estimated from one pair per example."""
    pair = torch.randint(start, stop, (len(x),), generator=random)
    t, s = times[pair], times[pair + 1]
    process = denoiser.process
    x_t = process.marginal(x, t).draw(random)
    reverse = process.reverse(x_t, denoiser(x_t, t), s, t)
    return (stop - start) * process.posterior(x_t, x, s, t).kl(reverse)
