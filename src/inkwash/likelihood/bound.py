r"""The variational bound: $-\log p(x) \le$ prior + diffusion + reconstruction, in nats per example.

For a grid $1 = \tau_T > … > \tau_1 > \tau_0 = 0$ (Ho et al. 2020, eq. 5):

- prior: $\mathrm{KL}(q(x_1 \mid x) \,\|\, p(x_1))$,
- diffusion:
  $\sum_{k\ge2} \mathbb E\,\mathrm{KL}(q(x_{\tau_{k-1}} \mid x_{\tau_k}, x) \,\|\, p(x_{\tau_{k-1}} \mid x_{\tau_k}))$,
- reconstruction: $\mathbb E[-\log p(x \mid x_{\tau_1})]$, by the decoder.

Divergences are in closed form and float64; the expectation over $x_t$ takes one sample per term. In continuous time,
the limit of ever finer grids before $\tau_1$, the diffusion part is
$\tfrac12\int \mathbb E\lVert\epsilon - \hat\epsilon\rVert^2\,d\lambda$ over the log-SNR $\lambda$ between times 1 and
$\tau_1$, whatever the reverse variance (Kingma et al. 2021, eq. 11).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.machine import return_freed_memory
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, slots_of
from inkwash.core.shapes import sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import require_gaussian
from inkwash.process.process import Process


@short_repr
@dataclass(frozen=True)
class MeanBound:
    """The means of a bound and of its parts over examples.

    Args:
        prior: the first part, in `unit`.
        diffusion: the second part, in `unit`.
        reconstruction: the third part, in `unit`.
        total: the bound, in `unit`; it is the sum of the parts.
        std_error: the standard error of `total`, in `unit`; None for a single example.
        unit: "bits/dim" for data with levels, "nats" otherwise.
        examples: the number of examples.
        entropy: the fourth part, in `unit`; None where there is none.
    """

    prior: float
    diffusion: float
    reconstruction: float
    total: float
    std_error: float | None
    unit: str
    examples: int
    entropy: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The parts by name, in `unit`."""
        found = {name: getattr(self, name) for name in ("prior", "diffusion", "reconstruction", "entropy")}
        return {name: value for name, value in found.items() if value is not None}


@short_repr
@dataclass(frozen=True)
class Bound:
    r"""An upper bound on -log p(x) and its parts, nats per example.

    Args:
        prior: shape `(B,)`.
        diffusion: shape `(B,)`.
        reconstruction: shape `(B,)`; for continuous data a negative log-density, which may be negative.
        per_time: what each stretch of time adds to `diffusion`, shape `(B, K)`; the first column is closest to noise.
        time_edges: the K + 1 times that separate the stretches, decreasing.
        dims: number of entries of an example.
        levels: number of values an entry can take; None for continuous data.
        lower: for a diffusion model, Sohl-Dickstein's K (2015, eq. 14), whose mean is a lower bound on the mean of
            log p(x), `(B,)`: entropies take the place of the prior and the reconstruction. The last step is that of the
            forward kernel, and the data must have the prior's moments: bits the mean of its rate, real numbers
            $\mathbb E\lVert x\rVert^2 = d$. NaN for a model with a latent, which has none.
        prior_log_prob: for a diffusion model, the log-density or log-mass of x under the prior, $L_\mathrm{null}$ in
            the same paper, `(B,)`. NaN for a model with a latent.
        entropy: for a latent diffusion model, minus the entropy of its encoder, `(B,)`; None for others.
        per_entry: what each entry adds to each part, `(B, K + 2, *event)` in the model's layout, channels first: the
            prior, the K stretches of time, and the reconstruction. Given the noisy data, the entries of every law are
            independent, so each part is the sum of its entries. None if it was not asked for.
    """

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    per_time: Tensor
    time_edges: Tensor
    dims: int
    levels: int | None
    lower: Tensor
    prior_log_prob: Tensor
    entropy: Tensor | None = None
    per_entry: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """The bound, nats per example, `(B,)`."""
        parts = self.prior + self.diffusion + self.reconstruction
        return parts if self.entropy is None else parts + self.entropy

    @property
    def bits_per_dim(self) -> Tensor:
        """The bound in bits per entry, `(B,)`.

        Raises:
            ConfigError: continuous data, whose density has no bits.
        """
        return self.in_bits_per_dim(self.total)

    def in_bits_per_dim(self, nats: Tensor) -> Tensor:
        """Convert nats per example to bits per entry.

        Raises:
            ConfigError: continuous data.
        """
        if self.levels is None:
            raise ConfigError("bits_per_dim", "continuous data", "data with levels; use .total, in nats")
        return nats / (self.dims * math.log(2))

    def with_log_det(self, entries: Tensor | float) -> "Bound":
        """The bound on p(x) in other units, where log p(x) is larger by `entries`, `(B, *event)`, which are summed."""
        log_det = sum_event(entries) if isinstance(entries, Tensor) else entries
        per_entry = self.per_entry
        if per_entry is not None and isinstance(entries, Tensor):
            per_entry = torch.cat([per_entry[:, :-1], per_entry[:, -1:] - entries[:, None]], dim=1)
        return replace(
            self,
            per_entry=per_entry,
            reconstruction=self.reconstruction - log_det,
            lower=self.lower + log_det,
            prior_log_prob=self.prior_log_prob + log_det,
        )

    @property
    def std_error(self) -> Tensor:
        """Standard error of `total.mean()` over examples and noise; NaN for fewer than two examples."""
        spread = ((self.total - self.total.mean()) ** 2).sum() / (len(self.total) - 1)
        return (spread / len(self.total)).sqrt()

    def mean(self) -> MeanBound:
        """The means over examples, in bits per entry for data with levels and in nats otherwise."""
        discrete = self.levels is not None
        unit = self.in_bits_per_dim if discrete else (lambda nats: nats)
        return MeanBound(
            prior=float(unit(self.prior.mean())),
            diffusion=float(unit(self.diffusion.mean())),
            reconstruction=float(unit(self.reconstruction.mean())),
            total=float(unit(self.total.mean())),
            std_error=float(unit(self.std_error)) if len(self.total) > 1 else None,
            unit="bits/dim" if discrete else "nats",
            examples=len(self.total),
            entropy=None if self.entropy is None else float(unit(self.entropy.mean())),
        )


