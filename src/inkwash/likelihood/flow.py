r"""Exact likelihood and exact encoding by the probability-flow ODE; the pointwise I-MMSE identity beside it.

The flow moves data to noise without randomness, such that at every time the law of its points is that of $x_t$
(Song et al. 2021, eq. 13). In EDM's variables, $y = x_t/\alpha$ at the noise-to-signal ratio
$\varsigma = \sigma/\alpha$, it is $dy/d\varsigma = \hat\epsilon$ (Karras et al. 2022, eqs. 1 and 4). With the angle
$\varphi = \arctan(\sigma/\alpha)$ and $z = x_t/\sqrt{\alpha^2+\sigma^2} = y\cos\varphi$ it becomes

$$\frac{dz}{d\varphi} = \cos\varphi\,\hat\epsilon - \sin\varphi\,\hat x, \qquad
\frac{d\log p(z)}{d\varphi} = -\operatorname{div}\frac{dz}{d\varphi},$$

the velocity of Salimans & Ho (2022, App. D). Data is at $\varphi = 0$ and noise at $\pi/2$ or just below, for any
schedule: variance preserving or exploding, rectified, with or without signal at time 1. Standard normal data does not
move at all, so a solver needs few steps, and all data is at rest at $\varphi = 0$. The denoiser is evaluated only at
log-SNRs within ±20; the velocity beyond follows from that at the limit, for data that is smooth at the scale of
$e^{-10}$.

Everything is computed in float64, except the network, which has its own dtype.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from inkwash.core.brief import short_repr
from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.progress import tracked
from inkwash.core.randomness import Purpose, slots_of
from inkwash.core.shapes import event_size, over, sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import under
from inkwash.likelihood.ode import Adaptive, Solver
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.process.process import Distribution

Divergence = Literal["auto", "exact", "hutchinson"]

_MAX_LOG_SNR = 20.0
_LIMIT = math.atan(math.exp(-_MAX_LOG_SNR / 2))
EXACT_UP_TO = 64
"""By default divergences are exact for examples of up to so many entries."""

_PROBES = 8
_LOGISTIC_SCALE = 2.0


@short_repr
@dataclass(frozen=True)
class LogProb:
    """A log-probability, nats per example, and how sure it is.

    Args:
        value: shape `(B,)`: a log-density for continuous data, a lower bound on a log-mass for data with levels.
        std_error: standard error of `value`, `(B,)`; NaN where there was only one sample or probe. None: nothing was
            random.
        evaluations: how many times the denoiser was evaluated for each example, `(B,)`.
    """

    value: Tensor
    std_error: Tensor | None
    evaluations: Tensor


@dataclass(frozen=True)
class Dequantise:
    r"""How data with levels is spread over the gaps between them, so that it has a density.

    "noise" is that of the process, at the model's first time $\tau_1$, and the model's own decoder undoes it. The
    result is the bound, with its diffusion and prior parts replaced by the exact density of the flow,
    $\log P(x) \ge \mathbb E_{q(x_{\tau_1}\mid x)}[\log p(x\mid x_{\tau_1}) + \log p(x_{\tau_1}) -
    \log q(x_{\tau_1}\mid x)]$ (variational dequantisation: Ho et al. 2019, eq. 10).

    "uniform" adds uniform noise as wide as a level, $\log P(x) \ge \mathbb E_u[\log p(x + u)] + d\log\delta$ (Theis et
    al. 2016, §3.1). It is meant for models trained on such data: a model trained on the levels themselves has almost no
    density between them, and its bound is far too low.

    Args:
        kind: "noise" or "uniform".
        draws: how many times each example is spread; the result is a mean over them.
    """

    kind: Literal["noise", "uniform"] = "noise"
    draws: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("noise", "uniform"):
            raise ConfigError("dequantise.kind", repr(self.kind), "one of noise, uniform")
        require_integer("dequantise.draws", self.draws)


@torch.no_grad()
def transport(
    denoiser: AnyDenoiser,
    x_t: Tensor,
    t: float,
    s: float,
    *,
    solver: Solver | None = None,
    condition: Mapping[str, Any] | None = None,
) -> Tensor:
    """Follow the flow from time t to time s, in either direction: data to noise, or noise to data.

    Args:
        denoiser: implies the velocity.
        x_t: where to start, model units, `(B, *event)`.
        t: the time of `x_t`; 0 is data.
        s: the time to reach.
        solver: `Adaptive()` by default.
        condition: inputs of the denoiser by name, with a row for each example.

    Returns:
        x_s `(B, *event)`, float64.
    """

    def moved(denoiser: AnyDenoiser, block: Tensor) -> Tensor:
        def field(z: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
            return _velocity(denoiser, z, angle), z.new_zeros(len(z), 0)

        return _follow(denoiser, field, block, t, s, solver, 0)[0]

    x_t = x_t.double()
    slots = list(slots_of(x_t, 0, Purpose.FLOW))
    parts = [moved(under(denoiser, condition, rows), x_t[rows]) for rows, _ in tracked(slots)]
    return torch.cat(parts)[: len(x_t)]


@torch.no_grad()
def flow_log_prob(
    denoiser: AnyDenoiser,
    x_t: Tensor,
    t: float = 0.0,
    *,
    divergence: Divergence = "auto",
    probes: int | None = None,
    solver: Solver | None = None,
    terminal: Distribution | None = None,
    seed: int = 0,
    condition: Mapping[str, Any] | None = None,
) -> LogProb:
    r"""Log-density of `x_t` at time t: that of the noise it moves to, plus how much the flow expands on its path.

    $\log p(x_t) = \log p(x_1) + d\log\frac{c_1}{c_t} + \int\operatorname{div}\frac{dz}{d\varphi}\,d\varphi$
    with $c = \sqrt{\alpha^2+\sigma^2}$ (Song et al. 2021, eq. 39).

    Args:
        denoiser: implies the velocity, by a network that torch can differentiate.
        x_t: continuous data, model units, `(B, *event)`.
        t: its time; 0 is data.
        divergence: "exact", one backward pass per entry of an example; "hutchinson", estimated from random signs
            (Grathwohl et al. 2019, eq. 8), which stay the same along the flow; "auto" is exact for up to 64 entries.
        probes: how many vectors of signs the estimate takes, 8 by default; each takes a backward pass.
        solver: `Adaptive()` by default.
        terminal: law of x_1; by default the prior of the process, where samples start: the density is then that of the
            model. The law of data at time 1 is $\mathcal N(\alpha_1\mathbb E x, …)$, and differs from the prior by
            the signal that is left there.
        seed: of the signs, which depend only on it and on the place of an example in `x_t`.
        condition: inputs of the denoiser by name, with a row for each example: the density is then conditional.

    Raises:
        ConfigError: a bad option, or a tolerance that is not reached.
        NonFiniteError: the velocity is NaN or infinite.
    """
    trace = _Trace.of(divergence, probes, event_size(x_t.shape[1:]))
    x_t = x_t.double()
    parts = [
        _log_probs(under(denoiser, condition, rows), x_t[rows], t, trace, solver, terminal, random)
        for rows, random in tracked(list(slots_of(x_t, seed, Purpose.FLOW)))
    ]
    return _summary(parts, len(x_t), trace.exact)


@torch.no_grad()
def dequantised_log_prob(
    denoiser: AnyDenoiser,
    x: Tensor,
    times: Tensor,
    lattice: Lattice | Bins | None,
    dequantise: Dequantise,
    *,
    divergence: Divergence = "auto",
    probes: int | None = None,
    solver: Solver | None = None,
    seed: int = 0,
    condition: Mapping[str, Any] | None = None,
) -> LogProb:
    """A lower bound on the log-mass of data with levels; see `Dequantise`, and `flow_log_prob` for the other arguments.

    Args:
        denoiser: implies the velocity.
        x: data on the lattice, model units, `(B, *event)`.
        times: the model's grid; the noise is that of its first time after 0.
        lattice: the values of the data; None where only some of its numbers have probabilities, as the decoder knows.
        dequantise: how the data is spread.
        divergence: of `flow_log_prob`.
        probes: of `flow_log_prob`.
        solver: of `flow_log_prob`.
        seed: of the noise and of the signs.
        condition: of `flow_log_prob`.
    """
    if lattice is None and dequantise.kind == "uniform":
        raise ConfigError("dequantise.kind", "uniform", "noise, for numbers that recur, which have no gaps to fill")
    trace = _Trace.of(divergence, probes, event_size(x.shape[1:]))
    spread = _with_noise if dequantise.kind == "noise" else _with_uniform
    x, parts = x.double(), []
    for rows, random in tracked(list(slots_of(x, seed, Purpose.FLOW))):
        conditioned = under(denoiser, condition, rows)
        spreads = [spread(conditioned, x[rows], times, lattice, random) for _ in range(dequantise.draws)]
        flows = [_log_probs(conditioned, x_t, t, trace, solver, None, random) for x_t, t, _ in spreads]
        values = [log_probs.mean(1) + gain for (log_probs, _), (_, _, gain) in zip(flows, spreads, strict=True)]
        parts.append((torch.stack(values, 1), torch.stack([n for _, n in flows]).sum(0)))
    return _summary(parts, len(x), exact=False)


@dataclass(frozen=True)
class _Trace:
    """How a divergence is computed: exactly, or by probes."""

    exact: bool
    probes: int

    @classmethod
    def of(cls, divergence: Divergence, probes: int | None, size: int) -> "_Trace":
        if divergence not in get_args(Divergence):
            raise ConfigError("divergence", repr(divergence), "one of " + ", ".join(get_args(Divergence)))
        exact = divergence == "exact" or (divergence == "auto" and size <= EXACT_UP_TO)
        if exact and probes is not None:
            raise ConfigError("probes", probes, "divergence='hutchinson'; the exact divergence takes no probes")
        require_integer("probes", 1 if probes is None else probes)
        return cls(exact, size if exact else probes or _PROBES)

    def draw(self, like: Tensor, random: torch.Generator) -> Tensor:
        """The probes, `(K, B, *event)`: the unit vectors, or random signs."""
        if self.exact:
            units = torch.eye(self.probes, dtype=like.dtype, device=like.device)
            return units.reshape(-1, 1, *like.shape[1:]).expand(-1, *like.shape)
        return (2.0 * torch.randint(0, 2, (self.probes, *like.shape), generator=random) - 1).to(like)

    def rates(self, velocity: Tensor, z: Tensor, probes: Tensor) -> Tensor:
        r"""The products $p^\top J p$ with the probes: their sum, `(B, 1)`, or each as an estimate, `(B, K)`."""
        products = [sum_event(p * torch.autograd.grad(velocity, z, p, retain_graph=True)[0]) for p in probes]
        stacked = torch.stack(products, 1)
        return stacked.sum(1, keepdim=True) if self.exact else stacked


def _log_probs(
    denoiser: AnyDenoiser,
    x_t: Tensor,
    t: float,
    trace: _Trace,
    solver: Solver | None,
    terminal: Distribution | None,
    random: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Independent estimates of log p(x_t), `(B, K)`, where K = 1 if it is exact; the evaluations they took, `(B,)`."""
    probes = trace.draw(x_t, random)

    def field(z: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            z = z.clone().requires_grad_()
            velocity = _velocity(denoiser, z, angle)
            return velocity.detach(), trace.rates(velocity, z, probes)

    x_1, log_dets, evaluations = _follow(denoiser, field, x_t, t, 1.0, solver, 1 if trace.exact else trace.probes)
    process = _process(denoiser)
    law = terminal or process.prior(x_1.shape, like=x_1)
    growth = torch.log(process.scale(1.0) / process.scale(t)) * event_size(x_t.shape[1:])
    return law.log_prob(x_1)[:, None] + log_dets + growth.to(x_t.device), evaluations


def _follow(
    denoiser: AnyDenoiser,
    field: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x_t: Tensor,
    t: float,
    s: float,
    solver: Solver | None,
    columns: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """x_s, the integrals of the `columns` rates that the field has beside the velocity, and the evaluations."""
    size = event_size(x_t.shape[1:])

    def flat_field(angle: Tensor, state: Tensor) -> Tensor:
        velocity, rates = field(state[:, :size].reshape(x_t.shape), angle)
        return torch.cat([velocity.flatten(1), rates], 1)

    z = (x_t / over(_process(denoiser).scale(t), x_t)).flatten(1)
    start, stop = float(_angle(denoiser, t)), float(_angle(denoiser, s))
    state = torch.cat([z, z.new_zeros(len(z), columns)], 1)
    still = torch.zeros_like(state) if start == 0 else None
    state, evaluations = (solver or Adaptive()).solve(flat_field, state, start, stop, still)
    return over(_process(denoiser).scale(s), x_t) * state[:, :size].reshape(x_t.shape), state[:, size:], evaluations


def _process(denoiser: AnyDenoiser) -> Gaussian:
    return require_gaussian(denoiser.process, "flow")


def _velocity(denoiser: AnyDenoiser, z: Tensor, angle: Tensor) -> Tensor:
    r"""$dz/d\varphi$ at states `z` `(B, *event)` and angles `(B,)`.

    Close to data $\hat\epsilon$ shrinks in proportion to the noise; close to noise $\hat x$ is constant. The velocity
    beyond the limits of log-SNR therefore follows from that at the limit.
    """
    limited = angle.clamp(_LIMIT, math.pi / 2 - _LIMIT)
    t = _process(denoiser).schedule.time(-2 * limited.tan().log())
    radius = over(_process(denoiser).scale(t), z)
    velocity = denoiser(radius * z, t).v / radius
    near_data, near_noise = (angle / limited).clamp(max=1), (angle.cos() - limited.cos()).clamp(max=0)
    return over(near_data, z) * velocity + over(near_noise, z) * z


def _angle(denoiser: AnyDenoiser, t: float) -> Tensor:
    schedule = _process(denoiser).schedule
    return torch.atan2(schedule.sigma(t), schedule.alpha(t))


def _with_noise(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, lattice: Lattice | Bins | None, random: torch.Generator
) -> tuple[Tensor, float, Tensor]:
    """Data with noise of the first time, that time, and what the step back to the lattice adds to the log-density."""
    first, process = times[-2], denoiser.process
    marginal = process.marginal(x, first)
    x_t = marginal.draw(random)
    decoder = process.decoder(x_t, denoiser(x_t, first), times, lattice)
    return x_t, float(first), decoder.log_prob(x) - marginal.log_prob(x_t)


def _with_uniform(
    denoiser: AnyDenoiser, x: Tensor, times: Tensor, lattice: Lattice | Bins | None, random: torch.Generator
) -> tuple[Tensor, float, Tensor]:
    """Data with uniform noise as wide as a level, time 0, and the log-volume of a cell; real numbers get no noise."""
    noise = torch.rand(x.shape, generator=random, dtype=x.dtype).to(x.device) - 0.5
    width = torch.as_tensor(0.0 if lattice is None else lattice.spacing).to(x).expand(x.shape[1:])
    volume = float(width[width > 0].log().sum())
    return x + width * noise, 0.0, x.new_full((len(x),), volume)


def _summary(parts: list[tuple[Tensor, Tensor]], count: int, exact: bool) -> LogProb:
    """Mean and standard error over the estimates `(rows, K)` of the slots, for the first `count` examples.

    Each slot is reduced by itself: sums over arrays of another size may round differently.
    """
    means = [values.mean(1) for values, _ in parts]
    errors = [_error_of_mean(values) for values, _ in parts]
    value, std_error, evaluations = (torch.cat(each)[:count] for each in (means, errors, [n for _, n in parts]))
    return LogProb(value, None if exact else std_error, evaluations)


def _error_of_mean(values: Tensor) -> Tensor:
    """Standard error of the mean of each row; NaN, 0 / 0, where there is only one column."""
    repeats = values.shape[1]
    return (((values - values.mean(1, keepdim=True)) ** 2).sum(1) / (repeats - 1) / repeats).sqrt()
