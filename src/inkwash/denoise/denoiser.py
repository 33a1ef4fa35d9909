r"""A denoiser turns a network into an estimate of the clean data, whatever the network predicts.

Conversions are hub and spoke: every prediction gives $(\hat x, \hat\epsilon)$, and all else follows from the two.
Choosing what the network predicts changes the weighting of the loss, not the class of models.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn

from inkwash.core.config import SightName
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import as_time, over, per_row
from inkwash.denoise import prediction
from inkwash.denoise.prediction import Levels, Prediction
from inkwash.process.gaussian import Estimate, Gaussian, Noisy
from inkwash.process.process import Process, Scheduled
from inkwash.process.variance import SIMPLE, ReverseVariance

Sight = Literal["time", SightName]
Network = Callable[..., Tensor]
Named = TypeVar("Named")


class AnyDenoiser(Protocol):
    """A denoiser, or whatever wraps one: it knows its process and answers with an estimate of the process's kind."""

    @property
    def process(self) -> Process: ...

    def __call__(self, x_t: Tensor, t: float | Tensor, **condition: Any) -> Any: ...


def parameters_of(part: object) -> Iterator[nn.Parameter]:
    """The parameters of a denoiser or network, if it is a module."""
    return part.parameters() if isinstance(part, nn.Module) else iter(())


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
        predicts: what the network's output means: "x", "eps", "score", "v", "F", or one of
            `inkwash.denoise.prediction`.
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


def _named(where: str, given: str | Named, names: Mapping[Any, Named]) -> Named:
    """The object that a name stands for, or the object given in its place."""
    if not isinstance(given, str):
        return given
    _require_one_of(where, given, tuple(names))
    return names[given]


def _require_one_of(where: str, got: str, choices: tuple[str, ...]) -> None:
    if got not in choices:
        raise ConfigError(where, repr(got), "one of " + ", ".join(choices))