@dataclass(frozen=True)
class _Terms:
    prior: Tensor
    per_time: Tensor
    reconstruction: Tensor
    edges: Tensor
    prior_log_prob: Tensor
    per_entry: Tensor

    @classmethod
    def joined(cls, slots: list["_Terms"], count: int) -> "_Terms":
        """The terms of all slots, for the first `count` examples."""
        return cls(*(torch.cat([getattr(s, item.name) for s in slots])[:count] for item in fields(cls)))


@torch.no_grad()
def bound(
    denoiser: AnyDenoiser,
    x: Tensor,
    times: Tensor,
    lattice: Lattice | Bins | None = None,
    terms: int | None = None,
    seed: int = 0,
    continuous: bool = False,
    condition: Mapping[str, Any] | None = None,
    entries: bool = False,
) -> Bound:
    """The variational bound of `x` on the grid `times`, or in continuous time before the grid's last step.

    The noise of an example depends on the seed and on its place in `x`, not on how many come after it. Entries that are
    NaN are missing: the bound is then on -log p of the others, and the denoiser is given which these are.

    Args:
        denoiser: implies the reverse kernel.
        x: clean data, model units, `(B, *event)`.
        times: decreasing from 1 to 0, `(T + 1,)`.
        lattice: the values of discrete data; None for those of the process or, where it has none, for continuous data,
            whose decoder is a density.
        terms: how many of the T - 1 diffusion terms to evaluate per example: the grid is cut into so many stretches,
            and one pair is drawn from each, which is unbiased. None evaluates all. In continuous time, there are so
            many stretches of log-SNR, with a point drawn from each.
        seed: of the noise.
        continuous: whether to take the limit of ever finer grids before the last step.
        condition: inputs of the denoiser by name, with a row for each example: the bound is then on
            -log p(x | condition).
        entries: whether to keep what each entry adds, `Bound.per_entry`; these are K + 2 times as many numbers as `x`.

    Raises:
        ConfigError: `terms` below 1.
    """
    if terms is not None:
        require_integer("terms", terms)
    lattice = lattice or denoiser.process.lattice
    stretches = _continuous(denoiser, times, terms) if continuous else _pairs(times, terms)
    x, inputs, missing = x.double().nan_to_num(0.0), dict(condition or {}), x.isnan()
    if bool(missing.any()):
        inputs["present"] = ~missing
    parts = []
    for rows, random in tracked(list(slots_of(x, seed, Purpose.BOUND))):
        slot = under(denoiser, inputs, rows)
        parts.append(_slot_terms(slot, x[rows], ~missing[rows], times, stretches, lattice, random, entries))
        return_freed_memory()
    found = _Terms.joined(parts, len(x))
    diffusion = found.per_time.sum(1)
    return Bound(
        prior=found.prior,
        diffusion=diffusion,
        reconstruction=found.reconstruction,
        lower=found.edges - diffusion,
        prior_log_prob=found.prior_log_prob,
        per_time=found.per_time,
        time_edges=stretches.edges,
        dims=x[0].numel(),
        levels=None if lattice is None else lattice.levels,
        per_entry=found.per_entry if entries else None,
    )


