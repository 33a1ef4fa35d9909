r"""A denoiser turns a network into an estimate of the clean data, whatever the network predicts.

Conversions are hub and spoke: every prediction gives $(\hat x, \hat\epsilon)$, and all else follows from the two.
Choosing what the network predicts changes the weighting of the loss, not the class of models.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn

from inkwash import prediction
from inkwash.errors import ConfigError
from inkwash.gaussian import Gaussian, require_gaussian
from inkwash.prediction import Levels, Noisy, Prediction
from inkwash.process import Process, Scheduled
from inkwash.shapes import as_time, in_turn, over, per_row
from inkwash.variance import SIMPLE, ReverseVariance

Sight = Literal["time", "log_snr", "nothing"]
Network = Callable[..., Tensor]
Named = TypeVar("Named")


@dataclass(frozen=True)
class Estimate:
    r"""Everything a network's output at $(x_t, t)$ implies.

    Args:
        x: $\hat x$, the estimate of the clean data, `(B, *event)`, model units.
        eps: $\hat\epsilon$, the estimate of the noise, `(B, *event)`.
        x_t: the noisy data, `(B, *event)`.
        t: its time, `()` or `(B,)`, float64.
        process: the process that made the noise.
        variance: the reverse variance that goes with it.
        spread: what the network says of the reverse variance, `(B, *event)`, where that asks it.
        level_logits: log-probabilities of each entry's levels, up to a constant, `(B, *event, levels)`, where the
            network predicts them.
    """

    x: Tensor
    eps: Tensor
    x_t: Tensor
    t: Tensor
    process: Gaussian
    variance: ReverseVariance
    spread: Tensor | None = None
    level_logits: Tensor | None = None

    @property
    def score(self) -> Tensor:
        r"""$\nabla\log p(x_t) = -\hat\epsilon/\sigma$ (Tweedie: $\alpha\hat x = x_t + \sigma^2\hat s$)."""
        return -self.eps / over(self.process.schedule.sigma(self.t), self.eps)

    @property
    def v(self) -> Tensor:
        r"""$\hat v = \alpha\hat\epsilon - \sigma\hat x$ (Salimans & Ho 2022, App. D)."""
        alpha, sigma = self.process.schedule.alpha(self.t), self.process.schedule.sigma(self.t)
        return over(alpha, self.eps) * self.eps - over(sigma, self.x) * self.x

    def mean(self, s: float | Tensor) -> Tensor:
        r"""Mean of the reverse step to time s: the posterior mean at $\hat x$ (DDPM eq. 7)."""
        return self.process.posterior(self.x_t, self.x, s, self.t).mean


class AnyDenoiser(Protocol):
    """A denoiser, or whatever wraps one: it knows its process and answers with an estimate of the process's kind."""

    @property
    def process(self) -> Process: ...

    def __call__(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any: ...


def parameters_of(part: object) -> Iterator[nn.Parameter]:
    """The parameters of a denoiser or network, if it is a module."""
    return part.parameters() if isinstance(part, nn.Module) else iter(())


class Given(nn.Module):
    """A denoiser that is asked under one condition throughout.

    Args:
        denoiser: the denoiser to wrap.
        condition: what it is asked with by name, a row for each example, or fewer rows that are taken in turn: a
            `label`, class numbers `(B,)`; what is `given`, standardised, `(B, …)`; the `guidance` by them.
    """

    def __init__(self, denoiser: AnyDenoiser, condition: Mapping[str, Any]) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = denoiser.process
        self.condition = condition

    def forward(self, x_t: Tensor, t: float | Tensor) -> Any:
        """The wrapped denoiser's estimate."""
        told = {
            name: in_turn(value, len(x_t)) if isinstance(value, Tensor) else value
            for name, value in self.condition.items()
        }
        return self.denoiser(x_t, t, **told)


def given(denoiser: AnyDenoiser, condition: Mapping[str, Any] | None, rows: Tensor | slice) -> AnyDenoiser:
    """A denoiser under some rows of a condition, whose tensors have one per example; itself where there is none."""
    if not condition:
        return denoiser
    chosen = {name: value[rows] if isinstance(value, Tensor) else value for name, value in condition.items()}
    return Given(denoiser, chosen)


class NetworkDenoiser(nn.Module, ABC):
    r"""What denoisers around a network have in common: they ask it in its own dtype, at the level it is to see, and
    guide by what it says.

    With a condition y, guidance w stands for $p(x_t)\,p(y \mid x_t)^w$ at every time (classifier-free guidance, Ho &
    Salimans 2022, eq. 6, where w is one less). The network is asked with the condition and without, and its answers
    are mixed, $a + w(a_y - a)$. Real numbers that it may predict are affine in the score, so it is the score that is
    mixed. Log-odds of levels or bits mix the distributions of x itself, entry by entry: to
    $p(x \mid x_t)\,p(y \mid x)^w$ for a single entry.

    Args:
        network: a callable `(x_t, t, **condition) -> tensor`; `t` comes with shape `(B,)`.
        process: the process, which has a `schedule`.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", always zero.

    Raises:
        ConfigError: an unknown `sees`.
    """

    def __init__(self, network: Network, process: Scheduled, sees: Sight = "time") -> None:
        super().__init__()
        _require_one_of("sees", sees, get_args(Sight))
        self.network = network
        self.process = process
        self.schedule = process.schedule
        self.sees = sees

    @abstractmethod
    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> Any:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`.

        Args:
            x_t: noisy data.
            t: its time.
            guidance: w, by the condition: 0 ignores it, 1 is the plain conditional.
            **condition: what the network takes by name.
        """

    def ask(self, seen: Tensor, t: Tensor, guidance: float, condition: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """The network's guided prediction and, where it gives one, the spread under the condition, for what it is shown
        `(B, *event)` at float64 time `t`; a second evaluation is made where guidance is neither 0 nor 1."""
        without = {name: value for name, value in condition.items() if name == "present"}
        answer, spread = self.split(self._answer(seen, t, condition if guidance else without))
        if guidance not in (0, 1):
            answer = torch.lerp(self.split(self._answer(seen, t, without))[0], answer, guidance)
        return answer, spread

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """An output's prediction and spread."""
        return output, None

    def _answer(self, seen: Tensor, t: Tensor, condition: dict[str, Any]) -> Tensor:
        """What the network makes of what it is shown."""
        dtype = next((p.dtype for p in parameters_of(self.network)), seen.dtype)
        level = per_row(self._level(t), seen).to(device=seen.device, dtype=dtype)
        told = {
            name: value.to(seen.device, dtype if value.is_floating_point() else None)
            if isinstance(value, Tensor)
            else value
            for name, value in condition.items()
        }
        output: Tensor = self.network(seen.to(dtype), level, **told)
        return output.to(seen.dtype)

    def _level(self, t: Tensor) -> Tensor:
        """What the network is told of the time t."""
        if self.sees == "log_snr":
            return self.schedule.log_snr(t)
        return t if self.sees == "time" else torch.zeros_like(t)


class Denoiser(NetworkDenoiser):
    r"""Network + process + what the network predicts.

    Args:
        network: a callable `(x_t, t, **condition) -> tensor`, shaped as the prediction says: like `x_t` for most. Where
            the variance needs a spread, with one more number per entry: twice as long along dimension 1, or one longer
            along the last for `Levels`. `t` comes with shape `(B,)`. A module with parameters is called in their dtype.
        process: the Gaussian process.
        predicts: what the network's output means: "x", "eps", "score", "v", "F", or one of `inkwash.prediction`.
        variance: of the reverse step: "small", "large", "learned", "free", or an `Analytic`. Small suits levels; on a
            grid, however fine, it adds nats to the bound of continuous data, which wants "large" or an `Analytic`.
        sees: what the network is given as `t`: the "time" itself; its "log_snr", and with it
            $x_t/\sqrt{\alpha^2 + \sigma^2}$, so that its sight is the same under every schedule; or "nothing", always
            zero: a blind network.

    Raises:
        ConfigError: an unknown `predicts`, `variance` or `sees`; a prediction that says nothing of x at time 1; a blind
            network that predicts F, whose input is scaled by what it must not see.
    """

    process: Gaussian

    def __init__(
        self,
        network: Network,
        process: Gaussian,
        predicts: str | Prediction = "eps",
        variance: str | ReverseVariance = "small",
        sees: Sight = "time",
    ) -> None:
        super().__init__(network, process, sees)
        self.predicts = _named("predicts", predicts, prediction.NAMED)
        self.variance = _named("variance", variance, SIMPLE)
        if sees == "nothing" and isinstance(self.predicts, prediction.F):
            raise ConfigError("sees", "'nothing'", "another prediction than F, whose input the noise level scales")
        if self.predicts.needs_signal and bool(process.schedule.alpha(1.0) == 0):
            name = type(self.predicts).__name__.lower()
            raise ConfigError("predicts", repr(name), "x or v, as this schedule leaves no signal at time 1")

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> Estimate:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        noisy = Noisy.at(x_t, as_time(t), self.process)
        return self.read(*self.ask(self.shown(noisy), noisy.t, guidance, condition), noisy)

    def shown(self, noisy: Noisy) -> Tensor:
        """What the network is given of noisy data, `(B, *event)`."""
        scale = self.predicts.input_scale(noisy)
        if scale is None and self.sees == "log_snr":
            scale = over(self.process.scale(noisy.t), noisy.x_t)
        return noisy.x_t if scale is None else noisy.x_t / scale

    def read(self, output: Tensor, spread: Tensor | None, noisy: Noisy) -> Estimate:
        """The estimate that a prediction and its spread imply."""
        guess, process = self.predicts.read(output, noisy), self.process
        return Estimate(guess.x, guess.eps, noisy.x_t, noisy.t, process, self.variance, spread, guess.level_logits)

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.variance.needs_spread:
            return output, None
        if isinstance(self.predicts, Levels):
            return output[..., :-1], output[..., -1]
        predicted, spread = output.chunk(2, dim=1)
        return predicted, spread


class Clipped(nn.Module):
    r"""A denoiser whose $\hat x$ is clipped to the range of bounded data; $\hat\epsilon$ is recomputed from it.

    Args:
        denoiser: the denoiser to wrap.
        low: smallest value of clean data, model units.
        high: largest value.

    Raises:
        ConfigError: a denoiser of a process that is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.process = require_gaussian(denoiser.process, "clip")
        self.low, self.high = low, high

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, clipped."""
        estimate = self.denoiser(x_t, t, **condition)
        return _with_x(estimate, estimate.x.clamp(self.low, self.high))


class Thresholded(nn.Module):
    r"""A denoiser with dynamic thresholding (Saharia et al. 2022, §2.3); $\hat\epsilon$ is recomputed.

    $\hat x$ is clipped to $[-s, s]$ and divided by s, the larger of 1 and a quantile of $|\hat x|$ over the entries of
    the example. Data is bounded by -1 and 1 here.

    Args:
        denoiser: the denoiser to wrap.
        quantile: which quantile, their p; 1 leaves the largest entry at the bound.

    Raises:
        ConfigError: a quantile outside [0, 1]; a denoiser of a process that is not Gaussian.
    """

    def __init__(self, denoiser: AnyDenoiser, quantile: float = 0.995) -> None:
        super().__init__()
        if not 0 <= quantile <= 1:
            raise ConfigError("threshold.quantile", quantile, "a number between 0 and 1")
        self.denoiser = denoiser
        self.process = require_gaussian(denoiser.process, "threshold")
        self.quantile = quantile

    def forward(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Estimate:
        """The wrapped denoiser's estimate, thresholded."""
        estimate = self.denoiser(x_t, t, **condition)
        bound = over(estimate.x.abs().flatten(1).quantile(self.quantile, dim=1).clamp(min=1), x_t)
        return _with_x(estimate, estimate.x.clamp(-bound, bound) / bound)


def _with_x(estimate: Estimate, x: Tensor) -> Estimate:
    """The estimate with another one of x, and of the noise accordingly."""
    noisy = Noisy.at(estimate.x_t, estimate.t, estimate.process)
    return replace(estimate, x=x, eps=noisy.eps_of(x))


def _named(where: str, given: str | Named, names: Mapping[str, Named]) -> Named:
    """The object that a name stands for, or the object given in its place."""
    if not isinstance(given, str):
        return given
    _require_one_of(where, given, tuple(names))
    return names[given]


def _require_one_of(where: str, got: str, choices: tuple[str, ...]) -> None:
    if got not in choices:
        raise ConfigError(where, repr(got), "one of " + ", ".join(choices))
