r"""What a network may predict, and the estimates of the clean data and of the noise that follow from it.

Every prediction gives a pair $(\hat x, \hat\epsilon)$ with $x_t = \alpha\hat x + \sigma\hat\epsilon$. No prediction
divides by $\alpha$ to find the noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from inkwash.core.config import PlainPredictionName
from inkwash.core.shapes import over
from inkwash.process.distributions import Lattice, NormalMixture
from inkwash.process.gaussian import Noisy
from inkwash.process.noise import steps
from inkwash.process.noise.grid import as_grid
from inkwash.process.spike_slab import SpikeSlab


@dataclass(frozen=True)
class Guess:
    """The estimates that an output implies.

    Args:
        x: the estimate of the clean data, `(B, *event)`.
        eps: the estimate of the noise, `(B, *event)`.
        level_logits: log-probabilities of the levels up to a constant, `(B, *event, levels)`, if they are predicted.
        mixture: the law of each entry given $x_t$, if it is predicted.
        spiked: the same, where some numbers recur.
    """

    x: Tensor
    eps: Tensor
    level_logits: Tensor | None = None
    mixture: NormalMixture | None = None
    spiked: SpikeSlab | None = None


class Prediction(ABC):
    """What the network's output means."""

    needs_signal = False
    """Whether the output fails to determine x where no signal is left."""

    @abstractmethod
    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        """The estimates that an output implies."""

    def input_scale(self, noisy: Noisy) -> Tensor | None:
        """The number that divides the network's input; None if this prediction leaves the input as it is."""
        return None


class X(Prediction):
    r"""$\hat x$ itself."""

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        return Guess(output, noisy.eps_of(output))


class Eps(Prediction):
    r"""$\hat\epsilon$ (Ho et al. 2020, eq. 11)."""

    needs_signal = True

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        return Guess((noisy.x_t - noisy.sigma * output) / noisy.alpha, output)


class Score(Prediction):
    r"""$\hat s = -\hat\epsilon/\sigma$, an estimate of $\nabla\log p(x_t)$ (Song & Ermon 2019)."""

    needs_signal = True

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        return Eps().read(-noisy.sigma * output, noisy)


class V(Prediction):
    r"""$\hat v = \alpha\hat\epsilon - \sigma\hat x$ (Salimans & Ho 2022, App. D)."""

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        alpha, sigma, x_t = noisy.alpha, noisy.sigma, noisy.x_t
        power = alpha**2 + sigma**2  # 1 for a variance-preserving schedule
        return Guess((alpha * x_t - sigma * output) / power, (sigma * x_t + alpha * output) / power)


class Velocity(Prediction):
    r"""$\hat u = \hat\epsilon - \hat x$, the velocity $dx_t/dt$ of the straight line from data to noise that
    `RectifiedSchedule` follows (Lipman et al. 2023, eq. 22; Liu et al. 2023, eq. 1, both with time reversed). It
    determines both estimates under any schedule."""

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        alpha, sigma, x_t = noisy.alpha, noisy.sigma, noisy.x_t
        total = alpha + sigma  # 1 for the rectified schedule
        return Guess((x_t - sigma * output) / total, (x_t + alpha * output) / total)


@dataclass(frozen=True)
class F(Prediction):
    r"""EDM's preconditioned output F: $\hat x = c_\mathrm{skip}x_t + c_\mathrm{out}F$, where the network's input is
    $c_\mathrm{in}x_t$ (Karras et al. 2022, eq. 7 and table 1, here for any $\alpha$).

    Args:
        data_std: the standard deviation of the data, model units.
    """

    data_std: float = 1.0

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        width = self.input_scale(noisy)
        skip = noisy.alpha * (self.data_std / width) ** 2
        x = skip * noisy.x_t + (noisy.sigma * self.data_std / width) * output
        return Guess(x, noisy.eps_of(x))

    def input_scale(self, noisy: Noisy) -> Tensor:
        r"""$1/c_\mathrm{in}$, the standard deviation of the noisy data."""
        return torch.sqrt(noisy.sigma**2 + (noisy.alpha * self.data_std) ** 2)