@dataclass(frozen=True)
class _Stretches:
    """The diffusion part, cut in time.

    Args:
        edges: the times that separate the stretches, decreasing, `(K + 1,)`.
        term: what each entry of stretch i adds, `(denoiser, x, i, random) -> (B, *event)`, estimated from one sample
            per example.
    """

    edges: Tensor
    term: Callable[[AnyDenoiser, Tensor, int, torch.Generator], Tensor]


def _pairs(times: Tensor, terms: int | None) -> _Stretches:
    """The pairs of a grid, in stretches of nearly equal length."""
    pairs = len(times) - 2
    count = pairs if terms is None else min(terms, pairs)
    cuts = torch.linspace(0, pairs, count + 1, dtype=torch.float64).round().long()

    def term(denoiser: AnyDenoiser, x: Tensor, i: int, random: torch.Generator) -> Tensor:
        return _diffusion_term(denoiser, x, times, int(cuts[i]), int(cuts[i + 1]), random)

    return _Stretches(times[cuts], term)


def _diffusion_term(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, start: int, stop: int, random: torch.Generator
) -> Tensor:
    """Sum over the pairs `start … stop - 1` of the grid, estimated from one pair per example."""
    pair = torch.randint(start, stop, (len(x),), generator=random)
    t, s = times[pair], times[pair + 1]
    x_t = denoiser.process.marginal(x, t).draw(random)
    return (stop - start) * _step_entries(denoiser.process, x, x_t, denoiser(x_t, t), s, t)


def step_kl(
    process: Process, x: Tensor, x_t: Tensor, estimate: Any, s: Tensor, t: Tensor, present: Tensor | None = None
) -> Tensor:
    r"""What the step from t to s adds to the bound at one `x_t` `(B, *event)`:
    $\mathrm{KL}(q(x_s \mid x_t, x) \,\|\, p(x_s \mid x_t))$, nats per example, `(B,)`."""
    return sum_event(_step_entries(process, x, x_t, estimate, s, t), present)


def _step_entries(process: Process, x: Tensor, x_t: Tensor, estimate: Any, s: Tensor, t: Tensor) -> Tensor:
    """The same for each entry, `(B, *event)`."""
    return process.posterior(x_t, x, s, t).entry_kl(process.reverse(x_t, estimate, s, t))


def _continuous(denoiser: AnyDenoiser, times: Tensor, terms: int | None) -> _Stretches:
    """Stretches of equal length in log-SNR, without what lies below a log-SNR of -20."""
    count = len(times) - 2 if terms is None else terms
    schedule = require_gaussian(denoiser.process, "continuous").schedule
    low, high = schedule.log_snr(times[0]).clamp(min=-20.0), schedule.log_snr(times[-2])
    width = (high - low) / count

    def term(denoiser: AnyDenoiser, x: Tensor, i: int, random: torch.Generator) -> Tensor:
        place = torch.rand(len(x), generator=random, dtype=torch.float64)
        t = schedule.time(low + (i + place) * width)
        noise = denoiser.process.noise(x.shape, random, like=x)
        estimate = denoiser(denoiser.process.diffuse(x, t, noise), t)
        return 0.5 * width * (noise - estimate.eps) ** 2

    return _Stretches(schedule.time(low + width * torch.arange(count + 1)), term)


def _slot_terms(
    denoiser: AnyDenoiser,
    x: Tensor,
    present: Tensor,
    times: Tensor,
    stretches: _Stretches,
    lattice: Lattice | Bins | None,
    random: torch.Generator,
    entries: bool,
) -> _Terms:
    process, first = denoiser.process, times[-2]
    kept: list[Tensor] = []

    def of_example(each: Tensor) -> Tensor:
        """A part from its entries, which are kept if they are asked for."""
        if entries:
            kept.append(torch.where(present, each, 0))
        return sum_event(each, present)

    prior, last, nearest = process.prior(x.shape, like=x), process.marginal(x, 1.0), process.marginal(x, first)
    of_prior = of_example(last.entry_kl(prior))
    stretch = tracked(range(len(stretches.edges) - 1))
    per_time = [of_example(stretches.term(denoiser, x, i, random)) for i in stretch]
    x_t = nearest.draw(random)
    decoder = process.decoder(x_t, denoiser(x_t, first), times, lattice)
    return _Terms(
        prior=of_prior,
        per_time=torch.stack(per_time, dim=1) if per_time else x.new_zeros(len(x), 0),
        reconstruction=of_example(-decoder.entry_log_prob(x)),
        edges=last.entropy(present) - nearest.entropy(present) - prior.entropy(present),
        prior_log_prob=prior.log_prob(x, present),
        per_entry=torch.stack(kept, dim=1) if kept else x.new_zeros(len(x), 0),
    )