@dataclass(frozen=True, eq=False)
class Mean(Prediction):
    """The mean of the reverse step to the next time of a grid (Ho et al. 2020, eq. 8).

    Args:
        steps: the number of steps of a uniform grid; 1000 if neither `steps` nor `times` is given.
        times: the grid itself, decreasing from 1 to 0.

    Raises:
        ConfigError: both `steps` and `times` are given, or the grid is bad.
    """

    steps: int | None = None
    times: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", as_grid(self.steps, self.times, 1000))
        object.__setattr__(self, "steps", None)

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        rising = as_grid(None, self.times, 0).flip(0).to(noisy.t.device)
        s = rising[(torch.searchsorted(rising, noisy.t.contiguous()) - 1).clamp(min=0)]
        keep, pull = (coefficient(noisy.process.schedule, s, noisy.t) for coefficient in (steps.keep, steps.pull))
        x = (output - over(keep, output) * noisy.x_t) / over(pull, output)
        return Guess(x, noisy.eps_of(x))


@dataclass(frozen=True)
class Levels(Prediction):
    r"""For integer data, the log-odds $\ell_v$ of the levels of each entry before its own $x_t$ is taken into account.

    Bayes' rule with the known noise then adds what $x_t$ shows: $\hat x = \sum_v x_v w_v$ with
    $w = \mathrm{softmax}_v[\ell_v - (x_t - \alpha x_v)^2/2\sigma^2]$. This snaps to the levels as the noise falls.

    The output has shape `(B, *event, levels)`.

    Args:
        lattice: the values that the data takes, model units.
    """

    lattice: Lattice

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        values = self.lattice.values().to(output)
        alpha, sigma = (scale[..., None] if scale.ndim else scale for scale in (noisy.alpha, noisy.sigma))
        away = (noisy.x_t[..., None] - alpha * values) / sigma
        logits = torch.addcmul(output, away, away, value=-0.5)
        x = logits.softmax(-1) @ values
        return Guess(x, noisy.eps_of(x), logits)


@dataclass(frozen=True)
class Mixture(Prediction):
    r"""For each entry a mixture of K normal laws, $\sum_k w_k\,\mathcal N(m_k, s_k^2)$, before its own $x_t$ is taken
    into account.

    Bayes' rule with the known noise then adds what $x_t$ shows. With $V_k = \alpha^2 s_k^2 + \sigma^2$ and
    $z_k = x_t - \alpha m_k$ it is again a mixture, of the weights $w_k\,\mathcal N(z_k; 0, V_k)$, the means
    $m_k + \alpha s_k^2 z_k/V_k$ and the variances $s_k^2\sigma^2/V_k$.

    The output has shape `(B, *event, 3 K)`: the log-weights up to a constant, then $m_k$, then $\log s_k$.
    """

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        logits, means, log_widths = output.chunk(3, dim=-1)
        alpha, sigma = (scale[..., None] if scale.ndim else scale for scale in (noisy.alpha, noisy.sigma))
        own_var = (2 * log_widths).exp()
        var, away = alpha**2 * own_var + sigma**2, noisy.x_t[..., None] - alpha * means
        pulled = away / var
        logits = logits - 0.5 * (away * pulled + var.log())
        posterior = NormalMixture(logits, means + alpha * own_var * pulled, own_var * sigma**2 / var)
        return Guess(posterior.mean, noisy.sigma * (logits.softmax(-1) * pulled).sum(-1), mixture=posterior)


NAMED: dict[PlainPredictionName, Prediction] = {
    "x": X(),
    "eps": Eps(),
    "score": Score(),
    "v": V(),
    "velocity": Velocity(),
    "F": F(),
}
"""Predictions that need nothing but their name."""
